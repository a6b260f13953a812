// The router of `npm run bench:bgp`: BIRD in a namespace, with one protocol for each family, asked over its control socket
// again and again, because what counts is when the routes are in its table.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, kill, Namespace } from '../../test/support/namespace.ts';

export type Family = 4 | 6;

export const AS = { announcer: 64600, receiver: 64500 } as const;
/** Both ends of the wire; the announcers are on the left. */
export const ADDRESS: Readonly<Record<Family, { readonly announcer: string; readonly receiver: string }>> = {
  4: { announcer: '198.18.99.2', receiver: '198.18.99.1' },
  6: { announcer: 'fd00:99::2', receiver: 'fd00:99::1' },
};

const LIMIT_MS = 120_000;

function config(): string {
  const protocol = (family: Family) => `
protocol bgp from${family} {
  disabled;
  local ${ADDRESS[family].receiver} as ${AS.receiver};
  neighbor ${ADDRESS[family].announcer} as ${AS.announcer};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 1;
  hold time 90;
  ipv${family} { import all; export none; };
}`;
  return `router id 198.18.99.1;\nprotocol device {}\n${protocol(4)}\n${protocol(6)}\n`;
}

export interface Progress {
  readonly established: boolean;
  /** Routes in the table. */
  readonly routes: number;
}

export class Receiver {
  readonly #namespace: Namespace;
  readonly #folder: string;
  readonly #child: ReturnType<Namespace['spawn']>;
  readonly #control: Control;

  private constructor(namespace: Namespace, folder: string, child: ReturnType<Namespace['spawn']>, control: Control) {
    this.#namespace = namespace;
    this.#folder = folder;
    this.#child = child;
    this.#control = control;
  }

  static async start(): Promise<Receiver> {
    const ends = (end: 'announcer' | 'receiver') => [`${ADDRESS[4][end]}/24`, `${ADDRESS[6][end]}/64`];
    const namespace = await Namespace.create('anybal-bench', ends('announcer'), ends('receiver'));
    const folder = mkdtempSync(join(tmpdir(), 'anybal-bench-'));
    const at = (name: string) => join(folder, name);
    writeFileSync(at('bird.conf'), config());
    const child = namespace.spawn('/usr/sbin/bird', '-f', '-c', at('bird.conf'), '-s', at('ctl'), '-P', at('pid'));
    const control = await eventually('BIRD’s control socket', () => Control.open(at('ctl')).catch(() => null));
    return new Receiver(namespace, folder, child, control);
  }

  async progress(family: Family): Promise<Progress> {
    const text = await this.#control.ask(`show protocols all from${family}`);
    return {
      established: /BGP state:\s+Established/.test(text),
      routes: Number(/Routes:\s+(\d+) imported/.exec(text)?.[1] ?? 0),
    };
  }

  /** Lets the announcer in. */
  async enable(family: Family): Promise<void> {
    await this.#control.ask(`enable from${family}`);
  }

  /** Turns it away, and waits until the table is empty. */
  async disable(family: Family): Promise<void> {
    await this.#control.ask(`disable from${family}`);
    await this.until(family, ({ established, routes }) => !established && routes === 0);
  }

  /** performance.now() at the first answer that is as wanted. Asks without a pause. */
  async until(family: Family, done: (progress: Progress) => boolean): Promise<number> {
    const end = performance.now() + LIMIT_MS;
    for (;;) {
      const progress = await this.progress(family);
      if (done(progress)) return performance.now();
      if (performance.now() > end) throw new Error(`the receiver stays at ${JSON.stringify(progress)}`);
      await sleep(0.5);
    }
  }

  async stop(): Promise<void> {
    this.#control.close();
    await kill(this.#child);
    await this.#namespace.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** BIRD's control socket: a line goes in, lines with four digits come back, the last one without a dash behind them. */
export class Control {
  readonly #socket: Socket;
  #held = '';
  #answer: ((text: string) => void) | null = null;
  #gone: (error: Error) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('close', () => this.#gone(new Error('BIRD is gone')));
    socket.on('data', (text: string) => {
      this.#held += text;
      // 0xxx ends well, 8xxx and 9xxx end badly; 1xxx are tables, always followed by another line.
      if (!/^[089]\d{3} .*\n$/m.test(this.#held.slice(this.#held.lastIndexOf('\n', this.#held.length - 2) + 1))) return;
      const answer = this.#answer;
      const said = this.#held;
      this.#held = '';
      this.#answer = null;
      answer?.(said);
    });
  }

  static open(path: string): Promise<Control> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        const control = new Control(socket);
        control.#answer = () => resolve(control);
      });
    });
  }

  ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`BIRD does not answer '${command}'`)), LIMIT_MS);
      this.#gone = (error) => {
        clearTimeout(timer);
        reject(error);
      };
      if (this.#socket.destroyed) this.#gone(new Error('BIRD is gone'));
      this.#answer = (text) => {
        clearTimeout(timer);
        if (/^[89]\d{3} /m.test(text)) reject(new Error(`BIRD, asked '${command}': ${text.trim()}`));
        else resolve(text);
      };
      this.#socket.write(`${command}\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
