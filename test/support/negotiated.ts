// What two speakers agree on when neither has anything beyond four-octet AS numbers, and the states of a machine with it.

import { IDLE, type State, type StateName } from '../../src/bgp/fsm.ts';
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

/** The machine in each of its states. */
export function everyState(agreed: Negotiated): Readonly<Record<StateName, State>> {
  return {
    Idle: IDLE,
    Connect: { is: 'Connect' },
    Active: { is: 'Active' },
    OpenSent: { is: 'OpenSent' },
    OpenConfirm: { is: 'OpenConfirm', agreed },
    Established: { is: 'Established', agreed },
  };
}
