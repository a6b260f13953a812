// Which mark and which local ports belong to which real server, for checks through the path. IPVS looks a packet's mark up
// before its address, also for what this host sends itself: a service of one mark with one destination forwards a check for
// any VIP to that one server, by the code that forwards clients. Pure; called by decide() and, for a check, by the daemon.
//
// An entry of IPVS' connection table is found by source and VIP, without the mark: what a failed check left behind would send
// the next check from the same port to the old server. So each server has ports of its own, and they and its mark go to
// nobody else until such entries are dead. Until then the service stays in the kernel: its table is the record that survives
// a restart.

import type { Config, PathConfig, ServiceConfig } from '../config/types.ts';
import {
  destinationKey,
  type ForwardMethod,
  fwmarkKey,
  type IpvsEntry,
  type IpvsTable,
  sameDestination,
  sameService,
} from '../ipvs/table.ts';
import { familyOf } from '../lib/address.ts';
import { hashOf } from '../lib/hash.ts';
import type { Mono } from '../world/world.ts';
import type { Path } from './decision.ts';
import type { Facts } from './facts.ts';

export interface PathMark {
  readonly mark: number;
  readonly firstPort: number;
  readonly ports: number;
  /** What IPVS has for it. */
  readonly entry: IpvsEntry;
}

export interface Marks {
  /** By real server and how it is reached: see `targetOf`. */
  readonly inUse: ReadonlyMap<string, PathMark>;
  /** Nobody asks for them any more, and nobody else gets them until then. */
  readonly retired: ReadonlyMap<string, PathMark & { readonly until: Mono }>;
  /** Real servers for which none were left. */
  readonly without: ReadonlySet<string>;
  /** What this was made of, to see by reference whether anything is new. */
  readonly basis: { readonly parts: readonly unknown[]; readonly ipvs: IpvsTable };
}

export const NO_MARKS: Marks = {
  inUse: new Map(),
  retired: new Map(),
  without: new Set(),
  basis: { parts: [], ipvs: new Map() },
};

/** The same object while nothing changes. `previous` null: the first decision, which takes over what the kernel has. */
export function decideMarks(facts: Facts, config: Config, previous: Marks | null): Marks {
  const { path } = config.global;
  const parts = basisOf(facts, path);
  if (previous === null) return allocate(facts, path, retiredIn(facts, path), parts);
  const expires = [...previous.retired.values()].some(({ until }) => until <= facts.now);
  // A mark is free when the kernel has let go of it.
  const perhapsFree = previous.without.size > 0 && previous.basis.ipvs !== facts.kernel.ipvs;
  if (!expires && !perhapsFree && same(previous.basis.parts, parts)) return previous;
  const retired = new Map(previous.retired);
  const until = untilOf(facts.now, path);
  for (const [target, mark] of previous.inUse) retired.set(labelOf(target, mark), { ...mark, until });
  return allocate(facts, path, retired, parts);
}

/** When time alone changes them; Infinity: never. */
export function marksWakeAt({ retired }: Marks): number {
  return Math.min(Number.POSITIVE_INFINITY, ...[...retired.values()].map(({ until }) => until));
}

/**
 * The way to `address` for this service's VIP, or why there is none yet. A path without its service in the kernel would lead to
 * whatever server the VIP's own service chooses.
 */
export function pathTo(facts: Facts, marks: Marks, service: ServiceConfig, address: string): Path | string {
  const { config, kernel } = facts;
  const target = targetOf(service, address);
  const mark = marks.inUse.get(target);
  if (config === null || mark === undefined) {
    return marks.without.has(target)
      ? 'no mark is left for the path: path-ports has room for fewer servers'
      : 'the path has no mark yet';
  }
  const { service: wanted, destinations } = mark.entry;
  const found = kernel.ipvs.get(wanted.key);
  if (found === undefined || kernel.denied) return `the path's service (${wanted.key}) is not in the kernel yet`;
  const [destination] = destinations.values();
  const [only, ...more] = found.destinations.values();
  const right =
    destination !== undefined && only !== undefined && more.length === 0 && sameDestination(destination, only);
  if (!right || !sameService(found.service, wanted))
    return `the path's service (${wanted.key}) was changed by somebody`;
  return {
    mark: mark.mark,
    found,
    vip: service.vip,
    vipPort: service.port,
    fixedPort: service.forward === 'nat',
    localAddress: config.global.path.sources.find((source) => familyOf(source) === service.family) ?? null,
    firstPort: mark.firstPort,
    ports: mark.ports,
  };
}

function usesPath({ monitors }: ServiceConfig): boolean {
  return monitors.some(({ via }) => via !== 'server');
}

/** A real server as a destination: with NAT its port belongs to it, otherwise packets keep the VIP's. */
interface Destination {
  readonly address: string;
  readonly forward: ForwardMethod;
  /** 0: as in the packet. */
  readonly port: number;
}

function destinationOf({ forward, realPort }: ServiceConfig, address: string): Destination {
  return { address, forward, port: forward === 'nat' ? realPort : 0 };
}

function targetOf(service: ServiceConfig, address: string): string {
  return textOf(destinationOf(service, address));
}

function textOf({ address, forward, port }: Destination): string {
  return `${forward} ${destinationKey(address, port)}`;
}

/** In `retired` one target may stand several times, when the configuration gave it another mark. */
function labelOf(target: string, { mark }: PathMark): string {
  return `${target} ${mark}`;
}

/**
 * Everything that the wanted marks follow from: of each service with path checks, three objects that are shared while
 * they are the same.
 */
