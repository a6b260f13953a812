// New keys for a peer's running connections, and an old key of TCP-AO that the peer still asks for: it stays, and is tried again.
// peer.ts owns one.

import { errorText, SystemError } from '../lib/errors.ts';
import type { LogLevel } from '../log/record.ts';
import type { AoKey, Stream, World } from '../world/world.ts';
import type { KeyOptions } from './tcp-keys.ts';

/** Linux needs 10 to 25 ms to take a key from a connection, and this thread waits: not for all peers in a row. */
const SPREAD_MS = 1_000;
const AGAIN_MS = 5_000;

export interface RekeyHooks {
  /** What is connected now. */
  streams(): readonly Stream[];
  log(level: LogLevel, text: string): void;
}

export class Rekey {
  readonly #world: Pick<World, 'clock' | 'random'>;
  readonly #hooks: RekeyHooks;
  #waiting: (() => void) | null = null;
  #oldKey = false;

  constructor(world: Pick<World, 'clock' | 'random'>, hooks: RekeyHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  /** Soon, or at once where that costs nothing. */
  change(options: KeyOptions): void {
    const { md5Key, aoKeys } = options;
    if (md5Key !== undefined) this.#tell({ md5Key });
    if (aoKeys !== undefined) this.#later(SPREAD_MS * this.#world.random(), aoKeys);
  }

  /** At once. */
  set(aoKeys: readonly AoKey[]): void {
    this.stop();
    const busy = this.#tell({ aoKeys });
    // With the session the old key has gone, and all that would be said of it.
    const connected = this.#hooks.streams().length > 0;
    if (busy !== null) this.#later(AGAIN_MS * (0.75 + this.#world.random() / 2), aoKeys);
    if (busy !== null && !this.#oldKey) this.#hooks.log('warn', `An old key stays for now: ${errorText(busy)}`);
    if (busy === null && connected && this.#oldKey) this.#hooks.log('info', 'No old key is left');
    this.#oldKey = busy !== null;
  }

  /** Nothing more will come of what was wanted. */
  stop(): void {
    this.#waiting?.();
    this.#waiting = null;
  }

  #later(ms: number, aoKeys: readonly AoKey[]): void {
    this.stop();
    this.#waiting = this.#world.clock.at(ms, () => this.set(aoKeys));
  }

  /** RFC 5925 §7.3: what is new is there, but an old key is still asked for. */
  #tell(options: KeyOptions): SystemError | null {
    let busy: SystemError | null = null;
    for (const stream of this.#hooks.streams()) {
      try {
        stream.tune?.(options);
      } catch (error) {
        if (error instanceof SystemError && error.code === 'EBUSY') busy = error;
        else this.#hooks.log('error', `New keys cannot be used: ${errorText(error)}`);
      }
    }
    return busy;
  }
}
