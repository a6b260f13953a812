// What a listener demands of its callers before there is a connection: keys by their addresses (RFC 2385, RFC 5925), and our TTL.
// Between what is set and what is wanted only the difference is done, and where one address fails the others have theirs.

import type { Family } from '../../lib/address.ts';
import { equal } from '../../lib/equal.ts';
import type { AoKey, ListenerOptions } from '../world.ts';
import type { SocketOptions } from './streams.ts';

export interface ListeningSocket {
  readonly fd: number;
  readonly options: SocketOptions;
}

/** Keys that one address may have. Not whole: something failed, and nobody knows which of them are there. */
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
    const md5Left = md5.filter(
      (address) => !md5Keys.has(address) && !works(() => options.setMd5Key(fd, family, address, null)),
    );
    const aoLeft = [...ao].flatMap(([address, { keys }]) => {
      if (aoKeys.has(address) || works(() => options.changeListenerAoKeys(fd, family, address, keys, []))) return [];
      return [[address, { keys, whole: false }] as const];
    });
    const aoSet = aoWanted.map(([address, wanted]) => {
      const before = ao.get(address);
      const [remove, add] = aoDifference(before, wanted);
      const whole = works(() => options.changeListenerAoKeys(fd, family, address, remove, add));
      return [address, { keys: whole ? wanted : union(before?.keys ?? [], wanted), whole }] as const;
    });
    ao = new Map([...aoLeft, ...aoSet]);
    md5 = [...md5Left, ...md5Wanted.map(([address]) => address)];
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
  return [without(before.keys, after), without(after, before.keys)];
}

function union(before: readonly AoKey[], after: readonly AoKey[]): readonly AoKey[] {
  return [...without(before, after), ...after];
}

function without(keys: readonly AoKey[], others: readonly AoKey[]): readonly AoKey[] {
  return keys.filter((key) => !others.some((other) => equal(other, key)));
}
