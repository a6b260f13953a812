// The verdict on one service: each server's standing with its cause, the pool under the floor, the wanted kernel entry and
// the vote about its VIP. Pure; called by decide() for services that have anything new.

import {
  type DestinationKey,
  type IpvsDestination,
  type IpvsEntry,
  type IpvsService,
  destinationKey,
  sameEntry,
} from '../ipvs/table.ts';
import type { ServiceConfig } from '../config/types.ts';
import type { Mono } from '../world/world.ts';
import type { PoolHost, ServerHealth, ServiceFacts, Weighting } from './facts.ts';
import type { ServerVerdict, ServiceVerdict, Vote } from './decision.ts';
import { SERVER, VOTE } from './causes.ts';
import { type Candidate, type PoolChoice, choosePool, floorOf } from './floor.ts';
import { keyOf } from './learn.ts';
import { nextStep, slowStart } from './slow-start.ts';
import { weightOf } from './weight.ts';

interface Timing {
  readonly now: Mono;
  readonly reconcileLimitMs: number;
  /** When the kernel's entry was last what was wanted of it then; null: never. */
  readonly metAt: Mono | null;
}

/** `previous` is the verdict in the previous decision under the same key, perhaps of another name; null if there was none. */
export function decideService(facts: ServiceFacts, previous: ServiceVerdict | null, timing: Timing): ServiceVerdict {
  const { config, list } = facts;
  if (list === null) return undecided(facts, previous, timing);
  const { now } = timing;
  const before = new Map(previous?.servers.map((server) => [server.host, server]));
  const roundOpen = previous?.firstRound !== true;
  const standings = list.hosts.map((host) => standing(facts, host, before.get(host.host) ?? null, roundOpen, now));
  const graceEnds = facts.since + config.startGraceSeconds * 1000;
  const firstRound = !roundOpen || roundComplete(facts, standings) || now >= graceEnds;
  const allSeen = firstRound && !standings.some((server) => isAwaited(facts, server));
  const candidates = standings.map((server) => asCandidate(server, before.get(server.host) ?? null, allSeen, now));
  const choice = choosePool(candidates, config.depoolThreshold);
  const servers = standings
    .map((server) => placed(server, choice, facts.health.get(server.host)?.weighting))
    .map((server) => {
      const was = before.get(server.host);
      // Beside one that is held and may be dead, whoever is up is needed as he is.
      if (choice.held.size > 0 && !server.held) return server;
      const enters = !roundOpen && was?.pooled !== true && !takesTraffic(facts, server.address);
      return slowStart(server, enters ? now : (was?.startsSince ?? null), config.slowStartSeconds, now);
    });
  const draining = drains(facts, servers, previous, now);
  const lost = servers.some(({ enabled, address }) => enabled && address === null);
  const unplaced = firstRound && !lost ? [] : unplacedAdopted(facts, servers, previous?.desired ?? null);
  const lateSince = previous?.differsSince ?? null;
  const late = lateSince !== null && now - lateSince < timing.reconcileLimitMs;
  const settled = !late || !weighs(facts.kernel, previous?.desired ?? null);
  const staying = [...draining.values(), ...unplaced];
  const desired = desiredEntry(config, servers, staying, previous?.desired ?? null, settled);
  const verdict = {
    name: config.name,
    key: keyOf(config),
    vip: config.vip,
    servers,
    floor: choice.floor,
    floorMet: choice.met,
    canDepool:
      servers.filter(({ enabled, stands, drains }) => enabled && isUp(stands) && !drains).length >=
      floorOf(config.depoolThreshold, servers.length),
    firstRound,
    proven: previous?.proven === true || servers.some(({ stands }) => stands === 'up'),
    desired,
    draining,
    lingering: null,
    ...readBack(facts, desired, previous, timing),
    basis: facts,
  };
  const wakeTimes = [
    firstRound ? Number.POSITIVE_INFINITY : graceEnds,
    lateFrom(verdict, timing),
    ...[...draining.values()].map(({ until }) => until),
    ...servers.map((server) => freezeEnds(server, config)),
    ...servers.map((server) => nextStep(server, config.slowStartSeconds, now)),
  ];
  return {
    ...verdict,
    vote: vote(config, verdict, previous?.vote ?? null, timing),
    wakeAt: Math.min(...wakeTimes.filter((at) => at > now), Number.POSITIVE_INFINITY),
  };
}

