// The laws of the design as checks on what a director does to its kernel and tells its routers. Three kinds: safety (no own
// action creates a violation), bounded (what others do is undone, or answered, within a time), history (nothing is done that
// changes nothing). Judged by truth.ts; none of this knows what the daemon thinks.

import type { IpvsDestination, IpvsEntry } from '../../src/ipvs/table.ts';
import type { WireMessage } from './bgp-wire.ts';
import { CHECK_PROGRAM, SSH_PROGRAM } from './conf.ts';
import type { Director } from './director.ts';
import { Evidence } from './evidence.ts';
import type { KernelWrite } from './kernel.ts';
import type { Router } from './router.ts';
import type { SentRoutes, SentSession } from './sent.ts';
import type { Site } from './site.ts';
import { type PoolEntry, type ServicePlan, isStepTo, isV6, serviceKeyOf, weightOf } from './topology.ts';
import { type Truth, failureMs, noticeMs } from './truth.ts';

export interface Violation {
  readonly law: number;
  readonly at: number;
  readonly director: string;
  readonly text: string;
}

/** From a vandal's act to its repair: the reconcile period, a second look, the writes. */
const REPAIR_SLACK_MS = 3000;
const FAIL_SAFE_SLACK_MS = 2500;
/**
 * Silence is seen after three intervals of BFD. What is seen at the director's end alone is said, or else it is silence too. A
 * daemon that stands still is wedged after 2 s (bfd-wedged-after).
 */
const LEFT_MS = { silent: 2_200, wedged: 4_200 } as const;
/** From handing a route's withdrawal to the speaker to its leaving. */
const TIMER_MS = 20;
/** A route that was there this recently is announced again after a session reset, not anew. */
const RECENT_MS = 15_000;

/** What a director's own writes and reads were, per kernel object. */
interface Traces {
  readonly read: Map<string, number>;
  /** Since when an own write made it what it must be before it is announced. */
  readonly made: Map<string, number>;
  readonly announced: Map<string, number>;
  readonly withdrawn: Map<string, number>;
  readonly foreign: Set<string>;
  /** Destinations in the kernel when the daemon was last started. */
  readonly found: Set<string>;
}

export class Laws {
  readonly violations: Violation[] = [];
  readonly #site: Site;
  readonly #truth: Truth;
  readonly #directors: ReadonlyMap<string, Director>;
  readonly #sent: SentRoutes;
  readonly #evidence: Evidence;
  readonly #traces = new Map<string, Traces>();

  constructor(site: Site, truth: Truth, directors: ReadonlyMap<string, Director>, sent: SentRoutes) {
    this.#site = site;
    this.#truth = truth;
    this.#directors = directors;
    this.#sent = sent;
    this.#evidence = new Evidence(truth);
  }

  get broken(): boolean {
    return this.violations.length > 0;
  }

