// The monitors of one server, combined into its health: up when all are up, down when any is down. Pure; called by server.ts.

import type { ServerHealth } from '../decision/facts.ts';
import type { Mono } from '../world/world.ts';
import { isNow, type MonitorState } from './rise.ts';

export interface NamedState {
  readonly name: string;
  readonly state: MonitorState;
}

/** `previous` gives `since` when the health is what it was. */
export function combine(monitors: readonly NamedState[], previous: ServerHealth | null, now: Mono): ServerHealth {
  const is = combined(monitors);
  const reasons = monitors.filter(({ state }) => isNow(state) === is).map((monitor) => reasonOf(monitor, is));
  return {
    is,
    since: previous?.is === is ? previous.since : now,
    reason: monitors.length === 0 ? 'no monitors' : reasons.join('; '),
    partial: monitors.length === 0 || monitors.some(({ state }) => state.known === 'up'),
  };
}

function combined(monitors: readonly NamedState[]): ServerHealth['is'] {
  if (monitors.some(({ state }) => isNow(state) === 'down')) return 'down';
  return monitors.every(({ state }) => isNow(state) === 'up') ? 'up' : 'unknown';
}

function reasonOf({ name, state }: NamedState, is: ServerHealth['is']): string {
  if (is === 'unknown') return state.blind === null ? `${name}: no result yet` : `${name}: ${state.blind}`;
  if (state.reason !== '') return `${name}: ${state.reason}`;
  return is === 'up' ? `${name}: up` : `${name}: (reason unknown)`;
}
