// Python literals as data: what PyBal gives to eval() and ast.literal_eval(), without running anything. Strings (both
// quotes, tripled, u'' and b'' and r'' prefixes, adjacent ones joined), numbers, True, False, None, lists, dictionaries
// and comments; and, where the caller allows them, dotted names such as `server.host`. Used by values.ts for list options
// and by the pool parser for the lines of the legacy format. Pure.

export type Literal =
  | { readonly is: 'string'; readonly value: string }
  | { readonly is: 'int'; readonly value: number }
  | { readonly is: 'float'; readonly value: number }
  | { readonly is: 'bool'; readonly value: boolean }
  | { readonly is: 'none' }
  | { readonly is: 'list'; readonly items: readonly Literal[] }
  /** In order of writing; with a repeated key the last one counts, as in Python. */
  | { readonly is: 'dict'; readonly entries: readonly (readonly [Literal, Literal])[] }
  | { readonly is: 'name'; readonly name: string };

/** `at` is the offset in the text where reading stopped. */
export class LiteralError extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.name = 'LiteralError';
    this.at = at;
  }
}

export interface LiteralOptions {
  /** Dotted names that may stand for a value; none unless given. */
  readonly names?: readonly string[];
}

// Data is read before it is trusted: nesting is bounded so that no input can exhaust the stack.
const MAX_DEPTH = 32;

/** The value of one whole Python literal. Throws LiteralError, and nothing else, for anything that is not one. */
export function parseLiteral(text: string, options: LiteralOptions = {}): Literal {
  const parser = new Parser(text, options.names ?? []);
  return parser.whole();
}

/** The value of a dictionary's string key, or undefined. */
export function dictGet(dict: Literal & { readonly is: 'dict' }, key: string): Literal | undefined {
  return dict.entries.findLast(([name]) => name.is === 'string' && name.value === key)?.[1];
}

/** A literal as Python would read it back. */
export function printLiteral(literal: Literal): string {
  switch (literal.is) {
    case 'string':
      return printString(literal.value);
    case 'int':
      return String(literal.value);
    case 'float':
      return printFloat(literal.value);
    case 'bool':
      return literal.value ? 'True' : 'False';
    case 'none':
      return 'None';
    case 'list':
      return literal.items.length === 0 ? '[]' : `[ ${literal.items.map(printLiteral).join(', ')} ]`;
    case 'dict':
      return `{ ${literal.entries.map(([key, value]) => `${printLiteral(key)}: ${printLiteral(value)}`).join(', ')} }`;
    case 'name':
      return literal.name;
    default:
      return literal satisfies never;
  }
}

