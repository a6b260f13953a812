// The head of a usual HTTP/1 response, straight from its octets: nearly all that come, at a fraction of what it costs to make
// text of them. What is unusual, or has not all come yet, is null here and is left to http1.ts, which reads any head; about
// what both can read they say the same.

export interface StatusLine {
  readonly status: number;
  /** `200 OK` */
  readonly line: string;
  /** HTTP/1.1: other requests may follow if nothing else is said. */
  readonly persistent: boolean;
  /** In octets, with the end of the line. */
  readonly size: number;
}

/** What the fields say of the body behind them (RFC 9112 §6.3). */
export interface Framing {
  readonly persistent: boolean;
  readonly chunked: boolean;
  /** null: nothing is said of it. Text: it is no length. */
  readonly length: number | string | null;
}

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const TILDE = 126;
const LETTER_C = 0x63;
const LETTER_T = 0x74;
/** To the first digit of the version and the status. */
const VERSION_AT = 7;
const STATUS_AT = 9;
const REASON_AT = 12;
const MOST_SHOWN = 200;
const MOST_DIGITS = 15;

const UTF8 = new TextEncoder();
const VERSION = UTF8.encode('HTTP/1.');
const CONNECTION = UTF8.encode('connection:');
const LENGTH = UTF8.encode('content-length:');
const ENCODING = UTF8.encode('transfer-encoding:');
const CLOSE = UTF8.encode('close');
const KEEP_ALIVE = UTF8.encode('keep-alive');
const CHUNKED = UTF8.encode('chunked');

/** The first line of `bytes`. An interim response is not usual. */
export function usualStatusLine(bytes: Uint8Array): StatusLine | null {
  const end = lineEnd(bytes, 0);
  const minor = bytes[VERSION_AT];
  if (end < 0 || (minor !== DIGIT_0 && minor !== DIGIT_0 + 1) || !isAt(bytes, 0, VERSION)) return null;
  const status = numberAt(bytes, STATUS_AT, REASON_AT);
  const last = valueEnd(bytes, STATUS_AT, end);
  if (bytes[STATUS_AT - 1] !== SPACE || status < 200 || last < REASON_AT || last > STATUS_AT + MOST_SHOWN) return null;
  if (last > REASON_AT && bytes[REASON_AT] !== SPACE) return null;
  let line = '';
  for (let at = STATUS_AT; at < last; at++) {
    const octet = bytes[at] ?? 0;
    if (octet < SPACE || octet > TILDE) return null;
    line += String.fromCharCode(octet);
  }
  return { status, line, persistent: minor !== DIGIT_0, size: end + 1 };
}

/** The fields that begin at `start`, down to the empty line. */
export function usualFraming(
  bytes: Uint8Array,
  start: number,
  byVersion: boolean,
): (Framing & { readonly end: number }) | null {
  let persistent: boolean | null = null;
  let chunked = false;
  let length: number | null = null;
  for (let at = start; ; ) {
    const end = lineEnd(bytes, at);
    if (end < 0) return null;
    if (end === at || (end === at + 1 && bytes[at] === CR))
      return { persistent: persistent ?? byVersion, chunked, length, end: end + 1 };
    const initial = (bytes[at] ?? 0) | 0x20;
    if (initial === LETTER_C && isAt(bytes, at, CONNECTION)) {
      const closes = isValue(bytes, at + CONNECTION.length, end, CLOSE);
      if (persistent !== null || (!closes && !isValue(bytes, at + CONNECTION.length, end, KEEP_ALIVE))) return null;
      persistent = !closes;
    } else if (initial === LETTER_C && isAt(bytes, at, LENGTH)) {
      const from = valueStart(bytes, at + LENGTH.length);
      const number = numberAt(bytes, from, valueEnd(bytes, from, end));
      if (length !== null || number < 0) return null;
      length = number;
    } else if (initial === LETTER_T && isAt(bytes, at, ENCODING)) {
      if (chunked || !isValue(bytes, at + ENCODING.length, end, CHUNKED)) return null;
      chunked = true;
    }
    at = end + 1;
  }
}

/** Where its line feed is; -1: it is not there yet. */
function lineEnd(bytes: Uint8Array, start: number): number {
  for (let at = start; at < bytes.length; at++) if (bytes[at] === LF) return at;
  return -1;
}

/** In any case of letters, where `word` has small ones. */
function isAt(bytes: Uint8Array, start: number, word: Uint8Array): boolean {
  for (let i = 0; i < word.length; i++) {
    const octet = bytes[start + i] ?? 0;
    if (octet !== word[i] && (octet < 0x41 || octet > 0x5a || (octet | 0x20) !== word[i])) return false;
  }
  return true;
}

function isValue(bytes: Uint8Array, start: number, end: number, word: Uint8Array): boolean {
  const from = valueStart(bytes, start);
  return valueEnd(bytes, from, end) - from === word.length && isAt(bytes, from, word);
}

function valueStart(bytes: Uint8Array, start: number): number {
  let at = start;
  while (bytes[at] === SPACE || bytes[at] === TAB) at++;
  return at;
}

/** Without the end of the line, and spaces before it. */
function valueEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = end > start && bytes[end - 1] === CR ? end - 1 : end;
  while (at > start && (bytes[at - 1] === SPACE || bytes[at - 1] === TAB)) at--;
  return at;
}

/** Nothing but digits, and not too many of them; -1: something else. */
function numberAt(bytes: Uint8Array, from: number, to: number): number {
  if (to <= from || to - from > MOST_DIGITS) return -1;
  let number = 0;
  for (let at = from; at < to; at++) {
    const octet = bytes[at] ?? 0;
    if (octet < DIGIT_0 || octet > DIGIT_9) return -1;
    number = number * 10 + octet - DIGIT_0;
  }
  return number;
}
