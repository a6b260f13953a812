// A simulated machine: what survives a crash of the process that runs on it (kernel tables, disk, addresses) and the World
// that each run of that process is handed.

import { fwmarkKey } from '../../src/ipvs/table.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { MonitorModule } from '../../src/health/monitor.ts';
import type { LogRecord } from '../../src/log/record.ts';
import type { HostAddress } from '../../src/vip/addresses.ts';
import type { Bfd, Clock, Mono, Streams, Wall, World } from '../../src/world/world.ts';
import { simBfd } from './bfd.ts';
import { Disk } from './disk.ts';
import { ServedTable } from './http.ts';
import { type KernelWatcher, MachineKernel } from './kernel.ts';
import { Life } from './life.ts';
import { Resolver } from './names.ts';
import type { Host } from './network.ts';
import { type Programs, ProcessTable } from './processes.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';
import { End } from './tcp.ts';
import type { IpvsTimeouts } from './topology.ts';

export interface MachineOptions {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly programs: Programs;
  /** By name in lower case. */
  readonly monitors: ReadonlyMap<string, MonitorModule>;
  readonly watcher: KernelWatcher;
  /** Of IPVS' connections, where they are not the kernel's own. */
  readonly timeouts?: IpvsTimeouts;
  readonly ran?: (path: string) => void;
  readonly logged?: (record: LogRecord) => void;
}

export class Machine {
  readonly name: string;
  readonly site: Site;
  readonly host: Host;
  readonly random: Random;
  readonly kernel: MachineKernel;
  readonly disk: Disk;
  readonly resolver: Resolver;
  readonly commands: ProcessTable;
  readonly served = new ServedTable();
  readonly #options: MachineOptions;
  readonly #clockOffset: number;
  /** How far the wall clock is off. */
  wallSkewMs: number;
  boots = 1;
  /** Runs of the process on this machine, the present one included. */
  generation = 0;
  life: Life | null = null;
  /** The thread that BFD runs in: goes on while the process's main thread stands still, and ends with it. */
  worker: Life | null = null;

