// Inputs of a View written by hand: a configuration from text, and verdicts as the decision would give them.

import type { BfdStatus } from '../../src/bfd/types.ts';
import type { CheckInput, PeerInput, ViewInputs } from '../../src/control/types.ts';
import { NO_MARKS } from '../../src/decision/marks.ts';
import type { Decision, ServerVerdict, ServiceVerdict, VipVerdict } from '../../src/decision/decision.ts';
import { floorOf } from '../../src/decision/floor.ts';
import { keyOf, nothingKnown } from '../../src/decision/learn.ts';
import type { Config, ServiceConfig } from '../../src/config/types.ts';
import type { Mono, Wall } from '../../src/world/world.ts';
import { configOf } from './config.ts';

export const NOW = 1_000_000 as Mono;
const ago = (seconds: number) => (NOW - seconds * 1000) as Mono;

/** Two services on one VIP, a third on another one, one peer. */
export const CONFIG = `
[DEFAULT]
monitors = [ 'IdleConnection' ]

[global]
bgp = yes
bgp-local-asn = 64600
bgp-peer-address = 192.0.2.1
bgp-nexthop-ipv4 = 192.0.2.10
bgp-nexthop-ipv6 = 2001:db8::10

[text_80]
protocol = tcp
ip = 10.0.0.1
port = 80
scheduler = wrr
config = file:///etc/pybal/text
depool-threshold = .5

[text_443]
protocol = tcp
ip = 10.0.0.1
port = 443
scheduler = sh
config = file:///etc/pybal/text
depool-threshold = .5

[dns_53_udp]
protocol = udp
ip = 2001:db8::53
port = 53
scheduler = wrr
config = http://config.example.net/dns.json
depool-threshold = .9
`;

/** `up`: up and pooled unless said otherwise. `held`: down but pooled. */
export function server(host: string, is: Partial<ServerVerdict> & { held?: boolean } = {}): ServerVerdict {
  const stands = is.stands ?? (is.held ? 'down' : 'up');
  return {
    host,
    address: '10.1.0.1',
    weight: 10,
    listedWeight: is.weight ?? 10,
    drains: false,
    enabled: true,
    health: stands === 'up' ? 'up' : stands === 'down' ? 'down' : 'unknown',
    stands,
    partial: stands === 'up',
    pooled: stands === 'up' || is.held === true,
    held: false,
    holdable: true,
    upSince: ago(60),
    upUntil: null,
    startsSince: null,
    unknownSince: null,
    cause: stands === 'up' ? { code: 'up', text: 'up' } : { code: 'down', text: 'down: 503 Service Unavailable' },
    ...is,
  };
}

export function serviceVerdict(
  config: ServiceConfig,
  servers: readonly ServerVerdict[],
  is: Partial<ServiceVerdict> = {},
): ServiceVerdict {
  const floor = floorOf(config.depoolThreshold, servers.length);
  const up = servers.filter(({ stands, enabled }) => stands === 'up' && enabled).length;
  return {
    name: config.name,
    key: keyOf(config),
    vip: config.vip,
    servers,
    floor,
    floorMet: true,
    canDepool: up >= floor,
    firstRound: true,
    proven: true,
    vote: { is: 'yes', cause: { code: 'served', text: '2 destination(s) of weight > 0 in the kernel' } },
    desired: {
      service: {
        key: keyOf(config),
        protocol: config.protocol,
        address: config.vip,
        port: config.port,
        fwmark: 0,
        scheduler: config.scheduler,
        flags: 0,
        persistenceSeconds: 0,
        persistencePrefix: 32,
      },
      destinations: new Map(),
    },
    draining: new Map(),
    lingering: null,
    verifiedOnce: true,
    differsSince: null,
    basis: {
      config,
      since: ago(3600),
      list: null,
      addresses: new Map(),
      candidates: new Map(),
      health: new Map(),
      kernel: null,
      inDoubt: false,
      adopted: null,
    },
    wakeAt: Infinity,
    ...is,
  };
}

export function check(service: string, host: string, is: Partial<CheckInput> = {}): CheckInput {
  return {
    service,
    host,
    candidate: false,
    monitor: 'ProxyFetch',
    is: 'up',
    since: ago(60),
    last: '200 OK',
    lastLatencyMs: 4,
    givenUp: false,
    results: { up: 10, down: 1, unknown: 0 },
    transitions: { up: 1, down: 0 },
    observations: [],
    ...is,
  };
}

