// What a director must have made of a quiet site, worked out from the rules of semantics alone: which destinations the
// kernel must and may have, which VIPs must, may and must not be announced, where routers must send packets. Where the rules
// leave a choice that depends on history (which servers are held), any allowed choice is right.

import type { Director } from './director.ts';
import type { Router } from './router.ts';
import type { SentRoutes } from './sent.ts';
import { isServed } from './laws.ts';
import { type PoolEntry, type ServicePlan, destinationKeyOf, serviceKeyOf, NOT_ON_PATH, weightOf } from './topology.ts';
import type { Truth } from './truth.ts';

/** yes, no, or either. */
type Wanted = 'yes' | 'no' | 'either';

/** Everything that is wrong with this director, if the site has been quiet for long enough. */
export function problemsOf(
  director: Director,
  truth: Truth,
  sent: SentRoutes,
  routers: readonly Router[],
  foreign: ReadonlySet<string>,
): string[] {
  const problems: string[] = [];
  const { kernel } = director.machine;
  const votes = new Map<string, Wanted>();
  for (const service of director.services.values()) {
    const entry = kernel.table.get(serviceKeyOf(service));
    if (entry === undefined) problems.push(`${service.name} is not in the kernel`);
    else {
      if (entry.service.scheduler !== service.scheduler) {
        problems.push(`${service.name} has scheduler ${entry.service.scheduler}, not ${service.scheduler}`);
      }
      problems.push(...poolProblems(director, truth, service), ...markProblems(director, truth, service));
    }
    if (!kernel.addresses.has(service.vip)) problems.push(`${service.vip} is not on the host`);
    if (service.bgp) {
      const before = votes.get(service.vip);
      const one = vote(director, truth, service);
      votes.set(service.vip, before === undefined ? one : together(service, before, one));
    }
  }
  const known = new Set([...director.services.values()].map(serviceKeyOf));
  for (const key of kernel.table.keys()) {
    // Of checks through the path: those of servers that were stay for a while, whatever anybody does to them.
    if (key.startsWith('fwmark ')) continue;
    if (!known.has(key) && !foreign.has(key) && director.frozen.size === 0)
      problems.push(`${key} is in the kernel, and nobody wants it`);
  }
  problems.push(...routeProblems(director, sent, routers, votes));
  return problems;
}

/** Each server of a service that is checked through the path has a service of its own mark. */
function markProblems(director: Director, truth: Truth, service: ServicePlan): string[] {
  if (service.via === 'server' || service.monitors.every((monitor) => NOT_ON_PATH.includes(monitor))) return [];
  const marked = new Set<string>();
  for (const [key, { destinations }] of director.machine.kernel.table) {
    if (key.startsWith('fwmark '))
      for (const { address, forward } of destinations.values()) marked.add(`${forward} ${address}`);
  }
  return truth.store.current(service.name).flatMap(({ host }) => {
    const addresses = truth.addresses(host, service.vip);
    const has = addresses.length === 0 || addresses.some((address) => marked.has(`${service.forward} ${address}`));
    return has ? [] : [`${host} of ${service.name} has no mark`];
  });
}

function together({ vipPolicy }: ServicePlan, a: Wanted, b: Wanted): Wanted {
  const strong = vipPolicy === 'any' ? 'yes' : 'no';
  const weak = vipPolicy === 'any' ? 'no' : 'yes';
  if (a === strong || b === strong) return strong;
  return a === weak && b === weak ? weak : 'either';
}

interface Standing {
  readonly up: readonly PoolEntry[];
  readonly down: readonly PoolEntry[];
  readonly floor: number;
}

function standing(director: Director, truth: Truth, service: ServicePlan): Standing {
  const entries = truth.store.current(service.name);
  const eligible = entries.filter(({ host, enabled }) => enabled && truth.addresses(host, service.vip).length > 0);
  const isUp = ({ host }: PoolEntry): boolean =>
    service.monitors.length === 0 || truth.isUp(director.name, service.name, host);
  return {
    up: eligible.filter(isUp),
    down: eligible.filter((entry) => !isUp(entry)),
    floor: Math.ceil(Number((service.threshold * entries.length).toFixed(9))),
  };
}

