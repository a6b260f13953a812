// The desired Adj-RIB-Out of each peer: which VIPs, with which attributes. Pure; called by decide().

import { equal } from '../lib/equal.ts';
import { familyOf } from '../lib/address.ts';
import type { Config, PeerConfig } from '../config/types.ts';
import type { Route, VipVerdict } from './decision.ts';

type Routes = ReadonlyMap<string, readonly Route[]>;

/** By peer name, sorted by address. Lists, and routes in them, that did not change are the objects from before. */
export function routesFor(config: Config, vips: ReadonlyMap<string, VipVerdict>, before: Routes | null): Routes {
  const announced = [...vips.values()].filter((vip) => vip.announced).map(({ vip }) => vip);
  announced.sort((a, b) => (a < b ? -1 : 1));
  const meds = new Map<string, number>();
  for (const { vip, bgp, bgpMed } of config.services) if (bgp && bgpMed !== null) meds.set(vip, bgpMed);
  const routes = new Map<string, readonly Route[]>();
  for (const peer of config.peers) {
    const last = before?.get(peer.name) ?? [];
    const known = new Map(last.map((one) => [one.address, one]));
    const wanted = announced.map((vip) => {
      const wish = route(peer, vip, meds.get(vip) ?? peer.med);
      const same = known.get(vip);
      return same !== undefined && equal(same, wish) ? same : wish;
    });
    const unchanged = before?.has(peer.name) === true && sameItems(last, wanted);
    routes.set(peer.name, unchanged ? last : wanted);
  }
  const unchanged =
    before !== null && before.size === routes.size && [...routes].every(([k, v]) => before.get(k) === v);
  return unchanged ? before : routes;
}

function sameItems(a: readonly Route[], b: readonly Route[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}

function route(peer: PeerConfig, vip: string, med: number | null): Route {
  return {
    address: vip,
    nextHop: familyOf(vip) === 4 ? peer.nextHopIpv4 : peer.nextHopIpv6,
    asPath: peer.asPath,
    prepends: peer.prepends,
    med,
    localPref: peer.localPref,
    communities: peer.communities,
    largeCommunities: peer.largeCommunities,
    extendedCommunities: peer.extendedCommunities,
    linkBandwidth: peer.linkBandwidth,
  };
}
