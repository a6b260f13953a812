// What the matrix asks of a router daemon: one session for each cell, told in the same words for all of them. An adapter
// (bird.ts, frr.ts …) turns settings into its configuration, and what the daemon says into views.

import type { Family } from '../../../src/lib/address.ts';
import type { Namespace } from '../../support/namespace.ts';

/** The AS of every router here, and ours unless a cell says otherwise. */
export const ROUTER_AS = 64500;
export const OUR_AS = 64600;

/** What the router is told about one session. */
export interface Settings {
  /** Address family of the TCP session. */
  readonly transport: Family;
  /** Our AS, as the router expects it. */
  readonly as: number;
  /** Families that it negotiates. */
  readonly families: readonly Family[];
  readonly holdTimeSeconds: number;
  /** It opens the connection; otherwise it waits for ours. */
  readonly dials: boolean;
  /** We need not be on its own wire. */
  readonly multihop: boolean;
  /** The session depends on BFD, every BFD_INTERVAL_MS; with `multihop`, of RFC 5883 and with BFD_AUTH if it can. */
  readonly bfd: boolean;
  /** It offers every capability that it has; otherwise what it offers unasked. */
  readonly offersAll: boolean;
  /** TCP-MD5. */
  readonly password: string | null;
  /** GTSM. */
  readonly ttlSecurity: boolean;
  /** With more of these in a family it ends the session. */
  readonly maximumPrefixes: number | null;
  /** The session runs between link-local addresses. */
  readonly linkLocal: boolean;
  /** It sends its optional parameters in the extended form (RFC 9072), if it can be told to. */
  readonly longOpen: boolean;
}

export const usual: Settings = {
  transport: 4,
  as: OUR_AS,
  families: [4, 6],
  holdTimeSeconds: 9,
  dials: false,
  multihop: false,
  bfd: false,
  offersAll: false,
  password: null,
  ttlSecurity: false,
  maximumPrefixes: null,
  linkLocal: false,
  longOpen: false,
};

/** Three of these without a packet are a lost path. Not the fastest that there is: all cells share two cores. */
export const BFD_INTERVAL_MS = 200;
export const BFD_AUTH = { type: 'meticulous-sha1', keyId: 7, key: 'sesame' } as const;

/** One session of a router with a speaker of ours. */
export interface Lane extends Settings {
  /** Unlike any other lane's. */
  readonly host: number;
  /** The addresses of both ends, for each family; the session runs between those of `transport`. */
  readonly ours: Readonly<Record<Family, string>>;
  readonly theirs: Readonly<Record<Family, string>>;
}

/** Our address on the session: by this all routers call it. A link-local one is without its zone, which each end has its own of. */
export const ourEnd = (lane: Lane): string =>
  lane.linkLocal ? `fe80::${lane.host.toString(16)}` : lane.ours[lane.transport];
export const theirEnd = (lane: Lane): string => (lane.linkLocal ? LINK_LOCAL : lane.theirs[lane.transport]);
export const LINK_LOCAL = 'fe80::1';
/** The router's interface. */
export const WIRE = 'wire';
export const withoutZone = (address: string): string => address.replace(/%.*/, '');

/** Capabilities as the routers' views name them, made one vocabulary. */
export type CapabilityName =
  | 'IPv4 unicast'
  | 'IPv6 unicast'
  | 'route refresh'
  | 'enhanced refresh'
  | '4-octet AS'
  | 'extended messages'
  | 'extended next hop'
  | 'graceful restart'
  /** The N bit (RFC 8538). */
  | 'restart after NOTIFICATION';

export interface RouteView {
  readonly nextHop: string;
  /** 'IGP' */
  readonly origin: string;
  /** '64600 64700' */
  readonly path: string;
  /** null: it says none. */
  readonly med: number | null;
  /** null: it says none. */
  readonly localPref: number | null;
  /** '64600:7', in the order of the wire. */
  readonly communities: readonly string[];
  /** '64600:1:2' */
  readonly largeCommunities: readonly string[];
  /** 'rt 64600:7', 'lb 64600:125000000' in octets per second; others as the router has them. */
  readonly extendedCommunities: readonly string[];
}

