// The weight that a server gets: the pool list's, and what its monitors make of it. Pure; called by service.ts.

import type { Weighting } from './facts.ts';

/** As in pool lists. */
const MAX_WEIGHT = 65_535;

/**
 * 0 in the pool list is an administrator's word, which no monitor lifts. A share that is more than nothing never becomes
 * nothing by rounding.
 */
export function weightOf(listed: number, weighting: Weighting | undefined): number {
  if (weighting === undefined || listed === 0) return listed;
  const share = weighting.drain ? 0 : ((weighting.weight ?? listed) * weighting.percent) / 100;
  return share <= 0 ? 0 : Math.min(Math.max(Math.round(share), 1), MAX_WEIGHT);
}
