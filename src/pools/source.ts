// What a pool source is; which kinds there are is in open.ts. A source is asked again and again by one caller, never twice at once;
// it remembers what it answered last, so that an unchanged list costs nothing.

import type { Cut } from '../lib/cut.ts';
import type { Entry } from './parse.ts';

export type Answer =
  | { readonly is: 'content'; readonly bytes: Uint8Array }
  /** From a source that has no text. */
  | { readonly is: 'entries'; readonly entries: readonly Entry[] }
  /** As the last content or entries. */
  | { readonly is: 'unchanged' }
  | { readonly is: 'failed'; readonly reason: string };

export interface Source {
  /**
   * Ask once; never rejects for what the outside does. One that is told of changes answers when there is one, or after some
   * seconds that there was none; what it holds open between two questions ends with the cut, which is the same for all.
   * `afresh`: the last answer is doubted, so read it all again instead of asking whether it changed; 'unchanged' then means
   * that the bytes are the same.
   */
  ask(afresh: boolean, cut: Cut): Promise<Answer>;
  /** How long to wait before asking again after so many failures in a row; `random` is in [0, 1). */
  delayMs(failures: number, random: number): number;
}

export const POLL_MS = 1000;
const MAX_DELAY_MS = 30_000;

/** 2, 4, 8 … 30 s, each shortened by up to a half, so that directors do not come back together. */
export function backOffMs(failures: number, random: number): number {
  return Math.min(MAX_DELAY_MS, POLL_MS * 2 ** Math.min(failures, 16)) * (1 - random / 2);
}

/**
 * Times of files, and the validators that web servers make of them, are often whole seconds: for so long after a change
 * another one may look the same, so everything is read.
 */
export const SETTLE_MS = 3000;

export function sameBytes(a: Uint8Array | null, b: Uint8Array): boolean {
  if (a === null || a.length !== b.length) return false;
  // A function for each of them would take seven times as long.
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
