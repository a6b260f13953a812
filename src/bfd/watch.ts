// Is the daemon alive? It counts; this looks whether the count moves. Used by engine.ts, in the worker, where no stall of the
// daemon's reaches.

import type { Clock, Mono } from '../world/world.ts';
import { HEARTBEAT_MS } from './types.ts';

export interface WatchHandlers {
  wedged(forMs: number): void;
  recovered(): void;
}

export class Watch {
  readonly #clock: Clock;
  readonly #count: () => number;
  readonly #handlers: WatchHandlers;
  #limitMs = 0;
  #last = 0;
  #lookedAt: Mono;
  #silentMs = 0;
  #livelyMs = 0;
  #wedged = false;
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, count: () => number, handlers: WatchHandlers) {
    this.#clock = clock;
    this.#count = count;
    this.#handlers = handlers;
    this.#lookedAt = clock.now();
  }

  get isWedged(): boolean {
    return this.#wedged;
  }

  /** Watch from now on, or go on watching with another limit. */
  start(limitMs: number): void {
    this.#limitMs = limitMs;
    if (this.#cancel !== null) return;
    this.#last = this.#count();
    this.#lookedAt = this.#clock.now();
    this.#silentMs = 0;
    this.#again();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#wedged = false;
  }

  #again(): void {
    this.#cancel = this.#clock.at(HEARTBEAT_MS, () => {
      this.#look();
      this.#again();
    });
  }

  #look(): void {
    const now = this.#clock.now();
    // When the whole process was stopped, or the machine was, the daemon had no more chance to count than we to look.
    const passedMs = Math.min(now - this.#lookedAt, 2 * HEARTBEAT_MS);
    this.#lookedAt = now;
    const count = this.#count();
    const moved = count !== this.#last;
    this.#last = count;
    this.#silentMs = moved ? 0 : this.#silentMs + passedMs;
    // One that stops and goes must not take its sessions up and down with it.
    this.#livelyMs = this.#silentMs > this.#limitMs / 2 ? 0 : this.#livelyMs + passedMs;
    if (!this.#wedged && this.#silentMs >= this.#limitMs) {
      this.#wedged = true;
      this.#handlers.wedged(Math.round(this.#silentMs));
    } else if (this.#wedged && moved && this.#livelyMs >= this.#limitMs) {
      this.#wedged = false;
      this.#handlers.recovered();
    }
  }
}