/** How the kernel's entry is, beside what is wanted of it. */
function readBack(
  facts: ServiceFacts,
  desired: IpvsEntry,
  previous: ServiceVerdict | null,
  { now, metAt }: Timing,
): Pick<ServiceVerdict, 'verifiedOnce' | 'differsSince'> {
  const equalNow = facts.kernel !== null && !facts.inDoubt && sameEntry(facts.kernel, desired);
  return {
    verifiedOnce: previous?.verifiedOnce === true || equalNow,
    differsSince: equalNow ? null : laterOf(previous?.differsSince ?? now, metAt),
  };
}

/** When it will differ for too long. */
function lateFrom({ differsSince }: Pick<ServiceVerdict, 'differsSince'>, { reconcileLimitMs }: Timing): number {
  return differsSince === null ? Number.POSITIVE_INFINITY : differsSince + reconcileLimitMs;
}

/**
 * Nothing is known of the pool: leave the kernel's entry alone. What was decided of it under another name stands, as verdicts on
 * servers do that nobody can ask.
 */
function undecided(facts: ServiceFacts, previous: ServiceVerdict | null, timing: Timing): ServiceVerdict {
  const { name, bgp, freezeLimitSeconds } = facts.config;
  const standsUntil = facts.since + freezeLimitSeconds * 1000;
  if (previous !== null && previous.desired !== null && bgp && timing.now < standsUntil) {
    const verdict = { ...previous, name, ...readBack(facts, previous.desired, previous, timing), basis: facts };
    const late = lateFrom(verdict, timing);
    if (late > timing.now) return { ...verdict, wakeAt: Math.min(standsUntil, late) };
  }
  return {
    name: facts.config.name,
    key: keyOf(facts.config),
    vip: facts.config.vip,
    servers: [],
    floor: 0,
    floorMet: true,
    canDepool: false,
    firstRound: false,
    proven: false,
    vote: facts.config.bgp ? { is: 'no', cause: VOTE.noList } : { is: 'abstains', cause: VOTE.noBgp },
    desired: null,
    draining: new Map(),
    lingering: previous?.lingering ?? null,
    verifiedOnce: false,
    differsSince: null,
    basis: facts,
    wakeAt: Number.POSITIVE_INFINITY,
  };
}

const isUp = (stands: ServerVerdict['stands']): boolean => stands === 'up' || stands === 'adopted';

/**
 * What a server counts as, before the floor. Until `placed` has the last word, `pooled` says whether it was pooled before:
 * by the previous decision, or in the kernel's table that we found.
 */
function standing(
  facts: ServiceFacts,
  { host, weight: listedWeight, enabled }: PoolHost,
  before: ServerVerdict | null,
  roundOpen: boolean,
  now: Mono,
): ServerVerdict {
  const address = facts.addresses.get(host) ?? null;
  const health: ServerHealth | null =
    facts.config.monitors.length === 0 ? UNMONITORED : (facts.health.get(host) ?? null);
  const is = health?.is ?? 'unknown';
  // A verdict is about an address: what is new there is not taken for up.
  const known =
    before?.address === address && (before.stands === 'up' || before.stands === 'down' || before.unknownSince !== null);
  const unknownSince = is === 'unknown' && known ? (before.unknownSince ?? now) : null;
  const stands = standsFor(facts, is, before, address, unknownSince, now);
  const upNow = stands === 'up';
  const partial = health?.partial ?? false;
  const weight = standingWeight(facts, listedWeight, stands, address, health);
  return {
    host,
    address,
    weight,
    listedWeight,
    drains: isUp(stands) && weight === 0 && listedWeight > 0,
    enabled,
    health: is,
    stands,
    partial,
    pooled: before?.pooled ?? inKernel(facts, address),
    held: false,
    holdable: before?.holdable === true || isUp(stands) || (roundOpen && (stands === 'down' || partial)),
    upSince: upNow
      ? before !== null && before.upUntil === null
        ? (before.upSince ?? now)
        : now
      : (before?.upSince ?? null),
    upUntil: upNow || before === null || before.upSince === null ? null : (before.upUntil ?? now),
    startsSince: null,
    unknownSince,
    cause: causeOf(stands, is, health, unknownSince, facts.config.monitors.length === 0),
  };
}

