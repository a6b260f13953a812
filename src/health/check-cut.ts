// The Cut of one check: by it the tools know for which check they are used, and it remembers what is needed to judge how the check ended.
// Made by poll.ts, watch.ts and tools.ts.

import { Knife } from '../lib/cut.ts';
import type { Mono } from '../world/world.ts';
import { bugText, callFenced } from './fence.ts';
import type { PathSource } from './path.ts';

/** The Cut of one check. It remembers what went wrong on our side while the check was under way. */
export class CheckCut extends Knife {
  /** How to reach the server through the path; null: at its own address. */
  readonly path: PathSource | null;
  ownFault: string | null = null;
  /** Why it does not count, whatever it says: the monitor is broken, or its way was changed under it. */
  spoilt: string | null = null;
  /** Turns that it waits for. */
  turns = 0;
  /** What it waits for that is ours: turns, and the path. */
  waiting = 0;
  /** For how long it did so before, ms. */
  waitedMs = 0;
  #waitsSince = 0;
  readonly startedAt: Mono;

  constructor(path: PathSource | null = null, startedAt = 0 as Mono) {
    super();
    this.path = path;
    this.startedAt = startedAt;
  }

  startTurn(now: Mono): void {
    this.turns++;
    this.startWaiting(now);
  }
  endTurn(now: Mono): void {
    this.turns--;
    this.endWaiting(now);
  }

  startWaiting(now: Mono): void {
    if (this.waiting++ === 0) this.#waitsSince = now;
  }
  endWaiting(now: Mono): void {
    if (--this.waiting === 0) this.waitedMs += now - this.#waitsSince;
  }

  /**
   * At its deadline: how much more time the server is given, ms, because the check had to wait for what is ours. Half of the time is the
   * server's.
   */
  moreMs(now: Mono, timeoutMs: number): number {
    return this.waiting > 0 ? 0 : this.waitedMs + timeoutMs / 2 - (now - this.startedAt);
  }

  /** The check that is under way in its place, when this one is over and what it opened is kept. */
  get current(): CheckCut {
    return this;
  }

  spoil(why: string): void {
    if (this.spoilt !== null) return;
    this.spoilt = why;
    this.onSpoilt();
  }

  /** `spoilt` is set: the loop cuts the check short. */
  onSpoilt(): void {}

  protected override call(fn: () => void): void {
    callFenced(fn, (error) => this.spoil(bugText(error)));
  }
}
