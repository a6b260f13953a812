// A PeerConfig of defaults, for tests that are about something else.

import type { PeerConfig } from '../../src/config/types.ts';

export function peerConfig(changes: Partial<PeerConfig> & { readonly address: string }): PeerConfig {
  return {
    name: changes.address,
    place: null,
    port: 179,
    localAddress: null,
    passive: false,
    localAs: 64600,
    peerAs: null,
    families: [4, 6],
    holdTimeSeconds: 9,
    keepaliveSeconds: null,
    sendHoldSeconds: 480,
    connectRetrySeconds: 5,
    connectTimeoutSeconds: 5,
    asPath: [],
    prepends: 0,
    med: null,
    localPref: null,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    linkBandwidth: null,
    nextHopIpv4: null,
    nextHopIpv6: null,
    maximumPrefixes: null,
    gracefulRestart: 'helper',
    gracefulRestartSeconds: 30,
    gracefulShutdownSeconds: 0,
    password: null,
    tcpAoFile: null,
    ttlSecurityHops: null,
    ttl: null,
    dscp: 48,
    bfd: null,
    ...changes,
  };
}
