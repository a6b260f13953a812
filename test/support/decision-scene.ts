// A director's decisions without the director: facts are told, `decide` looks, and a model kernel does what was wanted when
// the test says so. All that `decide` gets is frozen: whoever writes to it throws.

import type { Config, GlobalConfig, PeerConfig, Quarantined, ServiceConfig } from '../../src/config/types.ts';
import { decide } from '../../src/decision/decide.ts';
import type { Decision, ServerVerdict, ServiceVerdict, VipVerdict } from '../../src/decision/decision.ts';
import type { Fact, Facts, PoolHost, ServerHealth } from '../../src/decision/facts.ts';
import { learn, nothingKnown } from '../../src/decision/learn.ts';
import { familyOf } from '../../src/lib/address.ts';
import { destinationKey, type IpvsDestination, type IpvsEntry, serviceKey } from '../../src/ipvs/table.ts';
import { type HostAddress, withRouted } from '../../src/vip/addresses.ts';
import type { Mono } from '../../src/world/world.ts';
import { peerConfig } from './peer-config.ts';
import { AS_ALWAYS, serviceConfig } from './service-config.ts';

export const RECONCILE_LIMIT_MS = 10_000;
export const WITHDRAW_WAIT_MS = 5_000;

export const PEER: PeerConfig = peerConfig({
  address: '192.0.2.1',
  asPath: [64600],
  med: 10,
  nextHopIpv4: '192.0.2.10',
  nextHopIpv6: '2001:db8::10',
});

const GLOBAL: GlobalConfig = {
  bgp: true,
  routerId: null,
  bgpLocalAddresses: ['::'],
  bgpLocalPort: 179,
  instrumentation: false,
  instrumentationPort: 9090,
  instrumentationAddresses: [],
  backend: 'netlink',
  stateDirectory: '/state',
  controlSocket: '/run/anybal.sock',
  logFile: null,
  logFormat: 'text',
  monitorDirectories: [],
  reconcilePeriodSeconds: 5,
  reconcileLimitSeconds: RECONCILE_LIMIT_MS / 1000,
  withdrawWaitSeconds: WITHDRAW_WAIT_MS / 1000,
  resolveIntervalSeconds: 60,
  uplinks: [],
  path: { firstMark: 1000, firstPort: 10_000, lastPort: 10_319, portsPerServer: 8, holdSeconds: 900, sources: [] },
  bfdWedgedSeconds: 2,
};

export interface ConfigOver {
  readonly global?: Partial<GlobalConfig>;
  readonly peers?: readonly PeerConfig[];
  readonly quarantined?: readonly Quarantined[];
}

export function configWith(services: readonly ServiceConfig[], over: ConfigOver = {}): Config {
  const { global = {}, peers = [PEER], quarantined = [] } = over;
  return { file: 'pybal.conf', global: { ...GLOBAL, ...global }, services, peers, quarantined, complaints: [] };
}

/** A checked service: whoever has no monitors is always up. */
export function checked(over: Partial<ServiceConfig> = {}): ServiceConfig {
  return serviceConfig({ monitors: [{ name: 'ProxyFetch', options: {}, pace: AS_ALWAYS, via: 'server' }], ...over });
}

/** `cp1`, or `cp1 weight 0`, `cp1 disabled`. */
export function host(text: string): PoolHost {
  const [name = '', ...rest] = text.split(' ');
  const weight = rest[0] === 'weight' ? Number(rest[1]) : 10;
  return { host: name, weight, enabled: !rest.includes('disabled') };
}

/** `cp7` lives at 10.9.0.7; in IPv6 at 2001:db8:9::7. */
export function addressOf(name: string, family: 4 | 6 = 4): string {
  const number = Number(name.replace(/\D/g, ''));
  return family === 4 ? `10.9.${number >> 8}.${number & 255}` : `2001:db8:9::${number.toString(16)}`;
}

export class Scene {
  facts: Facts;
  /** The last decision; `previous` the one before. */
  decision: Decision;
  previous: Decision | null = null;
  config: Config;
  readonly kernel = new Map<string, IpvsEntry>();
  readonly addresses = new Map<string, HostAddress>();

  /** `prepare` puts into the kernel what is there before the director starts. */
  constructor(config: Config, prepare: (scene: Scene) => void = () => {}) {
    this.config = config;
    this.facts = nothingKnown(1_000_000 as Mono);
    prepare(this);
    this.#learn({ is: 'configuration', config });
    this.#learn(this.#reading());
    this.decision = this.#decided(null);
  }

  get now(): Mono {
    return this.facts.now;
  }

