// Two connections between the same two speakers: which of them survives (RFC 4271 §6.8, RFC 6286 §2.3), and when that is known.
// Pure; peer.ts asks.

import type { StateName } from './fsm.ts';

export interface Identity {
  readonly routerId: string;
  readonly as: number;
}

/** Of a connection: who has opened it, we or the peer. */
export type Side = 'active' | 'passive';

/** The connection that the dominant speaker opened: `outgoing` is ours, `incoming` the peer's. */
export function survivor(local: Identity, remote: Identity): 'outgoing' | 'incoming' {
  const byId = number(local.routerId) - number(remote.routerId);
  // RFC 6286 §2.3: equal identifiers are legal between two ASes; the larger AS number wins then.
  return (byId !== 0 ? byId : local.as - remote.as) > 0 ? 'outgoing' : 'incoming';
}

/** A message that would bring a connection further, and the other connection of the same peer. */
export interface Meeting {
  readonly on: 'open' | 'keepalive';
  readonly side: Side;
  readonly other: StateName;
  /** As `survivor` has it. */
  readonly kept: 'outgoing' | 'incoming';
  /** This connection has not waited in vain yet. */
  readonly patient: boolean;
}

/**
 * `none`: the message is believed. `wins`: too, and the other connection ends. `lost`: this one ends. `undecided`: believed too
 * early it could bring the session up on one connection while the peer chooses the other, and it would come and go again; the
 * peer will soon end one of them.
 *
 * RFC 4271 §6.8 lets us look at a connection in OpenSent when the identifier is known otherwise, and here it is: from this one. Of
 * two that may both be up over there the dominant speaker chooses; the other cannot know which of them are.
 */
export function collide({ on, side, other, kept, patient }: Meeting): 'none' | 'wins' | 'lost' | 'undecided' {
  // Who is answered is not called as well: our call might be there already, where the session is up.
  if (other === 'Connect') return 'wins';
  // An established one has no rival: nobody is let in, and the other session was given up when it came up.
  if (other !== 'OpenSent' && other !== 'OpenConfirm') return 'none';
  const answered = other === 'OpenConfirm';
  const wins = (kept === 'outgoing') === (side === 'active');
  // One that nobody speaks on must not be the end of one that lives: it is waited for, but not for long.
  if (on === 'keepalive') return !wins && !answered && patient ? 'undecided' : 'none';
  if (!wins) return answered ? 'lost' : patient ? 'undecided' : 'none';
  return answered && kept === 'incoming' && patient ? 'undecided' : 'wins';
}

function number(routerId: string): number {
  return routerId.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}
