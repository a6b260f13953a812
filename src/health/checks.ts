// What the runner keeps per service, server, address and monitor: Service → Server → Probe (one address) → Check. Each
// level keeps the level below equal to what it was told, and touches nothing that did not change.

import type { ServiceConfig } from '../config/types.ts';
import type { Fact, PoolHost, ServerHealth } from '../decision/facts.ts';
import { equal } from '../lib/equal.ts';
import { errorText } from '../lib/errors.ts';
import type { LogLevel } from '../log/record.ts';
import type { Mono, World } from '../world/world.ts';
import { combine } from './combine.ts';
import type { Health, MonitorModule, OptionsOf, OptionRow, Target } from './monitor.ts';
import { type Loop, type LoopContext, PollLoop } from './poll.ts';
import { AT_ONCE, inherit, isNow, learnResult, type MonitorState, noResult } from './rise.ts';
import { type Gates, makeTools } from './tools.ts';
import { WatchLoop } from './watch.ts';

const MAX_SERIES = 200;

/** One service to check, as the daemon hands it over. */
export interface ServiceToCheck {
  readonly config: ServiceConfig;
  readonly monitors: readonly MonitorToRun[];
  readonly hosts: readonly PoolHost[];
}

export interface MonitorToRun {
  readonly module: MonitorModule;
  readonly options: Readonly<Record<string, unknown>>;
}

/** A measurement of one check, complete with its metric's name. */
export interface Observation {
  readonly metric: string;
  readonly kind: 'gauge' | 'counter';
  /** `service`, `host` and `monitor` come first. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
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
  readonly observations: readonly Observation[];
}

/** What everything here shares. */
export interface Surroundings {
  readonly world: World;
  readonly gates: Gates;
  emit(fact: Fact): void;
  /** `enabled/up/pooled`, for the log. */
  describe(service: string, host: string): string;
  /** Something was stopped; `done` resolves when it ended. */
  onStopping(done: Promise<void>): void;
}

/** A monitor of a service with its options: one instance for all of its servers. */
interface ServiceMonitor extends MonitorToRun {
  start(context: LoopContext): Loop;
}

export class Service {
  readonly #around: Surroundings;
  readonly #servers = new Map<string, Server>();
  #config: ServiceConfig;
  #hosts: readonly PoolHost[] = [];
  #monitors = new Map<string, ServiceMonitor>();
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
  get monitors(): ReadonlyMap<string, ServiceMonitor> {
    return this.#monitors;
  }

