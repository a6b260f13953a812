// Programs that the lab runs in the guest: to their end, or followed line by line as long as the lab stands.

import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { stoodStillMs } from '../../support/steady.ts';

/** Unix time in ms, with fractions: comparable with the time stamps of `ip -ts` and of the other processes. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs to the end and answers stdout. Throws with stderr if it fails, unless `mayFail`. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly input?: string; readonly mayFail?: boolean } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    let complaint = '';
    child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
    child.once('error', reject);
    // A program that fails early closes its input: its exit code says more than EPIPE.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.once('close', (code, signal) => {
      if (code === 0 || options.mayFail === true) resolve(Buffer.concat(out).toString());
      else reject(new Error(`${command} ${args.join(' ')}: ${signal ?? code}: ${complaint.trim()}`));
    });
  });
}

/** The same in a network namespace. */
export function runIn(
  namespace: string,
  command: string,
  args: readonly string[],
  options: { readonly input?: string; readonly mayFail?: boolean } = {},
): Promise<string> {
  return run('ip', ['netns', 'exec', namespace, command, ...args], options);
}

/** How often longer than on a machine of the usual speed things may take: emulation is slow, and slower where others run too. */
export const patience = 3;
/** For what the emulator itself needs, where a bound is about seconds of the daemon. */
const emulatorMs = 5000;

/**
 * Measures from now on: asked, how long it took until `at` without what emulation may take, and without what the machine stood
 * still meanwhile.
 */
export function stopwatch(): (at?: number) => number {
  const [start, stood] = [now(), stoodStillMs()];
  return (at = now()) => at - start - emulatorMs - (stoodStillMs() - stood);
}

/**
 * Asks `look` every `everyMs` until it answers something; throws when `withinMs` and our patience are over, saying `what` was
 * awaited.
 */
export async function until<T>(
  what: string,
  withinMs: number,
  look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  everyMs = 50,
): Promise<T> {
  const limitMs = withinMs * patience;
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await look();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(everyMs);
  }
}

export interface Line {
  /** When it arrived here. */
  readonly at: number;
  readonly text: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

/** A program that runs as long as the lab (or a case) needs it. */
export interface Follower {
  readonly pid: number;
  /** Everything it said so far, stdout and stderr. */
  readonly lines: readonly Line[];
  readonly exited: Promise<Exit>;
  running(): boolean;
  send(text: string): void;
  signal(name: NodeJS.Signals): void;
  /** The first line at or after position `from` that `is` accepts. */
  waitFor(what: string, withinMs: number, is: (text: string) => boolean, from?: number): Promise<Line>;
  /** SIGTERM, then SIGKILL after two seconds. */
  stop(): Promise<Exit>;
}

const alive = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/** Starts a program in a namespace (null: the guest's own). */
export function follow(
  namespace: string | null,
  command: string,
  args: readonly string[],
  options: { readonly onLine?: (line: Line) => void; readonly env?: Readonly<Record<string, string>> } = {},
): Follower {
  // `ip netns exec` replaces itself by the program: the child's pid is the program's.
  const words = namespace === null ? [command, ...args] : ['ip', 'netns', 'exec', namespace, command, ...args];
  const child = spawn(words[0] ?? '', words.slice(1), {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, TZ: 'UTC', ...options.env },
  });
  alive.add(child);
  const lines: Line[] = [];
  const say = (text: string): void => {
    const line = { at: now(), text };
    lines.push(line);
    options.onLine?.(line);
  };
  createInterface({ input: child.stdout }).on('line', say);
  createInterface({ input: child.stderr }).on('line', say);
  child.stdin.on('error', () => undefined);
  let ended = false;
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      say(`cannot start ${command}: ${error.message}`);
      ended = true;
      alive.delete(child);
      resolve({ code: 127, signal: null });
    });
    child.once('exit', (code, signal) => {
      ended = true;
      alive.delete(child);
      resolve({ code, signal });
    });
  });
  return {
    pid: child.pid ?? -1,
    lines,
    exited,
    running: () => !ended,
    send: (text) => void child.stdin.write(text),
    signal: (name) => void child.kill(name),
    waitFor: (what, withinMs, is, from = 0) =>
      until(`${what} from ${command}`, withinMs, () => lines.slice(from).find((line) => is(line.text)), 20),
    async stop() {
      if (!ended) child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
      const exit = await exited;
      clearTimeout(timer);
      return exit;
    },
  };
}