  violate(law: number, director: string, text: string): void {
    this.violations.push({ law, at: this.#site.scheduler.now, director, text });
    this.#site.journal.write('law', `${law} broken by ${director}: ${text}`);
  }

  /** Somebody else put this there: nobody's business. */
  foreign(director: string, key: string): void {
    this.#tracesOf(director).foreign.add(key);
  }

  /** Call before the daemon of this director starts. */
  starting(director: Director): void {
    const { found } = this.#tracesOf(director.name);
    found.clear();
    for (const [key, { destinations }] of director.machine.kernel.table) {
      for (const destination of destinations.keys()) found.add(`${key} ${destination}`);
    }
  }

  /** What a reboot makes meaningless. */
  rebooted(director: string): void {
    this.#traces.delete(director);
  }

  #tracesOf(director: string): Traces {
    let traces = this.#traces.get(director);
    if (traces === undefined) {
      traces = {
        read: new Map(),
        made: new Map(),
        announced: new Map(),
        withdrawn: new Map(),
        foreign: new Set(),
        found: new Set(),
      };
      this.#traces.set(director, traces);
    }
    return traces;
  }

  read(name: string, what: 'ipvs' | 'vips', keys: readonly string[] | undefined): void {
    const { read } = this.#tracesOf(name);
    for (const key of keys ?? [what]) read.set(key, this.#truth.now);
  }

  #lastRead(name: string, what: 'ipvs' | 'vips', key: string): number {
    const { read } = this.#tracesOf(name);
    return Math.max(read.get(what) ?? Number.NEGATIVE_INFINITY, read.get(key) ?? Number.NEGATIVE_INFINITY);
  }

  // Kernel writes.

  wrote(name: string, write: KernelWrite): void {
    const director = this.#directors.get(name);
    if (director === undefined) return;
    const { op, error } = write;
    const detail = describe(write);
    this.#site.journal.write(name, `kernel ${detail}`);
    const key = 'service' in op ? op.service.key : op.address;
    if (this.#tracesOf(name).foreign.has(key)) this.violate(8, name, `foreign entry touched: ${detail}`);
    this.#idle(director, write, detail);
    if (error !== null || write.lost) return;
    switch (op.do) {
      case 'add-service':
      case 'add-address':
      case 'add-route':
        this.#tracesOf(name).made.set(key, this.#truth.now);
        break;
      case 'set-service':
      case 'add-rule':
        break;
      case 'add-destination':
      case 'set-destination':
        this.#destinationSet(director, write, op.destination, detail);
        break;
      case 'delete-service':
        this.#serviceDeleted(director, key, detail);
        break;
      case 'delete-destination':
        this.#destinationDeleted(director, write, op.destination, detail);
        break;
      case 'delete-address':
      case 'delete-rule':
      case 'delete-route':
        this.#addressDeleted(director, key, detail);
        break;
      default:
        op satisfies never;
    }
  }

  /** Law 3: only what changed. Whoever knows what is there has no reason to write what changes nothing. */
  #idle(director: Director, write: KernelWrite, detail: string): void {
    const pointless = write.idle || ['EEXIST', 'ESRCH', 'ENOENT', 'EADDRNOTAVAIL'].includes(write.error ?? '');
    if (!pointless) return;
    const since = this.#truth.ago(director.name, this.#truth.topology.reconcilePeriodSeconds * 1000 + REPAIR_SLACK_MS);
    if (this.#truth.disturbed(director.name, ['vandal', 'kernel'], since)) return;
    this.violate(3, director.name, `write that changes nothing: ${detail}`);
  }

  #destinationSet(director: Director, write: KernelWrite, destination: IpvsDestination, detail: string): void {
    const key = write.before?.service.key ?? '';
    const wasServed = write.before !== undefined && isServed(write.before);
    if (!wasServed && destination.weight > 0) this.#tracesOf(director.name).made.set(`${key} served`, this.#truth.now);
    const service = this.#evidence.serviceOf(director, key);
    if (service === null) return;
    const host = this.#evidence.hostOf(service, destination);
    // A write that hung is of the configuration before, which the kernel still has.
    const schedulers = [service.scheduler, write.before?.service.scheduler];
    const hashes = schedulers.some((scheduler) => scheduler === 'sh' || scheduler === 'mh');
    if (host === null && ((hashes && destination.weight === 0) || this.#found(director, key, destination))) return;
    if (host === null) {
      this.violate(6, director.name, `nobody ever listed this server: ${detail}`);
      return;
    }
    const versions = this.#truth.versions(service.name, this.#evidence.listSince(director, service));
    const weights = versions.flatMap(({ entries }) => entries.filter((entry) => entry.host === host));
    const { weight: given } = destination;
    const may = (entry: PoolEntry): boolean =>
      [entry.weight, weightOf(service, entry)].some((full) => full === given || isStepTo(service, full, given));
    if (weights.some((entry) => entry.enabled && may(entry))) return;
    if (destination.weight === 0 && this.#evidence.mayDrain(director, service, host, destination, hashes)) {
      this.#unservedBy(director, service, write.before, destination, detail);
      return;
    }
    if (destination.weight === 0 && hashes) this.#needlessly(director, service, host, detail);
    else this.violate(6, director.name, `nobody lists ${host} with weight ${destination.weight}: ${detail}`);
  }

  /** It was there when the daemon started, and may be some server's whose address it does not know yet. */
  #found(director: Director, key: string, { key: destination }: IpvsDestination): boolean {
    const { found } = this.#tracesOf(director.name);
    return found.has(`${key} ${destination}`) && this.#truth.ago(director.name, 60_000) <= director.startedAt;
  }

  /** Law 2, on the way down: the last server that takes connections goes only after the route. */
  #unservedBy(
    director: Director,
    service: ServicePlan,
    before: IpvsEntry | undefined,
    gone: IpvsDestination,
    detail: string,
  ): void {
    if (before === undefined || service.announce === 'always' || !service.bgp || !isServed(before)) return;
    const left = [...before.destinations.values()].filter(({ key }) => key !== gone.key);
    if (left.some(({ weight }) => weight > 0) || this.#isServedAt(director, service.vip)) return;
    // Servers that fail one by one after the route has left for too few of them wait for nobody.
    this.#mustNotBeAnnounced(director, service.vip, detail, Math.min(this.#waitMs, 100));
  }

  get #waitMs(): number {
    return this.#truth.topology.withdrawWaitSeconds * 1000;
  }

  #serviceDeleted(director: Director, key: string, detail: string): void {
    if (director.frozen.size > 0 || this.#evidence.isConfigured(director, (service) => serviceKeyOf(service) === key)) {
      this.violate(7, director.name, `service of the configuration deleted: ${detail}`);
    }
    const vip = [...this.#truth.topology.services].find((service) => serviceKeyOf(service) === key)?.vip;
    if (vip !== undefined && !this.#isServedAt(director, vip)) this.#mustNotBeAnnounced(director, vip, detail);
  }

  #addressDeleted(director: Director, vip: string, detail: string): void {
    if (director.frozen.size > 0 || this.#evidence.isConfigured(director, (service) => service.vip === vip)) {
      this.violate(7, director.name, `VIP of the configuration deleted: ${detail}`);
    }
    this.#mustNotBeAnnounced(director, vip, detail);
  }

  #mustNotBeAnnounced(director: Director, vip: string, detail: string, waitMs = this.#waitMs): void {
    if (this.#truth.disturbed(director.name, ['vandal', 'kernel'], this.#truth.ago(director.name, RECENT_MS))) return;
    if (this.#sent.announces(director.name, vip)) {
      this.violate(2, director.name, `unprogrammed while ${vip} is announced: ${detail}`);
    }
    const gone = this.#truth.now - (this.#tracesOf(director.name).withdrawn.get(vip) ?? Number.NEGATIVE_INFINITY);
    if (gone < waitMs - TIMER_MS) {
      this.violate(2, director.name, `unprogrammed ${gone.toFixed(1)} ms after ${vip} was withdrawn: ${detail}`);
    }
  }

  #destinationDeleted(director: Director, write: KernelWrite, destination: IpvsDestination, detail: string): void {
    const before = write.before;
    const service = before === undefined ? null : this.#evidence.serviceOf(director, before.service.key);
    if (before === undefined || service === null) return;
    const host = this.#evidence.hostOf(service, destination);
    if (host === null) return;
    const since = this.#evidence.listSince(director, service);
    const moved = this.#evidence.moved(host, service, destination);
    const unlisted = this.#evidence.unlistedAt(service, host, since);
    if (moved || unlisted || this.#evidence.forgot(director)) return;
    const downSince = this.#evidence.downSince(director, service);
    if (!this.#truth.wasDown(director.name, service.name, host, downSince)) {
      this.#needlessly(director, service, host, detail);
      return;
    }
    this.#floor(director, service, before, since, detail);
    this.#unservedBy(director, service, before, destination, detail);
  }

  /** The law that is most likely behind it: what was wrong on the site while nothing was wrong with the server. */
  #needlessly(director: Director, service: ServicePlan, host: string, detail: string): void {
    const { name } = director;
    const downSince = this.#evidence.downSince(director, service);
    const own = this.#truth.disturbed(name, ['own', 'paused', 'names'], downSince);
    const restarted = this.#truth.disturbed(name, ['restart'], downSince);
    const source = this.#truth.sourceDisturbed(service.name, downSince);
    const faulty = this.#truth.store.fault(service.name) !== null;
    const law = faulty ? 6 : own ? 5 : source ? 6 : restarted ? 7 : 3;
    this.violate(law, name, `${host} is listed, enabled and up: ${detail}`);
  }

