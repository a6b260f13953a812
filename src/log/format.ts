// The shape of a log line: a record in, text out. Pure. Called by the sink, and by whatever shows records to people.
//
//   [text_80] ERROR: Could not depool server cp1 because of too many down!        (PyBal's shape, which operators grep)
//   2026-05-04T03:02:01.123Z [text_80] ERROR: …                                   in a file or a terminal
//   <3>[text_80] ERROR: …                                                         to journald (sd-daemon(3) priorities)
//   {"time":"…","level":"error","system":"text_80","text":"…","data":{…}}         log-format = json

import type { LogLevel, LogRecord } from './record.ts';

export interface LineStyle {
  readonly format: 'text' | 'json';
  /** What stands before each line. JSON has its time inside, so only `priority` matters there. */
  readonly prefix: 'time' | 'priority' | 'none';
}

/** PyBal's names, and syslog's numbers (RFC 5424 §6.2.1) for journald. In order of severity. */
const LEVELS: Readonly<Record<LogLevel, { readonly name: string; readonly priority: number; readonly rank: number }>> =
  {
    debug: { name: 'DEBUG', priority: 7, rank: 0 },
    info: { name: 'INFO', priority: 6, rank: 1 },
    warn: { name: 'WARN', priority: 4, rank: 2 },
    error: { name: 'ERROR', priority: 3, rank: 3 },
    critical: { name: 'CRITICAL', priority: 2, rank: 4 },
  };

/** A text may carry what a server answered: it must not fill the disk. */
const MAX_TEXT = 8192;
/** Of it, for how much was left out. */
const MAX_LEFT_OUT = 64;

export function atLeast(level: LogLevel, threshold: LogLevel): boolean {
  return LEVELS[level].rank >= LEVELS[threshold].rank;
}

/** One line with its newline; with line breaks in the text several, each indented by a tab. `time` is as `isoTime` gives it. */
export function formatRecord(record: LogRecord, style: LineStyle, time: string): string {
  const { name, priority } = LEVELS[record.level];
  const mark = style.prefix === 'priority' ? `<${priority}>` : '';
  if (style.format === 'json') {
    const { level, system, data } = record;
    const text = bounded(record.text);
    return `${mark}${JSON.stringify({ time, level, system, text, ...(data === undefined ? {} : { data }) })}\n`;
  }
  const when = style.prefix === 'time' ? `${time} ` : '';
  return `${mark}${when}[${escaped(record.system)}] ${name}: ${linesOf(bounded(record.text), mark)}\n`;
}

/** journald takes each line for a message of its own, so each gets the priority. */
function linesOf(text: string, mark: string): string {
  if (!text.includes('\n')) return escaped(text);
  return text.replace(/\n+$/, '').split('\n').map(escaped).join(`\n${mark}\t`);
}

/** At most MAX_TEXT characters of it, and how many more there were. */
export function bounded(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  const kept = MAX_TEXT - MAX_LEFT_OUT;
  return `${text.slice(0, kept)} … (${text.length - kept} more characters)`;
}

/** Control characters and such that reorder or hide text, as escapes: a server's answer must not forge or colour lines. */
export function escaped(text: string): string {
  return text.replace(/[\0-\x08\n-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Unix milliseconds as RFC 3339 in UTC. */
export function isoTime(wallMs: number): string {
  const days = Math.floor(wallMs / 86_400_000);
  const ms = Math.floor(wallMs - days * 86_400_000);
  const { year, month, day } = civil(days);
  const pad = (value: number, width = 2) => String(Math.trunc(value)).padStart(width, '0');
  const time = `${pad(ms / 3_600_000)}:${pad((ms / 60_000) % 60)}:${pad((ms / 1000) % 60)}.${pad(ms % 1000, 3)}`;
  return `${pad(year, 4)}-${pad(month)}-${pad(day)}T${time}Z`;
}

/** Days since 1970-01-01 as a date of the Gregorian calendar, counted in years that begin on 1 March. */
function civil(days: number): { readonly year: number; readonly month: number; readonly day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1,
  };
}
