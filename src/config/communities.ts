// Communities as an operator writes them, to the numbers that go on the wire: RFC 1997, RFC 8092, RFC 4360. Called by peer.ts.
// Pure. Each throws a ValueError that names the word.

import { addressBytes, canonicalAddress } from '../lib/address.ts';
import { WELL_KNOWN } from '../lib/communities.ts';
import { ValueError } from './values.ts';

/** `64600:100` or a well-known name, as one number of 32 bits. */
export function readCommunity(word: string): number {
  const [, asn, value] = /^(\d{1,5}):(\d{1,5})$/.exec(word) ?? [];
  const known = (WELL_KNOWN as Readonly<Record<string, number>>)[word];
  if (known !== undefined && Object.hasOwn(WELL_KNOWN, word)) return known;
  if (asn !== undefined && Number(asn) <= 0xffff && Number(value) <= 0xffff)
    return Number(asn) * 0x10000 + Number(value);
  throw new ValueError(`“${word}” is not a community: asn:value with both up to 65535, or a well-known name`);
}

/** `64600:1:100`, three numbers of 32 bits. */
export function readLargeCommunity(word: string): readonly [number, number, number] {
  const [, a, b, c] = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(word) ?? [];
  const numbers = [Number(a), Number(b), Number(c)] as const;
  if (a !== undefined && numbers.every((number) => number <= 0xffff_ffff)) return numbers;
  throw new ValueError(`“${word}” is not a large community: three numbers up to 4294967295, as 64600:1:100`);
}

/** RFC 4360 §4, §5 and RFC 5668: route target and route origin. */
const SUBTYPES: Readonly<Record<string, number>> = { rt: 2, so: 3 };

/** `rt:64600:100`, `so:192.0.2.1:5`, or `0x` and 16 digits: eight octets as two numbers of 32 bits. */
export function readExtendedCommunity(word: string): readonly [number, number] {
  const [, high, low] = /^0x([0-9a-f]{8})([0-9a-f]{8})$/i.exec(word) ?? [];
  if (high !== undefined && low !== undefined) return [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  const [, kind = '', administrator = '', text = ''] = /^([a-z]+):([\d.]+):(\d{1,10})$/.exec(word) ?? [];
  const subtype = Object.hasOwn(SUBTYPES, kind) ? SUBTYPES[kind] : undefined;
  const value = Number(text);
  const pair = subtype === undefined ? null : extended(subtype, administrator, value);
  if (pair !== null) return pair;
  throw new ValueError(`“${word}” is not an extended community: rt:asn:number, so:address:number, or 0x and 16 digits`);
}

/** Types 0, 1 and 2: an AS number of two octets leaves four to the value, an address or a longer AS number two. */
function extended(subtype: number, administrator: string, value: number): readonly [number, number] | null {
  const address = administrator.includes('.') ? canonicalAddress(administrator) : null;
  if (address !== null) {
    const [a = 0, b = 0, c = 0, d = 0] = addressBytes(address);
    return value > 0xffff ? null : [0x0100_0000 + subtype * 0x10000 + a * 0x100 + b, (c * 0x100 + d) * 0x10000 + value];
  }
  const asn = Number(administrator);
  if (!/^\d{1,10}$/.test(administrator) || asn > 0xffff_ffff) return null;
  if (asn <= 0xffff) return value > 0xffff_ffff ? null : [subtype * 0x10000 + asn, value];
  if (value > 0xffff) return null;
  return [0x0200_0000 + subtype * 0x10000 + Math.floor(asn / 0x10000), (asn % 0x10000) * 0x10000 + value];
}
