// How late something was, and when: asked for how late it was since any moment. Used by world/real/self.ts and the simulator.

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

  /**
   * The long ones since `at` together, ms, or the longest if none was long; of one that had begun by then, what was left of it.
   * `underWayMs`: what there is since then of one that is not over.
   */
  since(at: number, underWayMs = 0): number {
    let sum = underWayMs < LONG_MS ? 0 : underWayMs;
    for (const ms of lengthsSince(this.#long, at)) sum += ms;
    let longest = underWayMs;
    for (const ms of lengthsSince(this.#longest, at)) longest = Math.max(longest, ms);
    return Math.max(sum, longest);
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
