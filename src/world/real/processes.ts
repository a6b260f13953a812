// Commands: own session and process group, no shell, bounded output, and nothing left behind. See Processes in world.ts.

import { type ChildProcess, spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type { Command, CommandResult, Processes } from '../world.ts';
import { systemError } from './errors.ts';

/** After the leader's exit its output has this long to be read; a grandchild in another session may keep the pipe open. */
const DRAIN_MS = 200;
/** SIGKILL has this long to work. What sleeps in the kernel (D) or belongs to another user may never die. */
const DYING_MS = 1_000;

const LEFT_BEHIND = { exitCode: null, signal: 'SIGKILL', leftovers: 'not all killed' } as const;

type Kill = (pid: number, signal: 'SIGKILL') => void;

/** What was killed and is still there. */
interface Dying {
  readonly startedAt: number;
  readonly killedAt: number;
}

interface Engine {
  readonly kill: Kill;
  /** By what they were to do. */
  readonly dying: Map<string, Dying>;
  /** The groups that run, by their leaders' pids. */
  readonly running: Set<number>;
  closed: boolean;
}

export interface RealProcesses extends Processes {
  /** Kills what runs, before it returns, and starts no more. */
  close(): void;
}

export function createProcesses(kill: Kill = (pid, signal) => process.kill(pid, signal)): RealProcesses {
  const engine: Engine = { kill, dying: new Map(), running: new Set(), closed: false };
  return {
    run: (command, cut) => run(command, cut, engine),
    close() {
      engine.closed = true;
      for (const group of engine.running) killGroup(group, kill);
    },
  };
}

function run(command: Command, cut: Cut, { kill, dying, running, closed }: Engine): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const call = `run ${command.path}`;
    if (cut.aborted || closed) throw new SystemError('ECANCELED', call);
    if (!command.path.startsWith('/')) throw new SystemError('EINVAL', call, 'not an absolute path');
    const started = performance.now();
    const deed = JSON.stringify([command.path, command.args, command.env, command.user]);
    const last = dying.get(deed);
    if (last !== undefined && started - last.killedAt >= DYING_MS) {
      // Another one would not end either: they would pile up, one with each check. This one still has not answered.
      resolve({ ...LEFT_BEHIND, timedOut: true, output: '', durationMs: started - last.startedAt });
      return;
    }
    let child: ChildProcess;
    try {
      child = spawn(command.path, command.args, {
        cwd: '/',
        env: command.env,
        // setgroups(2) to none and setgid(2) come before setuid(2), with which the kernel takes all capabilities of root's.
        ...(command.user ?? {}),
        // setsid(2): the group's id is the leader's pid, and a terminal's signals do not reach it.
        detached: true,
        shell: false,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    } catch (error) {
      throw systemError(error, call);
    }
    child.on('error', (error) => finish(() => reject(systemError(error, call))));
    const { pid } = child;
    if (pid !== undefined) running.add(pid);
    const output = collect(child, command.maxOutputBytes);
    let killed: Dying | null = null;
    let denied = false;
    let timer: NodeJS.Timeout | undefined;
    let exited = false;
    let settled = false;

    const finish = (settle: () => void) => {
      settled = true;
      clearTimeout(timer);
      release();
      settle();
    };
    const durationMs = () => performance.now() - started;
    const killAll = () => {
      if (pid === undefined) return;
      denied = killGroup(pid, kill) === 'denied';
      // It may be killed twice: when its time is over, and when nobody wants to know any more.
      killed ??= { startedAt: started, killedAt: performance.now() };
      if (!dying.has(deed)) dying.set(deed, killed);
    };
    const giveUp = () => {
      output.stop();
      finish(() => resolve({ ...LEFT_BEHIND, timedOut: true, output: output.text(), durationMs: durationMs() }));
    };
    const release = cut.onAbort(() => {
      if (exited) return;
      killAll();
      output.stop();
      finish(() => reject(new SystemError('ECANCELED', call)));
    });
    const onTimeOver = () => {
      if (exited || settled) return;
      killAll();
      timer = setTimeout(giveUp, DYING_MS);
    };
    // One turn of the loop more: when it stood still, timers come before the news that the program has ended in time.
    if (command.timeoutMs > 0) timer = setTimeout(() => setImmediate(onTimeOver), command.timeoutMs);
    child.on('exit', (exitCode, signal) => {
      exited = true;
      if (pid !== undefined) running.delete(pid);
      clearTimeout(timer);
      if (killed !== null && dying.get(deed) === killed) dying.delete(deed);
      const ran = durationMs();
      // With an exit code it had ended before it was killed, if it could be.
      const timedOut = killed !== null && (exitCode === null || denied);
      // Killed by us, the group is still dying: only what we may not kill is left over.
      const leftovers = pid === undefined ? 'none' : sweep(pid, timedOut, kill);
      void output.ended().then(() => {
        finish(() => resolve({ exitCode, signal, timedOut, output: output.text(), durationMs: ran, leftovers }));
      });
    });
  });
}

/** Kill what the leader left of its group, and say whether there was anything. */
function sweep(group: number, killedBefore: boolean, kill: Kill): CommandResult['leftovers'] {
  if (killGroup(group, kill) === 'none') return 'none';
  // Those that may be killed are dying now, and no longer answer EPERM for the others.
  if (killGroup(group, kill) === 'denied') return 'not all killed';
  return killedBefore ? 'none' : 'killed';
}

function killGroup(group: number, kill: Kill): 'none' | 'killed' | 'denied' {
  try {
    kill(-group, 'SIGKILL');
    return 'killed';
  } catch (error) {
    return systemError(error, 'kill').code === 'EPERM' ? 'denied' : 'none';
  }
}

/** Both outputs, in order of arrival, up to `limit` bytes; the rest is read and dropped. */
function collect(child: ChildProcess, limit: number) {
  const chunks: Buffer[] = [];
  let left = limit;
  // Out of descriptors there are none, whatever the types say, and 'error' is still to come.
  const pipes = [child.stdout, child.stderr].filter((pipe) => pipe instanceof Readable);
  const closed = pipes.map((pipe) => {
    pipe.on('data', (chunk: Buffer) => {
      if (left > 0) chunks.push(chunk.subarray(0, left));
      left -= Math.min(left, chunk.length);
    });
    pipe.on('error', () => {});
    return new Promise<void>((resolve) => pipe.on('close', () => resolve()));
  });
  const stop = () => {
    for (const pipe of pipes) pipe.destroy();
  };
  return {
    stop,
    ended: async () => {
      const timer = setTimeout(stop, DRAIN_MS);
      await Promise.all(closed);
      clearTimeout(timer);
    },
    text: () => Buffer.concat(chunks).toString('utf8'),
  };
}
