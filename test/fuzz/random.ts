// Small seeded random numbers for fuzzing: each message has its own generator from the run's seed and its index, so that
// one message can be made again without those before it.

export class Random {
  #state: number;

  constructor(seed: number, index = 0) {
    this.#state = (Math.imul(seed, 0x85ebca6b) ^ Math.imul(index + 1, 0x9e3779b1)) >>> 0;
  }

  /** 32 random bits (mulberry32). */
  bits(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 … below. */
  under(below: number): number {
    return Math.floor((this.bits() / 2 ** 32) * below);
  }

  byte(): number {
    return this.bits() & 0xff;
  }

  chance(percent: number): boolean {
    return this.under(100) < percent;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.under(choices.length)] ?? choices[0];
  }
}
