// One Watch monitor of one server: called again whenever it ended, with PyBal's back-off (Twisted's
// ReconnectingClientFactory) while the server is down. Made by instance.ts.

import type { Health, WatchInstance } from './monitor.ts';
import type { PathSource } from './path.ts';
import { FIRST_SPREAD_MS, LAST_WORDS_MS, type Loop, type LoopContext, MAX_ABANDONED } from './poll.ts';
import type { Alarm, Sleeper } from './ticks.ts';
import { CheckCut } from './check-cut.ts';
import { bugText } from './fence.ts';
import { asHealth, type Ending, judge, TIMED_OUT } from './judge.ts';
import type { Mono } from '../world/world.ts';

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

/** One connection, from the moment that it is wanted. */
class Run extends CheckCut {
  readonly timeoutMs: number;
  timedOut = false;
  /** For who waits for its end. */
  onEnded: (() => void) | null = null;
  readonly #loop: WatchLoop;

  constructor(path: PathSource | null, startedAt: Mono, timeoutMs: number, loop: WatchLoop) {
    super(path, startedAt);
    this.timeoutMs = timeoutMs;
    this.#loop = loop;
  }

  override onSpoilt(): void {
    this.#loop.cutShort(this);
  }
}

export class WatchLoop implements Loop, Sleeper {
  readonly #context: LoopContext;
  readonly #instance: WatchInstance;
  readonly #timing: Timing;
  /** Of the next start, and then of its deadline. */
  readonly #alarm: Alarm;
  #timeoutSeconds: number;
  #run: Run | null = null;
  /** The deadline has passed, and this comes next. */
  #cancelNext: (() => void) | null = null;
  /** The last one; null: none since it was up. */
  #delayMs: number | null = null;
  #abandoned = 0;
  #stopped = false;

  constructor(context: LoopContext, instance: WatchInstance, timing: Timing) {
    this.#context = context;
    this.#instance = instance;
    this.#timing = timing;
    this.#timeoutSeconds = timing.connectTimeoutSeconds;
    this.#alarm = context.ticks.alarm(this);
    this.#alarm.set(context.phase * FIRST_SPREAD_MS);
  }

  get busy(): boolean {
    return this.#run !== null;
  }

  get givenUp(): boolean {
    return this.#abandoned >= MAX_ABANDONED;
  }

  spoil(why: string): void {
    this.#run?.spoil(why);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#disarm();
    const run = this.#run;
    if (run === null) return;
    const ended = new Promise<void>((resolve) => {
      run.onEnded = resolve;
    });
    run.abort();
    await ended;
  }

  onAlarm(): void {
    if (this.#run === null) this.#start();
    else this.#onDeadline(this.#run);
  }

  #disarm(): void {
    this.#alarm.clear();
    this.#cancelNext?.();
    this.#cancelNext = null;
  }

  #start(): void {
    const timeoutMs = this.#timeoutSeconds * 1000;
    const run = new Run(this.#context.path ?? null, this.#context.clock.now(), timeoutMs, this);
    this.#run = run;
    if (timeoutMs > 0) this.#alarm.set(timeoutMs);
    this.#watch(run);
  }

  /** No async function: it would be held as long as the connection. */
  #watch(run: Run): void {
    const report = (health: Health) => this.#onReport(run, health);
    let ending: Promise<unknown>;
    try {
      ending = Promise.resolve(this.#instance.watch(this.#context.target(), report, run));
    } catch (threw) {
      ending = Promise.reject(threw);
    }
    ending.then(
      (returned: unknown) => this.#onEnd(run, { returned }),
      (threw: unknown) => this.#onEnd(run, { threw }),
    );
  }

  #onReport(run: Run, health: Health): void {
    if (this.#run !== run || run.aborted) return;
    const latencyMs = this.#context.clock.now() - run.startedAt;
    this.#disarm();
    const seen = asHealth(health);
    if (seen.is === 'up') this.#delayMs = null;
    this.#context.onResult(seen, latencyMs);
  }

