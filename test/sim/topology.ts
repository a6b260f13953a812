// What a simulated site is made of: drawn from the seed, mostly small. Plain data; conf.ts writes it down as pybal.conf and
// pool files, oracle.ts says what it means.

import type { Random } from './random.ts';

export type MonitorName =
  | 'Agent'
  | 'DNS'
  | 'DNSQuery'
  | 'File'
  | 'GRPC'
  | 'HTTP'
  | 'IdleConnection'
  | 'Ping'
  | 'ProxyFetch'
  | 'RunCommand'
  | 'SMTP'
  | 'SSH'
  | 'TCP'
  | 'UDP';

export interface ServicePlan {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  readonly vip: string;
  readonly port: number;
  readonly scheduler: string;
  readonly threshold: number;
  readonly announce: 'always' | 'served' | 'healthy' | 'quorum';
  /** Share of the pool for `quorum`. */
  readonly quorum: number;
  readonly vipPolicy: 'any' | 'all';
  readonly forward: 'dr' | 'nat' | 'tunnel';
  /** Port on the real servers. */
  readonly realPort: number;
  readonly rise: number;
  readonly fall: number;
  /** 0: what an administrator takes out is deleted at once. */
  readonly drainSeconds: number;
  readonly monitors: readonly MonitorName[];
  /** With path or both the VIP is present by route. */
  readonly via: 'server' | 'path' | 'both';
  readonly presence: 'lo' | 'route';
  /** How many of them must find a server up: all of them, as a rule. */
  readonly needed: number;
  /** Between checks while a server changes; null: as always. */
  readonly fastSeconds: number | null;
  /** Between checks of a server that has been down for SLOW_AFTER_SECONDS; null: as always. */
  readonly slowSeconds: number | null;
  /** Of what comes into the pool; 0: none. */
  readonly slowStartSeconds: number;
  /** All but IdleConnection. */
  readonly intervalSeconds: number;
  readonly timeoutSeconds: number;
  /** HTTP: ask again on the same connection. */
  readonly keepAlive: boolean;
  readonly smtpTls: 'none' | 'starttls';
  /** banner asks by a connection, login by a program, which cannot go through the path. */
  readonly sshMode: 'banner' | 'login';
  /** File: where the document is, and what it looks like. */
  readonly feed: 'path' | 'url';
  readonly feedJson: boolean;
  /** IdleConnection: longest pause before it tries again. */
  readonly maxDelaySeconds: number;
  readonly source: 'file' | 'http' | 'etcd' | 'etcd v2' | 'k8s' | 'srv' | 'dns';
  /** etcd: the configuration says by which API; otherwise it is found out. */
  readonly apiNamed: boolean;
  readonly json: boolean;
  readonly shrinkLimit: number;
  readonly shrinkConfirmSeconds: number;
  readonly startGraceSeconds: number;
  readonly bgp: boolean;
}

export interface PoolEntry {
  readonly host: string;
  readonly weight: number;
  readonly enabled: boolean;
}

/** What agents on half of the servers, and feeds for them, ask for while they are well: 40 % of the weight that the list gives. */
export function agentShare(host: string): number {
  return (host.codePointAt(host.length - 1) ?? 0) % 2 === 0 ? 40 : 100;
}

/** What the kernel should have for a server that is up. */
export function weightOf(service: ServicePlan, { host, weight }: PoolEntry): number {
  const asked = service.monitors.includes('Agent') || service.monitors.includes('File');
  if (weight === 0 || !asked) return weight;
  return Math.max(1, Math.round((weight * agentShare(host)) / 100));
}

export interface RouterPlan {
  readonly name: string;
  readonly address: string;
  readonly asn: number;
}

export interface DirectorPlan {
  readonly name: string;
  readonly address: string;
  readonly address6: string;
  readonly med: number;
}

export interface ServerPlan {
  readonly host: string;
  readonly address: string;
  readonly address6: string;
}

export interface Topology {
  readonly directors: readonly DirectorPlan[];
  readonly routers: readonly RouterPlan[];
  readonly servers: readonly ServerPlan[];
  readonly services: readonly ServicePlan[];
  /** By service. */
  readonly pools: ReadonlyMap<string, readonly PoolEntry[]>;
  readonly holdTimeSeconds: number;
  readonly reconcilePeriodSeconds: number;
  readonly reconcileLimitSeconds: number;
  readonly withdrawWaitSeconds: number;
  readonly resolveIntervalSeconds: number;
  /** Of everything in DNS. */
  readonly ttlSeconds: number;
  /** Between each director and each router, at BFD_INTERVAL_MS × 3. */
  readonly bfd: boolean;
  /** Timeouts of IPVS' connections: as the kernel has them, or short enough for ports to change hands during a run. */
  readonly timeouts: IpvsTimeouts;
}

