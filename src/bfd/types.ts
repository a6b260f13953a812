// What crosses the border of this folder: which sessions are wanted, and what became of them. Pure data, so that it can be
// posted to a worker. RFC 5880 (BFD), 5881 (single hop), 5883 (multihop).

import type { Mono } from '../world/world.ts';

/** RFC 5880 §4.1; the order is the numbering on the wire. */
export type StateName = 'AdminDown' | 'Down' | 'Init' | 'Up';

/** RFC 5880 §4.2 to 4.4 */
export type AuthType = 'simple' | 'md5' | 'meticulous-md5' | 'sha1' | 'meticulous-sha1';

export interface BfdAuth {
  readonly type: AuthType;
  /** 0 to 255. */
  readonly keyId: number;
  /** ASCII; at most 16 octets for simple and MD5, 20 for SHA1. */
  readonly key: string;
}

/** One wanted session. */
export interface BfdSessionConfig {
  /** The BGP peer's. */
  readonly name: string;
  /** Canonical; a link-local one has its zone. */
  readonly address: string;
  /** null: the kernel chooses the source. */
  readonly localAddress: string | null;
  readonly multihop: boolean;
  /** What we would like to send and are able to receive, once the session is up. */
  readonly intervalMs: number;
  /** How many packets in a row the other side may miss. 1 to 255. */
  readonly multiplier: number;
  readonly auth: BfdAuth | null;
}

export interface BfdConfig {
  readonly sessions: readonly BfdSessionConfig[];
  /** A daemon that gives no sign of life for so long is wedged, and all sessions are held down. */
  readonly wedgedMs: number;
}

/** How often the daemon says that it lives. Must be a small part of any `wedgedMs`. */
export const HEARTBEAT_MS = 100;

/** A session came up or went down. */
export interface BfdChange {
  readonly name: string;
  readonly state: StateName;
  readonly was: StateName;
  /** What we say was the reason of our last change, and what the other side says of its own. Text of RFC 5880 §4.1. */
  readonly diagnostic: string;
  readonly remoteDiagnostic: string;
  /** RFC 5882 §3.2: the other side went to AdminDown, which says nothing about the path. */
  readonly remoteAdminDown: boolean;
}

export interface BfdCounters {
  packetsIn: number;
  packetsOut: number;
  /** Sends that the kernel refused. */
  sendErrors: number;
  /** Packets for this session that RFC 5880 §6.8.6 throws away. */
  discarded: number;
  /** Up to anything else. */
  downs: number;
}

export interface BfdStatus {
  readonly name: string;
  readonly address: string;
  readonly localAddress: string | null;
  readonly multihop: boolean;
  readonly state: StateName;
  readonly since: Mono;
  readonly diagnostic: string;
  readonly localDiscriminator: number;
  /** null: not heard of. */
  readonly remote: {
    readonly state: StateName;
    readonly discriminator: number;
    readonly diagnostic: string;
    readonly minRxMs: number;
    readonly desiredTxMs: number;
    readonly multiplier: number;
  } | null;
  /** Between two packets of ours, before jitter; null: none are sent. */
  readonly transmitMs: number | null;
  /** Silence after which the session goes down; null before the first packet. */
  readonly detectionMs: number | null;
  readonly auth: AuthType | null;
  readonly counters: Readonly<BfdCounters>;
  /** Why packets were last discarded or not sent, until some are taken or sent again; for people. */
  readonly lastError: string | null;
}
