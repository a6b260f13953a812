// Bounds how many of one kind of thing are under way at once. Whoever comes first goes first. Used by tools.ts.

import type { Cut } from '../lib/cut.ts';
import { SystemError } from '../lib/errors.ts';

export class Gate {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get inside(): number {
    return this.#inside;
  }
  get waiting(): number {
    return this.#waiting.size;
  }

  /** In, without waiting, or not. Whoever is in calls `leave` once. */
  enterAtOnce(cut: Cut): boolean {
    if (cut.aborted || this.#inside >= this.#limit) return false;
    this.#inside++;
    return true;
  }

  /** Resolves when in, or rejects with ECANCELED when cut while waiting. */
  enter(cut: Cut): Promise<void> {
    if (cut.aborted) return Promise.reject(new SystemError('ECANCELED', 'wait for a turn'));
    if (this.enterAtOnce(cut)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const go = () => {
        forget();
        resolve();
      };
      this.#waiting.add(go);
      const forget = cut.onAbort(() => {
        this.#waiting.delete(go);
        reject(new SystemError('ECANCELED', 'wait for a turn'));
      });
    });
  }

  /** The place of the one that leaves goes to the one that waited longest. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#inside--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
