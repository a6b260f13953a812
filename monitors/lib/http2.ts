// An HTTP/2 client for one request at a time (RFC 9113), in bounded memory whatever comes: no push, no priorities, no more
// than one stream. It opens nothing: what `request` and `output` return has to be written. Used by http-connection.ts.

import { encodeFields, type Field, HpackDecoder, HpackError } from './hpack.ts';
import { joined } from './octets.ts';
import { Kept, type Reading, type ResponseReader, type Verdict } from './response.ts';
import { printable } from './text.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const FRAME_HEADER_BYTES = 9;
/** SETTINGS_MAX_FRAME_SIZE and SETTINGS_INITIAL_WINDOW_SIZE where nobody says otherwise (§6.5.2). */
const MAX_FRAME_BYTES = 16_384;
const WINDOW_BYTES = 65_535;
const MAX_BLOCK_BYTES = 64 * 1024;
/** Frames of one response that bring it no further: a server that sends only those is not answering. */
const MAX_IDLE_FRAMES = 1000;
/** Of one body. A frame of a single octet costs as much as a large one. */
const MAX_DATA_FRAMES = 16_384;
const LAST_STREAM = 2 ** 31 - 1;

const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
const ACK = 0x01;
const END_STREAM = 0x01;
const END_HEADERS = 0x04;
const PADDED = 0x08;
const PRIORITY = 0x20;
const ENABLE_PUSH = 2;
const INITIAL_WINDOW_SIZE = 4;

/** §7 */
const ERRORS: readonly string[] = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** The response is not what the RFC wants; nothing more can be read of this connection. */
class Broken extends Error {}

/** The most that a request's body may have: what may be sent before anything was heard. */
export const MAX_REQUEST_BODY_BYTES = WINDOW_BYTES;

export class Http2Client implements ResponseReader {
  // Of the connection.
  readonly #decoder = new HpackDecoder();
  #pending = new Uint8Array(0);
  #output: Uint8Array[] = [];
  #stream = -1;
  #greeted = false;
  #leaving = false;
  #broken: string | null = null;
  #refused = false;
  #sendWindow = WINDOW_BYTES;
  #streamWindow = WINDOW_BYTES;
  /** Bytes of DATA that the server has not been given back yet. */
  #owed = 0;
  /** A header block whose end has not come yet. */
  #block: { readonly stream: number; readonly ends: boolean; bytes: Uint8Array } | null = null;

  // Of the response.
  #reading: Reading | null = null;
  #kept = new Kept(0);
  #fields: Field[] = [];
  #status = 0;
  #seen = 0;
  #untouched = true;
  #complete = false;
  #idleFrames = 0;
  #dataFrames = 0;

