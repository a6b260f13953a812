// One Poll monitor of one server, asked again and again: first soon, then on a fixed grid of its own, never two at a time,
// each time against a deadline. Made by instance.ts.

import { CheckCut } from './check-cut.ts';
import { type Ending, judge, TIMED_OUT, TOO_MANY } from './judge.ts';
import type { PathSource } from './path.ts';
import type { Health, PollInstance, Target } from './monitor.ts';
import type { Alarm, Sleeper, Ticks } from './ticks.ts';
import type { Clock, Mono, Self } from '../world/world.ts';

/** The first check of everything is spread over this time; so is what a reload adds. */
export const FIRST_SPREAD_MS = 1000;
/** After the cut, a check may still say in its own words why it did not finish. */
export const LAST_WORDS_MS = 50;
/** A check that ignores the cut keeps the next one waiting this long. */
const STUCK_MS = 30_000;
/** So many checks that never end, and no more are started: each of them holds memory. */
export const MAX_ABANDONED = 10;

/** What poll and watch loops need of their surroundings. */
export interface LoopContext {
  readonly clock: Clock;
  readonly ticks: Ticks;
  random(): number;
  self(): Self;
  /** In [0, 1): this loop's place among all others. */
  readonly phase: number;
  /** How checks reach the server through the path; null or absent: at its own address. */
  readonly path?: PathSource | null;
  target(): Target;
  /** A check of a grid starts, `lateMs` after its time. */
  onStart(lateMs: number): void;
  onResult(health: Health, latencyMs: number): void;
  /** From the start of the last check to that of the next, after its result; `ownMs` is what the monitor's options say. */
  intervalMs(ownMs: number): number;
  /** A check ignored the cut and was left behind; `last` when no more will be started. */
  onAbandoned(last: boolean): void;
}

/** Either kind of loop, as check.ts sees it. */
export interface Loop {
  /** A check is under way, or a connection held. */
  readonly busy: boolean;
  /** So many checks have never ended that no more are started, until one does. */
  readonly givenUp: boolean;
  /** Who asks may want another pace now. Not there where nothing is asked in intervals. */
  repace?(): void;
  /** The monitor is broken, or the way was lost: cut what is under way, and call it unknown for this reason. */
  spoil(why: string): void;
  /** Cut what is under way and report nothing any more. Resolves when it ended. */
  stop(): Promise<void>;
  /** After that: let go of what the monitor holds for the server, which it was last asked about as this target. */
  forget?(target: Target): void;
}

/** One check. */
class Run extends CheckCut {
  /** Set as soon as it has begun. */
  ended: Promise<void> | null = null;
  timedOut = false;
  told = false;
  readonly #loop: PollLoop;

  constructor(path: PathSource | null, startedAt: Mono, loop: PollLoop) {
    super(path, startedAt);
    this.#loop = loop;
  }

  override get current(): CheckCut {
    return this.told ? (this.#loop.underWay ?? this) : this;
  }

  override onSpoilt(): void {
    this.#loop.cutShort(this);
  }
}

export class PollLoop implements Loop, Sleeper {
  readonly #context: LoopContext;
  readonly #instance: PollInstance;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  /** A point of the grid. */
  readonly #gridStart: number;
  /** When the next tick is to be. */
  #due: number;
  readonly #next: Alarm;
  readonly #deadline: Alarm;
  #run: Run | null = null;
  #abandoned = 0;
  #stopped = false;
  #lastStart: number;
  /** The next tick is where the pace wants it. */
  #offGrid = false;
  #first = true;

