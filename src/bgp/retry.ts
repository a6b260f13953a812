// When a peer without a session is tried again: soon after a first loss and then less and less often, late after a protocol error.
// peer.ts owns one.

import type { Clock } from '../world/world.ts';

/** IdleHoldTime (RFC 4271 §8.1.1) after the first loss; it doubles up to the configured pause. */
const FIRST_PAUSE_SECONDS = 1.5;
/** After protocol errors, which do not heal by trying. */
const DAMPING = { first: 10, last: 120, forgottenAfterMs: 300_000 } as const;

export class Retry {
  readonly #world: { readonly clock: Clock; random(): number };
  readonly #due: () => void;
  #timer: (() => void) | null = null;
  #failures = 0;
  #protocolErrors = 0;
  #damped = false;

  constructor(world: { readonly clock: Clock; random(): number }, due: () => void) {
    this.#world = world;
    this.#due = due;
  }

  /** Connections that ended since the last session came up. */
  get failures(): number {
    return this.#failures;
  }
  /** After a protocol error; while it lasts the peer's calls are refused too. */
  get damped(): boolean {
    return this.#damped;
  }

  failed(): void {
    this.#failures++;
  }

  succeeded(): void {
    this.cancel();
    this.#failures = 0;
  }

  /** `upForMs`: how long the session was up that it ended; null: there was none. */
  damp(upForMs: number | null): void {
    if (upForMs !== null && upForMs > DAMPING.forgottenAfterMs) this.#protocolErrors = 0;
    this.#protocolErrors++;
    // An attempt that was due earlier has to wait as well.
    this.cancel();
    this.#damped = true;
  }

  /** What is due already stays so. `mostSeconds`: the pause where nothing but the path seems to be wrong. */
  schedule(mostSeconds: number): void {
    if (this.#timer !== null) return;
    const seconds = this.#damped
      ? Math.min(DAMPING.last, DAMPING.first * 2 ** (this.#protocolErrors - 1))
      : Math.min(mostSeconds, FIRST_PAUSE_SECONDS * 2 ** Math.max(0, this.#failures - 1));
    this.#timer = this.#world.clock.at(seconds * (0.75 + 0.25 * this.#world.random()) * 1000, () => {
      this.#timer = null;
      this.#due();
    });
  }

  /** Nothing is due any more, and nothing damped. */
  cancel(): void {
    this.#timer?.();
    this.#timer = null;
    this.#damped = false;
  }
}
