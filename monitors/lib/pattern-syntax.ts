// What a regular expression says, as a tree. The syntax is JavaScript's, without what needs going back: references and looking
// around. Used by pattern.ts and pattern-table.ts.

/** The pattern is none, or not one of these. */
export class PatternError extends Error {}

const MAX_DEPTH = 100;
const MAX_REPEAT = 1000;
/** Of more characters in a row the other case is not looked for: it is among them. */
const MAX_CASES = 1000;

export type Place = 'start' | 'end' | 'line start' | 'line end' | 'word edge' | 'no word edge';

export type Node =
  | { readonly is: 'set'; readonly set: CharacterSet }
  | { readonly is: 'sequence'; readonly nodes: readonly Node[] }
  | { readonly is: 'either'; readonly nodes: readonly Node[] }
  | { readonly is: 'repeat'; readonly node: Node; readonly least: number; readonly most: number | null }
  | { readonly is: 'place'; readonly place: Place };

export type Ranges = readonly (readonly [first: number, last: number])[];
export interface CharacterSet {
  readonly ranges: Ranges;
  readonly negated: boolean;
}

const DIGIT: Ranges = [[0x30, 0x39]];
export const WORD: Ranges = [...DIGIT, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACE: Ranges = [
  [9, 13],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
export const LINE_END: Ranges = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const CONTROL: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0 };

/** Flags stand at the beginning: `(?i)` any case, `(?m)` ^ and $ at each line, `(?s)` a dot is a line end too. Throws PatternError. */
export function parsePattern(source: string): Node {
  return new Parser(source).parse();
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
    return { is: 'set', set: { ranges: this.#flags.includes('i') ? inAnyCase(ranges) : ranges, negated } };
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

export function has({ ranges, negated }: CharacterSet, code: number): boolean {
  return within(ranges, code) !== negated;
}

export function within(ranges: Ranges, code: number): boolean {
  for (const [first, last] of ranges) if (code >= first && code <= last) return true;
  return false;
}

function inAnyCase(ranges: Ranges): Ranges {
  const others: (readonly [number, number])[] = [];
  for (const [first, last] of ranges) {
    if (last - first >= MAX_CASES) continue;
    for (let code = first; code <= last; code++)
      for (const other of otherCases(code)) if (!within(ranges, other)) others.push([other, other]);
  }
  return [...ranges, ...others];
}

function otherCases(code: number): readonly number[] {
  const character = String.fromCharCode(code);
  return [character.toLowerCase(), character.toUpperCase()].map((other) =>
    other.length === 1 ? other.charCodeAt(0) : code,
  );
}
