// When checks start and end: on ticks of 20 ms that all of them share, with one timer for each tick that has something to do.
// A thousand checks a second, each with timers of its own, wake the process up as often, and that costs as much again as the
// checks do. Made by runner.ts, used by the loops.

import type { Clock } from '../world/world.ts';

export const TICK_MS = 20;

interface Tick {
  readonly due: Set<() => void>;
  readonly cancel: () => void;
}

export class Ticks {
  readonly #clock: Clock;
  /** By time, in ticks. */
  readonly #ticks = new Map<number, Tick>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** As Clock.at, at the first tick that is not before. The function must be another one each time it waits. */
  at(delayMs: number, fn: () => void): () => void {
    const now = this.#clock.now();
    const time = Math.ceil((now + Math.max(0, delayMs)) / TICK_MS);
    let tick = this.#ticks.get(time);
    if (tick === undefined) {
      const cancel = this.#clock.at(time * TICK_MS - now, () => this.#run(time));
      this.#ticks.set(time, (tick = { due: new Set(), cancel }));
    }
    const { due } = tick;
    due.add(fn);
    return () => {
      if (!due.delete(fn) || due.size > 0 || this.#ticks.get(time)?.due !== due) return;
      this.#ticks.get(time)?.cancel();
      this.#ticks.delete(time);
    };
  }

  #run(time: number): void {
    const tick = this.#ticks.get(time);
    // What is added from now on, even for this very time, comes in a turn of its own.
    this.#ticks.delete(time);
    if (tick !== undefined) for (const fn of tick.due) fn();
  }
}
