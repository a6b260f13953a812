// A pool file as bytes to a list of hosts. Pure. Two formats, as PyBal reads them: JSON when the path ends in `.json`,
// otherwise one Python dict per line. A bad line or entry is skipped and named, and the server that it is about stays as it
// was, if that can be told; a file that is no pool at all, or only the first part of one, is refused. Called by service-pool.ts.

import { nearest } from '../lib/suggest.ts';
import { dictGet, parseLiteral, printLiteral, LiteralError, type Literal } from '../config/literal.ts';
import type { PoolHost } from '../decision/facts.ts';
import { canonicalAddress } from '../lib/address.ts';
import { errorText, type Complaint } from '../lib/errors.ts';
import { shown } from '../lib/shown.ts';
import { isObject } from './json.ts';

export type ParsedPool =
  | {
      readonly is: 'list';
      readonly hosts: readonly PoolHost[];
      readonly complaints: readonly Complaint[];
    }
  /** Not a pool: nothing of it may be used. */
  | { readonly is: 'refused'; readonly reason: string; readonly complaints: readonly Complaint[] };

export interface PoolText {
  /** Where it came from, for complaints; its path decides the format. */
  readonly url: string;
  readonly bytes: Uint8Array;
  /** The list in force: what can not be read leaves what the host had (of single values: Server.merge of PyBal). */
  readonly previous: readonly PoolHost[];
}

/** One server as a store of servers has it (etcd, DNS, Kubernetes): what parse.ts is to judge, not what is true. */
export type Entry =
  | { readonly is: 'server'; readonly host: string; readonly weight: number | Shown; readonly enabled: boolean }
  /** There, and no member of the pool. */
  | { readonly is: 'out' }
  /** Says nothing that could be used: the server stays as it was. */
  | { readonly is: 'bad'; readonly host: string; readonly reason: string };

/** A value of a wrong type, as it was written. */
export interface Shown {
  readonly shown: string;
  /** The key under which it stands, if that is another one. */
  readonly insteadOf?: string;
}

export const MAX_POOL_BYTES = 4 << 20;
export const MAX_HOSTS = 10_000;
const MAX_LINES = 100_000;
const MAX_SKIPPED = 1000;
const MAX_LINE_LENGTH = 4096;
/** More would only fill the log. */
const MAX_COMPLAINTS = 100;
/** As ipvsadm. */
const MAX_WEIGHT = 65_535;
const DEFAULT_WEIGHT = 10;

