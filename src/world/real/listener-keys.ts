// What a listener demands of its callers before there is a connection: keys by their addresses (RFC 2385, RFC 5925), and our TTL.
// Between what is set and what is wanted only the difference is done, and where one address fails the others have theirs.

import type { Family } from '../../lib/address.ts';
import type { AoKey, ListenerOptions } from '../world.ts';
import type { SocketOptions } from './streams.ts';

export interface ListeningSocket {
  readonly fd: number;
  readonly options: SocketOptions;
}

/** Keys of one address. Not whole: some of them could not be set, nobody knows which. */
interface AoKeysSet {
  readonly keys: readonly AoKey[];
  readonly whole: boolean;
}

/** Listener.tune of a listener at this address. `open` is not called while there is nothing to set. */
export function listenerTuning(at: string, open: () => ListeningSocket): (wanted: ListenerOptions) => void {
  const family: Family = at.includes(':') ? 6 : 4;
  let md5: readonly string[] = [];
  let ao: ReadonlyMap<string, AoKeysSet> = new Map();
  return ({ ttl, md5Keys, aoKeys }) => {
    const md5Wanted = [...md5Keys].filter(([address]) => takes(at, address));
    const aoWanted = [...aoKeys].filter(([address]) => takes(at, address));
    if (ttl === null && md5Wanted.length + md5.length + aoWanted.length + ao.size === 0) return;
    const { fd, options } = open();
    const problems: unknown[] = [];
    const works = (call: () => void): boolean => {
      try {
        call();
        return true;
      } catch (error) {
        problems.push(error);
        return false;
      }
    };
    works(() => options.setListenerTtl(fd, family, ttl));
    // An address has keys of one kind only: what goes goes before anything comes.
    for (const address of md5) if (!md5Keys.has(address)) works(() => options.setMd5Key(fd, family, address, null));
    for (const [address, { keys }] of ao)
      if (!aoKeys.has(address)) works(() => options.changeListenerAoKeys(fd, family, address, keys, []));
    ao = new Map(
      aoWanted.map(([address, keys]) => {
        const [remove, add] = aoDifference(ao.get(address), keys);
        const whole = works(() => options.changeListenerAoKeys(fd, family, address, remove, add));
        return [address, { keys, whole }] as const;
      }),
    );
    md5 = md5Wanted.map(([address]) => address);
    for (const [address, key] of md5Wanted) works(() => options.setMd5Key(fd, family, address, key));
    if (problems.length > 0) throw problems[0];
  };
}

/** Can a caller with this address come to a listener at that one? */
function takes(listener: string, caller: string): boolean {
  return listener === '::' || listener.includes(':') === caller.includes(':');
}

function aoDifference(
  before: AoKeysSet | undefined,
  after: readonly AoKey[],
): readonly [remove: readonly AoKey[], add: readonly AoKey[]] {
  if (before === undefined) return [[], after];
  if (!before.whole) return [before.keys, after];
  const missing = (keys: readonly AoKey[], key: AoKey) => !keys.some((other) => isEqual(other, key));
  return [before.keys.filter((key) => missing(after, key)), after.filter((key) => missing(before.keys, key))];
}

function isEqual(one: AoKey, other: AoKey): boolean {
  return (
    one.sendId === other.sendId &&
    one.receiveId === other.receiveId &&
    one.algorithm === other.algorithm &&
    one.macLength === other.macLength &&
    one.key === other.key
  );
}