  #learn(fact: Fact): void {
    this.facts = learn(deepFreeze(this.facts), deepFreeze(fact));
  }

  #decided(previous: Decision | null): Decision {
    return decide(deepFreeze(this.facts), deepFreeze(previous));
  }

  /** Learn, then decide. */
  tell(...facts: readonly Fact[]): Decision {
    for (const fact of facts) this.#learn(fact);
    return this.again();
  }

  again(): Decision {
    this.previous = this.decision;
    this.decision = this.#decided(this.decision);
    return this.decision;
  }

  /** Let time pass and decide at its end. */
  pass(ms: number): Decision {
    return this.tell({ is: 'time', now: (this.now + ms) as Mono });
  }

  configure(config: Config): Decision {
    this.config = config;
    return this.tell({ is: 'configuration', config });
  }

  #service(name: string): ServiceConfig {
    const found = this.config.services.find((service) => service.name === name);
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  }

  /** A list is accepted, and all of its hosts are looked up, but for those in `lost` (no address) and `waiting` (no answer). */
  list(
    hosts: readonly string[],
    service = 'text',
    lost: readonly string[] = [],
    waiting: readonly string[] = [],
  ): Decision {
    const { family } = this.#service(service);
    const pool = hosts.map(host);
    return this.tell(
      { is: 'pool', service, list: { hosts: pool, note: null } },
      ...pool
        .filter(({ host: name }) => !waiting.includes(name))
        .map(({ host: name }) => this.address(name, lost.includes(name) ? null : addressOf(name, family), service)),
    );
  }

  address(name: string, address: string | null, service = 'text'): Fact {
    return { is: 'address', service, host: name, address };
  }

  health(is: ServerHealth['is'], name: string, service = 'text'): Fact {
    const reason = is === 'up' ? '' : is === 'down' ? '503' : 'EMFILE';
    return { is: 'health', service, host: name, health: { is, since: this.now, reason, partial: is === 'up' } };
  }

  up(...names: readonly string[]): Decision {
    return this.tell(...names.map((name) => this.health('up', name)));
  }

  down(...names: readonly string[]): Decision {
    return this.tell(...names.map((name) => this.health('down', name)));
  }

  unknown(...names: readonly string[]): Decision {
    return this.tell(...names.map((name) => this.health('unknown', name)));
  }

  #reading(): Fact {
    const ipvs = new Map(this.kernel);
    return { is: 'kernel', at: this.now, whole: true, ipvs, vips: new Map(this.addresses), error: null, denied: false };
  }

  /** The kernel is read as it stands. */
  read(): Decision {
    return this.tell(this.#reading());
  }

  /** The model kernel takes on what is wanted. */
  program(): void {
    const { ipvs, vips, routedVips, keep, keepVips, keepAll } = this.decision.desired;
    for (const key of [...this.kernel.keys()])
      if (!ipvs.has(key) && !keep.has(key) && !keepAll) this.kernel.delete(key);
    for (const [key, entry] of ipvs) this.kernel.set(key, entry);
    for (const vip of [...this.addresses.keys()]) {
      if (!vips.has(vip) && !routedVips.has(vip) && !keepVips.has(vip) && !keepAll) this.addresses.delete(vip);
    }
    for (const vip of vips) this.addresses.set(vip, onLo(vip));
    for (const [vip, uplinks] of routedVips) {
      const host = withRouted(undefined, vip, { route: true, uplinks });
      if (host !== undefined) this.addresses.set(vip, host);
    }
  }

  /** Programmed and read back, until nothing changes any more. */
  settle(): Decision {
    for (let rounds = 0; rounds < 5; rounds++) {
      const before = this.decision.desired;
      this.program();
      this.read();
      if (this.decision.desired.ipvs === before.ipvs && this.decision.desired.vips === before.vips)
        return this.decision;
    }
    throw new Error('the decision does not come to rest');
  }

  /** Put a service into the kernel as an earlier life would have left it. */
  leave(config: ServiceConfig, names: readonly string[], weight = 10): void {
    const key = serviceKey(config.protocol, config.vip, config.port);
    const { protocol, vip: address, port, scheduler, flags, persistenceSeconds, persistencePrefix } = config;
    const service = {
      key,
      protocol,
      address,
      port,
      fwmark: 0,
      scheduler,
      flags,
      persistenceSeconds,
      persistencePrefix,
    };
    const destinations = names.map((name) => destination(addressOf(name, config.family), config.realPort, weight));
    this.kernel.set(key, { service, destinations: new Map(destinations.map((one) => [one.key, one])) });
    this.addresses.set(config.vip, onLo(config.vip));
  }

  service(name = 'text'): ServiceVerdict {
    const verdict = this.decision.services.get(name);
    if (verdict === undefined) throw new Error(`no verdict on ${name}`);
    return verdict;
  }

  server(name: string, service = 'text'): ServerVerdict {
    const verdict = this.service(service).servers.find((server) => server.host === name);
    if (verdict === undefined) throw new Error(`no verdict on ${name}`);
    return verdict;
  }

  vip(vip = '10.0.0.1'): VipVerdict {
    const verdict = this.decision.vips.get(vip);
    if (verdict === undefined) throw new Error(`no verdict on ${vip}`);
    return verdict;
  }

  pooled(service = 'text'): readonly string[] {
    return this.service(service)
      .servers.filter((server) => server.pooled)
      .map((server) => server.host);
  }

  held(service = 'text'): readonly string[] {
    return this.service(service)
      .servers.filter((server) => server.held)
      .map((server) => server.host);
  }

  /** Addresses and weights that the kernel should have: `10.9.0.1:80 10`. */
  wanted(service = 'text'): readonly string[] {
    const entry = this.decision.desired.ipvs.get(this.service(service).key);
    return [...(entry?.destinations.values() ?? [])].map(({ key, weight }) => `${key} ${weight}`);
  }

  get announced(): readonly string[] {
    return [...this.decision.vips.values()].filter(({ announced }) => announced).map(({ vip }) => vip);
  }
}

export function destination(address: string, port: number, weight: number): IpvsDestination {
  const key = destinationKey(address, port);
  return { key, address, port, forward: 'dr', weight, upperThreshold: 0, lowerThreshold: 0 };
}

export function onLo(address: string): HostAddress {
  return { address, prefixLength: familyOf(address) === 4 ? 32 : 128, interface: 'lo', protocol: 0 };
}

/** The value itself, which nobody can change any more, Maps and Sets included. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (value instanceof Map || value instanceof Set) {
    const refuse = () => {
      throw new TypeError('a frozen collection was written to');
    };
    for (const method of ['set', 'add', 'delete', 'clear']) Object.defineProperty(value, method, { value: refuse });
    for (const [key, item] of value.entries()) {
      deepFreeze(key);
      deepFreeze(item);
    }
  }
  Object.freeze(value);
  for (const item of Object.values(value)) deepFreeze(item);
  return value;
}
