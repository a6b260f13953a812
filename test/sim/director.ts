// A director of the simulated site: a machine, its configuration file, and the daemon that runs on it under something like
// systemd. How the daemon is built is in daemon.ts; here it is a Program.

import type { World } from '../../src/world/world.ts';
import { breakSection, CONFIG_PATH, configText } from './conf.ts';
import { Machine, type MachineOptions } from './machine.ts';
import type { Site } from './site.ts';
import type { DirectorPlan, ServicePlan, Topology } from './topology.ts';

/** A running daemon: what signals do to it. */
export interface Running {
  hangUp(): void;
  terminate(): void;
}

/** Starts a daemon in a world. `exit` is called at most once. */
export type Program = (world: World, configPath: string, exit: (code: number) => void) => Running;

/** Readings that are remembered. */
const READINGS = 20;

export interface DirectorEvents {
  /** It has read its configuration again, perhaps long after the signal. */
  reread(director: Director): void;
  exited(director: Director, code: number, wanted: boolean): void;
}

export class Director {
  readonly plan: DirectorPlan;
  readonly machine: Machine;
  readonly #topology: Topology;
  readonly #program: Program;
  readonly #events: DirectorEvents;
  /** What the file says now, and which section of it is broken. */
  #file: readonly ServicePlan[];
  #broken: string | null = null;
  #running: Running | null = null;
  #stopping = false;
  #backAt = Number.NEGATIVE_INFINITY;
  /** As last read, and usable. */
  services: ReadonlyMap<string, ServicePlan> = new Map();
  /** As read before that, and until when that was the last reading. */
  #earlier: { readonly services: ReadonlyMap<string, ServicePlan>; readonly until: number }[] = [];
  /** Sections that were broken when they were last read and never were whole on this director. */
  frozen: ReadonlySet<string> = new Set();
  startedAt = Number.NEGATIVE_INFINITY;

  constructor(
    site: Site,
    topology: Topology,
    plan: DirectorPlan,
    program: Program,
    events: DirectorEvents,
    options: Pick<MachineOptions, 'programs' | 'timeouts' | 'monitors' | 'watcher' | 'ran' | 'logged'>,
  ) {
    this.plan = plan;
    this.#topology = topology;
    this.#program = program;
    this.#events = events;
    this.#file = topology.services;
    this.machine = new Machine(site, { ...options, name: plan.name, addresses: [plan.address, plan.address6] });
    this.#write();
  }

  get name(): string {
    return this.plan.name;
  }

  get running(): boolean {
    return this.machine.running;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  get file(): readonly ServicePlan[] {
    return this.#file;
  }

  get broken(): string | null {
    return this.#broken;
  }

  get missing(): boolean {
    return this.machine.disk.get(CONFIG_PATH) === null;
  }

  /** It may have found no file a moment ago. */
  get missedLately(): boolean {
    return this.missing || this.machine.site.scheduler.now - this.#backAt < 1000;
  }

  /** Somebody deletes the file. */
  lose(): void {
    this.machine.disk.remove(CONFIG_PATH);
  }

  /** Edit the file. The daemon does not know yet. */
  edit(services: readonly ServicePlan[], broken: string | null): void {
    if (this.missing) this.#backAt = this.machine.site.scheduler.now;
    this.#file = services;
    this.#broken = broken;
    this.#write();
  }

  start(): void {
    this.#read();
    this.#stopping = false;
    this.startedAt = this.machine.site.scheduler.now;
    this.machine.start((world) => {
      const { generation } = this.machine;
      this.#running = this.#program(world, CONFIG_PATH, (code) => {
        if (this.machine.generation === generation && this.machine.running) this.#exited(code);
      });
    });
  }

  kill(): void {
    this.#running = null;
    this.machine.kill();
  }

  powerOff(): void {
    this.#running = null;
    this.machine.powerOff();
  }

  hangUp(): void {
    const life = this.machine.life;
    if (life === null || this.#stopping) return;
    life.enter(() => {
      this.#read();
      this.#events.reread(this);
      this.#running?.hangUp();
    });
  }

  terminate(): void {
    const life = this.machine.life;
    if (life === null) return;
    this.#stopping = true;
    life.enter(() => {
      // Before it has come as far as to handle signals they do what they do to any process.
      if (this.#running === null) this.#exited(0);
      else this.#running.terminate();
    });
  }

  #exited(code: number): void {
    const wanted = this.#stopping;
    this.kill();
    this.#events.exited(this, code, wanted);
  }

  #write(): void {
    let text = configText(this.#topology, this.plan, this.#file);
    const broken = this.#file.find(({ name }) => name === this.#broken);
    if (broken !== undefined) text = breakSection(text, broken);
    this.machine.disk.put(CONFIG_PATH, text);
  }

  /** The last reading, and before it every one that was in force at or after `since`. */
  readings(since: number): readonly ReadonlyMap<string, ServicePlan>[] {
    return [this.services, ...this.#earlier.filter(({ until }) => until >= since).map(({ services }) => services)];
  }

  /** What a reader of the file as it stands has to run: a broken section goes on as it was. */
  #read(): void {
    if (this.missing) return;
    const services = new Map<string, ServicePlan>();
    const frozen = new Set<string>();
    for (const service of this.#file) {
      const before = this.services.get(service.name);
      if (service.name !== this.#broken) services.set(service.name, service);
      else if (before !== undefined) services.set(service.name, before);
      else frozen.add(service.name);
    }
    const until = this.machine.site.scheduler.now;
    this.#earlier = [{ services: this.services, until }, ...this.#earlier.slice(0, READINGS - 1)];
    this.services = services;
    this.frozen = frozen;
  }
}
