// What two speakers agree on when neither has anything beyond four-octet AS numbers.

import type { Negotiated } from '../../src/bgp/open.ts';

export function negotiated(over: Partial<Negotiated> = {}): Negotiated {
  return {
    peerAs: 64500,
    peerId: '192.0.2.1',
    holdTimeSeconds: 9,
    families: [4],
    as4: true,
    internal: false,
    extendedMessages: false,
    extendedNextHop: false,
    enhancedRefresh: false,
    restartSeconds: 0,
    hardReset: false,
    peerRestarts: false,
    longLived: false,
    peerHostname: null,
    peerSoftware: null,
    peerCapabilities: [],
    ...over,
  };
}
