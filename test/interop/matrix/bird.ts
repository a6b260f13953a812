// BIRD 2 in the matrix: one protocol for each session, birdc for what it says.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Family } from '../../../src/lib/address.ts';
import { Bird } from '../../support/bird.ts';
import { type Namespace, output } from '../../support/namespace.ts';
import {
  bandwidthOf,
  BFD_AUTH,
  BFD_INTERVAL_MS,
  type CapabilityName,
  count,
  type Deed,
  type Lack,
  type Lane,
  lastWords,
  ourEnd,
  ROUTER_AS,
  type Router,
  type RouteView,
  type SessionView,
  shared,
  SHUTDOWN_TEXT,
  theirEnd,
  type View,
  WIRE,
} from './router.ts';

const HEAD = 'router id 198.18.181.1;\nprotocol device {}\n';
const PACE = `interval ${BFD_INTERVAL_MS} ms; multiplier 3;`;
const AUTH = `authentication meticulous keyed sha1; password "${BFD_AUTH.key}" { id ${BFD_AUTH.keyId}; };`;
const BFD = `protocol bfd { interface "*" { ${PACE} }; multihop { ${PACE} ${AUTH} }; }`;

const lacks: Readonly<Record<string, Lack>> = {
  'software version': { silent: '`show protocols all` lists the capabilities that it knows, and this is none of them' },
  'graceful restart after NOTIFICATION': { refused: 'graceful restart notification on;' },
};

/** As `show protocols all` prints them. */
const CAPABILITIES: readonly (readonly [RegExp, CapabilityName])[] = [
  [/AF announced:.*\bipv4\b/, 'IPv4 unicast'],
  [/AF announced:.*\bipv6\b/, 'IPv6 unicast'],
  [/Route refresh/, 'route refresh'],
  [/4-octet AS/, '4-octet AS'],
  [/Enhanced refresh/, 'enhanced refresh'],
  [/Extended message/, 'extended messages'],
  [/IPv6 nexthop:.*\bipv4\b/, 'extended next hop'],
  [/Graceful restart/, 'graceful restart'],
];

