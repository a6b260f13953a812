// FRR's bgpd (without zebra) in a namespace, and what it says in JSON.

import type { ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kill, type Namespace, output } from './namespace.ts';

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
  readonly #child: ChildProcess;

  /** `debug`: what bgpd's log should be full of, such as 'bgp neighbor-events'. */
  constructor(namespace: Namespace, config: string, debug: string | null = null) {
    this.#folder = mkdtempSync(join(tmpdir(), 'anybal-frr-'));
    // vtysh looks for sockets as the frr group even when nobody was asked to change user.
    chmodSync(this.#folder, 0o777);
    const at = (name: string) => join(this.#folder, name);
    const log = debug === null ? '' : `log file ${at('log')}\ndebug ${debug}\n`;
    writeFileSync(at('bgpd.conf'), `${log}${config}`);
    const where = ['-f', at('bgpd.conf'), '-i', at('bgpd.pid'), '--vty_socket', this.#folder];
    // -Z: no zebra. -S: no change of user. -n: no kernel routes. -P 0: no telnet.
    this.#child = namespace.spawn('/usr/lib/frr/bgpd', '-Z', '-S', '-n', '-P', '0', ...where);
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
    return readFile(join(this.#folder, 'log'), 'utf8').catch(() => '');
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
    await kill(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
    // bgpd keeps a folder for crash logs by its process id.
    if (this.#child.pid !== undefined) rmSync(`/var/tmp/frr/bgpd.${this.#child.pid}`, { recursive: true, force: true });
  }
}
