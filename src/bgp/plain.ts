// Whether our next OPEN has capabilities. RFC 5492 §3: a peer that answers them with 2/4 is tried without. That is for one
// session or attempt, and then they are offered again: a peer that lives without them costs one refused OPEN a session, and
// one that has said 2/4 by mistake loses what they are for no longer than that. Pure; peer.ts owns one.

import type { Family } from '../lib/address.ts';
import type { Side } from './collision.ts';
import type { Cause } from './fsm.ts';

export class Plain {
  readonly #families: readonly Family[];
  #next = false;
  /** Of the OPEN on each connection; null: there was none. */
  readonly #said: Record<Side, boolean | null> = { active: null, passive: null };

  constructor(families: readonly Family[]) {
    this.#families = families;
  }

  /**
   * For an OPEN that is sent now. Also from an AS of four octets: whoever knows no capability expects AS_TRANS in its place
   * (RFC 6793 §4.2.2), and whoever expects the number itself refuses that one attempt.
   */
  open(side: Side): boolean {
    this.#said[side] = this.#next;
    return this.#next;
  }

  /** Our OPEN on this connection had no capabilities. */
  said(side: Side): boolean {
    return this.#said[side] === true;
  }

  /** A connection ended. True: it was refused for its capabilities, and the next one goes without. */
  ended(side: Side, cause: Cause): boolean {
    const said = this.#said[side];
    this.#said[side] = null;
    // One that was given up for the other connection has decided nothing.
    if (said === null || isCollision(cause)) return false;
    // Without them there is IPv4 only (RFC 4760 §8).
    const refused = !said && refusesCapabilities(cause) && this.#families.includes(4);
    if (said || refused) this.#next = refused;
    return refused;
  }
}

function isCollision(cause: Cause): boolean {
  return cause.is === 'stopped' && cause.notification.code === 6 && cause.notification.subcode === 7;
}

/** RFC 5492 §3: 2/4 from a speaker that knows no capabilities. */
function refusesCapabilities(cause: Cause): boolean {
  return cause.is === 'received' && cause.notification.code === 2 && cause.notification.subcode === 4;
}
