// A cursor over bytes that cannot over-read, and a growing buffer to write them. Network byte order, as in every wire
// format here but netlink, whose host-order fields have their own `le` methods. Used by all codecs, `joined` by who gets or
// writes bytes in pieces.

/** Fewer bytes than the format promises. `at` is the offset from the start of the outermost view. */
export class Truncated extends Error {
  readonly at: number;
  constructor(what: string, at: number) {
    super(`truncated: ${what} at byte ${at}`);
    this.name = 'Truncated';
    this.at = at;
  }
}

export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#at = start;
    this.#end = end;
  }

  get at(): number {
    return this.#at;
  }
  get left(): number {
    return this.#end - this.#at;
  }

  #advance(count: number, what: string): number {
    const at = this.#at;
    if (count > this.#end - at) throw new Truncated(what, at);
    this.#at = at + count;
    return at;
  }

  u8(what = 'octet'): number {
    return this.#view.getUint8(this.#advance(1, what));
  }
  u16(what = '2 octets'): number {
    return this.#view.getUint16(this.#advance(2, what));
  }
  u32(what = '4 octets'): number {
    return this.#view.getUint32(this.#advance(4, what));
  }
  u16le(what = '2 octets'): number {
    return this.#view.getUint16(this.#advance(2, what), true);
  }
  u32le(what = '4 octets'): number {
    return this.#view.getUint32(this.#advance(4, what), true);
  }

  /** A view, not a copy, of the next `count` bytes. */
  bytes(count: number, what = `${count} octets`): Uint8Array {
    const at = this.#advance(count, what);
    return this.#bytes.subarray(at, at + count);
  }

  /** A reader bounded to the next `count` bytes, which this one skips. */
  take(count: number, what = `${count} octets`): Reader {
    const at = this.#advance(count, what);
    return new Reader(this.#bytes, at, at + count);
  }
}

export class Writer {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** May replace the buffer and its view: call it before touching either. */
  #room(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, at + count));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = at + count;
    return at;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
    return this;
  }
  u32(value: number): this {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
    return this;
  }
  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
    return this;
  }
  /** Overwrite two bytes written before: a length that is known only now. */
  patchU16(at: number, value: number): this {
    if (at + 2 > this.#length) throw new RangeError(`cannot patch byte ${at} of ${this.#length}`);
    this.#view.setUint16(at, value);
    return this;
  }
  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

/** All of them in one piece. Where there is only one, that one: not a copy. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
