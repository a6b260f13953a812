// What one check said lately: its last results, and the last times that its verdict changed. Lists of numbers and of shared
// strings instead of objects, since there is one for each monitor of each server. Owned by check.ts.

import { appended } from '../lib/appended.ts';
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
  /** Time and latency of each, in turn. The oldest is at `#next` once there are as many as are kept. */
  #numbers: number[] = [];
  /** Verdict and reason of each. */
  #words: string[] = [];
  #next = 0;
  #transitions: readonly Transition[] = [];

  result(at: Mono, is: Verdict, latencyMs: number, reason: string): void {
    const i = this.#next;
    const before = this.#words[(2 * i + 2 * KEPT_RESULTS - 1) % (2 * KEPT_RESULTS)];
    const bounded = shortened(reason);
    // The same words again are the same string.
    const said = bounded === before ? before : bounded;
    // A held connection has one or two results in its life: until they are full the lists are made anew, exactly as long as they
    // must be.
    if (2 * i >= this.#numbers.length) {
      this.#numbers = withPair(this.#numbers, at, latencyMs);
      this.#words = withPair(this.#words, is, said);
    } else {
      this.#numbers[2 * i] = at;
      this.#numbers[2 * i + 1] = latencyMs;
      this.#words[2 * i] = is;
      this.#words[2 * i + 1] = said;
    }
    this.#next = (i + 1) % KEPT_RESULTS;
  }

  transition(at: Mono, is: Verdict, reason: string): void {
    const all = this.#transitions;
    const kept = all.length < KEPT_TRANSITIONS ? all : all.slice(1);
    this.#transitions = appended(kept, { at, is, reason: shortened(reason) });
  }

  /** The oldest first. */
  get results(): readonly PastResult[] {
    const count = this.#numbers.length / 2;
    return Array.from({ length: count }, (_, i) => {
      const j = 2 * (count < KEPT_RESULTS ? i : (this.#next + i) % KEPT_RESULTS);
      const [at = 0, latencyMs = 0] = this.#numbers.slice(j, j + 2);
      const [is = 'unknown', reason = ''] = this.#words.slice(j, j + 2);
      return { at: at as Mono, is: is as Verdict, latencyMs, reason };
    });
  }

  /** The oldest first. */
  get transitions(): readonly Transition[] {
    return this.#transitions;
  }
}

/** As `appended`, with two. */
function withPair<T>(list: readonly T[], one: T, other: T): T[] {
  const [first, second] = list;
  if (list.length === 0) return [one, other];
  if (list.length === 2) return [first as T, second as T, one, other];
  return list.concat([one, other]);
}

function shortened(reason: string): string {
  return reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON)}…` : reason;
}
