// How late something was, and when: asked for the longest since any moment. Used by world/real/self.ts and the simulator.

/** A thousand that each were shorter than the one before: the oldest is forgotten. */
const MOST = 1000;

export class Stalls {
  /** Only those after which none was as long: the longest first. */
  readonly #stalls: { readonly endedAt: number; readonly ms: number }[] = [];

  add(endedAt: number, ms: number): void {
    const stalls = this.#stalls;
    for (let last = stalls.at(-1); last !== undefined && last.ms <= ms; last = stalls.at(-1)) stalls.pop();
    if (stalls.length === MOST) stalls.shift();
    stalls.push({ endedAt, ms });
  }

  /** The longest since `at`, ms; of one that had begun by then, what was left of it. */
  longestSince(at: number): number {
    let longest = 0;
    for (let i = this.#stalls.length - 1; i >= 0; i--) {
      const stall = this.#stalls[i];
      if (stall === undefined || stall.endedAt <= at) break;
      longest = Math.max(longest, Math.min(stall.ms, stall.endedAt - at));
    }
    return longest;
  }
}
