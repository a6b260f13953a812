// Watches many descriptors of ours with one epoll instance (epoll(7), edge-triggered) inside of Node's event loop. A turn of the
// loop takes all events that are there: Node's own sockets cost about twice as much for a connection that lives for a moment.
// Made by quick-stream.ts.

import { type Waker, wakeOn } from '../../ffi/event-loop.ts';
import { MOST_EVENTS, type TcpCalls } from '../../ffi/tcp-calls.ts';

/** sys/epoll.h */
export const EPOLL = { in: 0x1, out: 0x4, error: 0x8, hangUp: 0x10, peerEnd: 0x2000 } as const;
const EPOLLET = 0x80000000;
const EVENTS = EPOLLET | EPOLL.in | EPOLL.out | EPOLL.peerEnd;

/**
 * In one turn of the loop, all but what nobody has the time for: a check whose deadline has passed waits for one more turn, in case
 * its answer is here already. Behind each batch stands what promises make of it.
 */
const MOST_BATCHES = 256;

export interface Watched {
  /** Something has changed: EPOLL's bits. Never called from within `watch`. */
  onEvents(events: number): void;
  /** Its turn has come again, as it asked by `again`. */
  onTurn(): void;
}

export class Poller {
  readonly #calls: TcpCalls;
  readonly #epoll: number;
  readonly #waker: Waker;
  /** By descriptor. An event that was taken before the descriptor changed hands has another generation. */
  readonly #watched: (Watched | undefined)[] = [];
  readonly #generations: number[] = [];
  #again: Watched[] = [];
  #count = 0;
  #turning = false;

  /** Throws SystemError ENOSYS where this can not be had. */
  constructor(calls: TcpCalls) {
    this.#calls = calls;
    this.#epoll = calls.epoll();
    try {
      this.#waker = wakeOn(this.#epoll);
    } catch (error) {
      calls.close(this.#epoll);
      throw error;
    }
  }

  /** 0, or the errno with its sign turned. */
  watch(fd: number, watched: Watched): number {
    const generation = ((this.#generations[fd] ?? 0) + 1) >>> 0;
    const failed = this.#calls.watch(this.#epoll, fd, EVENTS, [fd, generation]);
    if (failed < 0) return failed;
    while (this.#watched.length < fd) this.#watched.push(undefined);
    while (this.#generations.length < fd) this.#generations.push(0);
    this.#watched[fd] = watched;
    this.#generations[fd] = generation;
    if (this.#count++ === 0) this.#waker.start();
    this.#turn();
    return 0;
  }

  /** No event of it any more. To be called before it is closed, or given to somebody else (`goesOn`). */
  forget(fd: number, goesOn = false): void {
    if (this.#watched[fd] === undefined) return;
    this.#watched[fd] = undefined;
    if (goesOn) this.#calls.unwatch(this.#epoll, fd);
    if (--this.#count === 0) this.#waker.stop();
  }

  /** Call its `onTurn` in the next turn of the loop, so that others have theirs. */
  again(watched: Watched): void {
    // One that is waited for keeps the loop from sleeping.
    if (this.#again.push(watched) === 1) setImmediate(() => {});
  }

  /** An immediate that nobody waits for runs whenever the loop turns, and does not keep it from sleeping. */
  #turn(): void {
    if (this.#turning) return;
    this.#turning = true;
    setImmediate(() => {
      this.#turning = false;
      try {
        this.#look();
      } finally {
        if (this.#count > 0) this.#turn();
      }
    }).unref();
  }

  #look(): void {
    const again = this.#again;
    if (again.length > 0) {
      this.#again = [];
      for (const watched of again) watched.onTurn();
    }
    this.#take(MOST_BATCHES);
  }

  #take(batches: number): void {
    const { taken } = this.#calls;
    const count = this.#calls.take(this.#epoll);
    for (let at = 0; at < count; at++) {
      const fd = taken.key(at, 0);
      if (this.#generations[fd] !== taken.key(at, 1)) continue;
      try {
        this.#watched[fd]?.onEvents(taken.events(at));
      } catch (error) {
        // Uncaught as it would be otherwise. But an event is told once: the others must have theirs.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    // What the last batch leaves behind wakes the loop again: Node's own sockets have their turn before. A tick that a microtask
    // asks for comes when there are no microtasks any more.
    if (count === MOST_EVENTS && batches > 1) queueMicrotask(() => process.nextTick(() => this.#take(batches - 1)));
  }
}
