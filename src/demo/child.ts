// A process of the demo that can be stopped and started again: a real server, or anybal. Its lines go to the screen under
// its name. It has a session of its own, so that Ctrl-C reaches the demo alone, which then ends everything in order.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { errorText } from '../lib/errors.ts';
import type { Screen } from './screen.ts';

/** A process that ignores SIGTERM has this long. */
const GRACE_MS = 5_000;
const TETHER = new URL('./tether.js', import.meta.url).href;
/** anybal's lines have a time of their own; the screen's is enough. */
const TIMESTAMP = /^\d{4}-\d\d-\d\dT[\d:.]+Z /;

export class Child {
  readonly name: string;
  readonly #module: URL;
  readonly #args: readonly string[];
  readonly #screen: Screen;
  #process: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();

  constructor(name: string, module: URL, args: readonly string[], screen: Screen) {
    this.name = name;
    this.#module = module;
    this.#args = args;
    this.#screen = screen;
  }

  /** null: it does not run. */
  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** Resolves when the process has said that it is ready (servers do), or has ended. */
  start(): Promise<void> {
    if (this.#process !== null) return Promise.resolve();
    const args = ['--enable-source-maps', '--import', TETHER, fileURLToPath(this.#module), ...this.#args];
    const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.#process = child;
    const ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        this.#say(`cannot be started: ${errorText(error)}`);
        this.#process = null;
        resolve();
      });
      child.once('close', (code, signal) => {
        this.#say(`ended (${signal === null ? `exit code ${code}` : signal})`);
        this.#process = null;
        resolve();
      });
    });
    this.#ended = ended;
    for (const stream of [child.stdout, child.stderr]) if (stream !== null) this.#relay(stream);
    if (child.pid !== undefined) this.#say(`started, pid ${child.pid}`);
    return Promise.race([ended, new Promise<void>((resolve) => child.once('message', () => resolve()))]);
  }

  /** SIGTERM, and SIGKILL if that does not help. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.#signal('SIGTERM');
    // A process that was stopped by SIGSTOP hears the other one only after this.
    this.#signal('SIGCONT');
    const timer = setTimeout(() => this.kill(), GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Now. */
  kill(): void {
    this.#signal('SIGKILL');
  }

  #signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  #relay(stream: Readable): void {
    createInterface({ input: stream }).on('line', (line) => this.#say(line.replace(TIMESTAMP, '')));
  }

  #say(text: string): void {
    this.#screen.say(this.name, text);
  }
}
