// FRR's bfdd (with the zebra that it asks for interfaces) in a namespace, and what it says of its sessions.

import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, kill, type Namespace, output } from './namespace.ts';

export interface BfddPeer {
  readonly peer: string;
  readonly multihop: boolean;
  readonly status: string;
  readonly diagnostic: string;
  readonly 'remote-diagnostic': string;
  readonly 'remote-transmit-interval': number;
  readonly 'transmit-interval': number;
}

export class Bfdd {
  readonly #folder = mkdtempSync(join(tmpdir(), 'anybal-bfdd-'));
  readonly #namespace: Namespace;
  readonly #children: { readonly name: string; readonly child: ChildProcess }[] = [];

  private constructor(namespace: Namespace) {
    this.#namespace = namespace;
    // The daemons give up root, and make files here.
    chmodSync(this.#folder, 0o777);
  }

  static async start(namespace: Namespace, config: string): Promise<Bfdd> {
    const bfdd = new Bfdd(namespace);
    bfdd.#start('zebra', '');
    // Whoever finds no zebra tries again only after ten seconds.
    await eventually('zebra', () => existsSync(join(bfdd.#folder, 'zserv')));
    bfdd.#start('bfdd', config, '--bfdctl', join(bfdd.#folder, 'bfdd.sock'));
    await eventually('bfdd', async () => ((await bfdd.#json('show bfd peers json')) === null ? null : true));
    return bfdd;
  }

  /** By the address of the other side. */
  async peers(): Promise<ReadonlyMap<string, BfddPeer>> {
    const peers = ((await this.#json('show bfd peers json')) ?? []) as readonly BfddPeer[];
    return new Map(peers.map((peer) => [peer.peer, peer]));
  }

  /** Times that a session went down. */
  async downs(): Promise<ReadonlyMap<string, number>> {
    const counters = ((await this.#json('show bfd peers counters json')) ?? []) as readonly Record<string, unknown>[];
    return new Map(counters.map((each) => [String(each['peer']), Number(each['session-down'])]));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map(({ child }) => kill(child)));
    rmSync(this.#folder, { recursive: true, force: true });
    // FRR keeps folders for crash logs by process id.
    for (const { name, child } of this.#children) {
      if (child.pid !== undefined) rmSync(`/var/tmp/frr/${name}.${child.pid}`, { recursive: true, force: true });
    }
  }

  #start(name: string, config: string, ...more: readonly string[]): void {
    const at = (file: string) => join(this.#folder, file);
    writeFileSync(at(`${name}.conf`), config);
    const files = ['-f', at(`${name}.conf`), '-i', at(`${name}.pid`), '-z', at('zserv'), '--vty_socket', this.#folder];
    this.#children.push({
      name,
      child: this.#namespace.spawn(`/usr/lib/frr/${name}`, ...files, '-P', '0', ...more),
    });
  }

  async #json(command: string): Promise<unknown> {
    try {
      return JSON.parse(await output('/usr/bin/vtysh', '--vty_socket', this.#folder, '-c', command));
    } catch {
      return null;
    }
  }
}
