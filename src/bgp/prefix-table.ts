// What one Adj-RIB-Out knows of its prefixes, in columns, and the queues that they wait in. A prefix is a number, its row. The
// links of the queues are columns too: to queue, to think better of it and to take out again cost no memory and no search,
// however long a peer does not read; and what a message carries lies there as it goes onto the wire. Used by rib.ts.

import type { Route } from '../decision/decision.ts';
import { type Family, familyOf, writeAddress } from '../lib/address.ts';
import { addressBits } from './constants.ts';

/** First in, first out; a prefix is in one queue at most. To be changed by its table only. */
export interface Queue {
  first: number;
  last: number;
  length: number;
}

const NONE = -1;
/** Room for a host route of either family as NLRI: its length in bits, and its octets. */
const ROW_BYTES = prefixBytes(6);
const FIRST_ROWS = 16;

export function emptyQueue(): Queue {
  return { first: NONE, last: NONE, length: 0 };
}

/** Octets of a host route as NLRI. */
export function prefixBytes(family: Family): number {
  return 1 + addressBits(family) / 8;
}

export class PrefixTable<Owner> {
  readonly #routes: Route[] = [];
  readonly #owners: (Owner | null)[] = [];
  readonly #sent: (string | null)[] = [];
  readonly #queues: (Queue | null)[] = [];
  readonly #dropped: boolean[] = [];
  #wire: Uint8Array;
  #previous: Int32Array;
  #next: Int32Array;
  readonly #free: number[] = [];

  /** `rows`: as many prefixes as will probably come. */
  constructor(rows = FIRST_ROWS) {
    this.#wire = new Uint8Array(rows * ROW_BYTES);
    this.#previous = new Int32Array(rows);
    this.#next = new Int32Array(rows);
  }

  /** A new row, not sent and in no queue. */
  add(route: Route): number {
    const prefix = this.#free.pop() ?? this.#routes.length;
    if (prefix === this.#next.length) this.#grow();
    this.#routes[prefix] = route;
    this.#owners[prefix] = null;
    this.#sent[prefix] = null;
    this.#queues[prefix] = null;
    this.#dropped[prefix] = false;
    this.#wire[prefix * ROW_BYTES] = addressBits(familyOf(route.address));
    writeAddress(route.address, this.#wire, prefix * ROW_BYTES + 1);
    return prefix;
  }

  /** Its row may become another's. */
  delete(prefix: number): void {
    this.remove(prefix);
    this.#free.push(prefix);
    if (this.#free.length < this.#routes.length) return;
    for (const column of [this.#routes, this.#owners, this.#sent, this.#queues, this.#dropped, this.#free]) {
      column.length = 0;
    }
  }

  /** As wanted now, or last. */
  route(prefix: number): Route {
    const route = this.#routes[prefix];
    if (route === undefined) throw new RangeError(`no prefix ${prefix}`);
    return route;
  }

  /** Another route for the same address. */
  setRoute(prefix: number, route: Route): void {
    this.#routes[prefix] = route;
  }

  family(prefix: number): Family {
    return this.#wire[prefix * ROW_BYTES] === addressBits(4) ? 4 : 6;
  }

  /** What it is sent with; null: not sent at all. */
  owner(prefix: number): Owner | null {
    return this.#owners[prefix] ?? null;
  }

  setOwner(prefix: number, owner: Owner | null): void {
    this.#owners[prefix] = owner;
  }

  /** Key of the attribute set that the peer has; null: the peer does not have the prefix. */
  sent(prefix: number): string | null {
    return this.#sent[prefix] ?? null;
  }

  setSent(prefix: number, key: string | null): void {
    this.#sent[prefix] = key;
  }

  /** Nobody wants it any more; its row ends when it was withdrawn. */
  drop(prefix: number): void {
    this.#dropped[prefix] = true;
  }

  dropped(prefix: number): boolean {
    return this.#dropped[prefix] ?? false;
  }

  /** `prefix` is from now on what `old`, of the same address, was; the row of `old` ends. */
  takeOver(prefix: number, old: number): void {
    this.#owners[prefix] = this.owner(old);
    this.#sent[prefix] = this.sent(old);
    const queue = this.queue(old);
    this.delete(old);
    if (queue !== null) this.push(queue, prefix);
  }

  /** Write it at `at`, as NLRI of prefixBytes. */
  copyWire(prefix: number, size: number, bytes: Uint8Array, at: number): void {
    const from = prefix * ROW_BYTES;
    // For a few octets a loop is faster than a view and set.
    for (let i = 0; i < size; i++) bytes[at + i] = this.#wire[from + i] ?? 0;
  }

  // ── queues ──

  queue(prefix: number): Queue | null {
    return this.#queues[prefix] ?? null;
  }

  /** The prefix leaves the queue that it was in; in this one it keeps its place. */
  push(queue: Queue, prefix: number): void {
    const before = this.#queues[prefix];
    if (before === queue) return;
    if (before !== null) this.remove(prefix);
    this.#queues[prefix] = queue;
    this.#previous[prefix] = queue.last;
    this.#next[prefix] = NONE;
    if (queue.last === NONE) queue.first = prefix;
    else this.#next[queue.last] = prefix;
    queue.last = prefix;
    queue.length++;
  }

  /** Out of whatever queue it is in. */
  remove(prefix: number): void {
    const queue = this.queue(prefix);
    if (queue === null) return;
    const previous = this.#previous[prefix] ?? NONE;
    const next = this.#next[prefix] ?? NONE;
    if (previous === NONE) queue.first = next;
    else this.#next[previous] = next;
    if (next === NONE) queue.last = previous;
    else this.#previous[next] = previous;
    this.#queues[prefix] = null;
    queue.length--;
  }

  *waiting(queue: Queue): Generator<number> {
    for (let prefix = queue.first; prefix !== NONE; prefix = this.#next[prefix] ?? NONE) yield prefix;
  }

  #grow(): void {
    const rows = Math.max(FIRST_ROWS, 2 * this.#next.length);
    const wire = new Uint8Array(rows * ROW_BYTES);
    const previous = new Int32Array(rows);
    const next = new Int32Array(rows);
    wire.set(this.#wire);
    previous.set(this.#previous);
    next.set(this.#next);
    this.#wire = wire;
    this.#previous = previous;
    this.#next = next;
  }
}
