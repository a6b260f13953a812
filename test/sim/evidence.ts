// What there is to say for or against an act of a director, out of the truth: by which configuration it may be acting, whose
// address that is, since when a list or a failure may still have its effect. laws.ts judges by it.

import type { IpvsDestination } from '../../src/ipvs/table.ts';
import type { Director } from './director.ts';
import { type ServicePlan, destinationKeyOf, isInDns, serviceKeyOf } from './topology.ts';
import { type Truth, noticeMs } from './truth.ts';

/** From publishing to acting: the poll, a slow answer, a source that comes back from its longest back-off. */
const LIST_MS = 45_000;
/** From a signal, or a start, to acting by what was read. */
const READING_MS = 5000;

export class Evidence {
  readonly #truth: Truth;

  constructor(truth: Truth) {
    this.#truth = truth;
  }

  /** By the last reading that knows it. */
  serviceOf(director: Director, key: string): ServicePlan | null {
    return this.plans(director).find((service) => serviceKeyOf(service) === key) ?? null;
  }

  plans(director: Director): readonly ServicePlan[] {
    return this.readings(director).flatMap((reading) => [...reading.values()]);
  }

  /** No reading lacks it. */
  isConfigured(director: Director, is: (service: ServicePlan) => boolean): boolean {
    return this.readings(director).every((reading) => [...reading.values()].some(is));
  }

  /** What it may be acting by now: a new reading takes a moment, and writes may have been stuck in the kernel. */
  readings(director: Director): readonly ReadonlyMap<string, ServicePlan>[] {
    return director.readings(this.#truth.ago(director.name, READING_MS));
  }

  hostOf(service: ServicePlan, destination: IpvsDestination): string | null {
    const host = this.#truth.hostOf(destination.address);
    return host !== null && destination.key === destinationKeyOf(destination.address, service.realPort) ? host : null;
  }

  /** It is at another address, or may be taken to be. */
  moved(host: string, service: ServicePlan, { address }: IpvsDestination): boolean {
    return !this.#truth.addresses(host, service.vip).includes(address) || this.movedLately(host, service);
  }

  movedLately(host: string, service: ServicePlan): boolean {
    const { resolveIntervalSeconds, ttlSeconds } = this.#truth.topology;
    const nameMs = (resolveIntervalSeconds + ttlSeconds) * 1000;
    // Where addresses are the list, it is another one.
    const foundMs = service.source === 'dns' ? LIST_MS + this.#believedMs(service) : nameMs;
    const ms = foundMs + noticeMs(service) + 30_000;
    return this.#truth.addresses(host, service.vip, this.#truth.now - ms).length > 1;
  }

  /** The start of the time from which a list may still have its effect. */
  listSince(director: Director, service: ServicePlan): number {
    const { now } = this.#truth;
    // What a daemon that starts, or a service that returns to the configuration, finds on disk may be of any age.
    const started = now - director.startedAt < 120_000;
    const returned = director.readings(now - 120_000).some((services) => !services.has(service.name));
    if (started || returned) return Number.NEGATIVE_INFINITY;
    const ms = LIST_MS + this.#believedMs(service);
    return this.#beforeSuspects(service, this.#truth.listAgo(director.name, service.name, ms), ms);
  }

  /** Until a list that is read has all of its effects. */
  #believedMs(service: ServicePlan): number {
    const ttlSeconds = isInDns(service) ? this.#truth.topology.ttlSeconds : 0;
    return (service.shrinkConfirmSeconds + service.drainSeconds + ttlSeconds) * 1000;
  }

