// The worker's thread: BFD's engine on a clock and sockets of its own, so that nothing the daemon does delays a packet.
// bfd.ts starts it and speaks with it by messages; the daemon's life comes through shared memory, which needs no message.

import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { openLibc } from '../../ffi/libc.ts';
import { Engine } from '../../bfd/engine.ts';
import type { BfdConfig, BfdStatus } from '../../bfd/types.ts';
import type { LogRecord } from '../../log/record.ts';
import { createClock } from './clock.ts';
import { createDatagrams } from './datagrams.ts';
import { systemError } from './errors.ts';
import { type Letter, Outbox } from './outbox.ts';

export interface WorkerData {
  /** One counter: the daemon's signs of life. */
  readonly heartbeat: SharedArrayBuffer;
}

export type ToWorker =
  | { readonly do: 'configure'; readonly config: BfdConfig }
  /** The last report was read: the next one may come. */
  | { readonly do: 'go-on' }
  | { readonly do: 'stop' };

export type FromWorker =
  | Letter
  /** `at`: the worker's clock, so that `since` can be told by another. */
  | { readonly is: 'status'; readonly at: number; readonly sessions: readonly BfdStatus[] }
  | { readonly is: 'stopped' };

/** Of this thread alone, the lowest there is: 50 ms × 3 must survive a machine whose every core is wanted by somebody. */
const REALTIME_PRIORITY = 1;
const STATUS_MS = 500;
/** Letters that are on their way while nobody reads. */
const MAX_UNREAD = 1_000;

function run(): void {
  const port = parentPort;
  if (port === null) throw new Error('bfd-worker.ts is a worker');
  const { heartbeat } = workerData as WorkerData;
  const counter = new Int32Array(heartbeat);
  const clock = createClock();
  const priorityError = raisePriority();
  const outbox = new Outbox(MAX_UNREAD, (letter) => port.postMessage(letter satisfies FromWorker));
  const log = (record: LogRecord): void => outbox.tell({ is: 'log', record });
  const world = {
    clock,
    random: Math.random,
    digest: (hash: string, bytes: Uint8Array): Uint8Array => createHash(hash).update(bytes).digest(),
    datagrams: createDatagrams(),
    log,
  };
  const engine = new Engine(world, {
    changed: (change) => outbox.tell({ is: 'changed', change }),
    heartbeat: () => Atomics.load(counter, 0),
  });
  if (priorityError !== null) {
    const text = `BFD's thread is not scheduled in real time (${priorityError}): a busy machine may keep it from its packets`;
    log({ level: 'warn', system: 'bfd', text: `${text}. It needs LimitRTPRIO=1, or CAP_SYS_NICE` });
  }
  // One report at a time: a daemon that does not read must not find thousands.
  let reported = false;
  const report = (): void => {
    reported = true;
    port.postMessage({
      is: 'status',
      at: clock.now(),
      sessions: engine.status(),
    } satisfies FromWorker);
  };
  setInterval(() => {
    if (!reported) report();
  }, STATUS_MS);
  port.on('message', (message: ToWorker) => {
    switch (message.do) {
      case 'configure':
        return engine.configure(message.config);
      case 'go-on': {
        reported = false;
        const lost = outbox.read();
        if (lost > 0) log({ level: 'warn', system: 'bfd', text: `${lost} line(s) were lost while nobody read` });
        return;
      }
      case 'stop':
        engine.stop();
        port.postMessage({ is: 'stopped' } satisfies FromWorker);
        return port.close();
      default:
        message satisfies never;
    }
  });
}

/** What went wrong, or null. A nice value would not do: it counts only within a session or a control group. */
function raisePriority(): string | null {
  try {
    openLibc().realtime(REALTIME_PRIORITY);
    return null;
  } catch (error) {
    return systemError(error, 'sched_setscheduler').code;
  }
}

run();
