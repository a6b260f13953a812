// The timers of one session (RFC 4271 §8.1.3, RFC 9687), as fsm.ts arms and disarms them. session.ts owns them.

import type { Clock } from '../world/world.ts';
import type { Timer } from './fsm.ts';

/** A hold timer that fires later than this says more about our own event loop than about the peer. */
const LATE_MS = 500;
const LATE_GRACE_MS = 250;

export class Timers {
  readonly #world: { readonly clock: Clock; random(): number };
  readonly #expired: (timer: Timer) => void;
  readonly #running = new Map<Timer, () => void>();

  constructor(world: { readonly clock: Clock; random(): number }, expired: (timer: Timer) => void) {
    this.#world = world;
    this.#expired = expired;
  }

  /** In the place of an earlier one of that name. */
  arm(timer: Timer, seconds: number, jitter: boolean): void {
    this.disarm(timer);
    const { clock } = this.#world;
    // RFC 4271 §10
    const delayMs = seconds * 1000 * (jitter ? 0.75 + 0.25 * this.#world.random() : 1);
    const due = clock.now() + delayMs;
    const fire = () => {
      if (timer === 'hold' && clock.now() - due > LATE_MS) {
        // We slept ourselves: what the peer has sent meanwhile is still to be read, and deserves to be.
        this.#running.set(timer, clock.at(LATE_GRACE_MS, expire));
      } else expire();
    };
    const expire = () => {
      this.#running.delete(timer);
      this.#expired(timer);
    };
    this.#running.set(timer, clock.at(delayMs, fire));
  }

  disarm(timer: Timer): void {
    this.#running.get(timer)?.();
    this.#running.delete(timer);
  }
}
