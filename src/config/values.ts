// One option's text to its value and back, by the kind of its row (rows.ts). The spellings of numbers and truth are those
// of PyBal's typed getters. Used by section.ts for every option and by print.ts for defaults. Pure.

import { canonicalAddress, familyOf } from '../lib/address.ts';
import { type Literal, LiteralError, parseLiteral, printLiteral } from './literal.ts';
import type { OptionRow, ServerAttribute, Template } from './rows.ts';
import { didYouMean } from '../lib/suggest.ts';
import { showUrl } from '../lib/url.ts';

/** Why a text is not a value of its kind. `at` is the offset in the text, where that helps. */
export class ValueError extends Error {
  override readonly name = 'ValueError';
  readonly at: number;
  constructor(message: string, at = 0) {
    super(message);
    this.at = at;
  }
}

/** PyBal's names for what a check may be told about its server, and ours. */
const SERVER_NAMES: Readonly<Record<string, ServerAttribute>> = {
  'server.host': 'host',
  'server.ip': 'ip',
  'server.port': 'port',
  'server.weight': 'weight',
  'server.lvsservice.name': 'service',
  'server.lvsservice.ip': 'vip',
  'server.lvsservice.protocol': 'protocol',
  'server.service': 'service',
  'server.vip': 'vip',
  'server.protocol': 'protocol',
};

const TRUE = ['t', 'true', 'y', 'yes', 'on', '1'];
const FALSE = ['f', 'false', 'n', 'no', 'off', '0'];
const MAX_SECONDS = 365 * 86_400;

/** The value of `text`, of the type that rows.ts gives to the row's kind. Throws ValueError. */
export function readValue(row: OptionRow, text: string): unknown {
  switch (row.kind) {
    case 'int':
      return within(row, readInt(text), '');
    case 'float':
      return within(row, readFloat(text), '');
    case 'seconds':
      return within({ min: row.min ?? 0, max: row.max ?? MAX_SECONDS }, readFloat(text), ' seconds');
    case 'port':
      return within({ min: row.min ?? 1, max: row.max ?? 65_535 }, readInt(text), '');
    case 'bool':
      return readBool(text);
    case 'string':
      return text;
    case 'secret':
      return given(text);
    case 'path':
      return readPath(text);
    case 'url':
      return readUrl(text, row.schemes);
    case 'address':
      return readAddress(text, row.family);
    case 'choice':
      return readChoice(text, row.choices);
    case 'strings':
      return readStrings(text, Array.isArray(row.default) && row.default.length === 0);
    case 'octets':
      return readStrings(text, Array.isArray(row.default) && row.default.length === 0).map(readOctets);
    case 'urls':
      return readStrings(text).map((url) => readUrl(url, row.schemes));
    case 'addresses':
      return readAddresses(text);
    case 'ints':
      return words(text, /\s+/).map((word) => within(row, readInt(word), ''));
    case 'words':
      return words(text, /[\s,]+/).map((word) => (row.choices === undefined ? word : readChoice(word, row.choices)));
    case 'template':
      return readTemplate(text);
    default:
      return row satisfies never;
  }
}

/** A value as one would write it: readValue of it gives the value again. */
export function printValue(row: OptionRow, value: unknown): string {
  switch (row.kind) {
    case 'bool':
      return value === true ? 'yes' : 'no';
    case 'strings':
    case 'urls':
    case 'addresses':
    case 'template':
      return printLiteral({ is: 'list', items: (value as Template).map(templateItem) });
    case 'octets':
      return printLiteral({ is: 'list', items: (value as readonly string[]).map(octetsItem) });
    case 'ints':
    case 'words':
      return (value as readonly (string | number)[]).join(' ');
    case 'secret':
      return '(hidden)';
    case 'int':
    case 'float':
    case 'seconds':
    case 'port':
    case 'string':
    case 'path':
    case 'url':
    case 'address':
    case 'choice':
      return String(value);
    default:
      return row satisfies never;
  }
}

