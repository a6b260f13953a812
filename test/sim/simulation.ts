// One run: a site from a seed, storms of events with calms between them, the laws checked all the time and the oracle asked
// at the end of each calm. Same seed, same program: same journal, byte for byte.

import type { MonitorModule } from '../../src/health/monitor.ts';
import type { Program } from './director.ts';
import type { EventKind } from './event.ts';
import { EVENTS } from './events.ts';
import type { Violation } from './laws.ts';
import { Random } from './random.ts';
import { Scene } from './scene.ts';
import { makeSite } from './site.ts';
import type { Tally } from './tally.ts';
import { drawTopology } from './topology.ts';

export interface RunOptions {
  readonly seed: number;
  readonly hours: number;
  readonly program: Program;
  readonly monitors: ReadonlyMap<string, MonitorModule>;
  readonly print?: ((line: string) => void) | null;
}

export interface RunResult {
  readonly seed: number;
  /** The first laws broken, at one instant; empty: none. */
  readonly violations: readonly Violation[];
  readonly tally: Tally;
  readonly events: number;
  readonly simulatedHours: number;
  readonly cpuSeconds: number;
  readonly lines: number;
  readonly digest: string;
  readonly tail: readonly string[];
}

/** Events of a run that lasts for ever by mistake. */
const MAX_EVENTS_PER_HOUR = 20_000_000;

export async function simulate(options: RunOptions): Promise<RunResult> {
  const startCpu = process.cpuUsage();
  const site = makeSite(options.seed, options.print ?? null, 1_000_000 + options.hours * MAX_EVENTS_PER_HOUR);
  const { scheduler } = site;
  const random = new Random(options.seed, 'scenario');
  const scene = new Scene(site, drawTopology(random.fork('topology')), options.program, options.monitors);
  const weather = new Weather(scene, random.fork('weather'));
  const until = options.hours * 3_600_000;
  const broken = (): boolean => scene.laws.broken;
  try {
    for (const director of scene.directors.values()) scene.start(director);
    while (!broken()) {
      // Sometimes the first start already falls into a storm.
      if (scheduler.now > 0 || random.chance(0.5)) {
        weather.storm();
        await scheduler.run(scheduler.now + random.between(60_000, 1_200_000), broken);
      }
      if (broken()) break;
      weather.calm();
      await scheduler.run(scheduler.now + scene.settleMs, broken);
      if (broken()) break;
      scene.judgeCalm();
      if (scheduler.now >= until) break;
    }
  } catch (thrown) {
    const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    scene.laws.violate(0, 'simulation', text);
  }
  const cpu = process.cpuUsage(startCpu);
  return {
    seed: options.seed,
    violations: scene.laws.violations,
    tally: site.tally,
    events: scheduler.events,
    simulatedHours: scheduler.now / 3_600_000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    lines: site.journal.lines,
    digest: site.journal.digest(),
    tail: site.journal.tail,
  };
}

/** Which events there are in this seed's world, how often, and the storm that is going on. */
class Weather {
  readonly #scene: Scene;
  readonly #random: Random;
  readonly #mix: readonly (readonly [EventKind, number])[];
  readonly #gapMs: number;
  #stormy = false;
  #cancelNext = (): void => {};
  readonly #open = new Set<() => void>();

  constructor(scene: Scene, random: Random) {
    this.#scene = scene;
    this.#random = random;
    // Not every seed has everything: some faults hide others.
    this.#mix = EVENTS.flatMap((kind) =>
      random.chance(0.7) ? [[kind, kind.weight * random.between(0.3, 2)] as const] : [],
    );
    this.#gapMs = random.pick([5000, 15_000, 40_000]);
  }

  storm(): void {
    this.#stormy = true;
    this.#scene.site.journal.write('weather', 'storm');
    this.#next();
  }

  /** Everything that lasts ends now. */
  calm(): void {
    this.#stormy = false;
    this.#cancelNext();
    for (const end of [...this.#open]) end();
    for (const director of this.#scene.directors.values()) {
      if (!director.running) this.#scene.comeBack(director, 500);
    }
    this.#scene.site.journal.write('weather', 'calm');
  }

  #next(): void {
    this.#cancelNext = this.#scene.site.scheduler.at(this.#random.exponential(this.#gapMs), () => {
      if (!this.#stormy) return;
      this.#happen();
      this.#next();
    });
  }

  #happen(): void {
    if (this.#mix.length === 0) return;
    const kind = this.#random.weighted(this.#mix);
    const random = this.#random.fork(kind.name);
    const end = kind.begin(this.#scene, random);
    if (end === false || end === null) return;
    const finish = (): void => {
      if (!this.#open.delete(finish)) return;
      cancel();
      end();
    };
    this.#open.add(finish);
    const cancel = this.#scene.site.scheduler.at(random.exponential(kind.meanMs), finish);
  }
}
