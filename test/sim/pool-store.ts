// Where pool lists are published: a web server, and files on each director. It can serve everything that sources serve on a
// bad day. What was published when is remembered, for the laws.

import type { HttpResponse, ServiceRecord } from '../../src/world/world.ts';
import type { WebAnswer } from './http.ts';
import type { Machine } from './machine.ts';
import { WatchedStore } from './pool-watched.ts';
import type { Site } from './site.ts';
import { poolPath, poolText, poolUrl, srvName } from './conf.ts';
import { POOL_SERVER, type PoolEntry, type ServicePlan } from './topology.ts';

export const SOURCE_FAULTS = [
  'error 500',
  'not found',
  'hang',
  'cut off',
  'empty',
  'truncated',
  'garbage',
  'code',
  'too large',
  'redirect',
] as const;
/** Those that this kind of source can have. */
export function faultsOf({ source }: ServicePlan): readonly SourceFault[] {
  if (source === 'srv') return ['empty', 'not found', 'garbage'];
  const ofServers: readonly SourceFault[] = ['error 500', 'hang', 'cut off', 'redirect'];
  return SOURCE_FAULTS.filter((fault) => source !== 'file' || !ofServers.includes(fault));
}

export type SourceFault = (typeof SOURCE_FAULTS)[number];

export interface Published {
  readonly at: number;
  readonly entries: readonly PoolEntry[];
  readonly version: number;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const HUGE = new Uint8Array(12 * 1024 * 1024).fill(0x23);

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

  /** What a store that is watched does when its history is compacted. */
  compact(service: ServicePlan): void {
    this.#watched.get(service.name)?.compact();
  }

  #write(service: ServicePlan): void {
    if (service.source === 'etcd' || service.source === 'k8s') {
      const store = this.#watched.get(service.name) ?? new WatchedStore(this.#site, service);
      this.#watched.set(service.name, store);
      store.write(this.current(service.name), this.fault(service.name));
    }
    if (service.source === 'srv') this.#site.zone.setServices(srvName(service), this.#records(service));
    if (service.source !== 'file') return;
    const path = poolPath(service);
    const fault = this.fault(service.name);
    for (const { disk } of this.#machines) {
      if (fault === 'not found') disk.remove(path);
      else disk.put(path, this.#content(service, fault));
    }
    if (fault !== null) this.#site.tally.hit(`pool: ${fault}`, 'file source');
  }

  #records(service: ServicePlan): readonly ServiceRecord[] {
    const fault = this.fault(service.name);
    if (fault !== null) this.#site.tally.hit(`pool: ${fault}`, 'srv source');
    if (fault === 'empty' || fault === 'not found') return [];
    const port = fault === 'garbage' ? service.realPort + 1 : service.realPort;
    return this.current(service.name).map(({ host, weight }) => ({ priority: 1, weight, port, target: host }));
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
    if (service === undefined) return respond(404, {}, new Uint8Array());
    const fault = this.fault(service.name);
    if (fault !== null) this.#site.tally.hit(`pool: ${fault}`, 'http source');
    switch (fault) {
      case 'error 500':
        return respond(500, {}, encode('internal error'));
      case 'not found':
        return respond(404, {}, encode('not found'));
      case 'redirect':
        return respond(302, { location: 'http://elsewhere.example/' }, new Uint8Array());
      case 'hang':
        return { is: 'hang' };
      case 'cut off':
        return { is: 'cut off' };
      default: {
        const etag = `"${this.versions(service.name).at(-1)?.version ?? 0}${fault ?? ''}"`;
        if (request.headers['if-none-match'] === etag) return respond(304, { etag }, new Uint8Array());
        return respond(200, { etag }, this.#content(service, fault));
      }
    }
  }
}

/** Nodes have no weight, and SRV records that are there are enabled, with some weight. */
function asServed({ source }: ServicePlan, list: readonly PoolEntry[]): readonly PoolEntry[] {
  if (source === 'k8s') return list.map((entry) => ({ ...entry, weight: 1 }));
  if (source !== 'srv') return list;
  const enabled = list.filter((entry) => entry.enabled);
  return (enabled.length > 0 ? enabled : list).map(({ host, weight }) => ({
    host,
    weight: Math.max(1, weight),
    enabled: true,
  }));
}

/** About the middle, but inside an entry: a list that ends between two lines is a shorter list, not a truncated one. */
function insideAnEntry(text: string): number {
  return Math.max(text.lastIndexOf('host', Math.floor(text.length * 0.7)), text.indexOf('{')) + 6;
}

function respond(status: number, headers: Readonly<Record<string, string>>, body: Uint8Array): WebAnswer {
  const response: HttpResponse = { status, headers, body };
  return { is: 'response', response, delayMs: 1 };
}
