// Bounds how many of one kind of thing are under way at once, and shares that among all who want it: servers of one service that hang
// by the thousand must not keep those of another from being asked. Used by tools.ts.

import type { Cut } from '../lib/cut.ts';
import { SystemError } from '../lib/errors.ts';

/**
 * One queue has at most so many times what is free for all (the dynamic thresholds of switches whose ports share a buffer): alone it
 * gets three quarters, and whoever comes then finds room at once.
 */
const MOST_OF_FREE = 3;

interface Room {
  readonly limit: number;
  inside: number;
  /** Where somebody waits. The one that had its turn last is last. */
  readonly queues: Set<Queue>;
}

export class Gate {
  readonly #room: Room;

  constructor(limit: number) {
    this.#room = { limit, inside: 0, queues: new Set() };
  }

  get inside(): number {
    return this.#room.inside;
  }
  get waiting(): number {
    return [...this.#room.queues].reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** One for each who is to have a share. */
  queue(): Queue {
    return new Queue(this.#room);
  }
}

/** In it whoever comes first goes first. */
export class Queue {
  readonly #room: Room;
  readonly #waiting = new Set<() => void>();
  #inside = 0;

  constructor(room: Room) {
    this.#room = room;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** In, without waiting, or not. Whoever is in calls `leave` once. */
  enterAtOnce(cut: Cut): boolean {
    if (cut.aborted || !this.#hasRoom) return false;
    this.#room.inside++;
    this.#inside++;
    return true;
  }

  /** Resolves when in, or rejects with ECANCELED when cut while waiting. */
  enter(cut: Cut): Promise<void> {
    if (cut.aborted) return Promise.reject(new SystemError('ECANCELED', 'wait for a turn'));
    if (this.enterAtOnce(cut)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const go = () => {
        forget();
        resolve();
      };
      this.#waiting.add(go);
      this.#room.queues.add(this);
      const forget = cut.onAbort(() => {
        this.#waiting.delete(go);
        if (this.#waiting.size === 0) this.#room.queues.delete(this);
        reject(new SystemError('ECANCELED', 'wait for a turn'));
      });
    });
  }

  /** There is room for others, whose queues have it in turns. */
  leave(): void {
    const { queues } = this.#room;
    this.#room.inside--;
    this.#inside--;
    // One that is added again comes again, until there is room for none of them.
    for (const queue of queues) {
      if (!queue.#hasRoom) continue;
      queues.delete(queue);
      queue.#letIn();
      if (queue.#waiting.size > 0) queues.add(queue);
    }
  }

  get #hasRoom(): boolean {
    return this.#inside < MOST_OF_FREE * (this.#room.limit - this.#room.inside);
  }

  /** The one that has waited longest. */
  #letIn(): void {
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    this.#room.inside++;
    this.#inside++;
    next();
  }
}
