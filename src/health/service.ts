// One service to check: its monitors (one instance each, for all servers) and its servers. Owned by runner.ts. Below it:
// Server → Probe (one address) → Check (one monitor). Each level makes the level below equal to what it was told, and
// touches nothing that did not change.

import type { Pace, ServiceConfig } from '../config/types.ts';
import type { Fact, PoolHost } from '../decision/facts.ts';
import type { Path } from '../decision/decision.ts';
import { equal } from '../lib/equal.ts';
import type { LogLevel } from '../log/record.ts';
import type { World } from '../world/world.ts';
import type { Check } from './check.ts';
import { Instance, type MonitorToRun, type SharedInstances } from './instance.ts';
import type { MonitorModule } from './monitor.ts';
import type { Lateness } from './lateness.ts';
import { pathName } from './pair.ts';
import { Places } from './places.ts';
import type { Rewording } from './rewording.ts';
import { Server } from './server.ts';
import type { Ticks } from './ticks.ts';
import type { Gates } from './tools.ts';
import type { PathWitness } from './witness.ts';

/** One service to check, as the daemon hands it over. */
export interface ServiceToCheck {
  readonly config: ServiceConfig;
  readonly monitors: readonly MonitorToRun[];
  readonly hosts: readonly PoolHost[];
}

/** What everything here shares. */
export interface Surroundings {
  readonly world: World;
  readonly gates: Gates;
  readonly ticks: Ticks;
  readonly shared: SharedInstances;
  readonly lateness: Lateness;
  readonly rewording: Rewording;
  emit(fact: Fact): void;
  /** `enabled/up/pooled`, for the log. */
  describe(service: string, host: string): string;
  /** The way through the path to an address, or why there is none. */
  pathTo(service: ServiceConfig, address: string): Path | string;
  readonly witness: PathWitness;
  /** Something was stopped; `done` resolves when it ended. */
  onStopping(done: Promise<void>): void;
}

/** A monitor of a service with its options: one instance for all of its servers, perhaps for those of other services too. */
export interface ServiceMonitor extends MonitorToRun {
  /** In logs and status; of a pair the two differ in it. */
  readonly name: string;
  readonly via: 'server' | 'path';
  readonly instance: Instance;
}

export class Service {
  readonly #around: Surroundings;
  readonly #servers = new Map<string, Server>();
  readonly places = new Places();
  #config: ServiceConfig;
  #hosts: readonly PoolHost[] = [];
  #monitors = new Map<string, ServiceMonitor>();
  #needed = 0;
  #paces: ReadonlyMap<string, Pace> = new Map();
  /** Checks that cannot tell at the moment, to say so once and not once for each. */
  #blind = 0;

  constructor(around: Surroundings, config: ServiceConfig) {
    this.#around = around;
    this.#config = config;
  }

  get around(): Surroundings {
    return this.#around;
  }
  get config(): ServiceConfig {
    return this.#config;
  }
  /** How many of the monitors must be up for a server to be up. */
  get needed(): number {
    return this.#needed;
  }
  pace(monitor: string): Pace | undefined {
    return this.#paces.get(monitor);
  }
  get monitors(): ReadonlyMap<string, ServiceMonitor> {
    return this.#monitors;
  }

