// decide(facts, previous): the one place where it is settled who gets traffic. Pure: time is a fact, and whatever must not
// flutter comes from the previous decision. Called by the daemon after each batch of facts; nothing else changes the world.

import { equal } from '../lib/equal.ts';
import type { DestinationKey, IpvsDestination, IpvsEntry, ServiceKey } from '../ipvs/table.ts';
import type { Config, ServiceConfig } from '../config/types.ts';
import type { Mono } from '../world/world.ts';
import type { Facts } from './facts.ts';
import type { Cause, Decision, Desired, ServiceVerdict, VipVerdict } from './decision.ts';
import { VIP } from './causes.ts';
import { decideService, isServed } from './service.ts';
import { routesFor } from './routes.ts';
import { keyOf } from './learn.ts';
import { decideMarks, marksWakeAt } from './marks.ts';
import { serviceKey } from '../ipvs/table.ts';

/** `facts.config` must be known. */
export function decide(facts: Facts, previous: Decision | null): Decision {
  const { config, now } = facts;
  if (config === null) throw new Error('decide() needs a configuration');
  const limitMs = config.global.reconcileLimitSeconds * 1000;
  const waitMs = config.global.withdrawWaitSeconds * 1000;
  const judged = judgeServices(facts, previous, limitMs);
  const vips = judgeVips(facts, config, judged, previous, limitMs);
  const services = linger(judged, vips, previous, now, waitMs);
  const leaving = leave(facts, services, vips, previous, now, waitMs);
  const leavingVips = leaveVips(vips, previous, now, waitMs);
  const marks = decideMarks(facts, config, previous?.marks ?? null);
  const desired = desiredTables(config, { services, vips, leaving, leavingVips, marks }, previous);
  return {
    at: now,
    config,
    services,
    vips,
    desired,
    leaving,
    leavingVips,
    marks,
    wakeAt: Math.min(nextWake(facts, services, vips, leaving, leavingVips, limitMs), marksWakeAt(marks)),
  };
}

/** Services with nothing new keep their verdict: the very same object. */
function judgeServices(facts: Facts, previous: Decision | null, reconcileLimitMs: number): Map<string, ServiceVerdict> {
  const verdicts = new Map<string, ServiceVerdict>();
  for (const [name, known] of facts.services) {
    const before = previous?.services.get(name) ?? null;
    const key = keyOf(known.config);
    const same = before?.key === key ? before : underAnotherName(previous, known.config);
    const settled = same !== null && same.basis === known && facts.now < same.wakeAt;
    const metAt = facts.kernel.met.get(key) ?? null;
    verdicts.set(name, settled ? same : decideService(known, same, { now: facts.now, reconcileLimitMs, metAt }));
  }
  return verdicts;
}

/** Who renames a section has no new service: it is where it was, and its servers come from where they came from. */
function underAnotherName(previous: Decision | null, config: ServiceConfig): ServiceVerdict | null {
  const key = keyOf(config);
  for (const verdict of previous?.services.values() ?? [])
    if (verdict.key === key && verdict.basis.config.source === config.source) return verdict;
  return null;
}

function judgeVips(
  facts: Facts,
  config: Config,
  services: ReadonlyMap<string, ServiceVerdict>,
  previous: Decision | null,
  limitMs: number,
): Map<string, VipVerdict> {
  const byVip = new Map<string, ServiceConfig[]>();
  for (const service of config.services) {
    const sharing = byVip.get(service.vip);
    if (sharing === undefined) byVip.set(service.vip, [service]);
    else sharing.push(service);
  }
  const verdicts = new Map<string, VipVerdict>();
  for (const [vip, sharing] of byVip) {
    const before = previous?.vips.get(vip) ?? null;
    const present = isPresent(facts, config, sharing) && !facts.kernel.vipsInDoubt.has(vip);
    const missingSince = present ? null : (before?.missingSince ?? facts.now);
    const stranded =
      (before?.announced !== true && !present) || (missingSince !== null && facts.now - missingSince >= limitMs);
    const barred = !config.global.bgp ? VIP.off : facts.exiting ? VIP.exiting : unverifiable(facts, limitMs);
    const { yes, cause } =
      barred !== null ? { yes: false, cause: barred } : tally(sharing, services, before?.announced === true);
    const announced = yes && !stranded;
    verdicts.set(vip, {
      vip,
      announced,
      cause: yes && stranded ? VIP.missing : cause,
      services: sharing.map(({ name }) => name),
      since: before !== null && before.announced === announced ? before.since : facts.now,
      everAnnounced: before?.everAnnounced === true || announced,
      missingSince,
    });
  }
  return verdicts;
}

