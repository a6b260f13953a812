// Octets of DNS messages (RFC 1035 §4, RFC 3596, RFC 6891), as far as a check needs them: a question to ask, and any answer,
// however broken, to read. Used by dns-exchange.ts. Pure.

/** A message that is none. Nothing else is thrown here, whatever the octets are. */
export class Malformed extends Error {
  override readonly name = 'Malformed';
}

/** Types that have a name here (IANA, DNS parameters). */
export const TYPES = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DS: 43,
  DNSKEY: 48,
  HTTPS: 65,
  ANY: 255,
  CAA: 257,
} as const;
export type TypeName = keyof typeof TYPES;

export const RCODES = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'YXDOMAIN',
  'YXRRSET',
  'NXRRSET',
  'NOTAUTH',
  'NOTZONE',
] as const;

export interface Question {
  readonly name: string;
  readonly type: TypeName;
  /** RD: ask it to find out what it does not know itself. */
  readonly recursion: boolean;
  /** Longest answer that we take over UDP (RFC 6891); 0: without EDNS, 512. */
  readonly ednsSize: number;
}

export interface Record {
  /** In lower case, without the dot at its end; the root is '.'. */
  readonly name: string;
  /** A name of TYPES, or TYPE123 (RFC 3597). */
  readonly type: string;
  readonly ttl: number;
  /** As in a zone file; names in lower case without the last dot, what is not known here as `\# 4 c0000201` (RFC 3597). */
  readonly data: string;
}

export interface Message {
  readonly id: number;
  readonly isAnswer: boolean;
  /** 0: QUERY. */
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  /** A name of RCODES, or RCODE23. */
  readonly rcode: string;
  readonly questions: readonly { readonly name: string; readonly type: string }[];
  readonly answers: readonly Record[];
}

const HEADER_BYTES = 12;
const CLASS_IN = 1;
const TYPE_OPT = 41;
const FLAG = { answer: 0x8000, authoritative: 0x0400, truncated: 0x0200, recursion: 0x0100 } as const;
/** RFC 1035 §2.3.4 */
const MOST = { label: 63, name: 255 } as const;
/** Bounds the work that garbage can make: by compression a record of 12 octets becomes one of hundreds. */
const MOST_RECORDS = 512;
const MOST_QUESTIONS = 16;