/** What a row accepts, for people: `whole number from 0 to 65535`. */
export function describeKind(row: OptionRow): string {
  switch (row.kind) {
    case 'int':
      return `whole number${range(row.min, row.max)}`;
    case 'float':
      return `number${range(row.min, row.max)}`;
    case 'seconds':
      return `seconds${range(row.min ?? 0, row.max)}`;
    case 'port':
      return 'port';
    case 'bool':
      return 'yes or no';
    case 'string':
      return 'text';
    case 'secret':
      return 'text, kept secret';
    case 'path':
      return 'absolute path';
    case 'url':
      return `URL (${row.schemes.map((scheme) => `${scheme}://`).join(', ')})`;
    case 'address':
      return row.family === undefined ? 'IP address' : `IPv${row.family} address`;
    case 'choice':
      return `one of ${row.choices.join(', ')}`;
    case 'strings':
      return "list of strings: [ 'a', 'b' ]";
    case 'octets':
      return "list of texts or octets: [ 'QUIT\\r\\n', 'hex:00ff' ]";
    case 'urls':
      return `list of URLs (${row.schemes.map((scheme) => `${scheme}://`).join(', ')})`;
    case 'addresses':
      return "one IP address, or a list: [ '192.0.2.1', '2001:db8::1' ]";
    case 'ints':
      return `whole numbers separated by blanks${range(row.min, row.max)}`;
    case 'words':
      return row.choices === undefined ? 'words separated by blanks' : `any of ${row.choices.join(', ')}`;
    case 'template':
      return "list of strings, server.host and the like: [ '-H', server.host ]";
    default:
      return row satisfies never;
  }
}

function range(min: number | undefined, max: number | undefined): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return `, ${min} or more`;
  return max === undefined ? '' : `, ${max} or less`;
}

function within(limits: { readonly min?: number; readonly max?: number }, value: number, unit: string): number {
  const { min = -Infinity, max = Infinity } = limits;
  if (value >= min && value <= max) return value;
  if (min === -Infinity) throw new ValueError(`${value} is more than ${max}${unit}`);
  if (max === Infinity) throw new ValueError(`${value} is less than ${min}${unit}`);
  throw new ValueError(`${value} is not between ${min} and ${max}${unit}`);
}

/** As Python 2's int(): decimal, a sign, blanks around. */
function readInt(text: string): number {
  const trimmed = given(text);
  const value = /^[+-]?\d+$/.test(trimmed) ? Number(trimmed) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new ValueError(`${quote(trimmed)} is not a whole number`);
  return value;
}

/** As Python's float(), but for its infinities and not-a-number. */
function readFloat(text: string): number {
  const trimmed = given(text);
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : Number.NaN;
  if (Number.isFinite(value)) return value;
  const percent = /^(\d+(?:\.\d+)?)\s*%+$/.exec(trimmed)?.[1];
  throw new ValueError(
    `${quote(trimmed)} is not a number${percent === undefined ? '' : ` (write ${Number(percent) / 100})`}`,
  );
}

function readBool(text: string): boolean {
  const word = given(text).toLowerCase();
  if (TRUE.includes(word)) return true;
  if (FALSE.includes(word)) return false;
  throw new ValueError(`${quote(text)} is neither yes nor no`);
}

function readPath(text: string): string {
  const path = given(text);
  if (!path.startsWith('/')) throw new ValueError(`${quote(path)} is not an absolute path`);
  if (/\p{Cc}/u.test(path)) throw new ValueError(`${quote(path)} has a control character in it`);
  return path;
}

