// The daemon: builds every part once, wires facts to the decision and the decision to the world, starts and stops them in
// order. The way of the data is the whole of it: a fact is learned, `decide` looks, routes and tables are set. Nothing else
// here or anywhere decides or writes.

import { type Complaint, errorText, printComplaint, stackText } from './lib/errors.ts';
import { within } from './lib/in-time.ts';
import { showUrl } from './lib/url.ts';
import { BfdClient } from './bfd/client.ts';
import type { Drops } from './bgp/drops.ts';
import { NO_KEYS, type PeerKeys, readKeys } from './bgp/keys.ts';
import { defaultRouterId } from './bgp/router-id.ts';
import { Speaker } from './bgp/speaker.ts';
import { type Loaded, keepSections, loadConfig } from './config/load.ts';
import { restartNeeded, type TakenAtStart } from './config/restart.ts';
import type { Config, ServiceConfig } from './config/types.ts';
import { printStatus } from './cli/status.ts';
import { type ApiSources, apiResponse } from './control/api.ts';
import { pybalResponse } from './control/pybal-http.ts';
import { Serving } from './control/serving.ts';
import type { View } from './control/types.ts';
import { historyView, makeView, statusText } from './control/view.ts';
import { decide } from './decision/decide.ts';
import type { Decision, Path, ServerVerdict, ServiceVerdict } from './decision/decision.ts';
import { eventsOf, newlyHeld } from './decision/events.ts';
import type { Fact, Facts } from './decision/facts.ts';
import { learn, learnAll, nothingKnown } from './decision/learn.ts';
import { NO_MARKS, pathTo } from './decision/marks.ts';
import type { MonitorModule } from './health/monitor.ts';
import { HealthRunner, missingMonitor } from './health/runner.ts';
import type { Grounds, Origin } from './health/stray.ts';
import { Pools } from './pools/pools.ts';
import { pathSettings } from './vip/path-settings.ts';
import { Reconciler } from './reconcile/reconciler.ts';
import type { Files, Mono, ServedRequest, ServedResponse, World } from './world/world.ts';

export interface DaemonOptions {
  readonly configPath: string;
  readonly version: string;
  /** What routers are told that this host is called (the FQDN capability); not given: nothing. */
  readonly hostname?: string;
  /** What the kernel has dropped of TCP, see bgp/drops.ts. */
  drops?(): Drops;
  /** What carries the traffic: shown, and `dry-run` talks to no router. */
  readonly backend: 'netlink' | 'userspace' | 'dry-run';
  /** What was taken from [global] at start; not given: nothing, so that no reload has anything to say of it. */
  readonly startedWith?: TakenAtStart;
  /** Called once, when the daemon has ended or cannot go on. */
  exit(code: number): void;
  /** For logrotate. */
  reopenLog?(): void;
  logLinesDropped?(): number;
  /** For the simulator's mutants: the pure decision, replaced. */
  readonly decide?: typeof decide;
}

/** How long the speaker waits to know the host's addresses. */
const FIRST_READING_MS = 1_000;
/** A reload that hangs on a disk must not make the daemon deaf for the next one. */
const RELOAD_MS = 60_000;
const STATE_MS = 5_000;
/** Between two decisions, at most: however long they take, a server that is down does not wait longer. */
const MOST_REST_MS = 250;
/** As pool lists are tried again. */
const KEEP_RETRY_MS = 60_000;
/** How long the parts may take to end, once the routes are gone. */
const STOP_MS = 5_000;