/** What its monitors say counts while it is up; the kernel's weight is part of the entry that stays until there is a result. */
function standingWeight(
  { adopted, kernel, config }: ServiceFacts,
  listed: number,
  stands: ServerVerdict['stands'],
  address: string | null,
  health: ServerHealth | null,
): number {
  if (stands === 'up') return weightOf(listed, health?.weighting);
  if (stands !== 'adopted' || address === null || listed === 0) return listed;
  const key = destinationKey(address, config.realPort);
  const found = adopted?.destinations.get(key)?.weight;
  // What somebody deletes or changes meanwhile comes back as listed.
  return found !== undefined && found === kernel?.destinations.get(key)?.weight ? found : listed;
}

const UNMONITORED: ServerHealth = { is: 'up', since: 0 as Mono, reason: 'no monitors', partial: true };

function standsFor(
  facts: ServiceFacts,
  is: ServerHealth['is'],
  before: ServerVerdict | null,
  address: string | null,
  unknownSince: Mono | null,
  now: Mono,
): ServerVerdict['stands'] {
  if (is !== 'unknown') return is;
  if (before !== null && unknownSince !== null) {
    return now - unknownSince < facts.config.freezeLimitSeconds * 1000 ? before.stands : 'unknown';
  }
  // Adopted: the kernel's entry stays until the first result of the check.
  const key = address === null ? '' : destinationKey(address, facts.config.realPort);
  const found = facts.adopted?.destinations.has(key) === true && facts.kernel?.destinations.has(key) === true;
  return found || before?.stands === 'adopted' ? 'adopted' : 'unknown';
}

function causeOf(
  stands: ServerVerdict['stands'],
  is: ServerHealth['is'],
  health: ServerHealth | null,
  unknownSince: Mono | null,
  unmonitored: boolean,
): ServerVerdict['cause'] {
  const reason = health?.reason ?? 'no result';
  if (stands === 'adopted') return SERVER.adopted;
  if (stands === 'unknown' && health === null) return SERVER.awaited;
  if (stands === 'unknown') return unknownSince === null ? SERVER.neverKnown(reason) : SERVER.unknown(reason);
  if (is === 'unknown') return SERVER.frozen(reason);
  if (stands === 'down') return SERVER.down(reason);
  return unmonitored ? SERVER.unmonitored : SERVER.up;
}

/** While somebody awaits a first result nobody new is brought in to be held: that result may make it needless. */
function asCandidate(server: ServerVerdict, before: ServerVerdict | null, allSeen: boolean, now: Mono): Candidate {
  const { host, enabled, address, listedWeight, stands, drains, holdable, pooled, upSince, upUntil } = server;
  return {
    host,
    eligible: enabled && address !== null,
    up: isUp(stands),
    down: stands === 'down',
    drains,
    weightless: listedWeight === 0,
    holdable: holdable && (allSeen || pooled),
    wasPooled: pooled && (!drains || before === null || before.weight > 0),
    upForMs: upSince === null ? 0 : (upUntil ?? now) - upSince,
  };
}

function inKernel(facts: ServiceFacts, address: string | null): boolean {
  return address !== null && facts.kernel?.destinations.has(destinationKey(address, facts.config.realPort)) === true;
}

/** By the kernel's table as last read. */
function takesTraffic({ kernel, config }: ServiceFacts, address: string | null): boolean {
  const found = address === null ? undefined : kernel?.destinations.get(destinationKey(address, config.realPort));
  return found !== undefined && found.weight > 0;
}

function placed(server: ServerVerdict, choice: PoolChoice, weighting: Weighting | undefined): ServerVerdict {
  const pooled = choice.pooled.has(server.host);
  const held = choice.held.has(server.host);
  if (!server.enabled) return { ...server, pooled, cause: SERVER.disabled };
  if (server.address === null) return { ...server, pooled, cause: SERVER.unresolved };
  if (held && !server.drains) return { ...server, pooled, held, cause: SERVER.held(server.cause.text) };
  const { weight, listedWeight, drains, stands, health } = server;
  const reason = stands === 'up' ? (weighting?.reason ?? '') : 'weight 0 in the kernel';
  if (held) return { ...server, pooled, held, weight: listedWeight, cause: SERVER.heldDraining(reason) };
  if (weight === listedWeight || health !== 'up') return { ...server, pooled };
  return {
    ...server,
    pooled,
    cause: drains ? SERVER.draining(reason) : SERVER.weighted(weight, listedWeight, reason),
  };
}

/** Every server that could be pooled has a result: of a health check, or of the lookup of its name. */
function roundComplete(facts: ServiceFacts, servers: readonly ServerVerdict[]): boolean {
  if (facts.config.monitors.length === 0) return servers.every(({ host }) => facts.addresses.has(host));
  return servers.every(
    ({ host, enabled, address, health }) =>
      !enabled || (address === null ? facts.addresses.has(host) : health !== 'unknown'),
  );
}

