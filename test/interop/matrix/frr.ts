// FRR's bgpd in the matrix: one neighbour for each session, vtysh's JSON and the debug log for what it says.

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Frr } from '../../support/frr.ts';
import { type Namespace, output } from '../../support/namespace.ts';
import {
  BFD_INTERVAL_MS,
  type CapabilityName,
  communityNumber,
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
  type View,
  WIRE,
} from './router.ts';

const lacks: Readonly<Record<string, Lack>> = {
  'software version': { silent: 'its log says "unrecognized capability code: 75 - ignored"' },
};

const BFDD = `
bfd
 profile matrix
  transmit-interval ${BFD_INTERVAL_MS}
  receive-interval ${BFD_INTERVAL_MS}
  detect-multiplier 3
`;

type Json = Readonly<Record<string, unknown>>;

/** As `show bgp neighbors json` has them: received, with us or from us only. */
const CAPABILITIES: Readonly<Record<string, CapabilityName>> = {
  '4byteAs': '4-octet AS',
  routeRefresh: 'route refresh',
  enhancedRouteRefresh: 'enhanced refresh',
  extendedMessage: 'extended messages',
  extendedNexthop: 'extended next hop',
  gracefulRestart: 'graceful restart',
};

export function frr(): Router {
  const folder = mkdtempSync(join(tmpdir(), 'anybal-matrix-frr-'));
  let daemon: Frr | null = null;
  let lanes: readonly Lane[] = [];

  const view = async (): Promise<View> => {
    if (daemon === null) return new Map();
    const [neighbors, four, six, log] = await Promise.all([
      daemon.json('show bgp neighbors'),
      daemon.json('show bgp ipv4 unicast', 'detail'),
      daemon.json('show bgp ipv6 unicast', 'detail'),
      daemon.log(),
    ]);
    const routes = new Map<string, Map<string, RouteView>>();
    for (const table of [four, six]) learnRoutes(routes, (table?.['routes'] ?? {}) as Record<string, Json[]>);
    const known = Object.entries(neighbors ?? {}).filter(([, one]) => typeof one === 'object');
    return new Map(
      known.map(([address, one]) => [
        address,
        readSession(address, one as Json, log, routes.get(address) ?? new Map()),
      ]),
    );
  };

  return {
    name: 'FRR',
    debianPackage: 'frr',
    bfdAuth: false,
    lacks,
    start: async (namespace: Namespace, all) => {
      lanes = all;
      daemon = await Frr.suite(namespace, config(lanes), 'bgp neighbor-events', BFDD);
    },
    view: shared(view),
    do: async (lane: Lane, deed: Deed) => {
      const address = ourEnd(lane);
      if (deed === 'refresh') {
        for (const family of lane.families) await daemon?.command(`clear bgp ipv${family} unicast ${address} soft in`);
        return;
      }
      const shutdown = `neighbor ${address} shutdown message ${SHUTDOWN_TEXT}`;
      await daemon?.command('configure terminal', `router bgp ${ROUTER_AS}`, shutdown);
    },
    complaint: async (lines) => {
      const file = join(folder, `check-${randomUUID()}`);
      writeFileSync(file, `router bgp 1\n neighbor 192.0.2.1 remote-as 2\n${lines}\n`);
      const answer = await output('/usr/lib/frr/bgpd', '-C', '-f', file).then(() => null, lastWords);
      return answer === null ? null : (/\] (No such command.*?)(?: on config line \d+)?:/.exec(answer)?.[1] ?? answer);
    },
    stop: async () => {
      await daemon?.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function config(lanes: readonly Lane[]): string {
  const family = (wanted: 4 | 6) => `
 address-family ipv${wanted} unicast
${lanes
  .filter(({ families }) => families.includes(wanted))
  .map(activation)
  .join('\n')}
 exit-address-family`;
  return `
hostname frr
router bgp ${ROUTER_AS}
 bgp router-id 198.18.182.1
 bgp log-neighbor-changes
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp disable-ebgp-connected-route-check
${lanes.map(neighbor).join('\n')}
${family(4)}
${family(6)}
`;
}

function activation(lane: Lane): string {
  const name = `  neighbor ${ourEnd(lane)}`;
  const limit = lane.maximumPrefixes === null ? '' : `\n${name} maximum-prefix ${lane.maximumPrefixes}`;
  return `${name} activate${limit}`;
}

function neighbor(lane: Lane): string {
  const { as, holdTimeSeconds: hold, dials } = lane;
  const lines = [`remote-as ${as}`, `timers ${Math.floor(hold / 3)} ${hold}`, 'timers connect 1'];
  if (!dials) lines.push('passive');
  if (lane.multihop) lines.push('ebgp-multihop 2');
  if (lane.offersAll || lane.linkLocal) lines.push('capability extended-nexthop');
  if (lane.linkLocal) lines.push(`interface ${WIRE}`);
  if (lane.longOpen) lines.push('extended-optional-parameters');
  if (lane.password !== null) lines.push(`password ${lane.password}`);
  if (lane.ttlSecurity) lines.push('ttl-security hops 1');
  if (lane.bfd) lines.push('bfd', 'bfd profile matrix');
  return lines.map((line) => ` neighbor ${ourEnd(lane)} ${line}`).join('\n');
}

function readSession(address: string, one: Json, log: string, routes: ReadonlyMap<string, RouteView>): SessionView {
  const capabilities = (one['neighborCapabilities'] ?? {}) as Json;
  const received = (value: unknown) => /received/i.test(JSON.stringify(value));
  const names = Object.entries(CAPABILITIES).flatMap(([key, name]) =>
    received(capabilities[key] ?? '') ? [name] : [],
  );
  const families = (capabilities['multiprotocolExtensions'] ?? {}) as Json;
  const { nBit } = (one['gracefulRestartInfo'] ?? {}) as Json;
  if (nBit === true) names.push('restart after NOTIFICATION');
  if (received(families['ipv4Unicast'] ?? '')) names.push('IPv4 unicast');
  if (received(families['ipv6Unicast'] ?? '')) names.push('IPv6 unicast');
  const established = one['bgpState'] === 'Established';
  return {
    established,
    holdTimeSeconds: established ? Number(one['bgpTimerHoldTimeMsecs']) / 1000 : null,
    capabilities: new Set(names),
    refreshMarks: marks(log, address),
    hostname: hostname((capabilities['hostName'] ?? {}) as Json),
    software: '',
    endsOfRib: [4, 6].reduce(
      (sum, family) => sum + count(log, `rcvd End-of-RIB for IPv${family} Unicast from ${address} `),
      0,
    ),
    bfd: String((one['peerBfdInfo'] as Json | undefined)?.['status'] ?? ''),
    bfdDowns: count(log, ` neighbor ${address} 6/10 (Cease/BFD Down)`),
    received:
      one['lastResetDueTo'] === 'BGP Notification received'
        ? `${String(one['lastNotificationReason'])}${one['lastNotificationHardReset'] === true ? ' (Hard Reset)' : ''}`
        : '',
    routes,
  };
}

function hostname({ rcvHostName: host = '', rcvDomainName: domain = 'n/a' }: Json): string {
  return domain === 'n/a' ? String(host) : `${String(host)}.${String(domain)}`;
}

function learnRoutes(into: Map<string, Map<string, RouteView>>, table: Record<string, readonly Json[]>): void {
  for (const [prefix, [, ...paths]] of Object.entries(table)) {
    for (const path of paths) {
      const { peerId } = path['peer'] as { readonly peerId: string };
      const routes = into.get(peerId) ?? new Map<string, RouteView>();
      into.set(peerId, routes.set(prefix, readRoute(path)));
    }
  }
}

function readRoute(path: Json): RouteView {
  const [nextHop] = path['nexthops'] as readonly { readonly ip: string }[];
  const string = (key: string) => (path[key] as { readonly string: string } | undefined)?.string ?? '';
  const words = (key: string) =>
    string(key)
      .split(' ')
      .filter((word) => word !== '');
  // 'RT:64600:7 LB:64600:125000000 (1.000 Gbps)'
  const extended = Array.from(string('extendedCommunity').matchAll(/([A-Z]+):(\d+:\d+)/g));
  const number = (key: string) => (key in path ? Number(path[key]) : null);
  return {
    nextHop: nextHop?.ip ?? '',
    origin: String(path['origin']),
    path: string('aspath').replace(/^Local$/, ''),
    med: number('metric'),
    localPref: number('locPrf'),
    communities: words('community').map(communityNumber),
    largeCommunities: words('largeCommunity'),
    extendedCommunities: extended.map(([, kind = '', value = '']) => `${kind.toLowerCase()} ${value}`),
  };
}

/** RFC 7313 */
function marks(log: string, address: string): number {
  return log.match(new RegExp(`${address}\\S* rcvd route-refresh \\([BE]oRR\\) for `, 'g'))?.length ?? 0;
}
