// The documents that File monitors read: somebody who watches the servers of a service writes them to each director's disk, or
// serves them, with the time. On a bad day they are stale, gone, or not what they should be.

import { FEED_MAX_AGE_SECONDS, feedPath } from './conf.ts';
import type { WebAnswer } from './http.ts';
import type { Machine } from './machine.ts';
import type { RealServer } from './server.ts';
import type { Site } from './site.ts';
import { octets } from './speakers.ts';
import { agentShare, FEED_SERVER, isV6, type ServicePlan } from './topology.ts';
import { badAnswer, isWebFault, respond, WEB_FAULTS, type WebFault } from './web-faults.ts';

/**
 * stale: nobody writes any more. partial: every second server is missing. absent: it names nobody that we ask for. unknown: it
 * says so of everybody.
 */
const OF_FEEDS = ['stale', 'empty', 'truncated', 'garbage', 'partial', 'absent', 'unknown'] as const;
const OF_FILES = ['not found', 'unreadable'] as const;

export type FeedFault = (typeof OF_FEEDS)[number] | (typeof OF_FILES)[number] | WebFault;

export function feedFaultsOf({ feed }: ServicePlan): readonly FeedFault[] {
  return [...OF_FEEDS, ...(feed === 'path' ? OF_FILES : WEB_FAULTS)];
}

/** Whoever writes does so when something changes, and this often in any case. */
const WRITE_MS = (FEED_MAX_AGE_SECONDS * 1000) / 3;

export class Feeds {
  readonly #site: Site;
  readonly #services: readonly ServicePlan[];
  readonly #machines: readonly Machine[];
  readonly #servers: ReadonlyMap<string, RealServer>;
  readonly #faults = new Map<string, FeedFault>();
  /** As it was when the writer stopped. */
  readonly #stale = new Map<string, string>();

  constructor(
    site: Site,
    services: readonly ServicePlan[],
    machines: readonly Machine[],
    servers: ReadonlyMap<string, RealServer>,
  ) {
    this.#site = site;
    this.#services = services.filter(({ monitors }) => monitors.includes('File'));
    this.#machines = machines;
    this.#servers = servers;
    if (this.#services.length === 0) return;
    site.web.site(FEED_SERVER, ({ url }) => this.#serve(url));
    this.#writeOften();
  }

  fault({ name }: ServicePlan): FeedFault | null {
    return this.#faults.get(name) ?? null;
  }

  setFault(service: ServicePlan, fault: FeedFault | null): void {
    const { name } = service;
    if (fault === 'stale') this.#stale.set(name, this.#document(service));
    if (fault === null) this.#faults.delete(name);
    else this.#faults.set(name, fault);
    this.#write(service);
  }

  /** Call when the state of a server has changed. */
  changed(): void {
    for (const service of this.#services) this.#write(service);
  }

  #writeOften(): void {
    this.changed();
    this.#site.scheduler.at(WRITE_MS, () => this.#writeOften());
  }

  #write(service: ServicePlan): void {
    if (service.feed !== 'path') return;
    const path = feedPath(service);
    const fault = this.fault(service);
    if (fault !== null) this.#site.tally.hit(`feed: ${fault}`, 'file');
    for (const { disk } of this.#machines) {
      disk.unreadable.delete(path);
      if (fault === 'stale') continue;
      if (fault === 'not found') disk.remove(path);
      else disk.put(path, octets(this.#content(service, fault)));
      if (fault === 'unreadable') disk.unreadable.add(path);
    }
  }

  #serve(url: string): WebAnswer {
    const service = this.#services.find(({ name }) => url === `/${name}`);
    if (service === undefined) return respond(404, '');
    const fault = this.fault(service);
    if (fault !== null) this.#site.tally.hit(`feed: ${fault}`, 'url');
    return isWebFault(fault) ? badAnswer(fault) : respond(200, this.#content(service, fault));
  }

  #content(service: ServicePlan, fault: FeedFault | null): string {
    switch (fault) {
      case 'stale':
        return this.#stale.get(service.name) ?? '';
      case 'empty':
        return '';
      case 'garbage':
        return String.fromCharCode(...Array.from({ length: 200 }, (_, i) => (i * 151 + 7) & 0xff));
      case 'truncated': {
        const whole = this.#document(service);
        return whole.slice(0, Math.floor(whole.length * 0.7));
      }
      default:
        return this.#document(service, fault);
    }
  }

  #document(service: ServicePlan, fault: FeedFault | null = null): string {
    const { feedJson } = service;
    // The clock that all should have; a director's own may be wrong.
    const seconds = Math.floor(this.#site.wall() / 1000);
    const named = [...this.#servers.values()].filter((_, i) => fault !== 'partial' || i % 2 === 1);
    const states = named.map(({ plan: { host }, state }) => {
      const name = fault === 'absent' ? `not-${host}` : this.#nameOf(service, host);
      const said = fault === 'unknown' ? 'unknown' : state === 'serving' ? 'up' : 'down';
      return { name, said, share: said === 'up' ? `${agentShare(host)}%` : '', why: said === 'down' ? state : '' };
    });
    if (!feedJson) {
      const lines = states.map(({ name, said, share, why }) => [name, said, share, why].join(' ').trimEnd());
      return `# members\n@${seconds}\n${lines.join('\n')}\n`;
    }
    const servers = Object.fromEntries(
      states.map(({ name, said, share, why }) => [
        name,
        share === '' ? { state: said, reason: why } : { state: said, weight: share },
      ]),
    );
    return JSON.stringify({ time: seconds, servers });
  }

  /** As the pool has it. */
  #nameOf({ source, vip }: ServicePlan, host: string): string {
    if (source !== 'dns') return host;
    return this.#site.zone.lookup(host, isV6(vip) ? 6 : 4)[0] ?? host;
  }
}
