// Configuration as the rest of the daemon sees it: typed, complete, every default filled in. Made by decode.ts only.

import type { BfdAuth } from '../bfd/types.ts';
import type { Complaint, Place } from '../lib/errors.ts';
import type { Family } from '../lib/address.ts';
import type { ForwardMethod, Protocol } from '../ipvs/table.ts';

export type AnnouncePolicy = 'always' | 'served' | 'healthy' | 'quorum';
export type VipPresence = 'lo' | 'route' | 'external';

/** How the time between two checks follows the verdict, for monitors that are asked in intervals. */
export interface Pace {
  /** While a result contradicts the verdict; null: as always. */
  readonly fastIntervalSeconds: number | null;
  /** For servers that have been down for `slowAfterSeconds`; null: as always. */
  readonly slowIntervalSeconds: number | null;
  readonly slowAfterSeconds: number;
}

/** How a check reaches its server: at its own address, through the forwarding path for the VIP, or by a check of each kind. */
export type Via = 'server' | 'path' | 'both';

/** What checks through the path use of this host: see decision/marks.ts. */
export interface PathConfig {
  readonly firstMark: number;
  readonly firstPort: number;
  readonly lastPort: number;
  /** So many of them are one real server's own. */
  readonly portsPerServer: number;
  readonly holdSeconds: number;
  /** At most one of each family. */
  readonly sources: readonly string[];
}

export interface MonitorConfig {
  /** As the module spells it: 'ProxyFetch'. */
  readonly name: string;
  /** Decoded by the module's rows. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly pace: Pace;
  readonly via: Via;
}

export interface ServiceConfig {
  readonly name: string;
  readonly place: Place;
  readonly protocol: Protocol;
  /** Canonical literal. */
  readonly vip: string;
  readonly family: Family;
  readonly port: number;
  readonly scheduler: string;
  /** IPVS flags from scheduler-flags, ops and persistence: FLAG.* or-ed. */
  readonly flags: number;
  readonly persistenceSeconds: number;
  readonly persistencePrefix: number;
  readonly forward: Exclude<ForwardMethod, 'local' | 'bypass'>;
  /** Port on the real servers: equals `port` unless forward is nat. */
  readonly realPort: number;
  /** file://, http://, https://, etcd://, dns://, srv://, k8s:// */
  readonly source: string;
  readonly sourceAccess: SourceAccess;
  readonly depoolThreshold: number;
  readonly monitors: readonly MonitorConfig[];
  /** How many of them must be up for a server to be up: all of them unless monitors-combine says otherwise. */
  readonly monitorsNeeded: number;
  /** Why its servers are not watched as they were meant to be, and count as up all the same, as with PyBal; null: they are. */
  readonly unwatched: string | null;
  readonly rise: number;
  readonly fall: number;
  readonly bgp: boolean;
  /** null: the peer's or the global one. */
  readonly bgpMed: number | null;
  readonly announce: AnnouncePolicy;
  /** Share of N that must be up for `quorum`, and the lower share at which it is lost. */
  readonly announceQuorum: number;
  readonly announceQuorumLow: number;
  /** A VIP with several services is announced when any, or when all, of them vote for it. */
  readonly vipPolicy: 'any' | 'all';
  readonly vipPresence: VipPresence;
  readonly adminFloor: boolean;
  readonly depoolAction: 'delete' | 'drain';
  /** How long an administratively removed server keeps weight 0 before it is deleted, with depoolAction 'drain'. */
  readonly drainSeconds: number;
  /** How long a server that comes into the pool of the running service takes to its full weight; 0: none. */
  readonly slowStartSeconds: number;
  readonly startGraceSeconds: number;
  readonly freezeLimitSeconds: number;
  /** Smallest share of the last accepted list's length that a new list may have without being suspect. */
  readonly poolShrinkLimit: number;
  readonly poolShrinkConfirmSeconds: number;
}

/** How a pool source is reached: what of it is not in its URL. Paths of files, which are read when they are needed. */
export interface SourceAccess {
  readonly etcdApi: 'auto' | 'v2' | 'v3';
  readonly tls: 'verify' | 'insecure' | 'off';
  readonly caFile: string | null;
  readonly certificateFile: string | null;
  readonly keyFile: string | null;
  readonly user: string | null;
  readonly passwordFile: string | null;
  readonly tokenFile: string | null;
  /** Of Kubernetes. */
  readonly labelSelector: string | null;
  readonly nodeAddress: 'name' | 'internal-ip' | 'external-ip';
}

/** A key in the configuration itself, or where it is: the text of a secret never leaves the configuration but through keys.ts. */
export type KeySource =
  | { readonly from: 'text'; readonly text: string }
  | { readonly from: 'file'; readonly path: string };

export interface PeerConfig {
  /** The address, or the name behind `peer ` in the section header. */
  readonly name: string;
  readonly place: Place | null;
  /** Canonical; a link-local one has its interface: `fe80::1%eth0`. */
  readonly address: string;
  readonly port: number;
  readonly localAddress: string | null;
  readonly passive: boolean;
  readonly localAs: number;
  /** null: any (PyBal checks nothing). */
  readonly peerAs: number | null;
  /** Offered to this peer. */
  readonly families: readonly Family[];

