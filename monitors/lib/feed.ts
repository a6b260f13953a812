// A document in which somebody else says how servers are: a cluster's membership, a table that a deployment writes. Lines of text
// or JSON. Used by file.ts.

import type { Health } from 'anybal/monitor';
import { isObject, jsonText } from './json.ts';
import { printable, quote, textOf } from './text.ts';

export interface Feed {
  /** When it says that it was written, unix ms; null: it does not say. */
  readonly time: number | null;
  /** By name or address, in lower case. */
  readonly servers: ReadonlyMap<string, Health>;
}

const HOST = /^[\w.:-]{1,253}$/;
const MAX_WEIGHT = 65_535;
/** Of more the reading would hold up everything else. */
const MOST_SERVERS = 20_000;
const TOO_MANY = `it names more than ${MOST_SERVERS} servers`;

/**
 * The feed, or what is wrong with it as a whole: where a line names no server, it is another kind of document. An entry whose state or
 * weight cannot be read is unknown, and takes nothing else with it.
 */
export function readFeed(bytes: Uint8Array): Feed | string {
  const text = new TextDecoder().decode(bytes);
  const feed = /^\s*\{/.test(text) ? readJson(text) : readLines(text);
  return typeof feed !== 'string' && feed.servers.size === 0 ? 'it names no server' : feed;
}

/** `cp1 up`, `cp2 drain # deploying`, `cp3 up 50%`, `cp4 down disk full`, `@1790000000`; `#` begins a comment. */
function readLines(text: string): Feed | string {
  // Whoever writes line by line may not be done.
  if (text !== '' && !text.endsWith('\n'))
    return `its last line has no end: ${quote(text.slice(text.lastIndexOf('\n') + 1))}`;
  const servers = new Map<string, Health>();
  let time: number | null = null;
  for (const [i, whole] of text.split('\n').entries()) {
    const line = whole.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('@')) {
      time = timeOf(line.slice(1));
      if (time === null) return `line ${i + 1} has no time that can be read: ${quote(line)}`;
      continue;
    }
    const [first = '', state = '', ...rest] = line.split(/\s+/);
    const host = first.replace(/^\[(.*)\]$/, '$1');
    if (servers.size >= MOST_SERVERS) return TOO_MANY;
    if (!HOST.test(host)) return `line ${i + 1} begins with no server's name: ${quote(line)}`;
    // What looks like a number is meant as one, also where it is none that a weight can be.
    const weighs = /^(up|drain)$/i.test(state) && /^[-+]?[\d.]*\d(e\d+)?%?$/i.test(rest[0] ?? '');
    const weight = weighs ? rest.shift() : undefined;
    const reason = rest.join(' ').replace(/^#\s*/, '');
    add(servers, host, entry(state, /^\d+$/.test(weight ?? '') ? Number(weight) : weight, reason));
  }
  return { time, servers };
}

/** `{ "time": 1790000000, "servers": { "cp1": "up", "cp2": { "state": "up", "weight": "50%", "reason": "…" } } }` */
function readJson(text: string): Feed | string {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    return `it is no JSON: ${printable(textOf(error))}`;
  }
  if (!isObject(root) || !isObject(root['servers'])) return 'it has no object "servers"';
  const told = root['time'];
  const time = typeof told === 'string' || typeof told === 'number' ? timeOf(String(told)) : null;
  if (told !== undefined && time === null) return `its time cannot be read: ${quote(jsonText(told))}`;
  const servers = new Map<string, Health>();
  const entries = Object.entries(root['servers']);
  if (entries.length > MOST_SERVERS) return TOO_MANY;
  for (const [host, value] of entries) {
    const { state, weight, reason } = isObject(value) ? value : { state: value };
    const known = weight === undefined || weight === null || typeof weight === 'number' || typeof weight === 'string';
    const said = typeof reason === 'string' ? reason : '';
    add(
      servers,
      host,
      entry(typeof state === 'string' ? state : jsonText(state), known ? (weight ?? undefined) : '?', said),
    );
  }
  return { time, servers };
}

function add(servers: Map<string, Health>, host: string, health: Health): void {
  const name = host.toLowerCase();
  servers.set(name, servers.has(name) ? { is: 'unknown', reason: 'the document names it twice' } : health);
}

function entry(state: string | undefined, weight: number | string | undefined, reason: string): Health {
  const why = printable(reason, 300);
  switch (state?.toLowerCase()) {
    case 'up':
    case 'drain':
      return weighted(state.toLowerCase() === 'drain', weight, why);
    case 'down':
      return { is: 'down', reason: why === '' ? 'the document says down' : `the document says down: ${why}` };
    case 'unknown':
      return { is: 'unknown', reason: why === '' ? 'the document says unknown' : `the document says unknown: ${why}` };
    default:
      return { is: 'unknown', reason: `the document says ${quote(state ?? '')}: none of up, down, unknown, drain` };
  }
}

function weighted(drain: boolean, weight: number | string | undefined, why: string): Health {
  const share = typeof weight === 'string' ? Number(/^(\d{1,5})%$/.exec(weight)?.[1] ?? Number.NaN) : null;
  const number = typeof weight === 'number' ? weight : 0;
  if (Number.isNaN(share) || !(number >= 0 && number <= MAX_WEIGHT)) {
    return { is: 'unknown', reason: `the document gives a weight of ${quote(String(weight))}` };
  }
  const words = [drain ? 'drain' : '', weight === undefined ? '' : `weight ${weight}`, why === '' ? '' : `# ${why}`];
  const detail = words.filter((word) => word !== '').join(' ');
  return {
    is: 'up',
    ...(detail === '' ? {} : { detail }),
    ...(drain ? { drain } : {}),
    ...(typeof weight === 'number' ? { weight } : {}),
    ...(share === null ? {} : { percent: share }),
  };
}

/** Unix seconds, or `2026-11-21T08:15:00Z`; as ms. Null: neither. */
function timeOf(text: string): number | null {
  if (/^\d{1,12}(\.\d{1,9})?$/.test(text)) return Number(text) * 1000;
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d+)?Z$/.exec(text)?.map(Number) ?? [];
  if (year === undefined || month === undefined || day === undefined) return null;
  return (((daysTo(year, month, day) * 24 + (hour ?? 0)) * 60 + (minute ?? 0)) * 60 + (second ?? 0)) * 1000;
}

/** Days from 1970-01-01, in years that begin with March: the leap day is then the last one. */
function daysTo(year: number, month: number, day: number): number {
  const y = month > 2 ? year : year - 1;
  const ofYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  return 365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + ofYear - 719_468;
}