  get status(): number {
    return this.#status;
  }
  /** HTTP/2 has no reason phrase. */
  get line(): string {
    return String(this.#status);
  }
  get untouched(): boolean {
    return this.#untouched;
  }
  get bodyBytes(): number {
    return this.#seen;
  }
  get progress(): string {
    if (this.#untouched) return 'before any answer';
    if (this.#status === 0) return this.#greeted ? 'after its SETTINGS, before any headers' : 'before its SETTINGS';
    return `${this.#status}, after ${this.#seen} bytes of the body`;
  }
  get reusable(): boolean {
    return this.#complete && this.#broken === null && !this.#leaving && this.#stream < LAST_STREAM - 2;
  }

  /** The server has said that it did nothing for the request (§8.7). */
  get refused(): boolean {
    return this.#refused;
  }

  header(name: string): readonly string[] {
    return this.#fields.filter((field) => field[0] === name).map((field) => field[1]);
  }

  body(): Uint8Array {
    return this.#kept.whole();
  }

  /** Whether a body of this length may be sent now. */
  fits(bodyBytes: number): boolean {
    return bodyBytes <= Math.min(this.#sendWindow, this.#streamWindow);
  }

  /**
   * What to write for a request: pseudo-header fields first, names in lower case. Reads the response to it from now on. Only
   * where the last one was `reusable`, and the body fits.
   */
  request(fields: readonly Field[], body: Uint8Array, reading: Reading): Uint8Array {
    const parts: Uint8Array[] = [];
    if (this.#stream < 0) {
      parts.push(new TextEncoder().encode(PREFACE));
      parts.push(frame(FRAME.settings, 0, 0, Uint8Array.of(0, ENABLE_PUSH, 0, 0, 0, 0)));
    }
    this.#stream += 2;
    const block = encodeFields(fields);
    const last = body.length === 0 ? END_STREAM : 0;
    for (const [i, piece] of pieces(block).entries()) {
      const ends = (i + 1) * MAX_FRAME_BYTES >= block.length ? END_HEADERS : 0;
      parts.push(frame(i === 0 ? FRAME.headers : FRAME.continuation, ends | (i === 0 ? last : 0), this.#stream, piece));
    }
    if (body.length > 0) {
      this.#sendWindow -= body.length;
      const all = pieces(body);
      for (const [i, piece] of all.entries()) {
        parts.push(frame(FRAME.data, i === all.length - 1 ? END_STREAM : 0, this.#stream, piece));
      }
    }
    this.#reading = reading;
    this.#kept = new Kept(reading.keepBytes);
    this.#fields = [];
    this.#status = 0;
    this.#seen = 0;
    this.#untouched = true;
    this.#complete = false;
    this.#idleFrames = 0;
    this.#dataFrames = 0;
    return joined(parts);
  }

  /** Nothing of the last response is needed any more. */
  dropResponse(): void {
    this.#kept = new Kept(0);
    this.#fields = [];
  }

  /** What the connection itself has to say: to be written after each `push`. Null: nothing. */
  output(): Uint8Array | null {
    if (this.#output.length === 0) return null;
    const bytes = joined(this.#output);
    this.#output = [];
    return bytes;
  }

  push(bytes: Uint8Array): Verdict {
    if (this.#broken !== null) return this.#broken;
    if (bytes.length > 0) this.#untouched = false;
    // A copy: whose buffer it is in may want that back.
    const input = joined([this.#pending, bytes]);
    let at = 0;
    let verdict: Verdict;
    try {
      while (input.length - at >= FRAME_HEADER_BYTES) {
        const length = ((input[at] ?? 0) << 16) | ((input[at + 1] ?? 0) << 8) | (input[at + 2] ?? 0);
        const type = input[at + 3] ?? 0;
        this.#checkGreeting(type, input);
        if (length > MAX_FRAME_BYTES) throw new Broken(`a frame has ${length} bytes`);
        const end = at + FRAME_HEADER_BYTES + length;
        if (end > input.length) break;
        const payload = input.subarray(at + FRAME_HEADER_BYTES, end);
        const stream = numberAt(input, at + 5) & LAST_STREAM;
        at = end;
        const said = this.#frame({ type, flags: input[at - length - 5] ?? 0, stream, payload });
        if (said === undefined) continue;
        verdict = said;
        // What stands behind the end of a response is the connection's own business.
        if (!this.#complete) break;
      }
    } catch (error) {
      if (!(error instanceof Broken || error instanceof HpackError)) throw error;
      this.#broken = `${this.#status === 0 ? 'no HTTP/2 response' : this.#status}: ${error.message}`;
      return this.#complete ? null : this.#broken;
    }
    this.#pending = input.slice(at);
    return verdict;
  }

  end(): string | null {
    if (this.#complete) return null;
    if (this.#untouched) return 'Connection was closed cleanly.';
    return this.#broken ?? `the connection was closed ${this.progress}`;
  }

  /** §3.4: the server's SETTINGS come first. Something that speaks HTTP/1 answers in text. */
  #checkGreeting(type: number, input: Uint8Array): void {
    if (this.#greeted || type === FRAME.settings) return;
    throw new Broken(`it begins with ${printable(new TextDecoder('latin1').decode(input.subarray(0, 60)), 60)}`);
  }

  #frame(given: Frame): Verdict {
    const { type, flags, stream, payload } = given;
    if (this.#block !== null && (type !== FRAME.continuation || stream !== this.#block.stream))
      throw new Broken('a header block is interrupted');
    switch (type) {
      case FRAME.data:
        return this.#data(given);
      case FRAME.headers: {
        let block = unpadded(given);
        if ((flags & PRIORITY) !== 0) block = block.subarray(5);
        return this.#headers(stream, (flags & END_STREAM) !== 0, (flags & END_HEADERS) !== 0, block);
      }
      case FRAME.continuation: {
        if (this.#block === null) throw new Broken('a CONTINUATION continues nothing');
        const { ends, bytes } = this.#block;
        return this.#headers(stream, ends, (flags & END_HEADERS) !== 0, joined([bytes, payload]));
      }
      case FRAME.resetStream:
        if (stream !== this.#stream || this.#complete) return this.#idle();
        this.#refused = errorName(payload, 0) === 'REFUSED_STREAM';
        throw new Broken(`the server reset the stream: ${errorName(payload, 0)}`);
      case FRAME.settings:
        return this.#settings(given);
      case FRAME.pushPromise:
        throw new Broken('a PUSH_PROMISE, although push is switched off');
      case FRAME.ping:
        if (payload.length !== 8) throw new Broken('a PING of the wrong size');
        if ((flags & ACK) === 0) this.#output.push(frame(FRAME.ping, ACK, 0, payload));
        return this.#idle();
      case FRAME.goAway:
        return this.#goAway(payload);
      case FRAME.windowUpdate:
        if (payload.length !== 4) throw new Broken('a WINDOW_UPDATE of the wrong size');
        if (stream === 0)
          this.#sendWindow = Math.min(this.#sendWindow + (numberAt(payload, 0) & LAST_STREAM), LAST_STREAM);
        return this.#idle();
      default:
        // §5.5: what we do not know is ignored, and priorities of ours there are none.
        return this.#idle();
    }
  }

  #idle(): undefined {
    if (++this.#idleFrames > MAX_IDLE_FRAMES) throw new Broken('frames without end that are no answer');
    return undefined;
  }

  #settings({ flags, stream, payload }: Frame): undefined {
    if (stream !== 0 || payload.length % 6 !== 0) throw new Broken('SETTINGS of the wrong size');
    this.#greeted = true;
    if ((flags & ACK) === 0) {
      for (let at = 0; at < payload.length; at += 6) {
        const id = ((payload[at] ?? 0) << 8) | (payload[at + 1] ?? 0);
        if (id === INITIAL_WINDOW_SIZE) this.#streamWindow = numberAt(payload, at + 2);
      }
      this.#output.push(frame(FRAME.settings, ACK, 0, new Uint8Array(0)));
    }
    return this.#idle();
  }

  /** §6.8: it is about what comes after the last stream that was taken. */
  #goAway(payload: Uint8Array): undefined {
    if (payload.length < 8) throw new Broken('a GOAWAY of the wrong size');
    this.#leaving = true;
    const taken = numberAt(payload, 0) & LAST_STREAM;
    const code = errorName(payload, 4);
    if (!this.#complete && (taken < this.#stream || code !== 'NO_ERROR')) {
      this.#refused = taken < this.#stream;
      const words = printable(new TextDecoder('latin1').decode(payload.subarray(8, 108)));
      throw new Broken(`the server said GOAWAY: ${code}${words === '' ? '' : ` (${words})`}`);
    }
    return this.#idle();
  }

  #headers(stream: number, ends: boolean, whole: boolean, bytes: Uint8Array): Verdict {
    if (bytes.length > MAX_BLOCK_BYTES) throw new Broken('the response headers never end');
    if (!whole) {
      this.#block = { stream, ends, bytes };
      return this.#idle();
    }
    this.#block = null;
    // Also where nobody asked for it, or the table would be another one than the server's.
    const fields = this.#decoder.decode(bytes);
    if (stream % 2 === 0 || stream > this.#stream) throw new Broken(`headers of stream ${stream}, which nobody opened`);
    if (stream !== this.#stream || this.#complete) return this.#idle();
    return this.#status === 0 ? this.#head(fields, ends) : this.#trailers(fields, ends);
  }

  #head(fields: readonly Field[], ends: boolean): Verdict {
    const [status, ...others] = fields.filter(([name]) => name === ':status');
    if (status === undefined || others.length > 0 || !/^[1-9]\d\d$/.test(status[1]))
      throw new Broken(`the status is “${printable(status?.[1] ?? '')}”`);
    const code = Number(status[1]);
    if (code < 200) {
      if (ends) throw new Broken(`the response ends with ${code}`);
      return this.#idle();
    }
    this.#status = code;
    this.#fields = fields.filter(([name]) => !name.startsWith(':'));
    if (ends) return this.#done();
    const { until, headIsEnough } = this.#reading ?? { until: 'line' };
    return until !== 'body' || headIsEnough?.(code) === true ? null : undefined;
  }

  #trailers(fields: readonly Field[], ends: boolean): Verdict {
    if (!ends) throw new Broken('headers in the middle of the body');
    // A length that comes only here was not told.
    this.#done();
    this.#fields.push(...fields.filter(([name]) => !name.startsWith(':')));
    return null;
  }

  #done(): null {
    this.#checkLength();
    this.#complete = true;
    return null;
  }

  #data(given: Frame): Verdict {
    const { flags, stream, payload } = given;
    if (stream % 2 === 0 || stream > this.#stream) throw new Broken(`data of stream ${stream}, which nobody opened`);
    const body = unpadded(given);
    const mine = stream === this.#stream && !this.#complete;
    const ends = mine && (flags & END_STREAM) !== 0;
    this.#giveBack(payload.length, mine && !ends);
    if (!mine) return this.#idle();
    if (this.#status === 0) throw new Broken('a body without headers');
    if (body.length === 0 && !ends) return this.#idle();
    if (++this.#dataFrames > MAX_DATA_FRAMES) throw new Broken('the body comes in too many frames');
    this.#kept.add(body);
    this.#seen += body.length;
    if (ends) return this.#done();
    const { until, maxBodyBytes } = this.#reading ?? { until: 'line', maxBodyBytes: 0 };
    return until !== 'body' || this.#seen > maxBodyBytes ? null : undefined;
  }

  /** §8.1.1: a body of another length than was told. */
  #checkLength(): void {
    const [length] = this.header('content-length');
    // RFC 9110 §8.6: it is that of a response that is not sent.
    if (length === undefined || this.#reading?.toHead === true || this.#status === 304) return;
    if (Number(length) === this.#seen) return;
    throw new Broken(`${this.#seen} bytes of body, but Content-Length is ${printable(length)}`);
  }

  /** §5.2: the server may send on only when it hears that what it sent was taken. */
  #giveBack(bytes: number, streamToo: boolean): void {
    this.#owed += bytes;
    if (this.#owed < WINDOW_BYTES / 2) return;
    const increment = Uint8Array.of(this.#owed >>> 24, this.#owed >>> 16, this.#owed >>> 8, this.#owed);
    this.#output.push(frame(FRAME.windowUpdate, 0, 0, increment));
    if (streamToo) this.#output.push(frame(FRAME.windowUpdate, 0, this.#stream, increment));
    this.#owed = 0;
  }
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const { length } = payload;
  bytes.set([length >> 16, length >> 8, length, type, flags, stream >>> 24, stream >>> 16, stream >>> 8, stream]);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

function unpadded({ flags, payload }: Frame): Uint8Array {
  if ((flags & PADDED) === 0) return payload;
  const padding = payload[0] ?? payload.length;
  if (padding >= payload.length) throw new Broken('more padding than frame');
  return payload.subarray(1, payload.length - padding);
}

function errorName(payload: Uint8Array, at: number): string {
  const code = numberAt(payload, at);
  return ERRORS[code] ?? `error ${code}`;
}

function numberAt(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** In pieces that fit into a frame each; of nothing one empty piece. */
function pieces(bytes: Uint8Array): readonly Uint8Array[] {
  const all: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += MAX_FRAME_BYTES)
    all.push(bytes.subarray(at, at + MAX_FRAME_BYTES));
  return all;
}