  #onDeadline(run: Run): void {
    const moreMs = run.moreMs(this.#context.clock.now(), run.timeoutMs);
    if (moreMs > 0) {
      this.#alarm.set(moreMs);
      return;
    }
    // Timers run before sockets are read: one more turn, in case it is us who were late.
    this.#cancelNext = this.#context.clock.at(0, () => {
      run.timedOut = true;
      this.cutShort(run);
    });
  }

  /** For its runs. */
  cutShort(run: Run): void {
    if (this.#run !== run || this.#stopped) return;
    this.#disarm();
    run.abort();
    this.#cancelNext = this.#context.clock.at(LAST_WORDS_MS, () => this.#abandon(run));
  }

  /** It ignores the cut. The server is down all the same, and asked again, unless too many hang like this. */
  #abandon(run: Run): void {
    if (this.#run !== run) return;
    this.#run = null;
    this.#abandoned++;
    const last = this.#abandoned >= MAX_ABANDONED;
    this.#context.onAbandoned(last);
    const heldMs = this.#context.clock.now() - run.startedAt;
    this.#context.onResult(this.#judge(run, { returned: TIMED_OUT, timedOut: true }, heldMs), heldMs);
    if (!last) this.#retry(this.#timing.maxDelaySeconds * 1000);
  }

  #onEnd(run: Run, how: { returned: unknown } | { threw: unknown }): void {
    run.onEnded?.();
    if (this.#run !== run) {
      const waits = this.#abandoned-- === MAX_ABANDONED;
      if (waits && !this.#stopped) this.#retry(this.#timing.maxDelaySeconds * 1000);
      return;
    }
    this.#disarm();
    this.#run = null;
    if (this.#stopped) return;
    const { clock } = this.#context;
    const heldMs = clock.now() - run.startedAt;
    const means = 'returned' in how ? meaningOf(how.returned) : null;
    if (means === 'unchanged' && !run.timedOut && run.spoilt === null) {
      this.#again(Math.max(0, MIN_HOLD_MS - heldMs), this.#timing.reconnectTimeoutSeconds);
      return;
    }
    const { timedOut } = run;
    const ending = 'threw' in how ? { threw: how.threw, timedOut } : { returned: means, timedOut };
    const health = this.#judge(run, ending, heldMs);
    this.#context.onResult(health, heldMs);
    if (health.is === 'up') this.#again(Math.max(0, MIN_HOLD_MS - heldMs), this.#timing.reconnectTimeoutSeconds);
    else this.#retry(health.is === 'unknown' ? OWN_FAULT_MAX_DELAY_MS : this.#timing.maxDelaySeconds * 1000);
  }

  #judge(run: Run, ending: Ending, heldMs: number): Health {
    return judge(ending, run, this.#context, Math.min(run.timeoutMs, heldMs - run.waitedMs));
  }

  #retry(maxDelayMs: number): void {
    const delay = Math.min((this.#delayMs ?? INITIAL_DELAY_MS) * FACTOR, maxDelayMs);
    const spread = delay + delay * JITTER * this.#normal();
    const pauseMs = Math.min(Math.max(spread, INITIAL_DELAY_MS / 10), maxDelayMs);
    // One that has been dead for long is asked seldom still, when a fault of ours between was over soon.
    this.#delayMs = Math.max(pauseMs, this.#delayMs ?? 0);
    this.#again(pauseMs, this.#timing.connectTimeoutSeconds);
  }

  #again(delayMs: number, timeoutSeconds: number): void {
    this.#timeoutSeconds = timeoutSeconds;
    // Not on the next tick: the end of thousands of connections is told sooner.
    if (delayMs <= 0) this.#start();
    else this.#alarm.set(delayMs);
  }

  /** Normally distributed, mean 0, deviation 1 (Box and Muller). */
  #normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#context.random()));
    return radius * Math.cos(2 * Math.PI * this.#context.random());
  }
}

function meaningOf(returned: unknown): unknown {
  try {
    return typeof returned === 'object' && returned !== null && 'means' in returned ? returned.means : undefined;
  } catch (error) {
    // An attribute that throws when somebody looks.
    return { is: 'unknown', reason: bugText(error) };
  }
}
