// Virtual time: a binary heap of events by (time, order of arrival). Between two events all promise work is done, without
// ever entering libuv, so nothing outside the process can come between: `queueMicrotask(() => process.nextTick(step))`
// runs `step` after the microtask queue has been emptied (a bare nextTick would run before it).

interface Event {
  readonly time: number;
  readonly order: number;
  fn: (() => void) | null;
}

/** The simulation itself went wrong: time stands still, or the budget of events is used up. */
export class Runaway extends Error {
  override readonly name = 'Runaway';
}

/** More events than this at one instant mean that somebody spins. */
const MAX_EVENTS_AT_ONE_INSTANT = 200_000;

export class Scheduler {
  now = 0;
  events = 0;
  readonly #heap: Event[] = [];
  readonly #maxEvents: number;
  #order = 0;
  #atThisInstant = 0;

  constructor(maxEvents = Number.POSITIVE_INFINITY) {
    this.#maxEvents = maxEvents;
  }

  /** Call `fn` in `delayMs` of virtual time. Returns a function that cancels it. */
  at(delayMs: number, fn: () => void): () => void {
    const event: Event = { time: this.now + (delayMs > 0 ? delayMs : 0), order: this.#order++, fn };
    this.#push(event);
    return () => {
      event.fn = null;
    };
  }

  /** Runs until virtual time `until`, or until `stop` answers true after an event. Rejects with what an event threw. */
  run(until: number, stop: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          const event = this.#pop(until);
          if (event === null) {
            this.now = until;
            resolve();
            return;
          }
          event.fn?.();
          if (stop()) {
            resolve();
            return;
          }
        } catch (thrown) {
          reject(thrown);
          return;
        }
        queueMicrotask(tick);
      };
      const tick = (): void => process.nextTick(step);
      queueMicrotask(tick);
    });
  }

  /** The next event that was not cancelled, with the clock set to its time; null if none is due before `until`. */
  #pop(until: number): Event | null {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || top.time > until) return null;
      this.#removeTop();
      if (top.fn === null) continue;
      if (top.time > this.now) this.#atThisInstant = 0;
      this.now = top.time;
      this.events++;
      if (++this.#atThisInstant > MAX_EVENTS_AT_ONE_INSTANT) {
        throw new Runaway(`${MAX_EVENTS_AT_ONE_INSTANT} events at ${this.now} ms: time stands still`);
      }
      if (this.events > this.#maxEvents) throw new Runaway(`more than ${this.#maxEvents} events by ${this.now} ms`);
      return top;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || !before(event, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  #removeTop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const [child, childAt] = right !== undefined && before(right, left) ? [right, 2 * at + 2] : [left, 2 * at + 1];
      if (!before(child, last)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}
