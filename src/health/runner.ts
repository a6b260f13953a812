// Runs all monitors of all servers and tells the daemon what they find, as facts. Built once by the daemon; told by it what
// to check, and by the pools' resolver where the servers are.

import type { Fact } from '../decision/facts.ts';
import { errorText } from '../lib/errors.ts';
import type { World } from '../world/world.ts';
import { type MonitorBug, MonitorBugs } from './bugs.ts';
import type { CheckHistory, CheckStatus } from './check.ts';
import { SharedInstances } from './instance.ts';
import { Lateness } from './lateness.ts';
import { LeftOut } from './left-out.ts';
import { Rewording } from './rewording.ts';
import { Service, type ServiceToCheck, type Surroundings } from './service.ts';
import { culpritOf, type Grounds, type Origin, strayText } from './stray.ts';
import { Ticks } from './ticks.ts';
import { makeGates } from './tools.ts';
import { PathWitness } from './witness.ts';

export type { CheckHistory, CheckStatus, Observation } from './check.ts';
export type { MonitorToRun } from './instance.ts';
export { missingMonitor, type ServiceToCheck } from './service.ts';

/** How long stop() waits for checks to end after they were cut. */
const STOP_LIMIT_MS = 2000;

export class HealthRunner {
  readonly #world: World;
  readonly #around: Surroundings;
  readonly #bugs: MonitorBugs;
  readonly #leftOut: LeftOut;
  readonly #services = new Map<string, Service>();
  /** Last address of each host that the resolver gave: service → host → address. */
  readonly #candidates = new Map<string, Map<string, string | null>>();
  readonly #stopping = new Set<Promise<void>>();
  /** Of the starts of all polls. */
  readonly lateness = new Lateness();

  /** `describe` gives PyBal's `enabled/up/pooled` of a server, for log lines. `emit` must not call back into the runner. */
  constructor(
    world: World,
    emit: (fact: Fact) => void,
    describe: (service: string, host: string) => string,
    pathTo: Surroundings['pathTo'] = () => 'there is no path here',
  ) {
    this.#world = world;
    this.#bugs = new MonitorBugs(world.clock, (record) => world.log(record));
    this.#leftOut = new LeftOut(world.clock, (record) => world.log(record));
    const gates = makeGates({
      onLeak: (monitor, what) => this.#bugs.note(`monitor ${monitor}`, what, what),
      onLeftOut: (monitor) => this.#leftOut.note(monitor),
    });
    this.#around = {
      world,
      gates,
      ticks: new Ticks(world.clock),
      shared: new SharedInstances(world, gates),
      lateness: this.lateness,
      rewording: new Rewording(world.clock),
      emit,
      describe,
      pathTo,
      witness: new PathWitness(world),
      onStopping: (done) => {
        this.#stopping.add(done);
        void done.finally(() => this.#stopping.delete(done));
      },
    };
  }

  /** Check exactly these services. Only what differs is touched: unchanged monitors of unchanged hosts go on as they are. */
  configure(services: readonly ServiceToCheck[]): void {
    const named = new Map(services.map((service) => [service.config.name, service]));
    for (const [name, service] of this.#services) {
      if (named.has(name)) continue;
      service.stop();
      this.#services.delete(name);
    }
    for (const name of this.#candidates.keys()) if (!named.has(name)) this.#candidates.delete(name);
    for (const [name, wanted] of named) {
      const service = this.#services.get(name) ?? new Service(this.#around, wanted.config);
      this.#services.set(name, service);
      const candidates = this.#candidates.get(name) ?? new Map<string, string | null>();
      service.update(wanted, candidates);
      for (const host of candidates.keys()) if (!service.has(host)) candidates.delete(host);
    }
  }

  /**
   * The resolver's answer for a host. The first address is used at once. Another one is checked first and replaces the old
   * one when it is up, or at once if the old one is not up and nobody who is up has the new one. Null keeps the one in use
   * until another host is to have it and is up there. No two hosts of a service may be given one address at a time. May come
   * before the host is configured, but not before a configuration without it.
   */
  candidate(service: string, host: string, address: string | null): void {
    let candidates = this.#candidates.get(service);
    if (candidates === undefined) this.#candidates.set(service, (candidates = new Map<string, string | null>()));
    candidates.set(host, address);
    this.#services.get(service)?.candidate(host, address);
  }

  /** All checks, in the order of configuration. Made on each call. */
  status(): readonly CheckStatus[] {
    return [...this.#services.values()].flatMap((service) => [...service.checks()].map((check) => check.status()));
  }

  /** What was said of a host lately, by each monitor of each service that has it. */
  history(host: string): readonly CheckHistory[] {
    return [...this.#services.values()]
      .flatMap((service) => [...service.checks()])
      .filter((check) => check.target().host === host)
      .map((check) => check.history());
  }

  /** An error that nobody handled, if it was a monitor's; false: it is ours. Nothing that is checked stops for it. */
  stray(thrown: unknown, origin: Origin, grounds: Grounds): boolean {
    const culprit = culpritOf(thrown, origin, grounds);
    if (culprit === null) return false;
    const what = 'an error that nobody handles';
    this.#bugs.note(culprit, `${what}: ${errorText(thrown)}`, `${what}: ${strayText(thrown)}`);
    return true;
  }

  /** Monitors that have thrown, lately, where no check could catch it. */
  bugs(): readonly MonitorBug[] {
    return this.#bugs.status();
  }

  /** Cut everything. Resolves when all checks ended, or after two seconds. Nothing is emitted or logged from now on. */
  async stop(): Promise<void> {
    for (const service of this.#services.values()) service.stop();
    this.#services.clear();
    this.#leftOut.stop();
    this.#around.rewording.stop();
    await Promise.race([Promise.all([...this.#stopping]), this.#world.clock.sleep(STOP_LIMIT_MS)]);
  }
}