function basisOf({ services }: Facts, path: PathConfig): readonly unknown[] {
  const parts: unknown[] = [JSON.stringify(path)];
  for (const known of services.values()) {
    if (usesPath(known.config)) parts.push(known.config, known.addresses, known.candidates);
  }
  return parts;
}

function same(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i]);
}

function wantedBy(services: Facts['services']): ReadonlyMap<string, Destination> {
  const wanted = new Map<string, Destination>();
  for (const { config, addresses, candidates } of services.values()) {
    if (!usesPath(config)) continue;
    for (const address of [...addresses.values(), ...candidates.values()]) {
      if (address === null) continue;
      const destination = destinationOf(config, address);
      wanted.set(textOf(destination), destination);
    }
  }
  return wanted;
}

/** Every mark of `pool` that is wanted and fits the configuration is in use; who has none gets a free one. */
function allocate(facts: Facts, path: PathConfig, pool: Marks['retired'], parts: readonly unknown[]): Marks {
  const wanted = wantedBy(facts.services);
  const retired = new Map([...pool].filter(([, { until }]) => until > facts.now));
  const inUse = new Map<string, PathMark>();
  for (const [label, { until: _, ...mark }] of retired) {
    const [destination] = mark.entry.destinations.values();
    const target = destination === undefined ? '' : textOf(destination);
    if (!wanted.has(target) || inUse.has(target) || !fits(path, mark)) continue;
    inUse.set(target, mark);
    retired.delete(label);
  }
  const taken = new Set<number>();
  const take = ({ firstPort, ports }: PathMark) => {
    for (let port = firstPort; port < firstPort + ports; port++) taken.add(port);
  };
  for (const mark of [...inUse.values(), ...retired.values()]) take(mark);
  const without = new Set<string>();
  for (const [target, destination] of wanted) {
    if (inUse.has(target)) continue;
    const slot = freeSlot(path, target, taken, facts.kernel.ipvs);
    if (slot === null) {
      without.add(target);
      continue;
    }
    const mark = markAt(path, slot, destination);
    take(mark);
    inUse.set(target, mark);
  }
  return { inUse, retired, without, basis: { parts, ipvs: facts.kernel.ipvs } };
}

function slotsOf({ firstPort, lastPort, portsPerServer }: PathConfig): number {
  return Math.floor((lastPort - firstPort + 1) / portsPerServer);
}

function markAt(path: PathConfig, slot: number, destination: Destination): PathMark {
  const mark = path.firstMark + slot;
  const firstPort = path.firstPort + slot * path.portsPerServer;
  return { mark, firstPort, ports: path.portsPerServer, entry: entryOf(mark, destination) };
}

function fits(path: PathConfig, { mark, firstPort, ports }: Omit<PathMark, 'entry'>): boolean {
  const slot = mark - path.firstMark;
  const inRange = slot >= 0 && slot < slotsOf(path);
  return inRange && ports === path.portsPerServer && firstPort === path.firstPort + slot * ports;
}

/** The same server tends to get the same slot again, whoever else is there. Somebody else's mark is left to him. */
function freeSlot(path: PathConfig, target: string, taken: ReadonlySet<number>, ipvs: IpvsTable): number | null {
  const slots = slotsOf(path);
  const preferred = hashOf(target);
  for (let i = 0; i < slots; i++) {
    const slot = (preferred + i) % slots;
    const first = path.firstPort + slot * path.portsPerServer;
    const mark = path.firstMark + slot;
    const known = ipvs.has(fwmarkKey(mark, 4)) || ipvs.has(fwmarkKey(mark, 6));
    if (!known && !taken.has(first) && !taken.has(first + path.portsPerServer - 1)) return slot;
  }
  return null;
}

function entryOf(mark: number, { address, forward, port }: Destination): IpvsEntry {
  const family = familyOf(address);
  const key = destinationKey(address, port);
  return {
    service: {
      key: fwmarkKey(mark, family),
      protocol: 'fwmark',
      address: family === 4 ? '0.0.0.0' : '::',
      port: 0,
      fwmark: mark,
      scheduler: 'rr',
      flags: 0,
      persistenceSeconds: 0,
      persistencePrefix: family === 4 ? 32 : 128,
    },
    destinations: new Map([[key, { key, address, port, forward, weight: 1, upperThreshold: 0, lowerThreshold: 0 }]]),
  };
}

/**
 * What the kernel has that looks like ours: left from before a restart, and perhaps wanted as soon as the pools are known. If
 * somebody has changed where it leads, it is nobody's, and its ports are spared all the same.
 */
function retiredIn({ kernel, now }: Facts, path: PathConfig): Marks['retired'] {
  const retired = new Map<string, PathMark & { readonly until: Mono }>();
  for (const { service, destinations } of kernel.ipvs.values()) {
    if (service.protocol !== 'fwmark') continue;
    const nobody: Destination = { address: service.address, forward: 'dr', port: 0 };
    const [destination = nobody, ...more] = destinations.values();
    const mark = markAt(path, service.fwmark - path.firstMark, destination);
    if (!sameService(mark.entry.service, service) || !fits(path, mark)) continue;
    const [wanted] = mark.entry.destinations.values();
    const [found] = destinations.values();
    const alike = wanted !== undefined && found !== undefined && more.length === 0 && sameDestination(wanted, found);
    const entry = alike ? mark.entry : { service: mark.entry.service, destinations: new Map() };
    retired.set(labelOf(textOf(destination), mark), { ...mark, entry, until: untilOf(now, path) });
  }
  return retired;
}

function untilOf(now: Mono, { holdSeconds }: PathConfig): Mono {
  return (now + holdSeconds * 1000) as Mono;
}
