// A pattern as a table: from each set of steps where a match may be, and for each kind of character, to the next set (the subset
// construction of Rabin and Scott). A character of a text then costs one look, whatever the pattern is and whatever the text.
// Used by pattern.ts.

import type { Step } from './pattern.ts';
import { type CharacterSet, has, LINE_END, type Place, type Ranges, within, WORD } from './pattern-syntax.ts';

/** Places in the table: a larger one is not made. */
const MAX_PLACES = 32_768;
/** Steps that are looked at to make it. */
const MAX_LOOKS = 100_000;
const MATCH = 0xffff;

/** What stands on one side of a place in the text, as far as places in a pattern ask: nothing, a line end, or a character. */
type Side = 'nothing' | 'line end' | 'word' | 'other';

/** Whether there is a match anywhere in the text. Null: the table would be too large. */
export function tableOf(steps: readonly Step[]): ((text: string) => boolean) | null {
  const alphabet = new Alphabet(steps);
  const table = new Maker(steps, alphabet).make();
  if (table === null) return null;
  const { next, matchesAtEnd } = table;
  const kinds = alphabet.kinds.length;
  return (text) => {
    let state = 0;
    for (let at = 0; at < text.length; at++) {
      state = next[state * kinds + alphabet.kindOf(text.charCodeAt(at))] ?? MATCH;
      if (state === MATCH) return true;
    }
    return matchesAtEnd[state] === true;
  };
}

/** Characters that no step of a pattern tells from each other are of one kind. */
class Alphabet {
  /** One character of each. */
  readonly kinds: readonly number[];
  /** Of characters below 256. */
  readonly #low = new Uint16Array(256);
  /** Where the kind changes among the others, and to which. */
  readonly #starts: readonly number[];
  readonly #kindFrom: readonly number[];

  constructor(steps: readonly Step[]) {
    const sets = new Map<string, CharacterSet>();
    for (const step of steps) if (step.do === 'take') sets.set(JSON.stringify(step.set), step.set);
    const told: Ranges[] = [WORD, LINE_END, ...[...sets.values()].map(({ ranges }) => ranges)];
    const starts = new Set(Array.from({ length: 257 }, (_, code) => code));
    for (const [first, last] of told.flat()) starts.add(first).add(last + 1);
    const kinds = new Map<string, number>();
    const found: number[] = [];
    this.#starts = [...starts].filter((start) => start <= 0xffff).toSorted((a, b) => a - b);
    this.#kindFrom = this.#starts.map((start) => {
      const name = told.map((ranges) => (within(ranges, start) ? '1' : '0')).join('');
      const kind = kinds.get(name) ?? found.push(start) - 1;
      kinds.set(name, kind);
      return kind;
    });
    for (let code = 0; code < 256; code++) this.#low[code] = this.#kindFrom[code] ?? 0;
    this.kinds = found;
  }

  kindOf(code: number): number {
    if (code < 256) return this.#low[code] ?? 0;
    let [low, high] = [256, this.#starts.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? 0) <= code) low = middle;
      else high = middle;
    }
    return this.#kindFrom[low] ?? 0;
  }
}

/** Steps that were reached by the last character, before what needs none is followed from them, and what that character was. */
interface State {
  readonly reached: readonly number[];
  readonly before: Side;
}

class Maker {
  readonly #steps: readonly Step[];
  readonly #alphabet: Alphabet;
  /** Otherwise nobody asks what stands beside a place. */
  readonly #looks: boolean;
  readonly #states: State[] = [];
  readonly #numbers = new Map<string, number>();
  #left = MAX_LOOKS;

  constructor(steps: readonly Step[], alphabet: Alphabet) {
    this.#steps = steps;
    this.#alphabet = alphabet;
    this.#looks = steps.some((step) => step.do === 'look');
  }

  make(): { readonly next: Uint16Array; readonly matchesAtEnd: readonly boolean[] } | null {
    const { kinds } = this.#alphabet;
    const next: number[] = [];
    const matchesAtEnd: boolean[] = [];
    this.#numberOf({ reached: [0], before: 'nothing' });
    for (let number = 0; number < this.#states.length; number++) {
      const state = this.#states[number];
      if (state === undefined || this.#left <= 0 || (number + 1) * kinds.length > MAX_PLACES) return null;
      matchesAtEnd.push(this.#follow(state, 'nothing') === null);
      const takers = new Map<Side, readonly number[] | null>();
      for (const code of kinds) {
        const side = this.#sideOf(code);
        const known = takers.get(side);
        const takes = known === undefined ? this.#follow(state, side) : known;
        takers.set(side, takes);
        next.push(takes === null ? MATCH : this.#numberOf({ reached: this.#take(takes, code), before: side }));
      }
    }
    return { next: Uint16Array.from(next), matchesAtEnd };
  }

  #numberOf(state: State): number {
    const name = `${state.before} ${state.reached.join(' ')}`;
    const number = this.#numbers.get(name) ?? this.#states.push(state) - 1;
    this.#numbers.set(name, number);
    return number;
  }

  #sideOf(code: number): Side {
    if (!this.#looks) return 'other';
    if (within(WORD, code)) return 'word';
    return within(LINE_END, code) ? 'line end' : 'other';
  }

  /** Steps that take a character, as far as they are reached between the two sides; null: there is a match. */
  #follow({ reached, before }: State, after: Side): readonly number[] | null {
    const takers: number[] = [];
    const seen = new Set(reached);
    // Whoever is added meanwhile has its turn too.
    for (const place of seen) {
      this.#left--;
      const step = this.#steps[place];
      if (step === undefined) continue;
      if (step.do === 'match') return null;
      if (step.do === 'take') takers.push(place);
      else if (step.do === 'fork') for (const to of step.to) seen.add(to);
      else if (isBetween(step.place, before, after)) seen.add(place + 1);
    }
    return takers;
  }

  /** What is reached with the character: a match may begin behind each. */
  #take(takers: readonly number[], code: number): readonly number[] {
    this.#left -= takers.length;
    const reached = [0];
    for (const place of takers) {
      const step = this.#steps[place];
      if (step?.do === 'take' && has(step.set, code)) reached.push(place + 1);
    }
    return reached.toSorted((a, b) => a - b);
  }
}

function isBetween(place: Place, before: Side, after: Side): boolean {
  switch (place) {
    case 'start':
      return before === 'nothing';
    case 'end':
      return after === 'nothing';
    case 'line start':
      return before === 'nothing' || before === 'line end';
    case 'line end':
      return after === 'nothing' || after === 'line end';
    case 'word edge':
      return (before === 'word') !== (after === 'word');
    case 'no word edge':
      return (before === 'word') === (after === 'word');
    default:
      return place satisfies never;
  }
}
