// The depool threshold: which servers are pooled, and which are held only to keep the floor. Pure, and the only place that
// knows the rule. With every server enabled it keeps what PyBal keeps: ceil(n × threshold).

export interface Candidate {
  readonly host: string;
  /** Enabled and resolved. Others are never pooled, for no floor. */
  readonly eligible: boolean;
  /** Counts as up. */
  readonly up: boolean;
  /** May be pooled although it is not up. */
  readonly holdable: boolean;
  /** Was pooled by the previous decision, or stands in an adopted table. */
  readonly wasPooled: boolean;
  /** How long its current or last stretch of being up lasted, ms; 0 if it was never up. */
  readonly upForMs: number;
}

export interface PoolChoice {
  readonly pooled: ReadonlySet<string>;
  /** The part of `pooled` that is not up. */
  readonly held: ReadonlySet<string>;
  readonly floor: number;
  readonly met: boolean;
}

/** Servers that must stay pooled out of `count`. A threshold like 0.1 × 30 must not become 4 by binary fractions. */
export function floorOf(threshold: number, count: number): number {
  return Math.ceil(Number((threshold * count).toFixed(9)));
}

export function choosePool(candidates: readonly Candidate[], threshold: number): PoolChoice {
  const floor = floorOf(threshold, candidates.length);
  const pooled = new Set(candidates.filter(({ eligible, up }) => eligible && up).map(({ host }) => host));
  const spare = candidates.filter(({ eligible, up, holdable }) => eligible && !up && holdable).sort(byClaim);
  const held = new Set(spare.slice(0, Math.max(0, floor - pooled.size)).map(({ host }) => host));
  for (const host of held) pooled.add(host);
  return { pooled, held, floor, met: pooled.size >= floor };
}

/** Pooled already, then up the longest, then by name: so a held server is never swapped for another. */
function byClaim(a: Candidate, b: Candidate): number {
  if (a.wasPooled !== b.wasPooled) return a.wasPooled ? -1 : 1;
  if (a.upForMs !== b.upForMs) return b.upForMs - a.upForMs;
  return a.host < b.host ? -1 : 1;
}
