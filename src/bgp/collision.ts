// Which of two connections between the same two speakers survives (RFC 4271 §6.8, RFC 6286 §2.3). Pure.

export interface Identity {
  readonly routerId: string;
  readonly as: number;
}

/** The connection that the dominant speaker opened: `outgoing` is ours, `incoming` the peer's. */
export function survivor(local: Identity, remote: Identity): 'outgoing' | 'incoming' {
  const byId = number(local.routerId) - number(remote.routerId);
  // RFC 6286 §2.3: equal identifiers are legal between two ASes; the larger AS number wins then.
  return (byId !== 0 ? byId : local.as - remote.as) > 0 ? 'outgoing' : 'incoming';
}

function number(routerId: string): number {
  return routerId.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}
