// What BFD's thread has to say to the daemon, bounded: while nobody reads, lines of the log are left out, and of the changes of a
// session the last one is kept, to be told when somebody reads again. Used by bfd-worker.ts.

import type { BfdChange } from '../../bfd/types.ts';
import type { LogRecord } from '../../log/record.ts';

export type Letter =
  | { readonly is: 'changed'; readonly change: BfdChange }
  | { readonly is: 'log'; readonly record: LogRecord };

export class Outbox {
  readonly #most: number;
  readonly #post: (letter: Letter) => void;
  #unread = 0;
  #leftOut = 0;
  /** By session. */
  readonly #late = new Map<string, BfdChange>();

  /** `most` letters may be on their way. */
  constructor(most: number, post: (letter: Letter) => void) {
    this.#most = most;
    this.#post = post;
  }

  tell(letter: Letter): void {
    if (this.#unread < this.#most) {
      this.#unread++;
      this.#post(letter);
    } else if (letter.is === 'changed') {
      const { change } = letter;
      this.#late.set(change.name, { ...change, was: this.#late.get(change.name)?.was ?? change.was });
    } else this.#leftOut++;
  }

  /** All letters were read. How many were left out since then. */
  read(): number {
    const late = [...this.#late.values()];
    const leftOut = this.#leftOut;
    this.#unread = this.#leftOut = 0;
    this.#late.clear();
    for (const change of late) this.tell({ is: 'changed', change });
    return leftOut;
  }
}
