// What is known, and how a new fact changes it. Facts are one union, told in order: the event log. `learn` folds one in and
// shares everything that it does not touch, so `decide` can see by reference which services have anything new.

import type { Config, ServiceConfig } from '../config/types.ts';
import type { AddressTable } from '../vip/addresses.ts';
import type { IpvsEntry, IpvsTable, ServiceKey } from '../ipvs/table.ts';
import type { Mono } from '../world/world.ts';

/** One host of an accepted pool list. */
export interface PoolHost {
  readonly host: string;
  readonly weight: number;
  readonly enabled: boolean;
}

/** A source's accepted list. `note` is what an operator should know of the source: 'refused: …', 'suspect: …', stale since. */
export interface PoolList {
  readonly hosts: readonly PoolHost[];
  readonly note: string | null;
}

/** Health of one server: its monitors combined, after rise and fall. */
export interface ServerHealth {
  readonly is: 'up' | 'down' | 'unknown';
  readonly since: Mono;
  readonly reason: string;
  /** Some monitor is up (PyBal's "partially up"). */
  readonly partial: boolean;
  /** What monitors that are up say of its weight; absent: nothing. */
  readonly weighting?: Weighting;
}

/** How much a server should get, in its own words (an agent's, or a check's): it counts while the server is up. */
export interface Weighting {
  /** In the place of the pool list's weight; null: nobody said so. */
  readonly weight: number | null;
  /** Of that weight. */
  readonly percent: number;
  /** No new connections; those that it has may end. */
  readonly drain: boolean;
  /** Who said so: `Agent: 50%`. */
  readonly reason: string;
}

export interface PeerState {
  readonly established: boolean;
  readonly since: Mono;
}

export type Fact =
  | { readonly is: 'configuration'; readonly config: Config }
  | { readonly is: 'pool'; readonly service: string; readonly list: PoolList }
  /** The address in use for a host (sticky), or null while it has none. */
  | { readonly is: 'address'; readonly service: string; readonly host: string; readonly address: string | null }
  /** An address that is being tried out before it replaces the one in use; null: none any more. */
  | { readonly is: 'candidate'; readonly service: string; readonly host: string; readonly address: string | null }
  | { readonly is: 'health'; readonly service: string; readonly host: string; readonly health: ServerHealth | null }
  /** A read-back of the kernel: entries that changed since the last one (null: gone), or everything when `whole`. */
  | {
      readonly is: 'kernel';
      readonly at: Mono;
      readonly whole: boolean;
      readonly ipvs: ReadonlyMap<ServiceKey, IpvsEntry | null>;
      readonly vips: AddressTable;
      /** Why this read-back, or the writes before it, did not succeed; null when the tables are what was read. */
      readonly error: string | null;
      /** What was read of these equals what was wanted of them at that time: if it differs from today's wish, it does so since then. */
      readonly met?: { readonly at: Mono; readonly services: ReadonlySet<ServiceKey> };
      /** The kernel refuses us altogether (EPERM, no IPVS): withdraw at once instead of after the reconcile limit. */
      readonly denied: boolean;
    }
  /** These entries are about to be written: until the next `kernel` fact without error what was read of them is old. */
  | { readonly is: 'writing'; readonly services: ReadonlySet<ServiceKey>; readonly vips: ReadonlySet<string> }
  | { readonly is: 'peer'; readonly peer: string; readonly state: PeerState }
  /** This process is about to end: no route of ours may lead here any more. */
  | { readonly is: 'exiting' }
  | { readonly is: 'time'; readonly now: Mono };

export interface ServiceFacts {
  readonly config: ServiceConfig;
  /** When this service was first heard of by this process. */
  readonly since: Mono;
  readonly list: PoolList | null;
  readonly addresses: ReadonlyMap<string, string | null>;
  readonly candidates: ReadonlyMap<string, string>;
  readonly health: ReadonlyMap<string, ServerHealth>;
  /** As last read from the kernel; null: not there, or not read yet (see KernelFacts.at). */
  readonly kernel: IpvsEntry | null;
  /** A write to it is on its way, or was given up: it may not be any more what was read. */
  readonly inDoubt: boolean;
  /** What the kernel had when this process first read it: entries to adopt. */
  readonly adopted: IpvsEntry | null;
}

export interface KernelFacts {
  /** Last complete read without error; null before the first. */
  readonly verifiedAt: Mono | null;
  readonly error: string | null;
  readonly denied: boolean;
  readonly ipvs: IpvsTable;
  /** When each service was last wanted as it was read later. */
  readonly met: ReadonlyMap<ServiceKey, Mono>;
  readonly vips: AddressTable;
  /** Addresses that a write is on its way to, or was given up: they may not be any more what was read. */
  readonly vipsInDoubt: ReadonlySet<string>;
}

export interface Facts {
  readonly now: Mono;
  readonly config: Config | null;
  readonly services: ReadonlyMap<string, ServiceFacts>;
  readonly kernel: KernelFacts;
  readonly peers: ReadonlyMap<string, PeerState>;
  readonly exiting: boolean;
}
