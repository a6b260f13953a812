// The monitors of one server, combined into its health: up when enough of them are up, down when that can not be reached any
// more, unknown in between. Pure; called by server.ts.

import type { ServerHealth } from '../decision/facts.ts';
import { appended } from '../lib/appended.ts';
import type { Mono } from '../world/world.ts';
import { isNow, type MonitorState } from './rise.ts';
import { combineWishes, type Wish } from './weighting.ts';

export interface NamedState {
  readonly name: string;
  readonly state: MonitorState;
}

/**
 * `needed` of them must be up: all of them is PyBal's AND, 1 is OR. `previous` gives `since` when the health is what it was.
 * Without monitors a server is up.
 */
export function combine(
  monitors: readonly NamedState[],
  needed: number,
  previous: ServerHealth | null,
  now: Mono,
): ServerHealth {
  const verdicts = monitors.map(({ state }) => isNow(state));
  const is = atLeast(needed, verdicts);
  let reason = is !== 'up' && needed < monitors.length ? tally(verdicts, needed) : '';
  let partial = monitors.length === 0;
  let wishes: readonly { readonly name: string; readonly wish: Wish; readonly said: string }[] = [];
  for (const monitor of monitors) {
    const { name, state } = monitor;
    if (isNow(state) === is) reason += (reason === '' ? '' : '; ') + reasonOf(monitor, is);
    if (state.known !== 'up') continue;
    partial = true;
    if (state.wish !== null) wishes = appended(wishes, { name, wish: state.wish, said: state.reason });
  }
  if (monitors.length === 0) reason = 'no monitors';
  const weighting = combineWishes(wishes);
  const since = previous?.is === is ? previous.since : now;
  return weighting === undefined ? { is, since, reason, partial } : { is, since, reason, partial, weighting };
}

/** Kleene's logic of three values: unknown is what the unknown ones could still make either way. */
export function atLeast(needed: number, verdicts: readonly ServerHealth['is'][]): ServerHealth['is'] {
  let up = 0;
  let down = 0;
  for (const verdict of verdicts) {
    if (verdict === 'up') up++;
    else if (verdict === 'down') down++;
  }
  if (up >= needed) return 'up';
  return verdicts.length - down < needed ? 'down' : 'unknown';
}

function tally(verdicts: readonly ServerHealth['is'][], needed: number): string {
  const up = verdicts.filter((verdict) => verdict === 'up').length;
  return `${up} of ${verdicts.length} up, ${needed} needed`;
}

function reasonOf({ name, state }: NamedState, is: ServerHealth['is']): string {
  if (is === 'unknown') return state.blind === null ? `${name}: no result yet` : `${name}: ${state.blind}`;
  if (state.reason !== '') return `${name}: ${state.reason}`;
  return is === 'up' ? `${name}: up` : `${name}: (reason unknown)`;
}
