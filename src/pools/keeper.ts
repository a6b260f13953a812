// Keeps the last good list of one service on disk up to date: a little later, one write after the other, and again when
// one failed. Used by service-pool.ts.

import { errorText } from '../lib/errors.ts';
import type { World } from '../world/world.ts';
import { showUrl } from '../lib/url.ts';
import { writeLastGood, type LastGood } from './last-good.ts';

const SAVE_DELAY_MS = 1000;
const SAVE_RETRY_MS = 60_000;
/** How old the date on disk may get while the list stays the same. */
const SAVE_AGAIN_MS = 3_600_000;

/** Where a list is, and what says whether that is the present one. */
export interface Kept extends Pick<LastGood, 'url' | 'goodAt'> {
  readonly path: string;
}

/** What should be on disk, and where; null: nothing yet. */
export type Snapshot = () => { readonly path: string; readonly list: LastGood } | null;

export class Keeper {
  readonly #world: Pick<World, 'clock' | 'files' | 'log'>;
  readonly #snapshot: Snapshot;
  /** What is on disk, or on its way there. */
  #kept: Kept | null = null;
  #cancel: (() => void) | null = null;
  /** The last write has failed, and `#cancel` is of the next try. */
  #failed = false;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(world: Pick<World, 'clock' | 'files' | 'log'>, snapshot: Snapshot) {
    this.#world = world;
    this.#snapshot = snapshot;
  }

  /** This was read from disk. */
  found(kept: Kept): void {
    this.#kept = kept;
  }

  /** What should be on disk has changed. */
  soon(): void {
    if (this.#failed) this.#rest();
    this.#in(SAVE_DELAY_MS);
  }

  /** The list on disk was good at this time, too; it may belong elsewhere now, or be of another source. */
  refresh(now: Kept): void {
    const kept = this.#kept;
    if (kept === null) return;
    const other = kept.path !== now.path || showUrl(kept.url) !== showUrl(now.url);
    if (other || now.goodAt - kept.goodAt > SAVE_AGAIN_MS) this.#in(SAVE_DELAY_MS);
  }

  /** Try at once what has failed. */
  again(): void {
    if (this.#failed) this.#write();
  }

  /** Resolves when the last state is on disk, or could not be written. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#cancel !== null || this.#snapshot()?.list.goodAt !== this.#kept?.goodAt) this.#write();
    await this.#writing;
  }

  #in(delayMs: number): void {
    this.#cancel ??= this.#world.clock.at(delayMs, () => this.#write());
  }

  #rest(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#failed = false;
  }

  #write(): void {
    this.#rest();
    const snapshot = this.#snapshot();
    if (snapshot === null) return;
    const { path, list } = snapshot;
    this.#kept = { path, url: list.url, goodAt: list.goodAt };
    this.#writing = this.#writing
      .then(() => writeLastGood(this.#world.files, path, list))
      .catch((thrown: unknown) => {
        const text = `last good list is not kept: ${errorText(thrown)}`;
        this.#world.log({ level: 'error', system: list.service, text });
        if (this.#closed || this.#cancel !== null) return;
        this.#failed = true;
        this.#in(SAVE_RETRY_MS);
      });
  }
}
