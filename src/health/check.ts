// One monitor of one server at one address: its state, its counters, what it has to say. Owned by server.ts; the loop that
// asks is poll.ts or watch.ts.

import type { ServiceConfig } from '../config/types.ts';
import { appended } from '../lib/appended.ts';
import { hashOf } from '../lib/hash.ts';
import type { LogLevel } from '../log/record.ts';
import type { Clock, Mono, Self } from '../world/world.ts';
import { History, type PastResult, type Transition } from './history.ts';
import type { Asker, Asking } from './instance.ts';
import type { Health, Target } from './monitor.ts';
import { intervalFor } from './pace.ts';
import type { PathSource } from './path.ts';
import { AT_ONCE, inherit, isNow, learnResult, type MonitorState, noResult } from './rise.ts';
import type { Probe } from './server.ts';
import type { Service, ServiceMonitor } from './service.ts';
import type { Ticks } from './ticks.ts';
import { sameWish } from './weighting.ts';

const MAX_SERIES = 200;
const NONE: readonly Series[] = [];

/** A measurement of one check, complete with its metric's name. */
export interface Observation {
  readonly metric: string;
  readonly kind: 'gauge' | 'counter';
  /** `service`, `host` and `monitor` come first. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a monitor has observed under one name and one set of labels. */
interface Series extends Pick<Observation, 'kind'> {
  readonly name: string;
  readonly given: Observation['labels'];
  value: number;
}

export interface CheckStatus {
  readonly service: string;
  readonly host: string;
  readonly address: string;
  /** This address is being tried out and not in use yet. */
  readonly candidate: boolean;
  readonly monitor: string;
  readonly is: 'up' | 'down' | 'unknown';
  readonly since: Mono;
  /** The last result in words; empty before the first. */
  readonly last: string;
  readonly lastAt: Mono | null;
  readonly lastLatencyMs: number | null;
  /** A check is under way, or a connection held. */
  readonly busy: boolean;
  readonly results: { readonly up: number; readonly down: number; readonly unknown: number };
  readonly transitions: { readonly up: number; readonly down: number };
  /** Checks that ignored the cut. */
  readonly abandoned: number;
  /** So many of them have not ended that no more are started. */
  readonly givenUp: boolean;
  readonly observations: readonly Observation[];
}

export interface CheckHistory extends Pick<CheckStatus, 'service' | 'host' | 'address' | 'candidate' | 'monitor'> {
  /** The oldest first. */
  readonly results: readonly PastResult[];
  readonly transitions: readonly Transition[];
}

/** One monitor of one server at one address. */
export class Check implements Asker {
  readonly monitor: ServiceMonitor;
  readonly phase: number;
  readonly path: PathSource | null;
  readonly #probe: Probe;
  readonly #asking: Asking;
  /** How many results there were, and how often the verdict changed to what. */
  #up = 0;
  #down = 0;
  #unknown = 0;
  #ups = 0;
  #downs = 0;
  #series: readonly Series[] = NONE;
  readonly #history: History;
  #state: MonitorState;
  #target: Target | null = null;
  #targetIn: ServiceConfig | null = null;
  #last: Health | null = null;
  #lastAt: Mono | null = null;
  #lastLatencyMs: number | null = null;
  #abandoned = 0;
  #stopped = false;
  /** Of the last result, and what it said. */
  #turn = 0;
  #said: Health['is'] | null = null;
  /** Results before this one that are still looked into count no more: a later one was learned, or says otherwise. */
  #over = 0;

  /**
   * `before`: the one whose place it takes, with other options perhaps. Its verdict stands until the first result, and so does that it
   * could not tell: nobody has asked since.
   */
  constructor(probe: Probe, monitor: ServiceMonitor, before: Check | null) {
    this.#probe = probe;
    this.monitor = monitor;
    const { world } = this.#service.around;
    this.#state = before === null ? noResult(world.clock.now()) : inherit(before.#state);
    if (this.#state.blind !== null) this.#service.inheritBlind();
    this.#history = before === null ? new History() : before.#history;
    // The same after each restart, and for both checks of a pair, which have more to say when they are asked together.
    this.phase = hashOf(`${this.#service.config.name}\n${probe.server.host}\n${monitor.module.name}`) / 2 ** 32;
    this.path = monitor.via === 'path' ? this.#pathSource() : null;
    this.#asking = monitor.instance.join(this);
  }

  get clock(): Clock {
    return this.#service.around.world.clock;
  }
  get ticks(): Ticks {
    return this.#service.around.ticks;
  }
  random(): number {
    return this.#service.around.world.random();
  }
  self(): Self {
    return this.#service.around.world.self();
  }
  get #service(): Service {
    return this.#probe.server.service;
  }
  get state(): MonitorState {
    return this.#state;
  }

