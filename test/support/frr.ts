// FRR's bgpd in a namespace, alone or with zebra and bfdd, and what it says in JSON.

import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, kill, type Namespace, output } from './namespace.ts';

export interface FrrPath {
  readonly path: string;
  readonly origin: string;
  readonly metric?: number;
  readonly locPrf?: number;
  readonly communities: string;
  readonly nextHops: readonly string[];
}

export class Frr {
  readonly #folder: string;
  readonly #namespace: Namespace;
  readonly #children: { readonly name: string; readonly child: ChildProcess }[] = [];

  private constructor(namespace: Namespace) {
    this.#namespace = namespace;
    this.#folder = mkdtempSync(join(tmpdir(), 'anybal-frr-'));
    // vtysh looks for sockets as the frr group even when nobody was asked to change user.
    chmodSync(this.#folder, 0o777);
  }

  /** bgpd alone. */
  static bgpd(namespace: Namespace, config: string): Frr {
    const frr = new Frr(namespace);
    // -Z: no zebra.
    frr.#bgpd(config, '-Z');
    return frr;
  }

  /** With zebra, which knows interfaces, and bfdd. `debug`: what bgpd's log should be full of: 'bgp neighbor-events'. */
  static async suite(namespace: Namespace, config: string, debug: string, bfdd: string): Promise<Frr> {
    const frr = new Frr(namespace);
    frr.#start('zebra', '');
    const socket = frr.#at('zserv');
    // Whoever finds no zebra tries again only after ten seconds.
    await eventually('zebra', () => existsSync(socket));
    // What zebra has not put into its table yet has no next hop, and bgpd cuts a session to there, though it is established.
    await eventually('zebra with the routes of its interfaces', async () => {
      const known = await Promise.all(['ip', 'ipv6'].map((family) => frr.json(`show ${family} route connected`)));
      return (await namespace.connected()).every((prefix) => known.some((table) => table !== null && prefix in table));
    });
    frr.#start('bfdd', bfdd, '-z', socket, '--bfdctl', frr.#at('bfdd.sock'));
    frr.#bgpd(`log file ${frr.#at('log')}\ndebug ${debug}\n${config}`, '-z', socket);
    return frr;
  }

  /** `more` goes behind the word json. */
  async json(command: string, more = ''): Promise<Record<string, unknown> | null> {
    try {
      const text = await output('/usr/bin/vtysh', '--vty_socket', this.#folder, '-c', `${command} json ${more}`.trim());
      return JSON.parse(text) as Record<string, unknown>;
    } catch {
      return null;
    }
  }

  async command(...commands: readonly string[]): Promise<string> {
    const args = commands.flatMap((command) => ['-c', command]);
    return output('/usr/bin/vtysh', '--vty_socket', this.#folder, ...args);
  }

  /** What it has logged until now, if it was told to. */
  async log(): Promise<string> {
    return readFile(this.#at('log'), 'utf8').catch(() => '');
  }

  /** What one neighbour's entry says, or null. */
  async neighbor(address: string): Promise<Record<string, unknown> | null> {
    const all = await this.json(`show bgp neighbors ${address}`);
    return (all?.[address] as Record<string, unknown> | undefined) ?? null;
  }

  async state(address: string): Promise<string> {
    return String((await this.neighbor(address))?.['bgpState'] ?? '');
  }

  /** The only path of one prefix as FRR has it, or null. */
  async path(family: 'ipv4' | 'ipv6', prefix: string): Promise<FrrPath | null> {
    const answer = await this.json(`show bgp ${family} unicast ${prefix}`);
    const [path] = (answer?.['paths'] as Record<string, unknown>[] | undefined) ?? [];
    if (path === undefined) return null;
    const aspath = path['aspath'] as { string: string };
    const nexthops = path['nexthops'] as { ip: string }[];
    const community = path['community'] as { string: string } | undefined;
    return {
      path: aspath.string,
      origin: String(path['origin']),
      ...('metric' in path ? { metric: Number(path['metric']) } : {}),
      ...('locPrf' in path ? { locPrf: Number(path['locPrf']) } : {}),
      communities: community?.string ?? '',
      nextHops: nexthops.map(({ ip }) => ip),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map(({ child }) => kill(child)));
    rmSync(this.#folder, { recursive: true, force: true });
    // FRR keeps folders for crash logs by process id.
    for (const { name, child } of this.#children) {
      if (child.pid !== undefined) rmSync(`/var/tmp/frr/${name}.${child.pid}`, { recursive: true, force: true });
    }
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }

  #bgpd(config: string, ...zebra: readonly string[]): void {
    // -S: no change of user. -n: no kernel routes.
    this.#start('bgpd', config, '-S', '-n', ...zebra);
  }

  #start(name: string, config: string, ...more: readonly string[]): void {
    writeFileSync(this.#at(`${name}.conf`), config);
    const where = ['-f', this.#at(`${name}.conf`), '-i', this.#at(`${name}.pid`), '--vty_socket', this.#folder];
    // -P 0: no telnet. zebra's socket is named by itself too.
    const socket = name === 'zebra' ? ['-z', this.#at('zserv')] : [];
    const child = this.#namespace.spawn(`/usr/lib/frr/${name}`, ...where, '-P', '0', ...socket, ...more);
    this.#children.push({ name, child });
  }
}
