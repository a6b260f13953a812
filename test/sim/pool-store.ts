// Where pool lists are published: a web server, files on each director, DNS, and the stores of pool-watched.ts. It can serve
// everything that sources serve on a bad day. What was published when is remembered, for the laws.

import type { ServiceRecord } from '../../src/world/world.ts';
import { dnsName, poolPath, poolText, poolUrl } from './conf.ts';
import type { WebAnswer } from './http.ts';
import type { Machine } from './machine.ts';
import type { ResolverState } from './names.ts';
import { type Upheaval, WatchedStore } from './pool-watched.ts';
import type { Site } from './site.ts';
import { isInDns, POOL_SERVER, type PoolEntry, type ServicePlan } from './topology.ts';
import { badAnswer, HUGE, isWebFault, late, respond, WEB_FAULTS, type WebFault } from './web-faults.ts';

const OF_LISTS = ['empty', 'truncated', 'garbage', 'code', 'too large'] as const;
/** late: as it should be, but only just before it is given up. nothing: it is well, and says no word. failing: SERVFAIL. */
const OF_STORES = ['late', 'nothing'] as const;
const OF_NAMES = ['not found', 'failing', 'hang', 'late', 'empty', 'truncated', 'garbage'] as const;

export type SourceFault = WebFault | (typeof OF_LISTS)[number] | (typeof OF_STORES)[number] | (typeof OF_NAMES)[number];

/** Those that this kind of source can have. */
export function faultsOf({ source }: ServicePlan): readonly SourceFault[] {
  switch (source) {
    case 'file':
      return ['not found', ...OF_LISTS];
    case 'http':
      return [...WEB_FAULTS, 'late', ...OF_LISTS];
    case 'etcd':
    case 'etcd v2':
    case 'k8s':
      return [...WEB_FAULTS, ...OF_STORES, ...OF_LISTS];
    case 'srv':
    case 'dns':
      return OF_NAMES;
    default:
      return source satisfies never;
  }
}

/** What looks like a list that somebody may mean, and is believed when it stays. Of a file that was cut nobody does. */
export function isShortList(service: ServicePlan, fault: SourceFault): boolean {
  return fault === 'empty' || (fault === 'truncated' && isInDns(service));
}

export interface Published {
  readonly at: number;
  readonly entries: readonly PoolEntry[];
  readonly version: number;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Lists that directors may still be going by. */
const RECENT_MS = 1_200_000;
/** What a filter of names says instead of what it hides. */
const SINKHOLE = ['0.0.0.0', '::'] as const;

export class PoolStore {
  readonly #site: Site;
  readonly #machines: readonly Machine[];
  readonly #services = new Map<string, ServicePlan>();
  readonly #published = new Map<string, Published[]>();
  readonly #watched = new Map<string, WatchedStore>();
  readonly #faults = new Map<string, SourceFault>();
  readonly #faultEnded = new Map<string, number>();
  #version = 0;

  constructor(site: Site, machines: readonly Machine[]) {
    this.#site = site;
    this.#machines = machines;
    site.network.host('pool-server', [POOL_SERVER.address]);
    site.web.site(POOL_SERVER, (request) => this.#serve(request));
  }

  publish(service: ServicePlan, list: readonly PoolEntry[]): void {
    this.#services.set(service.name, service);
    const entries = asServed(service, list);
    const versions = this.#published.get(service.name) ?? [];
    versions.push({ at: this.#site.scheduler.now, entries, version: ++this.#version });
    this.#published.set(service.name, versions);
    this.#write(service);
  }

  versions(service: string): readonly Published[] {
    return this.#published.get(service) ?? [];
  }

  current(service: string): readonly PoolEntry[] {
    return this.versions(service).at(-1)?.entries ?? [];
  }

  fault(service: string): SourceFault | null {
    return this.#faults.get(service) ?? null;
  }

  /** A fault of this source ended so short a time ago that a poll may have seen nothing between it and the next. */
  faultedLately(service: string): boolean {
    return this.#site.scheduler.now - (this.#faultEnded.get(service) ?? Number.NEGATIVE_INFINITY) < 60_000;
  }

  setFault(service: ServicePlan, fault: SourceFault | null): void {
    if (fault === null) {
      this.#faults.delete(service.name);
      this.#faultEnded.set(service.name, this.#site.scheduler.now);
    } else this.#faults.set(service.name, fault);
    this.#write(service);
  }

  /** To a store that is watched. False: this one is not. */
  upset(service: ServicePlan, upheaval: Upheaval): boolean {
    return this.#watched.get(service.name)?.upset(upheaval) ?? false;
  }

  #write(service: ServicePlan): void {
    const { source } = service;
    const fault = this.fault(service.name);
    if (source === 'etcd' || source === 'etcd v2' || source === 'k8s') {
      const store = this.#watched.get(service.name) ?? new WatchedStore(this.#site, service);
      this.#watched.set(service.name, store);
      store.write(this.current(service.name), fault);
      return;
    }
    // A web server is asked.
    if (source === 'http') return;
    if (fault !== null) this.#site.tally.hit(`pool: ${fault}`, `${source} source`);
    if (source === 'file') this.#writeFiles(service, fault);
    else this.#writeZone(service, fault);
  }

  #writeFiles(service: ServicePlan, fault: SourceFault | null): void {
    const path = poolPath(service);
    for (const { disk } of this.#machines) {
      if (fault === 'not found') disk.remove(path);
      else disk.put(path, this.#content(service, fault));
    }
  }

  #writeZone(service: ServicePlan, fault: SourceFault | null): void {
    const { zone } = this.#site;
    const name = dnsName(service);
    zone.setState(name, zoneState(fault));
    const entries = fault === 'truncated' ? this.#part(service) : this.current(service.name);
    const gone = fault === 'not found' || (fault === 'empty' && service.source === 'dns');
    if (service.source === 'srv') zone.setServices(name, gone ? [] : recordsOf(service, entries, fault));
    else zone.set(name, gone ? [] : fault === 'garbage' ? SINKHOLE : entries.map(({ host }) => host));
  }

  /** So few that nobody can mean it, whichever of the recent lists a director goes by. */
  #part({ name, shrinkLimit }: ServicePlan): readonly PoolEntry[] {
    const all = this.versions(name);
    const since = this.#site.scheduler.now - RECENT_MS;
    const recent = all.filter((_, i) => (all[i + 1]?.at ?? Number.POSITIVE_INFINITY) >= since);
    const least = Math.min(...recent.map(({ entries }) => entries.length));
    return this.current(name).slice(0, Math.max(0, Math.ceil(least * shrinkLimit) - 1));
  }

