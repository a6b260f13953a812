// One simulated site, built from its topology: directors, routers, real servers, the pool store, and everything that watches
// them. What happens to it is in events.ts, in which order in simulation.ts.

import type { LogRecord } from '../../src/log/record.ts';
import type { MonitorModule } from '../../src/health/monitor.ts';
import { CHECK_PROGRAM, SSH_FILES, SSH_PROGRAM } from './conf.ts';
import { Director, type Program } from './director.ts';
import { Feeds } from './feeds.ts';
import { Laws } from './laws.ts';
import { forwardingProblems, problemsOf } from './oracle.ts';
import { PoolStore } from './pool-store.ts';
import type { Outcome } from './processes.ts';
import { Router } from './router.ts';
import { SentRoutes } from './sent.ts';
import { RealServer } from './server.ts';
import type { Site } from './site.ts';
import { speakerFor } from './speakers.ts';
import { BFD_INTERVAL_MS, type Topology } from './topology.ts';
import { Truth, noticeMs } from './truth.ts';

const HUNG: Outcome = { durationMs: Number.POSITIVE_INFINITY, exitCode: 0, output: '' };
/** systemd's RestartSec, from here to three times as long. */
const RESTART_MS = 1000;

/** What a director can be doing when it dies. */
export type Act = 'kernel' | 'disk';

export class Scene {
  readonly site: Site;
  readonly topology: Topology;
  readonly directors: ReadonlyMap<string, Director>;
  readonly routers: readonly Router[];
  readonly servers: ReadonlyMap<string, RealServer>;
  readonly store: PoolStore;
  readonly feeds: Feeds;
  readonly truth: Truth;
  readonly sent: SentRoutes;
  readonly laws: Laws;
  /** Kernel entries that others made, by director. */
  readonly foreign = new Map<string, Set<string>>();
  readonly #restarts = new Map<string, () => void>();
  readonly #away = new Map<string, () => void>();
  readonly #traps = new Map<string, { readonly act: Act; left: number; readonly kill: () => void }>();