  readonly holdTimeSeconds: number;
  /** null: a third of the negotiated hold time. */
  readonly keepaliveSeconds: number | null;
  /** RFC 9687; 0: never. */
  readonly sendHoldSeconds: number;
  /** Longest pause between two attempts, and how long one of them may take. */
  readonly connectRetrySeconds: number;
  readonly connectTimeoutSeconds: number;

  /** AS_PATH as sent; for eBGP normally [localAs]. `prepends` more of localAs stand before it towards another AS. */
  readonly asPath: readonly number[];
  readonly prepends: number;
  readonly med: number | null;
  readonly localPref: number | null;
  /** RFC 1997, each as `(asn << 16 | value)`. */
  readonly communities: readonly number[];
  /** RFC 8092 */
  readonly largeCommunities: readonly (readonly [number, number, number])[];
  /** RFC 4360, the eight octets of each as two numbers of 32 bits. */
  readonly extendedCommunities: readonly (readonly [number, number])[];
  /** Octets per second. */
  readonly linkBandwidth: number | null;
  /** null: no route of this family is sent to this peer. */
  readonly nextHopIpv4: string | null;
  readonly nextHopIpv6: string | null;
  /** Of each family, that the router accepts from us; null: any number. */
  readonly maximumPrefixes: number | null;

  /** RFC 4724. `helper` offers it for no family; `restart` asks the router to keep our routes while we are gone. */
  readonly gracefulRestart: 'off' | 'helper' | 'restart';
  readonly gracefulRestartSeconds: number;
  /** RFC 8326: how long routes carry the community before they are withdrawn at a stop. */
  readonly gracefulShutdownSeconds: number;

  /** TCP-MD5. */
  readonly password: KeySource | null;
  /** Path of a file of TCP-AO keys, see ao-keys.ts. */
  readonly tcpAoFile: string | null;
  /** RFC 5082: the router is at most this many hops away, 1 on the same link. null: not checked. */
  readonly ttlSecurityHops: number | null;
  /** Of what we send; null: the kernel's default, or 255 with ttlSecurityHops. */
  readonly ttl: number | null;
  readonly dscp: number;

  /** null: BGP's own timers are all that watches this peer. */
  readonly bfd: BfdSettings | null;
}

/** How a peer's path is watched: BfdSessionConfig, less what the peer itself says. */
export interface BfdSettings {
  readonly intervalMs: number;
  readonly multiplier: number;
  readonly multihop: boolean;
  readonly auth: BfdAuthSettings | null;
}

/** BfdAuth, less the key itself. */
export interface BfdAuthSettings extends Omit<BfdAuth, 'key'> {
  readonly key: KeySource;
}

export interface GlobalConfig {
  readonly bgp: boolean;
  readonly routerId: string | null;
  /** Where to listen; '::' is every address of both families. */
  readonly bgpLocalAddresses: readonly string[];
  readonly bgpLocalPort: number;
  /** How long the daemon may stand still before its BFD sessions are held down. */
  readonly bfdWedgedSeconds: number;
  readonly instrumentation: boolean;
  readonly instrumentationPort: number;
  readonly instrumentationAddresses: readonly string[];
  readonly backend: 'auto' | 'netlink' | 'userspace' | 'dry-run';
  readonly stateDirectory: string;
  readonly controlSocket: string;
  readonly logFile: string | null;
  readonly logFormat: 'text' | 'json';
  readonly monitorDirectories: readonly string[];
  readonly reconcilePeriodSeconds: number;
  readonly reconcileLimitSeconds: number;
  /** Between withdrawing a route and taking away what it pointed to. */
  readonly withdrawWaitSeconds: number;
  /** How often a resolved host name is looked up again. */
  readonly resolveIntervalSeconds: number;
  /** Interfaces that clients come in by, for VIPs of presence `route`. */
  readonly uplinks: readonly string[];
  readonly path: PathConfig;
}

/**
 * A service's section that could not be used as it stands. `running` is its last good reading; without one its kernel
 * objects are frozen.
 */
export interface Quarantined {
  readonly name: string;
  readonly place: Place;
  readonly complaints: readonly Complaint[];
  readonly running: ServiceConfig | null;
  /** VIP and service as far as they could be read: what must not be touched. Null: only ownership on disk tells. */
  readonly frozen: { readonly protocol: Protocol; readonly vip: string; readonly port: number } | null;
}

export interface Config {
  readonly file: string;
  readonly global: GlobalConfig;
  /** In file order. Quarantined ones that run on their last good text are included. */
  readonly services: readonly ServiceConfig[];
  /** Empty when `global.bgp` is off. */
  readonly peers: readonly PeerConfig[];
  readonly quarantined: readonly Quarantined[];
  readonly complaints: readonly Complaint[];
}
