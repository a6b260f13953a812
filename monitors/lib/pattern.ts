// Regular expressions that take a time that is known before, whatever is in a text: all ways to match are followed at once, as in
// Thompson's construction, and none is ever gone back on. Mostly that is done once, for all texts, and a table is what comes of it
// (pattern-table.ts); otherwise each character of a text costs as many steps as the pattern has. Used by expect.ts.

import { has, LINE_END, parsePattern, PatternError, within, WORD } from './pattern-syntax.ts';
import type { CharacterSet, Node, Place } from './pattern-syntax.ts';
import { tableOf } from './pattern-table.ts';

export { PatternError } from './pattern-syntax.ts';

export interface Pattern {
  /** What it is when written out. */
  readonly steps: number;
  /** Each character of a text costs one look. False: at most as many steps as there are. */
  readonly isTable: boolean;
  /** Whether it matches anywhere in the text. */
  test(text: string): boolean;
}

const MAX_STEPS = 1000;
/** Nodes that may be visited on the way there: repetitions of nothing have no steps. */
const MAX_VISITS = 20_000;

export type Step =
  | { readonly do: 'take'; readonly set: CharacterSet }
  | { readonly do: 'fork'; readonly to: readonly number[] }
  | { readonly do: 'look'; readonly place: Place }
  | { readonly do: 'match' };

/** `asTable`: null where that is too large. Throws PatternError. */
export function compilePattern(source: string, asTable = tableOf): Pattern {
  const steps = new Compiler().compile(parsePattern(source));
  const byTable = asTable(steps);
  if (byTable !== null) return { steps: steps.length, isTable: true, test: byTable };
  const search = new Search(steps);
  return { steps: steps.length, isTable: false, test: (text) => search.test(text) };
}

class Compiler {
  readonly #steps: Step[] = [];
  #visits = 0;

  compile(node: Node): readonly Step[] {
    this.#add(node);
    this.#push({ do: 'match' });
    return this.#steps;
  }

  #push(step: Step): number {
    if (this.#steps.length >= MAX_STEPS) throw new PatternError(`it has more than ${MAX_STEPS} steps when written out`);
    return this.#steps.push(step) - 1;
  }

  #add(node: Node): void {
    if (++this.#visits > MAX_VISITS) throw new PatternError('it repeats too much of nothing');
    switch (node.is) {
      case 'set':
        this.#push({ do: 'take', set: node.set });
        return;
      case 'place':
        this.#push({ do: 'look', place: node.place });
        return;
      case 'sequence':
        for (const each of node.nodes) this.#add(each);
        return;
      case 'either':
        this.#either(node.nodes);
        return;
      case 'repeat':
        this.#repeat(node.node, node.least, node.most);
        return;
      default:
        node satisfies never;
    }
  }

  /** A fork to each of them, and from the end of each one to behind them all. */
  #either(nodes: readonly Node[]): void {
    const starts: number[] = [];
    const fork = this.#push({ do: 'fork', to: starts });
    const ends = nodes.map((node) => {
      starts.push(this.#steps.length);
      this.#add(node);
      return this.#push({ do: 'fork', to: [] });
    });
    for (const end of ends) this.#steps[end] = { do: 'fork', to: [this.#steps.length] };
    this.#steps[fork] = { do: 'fork', to: starts };
  }

  #repeat(node: Node, least: number, most: number | null): void {
    for (let i = 0; i < least; i++) this.#add(node);
    if (most === null) {
      const fork = this.#push({ do: 'fork', to: [] });
      this.#add(node);
      this.#push({ do: 'fork', to: [fork] });
      this.#steps[fork] = { do: 'fork', to: [fork + 1, this.#steps.length] };
      return;
    }
    const forks: number[] = [];
    for (let i = least; i < most; i++) {
      forks.push(this.#push({ do: 'fork', to: [] }));
      this.#add(node);
    }
    for (const fork of forks) this.#steps[fork] = { do: 'fork', to: [fork + 1, this.#steps.length] };
  }
}

/** What a step takes, by character: most are below 256. */
interface Taken {
  readonly low: Uint8Array;
  readonly set: CharacterSet;
}

