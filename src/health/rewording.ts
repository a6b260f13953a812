// Servers whose health is what it was but for other reasons: a 503 that became a 404. Somebody has to be told, but not in a
// hurry: each telling makes a decision, and reasons may have a number in them that differs each time. So all are told together
// on a grid, and who was told lately waits for a coarser one. Made by runner.ts, used by server.ts.

import type { Clock } from '../world/world.ts';

export const REWORDING_MS = 5000;
/** Whoever changes its words all the time is told at every so many points of the grid, a power of 2. */
export const MOST_PATIENCE = 8;

export interface Reworded {
  /** Tell the words as they are now. False: they are again what was told. */
  retell(): boolean;
}

interface Told {
  /** Points of the grid: when it was, and the next ones that it has to wait for. */
  readonly at: number;
  readonly every: number;
}

export class Rewording {
  readonly #clock: Clock;
  readonly #waiting = new Set<Reworded>();
  readonly #told = new Map<Reworded, Told>();
  #cancel: (() => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What it has to say has changed, but not its verdict. */
  note(server: Reworded): void {
    this.#waiting.add(server);
    this.#wait();
  }

  /** It is not there any more. */
  forget(server: Reworded): void {
    this.#waiting.delete(server);
    this.#told.delete(server);
  }

  stop(): void {
    this.#waiting.clear();
    this.#told.clear();
    this.#cancel?.();
    this.#cancel = null;
  }

  #wait(): void {
    if (this.#cancel !== null || this.#waiting.size === 0) return;
    const now = this.#clock.now();
    const next = Math.floor(now / REWORDING_MS) + 1;
    this.#cancel = this.#clock.at(next * REWORDING_MS - now, () => {
      this.#cancel = null;
      this.#tell(next);
      this.#wait();
    });
  }

  #tell(at: number): void {
    for (const server of this.#waiting) {
      const every = this.#patience(server, at);
      if (at % every !== 0) continue;
      this.#waiting.delete(server);
      if (server.retell()) this.#told.set(server, { at, every });
    }
  }

  /** Twice as much each time, until it has kept to its words for a while. */
  #patience(server: Reworded, at: number): number {
    const told = this.#told.get(server);
    return told === undefined || at - told.at > 2 * MOST_PATIENCE ? 1 : Math.min(2 * told.every, MOST_PATIENCE);
  }
}
