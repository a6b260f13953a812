// What decide() answers: verdicts, each with its cause, and the tables that the world should equal. Types only.

import type { Config } from '../config/types.ts';
import type { DestinationKey, IpvsDestination, IpvsEntry, ServiceKey } from '../ipvs/table.ts';
import type { Mono } from '../world/world.ts';
import type { ServiceFacts } from './facts.ts';
import type { Marks } from './marks.ts';

/** Why something is as it is: a stable word for machines and a sentence for people. */
export interface Cause {
  readonly code: string;
  readonly text: string;
}

export interface ServerVerdict {
  readonly host: string;
  readonly address: string | null;
  /** What it has, or would have, in the kernel. */
  readonly weight: number;
  /** What the pool list says. */
  readonly listedWeight: number;
  /** Its monitors make its weight 0: it is pooled and gets no new connections, unless it is held. */
  readonly drains: boolean;
  readonly enabled: boolean;
  /** What its monitors say now. */
  readonly health: 'up' | 'down' | 'unknown';
  /** What it counts as: the verdict from before while health is unknown, the kernel's word while it is adopted. */
  readonly stands: 'up' | 'adopted' | 'down' | 'unknown';
  readonly partial: boolean;
  readonly pooled: boolean;
  /** Pooled, or with its weight though it drains, only to keep the floor. */
  readonly held: boolean;
  /** May be held: it was up or adopted once, or the service's first round saw it down or partly up. */
  readonly holdable: boolean;
  /** Start of its current or last time up, and its end; null if it was never up, or is up. */
  readonly upSince: Mono | null;
  readonly upUntil: Mono | null;
  /** Since when it is in a pool that it came into while the service ran, until its slow start is over. */
  readonly startsSince: Mono | null;
  /** Since when `health` is unknown after having been known. */
  readonly unknownSince: Mono | null;
  readonly cause: Cause;
}

/** Does this service want its VIP announced? `abstains` has no vote. */
export interface Vote {
  readonly is: 'yes' | 'no' | 'abstains';
  readonly cause: Cause;
}

export interface ServiceVerdict {
  readonly name: string;
  readonly key: ServiceKey;
  readonly vip: string;
  readonly servers: readonly ServerVerdict[];
  /** Servers that must stay pooled: ceil(threshold × N). */
  readonly floor: number;
  readonly floorMet: boolean;
  /** PyBal's canDepool: enough servers are up and enabled. */
  readonly canDepool: boolean;
  /** Every eligible server has had its first result, or start-grace is over. */
  readonly firstRound: boolean;
  /** Some server was seen up since this service exists: until then held servers do not count as served. */
  readonly proven: boolean;
  readonly vote: Vote;
  /** What the kernel should have; null: nothing to say yet (leave what is there). */
  readonly desired: IpvsEntry | null;
  /** Administratively removed destinations that still stand with weight 0, and until when. */
  readonly draining: ReadonlyMap<DestinationKey, { readonly destination: IpvsDestination; readonly until: Mono }>;
  /** Destinations that stay until the route that led to them has been gone long enough. */
  readonly lingering: { readonly entry: IpvsEntry; readonly until: Mono } | null;
  /** The kernel was equal to `desired` at least once since the service has one. */
  readonly verifiedOnce: boolean;
  /** Since when the kernel, as last read, differs from `desired`; null while it is equal. */
  readonly differsSince: Mono | null;
  /** The facts that this was decided on, to see by reference whether anything is new. */
  readonly basis: ServiceFacts;
  /** Time alone changes this verdict then; Infinity: never. */
  readonly wakeAt: number;
}

export interface VipVerdict {
  readonly vip: string;
  readonly announced: boolean;
  readonly cause: Cause;
  readonly services: readonly string[];
  /** Since when it is announced, or withdrawn. */
  readonly since: Mono;
  /** It is, or was, announced by this process. */
  readonly everAnnounced: boolean;
  /** Since when the address is missing on the host, as last read; null while it is there. */
  readonly missingSince: Mono | null;
}

/** One route of the desired Adj-RIB-Out of one peer. Attributes that a peer cannot carry are left out by the speaker. */
export interface Route {
  /** A VIP; the prefix is /32 or /128. */
  readonly address: string;
  readonly nextHop: string | null;
  readonly asPath: readonly number[];
  readonly med: number | null;
  readonly localPref: number | null;
  readonly communities: readonly number[];
  /** RFC 8092, three numbers each. */
  readonly largeCommunities?: readonly (readonly [number, number, number])[];
  /** RFC 4360, the eight octets of each as two numbers of 32 bits. */
  readonly extendedCommunities?: readonly (readonly [number, number])[];
  /** How often our own AS is put before `asPath` on the way to another AS. */
  readonly prepends?: number;
  /** Octets per second, for routers that share traffic by it (draft-ietf-idr-link-bandwidth). */
  readonly linkBandwidth?: number | null;
}

export interface Desired {
  /** Services that should be in the kernel. */
  readonly ipvs: ReadonlyMap<ServiceKey, IpvsEntry>;
  /** Kernel entries that nobody may touch, though they are not in `ipvs`: frozen or not decided yet. */
  readonly keep: ReadonlySet<ServiceKey>;
  /** VIPs that should be on lo. */
  readonly vips: ReadonlySet<string>;
  /** VIPs that should be present by route, with the uplinks that they are delivered from. */
  readonly routedVips: ReadonlyMap<string, readonly string[]>;
  readonly keepVips: ReadonlySet<string>;
  /** A section cannot be read far enough to tell what is its: nothing at all may be taken away. */
  readonly keepAll: boolean;
  /** By peer name. */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
}

/** A way for a check: how `tools.connect` and `tools.datagram` get to one real server for the VIP. */
export interface Path {
  readonly mark: number;
  /** What the kernel has for the mark, as last read: the same object for as long as each reading found the same. */
  readonly found: IpvsEntry;
  readonly vip: string;
  readonly vipPort: number;
  /** NAT: whatever port is asked for, the server's own is reached. */
  readonly fixedPort: boolean;
  /** null: the kernel's choice. */
  readonly localAddress: string | null;
  readonly firstPort: number;
  readonly ports: number;
}

export interface Decision {
  readonly at: Mono;
  readonly config: Config;
  readonly services: ReadonlyMap<string, ServiceVerdict>;
  readonly vips: ReadonlyMap<string, VipVerdict>;
  readonly desired: Desired;
  /** What left the configuration and is still in the kernel until its routes have been gone long enough. */
  readonly leaving: ReadonlyMap<ServiceKey, { readonly entry: IpvsEntry; readonly until: Mono }>;
  readonly leavingVips: ReadonlyMap<string, Mono>;
  /** For checks through the path. */
  readonly marks: Marks;
  /** Time alone changes this decision then; Infinity: never. */
  readonly wakeAt: number;
}
