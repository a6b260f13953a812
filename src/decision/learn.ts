// Folds facts into what is known. Pure; shares every part that they do not touch. Called by the daemon for the facts of each
// turn, and by anything that replays an event log.

import { equal } from '../lib/equal.ts';
import { type ServiceKey, serviceKey } from '../ipvs/table.ts';
import { isAnother } from '../config/identity.ts';
import type { Config, ServiceConfig } from '../config/types.ts';
import type { Mono } from '../world/world.ts';
import type { Fact, Facts, KernelFacts, ServiceFacts } from './facts.ts';

export function nothingKnown(now: Mono): Facts {
  return {
    now,
    config: null,
    services: new Map(),
    kernel: {
      verifiedAt: null,
      error: null,
      denied: false,
      ipvs: new Map(),
      met: new Map(),
      vips: new Map(),
      vipsInDoubt: NONE,
    },
    peers: new Map(),
    exiting: false,
  };
}

const NONE: ReadonlySet<string> = new Set();

export function keyOf(service: ServiceConfig): ServiceKey {
  return serviceKey(service.protocol, service.vip, service.port);
}

/** Maps that were made while the facts of one call are folded: nobody else has seen them yet, so they may be changed. */
type Fresh = Set<ReadonlyMap<string, unknown>>;

export function learn(facts: Facts, fact: Fact): Facts {
  return learnAll(facts, [fact]);
}

/** The same as one after the other. What a thousand of them touch is copied once, and not a thousand times. */
export function learnAll(facts: Facts, news: readonly Fact[]): Facts {
  const fresh: Fresh = new Set();
  return news.reduce((known, fact) => learnOne(known, fact, fresh), facts);
}

function learnOne(facts: Facts, fact: Fact, fresh: Fresh): Facts {
  switch (fact.is) {
    case 'configuration':
      return learnConfiguration(facts, fact.config);
    case 'pool': {
      const { list } = fact;
      return change(facts, fact.service, fresh, (known) => ({ ...known, list, ...forget(known, list.hosts) }));
    }
    case 'address':
      return change(facts, fact.service, fresh, (known) =>
        known.addresses.get(fact.host) === fact.address
          ? known
          : { ...known, addresses: withEntry(known.addresses, fact.host, fact.address, fresh) },
      );
    case 'candidate':
      return change(facts, fact.service, fresh, (known) =>
        (known.candidates.get(fact.host) ?? null) === fact.address
          ? known
          : { ...known, candidates: withEntry(known.candidates, fact.host, fact.address ?? undefined, fresh) },
      );
    case 'health':
      return change(facts, fact.service, fresh, (known) => ({
        ...known,
        health: withEntry(known.health, fact.host, fact.health ?? undefined, fresh),
      }));
    case 'kernel':
      return learnKernel(facts, fact);
    case 'writing':
      return learnWriting(facts, fact);
    case 'peer':
      return { ...facts, peers: withEntry(facts.peers, fact.peer, fact.state, fresh) };
    case 'exiting':
      return { ...facts, exiting: true };
    case 'time':
      return { ...facts, now: fact.now };
    default:
      return fact satisfies never;
  }
}

/** What is known of a service by its place in the world (protocol, VIP, port) survives a new configuration. */
function learnConfiguration(facts: Facts, config: Config): Facts {
  const services = new Map<string, ServiceFacts>();
  for (const service of config.services) {
    const known = facts.services.get(service.name);
    if (known === undefined || isAnother(known.config, service)) {
      services.set(service.name, newService(facts, service));
    } else if (keyOf(known.config) !== keyOf(service)) {
      const { since, kernel, inDoubt, adopted } = newService(facts, service);
      // Addresses of the other family, and what is known of them, are no use.
      const found =
        known.config.family === service.family
          ? {}
          : { addresses: new Map(), candidates: new Map(), health: new Map() };
      services.set(service.name, { ...known, ...found, config: service, since, kernel, inDoubt, adopted });
    } else {
      services.set(service.name, equal(known.config, service) ? known : { ...known, config: service });
    }
  }
  return { ...facts, config, services };
}

function newService(facts: Facts, config: ServiceConfig): ServiceFacts {
  const kernel = facts.kernel.ipvs.get(keyOf(config)) ?? null;
  return {
    config,
    since: facts.now,
    list: null,
    addresses: new Map(),
    candidates: new Map(),
    health: new Map(),
    kernel,
    inDoubt: false,
    adopted: kernel,
  };
}