/** Its first check is under way; that has an end, and then there is some result. */
function isAwaited({ config, health }: ServiceFacts, { host, enabled, address }: ServerVerdict): boolean {
  return config.monitors.length > 0 && enabled && address !== null && !health.has(host);
}

function freezeEnds(server: ServerVerdict, config: ServiceConfig): number {
  return server.unknownSince === null || server.stands === 'unknown'
    ? Number.POSITIVE_INFINITY
    : server.unknownSince + config.freezeLimitSeconds * 1000;
}

/** With `depool-action = drain`, what the pool list took away stands with weight 0 for a while. Failures are deleted. */
function drains(
  facts: ServiceFacts,
  servers: readonly ServerVerdict[],
  previous: ServiceVerdict | null,
  now: Mono,
): ServiceVerdict['draining'] {
  const { config } = facts;
  if (previous === null || config.depoolAction !== 'drain' || previous.desired === null) return new Map();
  const draining = new Map([...previous.draining].filter(([, { until }]) => now < until));
  const current = new Map(servers.map((server) => [server.host, server]));
  for (const was of previous.servers) {
    const is = current.get(was.host);
    if (!was.pooled || was.address === null || (is !== undefined && is.enabled)) continue;
    const key = destinationKey(was.address, config.realPort);
    const destination = previous.desired.destinations.get(key);
    if (destination === undefined || draining.has(key)) continue;
    draining.set(key, {
      destination: { ...destination, weight: 0 },
      until: (now + config.drainSeconds * 1000) as Mono,
    });
  }
  for (const { address, pooled } of servers) {
    if (pooled && address !== null) draining.delete(destinationKey(address, config.realPort));
  }
  return draining;
}

/**
 * Adopted destinations at no listed server's address: until every server has an address and its first result, they may be
 * those of one whose address is not known yet, or not any more.
 */
function unplacedAdopted(
  { config, kernel, adopted }: ServiceFacts,
  servers: readonly ServerVerdict[],
  wanted: IpvsEntry | null,
): readonly { readonly destination: IpvsDestination }[] {
  if (kernel === null || adopted === null) return [];
  const placed = new Set(servers.map(({ address }) => address !== null && destinationKey(address, config.realPort)));
  return [...kernel.destinations.values()]
    .filter(({ key }) => adopted.destinations.has(key) && !placed.has(key))
    .map((destination) => ({ destination: wanted?.destinations.get(destination.key) ?? destination }));
}

/**
 * Weights that are wanted are not in the kernel yet. Others are not wanted meanwhile: where those of thousands of servers change all
 * the time, no reading would ever be what is wanted by then.
 */
function weighs(kernel: IpvsEntry | null, wanted: IpvsEntry | null): boolean {
  if (kernel === null || wanted === null) return false;
  for (const [key, { weight }] of kernel.destinations) {
    if (weight !== (wanted.destinations.get(key)?.weight ?? weight)) return true;
  }
  return false;
}

function laterOf(a: Mono, b: Mono | null): Mono {
  return b !== null && b > a ? b : a;
}

/**
 * The wanted entry; the previous object itself when nothing differs, so that equal means identical downstream. `settled`: no
 * weight is on its way to the kernel.
 */
function desiredEntry(
  config: ServiceConfig,
  servers: readonly ServerVerdict[],
  staying: readonly { readonly destination: IpvsDestination }[],
  previous: IpvsEntry | null,
  settled: boolean,
): IpvsEntry {
  const destinations: [DestinationKey, IpvsDestination][] = [];
  for (const { pooled, address, weight: newest } of servers) {
    if (!pooled || address === null) continue;
    const key = destinationKey(address, config.realPort);
    const before = settled ? 0 : (previous?.destinations.get(key)?.weight ?? 0);
    // Whoever comes, goes or drains does not wait.
    const weight = newest > 0 && before > 0 ? before : newest;
    const port = config.realPort;
    destinations.push([
      key,
      { key, address, port, forward: config.forward, weight, upperThreshold: 0, lowerThreshold: 0 },
    ]);
  }
  for (const { destination } of staying) destinations.push([destination.key, destination]);
  // One canonical order, so that directors that start from empty tables and hash (sh, mh) build the same ones.
  destinations.sort(([a], [b]) => (a < b ? -1 : 1));
  const entry = { service: desiredService(config), destinations: new Map(destinations) };
  return previous !== null && sameEntry(previous, entry) ? previous : entry;
}

