// The text of a pybal.conf: Python 2's SafeConfigParser dialect. A scanner turns lines into assignments with line numbers
// and rewrites them so that `ini` can not misread them (it cuts at `;` and `#`, nests sections at dots, drops
// `__proto__`, makes arrays of `x[]`, knows neither `:` nor continuation lines); `ini` then does the merging: a
// duplicate key's last value counts, a duplicate section is continued. Called by decode.ts. Pure.

import { parse } from 'ini';
import type { Complaint } from '../lib/errors.ts';

export interface Entry {
  /** Before interpolation; the lines of a continued value are joined by `\n`. */
  readonly value: string;
  /** One per line of the value, the first is the key's. */
  readonly lines: readonly number[];
  /** It stands in [DEFAULT]. */
  readonly inherited: boolean;
}

export interface Section {
  readonly name: string;
  readonly line: number;
  /** By key in lower case, in the order of writing, inherited ones last. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** A line of it, or of [DEFAULT], could not be read. */
  readonly broken: boolean;
}

export interface ScannedText {
  readonly file: string;
  readonly defaults: Section;
  /** In file order, without [DEFAULT]. */
  readonly sections: readonly Section[];
  readonly complaints: readonly Complaint[];
  /** The text before the first section is no configuration, or there is no section at all: nothing may be concluded from it. */
  readonly refused: boolean;
}

interface Assignment {
  readonly section: string;
  readonly key: string;
  readonly values: string[];
  readonly lines: number[];
}

interface Lines {
  readonly assignments: readonly Assignment[];
  /** First line of each section, [DEFAULT] included. */
  readonly headers: ReadonlyMap<string, number>;
  readonly broken: ReadonlySet<string>;
  readonly complaints: readonly Complaint[];
  readonly refused: boolean;
}

const DEFAULT = 'DEFAULT';

// Python's str.isspace() for bytes: no-break spaces and the like are text.
const BLANK = ' \\t\\r\\v\\f';
const EMPTY_LINE = new RegExp(`^[${BLANK}]*$`);
const COMMENT = new RegExp(`^([#;]|[rR][eE][mM]([${BLANK}]|$))`);
const INDENTED = new RegExp(`^[${BLANK}]`);
const HEADER = /^\[([^\]]+)\]/;
const ASSIGNMENT = new RegExp(`^([^:=${BLANK}][^:=]*)[:=][${BLANK}]*([^\\n]*)$`);
const EDGES = new RegExp(`^[${BLANK}]+|[${BLANK}]+$`, 'g');

/** Read the text of a configuration. Never throws: what can not be read is a complaint. */
export function scanText(text: string, file: string): ScannedText {
  const lines = scanLines(text.replace(/^\ufeff/, ''), file);
  const parsed = parse(iniText(lines.assignments)) as Record<string, Record<string, unknown>>;
  const index = new Map<string, Map<string, readonly number[]>>();
  for (const name of lines.headers.keys()) index.set(name, new Map());
  for (const { section, key, lines: at } of lines.assignments) index.get(section)?.set(key, at);

  const entriesOf = (name: string, inherited: boolean) => {
    const entries = new Map<string, Entry>();
    const values = parsed[iniName(name)];
    // String() because ini turns the words true, false and null into JSON values.
    for (const [key, at] of index.get(name) ?? [])
      entries.set(key, { value: String(values?.[iniName(key)]), lines: at, inherited });
    return entries;
  };
  const inherited = entriesOf(DEFAULT, true);
  const defaultsBroken = lines.broken.has(DEFAULT);
  const sections: Section[] = [];
  for (const [name, line] of lines.headers) {
    if (name === DEFAULT) continue;
    const entries = entriesOf(name, false);
    for (const [key, entry] of inherited) if (!entries.has(key)) entries.set(key, entry);
    sections.push({ name, line, entries, broken: defaultsBroken || lines.broken.has(name) });
  }
  return {
    file,
    defaults: { name: DEFAULT, line: lines.headers.get(DEFAULT) ?? 0, entries: inherited, broken: defaultsBroken },
    sections,
    complaints: lines.complaints,
    refused: lines.refused,
  };
}

