// Secrets of peers: TCP-MD5 passwords, TCP-AO keys and BFD keys, from the configuration or from files that are read again at each
// reload, so that a key can be changed without a word in the configuration. Called by the daemon. No key is ever part of a message.

import type { KeySource, PeerConfig } from '../config/types.ts';
import { errorText } from '../lib/errors.ts';
import { bfdKeyComplaint, passwordComplaint } from '../lib/secrets.ts';
import type { AoKey, World } from '../world/world.ts';
import { parseAoKeys } from './ao-keys.ts';

/** By peer name. What a peer needs and is in no map is not known: the peer cannot be talked to. */
export type Keys = ReadonlyMap<string, string>;

export interface PeerKeys {
  readonly md5: Keys;
  readonly ao: ReadonlyMap<string, readonly AoKey[]>;
  readonly bfd: Keys;
}

export const NO_KEYS: PeerKeys = { md5: new Map(), ao: new Map(), bfd: new Map() };

const MAX_FILE_BYTES = 65_536;

/** What cannot be read keeps the key from `before`. Each problem is one sentence. */
export async function readKeys(
  files: World['files'],
  peers: readonly PeerConfig[],
  before: PeerKeys,
): Promise<{ readonly keys: PeerKeys; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  /** `otherwise`: what a peer has to do without. */
  const readAll = async <Key>(
    what: string,
    otherwise: string,
    last: ReadonlyMap<string, Key>,
    read: (peer: PeerConfig) => Promise<Key> | null,
  ): Promise<ReadonlyMap<string, Key>> => {
    const found = new Map<string, Key>();
    for (const peer of peers) {
      const { name } = peer;
      const kept = last.get(name);
      try {
        const key = await read(peer);
        if (key !== null) found.set(name, key);
      } catch (error) {
        if (kept !== undefined) found.set(name, kept);
        const then = kept === undefined ? otherwise : 'the last one stays';
        problems.push(`${what} of BGP peer ${name}: ${errorText(error)}; ${then}`);
      }
    }
    return found;
  };
  const text = async (path: string) =>
    new TextDecoder('utf-8', { fatal: true }).decode(await files.read(path, MAX_FILE_BYTES));
  const secret = async (source: KeySource, check: (key: string) => string | null) =>
    source.from === 'text' ? source.text : onlyLine(await text(source.path), source.path, check);
  return {
    keys: {
      md5: await readAll('Password', 'no session without it', before.md5, ({ password }) =>
        password === null ? null : secret(password, passwordComplaint),
      ),
      ao: await readAll('TCP-AO keys', 'no session without them', before.ao, ({ tcpAoFile: path }) =>
        path === null ? null : text(path).then((lines) => parseAoKeys(lines, path)),
      ),
      bfd: await readAll('BFD key', 'no BFD session without it', before.bfd, ({ bfd }) => {
        const auth = bfd?.auth ?? null;
        return auth === null ? null : secret(auth.key, (key) => bfdKeyComplaint(key, auth.type));
      }),
    },
    problems,
  };
}

function onlyLine(text: string, path: string, check: (key: string) => string | null): string {
  const [line = '', ...rest] = text.split(/\r?\n/);
  if (rest.some((more) => more !== '')) throw new Error(`${path}: more than one line`);
  const complaint = check(line);
  if (complaint !== null) throw new Error(`${path}:1: ${complaint}`);
  return line;
}
