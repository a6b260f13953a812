// One Poll monitor of one server, asked again and again: first soon, then on a fixed grid of its own, never two at a time,
// each time against a deadline. Made by service.ts.

import { CheckCut, judge, TIMED_OUT, TOO_MANY } from './tools.ts';
import type { PathSource } from './path.ts';
import type { Health, PollInstance, Target } from './monitor.ts';
import type { Ticks } from './ticks.ts';
import type { Clock, Self } from '../world/world.ts';

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
  /** Who asks may want another pace now. Not there where nothing is asked in intervals. */
  repace?(): void;
  /** The monitor is broken, or the way was lost: cut what is under way, and call it unknown for this reason. */
  fail(bug: string): void;
  /** Cut what is under way and report nothing any more. Resolves when it ended. */
  stop(): Promise<void>;
}

interface Run {
  readonly cut: CheckCut;
  readonly startedAt: number;
  ended: Promise<void> | null;
  cancelDeadline: (() => void) | null;
  timedOut: boolean;
  told: boolean;
}

export class PollLoop implements Loop {
  readonly #context: LoopContext;
  readonly #instance: PollInstance;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  /** A point of the grid. */
  readonly #gridStart: number;
  /** When the next tick is to be. */
  #due: number;
  #cancelTick: () => void;
  #run: Run | null = null;
  #abandoned = 0;
  #stopped = false;
  #lastStart: number;
  /** The next tick is where the pace wants it. */
  #offGrid = false;

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
    // The first check comes early; one on the grid right after it would only repeat it.
    const notBefore = Math.min(FIRST_SPREAD_MS, this.#intervalMs) / 2;
    this.#due = context.clock.now() + first;
    this.#cancelTick = context.ticks.at(first, () => this.#tick(notBefore));
  }

  get busy(): boolean {
    return this.#run !== null;
  }

  fail(bug: string): void {
    this.#run?.cut.fail(bug);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTick();
    this.#run?.cut.abort();
    await this.#run?.ended;
    try {
      this.#instance.forget?.(this.#context.target());
    } catch {
      // A bug in the monitor. There is nothing left that it could spoil, and nobody to tell.
    }
  }

  /** `notBeforeMs`: the next one is at least this far away, whatever the clock's rounding says of the grid. */
  #tick(notBeforeMs = this.#intervalMs / 8): void {
    const now = this.#context.clock.now();
    const steps = Math.floor((now + notBeforeMs - this.#gridStart) / this.#intervalMs) + 1;
    const next = this.#gridStart + Math.max(0, steps) * this.#intervalMs;
    this.#cancelTick = this.#context.ticks.at(next - now, () => this.#tick());
    const lateMs = now - this.#due;
    this.#due = next;
    this.#offGrid = false;
    const run = this.#run;
    if (run === null) {
      this.#context.onStart(lateMs);
      this.#start(now);
    } else if (run.told) this.#stillStuck(run, now);
    else if (run.cut.waiting > 0 && now - run.startedAt >= this.#intervalMs)
      this.#context.onResult({ is: 'unknown', reason: TOO_MANY }, now - run.startedAt);
  }

  /** The last check was cut and does not end. */
  #stillStuck(run: Run, now: number): void {
    if (now - run.startedAt >= this.#timeoutMs + STUCK_MS && this.#abandoned < MAX_ABANDONED) {
      this.#abandoned++;
      this.#context.onAbandoned(this.#abandoned === MAX_ABANDONED);
      this.#start(now);
    } else {
      const health = judge({ returned: TIMED_OUT, timedOut: true }, run.cut, 0, this.#timeoutMs);
      this.#context.onResult(health, now - run.startedAt);
    }
  }

  #start(now: number): void {
    const cut = new CheckCut(this.#context.path);
    const run: Run = { cut, startedAt: now, ended: null, cancelDeadline: null, timedOut: false, told: false };
    this.#lastStart = now;
    this.#run = run;
    cut.onBug = () => this.#cutShort(run);
    if (this.#timeoutMs > 0) run.cancelDeadline = this.#context.ticks.at(this.#timeoutMs, () => this.#onDeadline(run));
    run.ended = this.#check(run);
  }

  async #check(run: Run): Promise<void> {
    let how: { returned: unknown } | { threw: unknown };
    try {
      how = { returned: await this.#instance.check(this.#context.target(), run.cut) };
    } catch (threw) {
      how = { threw };
    }
    this.#settle(run, how);
  }

  #settle(run: Run, how: { returned: unknown } | { threw: unknown }): void {
    run.cancelDeadline?.();
    if (this.#run === run) this.#run = null;
    else this.#abandoned--;
    this.#tell(run, how);
  }

  #tell(run: Run, how: { returned: unknown } | { threw: unknown }): void {
    if (run.told || this.#stopped) return;
    run.told = true;
    const { clock } = this.#context;
    const latencyMs = clock.now() - run.startedAt;
    const lateMs = run.timedOut ? this.#lateMs(latencyMs) : 0;
    const health = judge({ ...how, timedOut: run.timedOut }, run.cut, lateMs, this.#timeoutMs);
    this.#context.onResult(health, latencyMs);
    this.repace();
  }

  #lateMs(latencyMs: number): number {
    return Math.max(this.#context.self().loopLateMs, latencyMs - this.#timeoutMs - LAST_WORDS_MS);
  }

  /** A tick sets the next one on the grid: it may have to come sooner, or can wait. */
  repace(): void {
    if (this.#stopped) return;
    const wantedMs = this.#context.intervalMs(this.#intervalMs);
    if (wantedMs === this.#intervalMs && !this.#offGrid) return;
    this.#offGrid = wantedMs !== this.#intervalMs;
    const due = this.#lastStart + wantedMs;
    const onGrid = Math.floor((due - this.#gridStart) / this.#intervalMs) * this.#intervalMs + this.#gridStart;
    const { clock, ticks } = this.#context;
    this.#cancelTick();
    const now = clock.now();
    this.#due = Math.max(now, wantedMs < this.#intervalMs ? due : onGrid);
    this.#cancelTick = ticks.at(this.#due - now, () => this.#tick());
  }

  #onDeadline(run: Run): void {
    const { clock } = this.#context;
    // Timers run before sockets are read: one more turn, in case the answer is already here and it was us who were late.
    clock.at(1, () => {
      if (run.told || this.#stopped || this.#run !== run) return;
      run.timedOut = true;
      this.#cutShort(run);
    });
  }

  #cutShort(run: Run): void {
    if (run.told || this.#stopped) return;
    run.cut.abort();
    this.#context.clock.at(LAST_WORDS_MS, () => this.#tell(run, { returned: TIMED_OUT }));
  }
}
