// What is really the case on the simulated site, and since when: which servers deserve traffic as seen from each director,
// what was published, what disturbed whom. Nothing here looks at the daemon. laws.ts and oracle.ts judge by it.

import type { Machine } from './machine.ts';
import type { PoolStore } from './pool-store.ts';
import type { RealServer } from './server.ts';
import type { Site } from './site.ts';
import {
  KEEPALIVE,
  type ServerPlan,
  type ServicePlan,
  type Topology,
  isV6,
  type MonitorName,
  NOT_ON_PATH,
} from './topology.ts';

/**
 * kernel: its calls fail, hang or lose writes. vandal: somebody else writes to it. paused: the process gets no time. restart:
 * it was not running. path: packets to or from a router are dropped, or the router is away. own: it cannot open anything. clock: it is wrong. keys: ssh's files cannot be read. source: pool lists do not get through.
 */
export type Disturbance =
  | 'kernel'
  | 'vandal'
  | 'paused'
  | 'restart'
  | 'path'
  | 'loss'
  | 'own'
  | 'clock'
  | 'keys'
  | 'disk'
  | 'names'
  | 'source';

/** What keeps a director from doing in time what it knows to do. */
const HINDERS: readonly Disturbance[] = ['kernel', 'paused', 'restart', 'own', 'disk', 'names'];

interface Span {
  readonly kind: Disturbance;
  readonly from: number;
  to: number | null;
}

interface Seen {
  up: boolean;
  /** Start of the present state. */
  since: number;
  /** Last moment at which it was down, and up; -Infinity: never. */
  lastDown: number;
  lastUp: number;
  /** Start of its last time up. */
  lastUpFrom: number;
  /** The checks that pass, and when others last did. */
  good: readonly MonitorName[];
  readonly lastGood: Map<MonitorName, number>;
}

export interface DirectorView {
  readonly name: string;
  readonly machine: Machine;
  /** Services as the configuration says that this director last read, and could use. */
  readonly services: ReadonlyMap<string, ServicePlan>;
}

export class Truth {
  readonly topology: Topology;
  readonly store: PoolStore;
  readonly #site: Site;
  readonly #servers: ReadonlyMap<string, RealServer>;
  readonly #directors: readonly DirectorView[];
  readonly #spans = new Map<string, Span[]>();
  readonly #seen = new Map<string, Seen>();
  /** Addresses that a host had, and until when. */
  readonly #addresses = new Map<string, { readonly address: string; until: number | null }[]>();
  /** Last time anything of this changed: by director. */
  readonly #changed = new Map<string, number>();

  constructor(
    site: Site,
    topology: Topology,
    store: PoolStore,
    servers: ReadonlyMap<string, RealServer>,
    directors: readonly DirectorView[],
  ) {
    this.#site = site;
    this.topology = topology;
    this.store = store;
    this.#servers = servers;
    this.#directors = directors;
    for (const { plan } of servers.values()) this.setAddresses(plan.host, [plan.address, plan.address6]);
  }

  get now(): number {
    return this.#site.scheduler.now;
  }

  // Disturbances.

  disturb(director: string, kind: Disturbance): () => void {
    const end = this.#begin(director, kind);
    if (kind !== 'vandal') this.touch(director);
    return () => {
      end();
      if (kind !== 'vandal') this.touch(director);
    };
  }

  /** The source of this service's list does not serve it as published. */
  disturbSource(service: string): () => void {
    const end = this.#begin(sourceOf(service), 'source');
    this.touch();
    return () => {
      end();
      this.touch();
    };
  }

  /** What is read of this service's servers is not so, or says nothing. */
  disturbFeed(service: string): () => void {
    const end = this.#begin(feedOf(service), 'source');
    this.touch();
    return () => {
      end();
      this.touch();
    };
  }

  /** A new kernel has none of the old one's troubles. */
  rebooted(director: string): void {
    for (const span of this.#spansOf(director, ['kernel'])) span.to ??= this.now;
  }

  #begin(whose: string, kind: Disturbance): () => void {
    const span: Span = { kind, from: this.now, to: null };
    const spans = this.#spans.get(whose) ?? [];
    // What ended long ago plays no part any more.
    this.#spans.set(whose, [...spans.filter(({ to }) => to === null || to > this.now - 1_200_000), span]);
    return () => {
      span.to ??= this.now;
    };
  }

  /** Was any of these going on at or after `since`? */
  disturbed(director: string, kinds: readonly Disturbance[], since: number): boolean {
    return (this.#spans.get(director) ?? []).some(
      ({ kind, to }) => kinds.includes(kind) && (to === null || to >= since),
    );
  }

  sourceDisturbed(service: string, since: number): boolean {
    return this.disturbed(sourceOf(service), ['source'], since);
  }

