// Octets of ICMP echo (RFC 792, RFC 4443 §4) and of the errors that quote it. Pure. Used by icmp.ts.

import { type Family, printAddress } from '../../lib/address.ts';

const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
const HEADER = 8;
const PROTOCOL = { 4: 1, 6: 58 } as const;

/** What came, as far as it can be ours: a reply, or an error that quotes a request that went to `to`. */
export type Heard =
  | { readonly is: 'reply'; readonly sequence: number; readonly payload: Uint8Array }
  | {
      readonly is: 'error';
      readonly sequence: number;
      readonly to: string;
      readonly type: number;
      readonly code: number;
    };

/** `bytes` octets behind the header: the cookie, and 0, 1, 2 … For IPv6 the kernel knows the checksum, for IPv4 it is here. */
export function echoRequest(
  family: Family,
  id: number,
  sequence: number,
  cookie: Uint8Array,
  bytes: number,
): Uint8Array {
  const packet = Uint8Array.from({ length: HEADER + bytes }, (_, i) => i - HEADER);
  const view = new DataView(packet.buffer);
  packet.fill(0, 0, HEADER);
  packet[0] = ECHO[family].request;
  view.setUint16(4, id);
  view.setUint16(6, sequence);
  packet.set(cookie, HEADER);
  if (family === 4) view.setUint16(2, checksum(packet));
  return packet;
}

/** RFC 1071. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** What a ping socket reads: an ICMP message that the kernel found to be ours. */
export function readReply(family: Family, bytes: Uint8Array): Heard | null {
  if (bytes.length < HEADER || bytes[0] !== ECHO[family].reply || bytes[1] !== 0) return null;
  return { is: 'reply', sequence: uint16(bytes, 6), payload: bytes.subarray(HEADER) };
}

/** What a raw socket reads: anybody's ICMP, behind the IP header if it is IPv4. Ours have our identifier. */
export function readRaw(family: Family, bytes: Uint8Array, id: number): Heard | null {
  const message = family === 4 ? behindHeader(bytes) : bytes;
  if (message === null || message.length < HEADER) return null;
  const [type = 0, code = 0] = message;
  if (type === ECHO[family].reply) return uint16(message, 4) === id ? readReply(family, message) : null;
  const quoted = message.subarray(HEADER);
  const request = family === 4 ? behindHeader(quoted) : quoted[6] === PROTOCOL[6] ? quoted.subarray(40) : null;
  const sequence = request === null || uint16(request, 4) !== id ? null : requestIn(family, request);
  if (sequence === null) return null;
  const to = family === 4 ? quoted.subarray(16, 20) : quoted.subarray(24, 40);
  return { is: 'error', sequence, to: printAddress(to), type, code };
}

/** The sequence number of an echo request, or null if it is none. */
export function requestIn(family: Family, packet: Uint8Array): number | null {
  return packet.length < HEADER || packet[0] !== ECHO[family].request ? null : uint16(packet, 6);
}

/** What an IPv4 packet of ICMP carries. */
function behindHeader(bytes: Uint8Array): Uint8Array | null {
  const length = ((bytes[0] ?? 0) & 15) * 4;
  if (bytes.length < 20 || length < 20 || bytes[9] !== PROTOCOL[4]) return null;
  return bytes.subarray(length);
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
