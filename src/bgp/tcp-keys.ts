// What protects a peer's connections (TCP-MD5 or TCP-AO), and what a running one has to be told when it changes. Pure; peer.ts uses it.

import type { PeerConfig } from '../config/types.ts';
import { SystemError } from '../lib/errors.ts';
import { equal } from '../lib/equal.ts';
import type { AoKey, TcpOptions } from '../world/world.ts';

/** Of one peer; null: none, or not known. */
export interface TcpKeys {
  readonly md5: string | null;
  readonly ao: readonly AoKey[] | null;
}

export type KeyOptions = Pick<TcpOptions, 'md5Key' | 'aoKeys'>;

/** For each new connection. Throws ENOKEY: without its key nothing may be said to this peer. */
export function keyOptions({ password, tcpAoFile }: PeerConfig, { md5, ao }: TcpKeys): KeyOptions {
  if (password !== null && md5 === null) throw new SystemError('ENOKEY', 'TCP-MD5', 'its password is not known');
  if (tcpAoFile !== null && ao === null) throw new SystemError('ENOKEY', 'TCP-AO', 'its keys are not known');
  return { ...(md5 === null ? {} : { md5Key: md5 }), ...(ao === null ? {} : { aoKeys: ao }) };
}

/** For connections that have `before`; null: nothing changed that can change in a connection. The order of keys is a part of them. */
export function newKeyOptions(before: TcpKeys, after: TcpKeys): KeyOptions | null {
  const md5Key = before.md5 !== null && after.md5 !== null && before.md5 !== after.md5 ? after.md5 : null;
  const aoKeys = before.ao !== null && after.ao !== null && !equal(before.ao, after.ao) ? after.ao : null;
  if (md5Key === null && aoKeys === null) return null;
  return { ...(md5Key === null ? {} : { md5Key }), ...(aoKeys === null ? {} : { aoKeys }) };
}

/** `1/1`: keys that are other ones under the same ids, which a connection that has them can not be told (RFC 5925 §3.1). */
export function replacedInPlace(before: TcpKeys, after: TcpKeys): readonly string[] {
  const replaced = (after.ao ?? []).filter((key) =>
    before.ao?.some((old) => old.sendId === key.sendId && old.receiveId === key.receiveId && !equal(old, key)),
  );
  return replaced.map(({ sendId, receiveId }) => `${sendId}/${receiveId}`);
}
