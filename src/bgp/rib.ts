// Adj-RIB-Out of one session: what is wanted, what was sent, and the messages that lie between. Prefixes wait in
// buckets, one per distinct attribute set, and a later wish for a prefix replaces an earlier one that was not sent yet.
// So a peer that does not read costs no memory: messages are made one by one, only when the stream has room.
// deliberate: no MinRouteAdvertisementInterval (RFC 4271 §9.2.1.1); whoever calls `want` already speaks for a settled
// decision.

import type { Route } from '../decision/decision.ts';
import { type Family, familyOf } from '../lib/address.ts';
import { MAX_MESSAGE_BYTES } from './constants.ts';
import { encodeMessage } from './message.ts';
import { NO_NLRI, type Nlri } from './nlri.ts';
import { emptyQueue, prefixBytes, PrefixTable, type Queue } from './prefix-table.ts';
import { type Outgoing, outgoing, type SessionFacts } from './route.ts';
import { endOfRib, type Update } from './update.ts';
import { difference, sameButAddress, spellingOf } from './wish.ts';

interface Bucket {
  /** Equal keys are equal attribute sets. */
  readonly key: string;
  readonly route: Outgoing;
  /** Prefixes that one message takes beside these attributes. */
  readonly capacity: number;
  /** Prefixes that still have to be announced with it. */
  readonly waiting: Queue;
  /** Prefixes that are wanted with it. */
  users: number;
}

type Refusal = { readonly refused: string };

/** A wish that was worked out while there was no session for it. Good for one Adj-RIB-Out. */
export interface Prepared {
  readonly table: PrefixTable<Bucket>;
  /** Rows of the table. */
  readonly wanted: Int32Array;
}

/** `before`: the same for the wish before this one, if nobody has used it. */
export function prepare(routes: readonly Route[], before: Prepared | null): Prepared {
  const table = before?.table ?? new PrefixTable(routes.length);
  const { wanted, gone } = difference(table, before?.wanted ?? NOTHING, routes);
  for (const prefix of gone) table.delete(prefix);
  return { table, wanted };
}

const NOTHING = new Int32Array();

/** How many prefixes the peer takes; null: any number. */
export interface PrefixLimits {
  readonly total: number | null;
  readonly 4: number | null;
  readonly 6: number | null;
}

export const NO_LIMITS: PrefixLimits = { total: null, 4: null, 6: null };

export interface RibOptions {
  /** RFC 8654: 65535 with a peer that takes such messages. */
  readonly maxMessageBytes?: number;
  /** RFC 7313: answers to ROUTE-REFRESH have a beginning and an end. */
  readonly enhancedRefresh?: boolean;
  readonly limits?: PrefixLimits;
  /** End-of-RIB waits for `complete` (RFC 4724 §4.1: whoever restarted says it when its routes have converged). */
  readonly deferred?: boolean;
}

/** Where the answer to a ROUTE-REFRESH stands. `again`: asked for once more meanwhile. */
type Refresh = 'none' | 'due' | 'running' | 'again';

const FAMILIES = [4, 6] as const;

export class AdjRibOut {
  readonly #session: SessionFacts;
  readonly #maxMessageBytes: number;
  readonly #enhancedRefresh: boolean;
  #limits: PrefixLimits;
  #leaving = false;
  #table = new PrefixTable<Bucket>();
  /** The last wish, route by route. What the peer still has beyond it is in the queues of withdrawals. */
  #wanted: Int32Array = NOTHING;
  readonly #buckets = new Map<string, Bucket>();
  /** New ones, and those that lost their last prefix. */
  readonly #unused = new Set<Bucket>();
  /** Those with something to send. */
  readonly #waiting = new Set<Bucket>();
  readonly #withdrawing: Readonly<Record<Family, Queue>> = { 4: emptyQueue(), 6: emptyQueue() };
  /** Wanted, and kept back because the peer takes no more; the one that waits longest comes in first. */
  readonly #excess = new Set<number>();
  readonly #admitted: Record<Family, number> = { 4: 0, 6: 0 };
  #sentCount = 0;
  readonly #endOfRib: Set<Family>;
  #replaying = false;
  #deferred: boolean;
  readonly #refresh: Record<Family, Refresh> = { 4: 'none', 6: 'none' };

  constructor(session: SessionFacts, options: RibOptions = {}) {
    this.#session = session;
    this.#maxMessageBytes = options.maxMessageBytes ?? MAX_MESSAGE_BYTES;
    this.#enhancedRefresh = options.enhancedRefresh ?? false;
    this.#limits = options.limits ?? NO_LIMITS;
    this.#deferred = options.deferred ?? false;
    this.#endOfRib = new Set(session.families);
  }