export function bird(): Router {
  const folder = mkdtempSync(join(tmpdir(), 'anybal-matrix-bird-'));
  const log = join(folder, 'log');
  let daemon: Bird | null = null;
  const lanes = new Map<string, Lane>();

  const view = async (): Promise<View> => {
    if (daemon === null) return new Map();
    const [protocols, paths, routes, said] = await Promise.all([
      daemon.ask('show protocols all').catch(() => ''),
      daemon.ask('show bfd sessions').catch(() => ''),
      daemon.ask('show route all').catch(() => ''),
      readFile(log, 'utf8').catch(() => ''),
    ]);
    const byProtocol = readRoutes(routes);
    const sessions = new Map<string, SessionView>();
    for (const block of protocols.split(/\n(?=\w)/)) {
      const protocol = /^(\w+)\s+BGP/.exec(block)?.[1] ?? '';
      const lane = lanes.get(protocol);
      if (lane === undefined) continue;
      sessions.set(
        ourEnd(lane),
        readSession(protocol, lane, block, paths, said, byProtocol.get(protocol) ?? new Map()),
      );
    }
    return sessions;
  };

  return {
    name: 'BIRD',
    debianPackage: 'bird2',
    bfdAuth: true,
    lacks,
    start: async (namespace: Namespace, all) => {
      for (const lane of all) lanes.set(nameOf(lane), lane);
      const text = [HEAD, BFD, `log "${log}" all;`, ...all.map((lane) => protocol(nameOf(lane), lane))].join('\n');
      daemon = new Bird(namespace, text);
    },
    view: shared(view),
    do: async (lane: Lane, deed: Deed) => {
      const name = nameOf(lane);
      const commands = { refresh: `reload in ${name}`, shutdown: `disable ${name} "${SHUTDOWN_TEXT}"` };
      await daemon?.command(commands[deed]);
    },
    complaint: async (lines) => {
      const file = join(folder, `check-${randomUUID()}`);
      writeFileSync(file, `${HEAD}protocol bgp x { local as 1; neighbor 192.0.2.1 as 2; ipv4 {};\n${lines}\n}\n`);
      const answer = await output('/usr/sbin/bird', '-p', '-c', file).then(() => null, lastWords);
      return answer === null ? null : answer.replace(/^bird: \S+ /, '').trim();
    },
    stop: async () => {
      await daemon?.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const nameOf = ({ host }: Lane): string => `lane${host}`;

function protocol(name: string, lane: Lane): string {
  const { as, families, holdTimeSeconds, dials, maximumPrefixes } = lane;
  const limit = maximumPrefixes === null ? '' : `import limit ${maximumPrefixes} action disable;`;
  const channel = (family: Family) =>
    (lane.offersAll || lane.linkLocal) && family === 4 ? `${limit} extended next hop on;` : limit;
  return `protocol bgp ${name} {
  debug { packets, events };
  local ${theirEnd(lane)} as ${ROUTER_AS};
  neighbor ${ourEnd(lane)}${lane.linkLocal ? `%${WIRE}` : ''} as ${as};
  passive ${dials ? 'off' : 'on'};
  hold time ${holdTimeSeconds};
  error wait time 1, 2;
  connect delay time 1;
  connect retry time 1;
  ${extras(lane).join(' ')}
  ${families.map((family) => `ipv${family} { import all; export none; ${channel(family)} };`).join(' ')}
}`;
}

function extras({ multihop, bfd, offersAll, password, ttlSecurity }: Lane): readonly string[] {
  return [
    ...(multihop ? ['multihop 2;'] : []),
    ...(bfd ? ['bfd on;'] : []),
    ...(offersAll ? ['enable extended messages on; advertise hostname on; long lived graceful restart on;'] : []),
    ...(password === null ? [] : [`password "${password}";`]),
    ...(ttlSecurity ? ['ttl security on;'] : []),
  ];
}

function readSession(
  protocol: string,
  lane: Lane,
  block: string,
  paths: string,
  log: string,
  routes: ReadonlyMap<string, RouteView>,
): SessionView {
  const offered = block.split('Neighbor capabilities')[1]?.split('Session:')[0] ?? '';
  const hold = /Hold timer:\s+[\d.]+\/(\d+)/.exec(block)?.[1];
  const established = /BGP state:\s+Established/.test(block);
  return {
    established,
    // Without a timer there is no line about it.
    holdTimeSeconds: established ? Number(hold ?? 0) : null,
    capabilities: new Set(CAPABILITIES.flatMap(([pattern, name]) => (pattern.test(offered) ? [name] : []))),
    refreshMarks: count(log, `${protocol}: Got BEGIN-OF-RR`) + count(log, `${protocol}: Got END-OF-RR`),
    hostname: /Hostname: (.*)/.exec(offered)?.[1] ?? '',
    software: '',
    endsOfRib: count(log, `${protocol}: Got END-OF-RIB\n`),
    bfd: lane.bfd
      ? (paths
          .split('\n')
          .find((line) => line.startsWith(`${ourEnd(lane)} `))
          ?.split(/\s+/)[2] ?? '')
      : '',
    bfdDowns: count(log, `${protocol}: BFD session down`),
    received: /Last error:\s+Received: (.*)/.exec(block)?.[1]?.trim() ?? '',
    routes,
  };
}

/**
 * By protocol and prefix. `show route` prints the prefix only before the first of its routes. Of an iBGP route it looks up the
 * next hop, which no route of its own leads to here.
 */
function readRoutes(text: string): ReadonlyMap<string, ReadonlyMap<string, RouteView>> {
  const found = new Map<string, Map<string, RouteView>>();
  let prefix = '';
  for (const block of text.split(/\n(?=\S| +(?:unicast|unreachable) \[)/)) {
    const [, first, protocol] = /^(\S*)\s+(?:unicast|unreachable) \[(\w+) /.exec(block) ?? [];
    if (protocol === undefined) continue;
    if (first !== undefined && first !== '') prefix = first;
    const routes = found.get(protocol) ?? new Map<string, RouteView>();
    found.set(protocol, routes.set(prefix, readRoute(block)));
  }
  return found;
}

function readRoute(block: string): RouteView {
  const of = (attribute: string) => new RegExp(`BGP\\.${attribute}: ?(.*)`).exec(block)?.[1]?.trim() ?? null;
  const number = (text: string | null) => (text === null ? null : Number(text));
  return {
    // A link-local one stands behind the global one, which may be none.
    nextHop: (of('next_hop') ?? '').replace(/^:: /, ''),
    origin: of('origin') ?? '',
    path: of('as_path') ?? '',
    med: number(of('med')),
    localPref: number(of('local_pref')),
    communities: Array.from((of('community') ?? '').matchAll(/\((\d+),(\d+)\)/g), ([, as, value]) => `${as}:${value}`),
    largeCommunities: tuples(of('large_community')).map((parts) => parts.join(':')),
    extendedCommunities: tuples(of('ext_community')).map(extendedCommunity),
  };
}

/** '(64600, 1, 2) (…)' */
function tuples(text: string | null): readonly (readonly string[])[] {
  return Array.from((text ?? '').matchAll(/\(([^)]*)\)/g), ([, inside = '']) => inside.split(/, ?/));
}

/** BIRD has no name for link bandwidth. */
function extendedCommunity([kind = '', as = '', value = '']: readonly string[]): string {
  return kind === 'unknown 0x4004' ? `lb ${as}:${bandwidthOf(Number(value))}` : `${kind} ${as}:${value}`;
}