export interface SessionView {
  readonly established: boolean;
  /** Negotiated, or null when the router does not say. */
  readonly holdTimeSeconds: number | null;
  /** What we offered. */
  readonly capabilities: ReadonlySet<CapabilityName>;
  /** How many End-of-RIB markers came: one for each family, if all is well. */
  readonly endsOfRib: number;
  /** How many marks came that a refresh begins or ends (RFC 7313). */
  readonly refreshMarks: number;
  /** The name that we gave, with its domain, or '' for none. */
  readonly hostname: string;
  /** What we said of our software, or '' for nothing. */
  readonly software: string;
  /** State of the BFD session, 'Up' … ; '' without one. */
  readonly bfd: string;
  /** How often the session has ended because of BFD. */
  readonly bfdDowns: number;
  /** The last NOTIFICATION that it got from us, in its own words, or '' for none. */
  readonly received: string;
  /** By prefix. */
  readonly routes: ReadonlyMap<string, RouteView>;
}

/** Sessions by our address. */
export type View = ReadonlyMap<string, SessionView>;

/** Things that an operator of the router does. */
export type Deed =
  /** Ask us for everything again, without a new session. */
  | 'refresh'
  /** Shut the session down with the text `SHUTDOWN_TEXT`. */
  | 'shutdown';

export const SHUTDOWN_TEXT = 'new linecards';

/**
 * What a router lacks: the lines of one session's configuration that it refuses, whose complaint the document cites, or in
 * `silent` why its view of a session cannot tell.
 */
export type Lack = { readonly refused: string } | { readonly silent: string };

export interface Router {
  /** 'BIRD' */
  readonly name: string;
  /** Cells that it cannot have, by the feature's name. */
  readonly lacks: Readonly<Record<string, Lack>>;
  readonly debianPackage: string;
  /** Its multihop sessions are signed with BFD_AUTH. */
  readonly bfdAuth: boolean;
  start(namespace: Namespace, lanes: readonly Lane[]): Promise<void>;
  /** What it says now about all of its sessions; a daemon that does not answer yet has none. */
  view(): Promise<View>;
  do(lane: Lane, deed: Deed): Promise<void>;
  /** Check a configuration with these lines in a session. Its complaint, or null when it has none. */
  complaint(lines: string): Promise<string | null>;
  stop(): Promise<void>;
}

/** No session of it yet. */
export const NOTHING: SessionView = {
  established: false,
  holdTimeSeconds: null,
  capabilities: new Set(),
  endsOfRib: 0,
  refreshMarks: 0,
  hostname: '',
  software: '',
  bfd: '',
  bfdDowns: 0,
  received: '',
  routes: new Map(),
};

/** What a program that failed has said. */
export function lastWords(error: unknown): string {
  const { stdout, stderr } = error as { readonly stdout?: unknown; readonly stderr?: unknown };
  return `${stdout ?? ''}${stderr ?? ''}`.trim() || String(error);
}

/** Its number, as in `WELL_KNOWN` of RFC 1997 and others, in the spelling that routers print. */
export function communityNumber(word: string): string {
  return WELL_KNOWN[word.toLowerCase().replaceAll('_', '-')] ?? word;
}

const WELL_KNOWN: Readonly<Record<string, string>> = {
  'graceful-shutdown': '65535:0',
  'no-llgr': '65535:7',
  'no-export': '65535:65281',
  gshut: '65535:0',
};

/** Bits of a link bandwidth community (draft-ietf-idr-link-bandwidth) as octets per second. */
export function bandwidthOf(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

/** Occurrences of a text. */
export const count = (text: string, part: string): number => text.split(part).length - 1;

/** Asks anew, but only once at a time: all who wait share the next answer that is wholly after their question. */
export function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  let next: Promise<T> | null = null;
  const begin = (): Promise<T> => {
    next = null;
    running = ask().finally(() => {
      running = null;
    });
    return running;
  };
  return () => {
    if (running === null) return begin();
    next ??= running.then(begin, begin);
    return next;
  };
}