function takenBy(set: CharacterSet): Taken {
  return { set, low: Uint8Array.from({ length: 256 }, (_, code) => (has(set, code) ? 1 : 0)) };
}

function takes({ low, set }: Taken, code: number): boolean {
  return code < 256 ? low[code] === 1 : has(set, code);
}

/** All places in the pattern where a match may be, from one character of the text to the next. */
class Search {
  readonly #steps: readonly Step[];
  readonly #taken: readonly (Taken | null)[];
  /** Characters below 256 that a match can begin with; null: it can be empty. */
  readonly #first: Uint8Array | null;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#taken = steps.map((step) => (step.do === 'take' ? takenBy(step.set) : null));
    this.#first = this.#beginnings();
  }

  #beginnings(): Uint8Array | null {
    const first = new Uint8Array(256);
    const seen = new Set<number>();
    const open = [0];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const step = this.#steps[next];
      if (step === undefined || seen.has(next)) continue;
      seen.add(next);
      if (step.do === 'match') return null;
      if (step.do === 'fork') open.push(...step.to);
      else if (step.do === 'look') open.push(next + 1);
      else this.#taken[next]?.low.forEach((isTaken, code) => (first[code] = (first[code] ?? 0) | isTaken));
    }
    return first;
  }

  test(text: string): boolean {
    const count = this.#steps.length;
    /** Where in the text a step was last reached: at each character it is looked at once. */
    const reached = new Int32Array(count).fill(-1);
    const stack = new Int32Array(count);
    let here = new Int32Array(count);
    let next = new Int32Array(count);
    let hereCount = 0;
    for (let at = 0; at <= text.length; at++) {
      if (hereCount === 0) at = this.#skip(text, at);
      hereCount = this.#reach(0, text, at, here, hereCount, reached, stack);
      if (hereCount < 0) return true;
      if (at === text.length) return false;
      const code = text.charCodeAt(at);
      let nextCount = 0;
      for (let i = 0; i < hereCount; i++) {
        const step = here[i] ?? 0;
        const taken = this.#taken[step];
        if (taken === null || taken === undefined || !takes(taken, code)) continue;
        nextCount = this.#reach(step + 1, text, at + 1, next, nextCount, reached, stack);
        if (nextCount < 0) return true;
      }
      [here, next] = [next, here];
      hereCount = nextCount;
    }
    return false;
  }

  /** The next place where a match can begin. */
  #skip(text: string, from: number): number {
    const first = this.#first;
    if (first === null) return from;
    let at = from;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code >= 256 || first[code] === 1) break;
    }
    return at;
  }

  /** Put the steps that take a character, as far as they are reached from `start`, behind the first `count`. -1: it matches. */
  #reach(
    start: number,
    text: string,
    at: number,
    list: Int32Array,
    count: number,
    reached: Int32Array,
    stack: Int32Array,
  ): number {
    if (reached[start] === at) return count;
    reached[start] = at;
    stack[0] = start;
    let listed = count;
    for (let top = 1; top > 0; ) {
      const place = stack[--top] ?? 0;
      const step = this.#steps[place];
      if (step === undefined) continue;
      if (step.do === 'match') return -1;
      if (step.do === 'take') {
        list[listed++] = place;
      } else if (step.do === 'fork') {
        for (const to of step.to) {
          if (reached[to] === at) continue;
          reached[to] = at;
          stack[top++] = to;
        }
      } else if (reached[place + 1] !== at && isAt(step.place, text, at)) {
        reached[place + 1] = at;
        stack[top++] = place + 1;
      }
    }
    return listed;
  }
}

function isAt(place: Place, text: string, at: number): boolean {
  const before = at === 0 ? -1 : text.charCodeAt(at - 1);
  const after = at === text.length ? -1 : text.charCodeAt(at);
  switch (place) {
    case 'start':
      return at === 0;
    case 'end':
      return at === text.length;
    case 'line start':
      return at === 0 || within(LINE_END, before);
    case 'line end':
      return at === text.length || within(LINE_END, after);
    case 'word edge':
      return within(WORD, before) !== within(WORD, after);
    case 'no word edge':
      return within(WORD, before) === within(WORD, after);
    default:
      return place satisfies never;
  }
}
