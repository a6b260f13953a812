// A bound on waiting: a call that never settles must not take its caller with it.

import type { Clock } from '../world/world.ts';
import type { Cut } from './cut.ts';

/** The promise's own outcome; null when `ms` passed, or the cut came, first. What the promise does later is up to who keeps it. */
export function inTime<T>(
  clock: Pick<Clock, 'at'>,
  ms: number,
  promise: Promise<T>,
  cut: Cut | null = null,
): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const done = () => {
      disarm();
      forget();
    };
    const disarm = clock.at(ms, () => {
      done();
      resolve(null);
    });
    let forget = (): void => {};
    promise.then(
      (value) => {
        done();
        resolve(value);
      },
      (error: unknown) => {
        done();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
    forget =
      cut?.onAbort(() => {
        disarm();
        resolve(null);
      }) ?? forget;
  });
}
