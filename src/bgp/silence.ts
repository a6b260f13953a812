// Why there may be no session with a peer of which nothing is heard: what the kernel has dropped since the last one ended
// (drops.ts), or else what a router does that does not like our packets. peer.ts owns one.

import type { Clock } from '../world/world.ts';
import { type Drops, type Protection, type Suspect, suspicion } from './drops.ts';

/** How often somebody looks. */
const LOOK_MS = 5_000;

/** What the router's kernel says nothing to. */
const SILENT_ANSWER: Readonly<Record<Protection, string>> = {
  'TCP-MD5': ' (with TCP-MD5 that is also how a router answers another password)',
  'TCP-AO': ' (with TCP-AO that is also how a router answers a key that it does not have)',
};

export class Silence {
  readonly #clock: Clock;
  readonly #drops: () => Drops;
  readonly #suspect: () => Suspect;
  #before: Drops;
  #timer: (() => void) | null = null;

  /** `drops`: what the kernel has dropped so far. `suspect`: what the peer is configured with now. */
  constructor(clock: Clock, drops: () => Drops, suspect: () => Suspect) {
    this.#clock = clock;
    this.#drops = drops;
    this.#suspect = suspect;
    this.#before = drops();
  }

  /** A session ended: what was dropped before that explains nothing. */
  begin(): void {
    this.#before = this.#drops();
  }

  /** ` (probable cause: …)`, or nothing. */
  get cause(): string {
    const why = suspicion(this.#before, this.#drops(), this.#suspect());
    return why === null ? '' : ` (probable cause: ${why})`;
  }

  /** The same where no answer at all came: then it may be the router's kernel that drops our packets. */
  get causeOfNoAnswer(): string {
    const { protection } = this.#suspect();
    return this.cause || (protection === null ? '' : SILENT_ANSWER[protection]);
  }

  /**
   * Of a router that calls in vain nothing is heard at all, and of one whose answers are dropped for four minutes (RFC 4271
   * §8.2.2): look from time to time, until `look` says that it has seen enough.
   */
  watch(look: () => 'again' | 'enough'): void {
    this.#timer ??= this.#clock.at(LOOK_MS, () => {
      this.#timer = null;
      if (look() === 'again') this.watch(look);
    });
  }

  stop(): void {
    this.#timer?.();
  }
}