  /** The same object while it says the same. */
  target(): Target {
    const { config } = this.#service;
    const { host, weight } = this.#probe.server;
    if (this.#target !== null && this.#targetIn === config && this.#target.weight === weight) return this.#target;
    this.#targetIn = config;
    this.#target = {
      service: config.name,
      host,
      address: this.#probe.address,
      port: config.realPort,
      weight,
      vip: config.vip,
      servicePort: config.port,
      protocol: config.protocol,
    };
    return this.#target;
  }

  intervalMs(ownMs: number): number {
    const pace = this.#service.pace(this.monitor.module.name);
    return pace === undefined ? ownMs : intervalFor(this.#state, pace, ownMs, this.#service.around.world.clock.now());
  }

  onStart(lateMs: number): void {
    this.#service.around.lateness.observe(lateMs);
    if (this.path === null) return;
    // A connection that was kept does not dial.
    const way = this.path.way();
    this.path.began = typeof way === 'string' ? null : way;
  }

  onResult(health: Health, latencyMs: number): void {
    if (this.#stopped) return;
    const turn = ++this.#turn;
    if (health.is !== this.#said) this.#over = turn;
    this.#said = health.is;
    if (this.path === null || health.is === 'unknown' || health.is === this.#state.known)
      this.#learn(health, latencyMs, turn);
    else void this.#learnIfTheWayWas(this.path, health, latencyMs, turn);
  }

  /** What would change a verdict counts when the kernel has had the path all the time. */
  async #learnIfTheWayWas(path: PathSource, health: Health, latencyMs: number, turn: number): Promise<void> {
    const { began } = path;
    const held = this.monitor.module.kind === 'watch';
    // What is held has no start that is told: the next word of it is judged by the way as it is then.
    if (held) path.began = null;
    const doubt = await this.#service.around.witness.doubt(began, path.way());
    if (this.#stopped || turn < this.#over) return;
    // A connection may lead to anybody then, and nothing would be heard of it for long.
    if (doubt !== null && held && health.is === 'up') this.#asking.spoil(doubt);
    else this.#learn(doubt === null ? health : { is: 'unknown', reason: doubt }, latencyMs, turn);
    this.#asking.repace();
  }

  #learn(health: Health, latencyMs: number, turn: number): void {
    this.#over = turn;
    const { world } = this.#service.around;
    const now = world.clock.now();
    const before = this.#state;
    const { kind } = this.monitor.module;
    const after = learnResult(before, health, kind === 'watch' ? AT_ONCE : this.#service.config, now);
    this.#state = after;
    if (health.is === 'up') this.#up++;
    else if (health.is === 'down') this.#down++;
    else this.#unknown++;
    this.#last = health;
    this.#lastAt = now;
    this.#lastLatencyMs = latencyMs;
    this.#history.result(now, health.is, latencyMs, health.is === 'up' ? (health.detail ?? '') : health.reason);
    // Mostly it says what it said before.
    if (after === before) return;
    if (isNow(after) !== isNow(before)) this.#history.transition(now, isNow(after), after.blind ?? after.reason);
    if (after.known === 'up' && before.known !== 'up') this.#ups++;
    if (after.known === 'down' && before.known !== 'down') this.#downs++;
    const blindnessChanged = (after.blind === null) !== (before.blind === null);
    if (blindnessChanged) this.#onBlindness(after.blind);
    const downAgain = before.inherited && !after.inherited && after.known === 'down';
    if (after.known === 'down' && (before.known !== 'down' || downAgain)) this.#sayDown(after.reason);
    if (blindnessChanged || after.known !== before.known || !sameWish(after.wish, before.wish))
      this.#probe.server.onTransition(this.#probe);
    else if (shownReason(after) !== shownReason(before)) this.#probe.server.onReason(this.#probe);
  }

  #sayDown(reason: string): void {
    const text = reason === '' ? '(reason unknown)' : reason;
    this.#service.log('error', `Monitoring instance ${this.#name} reports server ${this.#who} down: ${text}`, {
      event: 'monitor-down',
      server: this.#probe.server.host,
      monitor: this.#name,
    });
  }

  #onBlindness(blind: string | null): void {
    if (blind === null) {
      this.#service.onSeeing();
      return;
    }
    this.#service.onBlind(`Monitoring instance ${this.#name} cannot tell the health of server ${this.#who}: ${blind}`);
    this.log('debug', `cannot tell: ${blind}`);
  }

