// From one wish of an Adj-RIB-Out to the next, and which routes of a wish are sent alike. rib.ts acts on it.

import type { Route } from '../decision/decision.ts';
import { familyOf } from '../lib/address.ts';
import { type Entry, newEntry } from './queue.ts';

export interface Difference<Owner> {
  /** The whole new wish. */
  readonly wanted: Entry<Owner>[];
  readonly came: Entry<Owner>[];
  /** With another route for the same address. */
  readonly changed: Entry<Owner>[];
  readonly gone: Entry<Owner>[];
}

/**
 * From one wish to the next, by identity; entries of what changed get their new route. Least work for lists in the same
 * order, right for any.
 */
export function difference<Owner>(before: readonly Entry<Owner>[], routes: readonly Route[]): Difference<Owner> {
  // Nearly all of a long wish is usually the same: that costs one look each, and no new list of it.
  const least = Math.min(before.length, routes.length);
  let head = 0;
  while (head < least && before[head]?.route === routes[head]) head++;
  let tail = 0;
  while (tail < least - head && before[before.length - 1 - tail]?.route === routes[routes.length - 1 - tail]) tail++;
  const middle = { came: [], changed: [], gone: [] };
  const between = differing<Owner>(
    before.slice(head, before.length - tail),
    routes.slice(head, routes.length - tail),
    middle,
  );
  return { wanted: before.slice(0, head).concat(between, before.slice(before.length - tail)), ...middle };
}

/** Returns what stands in the place of `before`. */
function differing<Owner>(
  before: readonly Entry<Owner>[],
  routes: readonly Route[],
  found: Pick<Difference<Owner>, 'came' | 'changed' | 'gone'>,
): Entry<Owner>[] {
  const wanted: Entry<Owner>[] = [];
  for (let i = 0, j = 0; i < before.length || j < routes.length; ) {
    const old = before[i];
    const route = routes[j];
    if (old === undefined || (route !== undefined && route.address < old.route.address)) {
      j++;
      if (route === undefined) continue;
      const prefix = newEntry<Owner>(route, familyOf(route.address));
      found.came.push(prefix);
      wanted.push(prefix);
    } else if (route === undefined || old.route.address < route.address) {
      i++;
      found.gone.push(old);
    } else {
      i++;
      j++;
      wanted.push(old);
      if (old.route === route) continue;
      old.route = route;
      found.changed.push(old);
    }
  }
  return wanted;
}

/** The usual case, without making a text of it: routes of one peer share their lists. */
export function sameButAddress<Owner>(
  { route: a, family }: Entry<Owner>,
  { route: b, family: other }: Entry<Owner>,
): boolean {
  return (
    a.nextHop === b.nextHop &&
    a.med === b.med &&
    a.localPref === b.localPref &&
    a.asPath === b.asPath &&
    a.communities === b.communities &&
    a.largeCommunities === b.largeCommunities &&
    a.extendedCommunities === b.extendedCommunities &&
    a.prepends === b.prepends &&
    a.linkBandwidth === b.linkBandwidth &&
    family === other
  );
}

/** Equal for routes that differ in their address only. */
export function spellingOf({ address, ...attributes }: Route): string {
  return `${familyOf(address)} ${JSON.stringify(attributes)}`;
}
