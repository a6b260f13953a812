// One Watch monitor of one server: called again whenever it ended, with PyBal's back-off (Twisted's
// ReconnectingClientFactory) while the server is down. Made by service.ts.

import type { Health, WatchInstance } from './monitor.ts';
import { FIRST_SPREAD_MS, LAST_WORDS_MS, type Loop, type LoopContext, MAX_ABANDONED } from './poll.ts';
import { asHealth, CheckCut, judge, TIMED_OUT } from './tools.ts';

/** At most one connection in this time, though the server closes each at once. */
const MIN_HOLD_MS = 1000;
/** When it was our own fault the server need not wait long for a new try. */
const OWN_FAULT_MAX_DELAY_MS = 10_000;

// Twisted: initialDelay, factor, jitter (the molar Planck constant times c), which spreads delays normally.
const INITIAL_DELAY_MS = 1000;
const FACTOR = Math.E;
const JITTER = 0.11962656472;

interface Timing {
  readonly connectTimeoutSeconds: number;
  readonly reconnectTimeoutSeconds: number;
  readonly maxDelaySeconds: number;
}

interface Run {
  readonly cut: CheckCut;
  readonly startedAt: number;
  readonly timeoutMs: number;
  /** Null only until `watch` has returned. */
  ended: Promise<void> | null;
  cancelDeadline: (() => void) | null;
  timedOut: boolean;
}

export class WatchLoop implements Loop {
  readonly #context: LoopContext;
  readonly #instance: WatchInstance;
  readonly #timing: Timing;
  #cancelStart: (() => void) | null;
  #run: Run | null = null;
  #delayMs = INITIAL_DELAY_MS;
  #abandoned = 0;
  #stopped = false;

  constructor(context: LoopContext, instance: WatchInstance, timing: Timing) {
    this.#context = context;
    this.#instance = instance;
    this.#timing = timing;
    this.#cancelStart = context.ticks.at(context.phase * FIRST_SPREAD_MS, () =>
      this.#start(timing.connectTimeoutSeconds),
    );
  }

  get busy(): boolean {
    return this.#run !== null;
  }

  fail(bug: string): void {
    this.#run?.cut.fail(bug);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelStart?.();
    this.#run?.cancelDeadline?.();
    this.#run?.cut.abort();
    await this.#run?.ended;
  }

  #start(timeoutSeconds: number): void {
    const { clock, ticks } = this.#context;
    const cut = new CheckCut(this.#context.path);
    const timeoutMs = timeoutSeconds * 1000;
    const run: Run = { cut, startedAt: clock.now(), timeoutMs, ended: null, cancelDeadline: null, timedOut: false };
    this.#run = run;
    this.#cancelStart = null;
    cut.onBug = () => this.#cutShort(run);
    if (timeoutMs > 0) run.cancelDeadline = ticks.at(timeoutMs, () => this.#onDeadline(run));
    // Last: it may report before it returns.
    run.ended = this.#watch(run);
  }

  async #watch(run: Run): Promise<void> {
    let how: { returned: unknown } | { threw: unknown };
    try {
      const target = this.#context.target();
      how = { returned: await this.#instance.watch(target, (health) => this.#onReport(run, health), run.cut) };
    } catch (threw) {
      how = { threw };
    }
    this.#onEnd(run, how);
  }

  #onReport(run: Run, health: Health): void {
    if (this.#run !== run || run.cut.aborted) return;
    const latencyMs = this.#context.clock.now() - run.startedAt;
    run.cancelDeadline?.();
    run.cancelDeadline = null;
    const seen = asHealth(health);
    if (seen.is === 'up') this.#delayMs = INITIAL_DELAY_MS;
    this.#context.onResult(seen, latencyMs);
  }

  #onDeadline(run: Run): void {
    const { clock } = this.#context;
    // Timers run before sockets are read: one more turn, in case it is us who were late.
    run.cancelDeadline = clock.at(1, () => {
      run.timedOut = true;
      this.#cutShort(run);
    });
  }

  #cutShort(run: Run): void {
    if (this.#run !== run || this.#stopped) return;
    run.cancelDeadline?.();
    run.cut.abort();
    run.cancelDeadline = this.#context.clock.at(LAST_WORDS_MS, () => this.#abandon(run));
  }

  /** It ignores the cut. The server is down all the same, and asked again, unless too many hang like this. */
  #abandon(run: Run): void {
    if (this.#run !== run) return;
    this.#run = null;
    this.#abandoned++;
    const last = this.#abandoned >= MAX_ABANDONED;
    this.#context.onAbandoned(last);
    const heldMs = this.#context.clock.now() - run.startedAt;
    const ending = { returned: TIMED_OUT, timedOut: true };
    this.#context.onResult(judge(ending, run.cut, this.#lateMs(run, heldMs), run.timeoutMs), heldMs);
    if (!last) this.#retry(this.#timing.maxDelaySeconds * 1000);
  }

  #onEnd(run: Run, how: { returned: unknown } | { threw: unknown }): void {
    run.cancelDeadline?.();
    if (this.#run !== run) {
      const waits = this.#abandoned-- === MAX_ABANDONED;
      if (waits && !this.#stopped) this.#retry(this.#timing.maxDelaySeconds * 1000);
      return;
    }
    this.#run = null;
    if (this.#stopped) return;
    const { clock } = this.#context;
    const heldMs = clock.now() - run.startedAt;
    const means = 'returned' in how ? meaningOf(how.returned) : null;
    if (means === 'unchanged' && !run.timedOut && run.cut.bug === null) {
      this.#again(Math.max(0, MIN_HOLD_MS - heldMs), this.#timing.reconnectTimeoutSeconds);
      return;
    }
    const ending = 'threw' in how ? how : { returned: means };
    const health = judge({ ...ending, timedOut: run.timedOut }, run.cut, this.#lateMs(run, heldMs), run.timeoutMs);
    this.#context.onResult(health, heldMs);
    if (health.is === 'up') this.#again(Math.max(0, MIN_HOLD_MS - heldMs), this.#timing.reconnectTimeoutSeconds);
    else this.#retry(health.is === 'unknown' ? OWN_FAULT_MAX_DELAY_MS : this.#timing.maxDelaySeconds * 1000);
  }

  #lateMs(run: Run, heldMs: number): number {
    return Math.max(this.#context.self().loopLateMs, run.timedOut ? heldMs - run.timeoutMs - LAST_WORDS_MS : 0);
  }

  #retry(maxDelayMs: number): void {
    const delay = Math.min(this.#delayMs * FACTOR, maxDelayMs);
    const spread = delay + delay * JITTER * this.#normal();
    this.#delayMs = Math.min(Math.max(spread, INITIAL_DELAY_MS / 10), maxDelayMs);
    this.#again(this.#delayMs, this.#timing.connectTimeoutSeconds);
  }

  #again(delayMs: number, timeoutSeconds: number): void {
    // Not on the next tick: the end of thousands of connections is told sooner.
    if (delayMs <= 0) this.#start(timeoutSeconds);
    else this.#cancelStart = this.#context.ticks.at(delayMs, () => this.#start(timeoutSeconds));
  }

  /** Normally distributed, mean 0, deviation 1 (Box and Muller). */
  #normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#context.random()));
    return radius * Math.cos(2 * Math.PI * this.#context.random());
  }
}

function meaningOf(returned: unknown): unknown {
  return typeof returned === 'object' && returned !== null && 'means' in returned ? returned.means : undefined;
}
