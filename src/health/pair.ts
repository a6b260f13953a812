// A server that is asked twice by one monitor, at its own address and through the path for the VIP: what both say together,
// and which of them is to blame. Pure; called by server.ts.

import { isNow, type MonitorState } from './rise.ts';

/** What the check of a monitor is called that goes through the path. */
export function pathName(monitor: string): string {
  return `${monitor} via path`;
}

/** Up when both are up, down when either is down. */
export function pairState(server: MonitorState, path: MonitorState): MonitorState {
  const [own, through] = [isNow(server), isNow(path)];
  if (own === 'down' && through === 'up')
    return { ...server, reason: `answers through the VIP path, not on its own address${because(server)}` };
  // The path leads to the application: when that is down, nothing is known of the path.
  if (own === 'down') return server;
  if (through === 'down') return { ...path, reason: `${blame(own)}${because(path)}` };
  if (own === 'unknown') return server;
  return through === 'unknown'
    ? path
    : { ...server, since: later(server, path), inherited: server.inherited || path.inherited };
}

function blame(own: 'up' | 'unknown'): string {
  return own === 'up' ? 'application answers on its own address, VIP path does not' : 'VIP path does not answer';
}

function because({ reason }: MonitorState): string {
  return reason === '' ? '' : `: ${reason}`;
}

function later(a: MonitorState, b: MonitorState): MonitorState['since'] {
  return a.since > b.since ? a.since : b.since;
}
