// A wanted route as one session can carry it: its family, next hop and path attributes by the rules of iBGP and eBGP
// (RFC 4271 §5.1). Pure; rib.ts groups the results.

import type { Route } from '../decision/decision.ts';
import { addressBytes, type Family, familyOf } from '../lib/address.ts';
import type { AsSegment, Attributes } from './attribute.ts';

/** What a session adds to a route. */
export interface SessionFacts {
  readonly localAs: number;
  readonly localAddress: string;
  readonly peerAddress: string;
  readonly internal: boolean;
  readonly as4: boolean;
  readonly families: readonly Family[];
}

export interface Outgoing {
  readonly family: Family;
  readonly nextHop: string;
  /** Without next hop and prefixes. */
  readonly attributes: Attributes;
}

/** RFC 4271 §5.1.5: LOCAL_PREF is mandatory within an AS; 100 is what every router takes for "not said". */
const DEFAULT_LOCAL_PREF = 100;
const MAX_SEGMENT = 255;

/** The attributes of one route on this session, or why it cannot go there. */
export function outgoing(route: Route, session: SessionFacts): Outgoing | { readonly refused: string } {
  const family = familyOf(route.address);
  if (!session.families.includes(family)) return { refused: `the peer takes no IPv${family} routes` };
  const nextHop = route.nextHop ?? (familyOf(session.localAddress) === family ? session.localAddress : null);
  if (nextHop === null) return { refused: `no IPv${family} next hop is known on an ${transport(session)} session` };
  const complaint = nextHopComplaint(nextHop, family, session);
  if (complaint !== null) return { refused: complaint };

  const path = asPath(route.asPath, session);
  return {
    family,
    nextHop: withoutZone(nextHop),
    attributes: {
      origin: 'igp',
      asPath: path,
      ...(route.med === null ? {} : { med: route.med }),
      // RFC 4271 §5.1.5: never to another AS.
      ...(session.internal ? { localPref: route.localPref ?? DEFAULT_LOCAL_PREF } : {}),
      ...(route.communities.length === 0 ? {} : { communities: [...new Set(route.communities)].sort((a, b) => a - b) }),
      // RFC 6793 §4.2.2: what a two-octet AS_PATH cannot say travels beside it.
      ...(!session.as4 && path.some(({ as }) => as.some((number) => number > 0xffff)) ? { as4Path: path } : {}),
    },
  };
}

/** RFC 4271 §5.1.2: eBGP sends what is configured, at least ourselves; in iBGP our own AS in it would be a loop. */
function asPath(configured: readonly number[], { internal, localAs }: SessionFacts): readonly AsSegment[] {
  const path = internal ? configured.filter((as) => as !== localAs) : configured.length === 0 ? [localAs] : configured;
  const segments: AsSegment[] = [];
  for (let at = 0; at < path.length; at += MAX_SEGMENT) {
    segments.push({ is: 'sequence', as: path.slice(at, at + MAX_SEGMENT) });
  }
  return segments;
}

/** RFC 4271 §5.1.3 and §6.3: of the right family, a unicast address, and not the peer's own. */
function nextHopComplaint(nextHop: string, family: Family, session: SessionFacts): string | null {
  if (familyOf(nextHop) !== family) return `next hop ${nextHop} is not IPv${family}`;
  const bytes = addressBytes(nextHop);
  const first = bytes[0] ?? 0;
  if (bytes.every((octet) => octet === 0)) return `next hop ${nextHop} is nobody`;
  if (family === 4 ? first >= 224 : first === 0xff) return `next hop ${nextHop} is not a unicast address`;
  // On one host both ends may have the same address: that is a try-out, not a loop.
  const ownToo = session.localAddress === session.peerAddress;
  if (!ownToo && withoutZone(nextHop) === withoutZone(session.peerAddress))
    return `next hop ${nextHop} is the peer itself`;
  return null;
}

function transport(session: SessionFacts): string {
  return `IPv${familyOf(session.localAddress)}`;
}

function withoutZone(address: string): string {
  return address.split('%')[0] ?? address;
}