function poolProblems(director: Director, truth: Truth, service: ServicePlan): string[] {
  const problems: string[] = [];
  const left = new Map(director.machine.kernel.table.get(serviceKeyOf(service))?.destinations);
  const { up, down, floor } = standing(director, truth, service);
  const take = (entry: PoolEntry, wanted: number): boolean => {
    for (const address of truth.addresses(entry.host, service.vip)) {
      const key = destinationKeyOf(address, service.realPort);
      const destination = left.get(key);
      if (destination === undefined) continue;
      left.delete(key);
      if (destination.weight !== wanted) {
        problems.push(`${entry.host} of ${service.name} has weight ${destination.weight}, not ${wanted}`);
      }
      if (destination.forward !== service.forward) {
        problems.push(`${entry.host} of ${service.name} is forwarded to by ${destination.forward}`);
      }
      return true;
    }
    return false;
  };
  for (const entry of up)
    if (!take(entry, weightOf(service, entry)))
      problems.push(`${entry.host} of ${service.name} is up and not in the kernel`);
  // Whoever gets no connections takes nobody's place in the floor, and is held only where nobody else can be.
  const places = (entries: readonly PoolEntry[], taken: number): number => {
    const held = entries.filter((entry) => take(entry, entry.weight));
    const mayHold = Math.max(0, floor - taken);
    if (held.length > mayHold) {
      problems.push(`${service.name} holds ${held.map(({ host }) => host).join(', ')}: ${mayHold} would do`);
    }
    if (held.length < mayHold) {
      const missing = entries.find(
        (entry) => !held.includes(entry) && couldBeHeld(director, truth, service, entry.host),
      );
      if (missing !== undefined) problems.push(`${service.name} is below its floor, and ${missing.host} is not held`);
    }
    return taken + held.length;
  };
  const [takingUp, weightlessUp] = partition(up, ({ weight }) => weight > 0);
  const [takingDown, weightlessDown] = partition(down, ({ weight }) => weight > 0);
  const taking = places(takingDown, takingUp.length);
  places(weightlessDown, taking + weightlessUp.length);
  for (const key of left.keys()) problems.push(`${key} of ${service.name} is in the kernel, and nobody wants it`);
  return problems;
}

function partition<T>(all: readonly T[], has: (each: T) => boolean): readonly [readonly T[], readonly T[]] {
  return [all.filter((each) => has(each)), all.filter((each) => !has(each))];
}

/** It was up, and known to be, since it is on the list. */
function couldBeHeld(director: Director, truth: Truth, service: ServicePlan, host: string): boolean {
  let listedAt = truth.now;
  const movedAt = service.source === 'dns' ? truth.movedAt(host) : Number.NEGATIVE_INFINITY;
  for (const { at, entries } of [...truth.store.versions(service.name)].reverse()) {
    if (!entries.some((entry) => entry.host === host && entry.enabled)) break;
    listedAt = at;
  }
  const readAt = Math.max(listedAt, movedAt) + 60_000 + service.shrinkConfirmSeconds * 1000;
  const since = Math.max(readAt, director.startedAt);
  return truth.wasSeenUp(director.name, service, host, since);
}

function vote(director: Director, truth: Truth, service: ServicePlan): Wanted {
  const entry = director.machine.kernel.table.get(serviceKeyOf(service));
  if (entry === undefined) return 'no';
  if (service.announce === 'always') return 'yes';
  if (!isServed(entry)) return 'no';
  const { up } = standing(director, truth, service);
  if (service.announce === 'healthy') return up.length > 0 ? 'yes' : 'no';
  if (service.announce === 'quorum') {
    const share = up.length / truth.store.current(service.name).length;
    return up.length > 0 && share >= service.quorum ? 'yes' : 'no';
  }
  // Held servers alone: only if the pool worked once, which the present state does not tell.
  return up.some(({ weight }) => weight > 0) ? 'yes' : 'either';
}

function routeProblems(
  director: Director,
  sent: SentRoutes,
  routers: readonly Router[],
  votes: ReadonlyMap<string, Wanted>,
): string[] {
  const problems: string[] = [];
  for (const router of routers) {
    const session = sent.sessions(director.name).find((candidate) => candidate.router === router.plan.name);
    if (session === undefined || !router.established(director.plan.address)) {
      problems.push(`no session with ${router.plan.name}`);
      continue;
    }
    const heard = router.routesOf(director.plan.address);
    for (const [vip, wanted] of votes) {
      const announced = session.routes.has(vip);
      if (announced !== heard.has(vip)) problems.push(`${router.plan.name} did not get what was said of ${vip}`);
      if (wanted === 'yes' && !announced) problems.push(`${vip} is not announced to ${router.plan.name}`);
      if (wanted === 'no' && announced) problems.push(`${vip} is announced to ${router.plan.name}`);
    }
    for (const vip of session.routes.keys()) {
      if (!votes.has(vip)) problems.push(`${vip} is announced to ${router.plan.name}, and nobody wants it`);
    }
  }
  return problems;
}

/** Packets go to the director with the lowest MED of those that announce. */
export function forwardingProblems(
  routers: readonly Router[],
  directors: readonly Director[],
  vips: readonly string[],
): string[] {
  const problems: string[] = [];
  for (const router of routers) {
    for (const vip of vips) {
      const announcing = directors.filter(({ plan }) => router.routesOf(plan.address).has(vip));
      const best = announcing.reduce<Director | null>((a, b) => (a === null || b.plan.med < a.plan.med ? b : a), null);
      const to = router.nextHop(vip);
      if (to !== (best?.plan.address ?? null)) problems.push(`${router.plan.name} sends ${vip} to ${to ?? 'nobody'}`);
    }
  }
  return problems;
}
