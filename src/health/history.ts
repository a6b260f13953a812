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

/** What an array of V8 has room for after its first element is 17: none of the four ever grows. */
export const KEPT_RESULTS = 16;
export const KEPT_TRANSITIONS = 10;
const MAX_REASON = 200;

export class History {
  /** The oldest one is at `#next` once there are as many as are kept. */
  readonly #at: Mono[] = [];
  readonly #verdicts: Verdict[] = [];
  readonly #latencies: number[] = [];
  readonly #reasons: string[] = [];
  #next = 0;
  #transitions: readonly Transition[] = [];

  result(at: Mono, is: Verdict, latencyMs: number, reason: string): void {
    const i = this.#next;
    const before = this.#reasons[(i + KEPT_RESULTS - 1) % KEPT_RESULTS];
    const bounded = shortened(reason);
    this.#at[i] = at;
    this.#verdicts[i] = is;
    this.#latencies[i] = latencyMs;
    // The same words again are the same string.
    this.#reasons[i] = bounded === before ? before : bounded;
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
