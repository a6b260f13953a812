// What decide() answers: verdicts, each with its cause, and the tables that the world should equal. Types only.

import type { Config } from '../config/types.ts';
import type { IpvsEntry, ServiceKey } from '../ipvs/table.ts';
import type { Mono } from '../world/world.ts';
import type { ServiceFacts } from './facts.ts';

/** Why something is as it is: a stable word for machines and a sentence for people. */
export interface Cause {
  readonly code: string;
  readonly text: string;
}

export interface ServerVerdict {
  readonly host: string;
  readonly address: string | null;
  readonly weight: number;
  readonly enabled: boolean;
  readonly health: 'up' | 'down' | 'unknown';
  readonly partial: boolean;
  readonly pooled: boolean;
  /** Pooled only to keep the floor. */
  readonly held: boolean;
  /** Start of its current or last time up; null if it was never up. */
  readonly upSince: Mono | null;
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
  readonly canDepool: boolean;
  /** Some server was seen up, or was adopted: held servers count for `served`. */
  readonly proven: boolean;
  readonly vote: Vote;
  /** What the kernel should have; null: nothing to say yet (leave what is there). */
  readonly desired: IpvsEntry | null;
  /** Kernel equals `desired`, VIP included. */
  readonly verified: boolean;
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
}

export interface Desired {
  /** Services that should be in the kernel. */
  readonly ipvs: ReadonlyMap<ServiceKey, IpvsEntry>;
  /** Kernel entries that nobody may touch, though they are not in `ipvs`: frozen or not decided yet. */
  readonly keep: ReadonlySet<ServiceKey>;
  /** VIPs that should be on lo. */
  readonly vips: ReadonlySet<string>;
  readonly keepVips: ReadonlySet<string>;
  /** By peer name. */
  readonly routes: ReadonlyMap<string, readonly Route[]>;
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
  /** Time alone changes this decision then; Infinity: never. */
  readonly wakeAt: number;
}
