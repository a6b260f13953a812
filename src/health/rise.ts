// Rise and fall: from single results of one monitor of one server to its verdict. Pure; called by check.ts.

import type { Mono } from '../world/world.ts';
import type { Health } from './monitor.ts';
import { sameWish, type Wish, wishIn } from './weighting.ts';

export interface Counts {
  /** Good results in a row that make a server up again. */
  readonly rise: number;
  /** Bad results in a row that make it down. */
  readonly fall: number;
}

/** What watches report is not counted: an established or lost connection speaks for itself. */
export const AT_ONCE: Counts = { rise: 1, fall: 1 };

export interface MonitorState {
  /** The verdict; null before the first result that says anything. */
  readonly known: 'up' | 'down' | null;
  /** Results in a row that contradict the verdict. */
  readonly against: number;
  /** Why the last result said nothing about the server: the verdict stands, frozen. Null when it did say something. */
  readonly blind: string | null;
  /** What the last result that agreed with the verdict said; empty if it said nothing. */
  readonly reason: string;
  /** What it said of the server's weight, while it is up. */
  readonly wish: Wish | null;
  /** Since when verdict and blindness are as they are. */
  readonly since: Mono;
  /** The verdict is of an earlier run of the monitor (other options): the next result replaces it at once. */
  readonly inherited: boolean;
}

export function noResult(now: Mono): MonitorState {
  return { known: null, against: 0, blind: null, reason: '', wish: null, since: now, inherited: false };
}

/** The state to go on with when a monitor starts again, asking differently. */
export function inherit(state: MonitorState): MonitorState {
  return { ...state, against: 0, inherited: true };
}

export function isNow(state: MonitorState): 'up' | 'down' | 'unknown' {
  return state.blind !== null || state.known === null ? 'unknown' : state.known;
}

function isSame(state: MonitorState, reason: string, wish: Wish | null): boolean {
  return state.against === 0 && !state.inherited && state.reason === reason && sameWish(state.wish, wish);
}

/** One more result. An unknown one neither counts nor interrupts a count; the first other one decides at once. */
export function learnResult(state: MonitorState, health: Health, counts: Counts, now: Mono): MonitorState {
  if (health.is === 'unknown') {
    return { ...state, blind: health.reason, since: state.blind === null ? now : state.since };
  }
  const seen = state.blind === null ? state : { ...state, blind: null, since: now };
  const reason = health.is === 'down' ? health.reason : (health.detail ?? '');
  const wish = wishIn(health);
  if (health.is === state.known && isSame(seen, reason, wish)) return seen;
  if (health.is === state.known) return { ...seen, against: 0, reason, wish, inherited: false };
  const against = state.against + 1;
  const needed = state.known === null || state.inherited ? 1 : health.is === 'up' ? counts.rise : counts.fall;
  if (against < needed) return { ...seen, against };
  return { known: health.is, against: 0, blind: null, reason, wish, since: now, inherited: false };
}
