// A monitor with one set of options: what its create() returned, its tools, and a loop for each server that it is asked about.
// A service has one of its own, or shares it with all services that want to know the same, where the monitor says that its
// question is about the endpoint alone. Whoever asks about the same server then gets the results of one loop. Used by
// service.ts and check.ts.

import type { Via } from '../config/types.ts';
import type { LogLevel } from '../log/record.ts';
import { equal } from '../lib/equal.ts';
import { errorText } from '../lib/errors.ts';
import type { Clock, Mono, Self, World } from '../world/world.ts';
import type { Health, MonitorModule, OptionRow, OptionsOf, Target } from './monitor.ts';
import type { PathSource } from './path.ts';
import { type Loop, type LoopContext, PollLoop } from './poll.ts';
import { type Gates, makeTools, type Notes } from './tools.ts';
import type { Ticks } from './ticks.ts';
import { WatchLoop } from './watch.ts';

export interface MonitorToRun {
  readonly module: MonitorModule;
  readonly options: Readonly<Record<string, unknown>>;
  /** Not given: server. */
  readonly via?: Via;
}

/** Who wants to know: a check, with what the monitor notes about its target. */
export interface Asker extends LoopContext {
  log(level: LogLevel, text: string): void;
  observe(kind: 'gauge' | 'counter', name: string, value: number, labels: Readonly<Record<string, string>>): void;
}

/** What an asker holds of its loop. */
export type Asking = Pick<Loop, 'busy' | 'givenUp' | 'spoil'> & {
  repace(): void;
  /** The asker wants to know no more. Resolves when what was under way for it alone has ended. */
  stop(asker: Asker): Promise<void>;
};

/** A year. */
const MOST_SECONDS = 31_536_000;
/** More open connections and sockets than this are not in use but lost, however many URLs a check asks for at once. */
const MOST_OPEN = 256;
const MOST_OPEN_PER_SERVER = 64;
/** Lines about one server: so many a minute, and for each check. A failure of all servers is told of all of them. */
const LINES_A_MINUTE = 20;
const LINES_A_CHECK = 2;

export class Instance {
  readonly monitor: MonitorToRun;
  /** Why the monitor could not be made: its checks are unknown, for this reason. */
  readonly broken: string | null = null;
  readonly #start: (context: LoopContext) => Loop;
  /** How old a result may be for somebody who joins. */
  readonly #freshMs: number = Number.POSITIVE_INFINITY;
  readonly #questions = new Map<string, Question>();
  /** By what the monitor is handed, and hands back with each note: the short way. */
  readonly #byTarget = new WeakMap<Target, Question>();
  readonly #metrics = new Map<string, string>();

