// Regular expressions that take no longer than the text is long times the pattern is long, whatever is in either: all ways to
// match are followed at once, as in Thompson's construction, and none is ever gone back on. They are written as in JavaScript,
// without what needs going back: references and looking around. Used by expect.ts.

/** The pattern is none, or not one of these. */
export class PatternError extends Error {}

export interface Pattern {
  /** Each character of a text costs at most so many steps. */
  readonly steps: number;
  /** Whether it matches anywhere in the text. */
  test(text: string): boolean;
}

const MAX_STEPS = 1000;
/** Nodes that may be visited on the way there: repetitions of nothing have no steps. */
const MAX_VISITS = 20_000;
const MAX_DEPTH = 100;
const MAX_REPEAT = 1000;

type Place = 'start' | 'end' | 'line start' | 'line end' | 'word edge' | 'no word edge';

type Node =
  | { readonly is: 'set'; readonly set: CharacterSet }
  | { readonly is: 'sequence'; readonly nodes: readonly Node[] }
  | { readonly is: 'either'; readonly nodes: readonly Node[] }
  | { readonly is: 'repeat'; readonly node: Node; readonly least: number; readonly most: number | null }
  | { readonly is: 'place'; readonly place: Place };

type Step =
  | { readonly do: 'take'; readonly set: CharacterSet }
  | { readonly do: 'fork'; readonly to: readonly number[] }
  | { readonly do: 'look'; readonly place: Place }
  | { readonly do: 'match' };

type Ranges = readonly (readonly [first: number, last: number])[];
interface CharacterSet {
  readonly ranges: Ranges;
  readonly negated: boolean;
  readonly anyCase: boolean;
}

const DIGIT: Ranges = [[0x30, 0x39]];
const WORD: Ranges = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACE: Ranges = [
  ...([
    [9, 13],
    [0x20, 0x20],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
    [0x2028, 0x2029],
  ] as const),
  ...([
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
    [0xfeff, 0xfeff],
  ] as const),
];
const LINE_END: Ranges = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const CONTROL: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0 };

/** Flags stand at its beginning: `(?i)` any case, `(?m)` ^ and $ at each line, `(?s)` a dot is a line end too. Throws PatternError. */
export function compilePattern(source: string): Pattern {
  const steps = new Compiler().compile(new Parser(source).parse());
  const search = new Search(steps);
  return { steps: steps.length, test: (text) => search.test(text) };
}

class Parser {
  readonly #text: string;
  readonly #flags: string;
  #at: number;
  #depth = 0;

  constructor(source: string) {
    this.#text = source;
    const [whole = '', flags = ''] = /^\(\?([ims]+)\)/.exec(source) ?? [];
    this.#flags = flags;
    this.#at = whole.length;
  }

  parse(): Node {
    const node = this.#either();
    if (this.#at < this.#text.length) throw this.#error('a ) that closes nothing');
    return node;
  }

  #error(what: string): PatternError {
    return new PatternError(`${what}, at character ${this.#at + 1}`);
  }