  /** Law 1: whoever is taken out for its health could have been held. */
  #floor(director: Director, service: ServicePlan, before: IpvsEntry, since: number, detail: string): void {
    if (this.#truth.disturbed(director.name, ['vandal', 'kernel'], since)) return;
    const left = before.destinations.size - 1;
    const same = this.#evidence.plans(director).filter(({ name }) => name === service.name);
    const threshold = Math.min(...same.map((plan) => plan.threshold));
    const floors = this.#truth.versions(service.name, since).map(({ entries }) => {
      // An address that is new to the list is not held before it was up.
      const isNew = (host: string): boolean => service.source === 'dns' && this.#evidence.movedLately(host, service);
      const eligible = entries.filter(({ host, enabled }) => enabled && !isNew(host)).length;
      return Math.min(eligible, Math.ceil(Number((threshold * entries.length).toFixed(9))));
    });
    const floor = Math.min(...floors);
    if (left < floor) this.violate(1, director.name, `${left} of at least ${floor} servers are left: ${detail}`);
  }

  // BGP.

  sent(session: SentSession, message: WireMessage): void {
    const director = this.#directors.get(session.director);
    if (director === undefined) return;
    if (message.is === 'notification') {
      this.#site.journal.write(director.name, `to ${session.router}: NOTIFICATION ${message.code}/${message.subcode}`);
      this.#closed(director, message.code, message.subcode);
    }
    if (message.is !== 'update') return;
    for (const address of message.withdrawn) {
      this.#tracesOf(director.name).withdrawn.set(address, this.#truth.now);
      this.#site.journal.write(director.name, `to ${session.router}: withdraw ${address}`);
      if (!session.routes.has(address)) {
        this.violate(3, director.name, `withdraws ${address}, which it has not announced to ${session.router}`);
      }
    }
    for (const [address, route] of message.announced) {
      this.#site.journal.write(director.name, `to ${session.router}: announce ${address} med ${route.med}`);
      const known = session.routes.get(address);
      if (known !== undefined && known.med === route.med && known.nextHop === route.nextHop) {
        this.violate(3, director.name, `announces ${address} to ${session.router} once more`);
      }
      const hop = isV6(address) ? director.plan.address6 : director.plan.address;
      if (route.nextHop !== hop) this.violate(2, director.name, `announces ${address} with next hop ${route.nextHop}`);
      this.#announced(director, address);
    }
  }

  #closed(director: Director, code: number, subcode: number): void {
    if (director.stopping) return;
    const since = this.#truth.now - 120_000;
    if (this.#truth.disturbed(director.name, ['path', 'paused', 'restart', 'own', 'kernel', 'loss'], since)) return;
    this.violate(3, director.name, `resets a session without need: NOTIFICATION ${code}/${subcode}`);
  }

  /** Law 2, on the way up. */
  #announced(director: Director, vip: string): void {
    const { name } = director;
    const { announced } = this.#tracesOf(name);
    const recently = (announced.get(vip) ?? Number.NEGATIVE_INFINITY) >= this.#truth.now - RECENT_MS;
    announced.set(vip, this.#truth.now);
    const { kernel } = director.machine;
    const repair = this.#truth.topology.reconcilePeriodSeconds * 1000 + REPAIR_SLACK_MS;
    if (this.#truth.disturbed(name, ['vandal'], this.#truth.ago(name, repair))) return;
    if (recently && this.#truth.disturbed(name, ['kernel'], this.#truth.ago(name, RECENT_MS))) return;
    if (!kernel.addresses.has(vip)) {
      this.violate(2, name, `announces ${vip}, which is not on the host`);
      return;
    }
    const voters = this.#evidence.plans(director).filter((service) => service.vip === vip && service.bgp);
    const good = voters.filter((service) => this.#mayAnnounce(director, service));
    if (good.length === 0) {
      this.violate(2, name, `announces ${vip}, and the kernel serves none of ${voters.map((s) => s.name).join(', ')}`);
      return;
    }
    if (recently) return;
    const verified = good.some((service) => this.#readBack(director, service));
    if (!verified) this.violate(2, name, `announces ${vip} before it was read back from the kernel`);
  }

  #mayAnnounce(director: Director, service: ServicePlan): boolean {
    const entry = director.machine.kernel.table.get(serviceKeyOf(service));
    if (entry === undefined) return false;
    if (service.announce === 'always') return true;
    if (!isServed(entry)) return false;
    if (service.announce === 'served') return true;
    const since = this.#truth.healthAgo(director.name, service, noticeMs(service));
    return [...entry.destinations.values()].some((destination) => {
      const host = this.#evidence.hostOf(service, destination);
      return host !== null && this.#truth.wasUp(director.name, service, host, since);
    });
  }

  #readBack(director: Director, service: ServicePlan): boolean {
    const { made } = this.#tracesOf(director.name);
    const key = serviceKeyOf(service);
    const madeAt = Math.max(director.startedAt, made.get(key) ?? -1, made.get(`${key} served`) ?? -1);
    const vipMadeAt = Math.max(director.startedAt, made.get(service.vip) ?? -1);
    return (
      this.#lastRead(director.name, 'ipvs', key) >= madeAt &&
      this.#lastRead(director.name, 'vips', service.vip) >= vipMadeAt
    );
  }

  /** Some service of this VIP takes new connections, by the kernel's table. */
  #isServedAt(director: Director, vip: string): boolean {
    return this.#evidence.plans(director).some((service) => {
      const entry = service.vip === vip ? director.machine.kernel.table.get(serviceKeyOf(service)) : undefined;
      return entry !== undefined && (isServed(entry) || service.announce === 'always');
    });
  }

  // Bounded.

  /** Law 10: call when the kernel stopped answering or began to refuse. */
  kernelLost(director: Director): void {
    const { name } = director;
    const since = this.#truth.now;
    const generation = director.machine.generation;
    const limit = this.#truth.topology.reconcileLimitSeconds * 1000 + FAIL_SAFE_SLACK_MS;
    this.#site.scheduler.at(limit, () => {
      if (
        !this.#truth.ongoing(name, 'kernel', since) ||
        !director.running ||
        director.machine.generation !== generation
      )
        return;
      if (this.#truth.disturbed(name, ['paused', 'restart'], since)) return;
      this.#site.tally.hit('checked', 'law 10: withdrawn in time');
      for (const session of this.#sent.sessions(name)) {
        const [route] = session.routes.keys();
        if (route !== undefined) {
          this.violate(10, name, `still announces ${route} to ${session.router}, ${limit} ms after it lost its kernel`);
        }
      }
    });
  }

  /** Law 3: a BFD session that fails takes the BGP session with it, so it must not fail by itself. */
  pathLost(director: Director, router: Router): void {
    if (director.stopping || !router.wellSince(this.#truth.now - RECENT_MS)) return;
    const kinds = ['path', 'paused', 'restart', 'own', 'loss'] as const;
    if (this.#truth.disturbed(director.name, kinds, this.#truth.now - RECENT_MS)) return;
    this.violate(3, director.name, `BFD with ${router.plan.name} fails, and nothing is wrong`);
  }

  /**
   * Law 10: call when a director can no longer be heard, or its daemon stands still, with the routers that this is about. If it
   * lasts, those that watch it must have left it in time.
   */
  mustBeLeft(director: Director, routers: readonly Router[], why: keyof typeof LEFT_MS, lasts: () => boolean): void {
    const since = this.#truth.now;
    const { generation } = director.machine;
    const limitMs = LEFT_MS[why];
    // Where packets get lost, that our intervals are short now may not have got through: three of the long ones are waited for.
    if (this.#truth.disturbed(director.name, ['loss'], since - RECENT_MS)) return;
    const watching = routers.filter((router) => router.wellSince(since) && router.sees(director.plan.address));
    if (watching.length === 0) return;
    this.#site.scheduler.at(limitMs, () => {
      if (!lasts() || director.machine.generation !== generation) return;
      for (const router of watching) {
        if (!router.wellSince(since)) continue;
        this.#site.tally.hit('checked', 'law 10: left in time');
        const vip = this.#truth.topology.services.find(
          (each) => router.nextHop(each.vip) === director.plan.address,
        )?.vip;
        if (vip === undefined) continue;
        this.violate(10, director.name, `${router.plan.name} still sends it ${vip} after ${limitMs} ms`);
      }
    });
  }

  /** Law 9: call before somebody else changes the kernel; what stands firmly then must stand again in time. */
  vandalized(director: Director): void {
    const { name } = director;
    const { kernel } = director.machine;
    const start = this.#truth.now;
    const generation = director.machine.generation;
    const quietBefore = !this.#truth.disturbed(name, ['vandal'], start - 60_000);
    const firm = this.#evidence.firm(director);
    if (!quietBefore || !director.running) return;
    const within = this.#truth.topology.reconcilePeriodSeconds * 1000 + REPAIR_SLACK_MS;
    this.#site.scheduler.at(within, () => {
      if (!director.running || director.stopping || director.machine.generation !== generation) return;
      if (this.#truth.quietMs(name) < within + 1) return;
      if (this.#truth.disturbed(name, ['kernel', 'paused', 'restart'], start)) return;
      if (this.#truth.vandalsSince(name, start) > 1) return;
      this.#site.tally.hit('checked', 'law 9: repaired in time');
      for (const { service, host, destination } of firm) {
        if (!this.#evidence.isFirm(director, service, host)) continue;
        if (this.#evidence.moved(host, service, destination)) continue;
        const now = kernel.table.get(serviceKeyOf(service))?.destinations.get(destination.key);
        // On its way up it may be a step further, never back.
        const listed = this.#truth.store.current(service.name).find((entry) => entry.host === host);
        const further =
          now !== undefined &&
          listed !== undefined &&
          now.weight > destination.weight &&
          isStepTo(service, weightOf(service, listed), now.weight);
        // Where not all of its monitors must be up, one that is down has no say in its weight.
        const without = service.needed < service.monitors.length && now?.weight === listed?.weight;
        if (now === undefined || (now.weight !== destination.weight && !further && !without)) {
          this.violate(9, name, `${destination.key} of ${service.name} is not repaired after ${within} ms`);
          return;
        }
        if (!kernel.addresses.has(service.vip)) {
          this.violate(9, name, `${service.vip} is not repaired after ${within} ms`);
          return;
        }
      }
    });
  }

  // The rest.

  /** Call when a server has failed: whoever is not needed for the floor must be out of the kernel in time. */
  failed(name: string, service: ServicePlan, host: string): void {
    const director = this.#directors.get(name);
    if (director === undefined) return;
    const since = this.#truth.now;
    const { reconcilePeriodSeconds, withdrawWaitSeconds } = this.#truth.topology;
    const within = failureMs(service) + (reconcilePeriodSeconds + withdrawWaitSeconds) * 1000 + REPAIR_SLACK_MS;
    this.#site.scheduler.at(within, () => {
      const same = director.readings(since).every((reading) => reading.get(service.name) === service);
      if (!director.running || director.stopping || !same) return;
      if (this.#truth.downMs(name, service.name, host) < within - TIMER_MS) return;
      // What it could not know, or act on, before that it may still be learning.
      if (this.#truth.blind(name, service, since - 2 * noticeMs(service))) return;
      if (this.#truth.disturbed(name, ['vandal'], since) || this.#evidence.movedLately(host, service)) return;
      this.#site.tally.hit('checked', 'failed servers are out in time');
      const table = director.machine.kernel.table.get(serviceKeyOf(service))?.destinations;
      const kept = [...(table?.values() ?? [])].find(
        (destination) => destination.weight > 0 && this.#evidence.hostOf(service, destination) === host,
      );
      if (kept === undefined) return;
      // Whoever gets no connections takes nobody's place in the floor.
      const others = [...(table?.values() ?? [])].flatMap((destination) => {
        const other = destination.weight > 0 ? this.#evidence.hostOf(service, destination) : null;
        return other !== null && this.#evidence.isFirm(director, service, other) ? [other] : [];
      });
      if (others.length < this.#evidence.floor(director, service) || others.length === 0) return;
      this.violate(0, name, `${host} of ${service.name} is down, and still in the kernel after ${within} ms`);
    });
  }

  /** Law 11. */
  ranCommand(director: string, path: string): void {
    if (path !== CHECK_PROGRAM && path !== SSH_PROGRAM) this.violate(11, director, `ran ${path}`);
  }

  /** Law 12. */
  exited(director: Director, code: number, wanted: boolean): void {
    this.#site.journal.write(director.name, `exits with ${code}`);
    const right = wanted ? 0 : director.missedLately ? 2 : null;
    if (code !== right) {
      this.violate(12, director.name, `exits with ${code}${wanted ? ' when told to stop' : ''}`);
    }
  }
}

export function isServed(entry: IpvsEntry): boolean {
  for (const { weight } of entry.destinations.values()) if (weight > 0) return true;
  return false;
}

function describe({ op, error, lost, idle }: KernelWrite): string {
  const what =
    'destination' in op
      ? `${op.do} ${op.service.key} ${op.destination.key} weight ${op.destination.weight}`
      : 'service' in op
        ? `${op.do} ${op.service.key} ${op.service.scheduler}`
        : `${op.do} ${op.address}`;
  return `${what}${error === null ? '' : ` → ${error}`}${lost ? ' → lost' : ''}${idle ? ' (the same)' : ''}`;
}
