// One server: the address in use and the one that may replace it, and the facts that follow from its checks. Owned by
// service.ts.

import type { ServerHealth } from '../decision/facts.ts';
import { Check } from './check.ts';
import { atLeast, combine, type NamedState } from './combine.ts';
import { pairState, pathName } from './pair.ts';
import type { Reworded } from './rewording.ts';
import type { Service } from './service.ts';
import { sameWish } from './weighting.ts';

export class Server implements Reworded {
  readonly service: Service;
  readonly host: string;
  weight: number;
  /** The address in use, and the one that will be when it is up. */
  #current: Probe | null = null;
  #next: Probe | null = null;
  #health: ServerHealth | null = null;
  #toldNoAddress = false;

  constructor(service: Service, host: string, weight: number) {
    this.service = service;
    this.host = host;
    this.weight = weight;
  }

  candidate(address: string | null): void {
    if (address === null) {
      this.#giveUp();
      if (this.#current === null && !this.#toldNoAddress) this.#tellAddress(null);
      return;
    }
    if (address === (this.#next ?? this.#current)?.address) return;
    this.#giveUp();
    if (address === this.#current?.address) return;
    if (this.#mayHurryTo(address)) {
      this.#use(new Probe(this, address));
    } else {
      const rival = this.service.places.user(address);
      const there = rival === undefined ? '' : `, where ${rival.host} still is`;
      const first = this.#current === null ? 'it first' : `it before it replaces ${this.#current.address}`;
      this.service.log('info', `Server ${this.host} has a new address ${address}${there}, checking ${first}`);
      const next = new Probe(this, address);
      this.#try(next);
      this.onTransition(next);
    }
  }

  /** The address that is being tried out, if it is this one, is to be somebody else's. */
  spare(address: string): void {
    if (address === this.#next?.address) this.#giveUp();
  }

  /** The address in use is not this server's any more: on to the next one, or to none. */
  leave(why: string): void {
    if (this.#next !== null && !this.service.places.isServing(this.#next.address)) return this.#use(this.#next);
    this.service.log('warn', `Server ${this.host} has no address any more: ${this.#current?.address} ${why}`);
    this.#letGo();
  }

  /** The VIP's family changed: the address is of the wrong one. */
  forgetAddress(): void {
    this.#giveUp();
    this.#letGo();
  }

  #letGo(): void {
    const before = this.#current;
    this.service.around.rewording.forget(this);
    before?.stop();
    this.#current = this.#health = null;
    this.#tellAddress(null);
    this.#emitHealth(null);
    this.service.places.move(this, before, null);
  }

  /** What it waited for may have come. */
  hurry(): void {
    if (this.#next !== null && this.#mayHurryTo(this.#next.address)) this.#use(this.#next);
  }

  /** Nothing that is up is lost by it. */
  #mayHurryTo(address: string): boolean {
    return this.#current?.standsUp !== true && !this.service.places.isServing(address);
  }

  syncMonitors(): void {
    for (const probe of [this.#current, this.#next]) {
      probe?.sync();
      if (probe !== null) this.onTransition(probe);
    }
  }

  /** A check of this probe has another verdict than before. */
  onTransition(probe: Probe): void {
    if (probe === this.#current) {
      this.#tellHealth();
      this.hurry();
      this.service.places.changed(probe.address);
    } else if (probe === this.#next && probe.combined(null).is === 'up') {
      this.#use(probe);
    }
  }

  /** A check of this probe has the same verdict as before, and another reason. */
  onReason(probe: Probe): void {
    if (probe === this.#current) this.service.around.rewording.note(this);
  }

  retell(): boolean {
    const before = this.#health;
    if (this.#current === null || before === null) return false;
    if (shownReason(this.#current.combined(before)) === shownReason(before)) return false;
    this.#tellHealth();
    return true;
  }

  *checks(): Iterable<Check> {
    for (const probe of [this.#current, this.#next]) if (probe !== null) yield* probe.checks;
  }

  get isUp(): boolean {
    return this.#current?.standsUp === true;
  }

  /** The one that is being tried out. */
  get nextAddress(): string | null {
    return this.#next?.address ?? null;
  }

  isCandidate(probe: Probe): boolean {
    return probe === this.#next;
  }

  stop(): void {
    this.service.around.rewording.forget(this);
    this.#current?.stop();
    this.#next?.stop();
  }

  /** After it was stopped. */
  vacate(): void {
    this.service.places.tries(this, false);
    this.service.places.move(this, this.#current, null);
  }

  #use(probe: Probe): void {
    const before = this.#current;
    this.#current = probe;
    this.#try(null);
    before?.stop();
    this.service.places.move(this, before, probe);
    if (before !== null) {
      this.service.log('info', `Server ${this.host} is now at ${probe.address} (was ${before.address})`);
    }
    this.#tellAddress(probe.address);
    this.#tellHealth();
  }

  #giveUp(): void {
    this.#next?.stop();
    this.#try(null);
  }

  /** What leads there has to be made before it can be checked. */
  #try(probe: Probe | null): void {
    if (probe === this.#next) return;
    this.#next = probe;
    this.service.places.tries(this, probe !== null);
    const address = probe?.address ?? null;
    this.service.around.emit({ is: 'candidate', service: this.service.config.name, host: this.host, address });
  }

  #tellAddress(address: string | null): void {
    this.#toldNoAddress = address === null;
    this.service.around.emit({ is: 'address', service: this.service.config.name, host: this.host, address });
  }

  #tellHealth(): void {
    if (this.#current === null) return;
    const before = this.#health;
    const health = this.#current.combined(before);
    // Nothing is known yet, and nothing was said yet.
    if (before === null && health.is === 'unknown' && !health.partial && !this.#current.anyResult) return;
    this.#health = health;
    if (
      before !== null &&
      before.is === health.is &&
      before.partial === health.partial &&
      before.reason === health.reason &&
      sameWish(before.weighting, health.weighting)
    )
      return;
    if (health.is === 'up' && before?.is !== 'up') {
      const status = this.service.around.describe(this.service.config.name, this.host);
      this.service.log('info', `Server ${this.host} (${status}) is up`, { event: 'server-up', server: this.host });
    }
    this.#emitHealth(health);
  }

  #emitHealth(health: ServerHealth | null): void {
    this.service.around.emit({ is: 'health', service: this.service.config.name, host: this.host, health });
  }
}

/** Nobody is shown why a server is up, only why it gets more or less than its weight. */
function shownReason({ is, reason, weighting }: ServerHealth): string {
  return is === 'up' ? (weighting?.reason ?? '') : reason;
}

/** All monitors of one server, asking one address. */
export class Probe {
  readonly server: Server;
  readonly address: string;
  /** In the order of the service's monitors. A list, since it is short and there are thousands. */
  checks: readonly Check[] = [];

  constructor(server: Server, address: string) {
    this.server = server;
    this.address = address;
    this.sync();
  }

  /** Make the checks equal to the service's monitors. */
  sync(): void {
    const before = this.checks;
    this.checks = [...this.server.service.monitors.values()].map((monitor) => {
      const known = before.find((check) => check.monitor.name === monitor.name) ?? null;
      return known?.monitor === monitor ? known : new Check(this, monitor, known);
    });
    // The new ones first: what both share must not end.
    for (const check of before) if (!this.checks.includes(check)) check.stop();
  }

  combined(previous: ServerHealth | null): ServerHealth {
    const { around, needed } = this.server.service;
    return combine(this.#states(), needed, previous, around.world.clock.now());
  }

  get anyResult(): boolean {
    return this.checks.length === 0 || this.checks.some(({ state }) => state.known !== null || state.blind !== null);
  }

  /** Up as far as anybody knows: what freezes does not change it. */
  get standsUp(): boolean {
    const verdicts = this.#states().map(({ state }) => state.known ?? 'unknown');
    return atLeast(this.server.service.needed, verdicts) === 'up';
  }

  /** Of each monitor: a pair is one. */
  #states(): readonly NamedState[] {
    const states: NamedState[] = [];
    for (const { monitor, state } of this.checks) {
      const { name: plain } = monitor.module;
      const own = monitor.via === 'path' ? this.#named(plain) : undefined;
      if (own !== undefined) states.push({ name: plain, state: pairState(own.state, state) });
      else if (monitor.via === 'path' || this.#named(pathName(plain)) === undefined)
        states.push({ name: monitor.name, state });
    }
    return states;
  }

  #named(name: string): Check | undefined {
    return this.checks.find(({ monitor }) => monitor.name === name);
  }

  stop(): void {
    for (const check of this.checks) check.stop();
  }
}