/** Where none of them stands, somebody's secrets may: the wrong file, of which nothing is quoted. */
const POOL_WORDS = /['"](host|weight|enabled)['"]/;

export function parsePool(text: PoolText): ParsedPool {
  const collector = new Collector(text);
  if (text.bytes.length > MAX_POOL_BYTES) return collector.refuse(`larger than ${MAX_POOL_BYTES} bytes`);
  let decoded: string;
  try {
    decoded = new TextDecoder('utf-8', { fatal: true }).decode(text.bytes);
  } catch {
    return collector.refuse('not UTF-8 text');
  }
  collector.quotes = POOL_WORDS.test(decoded);
  if (/^\s*</.test(decoded)) return collector.refuse('an HTML or XML page, not a pool');
  return isJson(text.url) ? parseJson(decoded, collector) : parseLines(decoded, collector);
}

/** PyBal looks at the end of the URL; a query is not part of the name. */
function isJson(url: string): boolean {
  const name = url.startsWith('file:') ? url : url.replace(/[?#].*$/s, '');
  return name.endsWith('.json');
}

/** A pool that came entry by entry. */
export function readEntries(source: Omit<PoolText, 'bytes'>, entries: readonly Entry[]): ParsedPool {
  const collector = new Collector(source);
  let members = 0;
  for (const entry of entries) {
    if (entry.is === 'out') continue;
    members++;
    const { host } = entry;
    const wrong = badHost(host) ?? (entry.is === 'bad' ? `${host}: ${entry.reason}` : null);
    if (wrong !== null) collector.skip(noLine, wrong, [host]);
    else if (entry.is === 'server') collector.add(noLine, host, entry);
    if (collector.overflow !== null) return collector.refuse(collector.overflow);
  }
  return collector.finish(members, false);
}

const noLine = (): null => null;

function parseLines(text: string, collector: Collector): ParsedPool {
  const lines = text.split('\n');
  if (lines.length > MAX_LINES) return collector.refuse(`more than ${MAX_LINES} lines`);
  let entries = 0;
  let isTorn = false;
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    entries++;
    // Whoever writes or serves the file stopped in the middle. A line that is whole and bad has the end of a dict.
    isTorn = !parseLine(line, index + 1, collector) && index === lines.length - 1 && !line.includes('}');
    if (collector.overflow !== null) return collector.refuse(collector.overflow);
  }
  return collector.finish(entries, isTorn);
}

/** False: a bad line. */
function parseLine(line: string, number: number, collector: Collector): boolean {
  const bad = (reason: string) =>
    collector.skip(
      () => number,
      `Bad configuration line: ${collector.quote(line, reason)}`,
      line.match(/[\w.:-]+/g) ?? [],
    );
  if (line.length > MAX_LINE_LENGTH) return bad(`longer than ${MAX_LINE_LENGTH} characters`);
  const dict = readLiteral(line);
  if (typeof dict === 'string') return bad(dict);
  if (dict.is !== 'dict') return bad(`a ${dict.is} where a dict is wanted`);
  const [host, weight, enabled] = [dictGet(dict, 'host'), dictGet(dict, 'weight'), dictGet(dict, 'enabled')];
  if (host === undefined || weight === undefined || enabled === undefined) {
    const missing = ['host', 'weight', 'enabled'].filter((key) => dictGet(dict, key) === undefined);
    return bad(`no ${missing.join(', no ')}`);
  }
  if (host.is !== 'string') return bad('host is not a string');
  const wrong = badHost(host.value);
  if (wrong !== null) return bad(wrong);
  collector.add(() => number, host.value, {
    weight: weight.is === 'int' ? weight.value : { shown: printLiteral(weight) },
    enabled: enabled.is === 'bool' ? enabled.value : { shown: printLiteral(enabled) },
  });
  return true;
}

function readLiteral(line: string): Literal | string {
  try {
    return parseLiteral(line);
  } catch (thrown) {
    if (thrown instanceof LiteralError) return thrown.message;
    throw thrown;
  }
}

function parseJson(text: string, collector: Collector): ParsedPool {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    if (text.trim() === '') return collector.refuse('empty, which is not JSON');
    return collector.refuse(collector.quotes ? `not JSON: ${excerpt(errorText(thrown))}` : 'not JSON');
  }
  if (!isObject(value)) return collector.refuse('not a JSON object of hosts');
  const entries = Object.entries(value);
  const keys = keysOf(text);
  for (const [host, entry] of entries) {
    const line = () => keys.lines.get(host) ?? null;
    const wrong = badHost(host);
    if (wrong !== null) collector.skip(line, wrong, []);
    else if (!isObject(entry)) collector.skip(line, `${host}: not an object with weight and enabled`, [host]);
    else collector.add(line, host, jsonValues(entry));
    if (keys.repeated.has(host)) collector.twice(line, host);
    if (collector.overflow !== null) return collector.refuse(collector.overflow);
  }
  return collector.finish(entries.length, false);
}

function jsonValues(entry: Readonly<Record<string, unknown>>): Values {
  return {
    weight: jsonWeight(entry),
    enabled: jsonValue(entry, 'enabled', (value) => typeof value === 'boolean', true),
  };
}

export function jsonWeight(entry: Readonly<Record<string, unknown>>): number | Shown {
  return jsonValue(entry, 'weight', (value) => Number.isInteger(value), DEFAULT_WEIGHT);
}

/** What is absent gets PyBal's default, unless there is a key that must have been meant for it. */
function jsonValue<T>(
  entry: Readonly<Record<string, unknown>>,
  key: 'weight' | 'enabled',
  isOne: (value: unknown) => boolean,
  absent: T,
): T | Shown {
  const value = entry[key];
  if (value !== undefined) return isOne(value) ? (value as T) : { shown: shown(value) };
  const meant = Object.keys(entry).find((other) => nearest(other, [key]) !== null || MEANS[other] === key);
  return meant === undefined ? absent : { shown: shown(entry[meant]), insteadOf: meant };
}

/** Words of others: their values are other ones, too. */
const MEANS: Readonly<Record<string, string>> = { disabled: 'enabled', pooled: 'enabled' };

/** Keys of the object that valid JSON is, as JSON.parse has them: the line of the last one of a name, which counts there. */
interface Keys {
  readonly lines: ReadonlyMap<string, number>;
  /** Those that stand there more than once. */
  readonly repeated: ReadonlySet<string>;
}

/** In one walk through the text, whatever is in it. Line ends are never inside a string. */
function keysOf(text: string): Keys {
  const lines = new Map<string, number>();
  const repeated = new Set<string>();
  let line = 1;
  let depth = 0;
  let wantsKey = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '\n') line++;
    else if (character === '{' || character === '[') wantsKey = ++depth === 1;
    else if (character === '}' || character === ']') depth--;
    else if (character === ',') wantsKey = depth === 1;
    else if (character === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
      if (!wantsKey) continue;
      wantsKey = false;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (lines.has(key)) repeated.add(key);
      lines.set(key, line);
    }
  }
  return { lines, repeated };
}

