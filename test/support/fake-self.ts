// The director's own condition (Self in world.ts), as a test wants it.

import type { Self } from '../../src/world/world.ts';

/** Its event loop is on time, or was late by so much in every check. */
export function fakeSelf(lateMs = 0, kernelId = ''): Self {
  return { loopLateMs: 0, lateSince: () => lateMs, stalledSince: () => lateMs, kernelId, addresses: [] };
}
