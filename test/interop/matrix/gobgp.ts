// GoBGP in the matrix: one neighbour for each session, `gobgp -j` and its log for what it says.

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Namespace, output } from '../../support/namespace.ts';
import {
  type CapabilityName,
  type Deed,
  type Lack,
  type Lane,
  lastWords,
  NOTHING,
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
  withoutZone,
} from './router.ts';

const GLOBAL = `
[global.config]
  as = ${ROUTER_AS}
  router-id = "198.18.183.1"
[global.apply-policy.config]
  default-export-policy = "reject-route"
`;

const RESTART = `[neighbors.graceful-restart.config]
enabled = true
restart-time = 20
notification-enabled = true
long-lived-enabled = true`;
const LONG_LIVED = `
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
[neighbors.afi-safis.long-lived-graceful-restart.config]
enabled = true
restart-time = 20`;

const lacks: Readonly<Record<string, Lack>> = {
  'extended optional parameters': { silent: 'to such an OPEN it says "Bad Message Length (1/2)"' },
  'extended messages': { silent: '`gobgp neighbor` has it as "UnknownCapability(6): received"' },
  'enhanced route refresh': {
    silent: 'it asks for no refresh, and `gobgp neighbor` has the capability as "received" only',
  },
  BFD: { refused: '[neighbors.bfd.config]\nenabled = true' },
  'BFD over IPv6': { refused: '[neighbors.bfd.config]\nenabled = true' },
  'BFD, multihop': { refused: '[neighbors.bfd.config]\nenabled = true' },
  'route refresh': {
    silent:
      '`neighbor … softresetin` reads its own table again (log: "Neighbor soft reset in"), "Route Refresh:" stays 0',
  },
};

interface Any {
  readonly type_url: string;
  /** A protobuf message in base64. */
  readonly value?: string;
}

interface Neighbor {
  readonly conf: { readonly neighbor_address: string };
  readonly state: { readonly session_state?: number; readonly remote_cap?: readonly Any[] };
  readonly timers: { readonly state?: { readonly negotiated_hold_time?: number } };
  readonly afi_safis?: readonly {
    readonly mp_graceful_restart?: { readonly state?: { readonly end_of_rib_received?: boolean } };
  }[];
}

interface Attribute {
  readonly type: number;
  readonly value?: unknown;
  readonly as_paths?: readonly { readonly asns: readonly number[] }[];
  readonly nexthop?: string;
  readonly metric?: number;
  readonly communities?: readonly number[];
}

type Table = Readonly<
  Record<string, readonly { readonly attrs: readonly Attribute[]; readonly 'neighbor-ip': string }[]>
>;

/** Code of the capability. */
const SOFTWARE_VERSION = 75;
/** In the flags of the graceful restart capability (RFC 8538 §2). */
const N_BIT = 4;

/** In `session_state`. */
const ESTABLISHED = 6;

/** Protobuf messages of capabilities. */
const CAPABILITIES: Readonly<Record<string, CapabilityName>> = {
  RouteRefreshCapability: 'route refresh',
  FourOctetASNCapability: '4-octet AS',
  EnhancedRouteRefreshCapability: 'enhanced refresh',
  ExtendedNexthopCapability: 'extended next hop',
  GracefulRestartCapability: 'graceful restart',
  'MultiProtocolCapability CgQIARAB': 'IPv4 unicast',
  'MultiProtocolCapability CgQIAhAB': 'IPv6 unicast',
};