function readUrl(text: string, schemes: readonly string[]): string {
  const url = given(text);
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(url)?.[1]?.toLowerCase();
  const known = schemes.map((name) => `${name}://`).join(', ');
  if (scheme === undefined) throw new ValueError(`${quote(showUrl(url))} is not a URL (${known})`);
  if (!schemes.includes(scheme)) throw new ValueError(`${scheme}:// is not known here (${known})`);
  if (/[\s\p{Cc}]/u.test(url)) throw new ValueError(`${quote(showUrl(url))} has a blank in it`);
  if (scheme === 'file' && !/^file:\/\/(localhost)?\//i.test(url))
    throw new ValueError(`${quote(showUrl(url))}: write three slashes and an absolute path, file:///etc/…`);
  // etcd://a:2379,b:2379/… names several members.
  const one = scheme === 'etcd' ? url.replace(/,[^/?#]*/, '') : url;
  if (!URL.canParse(one)) throw new ValueError(`${quote(showUrl(url))} is not a URL`);
  return url;
}

function readAddress(text: string, family: 4 | 6 | undefined): string {
  const address = canonicalAddress(given(text));
  if (address === null) throw new ValueError(`${quote(text)} is not an IP address`);
  if (family !== undefined && familyOf(address) !== family)
    throw new ValueError(`${address} is not an IPv${family} address`);
  return address;
}

function readChoice(text: string, choices: readonly string[]): string {
  const word = given(text);
  if (choices.includes(word)) return word;
  const list = choices.length > 6 ? '' : `, ${choices.length === 1 ? 'only' : 'one of'} ${choices.join(', ')}`;
  throw new ValueError(`${quote(word)} is not known${didYouMean(word, choices) || list}`);
}

/** PyBal takes an empty list only where it means the same as none: a row whose default it is. */
function readStrings(text: string, mayBeEmpty = false): readonly string[] {
  const value = readList(text);
  if (value.length === 0 && !mayBeEmpty) throw new ValueError('the list is empty');
  return value.map((item) => {
    if (item.is === 'string') return item.value;
    throw new ValueError(`${shown(item)} is not a string: put it in quotes`);
  });
}

/** Of what a list holds, texts may be secret: headers, words to say. */
function shown(item: Literal): string {
  return item.is === 'list' || item.is === 'dict' ? `a ${item.is}` : printLiteral(item);
}

/** `hex:` and digits, blanks between them allowed; or text in which each character is one octet. */
function readOctets(text: string): string {
  const digits = /^hex:(.*)$/s.exec(text)?.[1]?.replaceAll(/\s/g, '');
  if (digits !== undefined) {
    if (!/^([0-9a-f]{2})+$/i.test(digits)) throw new ValueError('hex: wants two hexadecimal digits for each octet');
    return digits.replaceAll(/../g, (octet) => String.fromCharCode(Number.parseInt(octet, 16)));
  }
  const wide = /[^\x00-\xff]/u.exec(text)?.[0];
  if (wide !== undefined) throw new ValueError(`${wide} is not one octet, write its octets as \\x…`);
  return text;
}

/** As text where it looks the same to everybody. */
function octetsItem(octets: string): Literal {
  const plain = /^(?!hex:)[\t\r\n\x20-\x7e]*$/.test(octets);
  const hex = Array.from(octets, (octet) => octet.charCodeAt(0).toString(16).padStart(2, '0'));
  return { is: 'string', value: plain ? octets : `hex:${hex.join('')}` };
}

/** One bare address, or a list as PyBal evaluates it. '' in the list (PyBal's word for every address) becomes '::'. */
function readAddresses(text: string): readonly string[] {
  const trimmed = given(text);
  const items = /^[['"u]/.test(trimmed) ? readStrings(trimmed) : [trimmed];
  return items.map((item) => (item === '' ? '::' : readAddress(item, undefined)));
}

function readTemplate(text: string): Template {
  return readList(text, Object.keys(SERVER_NAMES)).map((item) => {
    if (item.is === 'string') return item.value;
    const server = item.is === 'name' ? SERVER_NAMES[item.name] : undefined;
    if (server !== undefined) return { server };
    throw new ValueError(`${printLiteral(item)} is not a string: put it in quotes`);
  });
}

/** A list, or a lone item as a list of one. */
function readList(text: string, names: readonly string[] = []): readonly Literal[] {
  given(text);
  try {
    const value = parseLiteral(text, { names });
    if (value.is === 'list') return value.items;
    if (value.is === 'string' || value.is === 'name') return [value];
    throw new ValueError(`${shown(value)} is neither a string nor a list of strings`);
  } catch (error) {
    if (!(error instanceof LiteralError)) throw error;
    const hint = /^[\w:/.-]+$/.test(text.trim()) ? `, write [ '${text.trim()}' ]` : '';
    throw new ValueError(`not a list of strings: ${error.message}${hint}`, error.at);
  }
}

function templateItem(item: Template[number]): Literal {
  if (typeof item === 'string') return { is: 'string', value: item };
  const name = Object.keys(SERVER_NAMES).find((known) => SERVER_NAMES[known] === item.server);
  return { is: 'name', name: name ?? `server.${item.server}` };
}

function words(text: string, separator: RegExp): readonly string[] {
  return given(text).split(separator);
}

function given(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') throw new ValueError('the value is empty');
  return trimmed;
}

function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return `“${short.replaceAll('\n', '⏎')}”`;
}
