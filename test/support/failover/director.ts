// The directors: our daemon as its users run it, and BIRD as an announcer of the same virtual IP.

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FailoverNetwork, lastWords, type Wire } from './network.ts';
import { DIRECTOR_AS, ROUTER_AS, type Setting, STANDBY_MED } from './setting.ts';

export type DirectorKind = 'anybal' | 'BIRD';

export interface Director {
  readonly pid: number;
  /** What it has said so far. */
  story(): string;
  /** Without a goodbye. */
  kill(): Promise<void>;
}

export interface Place {
  readonly network: FailoverNetwork;
  readonly wire: Wire;
  readonly setting: Setting;
  /** For files; the caller makes and removes it. */
  readonly folder: string;
}

export function startDirector(kind: DirectorKind, place: Place): Director {
  return kind === 'anybal' ? startAnybal(place) : startBird(place, [place.wire.vip], null);
}

/** Announces every wire's virtual IP as the second choice. */
export function startStandby(place: Place): Director {
  return startBird(
    { ...place, setting: STANDBY },
    place.network.wires.map(({ vip }) => vip),
    STANDBY_MED,
  );
}

const STANDBY: Setting = { name: 'stands by', holdTimeSeconds: 90, bfdMs: null, restartSeconds: null };
const MAIN = fileURLToPath(new URL('../../../src/main.js', import.meta.url));

function startAnybal({ network, wire, setting, folder }: Place): Director {
  const at = (name: string) => join(folder, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(at('pool'), "{ 'host': '127.0.0.1', 'weight': 10, 'enabled': True }\n");
  writeFileSync(at('pybal.conf'), anybalConfig(wire, setting, folder));
  return follow(network.host(wire).spawn(process.execPath, MAIN, 'run', '-c', at('pybal.conf')));
}

/** One pool with one server that nobody checks: the route is announced for as long as the daemon lives. */
function anybalConfig(wire: Wire, setting: Setting, folder: string): string {
  return `${globalSection(wire, setting, folder)}
[service]
protocol = tcp
ip = ${wire.vip}
port = 80
scheduler = rr
config = file://${folder}/pool
vip-presence = external
`;
}

/** A session to the router at the other end of the wire. */
export function globalSection(
  { routerAddress, directorAddress }: Wire,
  { holdTimeSeconds, bfdMs, restartSeconds }: Omit<Setting, 'name'>,
  folder: string,
): string {
  const bfd = bfdMs === null ? '' : `bfd = yes\nbfd-interval = ${bfdMs}\nbfd-multiplier = 3\n`;
  const restart =
    restartSeconds === null ? '' : `bgp-graceful-restart = restart\nbgp-graceful-restart-time = ${restartSeconds}\n`;
  return `[global]
bgp = yes
bgp-local-asn = ${DIRECTOR_AS}
bgp-peer-address = ${routerAddress}
bgp-peer-as = ${ROUTER_AS}
bgp-local-address = ${directorAddress}
bgp-local-ips = [ '${directorAddress}' ]
bgp-nexthop-ipv4 = ${directorAddress}
bgp-router-id = ${directorAddress}
bgp-hold-time = ${holdTimeSeconds}
${bfd}${restart}backend = userspace
state-directory = ${folder}/state
control-socket = ${folder}/control.sock
`;
}

function startBird({ network, wire, setting, folder }: Place, vips: readonly string[], med: number | null): Director {
  mkdirSync(folder, { recursive: true });
  const config = join(folder, 'bird.conf');
  writeFileSync(config, birdConfig(wire, setting, vips, med));
  const host = network.host(wire);
  return follow(host.spawn('/usr/sbin/bird', '-f', '-c', config, '-s', join(folder, 'bird.ctl')));
}

function birdConfig(wire: Wire, setting: Setting, vips: readonly string[], med: number | null): string {
  const { bfdMs, holdTimeSeconds, restartSeconds } = setting;
  const restart = restartSeconds === null ? '' : `graceful restart on; graceful restart time ${restartSeconds};`;
  return `
log stderr { warning, error, fatal, bug };
router id ${wire.directorAddress};
protocol device {}
protocol static { ipv4; ${vips.map((vip) => `route ${vip}/32 blackhole;`).join(' ')} }
protocol bfd { interface "eth0" { interval ${bfdMs ?? 100} ms; multiplier 3; }; }
protocol bgp announcer {
  local as ${DIRECTOR_AS};
  neighbor ${wire.routerAddress} as ${ROUTER_AS};
  hold time ${holdTimeSeconds};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ${bfdMs === null ? '' : 'bfd on;'}
  ${restart}
  ipv4 { import none; export filter { ${med === null ? '' : `bgp_med = ${med};`} accept; }; };
}
`;
}

function follow(child: ChildProcess): Director {
  const { pid } = child;
  if (pid === undefined) throw new Error('not started');
  const story = lastWords(child);
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    pid,
    story,
    kill: () => {
      child.kill('SIGKILL');
      return gone;
    },
  };
}
