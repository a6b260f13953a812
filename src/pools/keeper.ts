// Keeps the last good list of one service on disk up to date: a little later, one write after the other, and again when
// one failed. Used by service-pool.ts.

import { errorText } from '../lib/errors.ts';
import type { Wall, World } from '../world/world.ts';
import { writeLastGood, type LastGood } from './last-good.ts';

const SAVE_DELAY_MS = 1000;
const SAVE_RETRY_MS = 60_000;
/** How old the date on disk may get while the list stays the same. */
const SAVE_AGAIN_MS = 3_600_000;

/** What should be on disk, and where; null: nothing yet. */
export type Snapshot = () => { readonly path: string; readonly list: LastGood } | null;

export class Keeper {
  readonly #world: Pick<World, 'clock' | 'files' | 'log'>;
  readonly #snapshot: Snapshot;
  /** The date that is on disk. */
  #savedAt: Wall | null = null;
  #cancel: (() => void) | null = null;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(world: Pick<World, 'clock' | 'files' | 'log'>, snapshot: Snapshot) {
    this.#world = world;
    this.#snapshot = snapshot;
  }

  /** This date was read from disk. */
  found(goodAt: Wall): void {
    this.#savedAt = goodAt;
  }

  /** What should be on disk has changed. */
  soon(): void {
    this.#in(SAVE_DELAY_MS);
  }

  /** The list on disk was good at this time, too. */
  refresh(goodAt: Wall): void {
    if (this.#savedAt !== null && goodAt - this.#savedAt > SAVE_AGAIN_MS) this.soon();
  }

  /** Resolves when the last state is on disk, or could not be written. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#cancel !== null || this.#snapshot()?.list.goodAt !== this.#savedAt) this.#write();
    await this.#writing;
  }

  #in(delayMs: number): void {
    this.#cancel ??= this.#world.clock.at(delayMs, () => this.#write());
  }

  #write(): void {
    this.#cancel?.();
    this.#cancel = null;
    const snapshot = this.#snapshot();
    if (snapshot === null) return;
    const { path, list } = snapshot;
    this.#writing = this.#writing
      .then(() => writeLastGood(this.#world.files, path, list))
      .then(() => {
        this.#savedAt = list.goodAt;
      })
      .catch((thrown: unknown) => {
        const text = `last good list is not kept: ${errorText(thrown)}`;
        this.#world.log({ level: 'error', system: list.service, text });
        if (!this.#closed) this.#in(SAVE_RETRY_MS);
      });
  }
}
