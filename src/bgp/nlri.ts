// Prefixes on the wire (RFC 4271 §4.3, RFC 4760 §5): a length in bits and as many octets as it needs. A field of
// prefixes is validated and counted without being unfolded, so that a router that leaks its whole table to us costs
// nothing.

import { type Family, printAddress } from '../lib/address.ts';
import { Reader, Writer } from '../lib/bytes.ts';
import { addressBits } from './constants.ts';
import { ProtocolError } from './notification.ts';

/** A validated field of prefixes of one family. `bytes` is a view into the message: unfold it before the next one. */
export interface Nlri {
  readonly family: Family;
  readonly bytes: Uint8Array;
  readonly count: number;
}

export interface Prefix {
  readonly address: string;
  readonly length: number;
}

export const NO_NLRI: Nlri = { family: 4, bytes: new Uint8Array(), count: 0 };

/** Take the rest of `reader` as prefixes. RFC 7606 §5.3: a field that cannot be parsed resets the session. */
export function decodeNlri(reader: Reader, family: Family): Nlri {
  const bytes = reader.bytes(reader.left);
  let count = 0;
  for (let at = 0; at < bytes.length; count++) {
    const bits = bytes[at] ?? 0;
    if (bits > addressBits(family)) throw new ProtocolError('updateBadNlri', `prefix length ${bits}`);
    at += 1 + Math.ceil(bits / 8);
    if (at > bytes.length) throw new ProtocolError('updateBadNlri', 'prefix is cut off');
  }
  return { family, bytes, count };
}

/** Every prefix of a field. Bits beyond the length are irrelevant (RFC 4271 §4.3) and come back as zero. */
export function* prefixes(nlri: Nlri): Generator<Prefix> {
  const reader = new Reader(nlri.bytes);
  while (reader.left > 0) {
    const length = reader.u8();
    const address = new Uint8Array(addressBits(nlri.family) / 8);
    address.set(reader.bytes(Math.ceil(length / 8)));
    const last = length >> 3;
    if (length % 8 !== 0) address[last] = (address[last] ?? 0) & (0xff << (8 - (length % 8)));
    yield { address: printAddress(address), length };
  }
}

/** `192.0.2.0/24`; a host route is written as its address alone. */
export function printPrefix(prefix: Prefix, family: Family): string {
  return prefix.length === addressBits(family) ? prefix.address : `${prefix.address}/${prefix.length}`;
}

/** Append one prefix: `address` is the 4 or 16 octets, of which as many are written as `length` needs. */
export function encodePrefix(writer: Writer, address: Uint8Array, length: number): void {
  writer.u8(length).bytes(address.subarray(0, Math.ceil(length / 8)));
}