  constructor(site: Site, options: MachineOptions) {
    this.site = site;
    this.name = options.name;
    this.#options = options;
    this.random = site.random.fork(options.name);
    this.host = site.network.host(options.name, options.addresses);
    this.#clockOffset = this.random.between(1_000, 10_000_000);
    this.wallSkewMs = this.random.between(-2000, 2000);
    const { scheduler, tally } = site;
    this.kernel = new MachineKernel(scheduler, this.random.fork('kernel'), tally, options.watcher);
    const { connections } = this.host;
    connections.schedule = (mark, to, protocol) => this.kernel.schedule(mark, to, protocol);
    connections.misled = () => tally.hit('entry of another server', 'connection table');
    if (options.timeouts !== undefined) connections.timeouts = options.timeouts;
    this.disk = new Disk(scheduler, this.random.fork('disk'), tally, () => this.#wall());
    this.resolver = new Resolver(site.zone, scheduler, this.random.fork('names'), tally);
    this.commands = new ProcessTable(options.programs, this.random.fork('processes'), tally, ({ path }) =>
      options.ran?.(path),
    );
    this.kernel.reboot(this.#ownAddresses());
  }

  get running(): boolean {
    return this.life?.alive === true;
  }

  /** Start the process. What it throws at its top is a bug of ours and ends the simulation. */
  start(main: (world: World) => void): void {
    if (this.running) throw new Error(`${this.name} runs already`);
    this.generation++;
    const life = new Life(this.site.scheduler);
    this.life = life;
    this.worker = new Life(this.site.scheduler);
    const world = this.#world(life, this.worker);
    life.after(1, () => main(world));
  }

  /** kill -9, or the end of an exit: nothing of this run happens any more. */
  kill(): void {
    const life = this.life;
    if (life === null) return;
    this.life = null;
    life.kill();
    this.worker?.kill();
    this.worker = null;
    this.site.network.processGone(this.host, life);
  }

  powerOff(): void {
    const life = this.life;
    this.life = null;
    life?.kill();
    this.worker?.kill();
    this.worker = null;
    this.site.network.powerOff(this.host);
  }

  /** With an empty kernel; the disk is as it was. */
  powerOn(): void {
    this.boots++;
    this.kernel.reboot(this.#ownAddresses());
    this.host.connections.clear();
    this.site.network.powerOn(this.host);
  }

  #wall(): number {
    return this.site.wall() + this.wallSkewMs;
  }

  /**
   * The kernel's table is the only record of marks that survives a restart. Whose ports somebody made it forget meanwhile, nobody
   * can spare: those connections are over by the time of the start.
   */
  forgetLostMarks(): void {
    this.host.connections.forget(
      (mark) => this.kernel.table.has(fwmarkKey(mark, 4)) || this.kernel.table.has(fwmarkKey(mark, 6)),
    );
  }

  #ownAddresses(): readonly HostAddress[] {
    return [...this.host.addresses].map((address) => ({
      address,
      prefixLength: address.includes(':') ? 64 : 24,
      interface: 'eth0',
      protocol: 0,
    }));
  }

  /** SIGSTOP and SIGCONT: all threads. */
  pause(): void {
    this.life?.stop();
    this.worker?.stop();
  }
  resume(): void {
    this.worker?.go();
    this.life?.go();
  }

  #world(life: Life, worker: Life): World {
    const { scheduler, web, journal, udp } = this.site;
    const random = this.random.fork(`generation ${this.generation}`);
    const who = this.name;
    const names = this.resolver.names(life);
    const log = (record: LogRecord): void => {
      if (!life.alive) return;
      journal.write(who, `${record.level} [${record.system}] ${record.text}`);
      this.#options.logged?.(record);
    };
    return {
      clock: clock(
        life,
        random.fork('timers'),
        () => scheduler.now + this.#clockOffset,
        () => this.#wall(),
      ),
      random: () => random.unit(),
      names,
      http: web.http(this.host, life, names, this.served),
      files: this.disk.files(life),
      streams: this.#streams(life),
      udp: udp.clientsOf(this.host, life),
      icmp: udp.icmpOf(this.host, life),
      bfd: this.#bfd(life, worker, random.fork('bfd'), log),
      ipvs: this.kernel.ipvs(life),
      vips: this.kernel.vips(life),
      processes: this.commands.processes(life),
      monitor: (name) =>
        life.promise((resolve) => {
          life.after(0.1, () => resolve(this.#options.monitors.get(name.toLowerCase()) ?? null));
        }),
      self: () => ({
        loopLateMs: life.loopLateMs,
        lateSince: (at) => life.lateSince(at - this.#clockOffset),
        stalledSince: (at) => life.stalledSince(at - this.#clockOffset),
        kernelId: `${this.name}-boot-${this.boots}`,
        addresses: [...this.kernel.addresses.keys()],
      }),
      log,
    };
  }

  #bfd(life: Life, worker: Life, random: Random, log: (record: LogRecord) => void): Bfd {
    const { scheduler, udp } = this.site;
    return simBfd({
      life,
      clock: clock(
        worker,
        random.fork('timers'),
        () => scheduler.now + this.#clockOffset,
        () => this.#wall(),
      ),
      random: () => random.unit(),
      datagrams: udp.of(this.host, worker),
      log,
    });
  }

  #streams(life: Life): Streams {
    const { network } = this.site;
    return {
      connect: (options, cut) => network.connect(this.host, life, options, cut),
      secure: (stream) =>
        life.promise((resolve, reject) => {
          if (stream instanceof End && stream.secure()) resolve(stream);
          else reject(new SystemError('ECONNRESET', 'secure'));
        }),
      listen: (at, onStream) =>
        life.promise((resolve, reject) => {
          life.after(0.05, () => {
            try {
              const local = at.port === 0 ? { ...at, port: network.freePort(this.host) } : at;
              const close = network.listen(this.host, life, local, onStream);
              resolve({
                local,
                close: () => life.promise((done) => void life.after(0.05, () => (close(), done()))),
              });
            } catch (thrown) {
              reject(thrown instanceof Error ? thrown : new SystemError('EIO', 'listen'));
            }
          });
        }),
    };
  }
}

/** Timers come at the earliest when they are due, and a little later by chance: nothing may rest on their order. */
function clock(life: Life, random: Random, now: () => number, wall: () => number): Clock {
  const at = (delayMs: number, fn: () => void): (() => void) =>
    life.after(Math.max(1, delayMs) + random.unit() * 0.5, fn);
  return {
    now: () => now() as Mono,
    wall: () => wall() as Wall,
    at,
    sleep: (ms, cut) =>
      new Promise((resolve) => {
        if (cut === undefined) {
          at(ms, resolve);
          return;
        }
        let cancel = (): void => {};
        const forget = cut.onAbort(() => {
          cancel();
          resolve();
        });
        if (cut.aborted) return;
        cancel = at(ms, () => {
          forget();
          resolve();
        });
      }),
  };
}
