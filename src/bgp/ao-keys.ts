// TCP-AO keys of a peer (RFC 5925 §3.1: master key tuples) as their file has them, one a line: send id, receive id, algorithm,
// key. The first is what we ask the peer to send with. Pure; keys.ts reads the file. No key is ever part of a message.

import { errorText } from '../lib/errors.ts';

/** RFC 5926 §3.2, by the kernel's names. */
const AO_ALGORITHMS = { 'hmac-sha1': 'hmac(sha1)', 'cmac-aes128': 'cmac(aes128)' } as const;
type AoAlgorithm = keyof typeof AO_ALGORITHMS;

export interface AoKey {
  /** KeyIDs: in what we send, and in what the peer sends. */
  readonly sendId: number;
  readonly receiveId: number;
  readonly algorithm: AoAlgorithm;
  readonly key: string;
}

/** Linux, TCP_AO_MAXKEYLEN. */
const MAX_KEY_OCTETS = 80;

/** Throws an error that begins with `path:line: `. */
export function parseAoKeys(text: string, path: string): readonly AoKey[] {
  const keys: AoKey[] = [];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    const words = line.trim();
    if (words === '' || words.startsWith('#')) continue;
    try {
      const key = parseLine(words);
      // RFC 5925 §3.1: an id stands for one key in its direction.
      if (keys.some(({ sendId }) => sendId === key.sendId)) throw new Error(`send id ${key.sendId} is there twice`);
      if (keys.some(({ receiveId }) => receiveId === key.receiveId))
        throw new Error(`receive id ${key.receiveId} is there twice`);
      keys.push(key);
    } catch (error) {
      throw new Error(`${path}:${at + 1}: ${errorText(error)}`);
    }
  }
  if (keys.length === 0) throw new Error(`${path}: no keys`);
  return keys;
}

function parseLine(line: string): AoKey {
  const [, send, receive, algorithm = '', key] = /^(\S+)\s+(\S+)\s+(\S+)\s+(\S.*)$/.exec(line) ?? [];
  if (key === undefined) throw new Error('send id, receive id, algorithm and key are needed');
  if (!isAlgorithm(algorithm)) throw new Error(`algorithm is none of ${Object.keys(AO_ALGORITHMS).join(', ')}`);
  const octets = new TextEncoder().encode(key).length;
  if (octets > MAX_KEY_OCTETS) throw new Error(`the key has ${octets} octets, ${MAX_KEY_OCTETS} are the most`);
  return { sendId: parseId('send id', send), receiveId: parseId('receive id', receive), algorithm, key };
}

/** What is wrong is not shown: in a file with other columns it may be the key. */
function parseId(what: string, word = ''): number {
  if (!/^\d{1,3}$/.test(word) || Number(word) > 255) throw new Error(`${what} is not a number from 0 to 255`);
  return Number(word);
}

function isAlgorithm(word: string): word is AoAlgorithm {
  return Object.hasOwn(AO_ALGORITHMS, word);
}
