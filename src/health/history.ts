// What one check said lately: its last results, and the last times that its verdict changed. Columns of numbers and shared
// strings instead of objects, since there is one for each monitor of each server. Owned by check.ts.

import type { Mono } from '../world/world.ts';

type Verdict = 'up' | 'down' | 'unknown';

export interface PastResult {
  readonly at: Mono;
  readonly is: Verdict;
  readonly latencyMs: number;
  /** Empty when it said nothing. */
  readonly reason: string;
}

/** Since then the verdict has been this, after rise and fall. */
export type Transition = Omit<PastResult, 'latencyMs'>;

export const KEPT_RESULTS = 16;
export const KEPT_TRANSITIONS = 10;
const MAX_REASON = 200;

export class History {
  /** The oldest one is at `#next` once there are as many as are kept. */
  #at: Mono[] = [];
  #verdicts: Verdict[] = [];
  #latencies: number[] = [];
  #reasons: string[] = [];
  #next = 0;
  #transitions: readonly Transition[] = [];

  result(at: Mono, is: Verdict, latencyMs: number, reason: string): void {
    const i = this.#next;
    const before = this.#reasons[(i + KEPT_RESULTS - 1) % KEPT_RESULTS];
    const bounded = shortened(reason);
    // The same words again are the same string.
    const said = bounded === before ? before : bounded;
    this.#at = withAt(this.#at, i, at);
    this.#verdicts = withAt(this.#verdicts, i, is);
    this.#latencies = withAt(this.#latencies, i, latencyMs);
    this.#reasons = withAt(this.#reasons, i, said);
    this.#next = (i + 1) % KEPT_RESULTS;
  }

  transition(at: Mono, is: Verdict, reason: string): void {
    this.#transitions = [...this.#transitions.slice(1 - KEPT_TRANSITIONS), { at, is, reason: shortened(reason) }];
  }

  /** The oldest first. */
  get results(): readonly PastResult[] {
    const count = this.#at.length;
    return Array.from({ length: count }, (_, i) => {
      const j = count < KEPT_RESULTS ? i : (this.#next + i) % KEPT_RESULTS;
      return {
        at: this.#at[j] ?? (0 as Mono),
        is: this.#verdicts[j] ?? 'unknown',
        latencyMs: this.#latencies[j] ?? 0,
        reason: this.#reasons[j] ?? '',
      };
    });
  }

  /** The oldest first. */
  get transitions(): readonly Transition[] {
    return this.#transitions;
  }
}

function shortened(reason: string): string {
  return reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON)}…` : reason;
}

/**
 * `list[i] = value`. V8 gives an array that grows room for 17 at once, and a held connection has one or two results in its
 * life: until the list is full it is made anew, exactly as long as it must be.
 */
function withAt<T>(list: T[], i: number, value: T): T[] {
  if (i >= list.length) return list.concat([value]);
  list[i] = value;
  return list;
}
