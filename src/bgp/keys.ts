// TCP-MD5 passwords of peers: from the configuration, or from files that are read again at each reload, so that a key can be
// changed without a word in the configuration. Called by the daemon. No key is ever part of a message.

import type { PeerConfig } from '../config/types.ts';
import { errorText } from '../lib/errors.ts';
import type { World } from '../world/world.ts';

/** By peer name. A peer with a password that is in no map cannot be talked to. */
export type Keys = ReadonlyMap<string, string>;

/** Linux, TCP_MD5SIG_MAXKEYLEN. */
const MAX_OCTETS = 80;
const MAX_FILE_BYTES = 4096;

/** What cannot be read keeps the key from `before`. Each problem is one sentence. */
export async function readKeys(
  files: World['files'],
  peers: readonly PeerConfig[],
  before: Keys,
): Promise<{ readonly keys: Keys; readonly problems: readonly string[] }> {
  const keys = new Map<string, string>();
  const problems: string[] = [];
  for (const { name, password } of peers) {
    if (password === null) continue;
    try {
      keys.set(name, password.from === 'text' ? password.text : await fromFile(files, password.path));
    } catch (error) {
      const last = before.get(name);
      if (last !== undefined) keys.set(name, last);
      const then = last === undefined ? 'no session without it' : 'the last one stays';
      problems.push(`Password of BGP peer ${name}: ${errorText(error)}; ${then}`);
    }
  }
  return { keys, problems };
}

/** Its first line. */
async function fromFile(files: World['files'], path: string): Promise<string> {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(await files.read(path, MAX_FILE_BYTES));
  const [line = '', ...rest] = text.split(/\r?\n/);
  const octets = new TextEncoder().encode(line).length;
  if (octets === 0 || octets > MAX_OCTETS) throw new Error(`${path}: a line of 1 to ${MAX_OCTETS} octets is needed`);
  if (rest.some((more) => more !== '')) throw new Error(`${path}: more than one line`);
  return line;
}
