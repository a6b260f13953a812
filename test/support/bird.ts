// BIRD 2 in a namespace, and what it says of its BGP sessions and routes.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { kill, type Namespace, output } from './namespace.ts';

export interface BirdRoute {
  /** `198.51.100.1/32` */
  readonly prefix: string;
  readonly nextHop: string;
  /** As BIRD prints them: 'BGP.as_path' → '64600 64601'. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** Commands with the arguments that come first. */
export interface BirdPrograms {
  readonly daemon: readonly [command: string, ...args: string[]];
  readonly client: readonly [command: string, ...args: string[]];
}

const INSTALLED: BirdPrograms = { daemon: ['/usr/sbin/bird'], client: ['/usr/sbin/birdc'] };

const DAY_MS = 86_400_000;

/** What `since` of one session moves at most. No session is up again so soon after it was up first. */
export const SAME_SESSION_MS = 100;

/**
 * Milliseconds between two of BIRD's `since`, `10:06:16.927`. BIRD works each out anew, from how long ago it was and from
 * clocks that it read at other moments: one and the same `since` is some milliseconds off the next time. An end of the
 * session moves it by all the time for which the session was up.
 */
export function sinceMovedMs(before = '', after = ''): number {
  const [earlier, later] = [before, after].map((text) => {
    const [hours = NaN, minutes = NaN, seconds = NaN] = text.split(':').map(Number);
    return ((hours * 60 + minutes) * 60 + seconds) * 1000;
  }) as [number, number];
  const moved = Math.abs(later - earlier);
  return Math.min(moved, DAY_MS - moved);
}

export class Bird {
  readonly #namespace: Namespace;
  readonly #programs: BirdPrograms;
  readonly #folder: string;
  #child: ChildProcess;

  constructor(namespace: Namespace, config: string, programs = INSTALLED) {
    this.#namespace = namespace;
    this.#programs = programs;
    this.#folder = mkdtempSync(join(tmpdir(), 'anybal-bird-'));
    writeFileSync(join(this.#folder, 'bird.conf'), config);
    this.#child = this.#start();
  }

  #start(): ChildProcess {
    const at = (name: string) => join(this.#folder, name);
    const [daemon, ...first] = this.#programs.daemon;
    return this.#namespace.spawn(daemon, ...first, '-f', '-c', at('bird.conf'), '-s', at('ctl'), '-P', at('pid'));
  }

  async ask(command: string): Promise<string> {
    const [client, ...first] = this.#programs.client;
    return output(client, ...first, '-r', '-s', join(this.#folder, 'ctl'), command);
  }

  async command(command: string): Promise<string> {
    const [client, ...first] = this.#programs.client;
    return output(client, ...first, '-s', join(this.#folder, 'ctl'), command);
  }

  /** Another configuration, taken over at run time. */
  async configure(config: string): Promise<void> {
    writeFileSync(join(this.#folder, 'bird.conf'), config);
    const answer = await this.command('configure');
    if (!/Reconfigur/.test(answer)) throw new Error(`BIRD: ${answer.trim()}`);
  }

  /** 'Established', 'Active' …, or '' while BIRD does not answer. */
  async state(protocol: string): Promise<string> {
    const text = await this.ask(`show protocols all ${protocol}`).catch(() => '');
    return /BGP state:\s+(\w+)/.exec(text)?.[1] ?? '';
  }

  async lastError(protocol: string): Promise<string> {
    const text = await this.ask(`show protocols ${protocol}`).catch(() => '');
    return text.trim().split('\n').at(-1) ?? '';
  }

  /** The routes that a protocol brought, by prefix. */
  async routes(protocol: string): Promise<ReadonlyMap<string, BirdRoute>> {
    const text = await this.ask(`show route protocol ${protocol} all`).catch(() => '');
    const routes = new Map<string, BirdRoute>();
    for (const block of text.split(/\n(?=[0-9a-f.:]+\/\d+)/)) {
      const prefix = /^([0-9a-f.:]+\/\d+)/.exec(block)?.[1];
      if (prefix === undefined) continue;
      const attributes = Object.fromEntries(
        Array.from(block.matchAll(/^\s+(BGP\.\w+): ?(.*)$/gm), (match) => [match[1] ?? '', (match[2] ?? '').trim()]),
      );
      routes.set(prefix, { prefix, nextHop: attributes['BGP.next_hop'] ?? '', attributes });
    }
    return routes;
  }

  async restart(): Promise<void> {
    await kill(this.#child);
    this.#child = this.#start();
  }

  async stop(): Promise<void> {
    await kill(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