  #take(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false;
    this.#at += expected.length;
    return true;
  }

  /** What the expression finds from here on. */
  #match(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#text);
    if (found !== null) this.#at += found[0].length;
    return found;
  }

  #either(): Node {
    const nodes = [this.#sequence()];
    while (this.#take('|')) nodes.push(this.#sequence());
    const [only] = nodes;
    return nodes.length === 1 && only !== undefined ? only : { is: 'either', nodes };
  }

  #sequence(): Node {
    const nodes: Node[] = [];
    while (this.#at < this.#text.length && !/[|)]/.test(this.#text[this.#at] ?? '')) nodes.push(this.#repeated());
    return { is: 'sequence', nodes };
  }

  #repeated(): Node {
    const node = this.#atom();
    const found = this.#match(/([*+?])|\{(\d{1,9})(,(\d{0,9}))?\}/y);
    if (found === null) return node;
    if (node.is === 'place') throw this.#error('nothing to repeat');
    const [, sign, least, comma, most = ''] = found;
    // Matching less or more of it makes no difference to whether there is a match.
    this.#take('?');
    if (this.#match(/[*+?]|\{\d+(,\d*)?\}/y) !== null) throw this.#error('a repetition of a repetition');
    if (sign !== undefined) return { is: 'repeat', node, least: sign === '+' ? 1 : 0, most: sign === '?' ? 1 : null };
    const from = Number(least);
    const to = comma === undefined ? from : most === '' ? null : Number(most);
    if (from > MAX_REPEAT || (to ?? 0) > MAX_REPEAT) throw this.#error(`more than ${MAX_REPEAT} repetitions`);
    if (to !== null && to < from) throw this.#error('a repetition of more than its most');
    return { is: 'repeat', node, least: from, most: to };
  }

  #atom(): Node {
    const character = this.#text[this.#at++] ?? '';
    switch (character) {
      case '.':
        return this.#set(this.#flags.includes('s') ? [] : LINE_END, true);
      case '^':
        return { is: 'place', place: this.#flags.includes('m') ? 'line start' : 'start' };
      case '$':
        return { is: 'place', place: this.#flags.includes('m') ? 'line end' : 'end' };
      case '[':
        return this.#class();
      case '(':
        return this.#group();
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw this.#error('nothing to repeat');
      default:
        return this.#set([[character.charCodeAt(0), character.charCodeAt(0)]]);
    }
  }

  #set(ranges: Ranges, negated = false): Node {
    return { is: 'set', set: { ranges, negated, anyCase: this.#flags.includes('i') } };
  }

  #group(): Node {
    if (this.#match(/\?(<?[=!])/y) !== null) throw this.#error('looking around could take for ever');
    if (this.#match(/\?(:|<[A-Za-z_]\w*>)/y) === null && this.#take('?'))
      throw this.#error('a ? that means nothing here');
    if (++this.#depth > MAX_DEPTH) throw this.#error(`more than ${MAX_DEPTH} brackets in each other`);
    const node = this.#either();
    this.#depth--;
    if (!this.#take(')')) throw this.#error('a ( that is not closed');
    return { is: 'sequence', nodes: [node] };
  }

  #escape(): Node {
    if (this.#take('b')) return { is: 'place', place: 'word edge' };
    if (this.#take('B')) return { is: 'place', place: 'no word edge' };
    if (this.#match(/[1-9]|k</y) !== null) throw this.#error('going back to what matched before could take for ever');
    const { ranges, negated } = this.#escaped();
    return this.#set(ranges, negated);
  }

  /** Behind a backslash. */
  #escaped(): { readonly ranges: Ranges; readonly negated: boolean } {
    const one = (code: number) => ({ ranges: [[code, code]] as const, negated: false });
    const kind = this.#match(/[dDwWsS]/y)?.[0];
    if (kind !== undefined) {
      const ranges = { d: DIGIT, w: WORD, s: SPACE }[kind.toLowerCase()] ?? [];
      return { ranges, negated: kind < 'a' };
    }
    const hex = this.#match(/x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})/y);
    if (hex !== null) return one(Number.parseInt(hex[1] ?? hex[2] ?? '', 16));
    const control = this.#match(/[nrtfv]|0(?!\d)/y)?.[0];
    if (control !== undefined) return one(CONTROL[control] ?? 0);
    const [sign] = this.#match(/[^A-Za-z0-9]/y) ?? [];
    if (sign === undefined) throw this.#error('a backslash that means nothing here');
    return one(sign.charCodeAt(0));
  }

  #class(): Node {
    const negated = this.#take('^');
    const ranges: (readonly [number, number])[] = [];
    while (!this.#take(']')) {
      const first = this.#member();
      const range = first.length === 1 && this.#match(/-(?!\])/y) !== null;
      if (!range) {
        ranges.push(...first);
        continue;
      }
      const second = this.#member();
      const from = first[0]?.[0] ?? 0;
      const to = second[0]?.[1] ?? 0;
      const single = second.length === 1 && second[0]?.[0] === to && first[0]?.[1] === from;
      if (!single) ranges.push(...first, [0x2d, 0x2d], ...second);
      else if (to < from) throw this.#error('a range that runs backwards');
      else ranges.push([from, to]);
    }
    return this.#set(ranges, negated);
  }

  #member(): Ranges {
    if (this.#at >= this.#text.length) throw this.#error('a [ that is not closed');
    if (!this.#take('\\')) {
      const code = this.#text.charCodeAt(this.#at++);
      return [[code, code]];
    }
    if (this.#take('b')) return [[8, 8]];
    const { ranges, negated } = this.#escaped();
    return negated ? inverted(ranges) : ranges;
  }
}

function inverted(ranges: Ranges): Ranges {
  const gaps: (readonly [number, number])[] = [];
  let next = 0;
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    if (first > next) gaps.push([next, first - 1]);
    next = last + 1;
  }
  return [...gaps, [next, 0xffff]];
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
interface Table {
  readonly low: Uint8Array;
  readonly set: CharacterSet;
}

function tableOf(set: CharacterSet): Table {
  return { set, low: Uint8Array.from({ length: 256 }, (_, code) => (has(set, code) ? 1 : 0)) };
}

function takes({ low, set }: Table, code: number): boolean {
  return code < 256 ? low[code] === 1 : has(set, code);
}

/** All places in the pattern where a match may be, from one character of the text to the next. */
class Search {
  readonly #steps: readonly Step[];
  readonly #tables: readonly (Table | null)[];
  /** Characters below 256 that a match can begin with; null: it can be empty. */
  readonly #first: Uint8Array | null;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#tables = steps.map((step) => (step.do === 'take' ? tableOf(step.set) : null));
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
      else this.#tables[next]?.low.forEach((taken, code) => (first[code] = (first[code] ?? 0) | taken));
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
        const table = this.#tables[step];
        if (table === null || table === undefined || !takes(table, code)) continue;
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

function has({ ranges, negated, anyCase }: CharacterSet, code: number): boolean {
  const found = within(ranges, code) || (anyCase && otherCases(code).some((other) => within(ranges, other)));
  return found !== negated;
}

function within(ranges: Ranges, code: number): boolean {
  for (const [first, last] of ranges) if (code >= first && code <= last) return true;
  return false;
}

function otherCases(code: number): readonly number[] {
  const character = String.fromCharCode(code);
  return [character.toLowerCase(), character.toUpperCase()].map((other) =>
    other.length === 1 ? other.charCodeAt(0) : code,
  );
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