  /** A suspect list that was edited again before it was believed has left the one before in force. */
  #beforeSuspects(service: ServicePlan, since: number, ms: number): number {
    const all = this.#truth.store.versions(service.name);
    const [oldest] = this.#truth.versions(service.name, since);
    const index = oldest === undefined ? 0 : all.indexOf(oldest);
    if (oldest === undefined || index === 0) return since;
    const lasted = (all[index + 1]?.at ?? this.#truth.now) - oldest.at;
    const shrunk = ({ entries }: (typeof all)[number]): boolean =>
      entries.filter(({ host }) => oldest.entries.some((entry) => entry.host === host)).length <
      service.shrinkLimit * entries.length;
    return lasted < ms && all.slice(0, index).some(shrunk) ? this.#beforeSuspects(service, oldest.at - 1, ms) : since;
  }

  unlistedAt(service: ServicePlan, host: string, since: number): boolean {
    return this.#truth
      .versions(service.name, since)
      .some(({ entries }) => !entries.some((entry) => entry.host === host && entry.enabled));
  }

  /** It came back without what its disk should have kept: addresses and lists may be older than they look. */
  forgot(director: Director): boolean {
    const { now } = this.#truth;
    return now - director.startedAt < 120_000 && this.#truth.disturbed(director.name, ['disk'], now - 1_200_000);
  }

  downSince(director: Director, service: ServicePlan): number {
    return this.#truth.healthAgo(director.name, service, noticeMs(service));
  }

  /** Up, listed, enabled, at one address and with one weight for long enough to be known. */
  isFirm(director: Director, service: ServicePlan, host: string): boolean {
    if (!director.services.has(service.name) || this.movedLately(host, service)) return false;
    const since = this.#truth.healthAgo(director.name, service, 2 * noticeMs(service));
    if (this.#truth.wasDown(director.name, service.name, host, since)) return false;
    const versions = this.#truth.versions(service.name, this.listSince(director, service));
    const weights = new Set(
      versions.map(({ entries }) => {
        const entry = entries.find((candidate) => candidate.host === host);
        return entry?.enabled === true ? entry.weight : -1;
      }),
    );
    return weights.size === 1 && !weights.has(-1);
  }

  /** How many servers it must keep, at most. */
  floor(director: Director, service: ServicePlan): number {
    const same = this.plans(director).filter(({ name }) => name === service.name);
    const threshold = Math.max(...same.map((plan) => plan.threshold));
    const sizes = this.#truth
      .versions(service.name, this.listSince(director, service))
      .map(({ entries }) => entries.length);
    return Math.ceil(Number((threshold * Math.max(...sizes)).toFixed(9)));
  }

  firm(
    director: Director,
  ): { readonly service: ServicePlan; readonly host: string; readonly destination: IpvsDestination }[] {
    return [...director.services.values()].flatMap((service) => {
      const entry = director.machine.kernel.table.get(serviceKeyOf(service));
      return [...(entry?.destinations.values() ?? [])].flatMap((destination) => {
        const host = this.hostOf(service, destination);
        if (host === null || !this.isFirm(director, service, host)) return [];
        // A weight that was found at the start gives way to the listed one with the first result.
        return this.#isListed(director, service, host, destination.weight) ? [{ service, host, destination }] : [];
      });
    });
  }

  #isListed(director: Director, service: ServicePlan, host: string, weight: number): boolean {
    return this.#truth
      .versions(service.name, this.listSince(director, service))
      .some(({ entries }) => entries.some((entry) => entry.host === host && entry.weight === weight));
  }

  /** Taken out by an administrator who wants it drained; or about to be deleted, where the scheduler `hashes`. */
  mayDrain(
    director: Director,
    service: ServicePlan,
    host: string,
    destination: IpvsDestination,
    hashes: boolean,
  ): boolean {
    const gone = service.source === 'dns' && this.moved(host, service, destination);
    const unlisted = gone || this.unlistedAt(service, host, this.listSince(director, service));
    if (unlisted && service.drainSeconds > 0) return true;
    const down = (): boolean =>
      this.#truth.wasDown(director.name, service.name, host, this.downSince(director, service));
    return hashes && (unlisted || this.moved(host, service, destination) || this.forgot(director) || down());
  }
}
