// A bound on waiting for the world: a call that never settles must not take its caller with it.

import { SystemError } from '../lib/errors.ts';
import type { Clock } from '../world/world.ts';

/** The promise's own outcome, or ETIMEDOUT after `ms`. What it does afterwards is awaited by nobody. */
export function within<T>(clock: Clock, ms: number, call: string, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.at(ms, () => reject(new SystemError('ETIMEDOUT', call, `no answer in ${ms / 1000} s`)));
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