function scanLines(text: string, file: string): Lines {
  const assignments: Assignment[] = [];
  const headers = new Map<string, number>();
  const seen = new Map<string, number>();
  const broken = new Set<string>();
  const complaints: Complaint[] = [];
  const complain = (severity: Complaint['severity'], at: number, option: string | null, message: string) =>
    complaints.push({ severity, place: { file, line: at }, section, option, message });
  let section: string | null = null;
  let open: Assignment | null = null;
  let line = 0;

  for (const content of text.split('\n')) {
    line++;
    if (EMPTY_LINE.test(content) || COMMENT.test(content)) continue;
    if (open !== null && INDENTED.test(content)) {
      open.values.push(trim(content));
      open.lines.push(line);
      continue;
    }
    const header = HEADER.exec(content)?.[1];
    if (header !== undefined) {
      section = header;
      open = null;
      const first = headers.get(header);
      if (first === undefined) headers.set(header, line);
      else complain('warning', line, null, `the section began in line ${first} already: both are one section`);
      continue;
    }
    if (section === null) {
      complain('error', line, null, `text before the first [section]: ${beginning(content)}`);
      return { assignments: [], headers: new Map(), broken, complaints, refused: true };
    }
    const [, name, value] = ASSIGNMENT.exec(content) ?? [];
    if (name === undefined || value === undefined) {
      broken.add(section);
      complain('error', line, null, `neither a comment, a [section], nor “key = value”: ${beginning(content)}`);
      continue;
    }
    const key = trim(name).toLowerCase();
    const before = seen.get(`${section}\n${key}`);
    if (before !== undefined) complain('warning', line, key, `given in line ${before} already: the last one counts`);
    seen.set(`${section}\n${key}`, line);
    open = { section, key, values: [inlineValue(value)], lines: [line] };
    assignments.push(open);
  }
  if (headers.size === 0) complain('error', 1, null, 'the file has no [section] at all');
  return { assignments, headers, broken, complaints, refused: headers.size === 0 };
}

/** The value on the key's own line. Only the first `;` can start a comment, and only after a blank, as in Python 2. */
function inlineValue(text: string): string {
  const semicolon = text.indexOf(';');
  // At 0 Python looks at the character before the first: the last one.
  const before = semicolon < 0 ? undefined : text.at(semicolon - 1);
  const value = trim(before !== undefined && INDENTED.test(before) ? text.slice(0, semicolon) : text);
  return value === '""' ? '' : value;
}

/** Assignments as text that ini reads in exactly one way: encoded names, JSON values in ASCII. */
function iniText(assignments: readonly Assignment[]): string {
  const lines: string[] = [];
  for (const { section, key, values } of assignments)
    lines.push(`[${iniName(section)}]`, `${iniName(key)}=${iniValue(values.join('\n'))}`);
  return lines.join('\n');
}

function iniName(name: string): string {
  return name.replace(/[^A-Za-z0-9-]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function iniValue(value: string): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function trim(text: string): string {
  return text.replace(EDGES, '');
}

function beginning(text: string): string {
  const short = trim(text);
  return short.length > 60 ? `${short.slice(0, 60)}…` : short;
}

/** What `%` interpolation can not do: a bad reference, an unknown key, one that contains itself. */
export class InterpolationError extends Error {
  override readonly name = 'InterpolationError';
}

// ConfigParser.MAX_INTERPOLATION_DEPTH
const MAX_DEPTH = 10;
// Ten levels of references to references could otherwise multiply into gigabytes.
const MAX_LENGTH = 65_536;

/** The value with `%(key)s` replaced by that key's value in the same section and `%%` by `%`. Throws InterpolationError. */
export function interpolate(section: Section, value: string): string {
  let length = 0;
  const expand = (text: string, depth: number): string => {
    if (depth > MAX_DEPTH) throw new InterpolationError(`%(…)s is nested more than ${MAX_DEPTH} deep, or in a circle`);
    return text.replace(/%(?:%|\(([^)]+)\)s)?|[^%]+/g, (match, key: string | undefined) => {
      if (match !== '%' && !match.startsWith('%(')) return count(match === '%%' ? '%' : match);
      if (key === undefined) throw new InterpolationError('a literal % is written %%; otherwise it must be %(key)s');
      const name = key.toLowerCase();
      const found = name === '__name__' ? section.name : section.entries.get(name)?.value;
      if (found === undefined) throw new InterpolationError(`%(${key})s: this section has no key ${name}`);
      return found.includes('%') ? expand(found, depth + 1) : count(found);
    });
  };
  const count = (text: string): string => {
    length += text.length;
    if (length > MAX_LENGTH) throw new InterpolationError(`%(…)s makes it longer than ${MAX_LENGTH} characters`);
    return text;
  };
  return value.includes('%') ? expand(value, 1) : value;
}

/** A section as text that reads the same on its own: inherited values written out. Line numbers are lost. */
export function printSection(section: Section): string {
  const lines = [`[${section.name}]`];
  // No blank before the sign: `rem = x` would be a comment.
  for (const [key, { value }] of section.entries) lines.push(`${key}=${value.replaceAll('\n', '\n ')}`);
  return `${lines.join('\n')}\n`;
}