  /** Prefixes that the peer has from us. */
  get sentCount(): number {
    return this.#sentCount;
  }

  /** The addresses of these. */
  *sent(): Generator<string> {
    const table = this.#table;
    for (const prefix of this.#wanted) if (table.sent(prefix) !== null) yield table.route(prefix).address;
    for (const prefix of this.#unsaid()) yield table.route(prefix).address;
  }

  /** Prefixes that are wanted and kept back by the limits. */
  get excessCount(): number {
    return this.#excess.size;
  }

  /** Everything wanted was sent, End-of-RIB included. */
  get settled(): boolean {
    return (
      this.#firstWithdrawing() === null &&
      this.#waiting.size === 0 &&
      !this.#endOfRibDue() &&
      FAMILIES.every((family) => this.#refresh[family] === 'none')
    );
  }

  /**
   * Replace the whole set of wanted routes, one for an address; equal ones are not sent again, and the same object at the
   * same place among equally sorted ones is not even looked at. Returns why routes were refused, each reason once. The
   * first call begins the replay that ends with End-of-RIB. `prepared` is what `prepare` has made of these routes.
   */
  want(routes: readonly Route[], prepared: Prepared | null = null): readonly string[] {
    const first = this.#wanted.length === 0 && this.#firstWithdrawing() === null;
    if (first && prepared !== null) this.#table = prepared.table;
    const { wanted, came, changed, gone } =
      first && prepared !== null
        ? { wanted: prepared.wanted, came: prepared.wanted, changed: [], gone: [] }
        : difference(this.#table, this.#wanted, routes);
    for (const prefix of this.#reunite(came, gone)) this.#drop(prefix);
    const refusals = new Set<string>();
    const judge = this.#judge();
    for (const prefix of changed) this.#place(prefix, judge(prefix), refusals);
    for (const prefix of came) this.#place(prefix, judge(prefix), refusals);
    this.#fill();
    this.#sweep();
    this.#wanted = wanted;
    this.#replaying = true;
    return [...refusals];
  }

  /** The routes are all that there will be for now: End-of-RIB need not wait any longer. */
  complete(): void {
    this.#deferred = false;
  }

  /** From now on the peer takes this many. What it has too much is withdrawn, the latest first. */
  limit(limits: PrefixLimits): void {
    this.#limits = limits;
    for (const prefix of [...this.#wanted].reverse()) {
      if (this.#table.owner(prefix) === null || !this.#tooMany(this.#table.family(prefix))) continue;
      this.#release(prefix);
      this.#excess.add(prefix);
    }
    this.#fill();
    this.#sweep();
  }

  /** Say with every route that it is about to leave (RFC 8326). */
  leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    const judge = this.#judge();
    for (const prefix of this.#wanted) this.#place(prefix, judge(prefix), new Set());
    this.#sweep();
  }

  /** Send everything of this family again (RFC 2918 §4). Asked for while that goes on, it is done once more. */
  refresh(family: Family): void {
    if (!this.#session.families.includes(family)) return;
    this.#refresh[family] = this.#refresh[family] === 'none' || this.#refresh[family] === 'due' ? 'due' : 'again';
  }

  /** The next message, as large as it may be, or null when there is nothing to say. What it carries counts as sent. */
  next(): Uint8Array | null {
    // Withdrawals first: they are what somebody is waiting for, and they make room below the peer's limit.
    const leaving = this.#firstWithdrawing();
    if (leaving !== null) return this.#withdraw(leaving);
    const begun = this.#beginRefresh();
    if (begun !== null) return begun;
    const [bucket] = this.#waiting;
    if (bucket !== undefined) return this.#announce(bucket);
    const [ended] = this.#endOfRib;
    if (this.#endOfRibDue() && ended !== undefined) {
      this.#endOfRib.delete(ended);
      return this.#encode(endOfRib(ended));
    }
    return this.#endRefresh();
  }

  // ── what is wanted ──

  /**
   * Prefixes that come and were here before: under another route a moment ago, or still to be withdrawn. They take over
   * what the peer has. Returns those of `gone` that are gone indeed.
   */
  #reunite(came: Iterable<number>, gone: readonly number[]): Iterable<number> {
    if (gone.length === 0 && this.#firstWithdrawing() === null) return gone;
    const table = this.#table;
    let left: Map<string, number> | null = null;
    for (const prefix of came) {
      left ??= new Map([...gone, ...this.#unsaid()].map((old) => [table.route(old).address, old]));
      const { address } = table.route(prefix);
      const old = left.get(address);
      if (old === undefined) continue;
      left.delete(address);
      this.#excess.delete(old);
      table.takeOver(prefix, old);
    }
    if (left === null) return gone;
    const remaining = left;
    return gone.filter((prefix) => remaining.get(table.route(prefix).address) === prefix);
  }

  /** Dropped, and still to be withdrawn. */
  *#unsaid(): Generator<number> {
    for (const family of FAMILIES) {
      for (const prefix of this.#table.waiting(this.#withdrawing[family])) {
        if (this.#table.dropped(prefix)) yield prefix;
      }
    }
  }

  #place(prefix: number, judged: Bucket | Refusal, refusals: Set<string>): void {
    const table = this.#table;
    if ('refused' in judged) {
      refusals.add(judged.refused);
      this.#excess.delete(prefix);
      this.#release(prefix);
      return;
    }
    const owner = table.owner(prefix);
    if (owner === judged) return;
    const family = judged.route.family;
    if (owner === null) {
      if (!this.#room(family)) {
        this.#excess.add(prefix);
        return;
      }
      this.#admitted[family]++;
      if (this.#excess.size > 0) this.#excess.delete(prefix);
    }
    table.setOwner(prefix, judged);
    judged.users++;
    if (owner !== null) this.#leave(owner, prefix);
    if (table.sent(prefix) === judged.key) table.remove(prefix);
    else this.#announceLater(prefix, judged);
  }

  /** Not wanted any more. */
  #drop(prefix: number): void {
    if (this.#excess.size > 0) this.#excess.delete(prefix);
    this.#release(prefix);
    if (this.#table.queue(prefix) === null) this.#table.delete(prefix);
    else this.#table.drop(prefix);
  }

  /** Nothing is to be announced of it, and what was is to be withdrawn. */
  #release(prefix: number): void {
    const table = this.#table;
    const owner = table.owner(prefix);
    if (owner === null) return;
    const { family } = owner.route;
    table.setOwner(prefix, null);
    this.#admitted[family]--;
    this.#leave(owner, prefix);
    if (table.sent(prefix) !== null) table.push(this.#withdrawing[family], prefix);
  }

  #leave(bucket: Bucket, prefix: number): void {
    if (this.#table.queue(prefix) === bucket.waiting) {
      this.#table.remove(prefix);
      if (bucket.waiting.length === 0) this.#waiting.delete(bucket);
    }
    if (--bucket.users === 0) this.#unused.add(bucket);
  }

  /** After each change, when every prefix has found its bucket. */
  #sweep(): void {
    for (const bucket of this.#unused) if (bucket.users === 0) this.#buckets.delete(bucket.key);
    this.#unused.clear();
  }

  #announceLater(prefix: number, bucket: Bucket): void {
    if (bucket.waiting.length === 0) this.#waiting.add(bucket);
    this.#table.push(bucket.waiting, prefix);
  }

  #room(family: Family): boolean {
    const { total } = this.#limits;
    const own = this.#limits[family];
    if (own !== null && this.#admitted[family] >= own) return false;
    return total === null || this.#admitted[4] + this.#admitted[6] < total;
  }

  #tooMany(family: Family): boolean {
    const { total, [family]: own } = this.#limits;
    if (own !== null && this.#admitted[family] > own) return true;
    return total !== null && this.#admitted[4] + this.#admitted[6] > total;
  }

  /** Let in what waits, as far as there is room. */
  #fill(): void {
    if (this.#excess.size === 0) return;
    const judge = this.#judge();
    for (const prefix of this.#excess) {
      if (!this.#room(this.#table.family(prefix))) continue;
      this.#excess.delete(prefix);
      this.#place(prefix, judge(prefix), new Set());
    }
  }

  /** Finds the bucket that a route belongs to. Thousands of routes share a few attribute sets: each is worked out once. */
  #judge(): (prefix: number) => Bucket | Refusal {
    const table = this.#table;
    const judged = new Map<string, Bucket | Refusal>();
    let last: { readonly family: Family; readonly route: Route; readonly is: Bucket | Refusal } | null = null;
    return (prefix) => {
      const family = table.family(prefix);
      const route = table.route(prefix);
      if (last !== null && last.family === family && sameButAddress(last.route, route)) return last.is;
      const spelling = spellingOf(route);
      const is = judged.get(spelling) ?? this.#bucketOf(route);
      judged.set(spelling, is);
      last = { family, route, is };
      return is;
    };
  }

  #bucketOf(wanted: Route): Bucket | Refusal {
    const route = outgoing(wanted, this.#session, this.#leaving);
    if ('refused' in route) return route;
    const key = JSON.stringify(route);
    const present = this.#buckets.get(key);
    if (present !== undefined) return present;
    const capacity = this.#capacity(announcement(route, emptyNlri(route.family)), route.family);
    if (capacity < 1) return { refused: 'its attributes fill a whole message' };
    const bucket: Bucket = { key, route, capacity, waiting: emptyQueue(), users: 0 };
    this.#buckets.set(key, bucket);
    this.#unused.add(bucket);
    return bucket;
  }

  // ── what is sent ──

  #firstWithdrawing(): Family | null {
    return this.#withdrawing[4].length > 0 ? 4 : this.#withdrawing[6].length > 0 ? 6 : null;
  }

  #endOfRibDue(): boolean {
    return this.#replaying && !this.#deferred && this.#endOfRib.size > 0;
  }

  /** RFC 7313 §4: never before the End-of-RIB of the first time. */
  #beginRefresh(): Uint8Array | null {
    const family = FAMILIES.find((one) => this.#refresh[one] === 'due' && !this.#endOfRib.has(one));
    if (family === undefined) return null;
    this.#refresh[family] = 'running';
    for (const prefix of this.#wanted) {
      const owner = this.#table.owner(prefix);
      if (owner?.route.family === family) this.#announceLater(prefix, owner);
    }
    return this.#enhancedRefresh ? encodeMessage({ is: 'route-refresh', family, subtype: 'begin' }) : this.next();
  }

  #endRefresh(): Uint8Array | null {
    const family = FAMILIES.find((one) => this.#refresh[one] === 'running' || this.#refresh[one] === 'again');
    if (family === undefined) return null;
    this.#refresh[family] = this.#refresh[family] === 'again' ? 'due' : 'none';
    return this.#enhancedRefresh ? encodeMessage({ is: 'route-refresh', family, subtype: 'end' }) : this.next();
  }

  #withdraw(family: Family): Uint8Array {
    const capacity = this.#capacity(withdrawal(emptyNlri(family)), family);
    const nlri = this.#take(family, this.#withdrawing[family], capacity, null);
    return this.#encode(withdrawal(nlri));
  }

  #announce(bucket: Bucket): Uint8Array {
    const { key, route, capacity, waiting } = bucket;
    const nlri = this.#take(route.family, waiting, capacity, key);
    if (waiting.length === 0) this.#waiting.delete(bucket);
    return this.#encode(announcement(route, nlri));
  }

  /** Move up to `capacity` prefixes out of `waiting`, as host routes. `key`: what the peer has then, null: nothing. */
  #take(family: Family, waiting: Queue, capacity: number, key: string | null): Nlri {
    const table = this.#table;
    const count = Math.min(waiting.length, capacity);
    const size = prefixBytes(family);
    const bytes = new Uint8Array(count * size);
    for (let at = 0; at < bytes.length; at += size) {
      const prefix = waiting.first;
      table.copyWire(prefix, size, bytes, at);
      table.remove(prefix);
      if (key === null) this.#sentCount--;
      else if (table.sent(prefix) === null) this.#sentCount++;
      table.setSent(prefix, key);
      if (table.dropped(prefix)) table.delete(prefix);
    }
    return { family, bytes, count };
  }

  /** How many prefixes fit beside what an UPDATE says already. */
  #capacity(empty: Update, family: Family): number {
    return Math.floor((this.#maxMessageBytes - this.#encode(empty).length) / prefixBytes(family));
  }

  #encode(update: Update): Uint8Array {
    return encodeMessage({ is: 'update', update }, this.#session);
  }
}

function announcement({ family, nextHop, linkLocal, attributes }: Outgoing, nlri: Nlri): Update {
  // RFC 8950 §3: IPv4 prefixes go where their next hop can be written.
  if (familyOf(nextHop) === 4) return { withdrawn: NO_NLRI, attributes: { ...attributes, nextHop }, announced: nlri };
  const mpReach = { nextHop, linkLocal, nlri };
  return { withdrawn: NO_NLRI, attributes: { ...attributes, mpReach }, announced: NO_NLRI };
}

function withdrawal(nlri: Nlri): Update {
  if (nlri.family === 4) return { withdrawn: nlri, attributes: {}, announced: NO_NLRI };
  return { withdrawn: NO_NLRI, attributes: { mpUnreach: nlri }, announced: NO_NLRI };
}

function emptyNlri(family: Family): Nlri {
  return { ...NO_NLRI, family };
}
