// A bound on waiting: a call that never settles must not take its caller with it.

import type { Clock } from '../world/world.ts';
import { type Cut, knifeWithin } from './cut.ts';
import { SystemError } from './errors.ts';

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

/** A Cut that is also cut after `ms`. Call `release` when done. */
export function cutAfter(
  clock: Pick<Clock, 'at'>,
  ms: number,
  outer: Cut,
): { readonly cut: Cut; readonly release: () => void } {
  const { knife, release } = knifeWithin(outer);
  const disarm = clock.at(ms, () => knife.abort());
  return {
    cut: knife,
    release() {
      disarm();
      release();
    },
  };
}

/** The promise's own outcome, or ETIMEDOUT after `ms`. */
export async function within<T>(clock: Pick<Clock, 'at'>, ms: number, call: string, promise: Promise<T>): Promise<T> {
  const done = await inTime(
    clock,
    ms,
    promise.then((value) => ({ value })),
  );
  if (done === null) throw new SystemError('ETIMEDOUT', call, `no answer in ${ms / 1000} s`);
  return done.value;
}