/** The services of a VIP agree on its presence. */
function isPresent({ kernel }: Facts, { global }: Config, [service]: readonly ServiceConfig[]): boolean {
  const host = service === undefined ? undefined : kernel.vips.get(service.vip);
  if (host === undefined) return false;
  if (service?.vipPresence !== 'route') return host.interface !== null;
  return host.routed?.route === true && global.uplinks.every((uplink) => host.routed?.uplinks.includes(uplink));
}

/** Why nothing may be announced at all: law 10, a director that cannot see or write its tables loses its routes. */
function unverifiable(facts: Facts, limitMs: number): Cause | null {
  const { kernel, now } = facts;
  if (kernel.denied) return VIP.denied(kernel.error ?? 'denied');
  if (kernel.verifiedAt === null) return VIP.unread;
  return now - kernel.verifiedAt >= limitMs ? VIP.stale : null;
}

/**
 * A VIP wants every vote if any of its services says `vip-policy = all`, otherwise one is enough. A service that joins an
 * announced VIP has no vote against it until it has come up.
 */
function tally(
  sharing: readonly ServiceConfig[],
  services: ReadonlyMap<string, ServiceVerdict>,
  wasAnnounced: boolean,
): { readonly yes: boolean; readonly cause: Cause } {
  const voters = sharing.flatMap(({ name }) => {
    const verdict = services.get(name);
    return verdict === undefined || verdict.vote.is === 'abstains' ? [] : [verdict];
  });
  const text = ({ name, vote }: ServiceVerdict) => `${name}: ${vote.cause.text}`;
  const joining = ({ firstRound, verifiedOnce }: ServiceVerdict) => wasAnnounced && !(firstRound && verifiedOnce);
  // Law 2: what was true a reading ago does not bring a route up, only this reading does.
  const holds = ({ vote, differsSince }: ServiceVerdict) =>
    vote.is === 'yes' && (wasAnnounced || differsSince === null);
  const inFavour = voters.filter(holds);
  const against = voters.filter((verdict) => !holds(verdict) && !joining(verdict));
  if (voters.length === 0) return { yes: false, cause: VIP.noVoters };
  const all = sharing.some(({ vipPolicy }) => vipPolicy === 'all');
  const yes = inFavour.length > 0 && (!all || against.length === 0);
  const deciding = yes ? inFavour : voters.filter((verdict) => !holds(verdict));
  return { yes, cause: (yes ? VIP.announced : VIP.withdrawn)(deciding.map(text).join('; ')) };
}

/**
 * Law 2 on the way down: a service whose VIP is not announced any more keeps its last served destinations until routers have
 * had time to look elsewhere.
 */
function linger(
  services: ReadonlyMap<string, ServiceVerdict>,
  vips: ReadonlyMap<string, VipVerdict>,
  previous: Decision | null,
  now: Mono,
  waitMs: number,
): Map<string, ServiceVerdict> {
  const result = new Map<string, ServiceVerdict>();
  for (const [name, verdict] of services) {
    const last = previous?.services.get(name);
    const before = last?.key === verdict.key ? last : null;
    const until = routeGoneUntil(verdict.vip, vips, previous, now, waitMs);
    const lingering = lingeringOf(verdict, before, until, now);
    result.set(name, lingering === verdict.lingering ? verdict : { ...verdict, lingering });
  }
  return result;
}

function lingeringOf(
  { desired }: ServiceVerdict,
  before: ServiceVerdict | null,
  until: Mono | null,
  now: Mono,
): ServiceVerdict['lingering'] {
  if (desired === null || isServed(desired) || before === null) return null;
  if (before.lingering !== null) return now < before.lingering.until ? before.lingering : null;
  if (until === null || before.desired === null || !isServed(before.desired)) return null;
  return { entry: withServed(desired, before.desired), until };
}

/** Until when packets may still come to a VIP that was announced and is not any more; null: none come, or it is announced. */
function routeGoneUntil(
  vip: string,
  vips: ReadonlyMap<string, VipVerdict>,
  previous: Decision | null,
  now: Mono,
  waitMs: number,
): Mono | null {
  const before = previous?.vips.get(vip);
  if (before === undefined || vips.get(vip)?.announced === true) return null;
  const until = ((before.announced ? now : before.since) + waitMs) as Mono;
  return now < until ? until : null;
}

