// Closes descriptors of connections. When thousands end in one turn of the event loop, most of what the kernel does for them is done at
// close(2), and the news that they ended would wait behind it: then it is done a little later, by another thread. Made by quick-stream.ts.

import type { TcpCalls } from '../../ffi/tcp-calls.ts';

/** So many in a turn are closed at once: handing over a few costs more than it saves, and 20,000 checks a second end fewer in a turn. */
const AT_ONCE = 1024;
/** By then the news has been told: until then there is enough to do for all cores. */
const LATER_MS = 500;
/** A call of the other thread closes this many or more that lie side by side. */
const SHORTEST_RUN = 16;

export class Closer {
  readonly #calls: Pick<TcpCalls, 'close' | 'closeRange'>;
  /** How many descriptors may wait for their turn now: they are of the few that this process may have. */
  readonly #room: () => number;
  readonly #laterMs: number;
  /** They wait to be handed over. */
  #waiting: number[] = [];
  #timer: NodeJS.Timeout | null = null;
  /** Handed over, and not closed yet as far as this thread knows: it hears of it when its turn has ended. */
  #handed = 0;
  #inThisTurn = 0;
  #turning = false;

  constructor(calls: Pick<TcpCalls, 'close' | 'closeRange'>, room: () => number, laterMs = LATER_MS) {
    this.#calls = calls;
    this.#room = room;
    this.#laterMs = laterMs;
  }

  /** It belongs to nobody any more: in this moment, or soon, its connection ends. */
  close(fd: number): void {
    if (!this.#turning) this.#turn();
    if (++this.#inThisTurn <= AT_ONCE) {
      this.#calls.close(fd);
    } else if (this.#waiting.length + this.#handed < this.#room()) {
      this.#waiting.push(fd);
      this.#timer ??= setTimeout(() => this.#hand(), this.#laterMs).unref();
    } else {
      this.#calls.close(fd);
      this.#hand();
    }
  }

  /** An immediate that nobody waits for runs whenever the loop turns, and does not keep it from sleeping. */
  #turn(): void {
    this.#turning = true;
    setImmediate(() => {
      this.#turning = false;
      this.#inThisTurn = 0;
    }).unref();
  }

  #hand(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    const fds = this.#waiting.sort((a, b) => a - b);
    this.#waiting = [];
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