  constructor(monitor: MonitorToRun, world: World, gates: Gates) {
    this.monitor = monitor;
    const { module } = monitor;
    const options = monitor.options as OptionsOf<readonly OptionRow[]>;
    const questionOf = (target: Target): Question | undefined => {
      const known = this.#byTarget.get(target);
      return known?.open === true ? known : this.#questions.get(keyOf(target));
    };
    const about = (target: Target): readonly Asker[] => questionOf(target)?.askers ?? [];
    const notes: Notes = {
      log: (level, target, text) => {
        if (level === 'debug' && world.logsDebug === false) return;
        const question = questionOf(target);
        if (question === undefined) return;
        if (level !== 'debug' && !question.mayLog()) {
          gates.onLeftOut(module.name);
          return;
        }
        const said = typeof text === 'string' ? text : text();
        for (const asker of question.askers) asker.log(level, said);
      },
      observe: (target, name, value, labels) => {
        for (const asker of about(target)) asker.observe('gauge', name, value, labels);
      },
      count: (target, name, labels) => {
        for (const asker of about(target)) asker.observe('counter', name, 1, labels);
      },
    };
    const onBug = (bug: string, target?: Target) => {
      if (target !== undefined) {
        questionOf(target)?.loop.spoil(bug);
        return;
      }
      // Whose timer it was is not known: none of those under way can be trusted to end.
      for (const { loop } of [...this.#questions.values()]) loop.spoil(bug);
    };
    const look = (open: number): number => {
      const servers = this.#questions.size;
      const most = MOST_OPEN + MOST_OPEN_PER_SERVER * servers;
      if (open <= most) return most;
      gates.onLeak(
        module.name,
        `${open} connections and sockets open for ${servers} server(s): it does not close them`,
      );
      return 2 * open;
    };
    const tools = makeTools(module.name, world, gates, notes, onBug, look);
    try {
      if (module.kind === 'poll') {
        const made = module.create(options, tools);
        demandFunction(made, 'check');
        const timing = module.timing(options);
        demandSeconds(timing, 'intervalSeconds', 'timeoutSeconds');
        if (timing.intervalSeconds === 0) throw new Error('its interval is 0');
        this.#freshMs = (timing.intervalSeconds + timing.timeoutSeconds) * 1000;
        this.#start = (context) => new PollLoop(context, made, timing);
      } else {
        const made = module.create(options, tools);
        demandFunction(made, 'watch');
        const timing = module.timing(options);
        demandSeconds(timing, 'connectTimeoutSeconds', 'reconnectTimeoutSeconds', 'maxDelaySeconds');
        this.#start = (context) => new WatchLoop(context, made, timing);
      }
    } catch (error) {
      const reason = `${module.name} cannot be set up: ${errorText(error)}`;
      this.broken = reason;
      this.#start = (context) => brokenLoop(context, reason);
    }
  }

  /** The whole name of a measurement: one text for all servers. */
  metric(name: string): string {
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      metric = `pybal_monitor_${this.monitor.module.name.toLowerCase()}_${name}`;
      this.#metrics.set(name, metric);
    }
    return metric;
  }

  /** Ask about the asker's target, or get the answers of the loop that does so already: the last one at once if it is fresh. */
  join(asker: Asker): Asking {
    const key = keyOf(asker.target());
    let question = this.#questions.get(key);
    if (question === undefined) {
      question = new Question(key, asker, this.#start, this.#questions, this.#byTarget);
      this.#questions.set(key, question);
    } else question.join(asker, this.#freshMs);
    return question;
  }
}

/** What a monitor makes may be of no type at all: that is a bug of its own and no word about a server. */
function demandFunction(made: unknown, name: string): void {
  if (typeof made !== 'object' || made === null || typeof Reflect.get(made, name) !== 'function')
    throw new Error(`create returned nothing that has ${name}`);
}

function demandSeconds(timing: object, ...names: readonly string[]): void {
  for (const name of names) {
    const seconds: unknown = Reflect.get(timing, name);
    if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= MOST_SECONDS))
      throw new Error(`timing says ${name} ${String(seconds)}`);
  }
}

function keyOf({ host, address, port }: Target): string {
  // Joined, it is one piece of text; put together by a template it would stay in pieces for as long as it is a key.
  return [host, address, port].join('\n');
}

/** One loop about one server, and everybody who wants to know. To the loop it is the one that asks. */
class Question implements LoopContext, Asking {
  readonly clock: Clock;
  readonly loop: Loop;
  /** Never empty while the loop runs. */
  askers: readonly [Asker, ...Asker[]];
  /** Somebody wants to know. */
  open = true;
  readonly #key: string;
  /** The instance's, where it stands by its key. */
  readonly #questions: Map<string, Question>;
  readonly #byTarget: WeakMap<Target, Question>;
  /** What the monitor was handed last: by now its asker may have a target of another port. */
  #target: Target | null = null;
  #last: Health | null = null;
  #lastLatencyMs = 0;
  #lastAt = 0;
  /** What the monitor may still write, and since when there is so much. */
  #lines = LINES_A_MINUTE;
  #linesAt: number;

  constructor(
    key: string,
    first: Asker,
    start: (context: LoopContext) => Loop,
    questions: Map<string, Question>,
    byTarget: WeakMap<Target, Question>,
  ) {
    this.#key = key;
    this.#questions = questions;
    this.askers = [first];
    this.clock = first.clock;
    this.#linesAt = first.clock.now();
    this.#byTarget = byTarget;
    this.loop = start(this);
  }

