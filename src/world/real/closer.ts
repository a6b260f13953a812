// Closes descriptors of connections. When thousands end in one turn of the event loop, most of what the kernel does for them is done at
// close(2), and the news that they ended would wait behind it: then another thread does it. Made by quick-stream.ts.

import type { TcpCalls } from '../../ffi/tcp-calls.ts';

/** So many in a turn are closed at once, by whoever wants it: handing over a few costs more than it saves. */
const AT_ONCE = 256;
/** Handed over together. */
const CHUNK = 256;
/** A call of the other thread closes this many or more that lie side by side. */
const SHORTEST_RUN = 16;
/** Not closed yet, as far as this thread knows: it hears of it when its turn has ended. */
const MOST_WAITING = 32_768;

export class Closer {
  readonly #calls: Pick<TcpCalls, 'close' | 'closeRange'>;
  /** How many descriptors may wait for their turn now: they are of the few that this process may have. */
  readonly #room: () => number;
  readonly #chunk: number[] = [];
  /** Handed over, and not closed yet. */
  #handed = 0;
  #inThisTurn = 0;
  #turning = false;

  constructor(calls: Pick<TcpCalls, 'close' | 'closeRange'>, room: () => number) {
    this.#calls = calls;
    this.#room = room;
  }

  /** It belongs to nobody any more: in this moment, or within the turn, its connection ends. */
  close(fd: number): void {
    if (!this.#turning) this.#turn();
    const waiting = this.#chunk.length + this.#handed;
    if (++this.#inThisTurn <= AT_ONCE || waiting >= Math.min(MOST_WAITING, this.#room())) {
      this.#calls.close(fd);
      return;
    }
    const length = this.#chunk.push(fd);
    // One that is waited for keeps the loop from sleeping.
    if (length === 1) setImmediate(() => {});
    if (length >= CHUNK) this.#hand();
  }

  /** An immediate that nobody waits for runs whenever the loop turns, and does not keep it from sleeping. */
  #turn(): void {
    this.#turning = true;
    setImmediate(() => {
      this.#turning = false;
      this.#inThisTurn = 0;
      this.#hand();
    }).unref();
  }

  #hand(): void {
    const fds = this.#chunk.splice(0).sort((a, b) => a - b);
    for (let start = 0, end = 1; start < fds.length; start = end++) {
      while (end < fds.length && fds[end] === (fds[end - 1] ?? 0) + 1) end++;
      this.#closeRun(fds.slice(start, end));
    }
  }

  #closeRun(fds: readonly number[]): void {
    const [first = -1] = fds;
    const closeEach = () => {
      for (const fd of fds) this.#calls.close(fd);
    };
    const handed =
      fds.length >= SHORTEST_RUN &&
      this.#calls.closeRange(first, first + fds.length - 1, (closed) => {
        this.#handed -= fds.length;
        if (!closed) closeEach();
      });
    if (handed) this.#handed += fds.length;
    else closeEach();
  }
}