export class Daemon {
  readonly #world: World;
  readonly #options: DaemonOptions;
  readonly #startedAt;
  readonly #pools: Pools;
  readonly #health: HealthRunner;
  readonly #speaker: Speaker;
  readonly #bfd: BfdClient;
  readonly #reconciler: Reconciler;
  readonly #serving: Serving;
  readonly #decide: typeof decide;
  readonly #couldNotDepool = new Map<string, number>();
  /** What was learned, and what was not yet. */
  #learned: Facts;
  #news: Fact[] = [];
  #decision: Decision | null = null;
  #modules: ReadonlyMap<string, MonitorModule> = new Map();
  #actSoon = false;
  /** As Clock.now. */
  #restUntil = 0;
  #cancelWake = (): void => {};
  /** null: left to the first session; undefined: not chosen yet. */
  #routerId: string | null | undefined = undefined;
  /** What each section said when it was last good: the disk is for the next start. */
  #sections: Pick<Loaded, 'lastGood' | 'stateDirectory'> | null = null;
  #cancelKeeping = (): void => {};
  #kernelRead = (): void => {};
  readonly #firstReading = new Promise<void>((resolve) => {
    this.#kernelRead = resolve;
  });
  /** One after the other; never rejects. */
  #reloading: Promise<void> = Promise.resolve();
  /** How many there were. */
  #reload = 0;
  /** By path: why what should be there is not. */
  readonly #notWritten = new Map<string, string>();
  /** Why the file was refused when it was last read, and since when it is refused. */
  #refused: { readonly why: string; readonly since: Mono } | null = null;
  #stopping = false;
  /** No route leads here any more, and nothing is decided. */
  #closing = false;
  #exited = false;

  constructor(outside: World, options: DaemonOptions) {
    const { files } = outside;
    const world = {
      ...outside,
      files: { ...files, replace: this.#noting((path, bytes) => files.replace(path, bytes)) },
    };
    this.#world = world;
    this.#options = options;
    this.#decide = options.decide ?? decide;
    this.#startedAt = world.clock.now();
    this.#learned = nothingKnown(this.#startedAt);
    const emit = (fact: Fact): void => this.#learn(fact);
    this.#health = new HealthRunner(
      world,
      emit,
      (service, host) => this.#describe(service, host),
      (service, address) => this.#pathTo(service, address),
    );
    this.#pools = new Pools(world, emit, (service, host, address) => this.#health.candidate(service, host, address));
    this.#speaker = new Speaker(world, {
      onPeerState: (peer, state) => emit({ is: 'peer', peer, state }),
      forwarded: () => [...this.#facts.services.values()].some(({ adopted }) => adopted !== null),
      drops: () => options.drops?.() ?? new Map(),
      hostname: options.hostname ?? null,
      softwareVersion: `anybal/${options.version}`,
    });
    this.#bfd = new BfdClient(world, (peer, watched) => this.#speaker.pathDown(peer, watched));
    this.#serving = new Serving(world);
    this.#reconciler = new Reconciler(world, { emit, whereToEdit: (key) => this.#whereToEdit(key) });
  }

  /** Resolves when everything runs. A configuration that cannot be used at all ends the daemon with exit code 2. */
  start(): Promise<void> {
    const started = this.#start();
    // One that hangs is not to leave SIGHUP without an answer for good.
    this.#reloading = within(this.#world.clock, RELOAD_MS, 'start', started).catch(() => {});
    return started;
  }

  async #start(): Promise<void> {
    const { configPath, version, backend } = this.#options;
    this.#log('info', `anybal ${version} starting with ${configPath}, backend ${backend}`);
    const loaded = await loadConfig(this.#world, configPath);
    this.#complain(loaded.complaints);
    if (loaded.config === null) {
      this.#log('critical', `${configPath} cannot be used: exiting`);
      this.#exit(2);
      return;
    }
    await this.#use(loaded, loaded.config, this.#reload);
  }

  /** SIGHUP: read the configuration and the pools again. A file that cannot be used changes nothing. */
  hangUp(): void {
    this.#options.reopenLog?.();
    this.#reloading = this.#reloading
      .then(() => within(this.#world.clock, RELOAD_MS, 'reload', this.#readAgain(++this.#reload)))
      .catch((error: unknown) => {
        const why = `Reload did not come to its end: ${errorText(error)}`;
        this.#log('error', why);
        this.#refuse(why);
      });
  }

  /** SIGTERM, SIGINT: withdraw, wait, close. Kernel tables and addresses stay. The second call ends it now. */
  terminate(): void {
    if (this.#stopping) {
      this.#log('warn', 'Stopping at once');
      this.#exit(0);
      return;
    }
    this.#stopping = true;
    this.#log('info', 'Exiting...');
    void this.#stop().then(
      () => this.#exit(0),
      (error: unknown) => {
        this.#log('error', `Did not stop in order: ${errorText(error)}`);
        this.#exit(1);
      },
    );
  }

  /** SIGUSR1: the state, into the log. */
  dump(): void {
    for (const line of printStatus(this.view()).trimEnd().split('\n')) this.#log('info', line);
  }

  view(): View {
    const { clock } = this.#world;
    return makeView({
      version: this.#options.version,
      now: clock.now(),
      wall: clock.wall(),
      startedAt: this.#startedAt,
      facts: this.#facts,
      decision: this.#decision,
      checks: this.#health.status(),
      sources: this.#pools.status(),
      peers: this.#speaker.status(),
      bfd: this.#bfd.status(),
      reconciler: { backend: this.#options.backend, ...this.#reconciler.status() },
      couldNotDepool: this.#couldNotDepool,
      loopLateMs: this.#world.self().loopLateMs,
      checkLateness: this.#health.lateness.histogram(),
      logLinesDropped: this.#options.logLinesDropped?.() ?? 0,
      stateError: [...this.#notWritten.values()][0] ?? null,
      notServed: this.#serving.missing,
      monitorBugs: this.#health.bugs(),
      configRefused: this.#refused,
    });
  }

  /** An error that nobody handled. False: it is no monitor's but ours, and nothing can be relied on any more. */
  stray(thrown: unknown, origin: Origin, grounds: Grounds): boolean {
    return this.#health.stray(thrown, origin, grounds);
  }

  #apiSources(): ApiSources {
    const { clock } = this.#world;
    const history = (host: string) =>
      this.#health.history(host).map((one) => historyView(one, clock.now(), clock.wall()));
    return { view: this.view(), decision: this.#decision, history };
  }

  // ── facts → decision → world ──

  /** All that is known. News are folded in together when somebody looks: alone, each would cost a copy of what it touches. */
  get #facts(): Facts {
    if (this.#news.length > 0) {
      this.#learned = learnAll(this.#learned, this.#news);
      this.#news = [];
    }
    return this.#learned;
  }

  #learn(fact: Fact): void {
    if (this.#exited) return;
    // Two lists in one rest: the runner would not see that a host was gone, and says of one that it has nothing again.
    if (fact.is === 'pool' && this.#isUnseen(fact.service)) this.#checkWhatPoolsSay();
    this.#news.push(fact);
    if (fact.is === 'kernel') this.#kernelRead();
    this.#soon();
  }

  /** Facts that come together are decided on together. Of many thousands of servers that takes long: half of the time is for others. */
  #soon(): void {
    if (this.#actSoon || this.#exited) return;
    this.#actSoon = true;
    this.#world.clock.at(0, () => this.#actRested());
  }

  #actRested(): void {
    const { clock } = this.#world;
    const begunAt = clock.now();
    if (begunAt < this.#restUntil) {
      clock.at(this.#restUntil - begunAt, () => this.#actRested());
      return;
    }
    this.#actSoon = false;
    this.#act();
    const now = clock.now();
    this.#restUntil = now + Math.min(now - begunAt, MOST_REST_MS);
  }

  #act(): void {
    if (this.#exited || this.#facts.config === null) return;
    try {
      this.#checkWhatPoolsSay();
      // Adoption needs to know what the kernel had before anything is wanted of it.
      if (this.#facts.kernel.verifiedAt !== null && !this.#closing) this.#decideNow();
    } catch (error) {
      // A decision that cannot be made must not leave routes standing (law 10): let the supervisor start us afresh.
      this.#log('critical', `A bug in anybal: ${stackText(error)}`);
      this.#exit(70);
    }
  }

  #decideNow(): void {
    this.#learned = learn(this.#facts, { is: 'time', now: this.#world.clock.now() });
    const previous = this.#decision;
    const decision = this.#decide(this.#learned, previous);
    this.#decision = decision;
    for (const record of eventsOf(previous, decision)) this.#world.log(record);
    this.#countHeld(previous, decision);
    // A route leaves at once, whatever the reconciler is doing; one that comes was verified before it was wanted.
    for (const [peer, routes] of decision.desired.routes) {
      if (previous?.desired.routes.get(peer) !== routes) this.#speaker.set(peer, routes);
    }
    if (isComplete(decision)) this.#speaker.complete();
    this.#reconciler.want(decision.desired);
    this.#cancelWake();
    this.#cancelWake =
      decision.wakeAt === Number.POSITIVE_INFINITY
        ? () => {}
        : this.#world.clock.at(Math.max(0, decision.wakeAt - this.#world.clock.now()), () => this.#soon());
  }

  #countHeld(previous: Decision | null, decision: Decision): void {
    for (const verdict of decision.services.values()) {
      const before = previous?.services.get(verdict.name) ?? null;
      const count = before === verdict ? 0 : newlyHeld(before, verdict).length;
      if (count > 0) this.#couldNotDepool.set(verdict.name, (this.#couldNotDepool.get(verdict.name) ?? 0) + count);
    }
  }

  #checked: Facts['services'] | null = null;

  /** The runner has not been told of the list that is known. */
  #isUnseen(service: string): boolean {
    const list = this.#facts.services.get(service)?.list ?? null;
    return list !== null && list !== this.#checked?.get(service)?.list;
  }

  /** The health runner follows the accepted lists. */
  #checkWhatPoolsSay(): void {
    const { services } = this.#facts;
    const before = this.#checked;
    if (before === services) return;
    this.#checked = services;
    const same =
      before !== null &&
      before.size === services.size &&
      [...services].every(([name, { list, config }]) => {
        const known = before.get(name);
        return known?.list === list && known.config === config;
      });
    if (same) return;
    this.#health.configure(
      [...services.values()].map(({ config, list }) => ({
        config,
        hosts: list?.hosts ?? [],
        monitors: config.monitors.map(({ name, options, via }) => ({
          module: this.#modules.get(name) ?? missingMonitor(name, 'its module was never loaded'),
          options,
          via,
        })),
      })),
    );
  }

  /** Asked at each check through the path. */
  #pathTo(service: ServiceConfig, address: string): Path | string {
    const { backend } = this.#options;
    if (backend !== 'netlink') return `the backend ${backend} forwards nothing by marks`;
    return pathTo(this.#learned, this.#decision?.marks ?? NO_MARKS, service, address);
  }

  // ── configuration ──

  async #readAgain(reload: number): Promise<void> {
    if (this.#isOver(reload)) return;
    const { configPath } = this.#options;
    const loaded = await loadConfig(
      this.#world,
      configPath,
      this.#sections === null ? {} : { lastGood: this.#sections.lastGood },
    );
    if (this.#isOver(reload)) return;
    this.#complain(loaded.complaints);
    if (loaded.config === null) {
      this.#log('error', `${configPath} cannot be used: all stays as it was`);
      const worst = loaded.complaints.find(({ severity }) => severity === 'error') ?? loaded.complaints[0];
      this.#refuse(worst === undefined ? `${configPath} cannot be used` : printComplaint(worst));
      return;
    }
    const running = this.#facts.config ?? loaded.config;
    const torn = loaded.cutOff ? 'ends in the middle of a line' : hasErrors(loaded.config) ? 'has errors' : null;
    const lost = torn === null ? [] : missingFrom(running, loaded.config);
    if (lost.length > 0) {
      const what = `${configPath} ${torn} and no longer names ${lost.join(', ')}`;
      this.#log('error', `${what}: a torn file takes nothing away, all stays as it was`);
      this.#refuse(what);
      return;
    }
    const { startedWith } = this.#options;
    const waiting = startedWith === undefined ? [] : restartNeeded(startedWith, loaded.config.global);
    for (const text of waiting) this.#log('warn', text);
    await this.#use(loaded, loaded.config, reload);
    if (this.#isOver(reload)) return;
    this.#pools.reread();
    this.#refused = null;
    this.#log('info', `Reloaded ${configPath}`);
  }

  /** Of the start, which is number 0, or a reload: the daemon ends, or what this one has read is older than what is in force. */
  #isOver(reload: number): boolean {
    return this.#stopping || this.#exited || reload !== this.#reload;
  }

  #refuse(why: string): void {
    this.#refused = { why, since: this.#refused?.since ?? this.#world.clock.now() };
  }

  async #use(loaded: Loaded, config: Config, reload: number): Promise<void> {
    const modules = await this.#modulesOf(config.services);
    if (this.#isOver(reload)) return;
    this.#modules = modules;
    const { global } = config;
    this.#sections = loaded;
    // What is still wanted is tried again.
    this.#notWritten.clear();
    this.#learn({ is: 'configuration', config });
    const settings = {
      stateDirectory: global.stateDirectory,
      periodMs: global.reconcilePeriodSeconds * 1000,
      limitMs: global.reconcileLimitSeconds * 1000,
    };
    this.#reconciler.configure(settings);
    this.#reconciler.start(settings);
    this.#checkWhatPoolsSay();
    this.#pools.configure(config.services, global);
    await this.#configureSpeaker(config, reload);
    if (this.#isOver(reload)) return;
    await this.#warnOfSettings(config);
    if (this.#isOver(reload)) return;
    await this.#serve(config);
    await this.#keepSections();
    this.#soon();
  }

  /** A disk that is full now may have room later, and nobody says SIGHUP then. */
  async #keepSections(): Promise<void> {
    this.#cancelKeeping();
    if (this.#sections === null || this.#stopping || this.#exited) return;
    const { clock } = this.#world;
    const kept = keepSections(this.#world, this.#sections.stateDirectory, this.#sections.lastGood);
    await within(clock, STATE_MS, 'keep sections', kept).catch((error: unknown) => {
      this.#log('warn', `Last good sections could not be kept on disk: ${errorText(error)}`);
      this.#cancelKeeping = clock.at(KEEP_RETRY_MS, () => {
        this.#reloading = this.#reloading.then(() => this.#keepSections());
      });
    });
  }

  async #warnOfSettings(config: Config): Promise<void> {
    if (this.#options.backend !== 'netlink') return;
    const found = pathSettings(this.#world.files, config, this.#facts.kernel.vips);
    const texts = await within(this.#world.clock, STATE_MS, 'read settings', found).catch(() => []);
    for (const text of texts) this.#log('warn', text);
  }

  async #modulesOf(services: readonly ServiceConfig[]): Promise<ReadonlyMap<string, MonitorModule>> {
    const names = new Set(services.flatMap(({ monitors }) => monitors.map(({ name }) => name)));
    const modules = new Map<string, MonitorModule>();
    for (const name of names) {
      const found = await this.#world.monitor(name).catch((error: unknown) => errorText(error));
      const module = found ?? 'its file is not there';
      modules.set(name, typeof module === 'string' ? missingMonitor(name, module) : module);
    }
    return modules;
  }

  async #configureSpeaker(config: Config, reload: number): Promise<void> {
    if (this.#options.backend === 'dry-run') return;
    const { global, peers } = config;
    // Whose address is a VIP is known when the host's addresses were read.
    await within(this.#world.clock, FIRST_READING_MS, 'first reading', this.#firstReading).catch(() => {});
    if (this.#isOver(reload)) return;
    const listen = global.bgp
      ? global.bgpLocalAddresses.map((address) => ({ address, port: global.bgpLocalPort }))
      : [];
    const { keys, problems } = await readKeys(this.#world.files, peers, this.#keys);
    this.#keys = keys;
    for (const text of problems) this.#world.log({ level: 'error', system: 'bgp', text });
    if (this.#isOver(reload)) return;
    this.#bfd.configure(peers, global.bfdWedgedSeconds, keys.bfd);
    await this.#speaker.configure({
      routerId: global.routerId ?? this.#ownId(config),
      listen,
      peers,
      keys: keys.md5,
      aoKeys: keys.ao,
    });
    if (this.#isOver(reload)) return;
    for (const [peer, routes] of this.#decision?.desired.routes ?? []) this.#speaker.set(peer, routes);
  }

  /** null leaves it to the first session. Once chosen it stays: an address that somebody adds must not reset sessions. */
  #ownId({ services, quarantined, peers }: Config): string | null {
    const vips = new Set([
      ...services.map(({ vip }) => vip),
      ...quarantined.flatMap(({ frozen }) => frozen?.vip ?? []),
    ]);
    const chosen = this.#routerId;
    if (chosen !== undefined && (chosen === null || !vips.has(chosen))) return chosen;
    const onLoopback = (address: string) => this.#facts.kernel.vips.get(address)?.interface === 'lo';
    this.#routerId = defaultRouterId({
      configured: peers.flatMap(({ nextHopIpv4, localAddress }) => [nextHopIpv4 ?? [], localAddress ?? []].flat()),
      addresses: this.#world.self().addresses.filter((address) => !onLoopback(address)),
      vips,
    });
    return this.#routerId;
  }

  #keys: PeerKeys = NO_KEYS;

  #serve({ global }: Config): Promise<void> {
    const api = (request: ServedRequest): ServedResponse => apiResponse(request, this.#apiSources());
    const pybal = (request: ServedRequest): ServedResponse => pybalResponse(request, this.view());
    const addresses = global.instrumentation ? global.instrumentationAddresses : [];
    return this.#serving.configure([
      { at: { path: global.controlSocket }, answer: api },
      ...addresses.map((address) => ({ at: { address, port: global.instrumentationPort }, answer: pybal })),
    ]);
  }

  /** All that is written is state. Who writes says why it failed and tries again; that it is so is an alarm. */
  #noting(replace: Files['replace']): Files['replace'] {
    return async (path, bytes) => {
      try {
        await replace(path, bytes);
        this.#notWritten.delete(path);
      } catch (error) {
        this.#notWritten.set(path, errorText(error));
        throw error;
      }
    };
  }

  // ── the end ──

  async #stop(): Promise<void> {
    const { clock } = this.#world;
    this.#cancelKeeping();
    // Packets still come for as long as the routers need: until then servers fail, recover and are edited as ever.
    await this.#speaker.leave();
    const announced = [...(this.#decision?.vips.values() ?? [])].some((vip) => vip.announced);
    this.#learn({ is: 'exiting' });
    this.#act();
    if (announced) await clock.sleep((this.#facts.config?.global.withdrawWaitSeconds ?? 0) * 1000);
    this.#closing = true;
    this.#cancelWake();
    await this.#speaker.stop();
    await this.#bfd.stop();
    const parts = [this.#reconciler.stop(), this.#health.stop(), this.#pools.stop()];
    await within(clock, STOP_MS, 'stop', Promise.all(parts)).catch((error: unknown) =>
      this.#log('warn', `Not everything ended in time: ${errorText(error)}`),
    );
    await this.#serving.close();
  }

  #exit(code: number): void {
    if (this.#exited) return;
    this.#exited = true;
    this.#options.exit(code);
  }

  // ── words ──

  /** Asked for each line of the log that names a server, so neither a search through thousands nor a reason to fold news. */
  #describe(service: string, host: string): string {
    const verdict = this.#decision?.services.get(service);
    if (verdict !== undefined && verdict !== this.#described.verdict) {
      this.#described = { verdict, byHost: new Map(verdict.servers.map((server) => [server.host, server])) };
    }
    const server = verdict === undefined ? undefined : this.#described.byHost.get(host);
    if (server !== undefined) return statusText(server);
    const listed = this.#learned.services.get(service)?.list?.hosts.find((each) => each.host === host);
    return statusText({ enabled: listed?.enabled ?? true, stands: 'unknown', partial: true, pooled: false });
  }

  #described: { readonly verdict: ServiceVerdict | null; readonly byHost: ReadonlyMap<string, ServerVerdict> } = {
    verdict: null,
    byHost: new Map(),
  };

  #whereToEdit(key: string): string | null {
    for (const verdict of this.#decision?.services.values() ?? []) {
      if (verdict.key !== key) continue;
      const { source, place } = verdict.basis.config;
      return `${showUrl(source)}, or [${verdict.name}] in ${place.file}`;
    }
    return null;
  }

  #complain(complaints: readonly Complaint[]): void {
    for (const complaint of complaints) {
      const { severity } = complaint;
      const level = ({ error: 'error', danger: 'critical', warning: 'warn' } as const)[severity];
      this.#log(level, printComplaint(severity === 'warning' ? { ...complaint, severity: 'error' } : complaint));
    }
  }

  #log(level: 'info' | 'warn' | 'error' | 'critical', text: string): void {
    this.#world.log({ level, system: 'pybal', text });
  }
}

/** Every service has said what it will. One that waits for the kernel to be as wanted may have a route to come, for a while. */
function isComplete({ services, config, at }: Decision): boolean {
  const isSaid = ({ firstRound, differsSince, basis }: ServiceVerdict): boolean => {
    const waitSeconds = basis.config.startGraceSeconds + config.global.reconcileLimitSeconds;
    return firstRound && (differsSince === null || at - basis.since >= waitSeconds * 1000);
  };
  return [...services.values()].every(isSaid);
}

function hasErrors({ complaints }: Config): boolean {
  return complaints.some(({ severity }) => severity === 'error');
}

/** Services and peers that run and are not in this file: where it is not whole, more likely torn off than taken out. */
function missingFrom(running: Config, config: Config): readonly string[] {
  const named = new Set([...config.services, ...config.quarantined, ...config.peers].map(({ name }) => name));
  return [...running.services, ...running.peers].map(({ name }) => name).filter((name) => !named.has(name));
}