function desiredService(config: ServiceConfig): IpvsService {
  const { protocol, vip: address, port, scheduler, flags, persistenceSeconds, persistencePrefix } = config;
  return {
    key: keyOf(config),
    protocol,
    address,
    port,
    fwmark: 0,
    scheduler,
    flags,
    persistenceSeconds,
    persistencePrefix,
  };
}

/** Some destination takes new connections. */
export function isServed(entry: IpvsEntry): boolean {
  return servedCount(entry) > 0;
}

function servedCount(entry: IpvsEntry): number {
  let count = 0;
  for (const { weight } of entry.destinations.values()) if (weight > 0) count++;
  return count;
}

function vote(
  config: ServiceConfig,
  verdict: Omit<ServiceVerdict, 'vote' | 'wakeAt'> & { readonly desired: IpvsEntry },
  before: Vote | null,
  { now, reconcileLimitMs }: Timing,
): Vote {
  if (!config.bgp) return { is: 'abstains', cause: VOTE.noBgp };
  if (!verdict.verifiedOnce) return { is: 'no', cause: VOTE.unverified };
  if (verdict.differsSince !== null && now - verdict.differsSince >= reconcileLimitMs) {
    return { is: 'no', cause: VOTE.differs };
  }
  if (config.announce === 'always') return { is: 'yes', cause: VOTE.always };
  const policy = policyVote(config, verdict, before, 0);
  if (before?.is === 'yes') {
    if (policy.is === 'yes') return policy;
    // "Is it me?": whom we cannot judge by our own fault may well be up, and so this is no reason to leave.
    const blind = policyVote(config, verdict, before, unjudged(verdict));
    return blind.is === 'yes' ? { is: 'yes', cause: VOTE.isItMe } : policy;
  }
  // A table that was found in the kernel served before we came: there, the first server that is known to be up is enough.
  const { firstRound, servers, basis } = verdict;
  if (!firstRound && !(basis.adopted !== null && upCount(servers) > 0)) return { is: 'no', cause: VOTE.firstRound };
  return policy;
}

function upCount(servers: readonly ServerVerdict[]): number {
  return servers.filter(({ pooled, stands, held, drains }) => pooled && !held && !drains && stands === 'up').length;
}

/** Servers of which our own fault tells us nothing, and that do not count as up already. */
function unjudged({ servers, basis }: Pick<ServiceVerdict, 'servers' | 'basis'>): number {
  const blind = ({ host, enabled, address, stands }: ServerVerdict) =>
    enabled && address !== null && stands !== 'up' && basis.health.get(host)?.is === 'unknown';
  return servers.filter(blind).length;
}

/** `blind`: how many servers more count as up. */
function policyVote(
  config: ServiceConfig,
  { servers, proven, desired }: { servers: readonly ServerVerdict[]; proven: boolean; desired: IpvsEntry },
  before: Vote | null,
  blind: number,
): Vote {
  const up = upCount(servers) + blind;
  switch (config.announce) {
    case 'always':
      return { is: 'yes', cause: VOTE.always };
    case 'served': {
      const count = servedCount(desired);
      if (count === 0) return { is: 'no', cause: VOTE.unserved };
      // A table that was adopted served before we came; otherwise only held servers of a pool that once worked count.
      if (!proven && !servers.some(({ stands, pooled }) => pooled && stands === 'adopted')) {
        return { is: 'no', cause: VOTE.unproven };
      }
      return { is: 'yes', cause: VOTE.served(count) };
    }
    case 'healthy':
      if (!isServed(desired)) return { is: 'no', cause: VOTE.unserved };
      return up > 0 ? { is: 'yes', cause: VOTE.healthy(up) } : { is: 'no', cause: VOTE.unhealthy };
    case 'quorum': {
      if (!isServed(desired)) return { is: 'no', cause: VOTE.unserved };
      const need = before?.is === 'yes' ? config.announceQuorumLow : config.announceQuorum;
      const share = servers.length === 0 ? 0 : up / servers.length;
      const texts = [`${up} of ${servers.length}`, `${Math.round(need * 100)} %`] as const;
      return share >= need && up > 0
        ? { is: 'yes', cause: VOTE.quorum(...texts) }
        : { is: 'no', cause: VOTE.noQuorum(...texts) };
    }
    default:
      return config.announce satisfies never;
  }
}