  /** Has this been going on without a break since then? */
  ongoing(director: string, kind: Disturbance, since: number): boolean {
    return this.#spansOf(director, [kind]).some(({ from, to }) => from <= since && to === null);
  }

  /** `ms` ago; if the director could not act at some time since then, as long before that. */
  ago(director: string, ms: number): number {
    return this.#before(this.now - ms, ms, this.#spansOf(director, HINDERS));
  }

  /** As `ago`, for what it knows of the health of a service's servers. */
  healthAgo(director: string, service: ServicePlan, ms: number): number {
    return this.#before(this.now - ms, ms, this.#blindness(director, service));
  }

  /** Could it not tell the health of a service's servers at or after `since`, or not act on it? */
  blind(director: string, service: ServicePlan, since: number): boolean {
    return this.#blindness(director, service).some(({ to }) => to === null || to >= since);
  }

  #blindness(director: string, { name, monitors, sshMode, feed, via }: ServicePlan): readonly Span[] {
    const kinds = [...HINDERS];
    // Whoever takes a path away has the check under way say nothing: the next one comes an interval later.
    if (via !== 'server') kinds.push('vandal');
    if (monitors.includes('SSH') && sshMode === 'login') kinds.push('keys');
    if (monitors.includes('File')) kinds.push('clock', ...(feed === 'url' ? (['source'] as const) : []));
    return [...this.#spansOf(director, kinds), ...(this.#spans.get(feedOf(name)) ?? [])];
  }

  /** As `ago`, for what it knows of a list. */
  listAgo(director: string, service: string, ms: number): number {
    const spans = [...this.#spansOf(director, [...HINDERS, 'source']), ...(this.#spans.get(sourceOf(service)) ?? [])];
    return this.#before(this.now - ms, ms, spans);
  }

  #spansOf(director: string, kinds: readonly Disturbance[]): readonly Span[] {
    return (this.#spans.get(director) ?? []).filter(({ kind }) => kinds.includes(kind));
  }

  #before(since: number, ms: number, spans: readonly Span[]): number {
    for (const span of [...spans].sort((a, b) => b.from - a.from)) {
      if (span.from - ms < since && (span.to === null || span.to >= since))
        return this.#before(span.from - ms, ms, spans);
    }
    return since;
  }