function learnKernel(facts: Facts, fact: Fact & { is: 'kernel' }): Facts {
  const first = facts.kernel.verifiedAt === null;
  const verifiedAt = fact.error === null ? fact.at : facts.kernel.verifiedAt;
  const ipvs = mergedTable(facts.kernel.ipvs, fact.ipvs, fact.whole);
  const vipsInDoubt = fact.error === null ? NONE : facts.kernel.vipsInDoubt;
  const met =
    fact.met === undefined || fact.error !== null ? facts.kernel.met : metAt(facts.kernel.met, ipvs, fact.met);
  const kernel = { verifiedAt, error: fact.error, denied: fact.denied, ipvs, met, vips: fact.vips, vipsInDoubt };
  const services = changeEach(facts.services, (known) => {
    const entry = ipvs.get(keyOf(known.config)) ?? null;
    const adopted = first && verifiedAt !== null ? entry : known.adopted;
    const inDoubt = known.inDoubt && fact.error !== null;
    const same = entry === known.kernel && adopted === known.adopted && inDoubt === known.inDoubt;
    return same ? known : { ...known, kernel: entry, adopted, inDoubt };
  });
  return { ...facts, kernel, services };
}

/** Of services that the kernel has. */
function metAt(
  known: KernelFacts['met'],
  ipvs: KernelFacts['ipvs'],
  { at, services }: NonNullable<(Fact & { is: 'kernel' })['met']>,
): KernelFacts['met'] {
  const met = new Map([...known].filter(([key]) => ipvs.has(key)));
  for (const key of services) met.set(key, at);
  return met;
}

function learnWriting(facts: Facts, { services, vips }: Fact & { is: 'writing' }): Facts {
  const vipsInDoubt = vips.size === 0 ? facts.kernel.vipsInDoubt : new Set([...facts.kernel.vipsInDoubt, ...vips]);
  return {
    ...facts,
    kernel: { ...facts.kernel, vipsInDoubt },
    services: changeEach(facts.services, (known) =>
      known.inDoubt || !services.has(keyOf(known.config)) ? known : { ...known, inDoubt: true },
    ),
  };
}

/** The same map if `update` answers every service with itself. */
function changeEach(services: Facts['services'], update: (known: ServiceFacts) => ServiceFacts): Facts['services'] {
  const changed = new Map(services);
  let same = true;
  for (const [name, known] of services) {
    const updated = update(known);
    if (updated !== known) {
      changed.set(name, updated);
      same = false;
    }
  }
  return same ? services : changed;
}

function mergedTable(
  known: KernelFacts['ipvs'],
  news: (Fact & { is: 'kernel' })['ipvs'],
  whole: boolean,
): KernelFacts['ipvs'] {
  if (news.size === 0 && (!whole || known.size === 0)) return known;
  const merged: Map<ServiceKey, KernelFacts['ipvs'] extends ReadonlyMap<string, infer E> ? E : never> = new Map(
    whole ? [] : known,
  );
  for (const [key, entry] of news) {
    if (entry === null) merged.delete(key);
    else merged.set(key, entry);
  }
  return merged;
}

/** Health and addresses of hosts that left the list are gone with them: a host that returns is a new one. */
function forget(known: ServiceFacts, hosts: readonly { readonly host: string }[]): Partial<ServiceFacts> {
  const listed = new Set(hosts.map(({ host }) => host));
  const keep = <V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> =>
    [...map.keys()].every((host) => listed.has(host)) ? map : new Map([...map].filter(([host]) => listed.has(host)));
  return { addresses: keep(known.addresses), candidates: keep(known.candidates), health: keep(known.health) };
}

function change(facts: Facts, name: string, fresh: Fresh, update: (known: ServiceFacts) => ServiceFacts): Facts {
  const known = facts.services.get(name);
  if (known === undefined) return facts;
  const updated = update(known);
  return updated === known ? facts : { ...facts, services: withEntry(facts.services, name, updated, fresh) };
}

/** The map with one entry set, or deleted when `value` is undefined: itself if it is fresh, otherwise a copy. */
function withEntry<V>(
  map: ReadonlyMap<string, V>,
  key: string,
  value: V | undefined,
  fresh: Fresh,
): ReadonlyMap<string, V> {
  const copy = fresh.has(map) ? (map as Map<string, V>) : new Map(map);
  fresh.add(copy);
  if (value === undefined) copy.delete(key);
  else copy.set(key, value);
  return copy;
}