  get ticks(): Ticks {
    return this.askers[0].ticks;
  }
  get phase(): number {
    return this.askers[0].phase;
  }
  get path(): PathSource | null {
    return this.askers[0].path ?? null;
  }
  random(): number {
    return this.askers[0].random();
  }
  self(): Self {
    return this.askers[0].self();
  }
  /** Asked for by each check and connection as it begins, which gives it its lines of the log. */
  target(): Target {
    if (this.#lines < LINES_A_MINUTE) this.#lines += LINES_A_CHECK;
    const target = this.askers[0].target();
    if (target !== this.#target) {
      this.#target = target;
      this.#byTarget.set(target, this);
    }
    return target;
  }

  /** The monitor writes a line, if this is true. */
  mayLog(): boolean {
    if (this.#lines <= 0) {
      const now = this.clock.now();
      if (now - this.#linesAt < 60_000) return false;
      this.#lines = LINES_A_MINUTE;
      this.#linesAt = now;
    }
    this.#lines--;
    return true;
  }

  onStart(lateMs: number): void {
    this.askers[0].onStart(lateMs);
  }
  onResult(health: Health, latencyMs: number): void {
    this.#last = health;
    this.#lastLatencyMs = latencyMs;
    this.#lastAt = this.clock.now();
    for (const asker of this.askers) asker.onResult(health, latencyMs);
  }

  /** The pace of whoever is in the greatest hurry. */
  intervalMs(ownMs: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const asker of this.askers) least = Math.min(least, asker.intervalMs(ownMs));
    return least;
  }

  onAbandoned(last: boolean): void {
    for (const asker of this.askers) asker.onAbandoned(last);
  }

  join(asker: Asker, freshMs: number): void {
    this.askers = [...this.askers, asker];
    const last = this.#last;
    const at = this.#lastAt;
    if (last !== null && this.clock.now() - at <= freshMs) {
      this.clock.at(0, () => {
        const isLast = this.#last === last && this.#lastAt === at;
        if (isLast && this.askers.includes(asker)) asker.onResult(last, this.#lastLatencyMs);
      });
    }
    // The others may have slowed it down.
    this.loop.repace?.();
  }

  get busy(): boolean {
    return this.loop.busy;
  }
  get givenUp(): boolean {
    return this.loop.givenUp;
  }

  spoil(why: string): void {
    this.loop.spoil(why);
  }

  repace(): void {
    this.loop.repace?.();
  }

  stop(asker: Asker): Promise<void> {
    const [first, ...others] = this.askers.filter((other) => other !== asker);
    if (first !== undefined) {
      this.askers = [first, ...others];
      return Promise.resolve();
    }
    this.open = false;
    this.#questions.delete(this.#key);
    return this.#stopLoop();
  }

  async #stopLoop(): Promise<void> {
    await this.loop.stop();
    // What is held for the server is the new loop's, if there is one by now.
    if (this.#target !== null && !this.#questions.has(this.#key)) this.loop.forget?.(this.#target);
  }
}

/** The instances that services share: one for each monitor and set of options that is in use. */
export class SharedInstances {
  readonly #world: World;
  readonly #gates: Gates;
  readonly #held = new Map<Instance, { users: number }>();

  constructor(world: World, gates: Gates) {
    this.#world = world;
    this.#gates = gates;
  }

  /** Give it back by `release`. */
  acquire(monitor: MonitorToRun): Instance {
    for (const [instance, held] of this.#held) {
      const { module, options } = instance.monitor;
      if (module !== monitor.module || !equal(options, monitor.options)) continue;
      held.users++;
      return instance;
    }
    const instance = new Instance(monitor, this.#world, this.#gates);
    this.#held.set(instance, { users: 1 });
    return instance;
  }

  release(instance: Instance): void {
    const held = this.#held.get(instance);
    if (held !== undefined && --held.users === 0) this.#held.delete(instance);
  }
}

function brokenLoop(context: LoopContext, reason: string): Loop {
  const cancel = context.clock.at(0, () => context.onResult({ is: 'unknown', reason }, 0));
  return { busy: false, givenUp: false, spoil: () => {}, stop: () => Promise.resolve(cancel()) };
}
