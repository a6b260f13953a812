// BFD for all cells of the matrix: one worker, as in production, and the signs of life that it wants.

import { type BfdSessionConfig, type BfdStatus, HEARTBEAT_MS } from '../../../src/bfd/types.ts';
import { createBfd } from '../../../src/world/real/bfd.ts';
import { createClock } from '../../../src/world/real/clock.ts';

/** Far from what a busy test machine reaches: wedged daemons are tested elsewhere. */
const WEDGED_MS = 30_000;

export class Paths {
  readonly #bfd = createBfd(createClock(), () => {});
  readonly #watched = new Map<string, { readonly session: BfdSessionConfig; readonly onDown: () => void }>();
  #beat: NodeJS.Timeout | null = null;

  /** `onDown` is called when the path was there and is lost. */
  watch(session: BfdSessionConfig, onDown: () => void): void {
    this.#watched.set(session.name, { session, onDown });
    const sessions = Array.from(this.#watched.values(), (one) => one.session);
    this.#bfd.configure({ sessions, wedgedMs: WEDGED_MS }, ({ name, was, state }) => {
      if (was === 'Up' && state !== 'Up') this.#watched.get(name)?.onDown();
    });
    this.#beat ??= setInterval(() => this.#bfd.alive(), HEARTBEAT_MS);
  }

  status(name: string): BfdStatus | null {
    return this.#bfd.status().find((one) => one.name === name) ?? null;
  }

  async stop(): Promise<void> {
    await this.#bfd.stop();
    if (this.#beat !== null) clearInterval(this.#beat);
  }
}
