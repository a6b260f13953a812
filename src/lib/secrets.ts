// What a key may be, wherever it comes from: the configuration or a file. No rule shows any part of it. Pure.

import type { AuthType } from '../bfd/types.ts';

/** RFC 2385 has no limit, Linux has: TCP_MD5SIG_MAXKEYLEN. */
const MAX_PASSWORD_OCTETS = 80;
/** RFC 5880 §4.2 to §4.4: octets of password or key. */
const MAX_BFD_KEY: Readonly<Record<AuthType, number>> = {
  simple: 16,
  md5: 16,
  'meticulous-md5': 16,
  sha1: 20,
  'meticulous-sha1': 20,
};

/** TCP-MD5. null: it is one. */
export function passwordComplaint(key: string): string | null {
  const octets = new TextEncoder().encode(key).length;
  if (octets === 0) return 'is empty';
  return octets > MAX_PASSWORD_OCTETS ? `has ${octets} octets, ${MAX_PASSWORD_OCTETS} are the most` : null;
}

/** BFD. null: it is one. */
export function bfdKeyComplaint(key: string, type: AuthType): string | null {
  const most = MAX_BFD_KEY[type];
  const fits = /^[\x21-\x7e]+$/.test(key) && key.length <= most;
  return fits ? null : `must be 1 to ${most} printable ASCII characters for ${type}`;
}
