// How soon a server is asked again: the monitor's own interval, a shorter one while results contradict the verdict, a longer one
// when it has been down for long. Pure; called by check.ts after each result.

import type { Pace } from '../config/types.ts';
import type { Mono } from '../world/world.ts';
import type { MonitorState } from './rise.ts';

/** From the start of one check to that of the next, ms. `ownMs` is what the monitor's options say. */
export function intervalFor(state: MonitorState, pace: Pace, ownMs: number, now: Mono): number {
  const { fastIntervalSeconds, slowIntervalSeconds, slowAfterSeconds } = pace;
  // Our own fault is no reason to ask more often, and the server should not wait for long when it is over.
  if (state.blind !== null || state.known === null) return ownMs;
  if (state.against > 0) return fastIntervalSeconds === null ? ownMs : Math.min(ownMs, fastIntervalSeconds * 1000);
  const dead = state.known === 'down' && now - state.since >= slowAfterSeconds * 1000;
  return dead && slowIntervalSeconds !== null ? Math.max(ownMs, slowIntervalSeconds * 1000) : ownMs;
}
