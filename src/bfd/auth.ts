// Authentication of control packets (RFC 5880 §6.7): simple password, keyed and meticulous keyed MD5 and SHA1. `sign` makes
// the bytes to send, `verify` judges what came. Pure: the hash functions come from the world. Called by engine.ts.

import { AUTH_ROWS, type AuthSection, type Discard, encodePacket, type Packet } from './packet.ts';
import type { AuthType, BfdAuth } from './types.ts';

export type Hash = 'md5' | 'sha1';
export type Digest = (hash: Hash, bytes: Uint8Array) => Uint8Array;

/** Their sequence number grows with every packet (RFC 5880 §6.7.3, §6.7.4). */
const METICULOUS: ReadonlySet<AuthType> = new Set(['meticulous-md5', 'meticulous-sha1']);

function hashOf(type: Exclude<AuthType, 'simple'>): Hash {
  return type === 'md5' || type === 'meticulous-md5' ? 'md5' : 'sha1';
}

/** RFC 5880 §6.7.3: a key shorter than the digest is padded with zeros. A longer one never passes the configuration. */
function keyBytes({ type, key }: BfdAuth): Uint8Array {
  const bytes = new TextEncoder().encode(key);
  if (type === 'simple') return bytes;
  const padded = new Uint8Array(AUTH_ROWS[type].data[1]);
  padded.set(bytes.subarray(0, padded.length));
  return padded;
}

/** How many octets of key a type takes. */
export function maxKeyBytes(type: AuthType): number {
  return AUTH_ROWS[type].data[1];
}

/** `packet` as bytes, with the session's authentication. */
export function sign(packet: Packet, auth: BfdAuth | null, sequence: number, digest: Digest): Uint8Array {
  if (auth === null) return encodePacket({ ...packet, auth: null });
  const { type, keyId } = auth;
  const section: AuthSection = {
    type,
    keyId,
    sequence: AUTH_ROWS[type].sequenced ? sequence : null,
    data: keyBytes(auth),
  };
  const bytes = encodePacket({ ...packet, auth: section });
  if (type === 'simple') return bytes;
  // The digest is over the packet with the key in its place.
  bytes.set(digest(hashOf(type), bytes), bytes.length - section.data.length);
  return bytes;
}

/**
 * Is this packet, whose bytes are `bytes`, the other side's? `lastSequence` is bfd.RcvAuthSeq, null when not known. Answers
 * with the sequence number to remember (null: there are none), or why the packet is thrown away.
 */
export function verify(
  packet: Packet,
  bytes: Uint8Array,
  auth: BfdAuth | null,
  lastSequence: number | null,
  digest: Digest,
): Discard | { readonly sequence: number | null } {
  const section = packet.auth;
  if (auth === null) return section === null ? { sequence: null } : 'auth-unexpected';
  if (section === null) return 'auth-missing';
  const { type } = auth;
  if (section.type !== type) return 'auth-type';
  if (section.keyId !== auth.keyId) return 'auth-key-id';
  const key = keyBytes(auth);
  if (type === 'simple') return same(section.data, key) ? { sequence: null } : 'auth-digest';
  const sequence = section.sequence ?? 0;
  if (lastSequence !== null) {
    // RFC 5880 §6.7.3, §6.7.4: a window of three times Detect Mult in a circular space.
    const ahead = (sequence - lastSequence) >>> 0;
    if (ahead < (METICULOUS.has(type) ? 1 : 0) || ahead > 3 * packet.multiplier) return 'auth-sequence';
  }
  const length = bytes[3] ?? 0;
  // A copy; `slice` of a Buffer would be none.
  const keyed = Uint8Array.from(bytes.subarray(0, length));
  keyed.set(key, length - key.length);
  return same(section.data, digest(hashOf(type), keyed)) ? { sequence } : 'auth-digest';
}

/** In a time that does not tell where the difference is. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (const [i, byte] of a.entries()) difference |= byte ^ (b[i] ?? 0);
  return difference === 0;
}
