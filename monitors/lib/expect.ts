// What the body of a response is expected to be: a text in it, a pattern that matches, values in its JSON, its digest. Used by
// http.ts.

import { jsonText } from './json.ts';
import { compilePattern, PatternError } from './pattern.ts';
import { sha256 } from './sha256.ts';
import { printable } from './text.ts';

/** What came of a body. */
export interface Body {
  readonly bytes: Uint8Array;
  /** There was more of it. */
  readonly cut: boolean;
}

/** Why the body is not what was expected, in words for a person; null if it is. */
export type Expectation = (body: Body) => string | null;

/** An expectation that is none. The message says why. */
export class NoExpectation extends Error {}

/** Steps of a pattern that is no table, times bytes of a body: some milliseconds. With more a check could hold up all others. */
const MAX_WORK = 400_000;

export function expectText(wanted: string): Expectation {
  const needle = LATIN1.decode(new TextEncoder().encode(wanted));
  return (body) =>
    LATIN1.decode(body.bytes).includes(needle) ? null : `expected ${quoted(wanted)} in the body, got ${shown(body)}`;
}

/** Throws NoExpectation. */
export function expectPattern(source: string, maxBytes: number): Expectation {
  try {
    const pattern = compilePattern(source);
    const most = Math.floor(MAX_WORK / pattern.steps);
    if (!pattern.isTable && maxBytes > most)
      throw new NoExpectation(
        `too much work for a body of ${maxBytes} bytes: max-body can be ${most} with it, or repeat less in it`,
      );
    return (body) =>
      pattern.test(UTF8.decode(body.bytes)) ? null : `expected a match of /${source}/ in the body, got ${shown(body)}`;
  } catch (error) {
    throw error instanceof PatternError ? new NoExpectation(error.message) : error;
  }
}

/** `checks[0].state = ok`: the place of a value, and its JSON or text. Throws NoExpectation. */
export function expectJson(wanted: readonly string[]): Expectation {
  const rules = wanted.map(readRule);
  return (body) => {
    if (body.cut) return `expected JSON of at most ${body.bytes.length} bytes, the body is longer`;
    let document: unknown;
    try {
      document = JSON.parse(UTF8.decode(body.bytes));
    } catch {
      return `expected JSON, got ${shown(body)}`;
    }
    for (const { place, path, value } of rules) {
      const found = at(document, path);
      if (found === undefined) return `expected ${place} to be ${JSON.stringify(value)} in the JSON, but there is none`;
      if (found !== value) return `expected ${place} to be ${JSON.stringify(value)} in the JSON, got ${short(found)}`;
    }
    return null;
  };
}

/** Throws NoExpectation. */
export function expectDigest(digest: string): Expectation {
  if (!/^[0-9a-fA-F]{64}$/.test(digest)) throw new NoExpectation('it does not have 64 hexadecimal digits');
  const wanted = digest.toLowerCase();
  return (body) => {
    if (body.cut) return `expected a body of at most ${body.bytes.length} bytes, it is longer`;
    const got = sha256(body.bytes);
    return got === wanted ? null : `expected a body with SHA-256 ${wanted}, got ${got} of ${body.bytes.length} bytes`;
  };
}

const LATIN1 = new TextDecoder('latin1');
const UTF8 = new TextDecoder();

interface Rule {
  /** As it was written. */
  readonly place: string;
  readonly path: readonly (string | number)[];
  readonly value: unknown;
}

function readRule(text: string): Rule {
  const equals = text.indexOf('=');
  if (equals < 0) throw new NoExpectation(`“${text}” is not of the form place = value`);
  const place = text.slice(0, equals).trim();
  const path: (string | number)[] = [];
  let rest = place.replace(/^\$/, '');
  while (rest !== '') {
    const [whole, index, key, name] = /^(?:\[(\d{1,9})\]|\["([^"\]]+)"\]|\.?([^.[\]\s"]+))/.exec(rest) ?? [];
    if (whole === undefined) throw new NoExpectation(`“${place}” is no place in JSON: write status or checks[0].state`);
    path.push(index === undefined ? (key ?? name ?? '') : Number(index));
    rest = rest.slice(whole.length);
  }
  const value = valueOf(text.slice(equals + 1).trim());
  if (typeof value === 'object' && value !== null) throw new NoExpectation(`“${text}” wants more than one value`);
  return { place: place === '' ? '$' : place, path, value };
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function at(document: unknown, path: readonly (string | number)[]): unknown {
  let value = document;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}

function short(value: unknown): string {
  return printable(jsonText(value), 100);
}

function shown({ bytes, cut }: Body): string {
  if (bytes.length === 0) return 'an empty body';
  return `${cut ? 'more than ' : ''}${bytes.length} bytes that begin with ${quoted(UTF8.decode(bytes.subarray(0, 200)))}`;
}

function quoted(text: string): string {
  return `“${printable(text, 80)}”`;
}