/** What is wrong with a domain name, or null. */
export function nameComplaint(name: string): string | null {
  if (name === '.') return null;
  const labels = name.replace(/\.$/, '').split('.');
  const wrong = labels.find((label) => !/^[\x21-\x7e]{1,63}$/.test(label) || /[\\"();@$]/.test(label));
  if (wrong !== undefined)
    return `${JSON.stringify(name)} is not a domain name${wrong === '' ? ': an empty label' : ''}`;
  return labels.join('.').length > MOST.name - 2 ? `${JSON.stringify(name)} is too long for a domain name` : null;
}

/** A query with one question. The name must be one that `nameComplaint` has nothing against. */
export function encodeQuery(id: number, { name, type, recursion, ednsSize }: Question): Uint8Array {
  const labels = name === '.' ? [] : name.replace(/\.$/, '').split('.');
  const octets = labels.flatMap((label) => [label.length, ...Array.from(label, (c) => c.charCodeAt(0))]);
  const edns = ednsSize > 0 ? [0, ...uint16(TYPE_OPT), ...uint16(ednsSize), 0, 0, 0, 0, 0, 0] : [];
  return Uint8Array.from([
    ...uint16(id),
    ...uint16(recursion ? FLAG.recursion : 0),
    ...[1, 0, 0, ednsSize > 0 ? 1 : 0].flatMap(uint16),
    ...octets,
    0,
    ...uint16(TYPES[type]),
    ...uint16(CLASS_IN),
    ...edns,
  ]);
}

/** Header, questions and answers; the other sections only as far as EDNS has more of the rcode there. Throws Malformed. */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new Reader(bytes);
  const id = reader.uint16();
  const flags = reader.uint16();
  const [questionCount = 0, answerCount = 0, authorityCount = 0, additionalCount = 0] = [0, 0, 0, 0].map(() =>
    reader.uint16(),
  );
  if (questionCount > MOST_QUESTIONS) throw new Malformed(`${questionCount} questions`);
  if (answerCount + authorityCount + additionalCount > MOST_RECORDS) throw new Malformed('too many records');
  const truncated = (flags & FLAG.truncated) !== 0;
  const questions = Array.from({ length: questionCount }, () => {
    const name = reader.name();
    const type = typeName(reader.uint16());
    return { name, type: ofClass(reader.uint16(), type) };
  });
  const records: (Record & { readonly upperRcode: number })[] = [];
  try {
    for (let i = 0; i < answerCount + authorityCount + additionalCount; i++) records.push(readRecord(reader));
  } catch (error) {
    // RFC 2181 §9: what came of a truncated answer is not to be used.
    if (!(truncated && error instanceof Malformed)) throw error;
  }
  const upper = records.slice(answerCount + authorityCount).find(({ type }) => type === 'OPT')?.upperRcode ?? 0;
  const rcode = (upper << 4) | (flags & 15);
  return {
    id,
    isAnswer: (flags & FLAG.answer) !== 0,
    opcode: (flags >> 11) & 15,
    authoritative: (flags & FLAG.authoritative) !== 0,
    truncated,
    rcode: RCODES[rcode] ?? `RCODE${rcode}`,
    questions,
    answers: records.slice(0, answerCount).map(({ name, type, ttl, data }) => ({ name, type, ttl, data })),
  };
}

function readRecord(reader: Reader): Record & { readonly upperRcode: number } {
  const name = reader.name();
  const code = reader.uint16();
  const group = reader.uint16();
  const ttl = reader.uint16() * 0x10000 + reader.uint16();
  const type = typeName(code);
  const data = reader.data(reader.uint16(), (inner, length) => readData(type, inner, length));
  // OPT has something else there (RFC 6891 §6.1.2).
  return { name, type: type === 'OPT' ? type : ofClass(group, type), ttl, data, upperRcode: ttl >>> 24 };
}

/** RDATA as text. */
function readData(type: string, reader: Reader, length: number): string {
  switch (type) {
    case 'A':
      if (length !== 4) throw new Malformed(`an A record of ${length} octets`);
      return Array.from(reader.octets(4)).join('.');
    case 'AAAA':
      if (length !== 16) throw new Malformed(`an AAAA record of ${length} octets`);
      return canonicalV6(Array.from({ length: 8 }, () => reader.uint16().toString(16)).join(':'));
    case 'NS':
    case 'CNAME':
    case 'PTR':
      return reader.name();
    case 'MX':
      return `${reader.uint16()} ${reader.name()}`;
    case 'SRV':
      return `${reader.uint16()} ${reader.uint16()} ${reader.uint16()} ${reader.name()}`;
    case 'SOA': {
      const names = `${reader.name()} ${reader.name()}`;
      const numbers = [0, 0, 0, 0, 0].map(() => reader.uint16() * 0x10000 + reader.uint16());
      return `${names} ${numbers.join(' ')}`;
    }
    case 'TXT':
      // RFC 7208 §3.3 and all who use it: the strings of one record are one text.
      return reader.strings();
    case 'CAA': {
      const flags = reader.octets(1)[0] ?? 0;
      const tag = latin1(reader.octets(reader.octets(1)[0] ?? 0));
      return `${flags} ${tag} "${latin1(reader.rest())}"`;
    }
    default: {
      const octets = reader.rest();
      const hex = Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
      return `\\# ${octets.length} ${hex}`.trimEnd();
    }
  }
}

/** The text of an expected answer, spelt as `decodeMessage` spells it. */
export function canonicalData(type: TypeName, text: string): string {
  const trimmed = text.trim().replaceAll(/\s+/g, ' ');
  switch (type) {
    case 'TXT':
      return STRINGS.test(trimmed) ? unquoted(text) : text;
    case 'CAA':
      return text;
    case 'AAAA':
      return canonicalV6(trimmed);
    case 'NAPTR':
    case 'DS':
    case 'DNSKEY':
    case 'HTTPS': {
      const [mark, length, ...hex] = trimmed.toLowerCase().split(' ');
      return `${mark} ${length} ${hex.join('')}`.trimEnd();
    }
    default:
      return trimmed
        .toLowerCase()
        .split(' ')
        .map((word) => (word.length > 1 ? word.replace(/\.$/, '') : word))
        .join(' ');
  }
}

/** RFC 1035 §5.1: one or several strings in quotes, where a backslash takes what it precedes as it is, or as an octet's number. */
const STRINGS = /^"(?:[^"\\]|\\.)*"(?: ?"(?:[^"\\]|\\.)*")*$/;

/** What the strings say, as one text. */
function unquoted(strings: string): string {
  const parts = strings.match(/"(?:[^"\\]|\\.)*"/g) ?? [];
  const plain = (part: string) =>
    part
      .slice(1, -1)
      .replace(/\\(\d{3}|.)/g, (_, said: string) => (said.length === 3 ? String.fromCharCode(Number(said)) : said));
  return parts.map(plain).join('');
}