  constructor(
    context: LoopContext,
    instance: PollInstance,
    timing: { readonly intervalSeconds: number; readonly timeoutSeconds: number },
  ) {
    this.#context = context;
    this.#instance = instance;
    this.#intervalMs = Math.max(1, timing.intervalSeconds * 1000);
    this.#timeoutMs = timing.timeoutSeconds * 1000;
    this.#lastStart = context.clock.now();
    this.#gridStart = context.clock.now() + context.phase * this.#intervalMs;
    const first = context.phase * Math.min(FIRST_SPREAD_MS, this.#intervalMs);
    this.#due = context.clock.now() + first;
    this.#next = context.ticks.alarm(this);
    this.#deadline = context.ticks.alarm(this);
    this.#waitOnGrid(first);
  }

  get busy(): boolean {
    return this.#run !== null;
  }

  get givenUp(): boolean {
    return this.#abandoned >= MAX_ABANDONED && this.#run?.told === true;
  }

  /** For its runs. */
  get underWay(): CheckCut | null {
    return this.#run;
  }

  spoil(why: string): void {
    this.#run?.spoil(why);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#next.clear();
    this.#run?.abort();
    await this.#run?.ended;
  }

  forget(target: Target): void {
    try {
      this.#instance.forget?.(target);
    } catch {
      // A bug in the monitor. There is nothing left that it could spoil, and nobody to tell.
    }
  }

  onAlarm(alarm: Alarm): void {
    if (alarm === this.#next) this.#tick();
    else this.#onDeadline();
  }

  #tick(): void {
    const now = this.#context.clock.now();
    // The first check comes early; one on the grid right after it would only repeat it. Nor is the clock's rounding to make two
    // of one.
    const apartMs = this.#first ? Math.min(FIRST_SPREAD_MS, this.#intervalMs) / 2 : this.#intervalMs / 8;
    const steps = Math.floor((now + apartMs - this.#gridStart) / this.#intervalMs) + 1;
    const next = this.#gridStart + Math.max(0, steps) * this.#intervalMs;
    this.#waitOnGrid(next - now);
    const lateMs = now - this.#due;
    this.#due = next;
    this.#first = this.#offGrid = false;
    const run = this.#run;
    if (run === null) {
      this.#context.onStart(lateMs);
      this.#start(now);
    } else if (run.told) this.#stillStuck(run, now);
    else if (run.turns > 0 && now - run.startedAt >= this.#intervalMs)
      this.#context.onResult({ is: 'unknown', reason: TOO_MANY }, now - run.startedAt);
  }

  /** The last check was cut and does not end. */
  #stillStuck(run: Run, now: Mono): void {
    if (now - run.startedAt >= this.#timeoutMs + STUCK_MS && this.#abandoned < MAX_ABANDONED) {
      this.#abandoned++;
      this.#context.onAbandoned(this.#abandoned === MAX_ABANDONED);
      this.#start(now);
    } else {
      const latencyMs = now - run.startedAt;
      this.#context.onResult(this.#judge(run, { returned: TIMED_OUT, timedOut: true }, latencyMs), latencyMs);
    }
  }

  #start(now: Mono): void {
    const run = new Run(this.#context.path ?? null, now, this);
    this.#lastStart = now;
    this.#run = run;
    if (this.#timeoutMs > 0) this.#deadline.set(this.#timeoutMs);
    run.ended = this.#check(run);
  }

  async #check(run: Run): Promise<void> {
    let ending: Ending;
    try {
      const returned = await this.#instance.check(this.#context.target(), run);
      ending = { returned, timedOut: run.timedOut };
    } catch (threw) {
      ending = { threw, timedOut: run.timedOut };
    }
    if (this.#run === run) {
      this.#deadline.clear();
      this.#run = null;
    } else this.#abandoned--;
    this.#tell(run, ending);
  }

  #tell(run: Run, ending: Ending): void {
    if (run.told || this.#stopped) return;
    run.told = true;
    const latencyMs = this.#context.clock.now() - run.startedAt;
    this.#context.onResult(this.#judge(run, ending, latencyMs), latencyMs);
    this.repace();
  }

  #judge(run: Run, ending: Ending, latencyMs: number): Health {
    return judge(ending, run, this.#context, Math.min(this.#timeoutMs, latencyMs - run.waitedMs));
  }

  /** A tick sets the next one on the grid: it may have to come sooner, or can wait. */
  repace(): void {
    if (this.#stopped) return;
    const wantedMs = this.#context.intervalMs(this.#intervalMs);
    if (wantedMs === this.#intervalMs && !this.#offGrid) return;
    this.#offGrid = wantedMs !== this.#intervalMs;
    const due = this.#lastStart + wantedMs;
    const onGrid = Math.floor((due - this.#gridStart) / this.#intervalMs) * this.#intervalMs + this.#gridStart;
    const now = this.#context.clock.now();
    const hurried = wantedMs < this.#intervalMs;
    this.#due = Math.max(now, hurried ? due : onGrid);
    this.#first = false;
    // Counted from the last start, which was late already: it would become later each time.
    if (hurried) this.#next.set(this.#due - now);
    else this.#waitOnGrid(this.#due - now);
  }

  /** A tenth of the interval more is not too late. */
  #waitOnGrid(delayMs: number): void {
    this.#next.set(delayMs, this.#intervalMs / 10);
  }

  #onDeadline(): void {
    const run = this.#run;
    const moreMs = run === null ? 0 : run.moreMs(this.#context.clock.now(), this.#timeoutMs);
    if (moreMs > 0) {
      this.#deadline.set(moreMs);
      return;
    }
    // Timers run before sockets are read: one more turn, in case the answer is already here and it was us who were late.
    this.#context.clock.at(0, () => {
      if (run === null || run.told || this.#stopped || this.#run !== run) return;
      run.timedOut = true;
      this.cutShort(run);
    });
  }

  /** For its runs. */
  cutShort(run: Run): void {
    if (run.told || this.#stopped) return;
    run.abort();
    this.#context.clock.at(LAST_WORDS_MS, () => this.#tell(run, { returned: TIMED_OUT, timedOut: run.timedOut }));
  }
}
