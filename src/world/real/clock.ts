// The operating system's clock: monotonic time and bounded timers. See Clock in world.ts.

import type { Cut } from '../../lib/cut.ts';
import type { Clock, Mono, Wall } from '../world.ts';

/** setTimeout's limit; longer waits are taken in several. */
const LONGEST_MS = 2 ** 31 - 1;

/** CLOCK_MONOTONIC through performance.now(): never steps, counted from the start of the process. */
export function createClock(): Clock {
  const now = () => performance.now() as Mono;

  function at(delayMs: number, fn: () => void): () => void {
    if (delayMs <= 0) {
      // A timer may fire again and again before the loop listens.
      const turn = setImmediate(fn);
      return () => clearImmediate(turn);
    }
    const due = performance.now() + delayMs;
    let timer: NodeJS.Timeout;
    const arm = (left: number) => {
      timer = setTimeout(fire, Math.min(Math.ceil(left), LONGEST_MS));
    };
    const fire = () => {
      // Node counts from the time at which this turn of the loop began, so it may be early by some milliseconds.
      const left = due - performance.now();
      if (left > 0) arm(left);
      else fn();
    };
    arm(due - performance.now());
    return () => clearTimeout(timer);
  }

  function sleep(ms: number, cut?: Cut): Promise<void> {
    if (cut?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = at(ms, () => {
        release?.();
        resolve();
      });
      const release = cut?.onAbort(() => {
        cancel();
        resolve();
      });
    });
  }

  return { now, wall: () => Date.now() as Wall, at, sleep };
}
