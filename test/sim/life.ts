// One run of a process on a simulated machine. Everything that the world tells a process goes through `enter`: a process
// that was killed hears nothing any more (its promises stay pending for ever, as after kill -9, so no `finally` cleans up),
// a stopped one (SIGSTOP, a stalled event loop) hears it when it goes on, in order.

import { Stalls } from '../../src/lib/stalls.ts';
import type { Scheduler } from './scheduler.ts';

export class Life {
  readonly #scheduler: Scheduler;
  #is: 'running' | 'stopped' | 'dead' = 'running';
  #waiting: (() => void)[] = [];
  #stoppedAt = 0;
  /** How late the event loop was at the end of the last stop, and when that was. */
  #late = { ms: 0, at: Number.NEGATIVE_INFINITY };
  readonly #stalls = new Stalls();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  get alive(): boolean {
    return this.#is !== 'dead';
  }

  get running(): boolean {
    return this.#is === 'running';
  }

  /** What a process measures of its own event loop: a stall shows for a second after it ended. */
  get loopLateMs(): number {
    return this.#scheduler.now - this.#late.at <= 1000 ? this.#late.ms : 0;
  }

  /** `at`: of the scheduler. */
  lateSince(at: number): number {
    return this.#stalls.longestSince(at);
  }

  stalledSince(at: number): number {
    return this.#stalls.sumSince(at);
  }

  enter(fn: () => void): void {
    if (this.#is === 'running') fn();
    else if (this.#is === 'stopped') this.#waiting.push(fn);
  }

  /** Call `fn` inside the process after a delay, if it is then alive. Returns a function that cancels it. */
  after(delayMs: number, fn: () => void): () => void {
    let cancelled = false;
    const cancel = this.#scheduler.at(delayMs, () =>
      this.enter(() => {
        if (!cancelled) fn();
      }),
    );
    return () => {
      cancelled = true;
      cancel();
    };
  }

  /** A promise that settles only while the process lives. */
  promise<T>(start: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      start(
        (value) => this.enter(() => resolve(value)),
        (error) => this.enter(() => reject(error)),
      );
    });
  }

  stop(): void {
    if (this.#is !== 'running') return;
    this.#is = 'stopped';
    this.#stoppedAt = this.#scheduler.now;
  }

  /** What waited is told one event after the other, so that promise work happens between. */
  go(): void {
    if (this.#is !== 'stopped') return;
    this.#late = { ms: this.#scheduler.now - this.#stoppedAt, at: this.#scheduler.now };
    this.#stalls.add(this.#late.at, this.#late.ms);
    const next = (): void => {
      if (this.#is !== 'stopped') return;
      const fn = this.#waiting.shift();
      if (fn === undefined) {
        this.#is = 'running';
        return;
      }
      fn();
      this.#scheduler.at(0, next);
    };
    next();
  }

  kill(): void {
    this.#is = 'dead';
    this.#waiting = [];
  }
}
