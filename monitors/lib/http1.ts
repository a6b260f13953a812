// Reads one HTTP/1 response (RFC 9112), in bounded memory whatever comes. Used by proxyfetch.ts and
// http-connection.ts.

import { type Framing, usualFraming, usualStatusLine } from './http1-head.ts';
import { Kept, type Reading, type ResponseReader, type Verdict } from './response.ts';
import { printable } from './text.ts';

const MAX_HEAD_BYTES = 64 * 1024;
/** One of a single octet costs as much as a large one. */
const MAX_CHUNKS = 16_384;
/** Each trailer costs as much as if it had so many octets more. */
const FIELD_BYTES = 32;
const NO_FIELDS: readonly string[] = [];
const NOTHING = new Uint8Array(0);
const BEGINNING = 'HTTP/';
/** Of a line that is not HTTP. */
const MOST_SHOWN = 200;
/** Every byte is a character. */
const LATIN1 = new TextDecoder('latin1');

export interface Http1Reading extends Reading {
  /** The request was HTTP/1.1: responses 1xx may come before the one that counts (RFC 9110 §15.2). */
  readonly skipInterim: boolean;
}

export class Http1Reader implements ResponseReader {
  readonly #reading: Http1Reading;
  /** Null: nothing is to be kept. */
  readonly #kept: Kept | null;
  #in: 'head' | 'length' | 'close' | 'chunk size' | 'chunk' | 'chunk end' | 'trailer' = 'head';
  #text = '';
  /** Bytes that heads may still have. */
  #headLeft = MAX_HEAD_BYTES;
  #status = 0;
  #line = '';
  #fields: readonly string[] = NO_FIELDS;
  #persistent = false;
  #chunked = false;
  #length: Framing['length'] = null;
  /** Bytes left of the body or chunk. */
  #left = 0;
  #seen = 0;
  #chunks = 0;
  #untouched = true;
  #surplus = false;
  #complete = false;

  constructor(reading: Http1Reading) {
    this.#reading = reading;
    this.#kept = reading.keepBytes > 0 ? new Kept(reading.keepBytes) : null;
  }