  vandalsSince(director: string, since: number): number {
    return (this.#spans.get(director) ?? []).filter(({ kind, from }) => kind === 'vandal' && from >= since).length;
  }

  touch(director?: string): void {
    for (const { name } of this.#directors)
      if (director === undefined || director === name) this.#changed.set(name, this.now);
  }

  /** For how long nothing has changed that matters to this director. */
  quietMs(director: string): number {
    return this.now - (this.#changed.get(director) ?? 0);
  }

  // Health.

  /** Called when a server has failed, as seen from a director. */
  failed: (director: string, service: ServicePlan, host: string) => void = () => {};

  /** Call after anything that may change who is reachable or serves. */
  look(): void {
    for (const director of this.#directors) {
      for (const service of director.services.values()) {
        for (const server of this.#servers.values()) this.#lookAt(director, service, server);
      }
    }
  }

  #lookAt(director: DirectorView, service: ServicePlan, server: RealServer): void {
    const { network } = this.#site;
    const reachable =
      server.host.silent ||
      (network.reaches(director.machine.host, server.host) && network.reaches(server.host, director.machine.host)) ||
      !director.machine.host.power;
    const through = (monitor: MonitorName): boolean =>
      service.via === 'server' || NOT_ON_PATH.includes(monitor) || server.host.takes(service.forward);
    // Whoever writes a document has ways of his own.
    const reached = (monitor: MonitorName): boolean => monitor === 'File' || (reachable && through(monitor));
    const good = service.monitors.filter((monitor) => reached(monitor) && server.isUpFor(monitor));
    const up = good.length >= service.needed;
    const key = `${director.name} ${service.name} ${server.plan.host}`;
    const seen = this.#seen.get(key);
    if (seen === undefined) {
      const never = Number.NEGATIVE_INFINITY;
      this.#seen.set(key, {
        up,
        since: this.now,
        lastDown: up ? never : this.now,
        lastUp: up ? this.now : never,
        lastUpFrom: up ? this.now : never,
        good,
        lastGood: new Map(),
      });
      return;
    }
    for (const monitor of seen.good) if (!good.includes(monitor)) seen.lastGood.set(monitor, this.now);
    seen.good = good;
    if (seen.up === up) return;
    if (seen.up) seen.lastUp = this.now;
    else {
      seen.lastDown = this.now;
      seen.lastUpFrom = this.now;
    }
    seen.up = up;
    seen.since = this.now;
    this.touch(director.name);
    if (!up) this.failed(director.name, service, server.plan.host);
  }

  isUp(director: string, service: string, host: string): boolean {
    return this.#seen.get(`${director} ${service} ${host}`)?.up ?? false;
  }

  /** Was it down at any moment since then? */
  wasDown(director: string, service: string, host: string, since: number): boolean {
    const seen = this.#seen.get(`${director} ${service} ${host}`);
    return seen === undefined || !seen.up || seen.lastDown >= since;
  }

  /** Could it count as up, by what each of its checks may have seen since then? They do not look at the same moment. */
  wasUp(director: string, { name, monitors, needed }: ServicePlan, host: string, since: number): boolean {
    const seen = this.#seen.get(`${director} ${name} ${host}`);
    if (seen === undefined) return false;
    const never = Number.NEGATIVE_INFINITY;
    const good = monitors.filter(
      (monitor) => seen.good.includes(monitor) || (seen.lastGood.get(monitor) ?? never) >= since,
    );
    return good.length >= needed;
  }

  /** For how long it has been down without a break; 0: it is up, ms. */
  downMs(director: string, service: string, host: string): number {
    const seen = this.#seen.get(`${director} ${service} ${host}`);
    return seen === undefined || seen.up ? 0 : this.now - seen.since;
  }

  /** Was it up long enough to be noticed, the last time that it was? */
  wasSeenUp(director: string, service: ServicePlan, host: string, since: number): boolean {
    const seen = this.#seen.get(`${director} ${service.name} ${host}`);
    if (seen === undefined) return false;
    const until = seen.up ? this.now : seen.lastUp;
    return until - Math.max(since, seen.lastUpFrom) >= 2 * noticeMs(service);
  }

  // Names.

  setAddresses(host: string, addresses: readonly string[]): void {
    const known = this.#addresses.get(host) ?? [];
    for (const entry of known) if (entry.until === null && !addresses.includes(entry.address)) entry.until = this.now;
    for (const address of addresses) {
      if (!known.some((entry) => entry.until === null && entry.address === address))
        known.push({ address, until: null });
    }
    this.#addresses.set(host, known);
    this.#site.zone.set(host, addresses);
    this.touch();
  }

  /** Every address of the family that a host has, or had at or after `since`. */
  addresses(host: string, vip: string, since = this.now): readonly string[] {
    const known = this.#addresses.get(host) ?? [];
    const out = known.filter(({ address, until }) => isV6(address) === isV6(vip) && (until === null || until >= since));
    return [...new Set(out.map(({ address }) => address))];
  }

  /** When it got the addresses that it has; -Infinity: it always had them. */
  movedAt(host: string): number {
    const known = this.#addresses.get(host) ?? [];
    return Math.max(Number.NEGATIVE_INFINITY, ...known.flatMap(({ until }) => until ?? []));
  }

  hostOf(address: string): string | null {
    for (const [host, known] of this.#addresses) if (known.some((entry) => entry.address === address)) return host;
    return null;
  }

  server(host: string): ServerPlan | null {
    return this.#servers.get(host)?.plan ?? null;
  }

  // Lists.

  /** Versions that were served at or after `since`, the present one last. */
  versions(service: string, since: number): ReturnType<PoolStore['versions']> {
    const all = this.store.versions(service);
    let first = all.length - 1;
    while (first > 0 && (all[first]?.at ?? 0) > since) first--;
    return all.slice(Math.max(0, first));
  }
}

const sourceOf = (service: string): string => `source of ${service}`;
const feedOf = (service: string): string => `feed of ${service}`;

/** How long a monitor may take to notice that a server is back, plus what a decision and its writes take, ms. */
export function noticeMs(service: ServicePlan): number {
  const { intervalSeconds, slowSeconds, monitors } = service;
  const polled = monitors.some((monitor) => monitor !== 'IdleConnection');
  const slow = polled ? Math.max(0, (slowSeconds ?? 0) - intervalSeconds) : 0;
  return failureMs(service) + slow * 1000;
}

/** How long it may take to notice that a server failed, likewise. */
export function failureMs(service: ServicePlan): number {
  const polled = service.monitors.some((monitor) => monitor !== 'IdleConnection');
  const held = service.monitors.includes('IdleConnection');
  const keepAlive = KEEPALIVE.idleSeconds + KEEPALIVE.intervalSeconds * KEEPALIVE.retries;
  // A document is read once in an interval, for all who ask in it.
  const readings = service.monitors.includes('File') ? service.intervalSeconds : 0;
  const seconds = Math.max(
    polled ? service.intervalSeconds * Math.max(service.rise, service.fall) + service.timeoutSeconds + readings : 0,
    held ? Math.max(service.maxDelaySeconds, keepAlive) + service.timeoutSeconds : 0,
  );
  // A path that the kernel has lost is waited for.
  return seconds * 1000 + (service.via === 'server' ? 3000 : 8000);
}
