// A section's entries to the typed values of a table of rows, with a complaint for everything that is wrong. Used by
// service.ts and global.ts. Pure.

import type { Complaint } from '../lib/errors.ts';
import { GLOBAL_OPTIONS, SERVICE_OPTIONS, WITHOUT_EFFECT } from './options.ts';
import { PEER_OPTIONS } from './options-bgp.ts';
import type { OptionRow, OptionsOf } from './rows.ts';
import { didYouMean } from '../lib/suggest.ts';
import { type Entry, InterpolationError, interpolate, type Section } from './text.ts';
import { readValue, ValueError } from './values.ts';

const SECRETS: readonly string[] = [...GLOBAL_OPTIONS, ...PEER_OPTIONS]
  .filter(({ kind }) => kind === 'secret')
  .map(({ name }) => name);

/** Where the findings about one section go. */
export class Report {
  readonly complaints: Complaint[] = [];
  readonly #file: string;
  readonly #section: Section;

  constructor(file: string, section: Section) {
    this.#file = file;
    this.#section = section;
  }

  get failed(): boolean {
    return this.complaints.some((complaint) => complaint.severity === 'error');
  }

  get dangerous(): boolean {
    return this.complaints.some((complaint) => complaint.severity === 'danger');
  }

  error(option: string | null, message: string, line?: number): void {
    this.#add('error', option, message, line);
  }

  danger(option: string | null, message: string): void {
    this.#add('danger', option, message, undefined);
  }

  warning(option: string | null, message: string, line?: number): void {
    this.#add('warning', option, message, line);
  }

  /** Something was said of the option. */
  has(option: string): boolean {
    return this.complaints.some((complaint) => complaint.option === option);
  }

  /** At the option's own line unless told another, or at the header of a section that does not have the option. */
  #add(severity: Complaint['severity'], option: string | null, message: string, line: number | undefined): void {
    const own = option === null ? undefined : this.#section.entries.get(option)?.lines[0];
    const place = { file: this.#file, line: line ?? own ?? this.#section.line };
    this.complaints.push({ severity, place, section: this.#section.name, option, message });
  }
}

/** An option's text after interpolation, or null when the section does not have it or it can not be interpolated. */
export function textOf(section: Section, option: string): string | null {
  const entry = section.entries.get(option);
  if (entry === undefined) return null;
  try {
    return interpolate(section, entry.value);
  } catch (error) {
    if (error instanceof InterpolationError) return null;
    throw error;
  }
}

/** One option, or null when it is absent or wrong: for what must be known of a section that is refused. */
export function peek(section: Section, row: OptionRow): unknown {
  const text = textOf(section, row.name);
  if (text === null) return null;
  try {
    return readValue(row, text);
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
}

/** The values of all rows; null if any is missing or wrong. `prefix` stands before each row's name (`proxyfetch.`). */
export function readOptions<R extends readonly OptionRow[]>(
  rows: R,
  section: Section,
  report: Report,
  prefix = '',
): OptionsOf<R> | null {
  const values: Record<string, unknown> = {};
  let complete = true;
  for (const row of rows) {
    const name = prefix + row.name;
    const entry = section.entries.get(name);
    const value = entry === undefined ? absent(row, name, report) : readEntry(section, row, name, entry, report);
    if (value === undefined) complete = false;
    else values[row.name] = value;
  }
  return complete ? (values as OptionsOf<R>) : null;
}

/** Every value must at least be interpolated, as PyBal does on reading a section, used or not. */
export function checkInterpolation(section: Section, report: Report): void {
  for (const [key, { value }] of section.entries) {
    if (SECRETS.includes(key)) continue;
    try {
      interpolate(section, value);
    } catch (error) {
      if (!(error instanceof InterpolationError)) throw error;
      report.error(key, error.message);
    }
  }
}

/** A warning for each key of a section that none of `names` is. */
export function checkKeys(section: Section, names: readonly string[], report: Report): void {
  for (const [key, entry] of section.entries) {
    if (entry.inherited || names.includes(key)) continue;
    if (section.name === 'global' && SERVICE_OPTIONS.some((row) => row.name === key))
      report.warning(key, 'belongs into a service section or [DEFAULT], ignored here');
    else report.warning(key, unknownKey(key, names));
  }
}

/** What to say about a key that no row knows, after its name. */
export function unknownKey(key: string, known: Iterable<string>): string {
  const why = WITHOUT_EFFECT[key];
  return Object.hasOwn(WITHOUT_EFFECT, key) && why !== undefined
    ? why
    : `no such option, ignored${didYouMean(key, known)}`;
}

/** undefined: there is no value to go on with. */
function absent(row: OptionRow, name: string, report: Report): unknown {
  if (row.default === undefined) report.error(name, 'is required and missing');
  return row.default;
}

function readEntry(section: Section, row: OptionRow, name: string, entry: Entry, report: Report): unknown {
  // A secret is taken as it stands, and no complaint about a % shows a part of it.
  const text = row.kind === 'secret' ? entry.value : textOf(section, name);
  // Said by checkInterpolation.
  if (text === null) return undefined;
  // Templates of pybal.conf write `bgp-nexthop-ipv6 =` where there is none; PyBal never looks at it then.
  if (row.default === null && text.trim() === '') {
    report.warning(name, 'is empty: as if it were not given');
    return null;
  }
  try {
    const value = readValue(row, text);
    // PyBal: an empty list of arguments counts as none given.
    return row.kind === 'template' && Array.isArray(value) && value.length === 0 ? (row.default ?? value) : value;
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    report.error(name, error.message, lineAt(entry, text, error.at));
    return undefined;
  }
}

/** The line in the file of an offset in a continued value; interpolation can have moved it, then it is the first. */
function lineAt(entry: Entry, text: string, at: number): number | undefined {
  if (text !== entry.value) return entry.lines[0];
  return entry.lines[text.slice(0, at).split('\n').length - 1] ?? entry.lines[0];
}