function printString(value: string): string {
  const escaped = value.replace(/[\\'\p{Cc}\p{Cs}\u2028\u2029]/gu, (c) =>
    c === '\\' || c === "'" ? `\\${c}` : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `'${escaped}'`;
}

function printFloat(value: number): string {
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${Object.is(value, -0) ? '-0' : text}.0` : text;
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\n': '',
};

const NUMBER = /[+-]?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y;
const STRING_START = /([uUbBrR]{0,2})('''|"""|'|")/y;
const NAME = /[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*/y;
const SPACE = /(?:\s|#[^\n]*|\\\n)*/y;
const SPACE_ON_LINE = /(?:[ \t\f]|\\\n)*/y;

class Parser {
  readonly #text: string;
  readonly #names: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(text: string, names: readonly string[]) {
    this.#text = text;
    this.#names = names;
  }

  whole(): Literal {
    this.#take(SPACE);
    if (this.#at === this.#text.length) throw this.#error('nothing there');
    const value = this.#value();
    this.#take(SPACE);
    if (this.#at < this.#text.length) throw this.#error(`unexpected ${this.#here()} after the value`);
    return value;
  }

  #value(): Literal {
    const c = this.#text[this.#at];
    if (c === '[') return this.#nested(() => this.#list());
    if (c === '{') return this.#nested(() => this.#dict());
    if (c === '(') throw this.#error('a tuple is not taken here, write a list: [ … ]');
    if (this.#matches(STRING_START)) return { is: 'string', value: this.#strings() };
    if (this.#matches(NUMBER)) return this.#number();
    if (this.#matches(NAME)) return this.#name();
    throw this.#error(c === undefined ? 'a value is missing at the end' : `unexpected ${this.#here()}`);
  }

  #nested(read: () => Literal): Literal {
    if (++this.#depth > MAX_DEPTH) throw this.#error(`nested more than ${MAX_DEPTH} deep`);
    const value = read();
    this.#depth--;
    return value;
  }

  #list(): Literal {
    const items: Literal[] = [];
    this.#sequence(']', () => items.push(this.#value()));
    return { is: 'list', items };
  }

  #dict(): Literal {
    const entries: (readonly [Literal, Literal])[] = [];
    this.#sequence('}', () => {
      const key = this.#value();
      if (key.is === 'list' || key.is === 'dict') throw this.#error(`a ${key.is} can not be a key`);
      this.#take(SPACE);
      if (this.#text[this.#at] !== ':') throw this.#error(`expected a colon, found ${this.#here()}`);
      this.#at++;
      this.#take(SPACE);
      entries.push([key, this.#value()]);
    });
    return { is: 'dict', entries };
  }

  /** Items up to `close`, separated by commas, the last one optional. */
  #sequence(close: string, item: () => void): void {
    const opened = this.#at++;
    for (;;) {
      this.#take(SPACE);
      if (this.#text[this.#at] === close) break;
      if (this.#at === this.#text.length) throw new LiteralError(`${this.#text[opened]} is never closed`, opened);
      item();
      this.#take(SPACE);
      if (this.#text[this.#at] === ',') this.#at++;
      else if (this.#at < this.#text.length && this.#text[this.#at] !== close)
        throw this.#error(`expected a comma or ${close}, found ${this.#here()}`);
    }
    this.#at++;
  }

  /** Adjacent strings are one, as in Python; across lines only inside brackets. */
  #strings(): string {
    let value = '';
    for (;;) {
      value += this.#string();
      const end = this.#at;
      this.#take(this.#depth > 0 ? SPACE : SPACE_ON_LINE);
      if (this.#matches(STRING_START)) continue;
      this.#at = end;
      return value;
    }
  }

  #string(): string {
    const start = this.#at;
    STRING_START.lastIndex = start;
    const [, prefix = '', quote = ''] = STRING_START.exec(this.#text) ?? [];
    this.#at = start + prefix.length + quote.length;
    const raw = /[rR]/.test(prefix);
    let value = '';
    while (!this.#text.startsWith(quote, this.#at)) {
      const c = this.#text[this.#at];
      if (c === undefined || (c === '\n' && quote.length === 1))
        throw new LiteralError(`the string is not closed with ${quote}`, start);
      if (c !== '\\') value += c;
      else if (raw) value += c + (this.#text[++this.#at] ?? '');
      else value += this.#escape();
      this.#at++;
    }
    this.#at += quote.length;
    return value;
  }

  /** Reads from the backslash to the last character of the escape. */
  #escape(): string {
    const at = this.#at;
    const c = this.#text[at + 1] ?? '';
    const simple = Object.hasOwn(SIMPLE_ESCAPES, c) ? SIMPLE_ESCAPES[c] : undefined;
    if (simple !== undefined) {
      this.#at += 1;
      return simple;
    }
    const octal = /^[0-7]{1,3}/.exec(this.#text.slice(at + 1, at + 4))?.[0];
    if (octal !== undefined) {
      this.#at += octal.length;
      return String.fromCharCode(Number.parseInt(octal, 8));
    }
    const digits = { x: 2, u: 4, U: 8 }[c];
    // Python keeps the backslash of an escape that it does not know.
    if (digits === undefined) return '\\';
    const hex = this.#text.slice(at + 2, at + 2 + digits);
    const code = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : Number.NaN;
    if (!(code <= 0x10ffff)) throw new LiteralError(`\\${c} needs ${digits} hexadecimal digits`, at);
    this.#at += 1 + digits;
    return String.fromCodePoint(code);
  }

  #number(): Literal {
    const at = this.#at;
    const text = this.#take(NUMBER);
    const float = /^[+-]?[\d.]/.test(text) && /[.eE]/.test(text) && !/^[+-]?0[xX]/.test(text);
    // Python 2's long.
    if (!float && /[lL]/.test(this.#text[this.#at] ?? '')) this.#at++;
    const word = /^[\w.+-]+/.exec(this.#text.slice(at, at + 40))?.[0] ?? text;
    if (/[\w.]/.test(this.#text[this.#at] ?? ''))
      throw new LiteralError(`${word} is not a number (a string needs quotes)`, at);
    const negative = text.startsWith('-');
    const digits = text.replace(/^[+-]/, '');
    // Octal in Python 2, an error in Python 3, ten to a human.
    if (!float && /^0\d*[1-9]/.test(digits)) throw new LiteralError(`${digits}: leading zeros are ambiguous`, at);
    const value = Number(digits) * (negative ? -1 : 1);
    if (float) {
      if (!Number.isFinite(value)) throw new LiteralError(`${text} is too large`, at);
      return { is: 'float', value };
    }
    if (!Number.isSafeInteger(value)) throw new LiteralError(`${text} is too large`, at);
    return { is: 'int', value: value === 0 ? 0 : value };
  }

  #name(): Literal {
    const at = this.#at;
    const name = this.#take(NAME);
    if (name === 'True' || name === 'False') return { is: 'bool', value: name === 'True' };
    if (name === 'None') return { is: 'none' };
    if (this.#names.includes(name)) return { is: 'name', name };
    const lower = { true: 'True', false: 'False', null: 'None' }[name];
    if (lower !== undefined) throw new LiteralError(`${name} is not Python, write ${lower}`, at);
    const known = this.#names.length === 0 ? 'a string needs quotes' : `known are ${this.#names.join(', ')}`;
    throw new LiteralError(`${name.slice(0, 40)} means nothing here (${known})`, at);
  }

  #matches(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#text);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += text.length;
    return text;
  }

  #here(): string {
    const c = this.#text[this.#at];
    return c === undefined ? 'the end' : c === '\n' ? 'the end of the line' : `“${c}”`;
  }

  #error(message: string): LiteralError {
    return new LiteralError(message, this.#at);
  }
}