/** Why this cannot be a host, or null. Host names are as in DNS, underscores allowed; literal addresses are hosts too. */
function badHost(host: string): string | null {
  if (host === '') return 'host is empty';
  if (host.length > 253) return 'host is longer than 253 characters';
  if (/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?$/.test(host) || canonicalAddress(host) !== null) return null;
  return `host ${excerpt(host)} is neither a host name nor an address`;
}

/** Foreign text on one line, cut, with control characters made visible. */
export function excerpt(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return cut.replace(/\p{C}/gu, (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);
}

/** Of one entry. */
interface Values {
  readonly weight: number | Shown;
  readonly enabled: boolean | Shown;
}

/** Of an entry in the text; null where there are no lines. */
type Line = () => number | null;

/** What a pool file says so far. */
class Collector {
  readonly #url: string;
  readonly #previous: ReadonlyMap<string, PoolHost>;
  readonly #hosts = new Map<string, PoolHost>();
  readonly #complaints: Complaint[] = [];
  /** Servers of the list in force that a skipped entry names, with its line. */
  readonly #named = new Map<string, Line>();
  /** Its text may be shown. */
  quotes = true;
  #skipped = 0;

  constructor(text: Omit<PoolText, 'bytes'>) {
    this.#url = text.url;
    this.#previous = new Map(text.previous.map((host) => [host.host, host]));
  }

  quote(text: string, reason: string): string {
    return this.quotes ? `${excerpt(text)}: ${reason}` : 'not shown, nothing in this file looks like a pool';
  }

  /** Why it is not worth reading on, or null. */
  get overflow(): string | null {
    if (this.#skipped > MAX_SKIPPED) return `more than ${MAX_SKIPPED} bad entries`;
    return this.#hosts.size > MAX_HOSTS ? `more than ${MAX_HOSTS} hosts` : null;
  }

  /** Unusable values leave what the host had before, or the default. */
  add(line: Line, host: string, { weight, enabled }: Values): void {
    const before = this.#previous.get(host) ?? { weight: DEFAULT_WEIGHT, enabled: true };
    const wrong = badWeight(weight);
    if (wrong !== null) this.#complain('error', line, `${host}: ${wrong}; using ${before.weight}`);
    if (typeof enabled !== 'boolean') {
      this.#complain(
        'error',
        line,
        `${host}: ${misspelt('enabled', enabled) ?? `enabled ${excerpt(enabled.shown)} is no boolean`}; using ${before.enabled}`,
      );
    }
    if (this.#hosts.has(host)) this.twice(line, host);
    this.#hosts.set(host, {
      host,
      weight: typeof weight === 'number' && wrong === null ? weight : before.weight,
      enabled: typeof enabled === 'boolean' ? enabled : before.enabled,
    });
  }

  twice(line: Line, host: string): void {
    this.#complain('warning', line, `${host} is listed twice: the last one counts`);
  }

  /** `words`: all in it that could be a host. */
  skip(line: Line, message: string, words: readonly string[]): false {
    this.#skipped++;
    for (const word of words) if (this.#previous.has(word)) this.#named.set(word, line);
    this.#complain('error', line, message);
    return false;
  }

  refuse(reason: string): ParsedPool {
    return { is: 'refused', reason, complaints: this.#complaints };
  }

  finish(entries: number, isTorn: boolean): ParsedPool {
    if (entries > 0 && this.#hosts.size === 0) return this.refuse('not one usable host in it');
    if (isTorn) return this.refuse('the list ends in the middle of a line');
    for (const [host, line] of this.#named) {
      const before = this.#previous.get(host);
      if (before === undefined || this.#hosts.has(host)) continue;
      this.#hosts.set(host, before);
      this.#complain('warning', line, `${host} stays as it was`);
    }
    return { is: 'list', hosts: [...this.#hosts.values()], complaints: this.#complaints };
  }

  /** An error: what is written there is not used. */
  #complain(severity: 'error' | 'warning', line: Line, message: string): void {
    if (this.#complaints.length >= MAX_COMPLAINTS) return;
    const number = line();
    const place = number === null ? null : { file: this.#url, line: number };
    this.#complaints.push({ severity, place, section: null, option: null, message });
  }
}

function badWeight(weight: Values['weight']): string | null {
  if (typeof weight !== 'number') return misspelt('weight', weight) ?? `weight ${excerpt(weight.shown)} is no integer`;
  if (weight < 0) return `weight ${weight} is negative`;
  return weight > MAX_WEIGHT ? `weight ${weight} is greater than ${MAX_WEIGHT}` : null;
}

function misspelt(key: string, { insteadOf }: Shown): string | null {
  return insteadOf === undefined ? null : `${excerpt(insteadOf)} is not ${key}`;
}