  update({ config, monitors, hosts }: ServiceToCheck, candidates: ReadonlyMap<string, string | null>): void {
    const before = this.#config;
    this.#config = config;
    this.#paces = new Map(config.monitors.map(({ name, pace }) => [name, pace]));
    const asksElsewhere =
      before.vip !== config.vip ||
      before.port !== config.port ||
      before.realPort !== config.realPort ||
      before.forward !== config.forward;
    const replaced = this.#monitors;
    const monitorsChanged =
      this.#updateMonitors(monitors, asksElsewhere) || before.monitorsNeeded !== config.monitorsNeeded;
    if (hosts !== this.#hosts) this.#updateHosts(hosts, candidates);
    if (monitorsChanged) for (const server of this.#servers.values()) server.syncMonitors();
    this.#release(replaced);
    if (before.family !== config.family) for (const server of this.#servers.values()) server.forgetAddress();
    // A server that is the VIP itself would be a loop.
    if (before.vip !== config.vip) this.places.bar(config.vip, 'is the VIP');
  }

  #updateMonitors(wanted: readonly MonitorToRun[], restartAll: boolean): boolean {
    const before = this.#monitors;
    this.#monitors = new Map();
    for (const monitor of wanted) {
      for (const via of waysOf(monitor)) {
        const { name: plain } = monitor.module;
        const name = via === 'path' ? pathName(plain) : plain;
        if (this.#monitors.has(name)) continue;
        const known = before.get(name);
        const same =
          !restartAll && known?.module === monitor.module && equal(known.options, monitor.options) ? known : undefined;
        this.#monitors.set(name, same ?? this.#makeMonitor(monitor, name, via));
      }
    }
    this.#countNeeded();
    return before.size !== this.#monitors.size || [...this.#monitors].some(([name, m]) => before.get(name) !== m);
  }

  /** A pair is one. */
  #countNeeded(): void {
    const modules = new Set([...this.#monitors.values()].map(({ module }) => module));
    this.#needed = Math.min(this.#config.monitorsNeeded, modules.size);
  }

  #updateHosts(hosts: readonly PoolHost[], candidates: ReadonlyMap<string, string | null>): void {
    this.#hosts = hosts;
    const listed = new Set(hosts.map(({ host }) => host));
    for (const [host, server] of this.#servers) {
      if (listed.has(host)) continue;
      server.stop();
      this.#servers.delete(host);
      server.vacate();
    }
    for (const pooled of hosts) {
      const known = this.#servers.get(pooled.host);
      if (known !== undefined) {
        known.weight = pooled.weight;
        continue;
      }
      const server = new Server(this, pooled.host, pooled.weight);
      this.#servers.set(pooled.host, server);
      const address = candidates.get(pooled.host);
      if (address !== undefined) this.candidate(pooled.host, address);
    }
  }

  has(host: string): boolean {
    return this.#servers.has(host);
  }

  candidate(host: string, address: string | null): void {
    const server = this.#servers.get(host);
    if (server !== undefined && address !== null) this.places.reserve(address, server);
    server?.candidate(address);
  }

  stop(): void {
    for (const server of this.#servers.values()) server.stop();
    this.#servers.clear();
    const all = this.#monitors;
    this.#monitors = new Map();
    this.#release(all);
  }

  /** Those of these monitors that are not in use any more. */
  #release(monitors: ReadonlyMap<string, ServiceMonitor>): void {
    for (const [name, monitor] of monitors)
      if (this.#monitors.get(name) !== monitor) this.#around.shared.release(monitor.instance);
  }

  *checks(): Iterable<Check> {
    for (const server of this.#servers.values()) yield* server.checks();
  }

  log(level: LogLevel, text: string, data: Readonly<Record<string, string>> = {}): void {
    this.#around.world.log({ level, system: this.#config.name, text, data: { service: this.#config.name, ...data } });
  }

  /** A check cannot tell any more, or can tell again: said once for all of them. */
  onBlind(text: string): void {
    if (++this.#blind === 1) this.log('warn', text, { event: 'health-unknown' });
  }
  onSeeing(): void {
    if (--this.#blind === 0) this.log('info', 'All checks can tell again', { event: 'health-known' });
  }
  /** A check takes the place of one that could not tell, which is not gone yet. */
  inheritBlind(): void {
    this.#blind++;
  }
  /** A check that could not tell is gone. */
  forgetBlind(): void {
    this.#blind--;
  }

  /** If it cannot be made, its checks are unknown and say why: nothing else suffers. */
  #makeMonitor({ module, options }: MonitorToRun, name: string, via: 'server' | 'path'): ServiceMonitor {
    const { world, gates, shared } = this.#around;
    const monitor = { module, options };
    // The path to an endpoint is another one for each VIP. And what a monitor keeps open one way is no use the other way.
    const sharing = module.asks === 'endpoint' && via === 'server';
    const instance = sharing ? shared.acquire(monitor) : new Instance(monitor, world, gates);
    if (instance.broken !== null) this.log('error', instance.broken, { event: 'monitor-broken' });
    return { ...monitor, name, via, instance };
  }
}

function waysOf({ via = 'server' }: MonitorToRun): readonly ('server' | 'path')[] {
  return via === 'both' ? ['server', 'path'] : [via];
}

/** In the place of a monitor whose module cannot be had any more: its checks are unknown and say why, they do not vanish. */
export function missingMonitor(name: string, why: string): MonitorModule {
  const create = (): never => {
    throw new Error(why);
  };
  return {
    apiVersion: 1,
    name,
    kind: 'poll',
    options: [],
    create,
    timing: () => ({ intervalSeconds: 0, timeoutSeconds: 0 }),
  };
}