  update({ config, monitors, hosts }: ServiceToCheck, candidates: ReadonlyMap<string, string | null>): void {
    const before = this.#config;
    this.#config = config;
    const moved =
      before.vip !== config.vip || before.port !== config.port || before.realPort !== config.realPort
        ? 'target'
        : 'nothing';
    const monitorsChanged = this.#updateMonitors(monitors, moved === 'target');
    if (hosts !== this.#hosts) this.#updateHosts(hosts, candidates);
    if (monitorsChanged) for (const server of this.#servers.values()) server.syncMonitors();
    if (before.family !== config.family) for (const server of this.#servers.values()) server.forgetAddress();
  }

  #updateMonitors(wanted: readonly MonitorToRun[], restartAll: boolean): boolean {
    const before = this.#monitors;
    this.#monitors = new Map();
    for (const monitor of wanted) {
      const { name } = monitor.module;
      if (this.#monitors.has(name)) continue;
      const known = before.get(name);
      const same =
        !restartAll && known?.module === monitor.module && equal(known.options, monitor.options) ? known : undefined;
      this.#monitors.set(name, same ?? this.#makeMonitor(monitor));
    }
    return before.size !== this.#monitors.size || [...this.#monitors].some(([name, m]) => before.get(name) !== m);
  }

  #updateHosts(hosts: readonly PoolHost[], candidates: ReadonlyMap<string, string | null>): void {
    this.#hosts = hosts;
    const listed = new Set(hosts.map(({ host }) => host));
    for (const [host, server] of this.#servers) {
      if (listed.has(host)) continue;
      server.stop();
      this.#servers.delete(host);
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
      if (address !== undefined) server.candidate(address);
    }
  }

  has(host: string): boolean {
    return this.#servers.has(host);
  }

  candidate(host: string, address: string | null): void {
    this.#servers.get(host)?.candidate(address);
  }

  stop(): void {
    for (const server of this.#servers.values()) server.stop();
    this.#servers.clear();
  }

  *checks(): Iterable<Check> {
    for (const server of this.#servers.values()) yield* server.checks();
  }

  log(level: LogLevel, text: string, data: Readonly<Record<string, string>> = {}): void {
    this.#around.world.log({ level, system: this.#config.name, text, data: { service: this.#config.name, ...data } });
  }

  /** A check began (+1) or ceased (-1) to be unable to tell. */
  countBlind(change: 1 | -1, text: string): void {
    this.#blind += change;
    if (change === 1 && this.#blind === 1) this.log('warn', text, { event: 'health-unknown' });
    if (change === -1 && this.#blind === 0) this.log('info', 'All checks can tell again', { event: 'health-known' });
  }

  /** One instance of a monitor. If it cannot be made, its checks are unknown and say why: nothing else suffers. */
  #makeMonitor(monitor: MonitorToRun): ServiceMonitor {
    const { module } = monitor;
    const options = monitor.options as OptionsOf<readonly OptionRow[]>;
    const find = (target: Target) => this.#servers.get(target.host)?.find(target.address, module.name, start);
    const tools = makeTools(this.#around.world, this.#around.gates, {
      log: (level, target, text) => find(target)?.log(level, text),
      observe: (target, name, value, labels) => find(target)?.observe('gauge', name, value, labels ?? {}),
      count: (target, name, labels) => find(target)?.observe('counter', name, 1, labels ?? {}),
    });
    let start: ServiceMonitor['start'];
    try {
      if (module.kind === 'poll') {
        const instance = module.create(options, tools);
        const timing = module.timing(options);
        start = (context) => new PollLoop(context, instance, timing);
      } else {
        const instance = module.create(options, tools);
        const timing = module.timing(options);
        start = (context) => new WatchLoop(context, instance, timing);
      }
    } catch (error) {
      const reason = `${module.name} cannot be set up: ${errorText(error)}`;
      this.log('error', reason, { event: 'monitor-broken' });
      start = (context) => brokenLoop(context, reason);
    }
    return { ...monitor, start };
  }
}

function brokenLoop(context: LoopContext, reason: string): Loop {
  const cancel = context.clock.at(0, () => context.onResult({ is: 'unknown', reason }, 0));
  return { busy: false, stop: () => Promise.resolve(cancel()) };
}

export class Server {
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
      if (this.#current === null && !this.#toldNoAddress) this.#tellAddress(null);
      return;
    }
    if (address === (this.#next ?? this.#current)?.address) return;
    this.#next?.stop();
    this.#next = null;
    if (address === this.#current?.address) return;
    if (this.#current === null || !this.#current.standsUp) {
      this.#use(new Probe(this, address));
    } else {
      this.service.log(
        'info',
        `Server ${this.host} has a new address ${address}, checking it before it replaces ${this.#current.address}`,
      );
      this.#next = new Probe(this, address);
      this.onTransition(this.#next);
    }
  }

  /** The VIP's family changed: the address is of the wrong one. */
  forgetAddress(): void {
    this.stop();
    this.#current = this.#next = this.#health = null;
    this.#tellAddress(null);
    this.#emitHealth(null);
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
      if (this.#next !== null && !this.#current.standsUp) this.#use(this.#next);
    } else if (probe === this.#next && probe.combined(null).is === 'up') {
      this.#use(probe);
    }
  }

  find(address: string, monitor: string, start: unknown): Check | undefined {
    const probe = this.#current?.address === address ? this.#current : this.#next;
    const check = probe?.address === address ? probe.checks.get(monitor) : undefined;
    return check?.monitor.start === start ? check : undefined;
  }

  *checks(): Iterable<Check> {
    for (const probe of [this.#current, this.#next]) if (probe !== null) yield* probe.checks.values();
  }

  isCandidate(probe: Probe): boolean {
    return probe === this.#next;
  }

  stop(): void {
    this.#current?.stop();
    this.#next?.stop();
  }

  #use(probe: Probe): void {
    const before = this.#current;
    this.#current = probe;
    this.#next = null;
    before?.stop();
    if (before !== null) {
      this.service.log('info', `Server ${this.host} is now at ${probe.address} (was ${before.address})`);
    }
    this.#tellAddress(probe.address);
    this.#tellHealth();
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
      before.reason === health.reason
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

/** All monitors of one server, asking one address. */
export class Probe {
  readonly server: Server;
  readonly address: string;
  readonly checks = new Map<string, Check>();

  constructor(server: Server, address: string) {
    this.server = server;
    this.address = address;
    this.sync();
  }

  /** Make the checks equal to the service's monitors. */
  sync(): void {
    const wanted = this.server.service.monitors;
    for (const [name, check] of this.checks) {
      if (wanted.get(name) === check.monitor) continue;
      check.stop();
      if (!wanted.has(name)) this.checks.delete(name);
    }
    for (const [name, monitor] of wanted) {
      const known = this.checks.get(name);
      if (known?.monitor !== monitor) this.checks.set(name, new Check(this, monitor, known?.state ?? null));
    }
  }

  combined(previous: ServerHealth | null): ServerHealth {
    const states = [...this.checks].map(([name, { state }]) => ({ name, state }));
    return combine(states, previous, this.server.service.around.world.clock.now());
  }

  get anyResult(): boolean {
    return (
      this.checks.size === 0 ||
      [...this.checks.values()].some(({ state }) => state.known !== null || state.blind !== null)
    );
  }

  /** Up as far as anybody knows: what freezes does not change it. */
  get standsUp(): boolean {
    return [...this.checks.values()].every(({ state }) => state.known === 'up');
  }

  stop(): void {
    for (const check of this.checks.values()) check.stop();
  }
}

/** One monitor of one server at one address. */
export class Check {
  readonly monitor: ServiceMonitor;
  readonly #probe: Probe;
  readonly #loop: Loop;
  readonly #results = { up: 0, down: 0, unknown: 0 };
  readonly #transitions = { up: 0, down: 0 };
  readonly #series = new Map<string, { -readonly [K in keyof Observation]: Observation[K] }>();
  #state: MonitorState;
  #last: { readonly text: string; readonly at: Mono; readonly latencyMs: number } | null = null;
  #abandoned = 0;
  #stopped = false;

  constructor(probe: Probe, monitor: ServiceMonitor, before: MonitorState | null) {
    this.#probe = probe;
    this.monitor = monitor;
    const { world } = this.#service.around;
    this.#state = before === null ? noResult(world.clock.now()) : inherit({ ...before, blind: null });
    this.#loop = monitor.start({
      clock: world.clock,
      random: () => world.random(),
      self: () => world.self(),
      phase: phaseOf(`${this.#service.config.name}\n${probe.server.host}\n${monitor.module.name}`),
      target: () => this.#target(),
      onResult: (health, latencyMs) => this.#onResult(health, latencyMs),
      onAbandoned: (last) => this.#onAbandoned(last),
    });
  }

  get #service(): Service {
    return this.#probe.server.service;
  }
  get state(): MonitorState {
    return this.#state;
  }

  #target(): Target {
    const { config } = this.#service;
    const { host, weight } = this.#probe.server;
    return {
      service: config.name,
      host,
      address: this.#probe.address,
      port: config.realPort,
      weight,
      vip: config.vip,
      servicePort: config.port,
      protocol: config.protocol,
    };
  }

  #onResult(health: Health, latencyMs: number): void {
    if (this.#stopped) return;
    const { world } = this.#service.around;
    const now = world.clock.now();
    const before = this.#state;
    const { kind } = this.monitor.module;
    this.#state = learnResult(before, health, kind === 'watch' ? AT_ONCE : this.#service.config, now);
    this.#results[health.is]++;
    const said = health.is === 'up' ? (health.detail ?? '') : health.reason;
    this.#last = { text: said === '' ? health.is : `${health.is}: ${said}`, at: now, latencyMs };
    const after = this.#state;
    if (after.known !== null && after.known !== before.known) this.#transitions[after.known]++;
    const blindnessChanged = (after.blind === null) !== (before.blind === null);
    if (blindnessChanged) this.#onBlindness(after.blind);
    const downAgain = before.inherited && !after.inherited && after.known === 'down';
    if (after.known === 'down' && (before.known !== 'down' || downAgain)) this.#sayDown(after.reason);
    if (blindnessChanged || after.known !== before.known) this.#probe.server.onTransition(this.#probe);
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
    const what = `Monitoring instance ${this.#name} cannot tell the health of server ${this.#who}: ${blind ?? ''}`;
    this.#service.countBlind(blind === null ? -1 : 1, what);
    if (blind !== null) this.log('debug', `cannot tell: ${blind}`);
  }

  #onAbandoned(last: boolean): void {
    this.#abandoned++;
    const more = last ? 'no more are started' : 'starting another';
    this.log('error', `a check does not end after its deadline, ${this.#abandoned} so far: ${more}`);
  }

  get #name(): string {
    return this.monitor.module.name;
  }
  /** `cp1 (enabled/up/pooled)` */
  get #who(): string {
    const { host } = this.#probe.server;
    return `${host} (${this.#service.around.describe(this.#service.config.name, host)})`;
  }

  log(level: LogLevel, text: string): void {
    if (this.#stopped) return;
    const service = this.#service.config.name;
    const data = { service, server: this.#probe.server.host, monitor: this.#name };
    this.#service.around.world.log({ level, system: `${service} ${this.#name}`, text: `${this.#who}: ${text}`, data });
  }

  observe(kind: Observation['kind'], name: string, value: number, labels: Readonly<Record<string, string>>): void {
    const key = JSON.stringify([name, labels]);
    const known = this.#series.get(key);
    if (known !== undefined) {
      known.value = kind === 'counter' ? known.value + value : value;
    } else if (this.#series.size < MAX_SERIES) {
      const who = { service: this.#service.config.name, host: this.#probe.server.host, monitor: this.#name };
      const metric = `pybal_monitor_${this.#name.toLowerCase()}_${name}`;
      this.#series.set(key, { metric, kind, labels: { ...who, ...labels }, value });
    }
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
      last: this.#last?.text ?? '',
      lastAt: this.#last?.at ?? null,
      lastLatencyMs: this.#last?.latencyMs ?? null,
      busy: this.#loop.busy,
      results: { ...this.#results },
      transitions: { ...this.#transitions },
      abandoned: this.#abandoned,
      observations: [...this.#series.values()].map((series) => ({ ...series })),
    };
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#state.blind !== null) this.#service.countBlind(-1, '');
    this.#service.around.onStopping(this.#loop.stop());
  }
}

/** FNV-1a over UTF-16 units, as a fraction of 1: the same name has the same place after each restart. */
function phaseOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return (hash >>> 0) / 2 ** 32;
}
