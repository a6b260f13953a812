// The depool threshold: which servers are pooled, and which are held only to keep the floor. Pure, and the only place that
// knows the rule. With every server enabled it keeps what PyBal keeps: ceil(n × threshold).

export interface Candidate {
  readonly host: string;
  /** Enabled and resolved. Others are never pooled, for no floor. */
  readonly eligible: boolean;
  /** Counts as up. */
  readonly up: boolean;
  /** Counts as down, and is not merely unknown. */
  readonly down: boolean;
  /** Is up and wants no new connections: pooled with weight 0, and so no help to the floor. */
  readonly drains: boolean;
  /** Listed with weight 0: pooled while it is up, and takes nobody's place. */
  readonly weightless: boolean;
  /** May be pooled although it is not up. */
  readonly holdable: boolean;
  /** Was pooled by the previous decision, or stands in an adopted table. Of one that drains: and had a weight. */
  readonly wasPooled: boolean;
  /** How long its current or last stretch of being up lasted, ms; 0 if it was never up. */
  readonly upForMs: number;
}

export interface PoolChoice {
  readonly pooled: ReadonlySet<string>;
  /** The part of `pooled` that is not up, or gets its weight though it drains. */
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
  const eligible = candidates.filter((candidate) => candidate.eligible);
  const weighted = eligible.filter(({ weightless }) => !weightless);
  const weightless = eligible.filter((candidate) => candidate.weightless);
  const taking = weighted.filter(({ up, drains }) => up && !drains).length;
  const held = new Set(
    first(
      floor - taking,
      weighted.filter(({ up, drains, holdable }) => (up ? drains : holdable)),
    ),
  );
  // What gets no connections helps only where nobody else is left.
  const standing = taking + held.size + weightless.filter(({ up }) => up).length;
  const rest = first(
    floor - standing,
    weightless.filter(({ up, holdable }) => !up && holdable),
  );
  for (const host of rest) held.add(host);
  for (const host of held) pooled.add(host);
  return { pooled, held, floor, met: standing + rest.length >= floor };
}

function first(count: number, spare: readonly Candidate[]): readonly string[] {
  return [...spare]
    .sort(byClaim)
    .slice(0, Math.max(0, count))
    .map(({ host }) => host);
}

/**
 * One that drains still works, one that is down does not. Then: pooled already, not known to be down, up the longest, by
 * name. So a held server is never swapped for another that is no better.
 */
function byClaim(a: Candidate, b: Candidate): number {
  if (a.drains !== b.drains) return a.drains ? -1 : 1;
  if (a.wasPooled !== b.wasPooled) return a.wasPooled ? -1 : 1;
  if (a.down !== b.down) return a.down ? 1 : -1;
  if (a.upForMs !== b.upForMs) return b.upForMs - a.upForMs;
  return a.host < b.host ? -1 : 1;
}
