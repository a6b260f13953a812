// OpenBGPD in the matrix: one neighbour for each session, `bgpctl -j` for what it says.

import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Namespace, output } from '../../support/namespace.ts';
import {
  type CapabilityName,
  communityNumber,
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
  type View,
  WIRE,
  withoutZone,
} from './router.ts';

const HEAD = `AS ${ROUTER_AS}\nrouter-id 198.18.184.1\nfib-update no\n`;
/** Where its unprivileged processes are locked in; Debian's unit makes it. */
const CHROOT = '/run/openbgpd';

const lacks: Readonly<Record<string, Lack>> = {
  'extended messages': { refused: 'announce extended message yes' },
  'IPv4 routes with IPv6 next hops': { refused: 'announce extended nexthop yes' },
  'link bandwidth, iBGP': { silent: '`bgpctl show rib` has no words for it: `[4] 0x4004000000000000`' },
  'link bandwidth': { silent: 'what is not transitive does not come in from another AS' },
  hostname: { silent: '`bgpctl show neighbor` lists the capabilities that it knows, and this is none of them' },
  'software version': {
    silent: '`bgpctl show neighbor` lists the capabilities that it knows, and this is none of them',
  },
  'graceful restart after NOTIFICATION': { refused: 'announce graceful notification yes' },
  BFD: { refused: 'bfd' },
  'BFD over IPv6': { refused: 'bfd' },
  'BFD, multihop': { refused: 'bfd' },
};

interface Neighbor {
  readonly remote_addr: string;
  readonly state: string;
  readonly last_error_received?: string;
  readonly stats: {
    readonly update: { readonly received: { readonly eor: number } };
    readonly 'route-refresh': { readonly received: { readonly borr: number; readonly eorr: number } };
  };
  readonly session?: {
    readonly holdtime: number;
    readonly remote: {
      readonly capabilities?: {
        readonly enhanced_refresh?: boolean;
        readonly graceful_restart?: unknown;
        readonly as4byte: boolean;
        readonly refresh: boolean;
        readonly multiprotocol?: readonly string[];
      };
    };
  };
}

interface Path {
  readonly prefix: string;
  readonly aspath: string;
  readonly exit_nexthop: string;
  readonly neighbor: { readonly remote_addr: string };
  readonly origin: string;
  readonly metric: number;
  readonly localpref: number;
  readonly communities?: readonly string[];
  readonly large_communities?: readonly string[];
  readonly extended_communities?: readonly string[];
}

export function openbgpd(): Router {
  const folder = mkdtempSync(join(tmpdir(), 'anybal-matrix-openbgpd-'));
  const socket = join(folder, 'control');
  const ask = (...args: readonly string[]) => output('/usr/sbin/bgpctl', '-s', socket, ...args);
  const json = async <T>(key: string, ...args: readonly string[]): Promise<readonly T[]> =>
    ask('-j', ...args).then(
      (text) => (JSON.parse(text) as Record<string, readonly T[]>)[key] ?? [],
      () => [],
    );
  /** It refuses a file that others may read. */
  const write = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };

  const view = async (): Promise<View> => {
    const [neighbors, paths] = await Promise.all([
      json<Neighbor>('neighbors', 'show', 'neighbor'),
      json<Path>('rib', 'show', 'rib', 'in', 'detail'),
    ]);
    const routes = new Map<string, Map<string, RouteView>>();
    for (const path of paths) {
      const from = withoutZone(path.neighbor.remote_addr);
      routes.set(from, (routes.get(from) ?? new Map<string, RouteView>()).set(path.prefix, readRoute(path)));
    }
    return new Map(
      neighbors.map((one) => {
        const address = withoutZone(one.remote_addr);
        return [address, readSession(one, routes.get(address) ?? new Map())];
      }),
    );
  };

  return {
    name: 'OpenBGPD',
    debianPackage: 'openbgpd',
    bfdAuth: false,
    lacks,
    start: async (namespace: Namespace, lanes) => {
      mkdirSync(CHROOT, { recursive: true });
      chmodSync(folder, 0o755);
      const text = [HEAD, `socket "${socket}"`, ...lanes.map(neighbor), 'allow from any', ''].join('\n');
      namespace.spawn('/usr/sbin/bgpd', '-d', '-f', write('bgpd.conf', text));
    },
    view: shared(view),
    do: async (lane: Lane, deed: Deed) => {
      await ask('neighbor', ourEnd(lane), ...(deed === 'refresh' ? ['refresh'] : ['down', SHUTDOWN_TEXT]));
    },
    complaint: async (lines) => {
      const file = write(`check-${randomUUID()}`, `${HEAD}neighbor 192.0.2.1 {\nremote-as 2\n${lines}\n}\n`);
      const answer = await output('/usr/sbin/bgpd', '-n', '-f', file).then(() => null, lastWords);
      return answer === null ? null : (/\d+: (.*)/.exec(answer)?.[1] ?? answer);
    },
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

function neighbor(lane: Lane): string {
  const lines = [`remote-as ${lane.as}`, `holdtime ${lane.holdTimeSeconds}`];
  for (const family of [4, 6] as const) {
    lines.push(`announce IPv${family} ${lane.families.includes(family) ? 'unicast' : 'none'}`);
  }
  if (!lane.dials) lines.push('passive');
  if (lane.offersAll) lines.push('announce enhanced refresh yes');
  if (lane.multihop) lines.push('multihop 2');
  if (lane.password !== null) lines.push(`tcp md5sig password ${lane.password}`);
  if (lane.ttlSecurity) lines.push('ttl-security yes');
  if (lane.maximumPrefixes !== null) lines.push(`max-prefix ${lane.maximumPrefixes}`);
  return `neighbor ${ourEnd(lane)}${lane.linkLocal ? `%${WIRE}` : ''} {\n${lines.map((line) => `  ${line}`).join('\n')}\n}`;
}

function readSession(one: Neighbor, routes: ReadonlyMap<string, RouteView>): SessionView {
  const offered = one.session?.remote.capabilities;
  const names: CapabilityName[] = [];
  if (offered?.as4byte === true) names.push('4-octet AS');
  if (offered?.refresh === true) names.push('route refresh');
  if (offered?.enhanced_refresh === true) names.push('enhanced refresh');
  if (offered?.graceful_restart !== undefined) names.push('graceful restart');
  for (const family of offered?.multiprotocol ?? []) names.push(family as CapabilityName);
  const marks = one.stats['route-refresh'].received;
  const established = one.state === 'Established';
  return {
    established,
    holdTimeSeconds: established ? (one.session?.holdtime ?? null) : null,
    capabilities: new Set(names),
    refreshMarks: marks.borr + marks.eorr,
    hostname: NOTHING.hostname,
    software: NOTHING.software,
    endsOfRib: one.stats.update.received.eor,
    bfd: NOTHING.bfd,
    bfdDowns: NOTHING.bfdDowns,
    received: one.last_error_received ?? '',
    routes,
  };
}

function readRoute(path: Path): RouteView {
  return {
    nextHop: path.exit_nexthop,
    origin: path.origin,
    path: path.aspath,
    med: path.metric,
    localPref: path.localpref,
    communities: (path.communities ?? []).map(communityNumber),
    largeCommunities: path.large_communities ?? [],
    extendedCommunities: path.extended_communities ?? [],
  };
}