  get status(): number {
    return this.#status;
  }
  get line(): string {
    return this.#line;
  }
  get untouched(): boolean {
    return this.#untouched;
  }
  get bodyBytes(): number {
    return this.#seen;
  }
  get reusable(): boolean {
    return this.#complete && this.#persistent && !this.#surplus && this.#in !== 'close';
  }
  get progress(): string {
    if (this.#untouched) return 'before any answer';
    if (this.#in === 'head') return `after ${this.#text.length} bytes of the headers`;
    const length = this.#in === 'length' ? ` of ${this.#seen + this.#left}` : '';
    return `${this.#line}, after ${this.#seen}${length} bytes of the body`;
  }

  header(name: string): readonly string[] {
    const found: string[] = [];
    for (const line of this.#fields) {
      const colon = line.indexOf(':');
      if (colon === name.length && line.slice(0, colon).toLowerCase() === name)
        found.push(line.slice(colon + 1).trim());
    }
    return found;
  }

  body(): Uint8Array {
    return this.#kept?.whole() ?? NOTHING;
  }

  push(bytes: Uint8Array): Verdict {
    if (this.#complete) return null;
    if (bytes.length > 0) this.#untouched = false;
    let at = 0;
    while (at < bytes.length) {
      let verdict: Verdict;
      if (this.#in === 'head') {
        let taken: number | Verdict = at === 0 ? this.#usualHead(bytes) : 0;
        if (taken === 0) taken = this.#anyHead(bytes, at);
        if (typeof taken !== 'number') return taken;
        at += taken;
        verdict = this.#status === 0 ? undefined : this.#bodyBegins();
      } else if (this.#in === 'chunk size' || this.#in === 'chunk end' || this.#in === 'trailer') {
        const usual = this.#text === '' ? this.#usualChunkLine(bytes, at) : 0;
        if (usual > 0) {
          at += usual;
          continue;
        }
        const end = bytes.indexOf(10, at);
        this.#text += LATIN1.decode(bytes.subarray(at, end < 0 ? bytes.length : end));
        if (this.#text.length > MAX_HEAD_BYTES) return `${this.#line}, but a line of the chunked body never ends`;
        if (end < 0) return undefined;
        at = end + 1;
        verdict = this.#chunkLine(this.#text.trim());
        this.#text = '';
      } else {
        const left = bytes.length - at;
        const taken = this.#in === 'close' ? left : Math.min(left, this.#left);
        verdict = this.#bodyCame(bytes, at, at + taken);
        at += taken;
      }
      if (verdict === null) this.#surplus = at < bytes.length;
      if (verdict !== undefined) return verdict;
    }
    return undefined;
  }

  end(): string | null {
    if (this.#complete) return null;
    if (this.#in === 'close') return this.#done();
    if (this.#in === 'head') {
      if (this.#untouched) return 'Connection was closed cleanly.';
      return this.#isHttp ? 'the response headers are cut short' : notHttp(this.#text);
    }
    return `${this.#line}, but the body was cut short after ${this.#seen} bytes`;
  }

  #done(): null {
    this.#complete = true;
    return null;
  }

  /** How much of `bytes` the head takes, null when its first line is enough; 0: it must be read as any other. */
  #usualHead(bytes: Uint8Array): number | null {
    const { until, fields } = this.#reading;
    // Some of it came before, or it will be asked for as text.
    if (this.#text !== '' || fields === true) return 0;
    const first = usualStatusLine(bytes);
    if (first === null) return 0;
    const framing = until === 'line' ? null : usualFraming(bytes, first.size, first.persistent);
    if (until !== 'line' && framing === null) return 0;
    this.#status = first.status;
    this.#line = first.line;
    if (framing === null) return null;
    this.#persistent = framing.persistent;
    this.#chunked = framing.chunked;
    this.#length = framing.length;
    return framing.end;
  }

  /** How much of `bytes` the head takes, once all of it is there; before that what there is to say. */
  #anyHead(bytes: Uint8Array, start: number): number | Verdict {
    const before = this.#text.length;
    this.#text += LATIN1.decode(bytes.subarray(start));
    const taken = this.#head(before);
    if (typeof taken !== 'number') return taken;
    this.#text = '';
    return taken - before;
  }

  /** As #anyHead, of the text. */
  #head(before: number): number | Verdict {
    if (this.#reading.until === 'line' && this.#text.includes('\n')) {
      const wrong = this.#statusLine(this.#text.slice(0, this.#text.indexOf('\n')).replace(/\r$/, ''));
      if (wrong !== null || !this.#interim) return wrong;
      this.#status = 0;
    }
    const head = endOfHead(this.#text, before);
    if (head === null) {
      // Another protocol's server waits for us to speak that, and never sends an empty line.
      if (!this.#isHttp && (this.#text.includes('\n') || this.#text.length >= MOST_SHOWN)) return notHttp(this.#text);
      return this.#text.length > this.#headLeft ? 'the response headers never end' : undefined;
    }
    const [first = '', ...fields] = this.#text.slice(0, head.at).split(/\r?\n/);
    const wrong = this.#statusLine(first);
    if (wrong !== null) return wrong;
    const taken = head.at + head.length;
    this.#headLeft -= taken;
    if (this.#interim) {
      if (this.#headLeft <= 0) return 'the response headers never end';
      this.#status = 0;
    } else this.#takeFields(fields);
    return taken;
  }

  /** As far as it has come. */
  get #isHttp(): boolean {
    return BEGINNING.startsWith(this.#text.slice(0, BEGINNING.length));
  }

  get #interim(): boolean {
    return this.#reading.skipInterim && this.#status < 200 && this.#status !== 101;
  }

  /** What is wrong with it, or null. */
  #statusLine(text: string): string | null {
    const [, minor, code, message = ''] = /^HTTP\/\d\.(\d) (\d{3})(?: (.*))?$/.exec(text) ?? [];
    if (code === undefined) return notHttp(text);
    this.#status = Number(code);
    this.#line = printable(`${code} ${message}`.trim());
    this.#persistent = minor !== '0';
    return null;
  }

  #takeFields(fields: readonly string[]): void {
    this.#fields = fields;
    this.#persistent = persistent(this.header('connection'), this.#persistent);
    this.#chunked = this.header('transfer-encoding').some((value) => /\bchunked$/i.test(value));
    const [length, ...others] = this.header('content-length');
    if (length === undefined) return;
    // RFC 9112 §6.3: differing or unreadable lengths cannot be recovered from.
    const wrong = !/^\d{1,15}$/.test(length) || others.some((other) => other !== length);
    this.#length = wrong ? printable([length, ...others].join(', ')) : Number(length);
  }

  /** The head is there: what comes behind it? (RFC 9112 §6.3) */
  #bodyBegins(): Verdict {
    const { until, toHead, headIsEnough } = this.#reading;
    if (headIsEnough?.(this.#status) === true) return null;
    if (toHead || this.#status === 204 || this.#status === 304) return this.#done();
    if (until === 'head') return null;
    if (this.#chunked) {
      this.#in = 'chunk size';
    } else if (this.#length === null) {
      this.#in = 'close';
    } else if (typeof this.#length === 'string') {
      return `${this.#line}, but Content-Length is ${this.#length}`;
    } else {
      this.#in = 'length';
      this.#left = this.#length;
      if (this.#left === 0) return this.#done();
    }
    return undefined;
  }

  #bodyCame(bytes: Uint8Array, from: number, to: number): Verdict {
    const count = to - from;
    this.#kept?.add(bytes.subarray(from, to));
    this.#seen += count;
    if (this.#seen > this.#reading.maxBodyBytes) return null;
    if (this.#in === 'close') return undefined;
    this.#left -= count;
    if (this.#left > 0) return undefined;
    if (this.#in === 'length') return this.#done();
    this.#in = 'chunk end';
    return undefined;
  }

  /** Nothing but a chunk's size, or nothing at all, as most lines are: how much of `bytes` it takes. 0: it must be read as any other. */
  #usualChunkLine(bytes: Uint8Array, at: number): number {
    let size = 0;
    let next = at;
    if (this.#in === 'chunk size') {
      for (let digit = hexDigit(bytes[next]); digit >= 0 && next < at + 8; digit = hexDigit(bytes[++next]))
        size = size * 16 + digit;
      if (size === 0) return 0;
    } else if (this.#in === 'trailer') return 0;
    if (bytes[next] !== 13 || bytes[next + 1] !== 10) return 0;
    if (this.#in === 'chunk end') this.#in = 'chunk size';
    else if (++this.#chunks > MAX_CHUNKS) return 0;
    else {
      this.#left = size;
      this.#in = 'chunk';
    }
    return next + 2 - at;
  }

  #chunkLine(line: string): Verdict {
    if (this.#in === 'trailer') {
      this.#headLeft -= line.length + FIELD_BYTES;
      if (this.#headLeft < 0) return `${this.#line}, but the trailers of the chunked body never end`;
      return line === '' ? this.#done() : undefined;
    }
    if (this.#in === 'chunk end') {
      this.#in = 'chunk size';
      return line === '' ? undefined : `${this.#line}, but a chunk does not end where it should`;
    }
    if (++this.#chunks > MAX_CHUNKS) return `${this.#line}, but the body comes in too many chunks`;
    const [, size] = /^([0-9a-fA-F]{1,12})(?:\s*;.*)?$/.exec(line) ?? [];
    if (size === undefined) return `${this.#line}, but a chunk's size is ${printable(line)}`;
    this.#left = Number.parseInt(size, 16);
    this.#in = this.#left === 0 ? 'trailer' : 'chunk';
    return undefined;
  }
}

/** -1: it is none. */
function hexDigit(octet = 0): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const letter = octet | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function notHttp(text: string): string {
  return `not an HTTP response: ${printable(text.split(/\r?\n/, 1)[0] ?? '', MOST_SHOWN)}`;
}

/** RFC 9112 §9.3. */
function persistent(connection: readonly string[], byVersion: boolean): boolean {
  const words = connection.join(',').toLowerCase();
  return byVersion ? !/\bclose\b/.test(words) : /\bkeep-alive\b/.test(words);
}

/** Where the empty line behind the headers is, looking only near what is new since `before`. */
function endOfHead(text: string, before: number): { readonly at: number; readonly length: number } | null {
  const from = Math.max(0, before - 3);
  const found = /\r?\n\r?\n/.exec(text.slice(from));
  return found === null ? null : { at: from + found.index, length: found[0].length };
}