  #content(service: ServicePlan, fault: SourceFault | null): Uint8Array {
    const text = poolText(this.current(service.name), service.json);
    switch (fault) {
      case 'empty':
        return new Uint8Array();
      case 'truncated':
        return encode(text.slice(0, insideAnEntry(text)));
      case 'garbage':
        return Uint8Array.from({ length: 200 }, (_, i) => (i * 151 + 7) & 0xff);
      case 'code':
        return encode("__import__('os').system('reboot')\nglobalThis.anybalRanPoolData = true;\n");
      case 'too large':
        return HUGE;
      default:
        return encode(text);
    }
  }

  #serve(request: { readonly url: string; readonly headers: Readonly<Record<string, string>> }): WebAnswer {
    const service = [...this.#services.values()].find((candidate) => poolUrl(candidate).endsWith(request.url));
    if (service === undefined) return respond(404, '');
    const fault = this.fault(service.name);
    if (fault !== null) this.#site.tally.hit(`pool: ${fault}`, 'http source');
    if (isWebFault(fault)) return badAnswer(fault);
    const etag = `"${this.versions(service.name).at(-1)?.version ?? 0}${fault ?? ''}"`;
    const same = request.headers['if-none-match'] === etag;
    const answer = same ? respond(304, '', { etag }) : respond(200, this.#content(service, fault), { etag });
    return fault === 'late' ? late(answer) : answer;
  }
}

/** Nodes have no weight, addresses in DNS neither; what is in DNS is enabled, with some weight. */
function asServed(service: ServicePlan, list: readonly PoolEntry[]): readonly PoolEntry[] {
  if (service.source === 'k8s') return list.map((entry) => ({ ...entry, weight: 1 }));
  if (!isInDns(service)) return list;
  const enabled = list.filter((entry) => entry.enabled);
  return (enabled.length > 0 ? enabled : list).map(({ host, weight }) => ({
    host,
    weight: service.source === 'dns' ? 10 : Math.max(1, weight),
    enabled: true,
  }));
}

function zoneState(fault: SourceFault | null): ResolverState {
  if (fault === 'failing' || fault === 'late') return fault;
  return fault === 'hang' ? 'silent' : 'answers';
}

/** With a spare one, which is not for as long as there is any other (RFC 2782). */
function recordsOf(
  { realPort }: ServicePlan,
  entries: readonly PoolEntry[],
  fault: SourceFault | null,
): readonly ServiceRecord[] {
  // "Decidedly not available" (RFC 2782).
  if (fault === 'empty') return [{ priority: 0, weight: 0, port: 0, target: '.' }];
  const port = fault === 'garbage' ? realPort + 1 : realPort;
  const records = entries.map(({ host, weight }) => ({ priority: 1, weight, port, target: host }));
  return [...records, { priority: 9, weight: 10, port, target: 'spare' }];
}

/** About the middle, but inside an entry: a list that ends between two lines is a shorter list, not a truncated one. */
function insideAnEntry(text: string): number {
  return Math.max(text.lastIndexOf('host', Math.floor(text.length * 0.7)), text.indexOf('{')) + 6;
}
