// Whether another writer keeps undoing our work. Pure: repairs are told, by key; a key that needed repair too often within a
// minute is left alone for a while, longer each time. Used by the reconciler.

import type { Mono } from '../world/world.ts';

interface Fight {
  readonly repairs: readonly Mono[];
  readonly rounds: number;
  /** Leave it alone until then. */
  readonly until: Mono;
}

export type Fights = ReadonlyMap<string, Fight>;

const WINDOW_MS = 60_000;
const TOLERATED = 5;
/** Longer than any reconcile period that makes sense: otherwise the first pause would be none. */
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 60_000;

/** A repair of each of `keys`. Keys that were quiet for a window, pauses aside, are forgotten. */
export function repaired(fights: Fights, keys: Iterable<string>, now: Mono): Fights {
  const next = new Map(
    [...fights].filter(([, { repairs, until }]) => now - Math.max(until, repairs.at(-1) ?? 0) < WINDOW_MS),
  );
  for (const key of keys) {
    const before = next.get(key);
    const repairs = [...(before?.repairs ?? []).filter((at) => now - at < WINDOW_MS), now];
    const rounds = before?.rounds ?? 0;
    if (repairs.length <= TOLERATED) {
      next.set(key, { repairs, rounds, until: before?.until ?? (0 as Mono) });
    } else {
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** rounds, LONGEST_PAUSE_MS);
      next.set(key, { repairs: [now], rounds: rounds + 1, until: (now + pause) as Mono });
    }
  }
  return next;
}

/** Keys that are left alone now. */
export function paused(fights: Fights, now: Mono): ReadonlySet<string> {
  return new Set([...fights].filter(([, { until }]) => now < until).map(([key]) => key));
}