  onAbandoned(last: boolean): void {
    this.#abandoned++;
    const more = last ? 'no more are started' : 'starting another';
    this.log('error', `a check does not end after its deadline, ${this.#abandoned} so far: ${more}`);
  }

  #pathSource(): PathSource {
    const { around, config } = this.#service;
    const { address } = this.#probe;
    const way = () => around.pathTo(this.#service.config, address);
    return { address, port: config.realPort, way, dialled: 0, began: null };
  }

  get #name(): string {
    return this.monitor.name;
  }
  /** `cp1 (enabled/up/pooled)` */
  get #who(): string {
    const { host } = this.#probe.server;
    return `${host} (${this.#service.around.describe(this.#service.config.name, host)})`;
  }

  log(level: LogLevel, text: string): void {
    const { world } = this.#service.around;
    if (this.#stopped || (level === 'debug' && world.logsDebug === false)) return;
    const service = this.#service.config.name;
    const data = { service, server: this.#probe.server.host, monitor: this.#name };
    world.log({ level, system: `${service} ${this.#name}`, text: `${this.#who}: ${text}`, data });
  }

  observe(kind: Observation['kind'], name: string, value: number, labels: Readonly<Record<string, string>>): void {
    for (const series of this.#series) {
      if (series.name !== name || !sameLabels(series.given, labels)) continue;
      series.value = kind === 'counter' ? series.value + value : value;
      return;
    }
    if (this.#series.length < MAX_SERIES) this.#series = appended(this.#series, { name, given: labels, kind, value });
  }

  #observations(): readonly Observation[] {
    const { instance } = this.monitor;
    const own = { service: this.#service.config.name, host: this.#probe.server.host, monitor: this.#name };
    return this.#series.map(({ name, given, kind, value }) => {
      return { metric: instance.metric(name), kind, labels: { ...own, ...given }, value };
    });
  }

  status(): CheckStatus {
    const state = this.#state;
    return {
      service: this.#service.config.name,
      host: this.#probe.server.host,
      address: this.#probe.address,
      candidate: this.#probe.server.isCandidate(this.#probe),
      monitor: this.#name,
      is: isNow(state),
      since: state.since,
      last: this.#last === null ? '' : healthText(this.#last),
      lastAt: this.#lastAt,
      lastLatencyMs: this.#lastLatencyMs,
      busy: this.#asking.busy,
      results: { up: this.#up, down: this.#down, unknown: this.#unknown },
      transitions: { up: this.#ups, down: this.#downs },
      abandoned: this.#abandoned,
      givenUp: this.#asking.givenUp,
      observations: this.#observations(),
    };
  }

  history(): CheckHistory {
    const { service, host, address, candidate, monitor } = this.status();
    const { results, transitions } = this.#history;
    return { service, host, address, candidate, monitor, results, transitions };
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#state.blind !== null) this.#service.forgetBlind();
    this.#service.around.onStopping(this.#asking.stop(this));
  }
}

/** Of what is up, and wishes for nothing, nobody is shown the words: they may be others each time. */
function shownReason({ known, blind, reason, wish }: MonitorState): string {
  return blind ?? (known === 'up' && wish === null ? '' : reason);
}

function healthText(health: Health): string {
  const said = health.is === 'up' ? (health.detail ?? '') : health.reason;
  return said === '' ? health.is : `${health.is}: ${said}`;
}

/** In whatever order. All that have none share one object, which is the short way. */
function sameLabels(a: Observation['labels'], b: Observation['labels']): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
