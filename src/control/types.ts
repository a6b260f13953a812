// What is shown, and what it is made of. A View is one consistent moment of the daemon as plain data: the API sends it as
// JSON, the CLI prints it, PyBal's pages and the metrics are derived from it. The inputs are structural, so that control
// imports no organ and each organ's own status type fits.

import type { BfdStatus } from '../bfd/types.ts';
import type { Decision } from '../decision/decision.ts';
import type { Facts } from '../decision/facts.ts';
import type { Mono, Wall } from '../world/world.ts';

// ── inputs ──

/** One monitor on one server: what the health runner says. */
export interface CheckInput {
  readonly service: string;
  readonly host: string;
  /** An address that is being tried out before it is used: not shown. */
  readonly candidate: boolean;
  /** The monitor's own spelling: 'ProxyFetch'. */
  readonly monitor: string;
  readonly is: 'up' | 'down' | 'unknown';
  readonly since: Mono;
  readonly last: string;
  readonly lastLatencyMs: number | null;
  /** It asks no more: too many of its checks have never ended. */
  readonly givenUp: boolean;
  readonly results: { readonly up: number; readonly down: number; readonly unknown: number };
  readonly transitions: { readonly up: number; readonly down: number };
  readonly observations: readonly {
    readonly metric: string;
    readonly kind: 'gauge' | 'counter';
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
  }[];
}

/** What one monitor said of one server lately. Times as the clock of the input says: monotonic, in the view Unix time in ms. */
export interface CheckHistory<Time> {
  readonly service: string;
  readonly host: string;
  readonly address: string;
  readonly candidate: boolean;
  readonly monitor: string;
  /** The oldest first. */
  readonly results: readonly {
    readonly at: Time;
    readonly is: 'up' | 'down' | 'unknown';
    readonly latencyMs: number;
    readonly reason: string;
  }[];
  /** Changes of the verdict, after rise and fall. */
  readonly transitions: readonly {
    readonly at: Time;
    readonly is: 'up' | 'down' | 'unknown';
    readonly reason: string;
  }[];
}

/** The source of one service's pool. */
export interface SourceInput {
  readonly url: string;
  readonly state: 'waiting' | 'current' | 'stale' | 'suspect' | 'refused' | 'unparsable';
  readonly servers: number | null;
  readonly ageSeconds: number | null;
  /** More of `state`, in words. */
  readonly note: string | null;
  readonly lastError: string | null;
  /** Entries of its data that had to be left out, each with its place, and hosts that may not use what DNS says of them. */
  readonly unreadable: readonly string[];
  /** All that is wrong with its data, likewise. */
  readonly complaints: readonly string[];
}

/** One BGP peer. */
export interface PeerInput {
  readonly name: string;
  readonly address: string;
  readonly localAddress: string | null;
  readonly localAs: number;
  readonly remoteAs: number | null;
  /** RFC 4271's spelling: 'Idle', 'OpenSent' … */
  readonly state: string;
  readonly side: 'active' | 'passive';
  readonly established: boolean;
  readonly since: Mono;
  readonly prefixesSent: number;
  /** The addresses that it has from us. */
  sent(): Iterable<string>;
  /** Wanted, and kept back because the peer takes no more. */
  readonly prefixesKeptBack: number;
  readonly holdTimeSeconds: number | null;
  /** This connection goes without any of ours: the peer has refused them. */
  readonly withoutCapabilities: boolean;
  /** Names of what the peer's OPEN offered, and who it says it is. */
  readonly peerCapabilities: readonly string[];
  readonly peerHostname: string | null;
  readonly peerSoftware: string | null;
  readonly lastError: string | null;
}

/** A monitor that threw where no check could catch it. */
export interface MonitorBugInput {
  readonly monitor: string;
  readonly count: number;
  readonly last: string;
  readonly lastAt: Mono;
}

/** The reconciler. */
export interface ReconcilerInput {
  readonly backend: string;
  /** What differs from the decision and is not repaired yet, each in a sentence. */
  readonly drift: readonly string[];
  /** Another writer keeps undoing what we do. */
  readonly fighting: boolean;
  /** Entries of the kernel that are neither ours nor configured, by key. */
  readonly foreign: readonly string[];
  readonly writes: number;
  readonly repairs: number;
  readonly lastError: string | null;
}

export interface ViewInputs {
  readonly version: string;
  readonly now: Mono;
  readonly wall: Wall;
  /** When the daemon started, on the same clock as `now`. */
  readonly startedAt: Mono;
  readonly facts: Facts;
  /** Null before the first one. */
  readonly decision: Decision | null;
  readonly checks: readonly CheckInput[];
  /** By service. */
  readonly sources: ReadonlyMap<string, SourceInput>;
  readonly peers: readonly PeerInput[];
  readonly bfd: readonly BfdStatus[];
  readonly reconciler: ReconcilerInput | null;
  /** Times that a server could not be depooled, by service, since the start. */
  readonly couldNotDepool: ReadonlyMap<string, number>;
  readonly loopLateMs: number;
  readonly checkLateness: Histogram;
  readonly logLinesDropped: number;
  /** Why something could not be written to the state directory; null when all is kept. */
  readonly stateError: string | null;
  /** Where anybal can not be asked, and why. */
  readonly notServed: readonly string[];
  readonly monitorBugs: readonly MonitorBugInput[];
  /** The configuration on disk could not be used when it was read again, since then; null: what runs was read last. */
  readonly configRefused: { readonly why: string; readonly since: Mono } | null;
}

// ── the view ──

export interface Histogram {
  /** Cumulative, as in Prometheus. */
  readonly buckets: readonly { readonly upToMs: number; readonly count: number }[];
  readonly count: number;
  readonly sumMs: number;
}

