// The one difference of two keyed tables. Property: applying diff(a, d) to a gives d, and diff(x, x) is empty.

export interface Diff<K, V> {
  readonly add: readonly (readonly [K, V])[];
  readonly change: readonly (readonly [K, V])[];
  readonly remove: readonly (readonly [K, V])[];
}

export function diff<K, V>(
  actual: ReadonlyMap<K, V>,
  desired: ReadonlyMap<K, V>,
  same: (actual: V, desired: V) => boolean,
): Diff<K, V> {
  const add: [K, V][] = [];
  const change: [K, V][] = [];
  const remove: [K, V][] = [];
  for (const [key, want] of desired) {
    const have = actual.get(key);
    if (have === undefined) add.push([key, want]);
    else if (have !== want && !same(have, want)) change.push([key, want]);
  }
  for (const [key, have] of actual) if (!desired.has(key)) remove.push([key, have]);
  return { add, change, remove };
}