/** `ipvsadm --set`, seconds. */
export interface IpvsTimeouts {
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

export const POOL_SERVER = { address: '10.0.9.1', port: 8080 } as const;
/** On the same host. */
export const FEED_SERVER = { address: POOL_SERVER.address, port: 8090 } as const;
export const SLOW_AFTER_SECONDS = 20;
/** IdleConnection's TCP keepalive, shorter than PyBal's: a server that lost its power must be missed within a calm. */
export const KEEPALIVE = { idleSeconds: 10, intervalSeconds: 5, retries: 3 } as const;
export const LOCAL_AS = 64_600;
export const BGP_PORT = 179;
export const BFD_INTERVAL_MS = 300;

export function drawTopology(random: Random): Topology {
  const large = random.chance(0.05);
  const count = large ? random.int(4, 8) : random.int(1, 3);
  const serverCount = large ? random.int(8, 16) : random.int(1, 6);
  const servers = Array.from({ length: serverCount }, (_, i) => ({
    host: `cp${i + 1}`,
    address: `10.0.2.${i + 1}`,
    address6: `2001:db8:2::${i + 1}`,
  }));
  const services = Array.from({ length: count }, (_, i) => drawService(random, i));
  const pools = new Map(services.map((service) => [service.name, drawPool(random, servers, 1)]));
  const directors = Array.from({ length: random.chance(0.35) ? 1 : 2 }, (_, i) => ({
    name: `d${i + 1}`,
    address: `10.0.0.${11 + i}`,
    address6: `2001:db8::${11 + i}`,
    med: 10 * i,
  }));
  const routers = Array.from({ length: random.chance(0.7) ? 1 : 2 }, (_, i) => ({
    name: `r${i + 1}`,
    address: `10.0.0.${1 + i}`,
    asn: 64_700 + i,
  }));
  return {
    directors,
    routers,
    servers,
    services,
    pools,
    holdTimeSeconds: random.pick([9, 9, 30]),
    reconcilePeriodSeconds: random.pick([5, 5, 2]),
    reconcileLimitSeconds: 10,
    withdrawWaitSeconds: random.pick([1, 1, 3]),
    resolveIntervalSeconds: random.pick([10, 30, 60]),
    ttlSeconds: random.pick([1, 5, 15]),
    bfd: random.chance(0.35),
    timeouts: random.pick([
      { tcp: 900, tcpFin: 120, udp: 300 },
      { tcp: 120, tcpFin: 60, udp: 60 },
    ]),
  };
}

const MONITORS: readonly (readonly MonitorName[])[] = [
  ['ProxyFetch'],
  ['HTTP'],
  ['IdleConnection'],
  ['ProxyFetch', 'IdleConnection'],
  ['HTTP', 'IdleConnection'],
  ['RunCommand'],
  ['RunCommand', 'IdleConnection'],
  ['TCP', 'Ping'],
  ['DNS'],
  ['DNSQuery', 'Ping'],
  ['UDP'],
  ['Agent'],
  ['Agent', 'IdleConnection'],
  ['ProxyFetch', 'RunCommand', 'IdleConnection'],
  ['SMTP'],
  ['SMTP', 'Ping'],
  ['SSH'],
  ['SSH', 'Ping'],
  ['GRPC'],
  ['GRPC', 'IdleConnection'],
  ['File'],
  ['File', 'TCP'],
  ['File', 'IdleConnection'],
  [],
];

const DATAGRAMS: readonly MonitorName[] = ['DNS', 'DNSQuery', 'UDP'];
/** They never go through the path. */
export const NOT_ON_PATH: readonly MonitorName[] = ['Agent', 'File', 'Ping', 'RunCommand'];

/** Services share VIPs now and then; each VIP and port is there once. */
export function drawService(random: Random, index: number): ServicePlan {
  const v6 = random.chance(0.25);
  const vipNumber = random.chance(0.3) && index > 0 ? random.int(0, index - 1) : index;
  const port = 8000 + index;
  const forward = random.weighted([
    ['dr', 6],
    ['nat', 2],
    ['tunnel', 2],
  ] as const);
  const monitors = random.weighted(MONITORS.map((each) => [each, each.length === 0 ? 0.3 : 2] as const));
  const sshMode = random.pick(['banner', 'login'] as const);
  // Services of one VIP must agree.
  const presence = vipNumber % 3 === 1 ? 'lo' : 'route';
  const via = random.pick(['server', 'path', 'both', 'both'] as const);
  return {
    name: `s${index + 1}`,
    protocol: monitors.some((name) => DATAGRAMS.includes(name)) ? 'udp' : 'tcp',
    vip: v6 ? `2001:db8:ffff::${vipNumber + 1}` : `192.0.2.${vipNumber + 1}`,
    port,
    scheduler: random.pick(['wrr', 'rr', 'sh', 'mh', 'wlc']),
    threshold: random.pick([0.5, 0.5, 0.34, 0, 0.7, 1]),
    announce: random.weighted([
      ['served', 6],
      ['healthy', 3],
      ['quorum', 2],
      ['always', 1],
    ] as const),
    quorum: random.pick([0.3, 0.5, 0.75]),
    // Services of one VIP must agree.
    vipPolicy: vipNumber % 3 === 2 ? 'all' : 'any',
    forward,
    realPort: forward === 'nat' && random.chance(0.5) ? port + 1000 : port,
    rise: random.pick([1, 1, 1, 2]),
    fall: random.pick([1, 1, 1, 2]),
    drainSeconds: random.chance(0.2) ? random.pick([5, 20]) : 0,
    monitors,
    presence,
    via: presence === 'route' && !(monitors.includes('SSH') && sshMode === 'login') ? via : 'server',
    needed: monitors.length > 1 && random.chance(0.4) ? random.int(1, monitors.length - 1) : monitors.length,
    fastSeconds: random.chance(0.3) ? 1 : null,
    slowSeconds: random.chance(0.3) ? random.pick([30, 60]) : null,
    slowStartSeconds: random.chance(0.3) ? random.pick([9, 30, 60]) : 0,
    intervalSeconds: random.pick([5, 10, 10, 20]),
    timeoutSeconds: random.pick([2, 5, 5]),
    keepAlive: random.chance(0.5),
    smtpTls: random.pick(['none', 'starttls'] as const),
    sshMode,
    feed: random.pick(['path', 'url'] as const),
    feedJson: random.chance(0.5),
    maxDelaySeconds: random.pick([5, 10, 20]),
    source: random.weighted([
      ['http', 4],
      ['file', 3],
      ['etcd', 4],
      ['etcd v2', 2],
      ['k8s', 1],
      ['srv', 1],
      ['dns', 2],
    ] as const),
    apiNamed: random.chance(0.5),
    json: random.chance(0.4),
    shrinkLimit: 0.5,
    shrinkConfirmSeconds: random.pick([10, 20, 40]),
    startGraceSeconds: random.pick([10, 30]),
    bgp: !random.chance(0.05),
  };
}

/** At least `least` servers, in any order, mostly enabled. */
export function drawPool(random: Random, servers: readonly ServerPlan[], least: number): readonly PoolEntry[] {
  const chosen = random.shuffle(servers).slice(0, random.int(Math.min(least, servers.length), servers.length));
  return chosen.map(({ host }) => ({
    host,
    weight: random.chance(0.03) ? 0 : random.pick([1, 5, 10, 10, 10, 100]),
    enabled: !random.chance(0.1),
  }));
}

/** What a server that the list gives this weight may have in the kernel on its way up. */
export function isStepTo(service: ServicePlan, full: number, weight: number): boolean {
  if (service.slowStartSeconds === 0 || weight === 0) return false;
  return Array.from({ length: 10 }, (_, i) => Math.ceil((full * (i + 1)) / 10)).includes(weight);
}

export function isInDns({ source }: ServicePlan): boolean {
  return source === 'srv' || source === 'dns';
}

export const isV6 = (address: string): boolean => address.includes(':');

export function serviceKeyOf({ protocol, vip, port }: Pick<ServicePlan, 'protocol' | 'vip' | 'port'>): string {
  return `${protocol} ${isV6(vip) ? `[${vip}]` : vip}:${port}`;
}

export function destinationKeyOf(address: string, port: number): string {
  return isV6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}
