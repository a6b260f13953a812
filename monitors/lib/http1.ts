// Reads one HTTP/1 response (RFC 9112), in bounded memory whatever comes. Used by proxyfetch.ts and http.ts.

import { Kept, type Reading, type ResponseReader, type Verdict } from './response.ts';
import { printable } from './text.ts';

const MAX_HEAD_BYTES = 64 * 1024;
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
  readonly #kept: Kept;
  #in: 'head' | 'length' | 'close' | 'chunk size' | 'chunk' | 'trailer' = 'head';
  #text = '';
  /** Bytes that heads may still have. */
  #headLeft = MAX_HEAD_BYTES;
  #status = 0;
  #line = '';
  #fields: readonly string[] = [];
  #persistent = false;
  /** Bytes left of the body or chunk. */
  #left = 0;
  #seen = 0;
  #untouched = true;
  #surplus = false;
  #complete = false;

  constructor(reading: Http1Reading) {
    this.#reading = reading;
    this.#kept = new Kept(reading.keepBytes);
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
    return this.#kept.joined();
  }

  push(bytes: Uint8Array): Verdict {
    if (this.#complete) return null;
    if (bytes.length > 0) this.#untouched = false;
    let rest = bytes;
    while (rest.length > 0) {
      let verdict: Verdict;
      if (this.#in === 'head') {
        const before = this.#text.length;
        this.#text += LATIN1.decode(rest);
        const taken = this.#head(before);
        if (typeof taken !== 'number') return taken;
        rest = rest.subarray(taken - before);
        this.#text = '';
        verdict = this.#status === 0 ? undefined : this.#bodyBegins();
      } else if (this.#in === 'chunk size' || this.#in === 'trailer') {
        const end = rest.indexOf(10);
        this.#text += LATIN1.decode(end < 0 ? rest : rest.subarray(0, end));
        if (this.#text.length > MAX_HEAD_BYTES) return `${this.#line}, but a line of the chunked body never ends`;
        if (end < 0) return undefined;
        rest = rest.subarray(end + 1);
        verdict = this.#chunkLine(this.#text.trim());
        this.#text = '';
      } else {
        const taken = this.#in === 'close' ? rest.length : Math.min(rest.length, this.#left);
        verdict = this.#bodyBytes(rest.subarray(0, taken));
        rest = rest.subarray(taken);
      }
      if (verdict === null) this.#surplus = rest.length > 0;
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

  /** How much of the text the head takes, once it is there; before that what there is to say. */
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
    } else this.#fields = fields;
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

  /** The head is there: what comes behind it? (RFC 9112 §6.3) */
  #bodyBegins(): Verdict {
    const { until, toHead, headIsEnough } = this.#reading;
    if (headIsEnough?.(this.#status) === true) return null;
    this.#persistent = persistent(this.header('connection'), this.#persistent);
    if (toHead || this.#status === 204 || this.#status === 304) return this.#done();
    if (until === 'head') return null;
    if (this.header('transfer-encoding').some((value) => /\bchunked$/i.test(value))) {
      this.#in = 'chunk size';
      return undefined;
    }
    const [length, ...others] = this.header('content-length');
    if (length === undefined) {
      this.#in = 'close';
      return undefined;
    }
    // RFC 9112 §6.3: differing or unreadable lengths cannot be recovered from.
    if (!/^\d{1,15}$/.test(length) || others.some((other) => other !== length)) {
      return `${this.#line}, but Content-Length is ${printable([length, ...others].join(', '))}`;
    }
    this.#in = 'length';
    this.#left = Number(length);
    return this.#left === 0 ? this.#done() : undefined;
  }

  #bodyBytes(bytes: Uint8Array): Verdict {
    this.#kept.add(bytes);
    this.#seen += bytes.length;
    if (this.#seen > this.#reading.maxBodyBytes) return null;
    if (this.#in === 'close') return undefined;
    this.#left -= bytes.length;
    if (this.#left > 0) return undefined;
    if (this.#in === 'length') return this.#done();
    // The two bytes of the line end behind the chunk read as an empty size line.
    this.#in = 'chunk size';
    return undefined;
  }

  #chunkLine(line: string): Verdict {
    if (this.#in === 'trailer') return line === '' ? this.#done() : undefined;
    if (line === '' && this.#seen > 0) return undefined;
    const [, size] = /^([0-9a-fA-F]{1,12})(?:\s*;.*)?$/.exec(line) ?? [];
    if (size === undefined) return `${this.#line}, but a chunk's size is ${printable(line)}`;
    this.#left = Number.parseInt(size, 16);
    this.#in = this.#left === 0 ? 'trailer' : 'chunk';
    return undefined;
  }
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
