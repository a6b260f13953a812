// TCP-AO keys of a peer (RFC 5925 §3.1: master key tuples) as their file has them, one a line: send id, receive id, algorithm,
// key. The first is what we ask the peer to send with. Pure; keys.ts reads the file. No key is ever part of a message.

import { errorText } from '../lib/errors.ts';
import type { AoKey } from '../world/world.ts';

/** RFC 5926 §3.2, and SHA-256, which routers have already. */
const ALGORITHMS: readonly AoKey['algorithm'][] = ['hmac-sha1', 'cmac-aes128', 'hmac-sha256'];

/** RFC 5926 §3.2: 96 bits, also of longer codes. RFC 5925 §2.2 allows what fits beside the other options of a SYN, Linux likewise. */
const MAC_BITS = { usual: 96, least: 32, most: 128 } as const;

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
  const octets = new TextEncoder().encode(key).length;
  if (octets > MAX_KEY_OCTETS) throw new Error(`the key has ${octets} octets, ${MAX_KEY_OCTETS} are the most`);
  return {
    sendId: parseId('send id', send),
    receiveId: parseId('receive id', receive),
    ...parseAlgorithm(algorithm),
    key,
  };
}

/** `hmac-sha1`, or with the bits of its code: `hmac-sha256-128`. What is wrong is not shown here either. */
function parseAlgorithm(word: string): Pick<AoKey, 'algorithm' | 'macLength'> {
  const algorithm = ALGORITHMS.find((name) => word === name || word.startsWith(`${name}-`));
  if (algorithm === undefined) throw new Error(`algorithm is none of ${ALGORITHMS.join(', ')}`);
  const bits = word === algorithm ? `${MAC_BITS.usual}` : word.slice(algorithm.length + 1);
  const { least, most } = MAC_BITS;
  if (!/^\d{2,3}$/.test(bits) || Number(bits) % 8 !== 0 || Number(bits) < least || Number(bits) > most)
    throw new Error(`${algorithm} can be followed by -${least} to -${most}, in steps of 8 bits`);
  return { algorithm, macLength: Number(bits) / 8 };
}

/** What is wrong is not shown: in a file with other columns it may be the key. */
function parseId(what: string, word = ''): number {
  if (!/^\d{1,3}$/.test(word) || Number(word) > 255) throw new Error(`${what} is not a number from 0 to 255`);
  return Number(word);
}
