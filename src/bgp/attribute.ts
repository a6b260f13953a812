// Path attributes, one row each, decode beside encode. A new attribute is a member of `Attributes` and a row. What a
// malformed one does to its UPDATE is the row's business too, in the words of RFC 7606.

import { printAddress, addressBytes, type Family } from '../lib/address.ts';
import { Reader, Truncated, Writer } from '../lib/bytes.ts';
import type { ExtendedCommunity } from './community.ts';
import { AS_TRANS, afiOf, FLAG, familyOfAfi, SAFI_UNICAST } from './constants.ts';
import { decodeNlri, type Nlri } from './nlri.ts';
import { ProtocolError } from './notification.ts';

export type Origin = 'igp' | 'egp' | 'incomplete';

export interface AsSegment {
  readonly is: 'set' | 'sequence' | 'confed-sequence' | 'confed-set';
  readonly as: readonly number[];
}

export interface Aggregator {
  readonly as: number;
  readonly address: string;
}

export interface MpReach {
  readonly nextHop: string;
  /** RFC 2545 §3: the second address of a next hop of 32 octets. */
  readonly linkLocal: string | null;
  readonly nlri: Nlri;
}

export interface UnknownAttribute {
  readonly code: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

export interface Attributes {
  readonly origin?: Origin;
  readonly asPath?: readonly AsSegment[];
  readonly nextHop?: string;
  readonly med?: number;
  readonly localPref?: number;
  readonly atomicAggregate?: true;
  readonly aggregator?: Aggregator;
  /** RFC 1997, each `(asn << 16 | value)`. */
  readonly communities?: readonly number[];
  /** RFC 4456 §8 */
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  readonly mpReach?: MpReach;
  /** MP_REACH_NLRI of a family that was not negotiated: its prefixes are there, and not for us (RFC 4760 §8). */
  readonly foreignReach?: true;
  readonly mpUnreach?: Nlri;
  readonly as4Path?: readonly AsSegment[];
  readonly as4Aggregator?: Aggregator;
  /** RFC 4360 §2, the eight octets of each as two numbers of 32 bits: community.ts knows the kinds. */
  readonly extendedCommunities?: readonly ExtendedCommunity[];
  /** RFC 8092, three numbers each. */
  readonly largeCommunities?: readonly (readonly [number, number, number])[];
  /** Optional ones without a row, as they came. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** What the session says about how attributes are written. `Negotiated` is one. */
export interface AttributeContext {
  readonly as4: boolean;
  readonly internal: boolean;
  readonly families: readonly Family[];
  /** IPv4 prefixes may have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop?: boolean;
}

/** RFC 7606 §2, weakest first. A `reset` is a thrown ProtocolError. */
export type Treatment = 'discard' | 'treat-as-withdraw';

export interface Problem {
  readonly treatment: Treatment;
  /** Type of the attribute that is meant; null where there is none, or it cannot be told. */
  readonly code: number | null;
  readonly text: string;
}

type Known = Required<Omit<Attributes, 'unknown' | 'foreignReach'>>;
type Name = keyof Known;

interface Row<Value> {
  readonly code: number;
  readonly title: string;
  /** Optional and transitive bits. */
  readonly flags: number;
  /** Treatment when malformed (RFC 7606 §7); `reset` where prefixes cannot be found any more. */
  readonly malformed: Treatment | 'reset';
  /** Not for eBGP (RFC 7606 §7.5, §7.9, §7.10). */
  readonly internalOnly?: true;
  /** Only from a peer that writes AS numbers in two octets (RFC 6793 §4.1). */
  readonly twoOctetOnly?: true;
  /** Written with a two-octet length whatever its size, so that the room that it takes is known beforehand. */
  readonly extendedLength?: true;
  /** null: nothing of ours, e.g. a family that this speaker does not have. Throws Malformed, Truncated. */
  decode(reader: Reader, context: AttributeContext): Value | null;
  encode(writer: Writer, value: Value, context: AttributeContext): void;
}

class Malformed extends Error {}

export const MP_UNREACH_CODE = 15;

const WELL_KNOWN = FLAG.transitive;
const OPTIONAL = FLAG.optional;
const OPTIONAL_TRANSITIVE = FLAG.optional | FLAG.transitive;

const ORIGINS: readonly Origin[] = ['igp', 'egp', 'incomplete'];
const SEGMENTS: readonly (AsSegment['is'] | undefined)[] = [
  undefined,
  'set',
  'sequence',
  'confed-sequence',
  'confed-set',
];

const rows: { readonly [N in Name]: Row<Known[N]> } = {
  origin: {
    code: 1, // RFC 4271 §5.1.1
    title: 'ORIGIN',
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    decode: (reader) => {
      const value = reader.u8();
      const origin = ORIGINS[value];
      if (origin === undefined) throw new Malformed(`value ${value}`);
      return origin;
    },
    encode: (writer, origin) => writer.u8(ORIGINS.indexOf(origin)),
  },
  asPath: {
    code: 2, // RFC 4271 §5.1.2
    title: 'AS_PATH',
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    decode: (reader, { as4 }) => decodePath(reader, as4),
    encode: (writer, path, { as4 }) => encodePath(writer, path, as4),
  },
  nextHop: {
    code: 3, // RFC 4271 §5.1.3
    title: 'NEXT_HOP',
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    decode: (reader) => printAddress(reader.bytes(4)),
    encode: (writer, address) => writer.bytes(addressBytes(address)),
  },
  med: {
    code: 4, // RFC 4271 §5.1.4
    title: 'MULTI_EXIT_DISC',
    flags: OPTIONAL,
    malformed: 'treat-as-withdraw',
    decode: (reader) => reader.u32(),
    encode: (writer, value) => writer.u32(value),
  },
  localPref: {
    code: 5, // RFC 4271 §5.1.5
    title: 'LOCAL_PREF',
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    internalOnly: true,
    decode: (reader) => reader.u32(),
    encode: (writer, value) => writer.u32(value),
  },
  atomicAggregate: {
    code: 6, // RFC 4271 §5.1.6
    title: 'ATOMIC_AGGREGATE',
    flags: WELL_KNOWN,
    malformed: 'discard',
    decode: () => true,
    encode: () => {},
  },
  aggregator: {
    code: 7, // RFC 4271 §5.1.7
    title: 'AGGREGATOR',
    flags: OPTIONAL_TRANSITIVE,
    malformed: 'discard',
    decode: (reader, { as4 }) => ({ as: as4 ? reader.u32() : reader.u16(), address: printAddress(reader.bytes(4)) }),
    encode: (writer, { as, address }, { as4 }) => {
      if (as4) writer.u32(as);
      else writer.u16(as > 0xffff ? AS_TRANS : as);
      writer.bytes(addressBytes(address));
    },
  },
  communities: {
    code: 8, // RFC 1997
    title: 'COMMUNITIES',
    flags: OPTIONAL_TRANSITIVE,
    malformed: 'treat-as-withdraw',
    decode: (reader) => many(reader, () => reader.u32()),
    encode: (writer, values) => values.forEach((value) => writer.u32(value)),
  },
  originatorId: {
    code: 9, // RFC 4456 §8, RFC 7606 §7.9
    title: 'ORIGINATOR_ID',
    flags: OPTIONAL,
    malformed: 'treat-as-withdraw',
    internalOnly: true,
    decode: (reader) => printAddress(reader.bytes(4)),
    encode: (writer, address) => writer.bytes(addressBytes(address)),
  },
  clusterList: {
    code: 10, // RFC 4456 §8, RFC 7606 §7.10
    title: 'CLUSTER_LIST',
    flags: OPTIONAL,
    malformed: 'treat-as-withdraw',
    internalOnly: true,
    decode: (reader) => many(reader, () => printAddress(reader.bytes(4))),
    encode: (writer, clusters) => clusters.forEach((cluster) => writer.bytes(addressBytes(cluster))),
  },
  mpReach: {
    code: 14, // RFC 4760 §3
    title: 'MP_REACH_NLRI',
    flags: OPTIONAL,
    malformed: 'reset',
    extendedLength: true,
    decode: (reader, { families, extendedNextHop }) => {
      const family = familyOfAfi(reader.u16('AFI'), reader.u8('SAFI'));
      const nextHop = reader.bytes(reader.u8('next hop length'), 'next hop');
      reader.u8('reserved');
      // RFC 4760 §8: what was not negotiated is not for us.
      if (family === null || !families.includes(family)) return null;
      const lengths = family === 6 ? [16, 32] : extendedNextHop === true ? [4, 16, 32] : [4];
      // RFC 7606 §7.11
      if (!lengths.includes(nextHop.length)) throw new Malformed(`next hop of ${nextHop.length} octets`);
      // RFC 8950 §3: the length tells the family.
      const size = nextHop.length === 4 ? 4 : 16;
      return {
        nextHop: printAddress(nextHop.subarray(0, size)),
        linkLocal: nextHop.length > size ? printAddress(nextHop.subarray(size)) : null,
        nlri: decodeNlri(reader, family),
      };
    },
    encode: (writer, { nextHop, linkLocal, nlri }) => {
      const hops = [nextHop, ...(linkLocal === null ? [] : [linkLocal])].map(addressBytes);
      writer
        .u16(afiOf(nlri.family))
        .u8(SAFI_UNICAST)
        .u8(hops.reduce((sum, hop) => sum + hop.length, 0));
      for (const hop of hops) writer.bytes(hop);
      writer.u8(0).bytes(nlri.bytes);
    },
  },
  mpUnreach: {
    code: MP_UNREACH_CODE, // RFC 4760 §4
    title: 'MP_UNREACH_NLRI',
    flags: OPTIONAL,
    malformed: 'reset',
    extendedLength: true,
    decode: (reader, { families }) => {
      const family = familyOfAfi(reader.u16('AFI'), reader.u8('SAFI'));
      return family === null || !families.includes(family) ? null : decodeNlri(reader, family);
    },
    encode: (writer, nlri) => writer.u16(afiOf(nlri.family)).u8(SAFI_UNICAST).bytes(nlri.bytes),
  },
  extendedCommunities: {
    code: 16, // RFC 4360 §2; RFC 7606 §7.14
    title: 'EXTENDED_COMMUNITIES',
    flags: OPTIONAL_TRANSITIVE,
    malformed: 'treat-as-withdraw',
    decode: (reader) => many(reader, () => [reader.u32(), reader.u32()] as const),
    encode: (writer, values) => values.forEach((value) => value.forEach((part) => writer.u32(part))),
  },
  as4Path: {
    code: 17, // RFC 6793 §3, §6
    title: 'AS4_PATH',
    flags: OPTIONAL_TRANSITIVE,
    malformed: 'discard',
    twoOctetOnly: true,
    decode: (reader) => {
      if (reader.left === 0) throw new Malformed('empty');
      return decodePath(reader, true);
    },
    encode: (writer, path) => encodePath(writer, path, true),
  },
  as4Aggregator: {
    code: 18, // RFC 6793 §3, §6
    title: 'AS4_AGGREGATOR',
    flags: OPTIONAL_TRANSITIVE,
    malformed: 'discard',
    twoOctetOnly: true,
    decode: (reader) => ({ as: reader.u32(), address: printAddress(reader.bytes(4)) }),
    encode: (writer, { as, address }) => writer.u32(as).bytes(addressBytes(address)),
  },
  largeCommunities: {
    code: 32, // RFC 8092 §5, §6
    title: 'LARGE_COMMUNITY',
    flags: OPTIONAL_TRANSITIVE,
    malformed: 'treat-as-withdraw',
    decode: (reader) => many(reader, () => [reader.u32(), reader.u32(), reader.u32()] as const),
    encode: (writer, values) => values.forEach((value) => value.forEach((part) => writer.u32(part))),
  },
};

const byCode: ReadonlyMap<number, readonly [Name, Row<unknown>]> = new Map(
  (Object.entries(rows) as [Name, Row<unknown>][]).map(([name, row]) => [row.code, [name, row]]),
);

/** RFC 7606 §5.1 wants the multiprotocol ones first; the rest by code (RFC 4271 §5). */
const sendingOrder: readonly (readonly [Name, Row<unknown>])[] = [...byCode.values()].sort(
  ([, a], [, b]) => Number(b.malformed === 'reset') - Number(a.malformed === 'reset') || a.code - b.code,
);

/**
 * The whole Path Attributes field, which is all of `reader`. Errors that RFC 7606 lets a session survive are put into
 * `problems`, the others are thrown as ProtocolError.
 */
export function decodeAttributes(reader: Reader, context: AttributeContext, problems: Problem[]): Attributes {
  const found: { -readonly [N in keyof Attributes]: Attributes[N] } = {};
  const unknown: UnknownAttribute[] = [];
  const seen = new Set<number>();
  while (reader.left > 0) {
    const attribute = nextAttribute(reader, problems);
    if (attribute === null) break;
    const { code, flags, value } = attribute;
    const known = byCode.get(code);
    if (seen.has(code)) {
      // RFC 7606 §3 (g): a second set of prefixes is fatal, any other repetition is dropped.
      if (known?.[1].malformed === 'reset') throw new ProtocolError('updateBadAttributeList', `two ${known[1].title}`);
      problems.push({ treatment: 'discard', code, text: `attribute ${code} is repeated` });
      continue;
    }
    seen.add(code);
    if (known === undefined) {
      // RFC 4271 §6.3: who calls an attribute well-known must be understood.
      if ((flags & FLAG.optional) === 0) {
        throw new ProtocolError('updateUnknownWellKnown', `attribute ${code}`, wholeAttribute(attribute));
      }
      unknown.push({ code, flags, data: value.bytes(value.left).slice() });
      continue;
    }
    const [name, row] = known;
    const decoded = decodeOne(row, flags, value, context, problems);
    if (decoded !== null) Object.assign(found, { [name]: decoded });
    else if (name === 'mpReach' && value.left > 0) found.foreignReach = true;
  }
  return unknown.length === 0 ? found : { ...found, unknown };
}

/** RFC 4271 §6.3: the peer is shown type, length and value of what was not understood. */
function wholeAttribute({ code, flags, value }: { code: number; flags: number; value: Reader }): Uint8Array {
  const writer = new Writer();
  encodeAttribute(writer, flags, code, value.bytes(value.left), (flags & FLAG.extendedLength) !== 0);
  return writer.finish();
}

/** Header and value of the next attribute; null when the rest of the field is too short to hold one (RFC 7606 §4). */
function nextAttribute(reader: Reader, problems: Problem[]): { code: number; flags: number; value: Reader } | null {
  let code: number | null = null;
  try {
    const flags = reader.u8('attribute flags');
    code = reader.u8('attribute type');
    const length = (flags & FLAG.extendedLength) !== 0 ? reader.u16('attribute length') : reader.u8('attribute length');
    return { code, flags, value: reader.take(length, `attribute ${code}`) };
  } catch (thrown) {
    if (!(thrown instanceof Truncated)) throw thrown;
    // RFC 7606 §3 (j): routes that cannot be read cannot be treated as withdrawn.
    if (code !== null && byCode.get(code)?.[1].malformed === 'reset') {
      throw new ProtocolError('updateBadOptional', thrown.message);
    }
    problems.push({ treatment: 'treat-as-withdraw', code, text: thrown.message });
    return null;
  }
}

function decodeOne(
  row: Row<unknown>,
  flags: number,
  value: Reader,
  context: AttributeContext,
  problems: Problem[],
): unknown {
  // RFC 7606 §7.5, §7.9, §7.10: from outside it is dropped before anybody looks at it.
  if (row.internalOnly === true && !context.internal) {
    problems.push({ treatment: 'discard', code: row.code, text: `${row.title} from another AS` });
    return null;
  }
  if (row.twoOctetOnly === true && context.as4) {
    problems.push({ treatment: 'discard', code: row.code, text: `${row.title} beside four-octet AS numbers` });
    return null;
  }
  try {
    // RFC 7606 §3 (c)
    if ((flags & OPTIONAL_TRANSITIVE) !== row.flags) {
      const text = `flags 0x${flags.toString(16)}`;
      if (row.malformed !== 'reset') throw new Malformed(text);
      // Its prefixes can be found all the same.
      problems.push({ treatment: 'treat-as-withdraw', code: row.code, text: `malformed ${row.title}: ${text}` });
    }
    const decoded = row.decode(value, context);
    if (value.left > 0 && decoded !== null) throw new Malformed(`${value.left} octets too long`);
    return decoded;
  } catch (thrown) {
    if (!(thrown instanceof Malformed) && !(thrown instanceof Truncated)) throw thrown;
    const text = `malformed ${row.title}: ${thrown.message}`;
    if (row.malformed === 'reset') throw new ProtocolError('updateBadOptional', text);
    problems.push({ treatment: row.malformed, code: row.code, text });
    return null;
  }
}

export function encodeAttributes(writer: Writer, attributes: Attributes, context: AttributeContext): void {
  for (const [name, row] of sendingOrder) {
    const value = attributes[name];
    if (value === undefined) continue;
    if (row.extendedLength === true) {
      // In place: it may be all of a message.
      const at = writer
        .u8(row.flags | FLAG.extendedLength)
        .u8(row.code)
        .u16(0).length;
      row.encode(writer, value, context);
      writer.patchU16(at - 2, writer.length - at);
      continue;
    }
    const body = new Writer();
    row.encode(body, value, context);
    encodeAttribute(writer, row.flags, row.code, body.finish(), false);
  }
  for (const { flags, code, data } of attributes.unknown ?? []) encodeAttribute(writer, flags, code, data, false);
}

function encodeAttribute(writer: Writer, flags: number, code: number, data: Uint8Array, wide: boolean): void {
  if (wide || data.length > 255)
    writer
      .u8(flags | FLAG.extendedLength)
      .u8(code)
      .u16(data.length);
  else
    writer
      .u8(flags & ~FLAG.extendedLength)
      .u8(code)
      .u8(data.length);
  writer.bytes(data);
}

/** RFC 7606 §7.2: an unknown type, an empty segment, one that overruns. */
function decodePath(reader: Reader, as4: boolean): AsSegment[] {
  const path: AsSegment[] = [];
  while (reader.left > 0) {
    const type = reader.u8('segment type');
    const is = SEGMENTS[type];
    if (is === undefined) throw new Malformed(`segment type ${type}`);
    const length = reader.u8('segment length');
    if (length === 0) throw new Malformed('empty segment');
    path.push({ is, as: Array.from({ length }, () => (as4 ? reader.u32('AS') : reader.u16('AS'))) });
  }
  return path;
}

/** RFC 6793 §4.2.2: numbers that do not fit are AS_TRANS to a two-octet peer. */
function encodePath(writer: Writer, path: readonly AsSegment[], as4: boolean): void {
  for (const { is, as } of path) {
    writer.u8(SEGMENTS.indexOf(is)).u8(as.length);
    for (const number of as) {
      if (as4) writer.u32(number);
      else writer.u16(number > 0xffff ? AS_TRANS : number);
    }
  }
}

/** Values to the end of the field, at least one (RFC 7606 §7.8, RFC 8092 §6). */
function many<T>(reader: Reader, one: () => T): T[] {
  if (reader.left === 0) throw new Malformed('empty');
  const values: T[] = [];
  while (reader.left > 0) values.push(one());
  return values;
}
