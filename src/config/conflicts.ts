// What no section can see by itself: services and peers that contradict each other, addresses used twice, routes without
// a next hop. Called by decode.ts. Pure.

import { familyOf } from '../lib/address.ts';
import { serviceKey } from '../ipvs/table.ts';
import type { GlobalConfig, PeerConfig, ServiceConfig } from './types.ts';

/** Why a section can not run beside what was accepted before it, and which of its options is to blame. */
export interface Conflict {
  readonly option: string | null;
  readonly message: string;
}

/** The first thing that `service` and an accepted one can not both have; null if there is none. */
export function serviceConflict(service: ServiceConfig, accepted: readonly ServiceConfig[]): Conflict | null {
  for (const other of accepted) {
    if (other.vip !== service.vip) continue;
    const its = `[${other.name}] in line ${other.place.line}`;
    if (other.protocol === service.protocol && other.port === service.port)
      return { option: 'ip', message: `${serviceKey(other.protocol, other.vip, other.port)} is ${its} already` };
    // PyBal: one prefix has one MED, so both must give the same or both none.
    if (service.bgp && other.bgp && service.bgpMed !== other.bgpMed)
      return { option: 'bgp-med', message: differs(service.vip, service.bgpMed, other.bgpMed, its) };
    if (service.vipPolicy !== other.vipPolicy)
      return { option: 'vip-policy', message: differs(service.vip, service.vipPolicy, other.vipPolicy, its) };
    if (service.vipPresence !== other.vipPresence)
      return { option: 'vip-presence', message: differs(service.vip, service.vipPresence, other.vipPresence, its) };
  }
  return null;
}

/** A virtual IP moves between directors: what identifies this one, or a router, can not be one. */
export function roleConflict(
  service: ServiceConfig,
  routerId: string | null,
  localAddresses: readonly string[],
  peers: readonly PeerConfig[],
): Conflict | null {
  const roles: (readonly [string | null, string])[] = [[routerId, 'the BGP router id']];
  for (const address of localAddresses) roles.push([address, 'a local address of BGP']);
  for (const peer of peers)
    roles.push(
      [peer.address, `the address of peer ${peer.name}`],
      [peer.localAddress, `the local address towards peer ${peer.name}`],
      [peer.nextHopIpv4, 'the next hop'],
      [peer.nextHopIpv6, 'the next hop'],
    );
  const role = roles.find(([address]) => address === service.vip)?.[1];
  return role === undefined
    ? null
    : { option: 'ip', message: `${service.vip} is ${role}, which can not be a virtual IP` };
}

/** What a service wants of this host that [global] does not say. */
export function hostConflict(service: ServiceConfig, { uplinks, path }: GlobalConfig): Conflict | null {
  const { vipPresence, family, monitors } = service;
  if (vipPresence === 'route')
    return uplinks.length > 0 ? null : { option: 'vip-presence', message: 'route needs vip-uplinks in [global]' };
  const viaPath = monitors.some(({ via }) => via !== 'server');
  if (!viaPath || path.sources.some((source) => familyOf(source) === family)) return null;
  const message = `checks through the path need vip-presence = route, or an IPv${family} address in path-source in [global]`;
  return { option: 'via', message };
}

/** Two sessions with one router can not be told apart. */
export function peerConflict(peer: PeerConfig, accepted: readonly PeerConfig[]): Conflict | null {
  for (const other of accepted) {
    const its = `peer ${other.name}${other.place === null ? '' : ` in line ${other.place.line}`}`;
    if (other.address === peer.address) return { option: 'peer-address', message: `${peer.address} is ${its} already` };
    if (other.name === peer.name) return { option: null, message: `the name is taken by ${its}` };
  }
  return null;
}

/** The first service of each family that is announced while the peer has no next hop for it. */
export function withoutNextHop(peer: PeerConfig, services: readonly ServiceConfig[]): readonly ServiceConfig[] {
  return ([4, 6] as const).flatMap((family) => {
    if ((family === 4 ? peer.nextHopIpv4 : peer.nextHopIpv6) !== null) return [];
    return services.find((service) => service.bgp && service.family === family) ?? [];
  });
}

/** Services that are to be announced, of a family that no peer takes. */
export function unheard(peers: readonly PeerConfig[], services: readonly ServiceConfig[]): readonly ServiceConfig[] {
  return services.filter(({ bgp, family }) => bgp && peers.every(({ families }) => !families.includes(family)));
}

function differs(vip: string, mine: string | number | null, other: string | number | null, its: string): string {
  return `${mine ?? 'none'} here, ${other ?? 'none'} in ${its}: services on ${vip} must agree`;
}
