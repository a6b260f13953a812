// Header fields of HTTP/2 as octets and back (RFC 7541). What is sent stands in the static table or is spelled out; what is
// received may use everything that the RFC has. Used by http2.ts.

export type Field = readonly [name: string, value: string];

/** Appendix A; the first one has the index 1. */
const STATIC: readonly Field[] = `
:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|
:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|
accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|
content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|
last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|
server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`
  .replaceAll('\n', '')
  .split('|')
  .map((entry) => [entry.split(' ', 1)[0] ?? '', entry.includes(' ') ? entry.slice(entry.indexOf(' ') + 1) : '']);

/** SETTINGS_HEADER_TABLE_SIZE as long as nobody says otherwise (RFC 9113 §6.5.2), and we do not. */
const TABLE_BYTES = 4096;
/** RFC 7541 §4.1: what an entry counts beside its text. */
const ENTRY_BYTES = 32;
/** All fields of one block, with what each counts: a small block can stand for much. */
const MAX_FIELDS_BYTES = 64 * 1024;

/** The octets cannot be read. The message says why. */
export class HpackError extends Error {}

/** A header block. Nothing of it enters the other side's table. */
export function encodeFields(fields: readonly Field[]): Uint8Array {
  const octets: number[] = [];
  for (const [name, value] of fields) {
    const whole = STATIC.findIndex((entry) => entry[0] === name && entry[1] === value && value !== '') + 1;
    if (whole > 0) {
      writeInteger(octets, 0x80, 7, whole);
      continue;
    }
    const named = STATIC.findIndex((entry) => entry[0] === name) + 1;
    // §6.2.2: a literal without indexing.
    writeInteger(octets, 0x00, 4, named);
    if (named === 0) writeText(octets, name);
    writeText(octets, value);
  }
  return Uint8Array.from(octets);
}

/** §5.1 */
function writeInteger(octets: number[], flags: number, prefixBits: number, value: number): void {
  const most = 2 ** prefixBits - 1;
  if (value < most) {
    octets.push(flags | value);
    return;
  }
  octets.push(flags | most);
  let left = value - most;
  for (; left >= 128; left = Math.floor(left / 128)) octets.push((left % 128) | 128);
  octets.push(left);
}

function writeText(octets: number[], text: string): void {
  const bytes = new TextEncoder().encode(text);
  writeInteger(octets, 0x00, 7, bytes.length);
  for (const byte of bytes) octets.push(byte);
}

/** What one side of a connection has been told to remember. */
export class HpackDecoder {
  /** The newest comes first. */
  readonly #table: Field[] = [];
  #tableBytes = 0;
  #limit = TABLE_BYTES;

  /** Throws HpackError; the connection can not be used any more then. */
  decode(block: Uint8Array): readonly Field[] {
    const input = new Input(block);
    const fields: Field[] = [];
    let total = 0;
    while (!input.atEnd) {
      const field = this.#next(input);
      if (field === null) continue;
      total += sizeOf(field);
      if (total > MAX_FIELDS_BYTES) throw new HpackError('too many header fields');
      fields.push(field);
    }
    return fields;
  }

  /** One field, or null for what only changes the table. */
  #next(input: Input): Field | null {
    const first = input.peek();
    if (first >= 0x80) return this.#entry(input.integer(7));
    if (first >= 0x40) return this.#remember(this.#literal(input, 6));
    if (first < 0x20) return this.#literal(input, 4);
    // §6.3
    const limit = input.integer(5);
    if (limit > TABLE_BYTES) throw new HpackError(`a header table of ${limit} bytes was not agreed on`);
    this.#limit = limit;
    this.#evict(0);
    return null;
  }

  #literal(input: Input, prefixBits: number): Field {
    const index = input.integer(prefixBits);
    const name = index === 0 ? input.text() : this.#entry(index)[0];
    return [name, input.text()];
  }

  #entry(index: number): Field {
    const entry = index <= STATIC.length ? STATIC[index - 1] : this.#table[index - STATIC.length - 1];
    if (entry === undefined) throw new HpackError(`there is no header field ${index}`);
    return entry;
  }

  /** §4.4: one that is too large for the table empties it. */
  #remember(field: Field): Field {
    const size = sizeOf(field);
    this.#evict(size);
    if (size <= this.#limit) {
      this.#table.unshift(field);
      this.#tableBytes += size;
    }
    return field;
  }

  #evict(room: number): void {
    while (this.#table.length > 0 && this.#tableBytes + room > this.#limit) {
      const oldest = this.#table.pop();
      if (oldest !== undefined) this.#tableBytes -= sizeOf(oldest);
    }
  }
}

function sizeOf([name, value]: Field): number {
  return name.length + value.length + ENTRY_BYTES;
}

class Input {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  peek(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new HpackError('the header fields are cut short');
    return byte;
  }

  integer(prefixBits: number): number {
    const most = 2 ** prefixBits - 1;
    let value = this.peek() & most;
    this.#at++;
    if (value < most) return value;
    for (let weight = 1; weight <= 128 ** 3; weight *= 128) {
      const byte = this.peek();
      this.#at++;
      value += (byte & 127) * weight;
      if (byte < 128) return value;
    }
    throw new HpackError('a number in the header fields is too large');
  }

  text(): string {
    const huffman = this.peek() >= 0x80;
    const length = this.integer(7);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new HpackError('the header fields are cut short');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return LATIN1.decode(huffman ? huffmanDecoded(bytes) : bytes);
  }
}

const LATIN1 = new TextDecoder('latin1');

/**
 * Appendix B: how many bits the code of each octet has, in base 36, and last that of the end mark. The code is canonical:
 * shorter ones come first, and those of one length count upwards with their octets.
 */
const CODE_BITS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f56565666' +
  '577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjl' +
  'qrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu';
const SHORTEST = 5;
const LONGEST = 30;
const END_MARK = 256;

interface CodesOfLength {
  readonly first: number;
  readonly symbols: readonly number[];
}

/** By length. */
const CODES: readonly CodesOfLength[] = (() => {
  const bits = [...CODE_BITS].map((digit) => Number.parseInt(digit, 36));
  const codes: CodesOfLength[] = [];
  let next = 0;
  for (let length = 0; length <= LONGEST; length++) {
    next *= 2;
    const symbols = bits.flatMap((each, symbol) => (each === length ? [symbol] : []));
    codes.push({ first: next, symbols });
    next += symbols.length;
  }
  return codes;
})();

function huffmanDecoded(bytes: Uint8Array): Uint8Array {
  // No code is shorter than five bits.
  const decoded = new Uint8Array(Math.floor((bytes.length * 8) / SHORTEST));
  let count = 0;
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length++;
      const codes = CODES[length];
      const symbol = codes?.symbols[code - codes.first];
      if (symbol === undefined) {
        if (length >= LONGEST) throw new HpackError('a header field is not in the Huffman code');
        continue;
      }
      if (symbol === END_MARK) throw new HpackError('a header field has the end mark of the Huffman code in it');
      decoded[count++] = symbol;
      code = 0;
      length = 0;
    }
  }
  // §5.2: filled up with the beginning of the end mark, which is ones.
  if (length > 7 || code !== 2 ** length - 1)
    throw new HpackError('a header field does not end as the Huffman code does');
  return decoded.subarray(0, count);
}
