// A network namespace with one veth pair to ours, for tests that need a real router at the other end. Everything that
// it starts is killed by its process id and removed again, whatever happened. Needs root and iproute2.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Fails naming everything that is missing: never a silent skip. */
export function requireTools(tools: Readonly<Record<string, string>>): void {
  const missing = Object.entries(tools).filter(([path]) => {
    try {
      accessSync(path, constants.X_OK);
      return false;
    } catch {
      return true;
    }
  });
  const complaints = missing.map(([path, debianPackage]) => `${path} is missing: apt-get install ${debianPackage}`);
  if (process.getuid?.() !== 0) complaints.push('root is needed, to make network namespaces');
  if (complaints.length > 0) throw new Error(complaints.join('; '));
}

export async function output(command: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(command, args, { timeout: 10_000, maxBuffer: 16 << 20 });
  return stdout;
}

export class Namespace {
  readonly name: string;
  /** Our end of the wire. */
  readonly outer: string;
  readonly #children: ChildProcess[] = [];

  private constructor(name: string) {
    this.name = name;
    this.outer = `${name}-o`;
  }

  /** `outside` and `inside` are addresses with their prefix lengths, on our and on its end of the wire. */
  static async create(name: string, outside: readonly string[], inside: readonly string[]): Promise<Namespace> {
    const namespace = new Namespace(name);
    await namespace.#removeLeftovers();
    await output('ip', 'netns', 'add', name);
    try {
      await output('ip', 'link', 'add', namespace.outer, 'type', 'veth', 'peer', 'name', 'wire', 'netns', name);
      await namespace.#configure([], namespace.outer, outside);
      await namespace.#configure(['-n', name], 'wire', inside);
      await output('ip', '-n', name, 'link', 'set', 'lo', 'up');
    } catch (error) {
      await namespace.#removeNetwork();
      throw error;
    }
    return namespace;
  }

  /** Start a program in the foreground of the namespace. It must not fork. */
  spawn(command: string, ...args: readonly string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    const collect = (bytes: Buffer) => {
      if (said.length < 20_000) said += bytes.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('exit', (code) => {
      if (code !== null && code !== 0) process.stderr.write(`${command} ended with ${code}: ${said}\n`);
    });
    this.#children.push(child);
    return child;
  }

  haste(): Promise<void> {
    return haste(this.name);
  }

  /** The prefixes of its addresses, as the kernel's own routes have them. */
  async connected(): Promise<readonly string[]> {
    const families = ['-4', '-6'].map(async (family) => {
      const text = await output('ip', '-n', this.name, '-j', family, 'route', 'show', 'proto', 'kernel');
      return (JSON.parse(text) as { dst: string }[]).map(({ dst }) => dst);
    });
    return (await Promise.all(families)).flat();
  }

  /** Everything that runs here gets no time any more (SIGSTOP), or goes on (SIGCONT). */
  async signal(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    for (const pid of await pidsIn(this.name)) signalTo(pid, signal);
  }

  async destroy(): Promise<void> {
    await Promise.all(this.#children.map(kill));
    await this.#removeNetwork();
  }

  async #configure(prefix: readonly string[], device: string, addresses: readonly string[]): Promise<void> {
    const lines = addresses.map(
      // Without duplicate address detection, or an IPv6 address could not be used for its first second.
      (address) => `address add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`,
    );
    const adding = run('ip', [...prefix, '-batch', '-'], { timeout: 10_000 });
    adding.child.stdin?.end([...lines, `link set ${device} up`, ''].join('\n'));
    await adding;
  }

  /** Of a run that was killed before it could clean up. */
  async #removeLeftovers(): Promise<void> {
    for (const pid of await pidsIn(this.name).catch(() => [])) signalTo(pid, 'SIGKILL');
    await this.#removeNetwork();
  }

  async #removeNetwork(): Promise<void> {
    await output('ip', 'link', 'delete', this.outer).catch(() => {});
    await output('ip', 'netns', 'delete', this.name).catch(() => {});
  }
}

/** Of a network namespace, by name. */
export async function pidsIn(namespace: string): Promise<readonly number[]> {
  const text = await output('ip', 'netns', 'pids', namespace);
  return text
    .split('\n')
    .filter((pid) => pid !== '')
    .map(Number);
}

/**
 * Schedule everything that runs in a namespace in real time. Routers and directors have processors of their own; here they share
 * ours with whoever else is running, and would be late by more than BFD forgives. Needs chrt.
 */
export async function haste(namespace: string): Promise<void> {
  for (const pid of await pidsIn(namespace)) {
    await output('chrt', '--all-tasks', '--rr', '--pid', '1', `${pid}`).catch(async (error: unknown) => {
      if ((await pidsIn(namespace)).includes(pid)) throw error;
    });
  }
}

/** Nothing, if it has ended meanwhile. */
export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 2_000);
  await gone;
  clearTimeout(timer);
}

/** Of the limit, what one turn takes at most: a machine that stands still leaves time for what goes on afterwards. */
const TURN_MS = 500;

/** Ask again and again until `look` answers something; fails with `what` and the last answer of `otherwise`. */
export async function eventually<T>(
  what: string,
  look: () => T | null | Promise<T | null>,
  otherwise: () => string | Promise<string> = () => '',
  limitMs = 15_000,
): Promise<T> {
  let leftMs = limitMs;
  for (let last = performance.now(); ; ) {
    const answer = await look();
    if (answer !== null && answer !== false) return answer;
    const now = performance.now();
    leftMs -= Math.min(now - last, TURN_MS);
    last = now;
    if (leftMs < 0) throw new Error(`not seen in ${limitMs} ms: ${what}. ${await otherwise()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