/** The wanted entry, with the destinations that it no longer has still in place. */
function withServed(wanted: IpvsEntry, before: IpvsEntry): IpvsEntry {
  const destinations = new Map<DestinationKey, IpvsDestination>([...wanted.destinations, ...before.destinations]);
  return { service: wanted.service, destinations: new Map([...destinations].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

/** Services that left the configuration stay until the route that led to them has been gone for withdraw-wait. */
function leave(
  facts: Facts,
  services: ReadonlyMap<string, ServiceVerdict>,
  vips: ReadonlyMap<string, VipVerdict>,
  previous: Decision | null,
  now: Mono,
  waitMs: number,
): Decision['leaving'] {
  const leaving = new Map<ServiceKey, { readonly entry: IpvsEntry; readonly until: Mono }>();
  if (previous === null) return leaving;
  const current = new Set([...services.values()].map(({ key }) => key));
  for (const [key, gone] of previous.leaving) if (!current.has(key) && now < gone.until) leaving.set(key, gone);
  for (const before of previous.services.values()) {
    const entry = before.lingering?.entry ?? before.desired;
    if (current.has(before.key) || entry === null || leaving.has(before.key)) continue;
    const until = routeGoneUntil(before.vip, vips, previous, now, waitMs);
    if (until !== null && facts.kernel.ipvs.has(before.key)) leaving.set(before.key, { entry, until });
  }
  return leaving;
}

function leaveVips(
  vips: ReadonlyMap<string, VipVerdict>,
  previous: Decision | null,
  now: Mono,
  waitMs: number,
): Decision['leavingVips'] {
  const leaving = new Map<string, Mono>();
  if (previous === null) return leaving;
  for (const [vip, until] of previous.leavingVips) if (!vips.has(vip) && now < until) leaving.set(vip, until);
  for (const vip of previous.vips.keys()) {
    const until = vips.has(vip) ? null : routeGoneUntil(vip, vips, previous, now, waitMs);
    if (until !== null) leaving.set(vip, until);
  }
  return leaving;
}

/** Parts that did not change are the previous decision's own objects, so that who applies them can see it at a glance. */
function desiredTables(
  config: Config,
  { services, vips, leaving, leavingVips, marks }: Omit<Decision, 'at' | 'config' | 'desired' | 'wakeAt'>,
  previous: Decision | null,
): Desired {
  const ipvs = new Map<ServiceKey, IpvsEntry>();
  const keep = new Set<ServiceKey>();
  const keepVips = new Set<string>();
  for (const [key, { entry }] of leaving) ipvs.set(key, entry);
  for (const verdict of services.values()) {
    const entry = verdict.lingering?.entry ?? verdict.desired;
    if (entry === null) keep.add(verdict.key);
    else ipvs.set(verdict.key, entry);
  }
  for (const { entry } of marks.inUse.values()) ipvs.set(entry.service.key, entry);
  for (const { entry } of marks.retired.values()) keep.add(entry.service.key);
  const wantedVips = new Set<string>();
  const routedVips = new Map<string, readonly string[]>();
  for (const service of config.services) {
    if (service.vipPresence === 'external') keepVips.add(service.vip);
    else if (services.get(service.name)?.desired === null) keepVips.add(service.vip);
    else if (service.vipPresence === 'lo') wantedVips.add(service.vip);
    else routedVips.set(service.vip, config.global.uplinks);
  }
  for (const vip of leavingVips.keys()) keepVips.add(vip);
  for (const { frozen, running } of config.quarantined) {
    if (frozen === null || running !== null) continue;
    keep.add(serviceKey(frozen.protocol, frozen.vip, frozen.port));
    keepVips.add(frozen.vip);
  }
  const keepAll = config.quarantined.some(({ frozen, running }) => frozen === null && running === null);
  const routes = routesFor(config, vips, previous?.desired.routes ?? null);
  const before = previous?.desired;
  return {
    ipvs: before !== undefined && equal(before.ipvs, ipvs) ? before.ipvs : ipvs,
    keep: before !== undefined && equal(before.keep, keep) ? before.keep : keep,
    vips: before !== undefined && equal(before.vips, wantedVips) ? before.vips : wantedVips,
    routedVips: before !== undefined && equal(before.routedVips, routedVips) ? before.routedVips : routedVips,
    keepVips: before !== undefined && equal(before.keepVips, keepVips) ? before.keepVips : keepVips,
    keepAll,
    routes,
  };
}

function nextWake(
  facts: Facts,
  services: ReadonlyMap<string, ServiceVerdict>,
  vips: ReadonlyMap<string, VipVerdict>,
  leaving: Decision['leaving'],
  leavingVips: Decision['leavingVips'],
  limitMs: number,
): number {
  let wake = Number.POSITIVE_INFINITY;
  const consider = (at: number) => {
    if (at > facts.now && at < wake) wake = at;
  };
  if (facts.kernel.verifiedAt !== null) consider(facts.kernel.verifiedAt + limitMs);
  for (const { wakeAt, lingering } of services.values()) {
    consider(wakeAt);
    if (lingering !== null) consider(lingering.until);
  }
  for (const { missingSince } of vips.values()) if (missingSince !== null) consider(missingSince + limitMs);
  for (const { until } of leaving.values()) consider(until);
  for (const until of leavingVips.values()) consider(until);
  return wake;
}
