// What a peer counts, over all of its sessions.

/** Added to by every session of a peer. */
export interface Counters {
  messagesIn: number;
  messagesOut: number;
  updatesIn: number;
  updatesOut: number;
  /** Prefixes that the peer announced to us; they are counted and dropped. */
  prefixesIn: number;
  /** UPDATEs of which RFC 7606 discarded attributes, or treated the routes as withdrawn. */
  updatesForgiven: number;
  /** Requests of the peer to send everything of a family again. */
  refreshesIn: number;
  notificationsIn: number;
  notificationsOut: number;
  /** Sessions that came up. */
  established: number;
}

export function newCounters(): Counters {
  return {
    messagesIn: 0,
    messagesOut: 0,
    updatesIn: 0,
    updatesOut: 0,
    prefixesIn: 0,
    updatesForgiven: 0,
    refreshesIn: 0,
    notificationsIn: 0,
    notificationsOut: 0,
    established: 0,
  };
}