  constructor(site: Site, topology: Topology, program: Program, monitors: ReadonlyMap<string, MonitorModule>) {
    this.site = site;
    this.topology = topology;
    site.zone.ttlMs = topology.ttlSeconds * 1000;
    this.servers = new Map(topology.servers.map((plan) => [plan.host, new RealServer(site, plan)]));
    for (const server of this.servers.values())
      for (const { realPort, monitors: by } of topology.services) server.serve(realPort, speakerFor(by));
    this.directors = new Map(
      topology.directors.map((plan) => [plan.name, this.#director(plan.name, plan, program, monitors)]),
    );
    const directors = [...this.directors.values()];
    const machines = directors.map(({ machine }) => machine);
    this.store = new PoolStore(site, machines);
    for (const service of topology.services) this.store.publish(service, topology.pools.get(service.name) ?? []);
    for (const { disk } of machines) for (const path of SSH_FILES) disk.put(path, 'a file of ssh');
    this.truth = new Truth(site, topology, this.store, this.servers, directors);
    this.feeds = new Feeds(site, topology.services, machines, this.servers);
    this.routers = topology.routers.map(
      (plan) =>
        new Router(site, plan, topology.holdTimeSeconds, {
          forwards: (router, vip, to) => site.journal.write(router.plan.name, `sends ${vip} to ${to ?? 'nobody'}`),
          lost: (router, address) => {
            site.journal.write(router.plan.name, `has lost its path to ${address}`);
            const director = directors.find(({ plan }) => plan.address === address);
            if (director !== undefined) this.laws.pathLost(director, router);
          },
        }),
    );
    if (topology.bfd) {
      for (const router of this.routers)
        router.watch(
          directors.map(({ plan }) => plan.address),
          BFD_INTERVAL_MS,
        );
    }
    this.sent = new SentRoutes(
      new Set(topology.directors.map(({ name }) => name)),
      new Set(topology.routers.map(({ name }) => name)),
      (session, message) => this.laws.sent(session, message),
    );
    this.laws = new Laws(site, this.truth, this.directors, this.sent);
    this.truth.failed = (name, service, host) => this.laws.failed(name, service, host);
    site.network.tap = (from, to, end, bytes) => this.sent.tap(from, to, end, bytes);
    for (const { name } of directors) this.foreign.set(name, new Set());
  }

  #director(
    name: string,
    plan: Topology['directors'][number],
    program: Program,
    monitors: ReadonlyMap<string, MonitorModule>,
  ): Director {
    return new Director(
      this.site,
      this.topology,
      plan,
      program,
      {
        reread: (director) => {
          this.truth.touch(director.name);
          this.truth.look();
        },
        exited: (director, code, wanted) => {
          this.laws.exited(director, code, wanted);
          this.gone(director);
          if (!wanted) this.comeBack(director, RESTART_MS);
        },
      },
      {
        monitors,
        timeouts: this.topology.timeouts,
        programs: new Map([
          [CHECK_PROGRAM, ([address]) => this.#run(name, address, (server) => server.check())],
          [SSH_PROGRAM, (args) => this.#run(name, args[args.indexOf('--') + 1], (server) => server.logIn())],
        ]),
        watcher: {
          wrote: (write) => {
            this.laws.wrote(name, write);
            this.#spring(name, 'kernel');
          },
          read: (what, keys) => this.laws.read(name, what, keys),
        },
        ran: (path) => this.laws.ranCommand(name, path),
        logged: (record) => this.#logged(name, record),
      },
    );
  }

  /** A bug that the daemon itself reports is a finding. */
  #logged(name: string, record: LogRecord): void {
    if (/TypeError|ReferenceError|RangeError|unhandled|bug of ours/i.test(record.text)) {
      this.laws.violate(0, name, `logged ${record.level} [${record.system}] ${record.text}`);
    }
  }

  /** What a program on a director finds out about a real server. */
  #run(name: string, address: string | undefined, ask: (server: RealServer) => Outcome): Outcome {
    const director = this.directors.get(name);
    const server = [...this.servers.values()].find(({ host }) => host.addresses.has(address ?? ''));
    if (director === undefined || server === undefined) return HUNG;
    const { network } = this.site;
    const from = director.machine.host;
    // A host that is off answers nobody, and somebody else says so.
    const reachable = network.reaches(from, server.host) && network.reaches(server.host, from);
    return reachable || !server.host.power ? ask(server) : HUNG;
  }

  // Directors come and go.

  start(director: Director): void {
    if (director.running || !director.machine.host.power) return;
    this.site.journal.write(director.name, 'starts');
    this.laws.starting(director);
    director.machine.forgetLostMarks();
    director.start();
    this.#away.get(director.name)?.();
    this.#away.delete(director.name);
    this.truth.look();
  }

  /** It does not run any more: from now on until it is started. */
  gone(director: Director): void {
    if (!this.#away.has(director.name)) this.#away.set(director.name, this.truth.disturb(director.name, 'restart'));
  }

  comeBack(director: Director, afterMs: number): void {
    this.#restarts.get(director.name)?.();
    const wait = afterMs * (1 + 2 * director.machine.random.unit());
    this.#restarts.set(
      director.name,
      this.site.scheduler.at(wait, () => this.start(director)),
    );
  }

  /** Have a director die in the act: right after its `count`-th write from now, before the next. Returns how to undo it. */
  trap(director: Director, act: Act, count: number, kill: () => void): () => void {
    const trap = { act, left: count, kill };
    this.#traps.set(director.name, trap);
    director.machine.disk.replacing = () => this.#spring(director.name, 'disk');
    return () => {
      if (this.#traps.get(director.name) === trap) this.#traps.delete(director.name);
    };
  }

  #spring(name: string, act: Act): void {
    const trap = this.#traps.get(name);
    if (trap === undefined || trap.act !== act || --trap.left > 0) return;
    this.#traps.delete(name);
    this.site.scheduler.at(0.005, trap.kill);
  }

  /** Call after anything that may change who is reachable or serves. */
  look(): void {
    this.feeds.changed();
    this.truth.look();
  }

  // Judging.

  /** How long a quiet site may need to settle, ms. */
  get settleMs(): number {
    const services = [...this.directors.values()].flatMap((director) => [...director.services.values()]);
    const slowest = Math.max(
      ...services.map((service) => {
        const { shrinkConfirmSeconds, drainSeconds, slowStartSeconds } = service;
        return noticeMs(service) + (shrinkConfirmSeconds + drainSeconds + slowStartSeconds) * 1000;
      }),
    );
    // A pool source in its longest back-off, names, BGP after SYNs that went unanswered.
    const { resolveIntervalSeconds, ttlSeconds, holdTimeSeconds } = this.topology;
    return slowest + 45_000 + (resolveIntervalSeconds + ttlSeconds + 2 * holdTimeSeconds) * 1000 + 60_000;
  }

  /** After a calm: everything must be as the oracle says. */
  judgeCalm(): void {
    for (const director of this.directors.values()) {
      const foreign = this.foreign.get(director.name) ?? new Set();
      for (const problem of problemsOf(director, this.truth, this.sent, this.routers, foreign)) {
        this.laws.violate(0, director.name, `not converged after a calm: ${problem}`);
      }
      for (const key of foreign) {
        const { table, addresses } = director.machine.kernel;
        if (!table.has(key) && !addresses.has(key)) this.laws.violate(8, director.name, `foreign ${key} is gone`);
      }
    }
    const vips = [...new Set(this.topology.services.map(({ vip }) => vip))];
    for (const problem of forwardingProblems(this.routers, [...this.directors.values()], vips)) {
      this.laws.violate(0, 'routers', `not converged after a calm: ${problem}`);
    }
    if (Reflect.has(globalThis, 'anybalRanPoolData')) this.laws.violate(11, 'somebody', 'ran code from pool data');
  }
}
