// From one wish of an Adj-RIB-Out to the next, and which routes of a wish are sent alike. rib.ts acts on it.

import type { Route } from '../decision/decision.ts';
import { familyOf } from '../lib/address.ts';
import type { PrefixTable } from './prefix-table.ts';

/** Rows of a PrefixTable. */
export interface Difference {
  /** The whole new wish. */
  readonly wanted: Int32Array;
  readonly came: readonly number[];
  /** With another route for the same address. */
  readonly changed: readonly number[];
  /** They still have their rows. */
  readonly gone: readonly number[];
}

/**
 * From one wish to the next, by identity. What came has its row, what changed its new route. Least work for lists in the same
 * order, right for any.
 */
export function difference<Owner>(table: PrefixTable<Owner>, before: Int32Array, routes: readonly Route[]): Difference {
  // Nearly all of a long wish is usually the same: that costs one look each.
  const same = (prefix: number | undefined, route: Route | undefined) =>
    prefix !== undefined && table.route(prefix) === route;
  const least = Math.min(before.length, routes.length);
  let head = 0;
  while (head < least && same(before[head], routes[head])) head++;
  let tail = 0;
  while (tail < least - head && same(before[before.length - 1 - tail], routes[routes.length - 1 - tail])) tail++;

  const wanted = new Int32Array(routes.length);
  wanted.set(before.subarray(0, head));
  wanted.set(before.subarray(before.length - tail), routes.length - tail);
  const [came, changed, gone]: [number[], number[], number[]] = [[], [], []];
  const [beforeEnd, routesEnd] = [before.length - tail, routes.length - tail];
  for (let i = head, j = head; i < beforeEnd || j < routesEnd; ) {
    const old = i < beforeEnd ? before[i] : undefined;
    const route = j < routesEnd ? routes[j] : undefined;
    const address = old === undefined ? '' : table.route(old).address;
    if (route !== undefined && (old === undefined || route.address < address)) {
      const prefix = table.add(route);
      came.push(prefix);
      wanted[j++] = prefix;
    } else if (old !== undefined && (route === undefined || address < route.address)) {
      i++;
      gone.push(old);
    } else if (old !== undefined && route !== undefined) {
      i++;
      wanted[j++] = old;
      if (table.route(old) === route) continue;
      table.setRoute(old, route);
      changed.push(old);
    }
  }
  return { wanted, came, changed, gone };
}

/** The usual case, without making a text of it: routes of one peer share their lists. */
export function sameButAddress(a: Route, b: Route): boolean {
  return (
    a.nextHop === b.nextHop &&
    a.med === b.med &&
    a.localPref === b.localPref &&
    a.asPath === b.asPath &&
    a.communities === b.communities &&
    a.largeCommunities === b.largeCommunities &&
    a.extendedCommunities === b.extendedCommunities &&
    a.prepends === b.prepends &&
    a.linkBandwidth === b.linkBandwidth
  );
}

/** Equal for routes that differ in their address only. */
export function spellingOf({ address, ...attributes }: Route): string {
  return `${familyOf(address)} ${JSON.stringify(attributes)}`;
}
