// The daemon's end of BFD: starts the worker when a session is first wanted, starts it again should it die, and keeps what it
// last reported. See Bfd in world.ts; the worker's own side is bfd-worker.ts.

import { Worker } from 'node:worker_threads';
import type { BfdChange, BfdConfig, BfdStatus, StateName } from '../../bfd/types.ts';
import type { Log } from '../../log/record.ts';
import { errorText } from '../../lib/errors.ts';
import type { Bfd, Clock, Mono } from '../world.ts';
import type { FromWorker, ToWorker, WorkerData } from './bfd-worker.ts';

/** A worker that died is started again after this time, and after twice as long each time that it died without a report. */
const RESTART_MS = { first: 1_000, most: 60_000 } as const;
/** How long stop() waits for the worker's last packets. */
const STOP_MS = 500;

interface Running {
  readonly worker: Worker;
  post(message: ToWorker): void;
}

export function createBfd(clock: Clock, log: Log): Bfd {
  const heartbeat = new SharedArrayBuffer(4);
  const counter = new Int32Array(heartbeat);
  let running: Running | null = null;
  let wanted: BfdConfig | null = null;
  let onChange: (change: BfdChange) => void = () => {};
  let sessions: readonly BfdStatus[] = [];
  const states = new Map<string, BfdChange>();
  let onStopped = (): void => {};
  let stopped = false;
  let restartMs: number = RESTART_MS.first;

  const say = (level: 'critical' | 'info', text: string): void => log({ level, system: 'bfd', text });

  const changed = (change: BfdChange): void => {
    states.set(change.name, change);
    onChange(change);
  };

  const heard = (from: Running, message: FromWorker): void => {
    switch (message.is) {
      case 'changed':
        return changed(message.change);
      case 'log':
        return log(message.record);
      case 'status': {
        // Clocks of two threads count from different beginnings.
        restartMs = RESTART_MS.first;
        const shift = clock.now() - message.at;
        sessions = message.sessions.map((each) => ({ ...each, since: (each.since + shift) as Mono }));
        return from.post({ do: 'go-on' });
      }
      case 'stopped':
        return onStopped();
      default:
        message satisfies never;
    }
  };

  /** The other sides see silence and go down; so do we. */
  const lost = (reason: string): void => {
    running = null;
    sessions = [];
    onStopped();
    if (stopped) return;
    say('critical', `BFD's thread has ended (${reason}): all its sessions are down, starting it again`);
    const pauseMs = restartMs;
    restartMs = Math.min(RESTART_MS.most, 2 * restartMs);
    for (const { state, name } of [...states.values()]) if (state === 'Up') changed(downOf(name, state));
    clock.at(pauseMs, () => {
      if (running === null && !stopped && wanted !== null) start(wanted);
    });
  };

  const start = (config: BfdConfig): void => {
    const workerData: WorkerData = { heartbeat };
    const worker = new Worker(new URL('./bfd-worker.js', import.meta.url), { workerData, execArgv: [], name: 'bfd' });
    const self: Running = { worker, post: (message) => worker.postMessage(message) };
    running = self;
    let reason = 'without a word';
    worker.on('message', (message: FromWorker) => heard(self, message));
    worker.on('error', (error) => {
      reason = errorText(error);
    });
    worker.on('exit', () => {
      if (running === self) lost(reason);
    });
    self.post({ do: 'configure', config });
  };

  return {
    configure(config, handler) {
      if (stopped) return;
      wanted = config;
      onChange = handler;
      const names = new Set(config.sessions.map(({ name }) => name));
      for (const name of states.keys()) if (!names.has(name)) states.delete(name);
      if (running !== null) running.post({ do: 'configure', config });
      else if (config.sessions.length > 0) start(config);
    },
    alive: () => void Atomics.add(counter, 0, 1),
    status: () => sessions,
    async stop() {
      stopped = true;
      const last = running;
      if (last === null) return;
      const said = new Promise<void>((resolve) => {
        onStopped = resolve;
      });
      last.post({ do: 'stop' });
      await Promise.race([said, clock.sleep(STOP_MS)]);
      await last.worker.terminate();
    },
  };
}

function downOf(name: string, was: StateName): BfdChange {
  return {
    name,
    state: 'Down',
    was,
    diagnostic: 'No Diagnostic',
    remoteDiagnostic: 'No Diagnostic',
    remoteAdminDown: false,
  };
}