export interface MonitorView {
  readonly monitor: string;
  readonly is: 'up' | 'down' | 'unknown';
  readonly forSeconds: number;
  readonly last: string;
  readonly latencyMs: number | null;
  /** It asks no more: too many of its checks have never ended. */
  readonly givenUp: boolean;
  readonly results: { readonly up: number; readonly down: number; readonly unknown: number };
  readonly transitions: { readonly up: number; readonly down: number };
  readonly observations: CheckInput['observations'];
}

export interface ServerView {
  readonly host: string;
  readonly address: string | null;
  /** What it has in the kernel, or would have. */
  readonly weight: number;
  /** What the pool list says. */
  readonly listedWeight: number;
  readonly enabled: boolean;
  readonly up: boolean;
  readonly pooled: boolean;
  /** Pooled only to keep the depool threshold: PyBal's "marked down but pooled". */
  readonly held: boolean;
  /** PyBal's `enabled/up/pooled`. */
  readonly status: string;
  readonly cause: string;
  readonly why: string;
  readonly monitors: readonly MonitorView[];
}

export interface ServiceView {
  readonly name: string;
  readonly protocol: string;
  readonly vip: string;
  readonly port: number;
  readonly scheduler: string;
  readonly forward: string;
  readonly depoolThreshold: number;
  readonly servers: readonly ServerView[];
  readonly enabled: number;
  readonly up: number;
  readonly pooled: number;
  readonly held: number;
  readonly floor: number;
  readonly floorMet: boolean;
  readonly canDepool: boolean;
  /** PyBal's warning: one server less and the threshold is reached. */
  readonly tooSmall: boolean;
  readonly couldNotDepool: number;
  readonly vote: 'yes' | 'no' | 'abstains';
  readonly voteCause: string;
  readonly voteWhy: string;
  /** The kernel, as last read, is what was decided. */
  readonly verified: boolean;
  /** Runs on its last good text because the present one is wrong. */
  readonly quarantined: boolean;
  /** It has monitors that run. */
  readonly watched: boolean;
  /** Why its servers are not watched as they were meant to be; null: they are. */
  readonly unwatched: string | null;
  readonly source: SourceInput | null;
}

export interface VipView {
  readonly vip: string;
  /** As decided: a peer hears it when it has a session, and none in a dry run. */
  readonly announced: boolean;
  /** It is, or was, announced since this process began. */
  readonly everAnnounced: boolean;
  /** How many peers have it from us: were sent it in the session that they have. */
  readonly announcedTo: number;
  readonly cause: string;
  readonly why: string;
  readonly services: readonly string[];
  readonly forSeconds: number;
}

export interface PeerView {
  readonly name: string;
  readonly address: string;
  readonly localAddress: string | null;
  readonly localAs: number;
  readonly remoteAs: number | null;
  readonly state: string;
  readonly side: 'active' | 'passive';
  readonly established: boolean;
  readonly forSeconds: number;
  readonly prefixesSent: number;
  /** Wanted, and kept back because the peer takes no more. */
  readonly prefixesKeptBack: number;
  readonly holdTimeSeconds: number | null;
  /** This connection goes without any of ours: the peer has refused them. */
  readonly withoutCapabilities: boolean;
  /** Names of what the peer's OPEN offered, and who it says it is. */
  readonly peerCapabilities: readonly string[];
  readonly peerHostname: string | null;
  readonly peerSoftware: string | null;
  readonly lastError: string | null;
}

export type MonitorBugView = Omit<MonitorBugInput, 'lastAt'> & { readonly secondsAgo: number };

/** A BFD session as bfd/types.ts reports it, with its age instead of a time. */
export type BfdView = Omit<BfdStatus, 'since'> & { readonly forSeconds: number };

export interface KernelView {
  readonly backend: string;
  /** Since the last complete read-back without error; null before the first. */
  readonly verifiedSecondsAgo: number | null;
  readonly error: string | null;
  readonly drift: readonly string[];
  readonly fighting: boolean;
  readonly foreign: readonly string[];
  readonly writes: number;
  readonly repairs: number;
}

export interface QuarantineView {
  readonly name: string;
  /** `pybal.conf:41` */
  readonly place: string;
  /** It has no last good text: its kernel objects stay as they are. */
  readonly frozen: boolean;
  readonly complaints: readonly string[];
}

export interface ConfigView {
  readonly file: string;
  /** Warnings and errors, each with its place. */
  readonly complaints: readonly string[];
  readonly quarantined: readonly QuarantineView[];
  /** Why the last reload changed nothing, and for how long none has succeeded; null: the file is what runs. */
  readonly refused: { readonly why: string; readonly forSeconds: number } | null;
}

export interface Alarm {
  readonly level: 'warning' | 'critical';
  /** A stable word for machines. */
  readonly code: string;
  readonly text: string;
}

export interface View {
  readonly version: string;
  /** Unix time of this view, ms. */
  readonly at: number;
  readonly uptimeSeconds: number;
  readonly loopLateMs: number;
  /** How late checks have started, since the start of the daemon. */
  readonly checkLateness: Histogram;
  readonly logLinesDropped: number;
  readonly stateError: string | null;
  /** Where anybal can not be asked, and why. */
  readonly notServed: readonly string[];
  readonly monitorBugs: readonly MonitorBugView[];
  readonly bgp: boolean;
  readonly config: ConfigView | null;
  readonly services: readonly ServiceView[];
  readonly vips: readonly VipView[];
  readonly peers: readonly PeerView[];
  readonly bfd: readonly BfdView[];
  readonly kernel: KernelView;
  readonly alarms: readonly Alarm[];
}
