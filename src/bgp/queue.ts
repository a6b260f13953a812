// What one Adj-RIB-Out knows of one prefix, and the queues that such entries wait in. The links are in the entries
// themselves: to queue, to think better of it and to take out again cost no memory and no search, however long a peer
// does not read. Used by rib.ts.

import type { Route } from '../decision/decision.ts';
import type { Family } from '../lib/address.ts';

export interface Entry<Owner> {
  readonly family: Family;
  /** As wanted now, or last. */
  route: Route;
  /** What it is sent with; null: not sent at all. */
  owner: Owner | null;
  /** Key of the attribute set that the peer has; null: the peer does not have the prefix. */
  sent: string | null;
  queue: Queue<Owner> | null;
  previous: Entry<Owner> | null;
  next: Entry<Owner> | null;
}

export function newEntry<Owner>(route: Route, family: Family): Entry<Owner> {
  return { family, route, owner: null, sent: null, queue: null, previous: null, next: null };
}

/** First in, first out; an entry is in one queue at most. */
export class Queue<Owner> {
  #first: Entry<Owner> | null = null;
  #last: Entry<Owner> | null = null;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The entry leaves the queue that it was in; in this one it keeps its place. */
  push(entry: Entry<Owner>): void {
    if (entry.queue === this) return;
    entry.queue?.remove(entry);
    entry.queue = this;
    entry.previous = this.#last;
    if (this.#last === null) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#length++;
  }

  remove(entry: Entry<Owner>): void {
    if (entry.queue !== this) return;
    if (entry.previous === null) this.#first = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === null) this.#last = entry.previous;
    else entry.next.previous = entry.previous;
    entry.queue = null;
    entry.previous = null;
    entry.next = null;
    this.#length--;
  }

  *[Symbol.iterator](): Generator<Entry<Owner>> {
    for (let entry = this.#first; entry !== null; entry = entry.next) yield entry;
  }

  shift(): Entry<Owner> | null {
    const first = this.#first;
    if (first !== null) this.remove(first);
    return first;
  }
}