export function peer(is: Partial<PeerInput> = {}): PeerInput {
  return {
    name: '192.0.2.1',
    address: '192.0.2.1',
    localAddress: '192.0.2.10',
    localAs: 64600,
    remoteAs: 64601,
    state: 'Established',
    side: 'active',
    established: true,
    since: ago(3500),
    prefixesSent: 2,
    sent: () => (is.established === false ? [] : ['10.0.0.1', '2001:db8::53']),
    prefixesKeptBack: 0,
    holdTimeSeconds: 9,
    withoutCapabilities: false,
    peerCapabilities: ['multiprotocol', 'as4'],
    peerHostname: null,
    peerSoftware: null,
    lastError: null,
    ...is,
  };
}

export function bfdSession(is: Partial<BfdStatus> = {}): BfdStatus {
  return {
    name: '192.0.2.1',
    address: '192.0.2.1',
    localAddress: '192.0.2.10',
    multihop: false,
    state: 'Up',
    since: ago(3400),
    diagnostic: 'No Diagnostic',
    localDiscriminator: 1,
    remote: {
      state: 'Up',
      discriminator: 2,
      diagnostic: 'No Diagnostic',
      minRxMs: 50,
      desiredTxMs: 50,
      multiplier: 3,
    },
    transmitMs: 50,
    detectionMs: 150,
    auth: null,
    counters: { packetsIn: 7, packetsOut: 8, sendErrors: 1, discarded: 2, downs: 3 },
    lastError: null,
    ...is,
  };
}

/** Everything is well: text_80 has cp1 and cp2, text_443 cp1 and cp2, dns_53_udp no server. */
export async function inputs(
  change: (well: {
    config: Config;
    services: Map<string, ServiceVerdict>;
    vips: Map<string, VipVerdict>;
  }) => void = () => {},
  more: Partial<ViewInputs> = {},
  text = CONFIG,
): Promise<ViewInputs> {
  const config = await configOf(text);
  const services = new Map(
    config.services.map((service) => {
      const servers = service.name.startsWith('text') ? ['cp1', 'cp2', 'cp3'].map((host) => server(host)) : [];
      return [service.name, serviceVerdict(service, servers)] as const;
    }),
  );
  const vips = new Map<string, VipVerdict>(
    [...new Set(config.services.map(({ vip }) => vip))].map((vip) => [
      vip,
      {
        vip,
        announced: true,
        everAnnounced: true,
        cause: { code: 'announced', text: '3 destination(s) of weight > 0 in the kernel' },
        services: config.services.filter((service) => service.vip === vip).map(({ name }) => name),
        since: ago(3000),
        missingSince: null,
      },
    ]),
  );
  change({ config, services, vips });
  const decision: Decision = {
    at: NOW,
    config,
    services,
    vips,
    desired: {
      ipvs: new Map(),
      keep: new Set(),
      vips: new Set(),
      routedVips: new Map(),
      keepVips: new Set(),
      keepAll: false,
      routes: new Map(),
    },
    leaving: new Map(),
    leavingVips: new Map(),
    marks: NO_MARKS,
    wakeAt: Infinity,
  };
  const nothing = nothingKnown(NOW);
  return {
    version: '0.1.0',
    now: NOW,
    wall: 1_770_000_000_000 as Wall,
    startedAt: ago(3725),
    facts: { ...nothing, config, kernel: { ...nothing.kernel, verifiedAt: ago(2) } },
    decision,
    checks: [],
    sources: new Map(),
    peers: [peer()],
    bfd: [],
    reconciler: {
      backend: 'netlink',
      drift: [],
      fighting: false,
      foreign: [],
      writes: 12,
      repairs: 0,
      lastError: null,
    },
    couldNotDepool: new Map(),
    loopLateMs: 1,
    checkLateness: {
      buckets: [
        { upToMs: 1, count: 8 },
        { upToMs: 10, count: 9 },
      ],
      count: 10,
      sumMs: 31.5,
    },
    logLinesDropped: 0,
    stateError: null,
    notServed: [],
    monitorBugs: [],
    configRefused: null,
    ...more,
  };
}