/** RFC 3597 §5, for types whose data is not known here. */
const UNKNOWN = [/^\\# \d{1,5}(?: [0-9a-f]+)*$/i, '\\# 4 c0000201'] as const;

/** How records are spelt. Of the other types nothing is said: any text may be their data. */
const SPELLING: { readonly [T in TypeName]?: readonly [pattern: RegExp, example: string] } = {
  NAPTR: UNKNOWN,
  DS: UNKNOWN,
  DNSKEY: UNKNOWN,
  HTTPS: UNKNOWN,
  A: [/^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/, '192.0.2.1'],
  AAAA: [/^[0-9a-f:]*:[0-9a-f:.]*$/i, '2001:db8::1'],
  NS: [/^\S+$/, 'ns1.example.org'],
  CNAME: [/^\S+$/, 'www.example.org'],
  PTR: [/^\S+$/, 'www.example.org'],
  MX: [/^\d{1,5} \S+$/, '10 mx1.example.org'],
  SRV: [/^(?:\d{1,5} ){3}\S+$/, '0 5 443 www.example.org'],
  SOA: [/^\S+ \S+(?: \d+){5}$/, 'ns1.example.org admin.example.org 1 7200 900 1209600 300'],
  CAA: [/^\d{1,3} [a-z0-9]+ ".*"$/i, '0 issue "ca.example.org"'],
};

/** Why an expected answer can not be the data of a record of this type, or null. */
export function dataComplaint(type: TypeName, text: string): string | null {
  const [pattern, example] = SPELLING[type] ?? [];
  const data = text.trim().replaceAll(/\s+/g, ' ');
  const fits = pattern === undefined || (pattern.test(data) && (type !== 'AAAA' || URL.canParse(`http://[${data}]/`)));
  return fits ? null : `“${data}” is no data of ${type}, write '${example ?? ''}'`;
}

/** RFC 5952, as the URL standard prints hosts; what is no address stays as it is. */
function canonicalV6(text: string): string {
  const url = `http://[${text}]/`;
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : text.toLowerCase();
}

function typeName(code: number): string {
  if (code === TYPE_OPT) return 'OPT';
  return Object.entries(TYPES).find(([, value]) => value === code)?.[0] ?? `TYPE${code}`;
}

/** Of another class than the Internet's a type is another one. */
function ofClass(code: number, type: string): string {
  return code === CLASS_IN ? type : `CLASS${code} ${type}`;
}

function uint16(value: number): readonly [number, number] {
  return [value >> 8, value & 0xff];
}

function latin1(octets: Uint8Array): string {
  return String.fromCharCode(...octets);
}

/** Reads forward through a message, never beyond its end. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #end: number;

  constructor(bytes: Uint8Array) {
    if (bytes.length < HEADER_BYTES) throw new Malformed(`${bytes.length} octets are no DNS message`);
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  octets(count: number): Uint8Array {
    if (this.#at + count > this.#end) throw new Malformed(`it ends in the middle, after ${this.#bytes.length} octets`);
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  uint16(): number {
    const [high = 0, low = 0] = this.octets(2);
    return (high << 8) | low;
  }

  /** What is left of the record's data, or of the message. */
  rest(): Uint8Array {
    return this.octets(this.#end - this.#at);
  }

  /** All character strings that are left (RFC 1035 §3.3), joined. */
  strings(): string {
    let text = '';
    while (this.#at < this.#end) text += latin1(this.octets(this.octets(1)[0] ?? 0));
    return text;
  }

  /** `read` sees no more than `length` octets from here, and must take them all. */
  data<T>(length: number, read: (reader: Reader, length: number) => T): T {
    const outer = this.#end;
    const end = this.#at + length;
    if (end > outer) throw new Malformed(`a record of ${length} octets does not fit into it`);
    this.#end = end;
    const value = read(this, length);
    if (this.#at !== end) throw new Malformed('the data of a record is longer than its type allows');
    this.#end = outer;
    return value;
  }

  /**
   * RFC 1035 §4.1.4. A pointer must point before the label that it stands in, so that each one makes the rest shorter: no
   * message can make this loop.
   */
  name(): string {
    const labels: string[] = [];
    let length = 1;
    let at = this.#at;
    let limit = this.#end;
    let jumped = false;
    let least = at;
    for (;;) {
      const size = at < limit ? (this.#bytes[at] ?? 0) : null;
      if (size === null) throw new Malformed('it ends in the middle of a name');
      if (size >= 0xc0) {
        if (at + 1 >= limit) throw new Malformed('it ends in the middle of a name');
        const to = ((size & 0x3f) << 8) | (this.#bytes[at + 1] ?? 0);
        if (to >= least || to < HEADER_BYTES) throw new Malformed(`a name points to octet ${to}, from octet ${at}`);
        if (!jumped) this.#at = at + 2;
        jumped = true;
        // What stands before has been inside the message, if not inside this record.
        limit = this.#bytes.length;
        at = least = to;
        continue;
      }
      if (size > MOST.label) throw new Malformed('a label of an unknown kind');
      if (size === 0) {
        if (!jumped) this.#at = at + 1;
        return labels.length === 0 ? '.' : labels.join('.');
      }
      length += size + 1;
      if (length > MOST.name) throw new Malformed(`a name of more than ${MOST.name} octets`);
      if (at + 1 + size > limit) throw new Malformed('it ends in the middle of a name');
      labels.push(label(this.#bytes.subarray(at + 1, at + 1 + size)));
      at += 1 + size;
    }
  }
}

/** In lower case (RFC 4343); what is not printable, and dots, as in a zone file. */
function label(octets: Uint8Array): string {
  let text = '';
  for (const octet of octets) {
    const plain = octet > 0x20 && octet < 0x7f && octet !== 0x2e && octet !== 0x5c;
    text += plain ? String.fromCharCode(octet).toLowerCase() : `\\${String(octet).padStart(3, '0')}`;
  }
  return text;
}
