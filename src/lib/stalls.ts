// How late something was, and when: asked for the longest since any moment, and for all of it. Used by world/real/self.ts and the simulator.

/** Of each kind: the oldest is forgotten. */
const MOST = 1000;
/** Shorter ones do not add up: a loop that is busy, for hours maybe, hears everybody in each of its turns. */
const LONG_MS = 100;

interface Stall {
  readonly endedAt: number;
  readonly ms: number;
}

export class Stalls {
  /** Only those after which none was as long: the longest first. */
  readonly #longest: Stall[] = [];
  readonly #long: Stall[] = [];

  add(endedAt: number, ms: number): void {
    const longest = this.#longest;
    for (let last = longest.at(-1); last !== undefined && last.ms <= ms; last = longest.at(-1)) longest.pop();
    push(longest, { endedAt, ms });
    if (ms >= LONG_MS) push(this.#long, { endedAt, ms });
  }

  /** The longest since `at`, ms; of one that had begun by then, what was left of it. `underWayMs`: of one that is not over. */
  longestSince(at: number, underWayMs = 0): number {
    let longest = underWayMs;
    for (const ms of lengthsSince(this.#longest, at)) longest = Math.max(longest, ms);
    return longest;
  }

  /** As longestSince, but the long ones together, if there was one. */
  sumSince(at: number, underWayMs = 0): number {
    let sum = underWayMs < LONG_MS ? 0 : underWayMs;
    for (const ms of lengthsSince(this.#long, at)) sum += ms;
    return Math.max(sum, this.longestSince(at, underWayMs));
  }
}

function push(stalls: Stall[], stall: Stall): void {
  if (stalls.length === MOST) stalls.shift();
  stalls.push(stall);
}

/** The latest first. */
function* lengthsSince(stalls: readonly Stall[], at: number): Generator<number> {
  for (let i = stalls.length - 1; i >= 0; i--) {
    const stall = stalls[i];
    if (stall === undefined || stall.endedAt <= at) return;
    yield Math.min(stall.ms, stall.endedAt - at);
  }
}
