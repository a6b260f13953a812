// Adj-RIB-Out of one session: what is wanted, what was sent, and the UPDATEs that lie between. Prefixes wait in
// buckets, one per distinct attribute set, and a later wish for a prefix replaces an earlier one that was not sent yet.
// So a peer that does not read costs no memory: messages are made one by one, only when the stream has room.
// deliberate: no MinRouteAdvertisementInterval (RFC 4271 §9.2.1.1); whoever calls `want` already speaks for a settled
// decision.

import type { Route } from '../decision/decision.ts';
import { addressBytes, type Family, familyOf } from '../lib/address.ts';
import { Writer } from '../lib/bytes.ts';
import { addressBits, MAX_MESSAGE_BYTES } from './constants.ts';
import { encodeMessage } from './message.ts';
import { encodePrefix, NO_NLRI, type Nlri } from './nlri.ts';
import { type Outgoing, outgoing, type SessionFacts } from './route.ts';
import { endOfRib, type Update } from './update.ts';

interface Bucket {
  /** Equal keys are equal attribute sets. */
  readonly key: string;
  readonly route: Outgoing;
  /** Prefixes that one message takes beside these attributes. */
  readonly capacity: number;
  /** Addresses that still have to be announced with it. */
  readonly waiting: Set<string>;
}

export class AdjRibOut {
  readonly #session: SessionFacts;
  readonly #maxMessageBytes: number;
  /** Address → key of the attribute set that the peer has. */
  readonly #sent = new Map<string, string>();
  #wanted: ReadonlyMap<string, Bucket> = new Map();
  #buckets: ReadonlyMap<string, Bucket> = new Map();
  readonly #withdrawing: Readonly<Record<Family, Set<string>>> = { 4: new Set(), 6: new Set() };
  readonly #endOfRib: Set<Family>;
  #replaying = false;

  constructor(session: SessionFacts, maxMessageBytes: number = MAX_MESSAGE_BYTES) {
    this.#session = session;
    this.#maxMessageBytes = maxMessageBytes;
    this.#endOfRib = new Set(session.families);
  }

  /** Prefixes that the peer has from us. */
  get sentCount(): number {
    return this.#sent.size;
  }

  /** Everything wanted was sent, End-of-RIB included. */
  get settled(): boolean {
    return this.#firstWithdrawing() === null && this.#firstWaiting() === null && !this.#endOfRibDue();
  }

