// Socket addresses and numbers of Linux's that the files beside this one hand to libc: bits/socket.h, netinet/in.h.

import { isIP } from 'node:net';
import type { Libc } from '../../ffi/libc.ts';
import { addressBytes, type Family, familyOf, printAddress, printEndpoint } from '../../lib/address.ts';
import { SystemError } from '../../lib/errors.ts';
import type { Endpoint } from '../world.ts';

/** Where IPv4 and IPv6 have an option each. */
export type SocketOption = Readonly<Record<Family, readonly [level: number, name: number]>>;

export const AF = { 4: 2, 6: 10 } as const;
/** netinet/in.h */
export const IPPROTO = { ip: 0, tcp: 6, ipv6: 41 } as const;
/** asm-generic/socket.h */
export const SOL_SOCKET = 1;
export const SO_MARK = 36;
const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
export const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | SOCK_NONBLOCK_CLOEXEC;
export const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | SOCK_NONBLOCK_CLOEXEC;

/** IP_RECVERR, IPV6_RECVERR: keep what ICMP says of what the socket sent. */
export const RECEIVE_ERRORS: SocketOption = { 4: [0, 11], 6: [41, 25] };

/** struct sockaddr_in, struct sockaddr_in6. Throws ENODEV for a zone that is not there. */
export function socketAddress(libc: Libc, { address, port }: Endpoint): Uint8Array {
  const family = familyOf(address);
  const bytes = new Uint8Array(family === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF[family], true);
  view.setUint16(2, port);
  bytes.set(addressBytes(address), family === 4 ? 4 : 8);
  const zone = address.split('%')[1];
  if (zone !== undefined) view.setUint32(24, libc.interfaceIndex(zone), true);
  return bytes;
}

/**
 * The address of a key's owner at the beginning of `bytes`, a struct sockaddr_storage: without port and zone, and on a socket of
 * IPv6 an IPv4 address is the mapped one (RFC 4291 §2.5.5.2). Answers how many bits it has by itself.
 */
export function writeKeyAddress(bytes: Uint8Array, socketFamily: Family, address: string): number {
  const plain = addressBytes(address.split('%')[0] ?? address);
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(0, AF[socketFamily], true);
  if (socketFamily === 4) bytes.set(plain, 4);
  else if (plain.length === 16) bytes.set(plain, 8);
  else {
    bytes.fill(0xff, 18, 20);
    bytes.set(plain, 20);
  }
  return plain.length * 8;
}

/** The address in a sockaddr_in or sockaddr_in6, without a zone; null for what is neither (AF_UNSPEC). */
export function addressIn(bytes: Uint8Array): string | null {
  if (bytes.length < 2) return null;
  const family = new DataView(bytes.buffer, bytes.byteOffset).getUint16(0, true);
  if (family === AF[4] && bytes.length >= 8) return printAddress(bytes.subarray(4, 8));
  if (family === AF[6] && bytes.length >= 24) return printAddress(bytes.subarray(8, 24));
  return null;
}

/** The whole endpoint; null for what is neither. */
export function endpointIn(bytes: Uint8Array): Endpoint | null {
  const address = addressIn(bytes);
  return address === null ? null : { address, port: new DataView(bytes.buffer, bytes.byteOffset).getUint16(2) };
}

/** Throws EINVAL for what is no address or no port. */
export function familyToDial({ address, port }: Endpoint): Family {
  const refuse = (why: string) => new SystemError('EINVAL', `connect ${printEndpoint(address, port)}`, why);
  const family = isIP(address);
  if (family !== 4 && family !== 6) throw refuse('not a literal address');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw refuse('not a port');
  return family;
}

export function int32(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer);
}
