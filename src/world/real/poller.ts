// Watches many descriptors of ours by epoll(7), edge-triggered, inside of Node's event loop. A turn of the loop takes all events that
// are there: Node's own sockets cost about twice as much for a connection that lives for a moment. Made by quick-stream.ts.

import { type Waker, wakeOn } from '../../ffi/event-loop.ts';
import { MOST_EVENTS, type TcpCalls } from '../../ffi/tcp-calls.ts';

/** sys/epoll.h */
export const EPOLL = { in: 0x1, urgent: 0x2, out: 0x4, error: 0x8, hangUp: 0x10, peerEnd: 0x2000 } as const;
const EPOLLET = 0x80000000;
const EPOLLONESHOT = 0x40000000;
const EVENTS = EPOLLET | EPOLL.in | EPOLL.urgent | EPOLL.out | EPOLL.peerEnd;
const DIAL_EVENTS = EPOLLONESHOT | EPOLL.out;

/**
 * Taken in one turn of the loop; what is left waits for the next. A check whose deadline has passed waits one turn more, in case its
 * answer is here already: it has to be in that one.
 */
const MOST_BATCHES = 256;

/** Of the first one: when thousands of connections end at once, the first of them does not wait for what becomes of 63 others. */
const FIRST_EVENTS = 4;

/**
 * Of one descriptor in one turn of the loop. A server that sends faster than it is read has something new each time that somebody
 * looks, and the loop would never turn: no deadline would ever pass.
 */
const MOST_VISITS = 4;

export interface Watched {
  /** Something has changed: EPOLL's bits. None: its turn has come again, as it asked by `again`. Never called from within `watch`. */
  onEvents(events: number): void;
}

export class Poller {
  readonly #calls: TcpCalls;
  readonly #epoll: number;
  /**
   * Of those that are being connected, each for one event. It is in the other one, and looked at before: events come in the order in
   * which they happened, and that a server is gone must not wait until thousands of connections have heard that they are.
   */
  readonly #dialling: number;
  readonly #waker: Waker;
  /** By descriptor. An event that was taken before the descriptor changed hands has another generation. */
  readonly #watched: (Watched | undefined)[] = [];
  readonly #generations: number[] = [];
  /** By descriptor: which turn it was looked at in, and how often, in one number. */
  readonly #visits: number[] = [];
  #turnNumber = 0;
  /** For the next turn, by descriptor: what came when it had had enough in this one, and those that asked for it. */
  #left = new Map<number, { readonly generation: number; readonly events: number }>();
  #count = 0;
  #turning = false;

  /** Throws SystemError ENOSYS where this can not be had. */
  constructor(calls: TcpCalls) {
    this.#calls = calls;
    this.#epoll = calls.epoll();
    this.#dialling = calls.epoll();
    try {
      const failed = calls.watch(this.#epoll, this.#dialling, EPOLL.in, [this.#dialling, 0]);
      if (failed < 0) throw calls.error(failed, 'epoll_ctl');
      this.#waker = wakeOn(this.#epoll);
    } catch (error) {
      calls.close(this.#dialling);
      calls.close(this.#epoll);
      throw error;
    }
  }

  /** Tell it once when it is connected, or is not. 0, or the errno with its sign turned. */
  dial(fd: number, watched: Watched): number {
    return this.#add(this.#dialling, DIAL_EVENTS, fd, watched);
  }

  /** Tell it of everything from now on, and of what is there already. 0, or the errno with its sign turned. */
  watch(fd: number, watched: Watched): number {
    return this.#add(this.#epoll, EVENTS, fd, watched);
  }

  #add(epoll: number, events: number, fd: number, watched: Watched): number {
    const known = this.#watched[fd] === watched;
    const generation = ((this.#generations[fd] ?? 0) + (known ? 0 : 1)) >>> 0;
    const failed = this.#calls.watch(epoll, fd, events, [fd, generation]);
    if (failed < 0 || known) return failed;
    while (this.#watched.length < fd) this.#watched.push(undefined);
    while (this.#generations.length < fd) this.#generations.push(0);
    while (this.#visits.length < fd) this.#visits.push(0);
    this.#visits[fd] = 0;
    this.#watched[fd] = watched;
    this.#generations[fd] = generation;
    if (this.#count++ === 0) this.#waker.start();
    this.#turn();
    return 0;
  }

  /** How many it watches, those that are dialled among them. */
  get count(): number {
    return this.#count;
  }

  /** No event of it any more, if there was to be any. To be called before it is closed, or given to somebody else (`goesOn`). */
  forget(fd: number, goesOn = false): void {
    if (this.#watched[fd] === undefined) return;
    this.#watched[fd] = undefined;
    if (goesOn) for (const epoll of [this.#epoll, this.#dialling]) this.#calls.unwatch(epoll, fd);
    if (--this.#count === 0) this.#waker.stop();
  }

  /** Tell who watches it in the next turn of the loop, so that others have theirs. */
  again(fd: number): void {
    if (this.#watched[fd] !== undefined) this.#leave(fd, this.#generations[fd] ?? 0, 0);
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
    this.#turnNumber++;
    const left = this.#left;
    if (left.size > 0) {
      this.#left = new Map();
      for (const [fd, { generation, events }] of left) this.#pass(fd, generation, events);
    }
    this.#take(MOST_BATCHES, FIRST_EVENTS);
  }

  /** A batch of those that are dialled, and one of the others. */
  #take(batches: number, most: number): void {
    const dialled = this.#tell(this.#calls.take(this.#dialling, most));
    const others = this.#tell(this.#calls.take(this.#epoll, most));
    // What the last batch leaves behind wakes the loop again: Node's own sockets have their turn before. A tick that a microtask
    // asks for comes when there are no microtasks any more.
    if (Math.max(dialled, others) === most && batches > 1)
      queueMicrotask(() => process.nextTick(() => this.#take(batches - 1, MOST_EVENTS)));
  }

  /** How many there were. */
  #tell(count: number): number {
    const { taken } = this.#calls;
    for (let at = 0; at < count; at++) this.#pass(taken.key(at, 0), taken.key(at, 1), taken.events(at));
    return count;
  }

  #pass(fd: number, generation: number, events: number): void {
    const watched = this.#watched[fd];
    if (watched === undefined || this.#generations[fd] !== generation) return;
    const none = this.#turnNumber * (MOST_VISITS + 1);
    const visits = Math.max(this.#visits[fd] ?? 0, none);
    if (visits === none + MOST_VISITS) {
      this.#leave(fd, generation, events);
      return;
    }
    this.#visits[fd] = visits + 1;
    tell(watched, events);
  }

  /** The loop turns once more, and does not wait for anything before. */
  #leave(fd: number, generation: number, events: number): void {
    const left = this.#left.get(fd);
    const before = left?.generation === generation ? left.events : 0;
    this.#left.set(fd, { generation, events: before | events });
    if (this.#left.size === 1) setImmediate(() => {});
  }
}

/** What it throws is uncaught as it would be otherwise. But an event is told once: the others must have theirs. */
function tell(watched: Watched, events: number): void {
  try {
    watched.onEvents(events);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