  /**
   * Replace the whole set of wanted routes; equal ones are not sent again. Returns why routes were refused, each reason
   * once. The first call begins the replay that ends with End-of-RIB.
   */
  want(routes: readonly Route[]): readonly string[] {
    const refusals = new Set<string>();
    const wanted = new Map<string, Bucket>();
    const buckets = new Map<string, Bucket>();
    // Thousands of routes share a few attribute sets: each is worked out once.
    const judged = new Map<string, Bucket | { readonly refused: string }>();
    for (const route of routes) {
      const spelling = spellingOf(route);
      const known = judged.get(spelling) ?? this.#judge(route);
      judged.set(spelling, known);
      if ('refused' in known) {
        refusals.add(known.refused);
        continue;
      }
      const bucket = buckets.get(known.key) ?? known;
      buckets.set(known.key, bucket);
      wanted.set(route.address, bucket);
    }
    for (const [address, bucket] of this.#wanted) {
      if (wanted.get(address) === bucket) continue;
      bucket.waiting.delete(address);
      if (!wanted.has(address) && this.#sent.has(address)) this.#withdrawing[bucket.route.family].add(address);
    }
    for (const [address, bucket] of wanted) {
      if (this.#wanted.get(address) === bucket) continue;
      this.#withdrawing[bucket.route.family].delete(address);
      if (this.#sent.get(address) !== bucket.key) bucket.waiting.add(address);
    }
    this.#wanted = wanted;
    this.#buckets = buckets;
    this.#replaying = true;
    return [...refusals];
  }

  /** Send everything of this family again (RFC 2918 §4). */
  refresh(family: Family): void {
    for (const [address, bucket] of this.#wanted) if (bucket.route.family === family) bucket.waiting.add(address);
  }

  /** The next message, as large as it may be, or null when there is nothing to say. What it carries counts as sent. */
  next(): Uint8Array | null {
    // Withdrawals first: they are what somebody is waiting for.
    const family = this.#firstWithdrawing();
    if (family !== null) return this.#withdraw(family);
    const bucket = this.#firstWaiting();
    if (bucket !== null) return this.#announce(bucket);
    if (!this.#endOfRibDue()) return null;
    const [ended] = this.#endOfRib;
    if (ended === undefined) return null;
    this.#endOfRib.delete(ended);
    return this.#encode(endOfRib(ended));
  }

  #firstWithdrawing(): Family | null {
    return this.#withdrawing[4].size > 0 ? 4 : this.#withdrawing[6].size > 0 ? 6 : null;
  }

  #firstWaiting(): Bucket | null {
    for (const bucket of this.#buckets.values()) if (bucket.waiting.size > 0) return bucket;
    return null;
  }

  #endOfRibDue(): boolean {
    return this.#replaying && this.#endOfRib.size > 0;
  }

  #withdraw(family: Family): Uint8Array {
    const waiting = this.#withdrawing[family];
    const capacity = this.#capacity(withdrawal(emptyNlri(family)), family);
    return this.#encode(withdrawal(take(family, waiting, capacity, (address) => this.#sent.delete(address))));
  }

  #announce({ key, route, capacity, waiting }: Bucket): Uint8Array {
    const nlri = take(route.family, waiting, capacity, (address) => this.#sent.set(address, key));
    return this.#encode(announcement(route, nlri));
  }

  /** The bucket that a route belongs to, a present one if there is one. */
  #judge(wanted: Route): Bucket | { readonly refused: string } {
    const route = outgoing(wanted, this.#session);
    if ('refused' in route) return route;
    const key = JSON.stringify(route);
    const present = this.#buckets.get(key);
    if (present !== undefined) return present;
    const capacity = this.#capacity(announcement(route, emptyNlri(route.family)), route.family);
    if (capacity < 1) return { refused: 'its attributes fill a whole message' };
    return { key, route, capacity, waiting: new Set() };
  }

  /** How many prefixes fit beside what an UPDATE says already. */
  #capacity(empty: Update, family: Family): number {
    return Math.floor((this.#maxMessageBytes - this.#encode(empty).length) / prefixBytes(family));
  }

  #encode(update: Update): Uint8Array {
    return encodeMessage({ is: 'update', update }, this.#session);
  }
}

/** Equal for routes that differ in their address only. */
function spellingOf({ address, nextHop, asPath, med, localPref, communities }: Route): string {
  return `${familyOf(address)} ${nextHop} ${asPath.join()} ${med} ${localPref} ${communities.join()}`;
}

function announcement({ family, nextHop, attributes }: Outgoing, nlri: Nlri): Update {
  if (family === 4) return { withdrawn: NO_NLRI, attributes: { ...attributes, nextHop }, announced: nlri };
  const mpReach = { nextHop, linkLocal: null, nlri };
  return { withdrawn: NO_NLRI, attributes: { ...attributes, mpReach }, announced: NO_NLRI };
}

function withdrawal(nlri: Nlri): Update {
  if (nlri.family === 4) return { withdrawn: nlri, attributes: {}, announced: NO_NLRI };
  return { withdrawn: NO_NLRI, attributes: { mpUnreach: nlri }, announced: NO_NLRI };
}

/** Move up to `capacity` addresses out of `waiting`, as host routes. */
function take(family: Family, waiting: Set<string>, capacity: number, taken: (address: string) => void): Nlri {
  const count = Math.min(waiting.size, capacity);
  const writer = new Writer(count * prefixBytes(family));
  for (const address of waiting) {
    if (writer.length === count * prefixBytes(family)) break;
    encodePrefix(writer, addressBytes(address), addressBits(family));
    waiting.delete(address);
    taken(address);
  }
  return { family, bytes: writer.finish(), count };
}

function emptyNlri(family: Family): Nlri {
  return { ...NO_NLRI, family };
}

function prefixBytes(family: Family): number {
  return 1 + addressBits(family) / 8;
}
