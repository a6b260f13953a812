// A complete ServiceConfig for tests that care about a few of its options only.

import type { Pace, ServiceConfig } from '../../src/config/types.ts';

/** The monitor's own interval, come what may. */
export const AS_ALWAYS: Pace = { fastIntervalSeconds: null, slowIntervalSeconds: null, slowAfterSeconds: 600 };

export function serviceConfig(over: Partial<ServiceConfig> = {}): ServiceConfig {
  return {
    name: 'text',
    place: { file: 'pybal.conf', line: 1 },
    protocol: 'tcp',
    vip: '10.0.0.1',
    family: 4,
    port: 80,
    scheduler: 'wrr',
    flags: 0,
    persistenceSeconds: 0,
    persistencePrefix: 32,
    forward: 'dr',
    realPort: 80,
    source: 'file:///pools/text',
    sourceAccess: {
      etcdApi: 'auto',
      tls: 'verify',
      caFile: null,
      certificateFile: null,
      keyFile: null,
      user: null,
      passwordFile: null,
      tokenFile: null,
      labelSelector: null,
      nodeAddress: 'name',
    },
    depoolThreshold: 0.5,
    monitors: [],
    monitorsNeeded: over.monitors?.length ?? 0,
    unwatched: null,
    rise: 1,
    fall: 1,
    bgp: true,
    bgpMed: null,
    announce: 'served',
    announceQuorum: 0.5,
    announceQuorumLow: 0.5,
    vipPolicy: 'any',
    vipPresence: 'lo',
    adminFloor: false,
    depoolAction: 'delete',
    drainSeconds: 0,
    slowStartSeconds: 0,
    startGraceSeconds: 10,
    freezeLimitSeconds: 300,
    poolShrinkLimit: 0.5,
    poolShrinkConfirmSeconds: 60,
    ...over,
  };
}