export function gobgp(): Router {
  const folder = mkdtempSync(join(tmpdir(), 'anybal-matrix-gobgp-'));
  const socket = join(folder, 'api');
  const log = join(folder, 'log');
  const ask = (...args: readonly string[]) => output('/usr/bin/gobgp', '--target', `unix://${socket}`, ...args);
  const json = async <T>(nothing: T, ...args: readonly string[]): Promise<T> =>
    ask('-j', ...args).then(
      (text) => JSON.parse(text) as T,
      () => nothing,
    );

  const view = async (): Promise<View> => {
    const [neighbors, four, six, said] = await Promise.all([
      json<readonly Neighbor[]>([], 'neighbor'),
      json<Table>({}, 'global', 'rib', '-a', 'ipv4'),
      json<Table>({}, 'global', 'rib', '-a', 'ipv6'),
      readFile(log, 'utf8').catch(() => ''),
    ]);
    const routes = new Map<string, Map<string, RouteView>>();
    for (const table of [four, six]) learnRoutes(routes, table);
    const received = notifications(said);
    return new Map(
      neighbors.map((one): [string, SessionView] => {
        const address = withoutZone(one.conf.neighbor_address);
        return [address, readSession(one, received.get(address) ?? '', routes.get(address) ?? new Map())];
      }),
    );
  };

  return {
    name: 'GoBGP',
    debianPackage: 'gobgpd',
    bfdAuth: false,
    lacks,
    start: async (namespace: Namespace, lanes) => {
      const file = join(folder, 'gobgpd.toml');
      writeFileSync(file, [GLOBAL, ...lanes.map(neighbor)].join('\n'));
      const args = ['-f', file, '--pprof-disable', '--api-hosts', `unix://${socket}`];
      // The one daemon that logs nowhere but to its standard output.
      namespace.spawn('/bin/sh', '-c', 'log=$1; shift; exec "$@" >"$log" 2>&1', 'sh', log, '/usr/bin/gobgpd', ...args);
    },
    view: shared(view),
    do: async (lane: Lane, deed: Deed) => {
      if (deed !== 'shutdown') throw new Error(`GoBGP has no ${deed}`);
      await ask('neighbor', ourEnd(lane), 'shutdown', '--reason', SHUTDOWN_TEXT);
    },
    complaint: async (lines) => {
      const file = join(folder, `check-${randomUUID()}`);
      const neighbor = '[[neighbors]]\n[neighbors.config]\nneighbor-address = "192.0.2.1"\npeer-as = 2';
      writeFileSync(file, `${GLOBAL}\n${neighbor}\n${lines}\n`);
      const answer = await output('/usr/bin/gobgpd', '-d', '-f', file).then(() => null, lastWords);
      const error = answer === null ? null : (/"Error":"(.*?)","/.exec(answer)?.[1] ?? answer);
      return error?.replaceAll('\\n', ' ').replace(/ +\* /, ' ') ?? null;
    },
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

function neighbor(lane: Lane): string {
  const { maximumPrefixes } = lane;
  const limit =
    maximumPrefixes === null ? '' : `\n[neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = ${maximumPrefixes}`;
  const families = lane.families.map(
    (family) =>
      `[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = "ipv${family}-unicast"${limit}${lane.offersAll ? LONG_LIVED : ''}`,
  );
  return `[[neighbors]]
[neighbors.config]
neighbor-address = "${ourEnd(lane)}${lane.linkLocal ? `%${WIRE}` : ''}"
peer-as = ${lane.as}
auth-password = "${lane.password ?? ''}"
[neighbors.timers.config]
hold-time = ${lane.holdTimeSeconds}
keepalive-interval = ${Math.floor(lane.holdTimeSeconds / 3)}
connect-retry = 1
idle-hold-time-after-reset = 1
[neighbors.transport.config]
passive-mode = ${!lane.dials}
${lane.linkLocal ? `local-address = "${theirEnd(lane)}%${WIRE}"` : ''}
${lane.offersAll ? RESTART : ''}
[neighbors.ttl-security.config]
enabled = ${lane.ttlSecurity}
ttl-min = 255
[neighbors.ebgp-multihop.config]
enabled = ${lane.multihop}
multihop-ttl = 2
${families.join('\n')}`;
}

function readSession(one: Neighbor, received: string, routes: ReadonlyMap<string, RouteView>): SessionView {
  const families = one.afi_safis ?? [];
  const names = (one.state.remote_cap ?? []).flatMap(({ type_url, value = '' }) => {
    const type = type_url.split('apipb.')[1] ?? '';
    const name = CAPABILITIES[type] ?? CAPABILITIES[`${type} ${value}`];
    const keeps = type === 'GracefulRestartCapability' && (Number(protobuf(value).get(1) ?? 0) & N_BIT) !== 0;
    return [...(name === undefined ? [] : [name]), ...(keeps ? (['restart after NOTIFICATION'] as const) : [])];
  });
  const established = one.state.session_state === ESTABLISHED;
  return {
    established,
    // A zero is left out.
    holdTimeSeconds: established ? (one.timers.state?.negotiated_hold_time ?? 0) : null,
    capabilities: new Set(names),
    refreshMarks: NOTHING.refreshMarks,
    hostname: hostname(one.state.remote_cap ?? []),
    software: software(one.state.remote_cap ?? []),
    endsOfRib: families.filter((family) => family.mp_graceful_restart?.state?.end_of_rib_received === true).length,
    bfd: NOTHING.bfd,
    bfdDowns: NOTHING.bfdDowns,
    received,
    routes,
  };
}

/** The last one of each neighbour, as 'code/subcode'. */
function notifications(log: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const line of log.split('\n')) {
    if (!line.includes('received notification')) continue;
    const { Key, Code, Subcode } = JSON.parse(line) as {
      readonly Key: string;
      readonly Code: number;
      readonly Subcode: number;
    };
    found.set(Key, `${Code}/${Subcode}`);
  }
  return found;
}

function learnRoutes(into: Map<string, Map<string, RouteView>>, table: Table): void {
  for (const [prefix, paths] of Object.entries(table)) {
    for (const { attrs, 'neighbor-ip': from } of paths) {
      const routes = into.get(withoutZone(from)) ?? new Map<string, RouteView>();
      into.set(withoutZone(from), routes.set(prefix, readRoute(attrs)));
    }
  }
}

function readRoute(attributes: readonly Attribute[]): RouteView {
  const of = new Map(attributes.map((attribute) => [attribute.type, attribute]));
  return {
    nextHop: of.get(3)?.nexthop ?? of.get(14)?.nexthop ?? '',
    origin: of.get(1)?.value === 0 ? 'IGP' : String(of.get(1)?.value),
    path: (of.get(2)?.as_paths ?? []).flatMap(({ asns }) => asns).join(' '),
    med: of.get(4)?.metric ?? null,
    localPref: (of.get(5)?.value as number | undefined) ?? null,
    communities: (of.get(8)?.communities ?? []).map((one) => `${one >>> 16}:${one & 0xffff}`),
    largeCommunities: ((of.get(32)?.value ?? []) as readonly Large[]).map(
      ({ ASN, LocalData1, LocalData2 }) => `${ASN}:${LocalData1}:${LocalData2}`,
    ),
    extendedCommunities: ((of.get(16)?.value ?? []) as readonly Extended[]).map(extendedCommunity),
  };
}

interface Large {
  readonly ASN: number;
  readonly LocalData1: number;
  readonly LocalData2: number;
}

interface Extended {
  readonly type: number;
  readonly subtype: number;
  readonly value?: string;
  readonly asn?: number;
  readonly bandwidth?: number;
}

function extendedCommunity({ type, subtype, value, asn, bandwidth }: Extended): string {
  return bandwidth === undefined ? `${type === 0 && subtype === 2 ? 'rt' : type} ${value}` : `lb ${asn}:${bandwidth}`;
}

const hostname = (capabilities: readonly Any[]): string => {
  const fields = protobuf(capabilities.find(({ type_url }) => type_url.endsWith('FqdnCapability'))?.value);
  return [fields.get(1), fields.get(2)].map(String).join('.');
};

/** It has no name for this capability and shows its octets. */
function software(capabilities: readonly Any[]): string {
  const unknown = capabilities.filter(({ type_url }) => type_url.endsWith('UnknownCapability'));
  const fields = unknown.map(({ value }) => protobuf(value)).find((each) => each.get(1) === SOFTWARE_VERSION);
  return fields?.get(2)?.toString().slice(1) ?? '';
}

/** Fields by their numbers: numbers below 128, and octets. */
function protobuf(base64 = ''): ReadonlyMap<number, number | Buffer> {
  const bytes = Buffer.from(base64, 'base64');
  const fields = new Map<number, number | Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const [tag = 0, value = 0] = bytes.subarray(at, (at += 2));
    const octets = (tag & 7) === 2;
    fields.set(tag >> 3, octets ? bytes.subarray(at, at + value) : value);
    if (octets) at += value;
  }
  return fields;
}
