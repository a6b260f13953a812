// The routers: BIRD, and FRR with zebra, bgpd and bfdd. Both wait for the directors' calls, take everything that they
// announce, and write it to their kernel.

import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, kill, output } from '../namespace.ts';
import { type FailoverNetwork, type Host, lastWords, type Wire } from './network.ts';
import { DIRECTOR_AS, ROUTER_AS, type Setting } from './setting.ts';

export type RouterKind = 'BIRD' | 'FRR';

export interface Router {
  /** Addresses of directors with which BFD is up. */
  bfdUp(): Promise<ReadonlySet<string>>;
  /** What it says of its sessions, for the message of an error. */
  story(): Promise<string>;
  stop(): Promise<void>;
}

export async function startRouter(kind: RouterKind, network: FailoverNetwork, setting: Setting): Promise<Router> {
  return kind === 'BIRD' ? new BirdRouter(network, setting) : FrrRouter.start(network, setting);
}

class BirdRouter implements Router {
  readonly #folder = mkdtempSync(join(tmpdir(), 'anybal-failover-bird-'));
  readonly #child: ChildProcess;
  readonly #said: () => string;

  constructor({ router, wires }: FailoverNetwork, setting: Setting) {
    writeFileSync(this.#at('conf'), birdRouterConfig(wires, setting));
    this.#child = router.spawn('/usr/sbin/bird', '-f', '-c', this.#at('conf'), '-s', this.#at('ctl'));
    this.#said = lastWords(this.#child);
  }

  async bfdUp(): Promise<ReadonlySet<string>> {
    const text = await this.#ask('show bfd sessions');
    return new Set(Array.from(text.matchAll(/^(\S+)\s+\S+\s+Up\s/gm), ([, address]) => address ?? ''));
  }

  async story(): Promise<string> {
    return [await this.#ask('show protocols'), await this.#ask('show bfd sessions'), this.#said()].join('\n');
  }

  async stop(): Promise<void> {
    await kill(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #ask(command: string): Promise<string> {
    return output('/usr/sbin/birdc', '-r', '-s', this.#at('ctl'), command).catch(String);
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }
}

function birdRouterConfig(wires: readonly Wire[], { holdTimeSeconds, bfdMs }: Setting): string {
  const [first] = wires;
  return `
log stderr { warning, error, fatal, bug };
router id ${first?.routerAddress};
protocol device {}
protocol kernel { ipv4 { import none; export all; }; }
protocol bfd { interface "d*" { interval ${bfdMs ?? 100} ms; multiplier 3; }; }
template bgp director {
  local as ${ROUTER_AS};
  passive on;
  hold time ${holdTimeSeconds};
  error wait time 1, 2;
  ${bfdMs === null ? '' : 'bfd on;'}
  ipv4 { import all; export none; };
}
${wires
  .map(
    ({ index, directorAddress }) =>
      `protocol bgp from${index} from director { neighbor ${directorAddress} as ${DIRECTOR_AS}; }`,
  )
  .join('\n')}
`;
}

class FrrRouter implements Router {
  readonly #host: Host;
  readonly #folder = mkdtempSync(join(tmpdir(), 'anybal-failover-frr-'));
  readonly #children: { readonly name: string; readonly child: ChildProcess; readonly said: () => string }[] = [];

  private constructor(host: Host) {
    this.#host = host;
    // The daemons give up root, and make files here.
    chmodSync(this.#folder, 0o777);
  }

  static async start({ router, wires }: FailoverNetwork, setting: Setting): Promise<FrrRouter> {
    const frr = new FrrRouter(router);
    frr.#start('zebra', '');
    // Whoever finds no zebra tries again only after ten seconds.
    await eventually('zebra', () => existsSync(frr.#at('zserv')));
    frr.#start('bfdd', bfddConfig(setting), '--bfdctl', frr.#at('bfdd.sock'));
    frr.#start('bgpd', bgpdConfig(wires, setting));
    return frr;
  }

  #start(name: string, config: string, ...more: readonly string[]): void {
    writeFileSync(this.#at(`${name}.conf`), config);
    const files = ['-f', this.#at(`${name}.conf`), '-i', this.#at(`${name}.pid`), '-z', this.#at('zserv')];
    const child = this.#host.spawn(`/usr/lib/frr/${name}`, ...files, '-P', '0', '--vty_socket', this.#folder, ...more);
    this.#children.push({ name, child, said: lastWords(child) });
  }

  async bfdUp(): Promise<ReadonlySet<string>> {
    const text = await this.#ask('show bfd peers json').catch(() => '[]');
    const peers = JSON.parse(text) as readonly { readonly peer: string; readonly status: string }[];
    return new Set(peers.filter(({ status }) => status === 'up').map(({ peer }) => peer));
  }

  async story(): Promise<string> {
    const views = ['show bgp summary', 'show bfd peers brief'].map((command) => this.#ask(command).catch(String));
    return [...(await Promise.all(views)), ...this.#children.map(({ said }) => said())].join('\n');
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map(({ child }) => kill(child)));
    rmSync(this.#folder, { recursive: true, force: true });
    // FRR keeps folders for crash logs by process id.
    for (const { name, child } of this.#children) {
      if (child.pid !== undefined) rmSync(`/var/tmp/frr/${name}.${child.pid}`, { recursive: true, force: true });
    }
  }

  #ask(command: string): Promise<string> {
    return output('/usr/bin/vtysh', '--vty_socket', this.#folder, '-c', command);
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }
}

function bfddConfig({ bfdMs }: Setting): string {
  if (bfdMs === null) return '';
  return `bfd
 profile director
  transmit-interval ${bfdMs}
  receive-interval ${bfdMs}
  detect-multiplier 3
`;
}

function bgpdConfig(wires: readonly Wire[], { holdTimeSeconds, bfdMs }: Setting): string {
  const [first] = wires;
  const neighbor = ({ directorAddress }: Wire) =>
    [
      `remote-as ${DIRECTOR_AS}`,
      `timers ${Math.floor(holdTimeSeconds / 3)} ${holdTimeSeconds}`,
      'passive',
      ...(bfdMs === null ? [] : ['bfd profile director']),
    ].map((line) => ` neighbor ${directorAddress} ${line}`);
  return `router bgp ${ROUTER_AS}
 bgp router-id ${first?.routerAddress}
 no bgp ebgp-requires-policy
${wires.flatMap(neighbor).join('\n')}
`;
}
