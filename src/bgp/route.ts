// A wanted route as one session can carry it: its family, next hop and path attributes by the rules of iBGP and eBGP
// (RFC 4271 §5.1). Pure; rib.ts groups the results.

import type { Route } from '../decision/decision.ts';
import { addressBytes, type Family, familyOf } from '../lib/address.ts';
import { WELL_KNOWN } from '../lib/communities.ts';
import type { AsSegment, Attributes } from './attribute.ts';
import { type ExtendedCommunity, type LargeCommunity, linkBandwidth } from './community.ts';

/** What a session adds to a route. */
export interface SessionFacts {
  readonly localAs: number;
  readonly localAddress: string;
  readonly peerAddress: string;
  readonly internal: boolean;
  readonly as4: boolean;
  readonly families: readonly Family[];
  /** IPv4 routes may have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop?: boolean;
  /** The peer and those behind it may keep routes of the dead for hours (RFC 9494). */
  readonly longLived?: boolean;
}

export interface Outgoing {
  readonly family: Family;
  readonly nextHop: string;
  /** RFC 2545 §3: beside a global next hop, where the session itself is link-local. */
  readonly linkLocal: string | null;
  /** Without next hop and prefixes. */
  readonly attributes: Attributes;
}

/** RFC 4271 §5.1.5: LOCAL_PREF is mandatory within an AS; 100 is what every router takes for "not said". */
const DEFAULT_LOCAL_PREF = 100;
const MAX_SEGMENT = 255;

/** The attributes of one route on this session, or why it cannot go there. `leaving`: RFC 8326, until it is withdrawn. */
export function outgoing(
  route: Route,
  session: SessionFacts,
  leaving = false,
): Outgoing | { readonly refused: string } {
  const family = familyOf(route.address);
  if (!session.families.includes(family)) return { refused: `the peer takes no IPv${family} routes` };
  const nextHop = route.nextHop ?? ownNextHop(family, session);
  if (nextHop === null) return { refused: `no IPv${family} next hop is known on an ${transport(session)} session` };
  const complaint = nextHopComplaint(nextHop, family, session);
  if (complaint !== null) return { refused: complaint };

  const path = asPath(route, session);
  const communities = ascending([
    ...route.communities,
    ...(leaving ? [WELL_KNOWN['graceful-shutdown']] : []),
    // RFC 9494 §3.3. The peer itself keeps nothing of who does not offer it; whoever has our routes from the peer may.
    ...(session.longLived === true ? [WELL_KNOWN['no-llgr']] : []),
  ]);
  const extended = extendedCommunities(route, session);
  const large = distinct(route.largeCommunities ?? []);
  // RFC 8326 §4: within an AS it is the preference itself that is lowered.
  const localPref = leaving ? 0 : (route.localPref ?? DEFAULT_LOCAL_PREF);
  return {
    family,
    nextHop: withoutZone(nextHop),
    linkLocal: linkLocalBeside(nextHop, session),
    attributes: {
      origin: 'igp',
      asPath: path,
      ...(route.med === null ? {} : { med: route.med }),
      // RFC 4271 §5.1.5: never to another AS.
      ...(session.internal ? { localPref } : {}),
      ...(communities.length === 0 ? {} : { communities }),
      ...(extended.length === 0 ? {} : { extendedCommunities: extended }),
      ...(large.length === 0 ? {} : { largeCommunities: large }),
      // RFC 6793 §4.2.2: what a two-octet AS_PATH cannot say travels beside it.
      ...(!session.as4 && path.some(({ as }) => as.some((number) => number > 0xffff)) ? { as4Path: path } : {}),
    },
  };
}

/** RFC 4271 §5.1.3: ourselves, as the session sees us. RFC 8950 §5: an IPv6 session gives an IPv6 next hop to IPv4 too. */
function ownNextHop(family: Family, session: SessionFacts): string | null {
  const ours = familyOf(session.localAddress);
  return ours === family || (family === 4 && session.extendedNextHop === true) ? session.localAddress : null;
}

/** RFC 2545 §3: the peer is on our link if the session is, and then the link-local address goes along. */
function linkLocalBeside(nextHop: string, { localAddress }: SessionFacts): string | null {
  if (familyOf(nextHop) !== 6 || isLinkLocal(nextHop) || !isLinkLocal(localAddress)) return null;
  return withoutZone(localAddress);
}

/** RFC 4271 §5.1.2: eBGP sends what is configured, at least ourselves; in iBGP our own AS in it would be a loop. */
function asPath({ asPath: configured, prepends = 0 }: Route, session: SessionFacts): readonly AsSegment[] {
  const { internal, localAs } = session;
  const outside = configured.length === 0 ? [localAs] : configured;
  const path = internal
    ? configured.filter((as) => as !== localAs)
    : [...new Array<number>(prepends).fill(localAs), ...outside];
  const segments: AsSegment[] = [];
  for (let at = 0; at < path.length; at += MAX_SEGMENT) {
    segments.push({ is: 'sequence', as: path.slice(at, at + MAX_SEGMENT) });
  }
  return segments;
}

function extendedCommunities(route: Route, { localAs }: SessionFacts): readonly ExtendedCommunity[] {
  const bandwidth = route.linkBandwidth ?? null;
  const own = route.extendedCommunities ?? [];
  return distinct(bandwidth === null ? own : [...own, linkBandwidth(localAs, bandwidth)]);
}

/** RFC 1997 knows no order; one that is always the same makes equal sets equal. */
function ascending(values: readonly number[]): readonly number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

/** Sorted and without repetitions, which RFC 8092 §5 wants gone. */
function distinct<T extends ExtendedCommunity | LargeCommunity>(values: readonly T[]): readonly T[] {
  if (values.length < 2) return values;
  const sorted = [...values].sort(compare);
  return sorted.filter((value, i) => i === 0 || compare(value, sorted[i - 1] ?? value) !== 0);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((part, i) => part !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/** RFC 4271 §5.1.3 and §6.3: of the right family, a unicast address, and not the peer's own. */
function nextHopComplaint(nextHop: string, family: Family, session: SessionFacts): string | null {
  const hopFamily = familyOf(nextHop);
  // RFC 8950 §4: only to a peer that said that it can.
  const crossed = family === 4 && hopFamily === 6 && session.extendedNextHop === true;
  if (hopFamily !== family && !crossed) return `next hop ${nextHop} is not IPv${family}`;
  const bytes = addressBytes(nextHop);
  const first = bytes[0] ?? 0;
  if (bytes.every((octet) => octet === 0)) return `next hop ${nextHop} is nobody`;
  if (hopFamily === 4 ? first >= 224 : first === 0xff) return `next hop ${nextHop} is not a unicast address`;
  // On one host both ends may have the same address: that is a try-out, not a loop.
  const ownToo = session.localAddress === session.peerAddress;
  if (!ownToo && withoutZone(nextHop) === withoutZone(session.peerAddress))
    return `next hop ${nextHop} is the peer itself`;
  return null;
}

function transport(session: SessionFacts): string {
  return `IPv${familyOf(session.localAddress)}`;
}

/** fe80::/10 (RFC 4291 §2.5.6) */
function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(address);
}

function withoutZone(address: string): string {
  return address.split('%')[0] ?? address;
}
