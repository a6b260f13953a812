// TCP-AO (RFC 5925) as Linux has it since 6.7, where it was built with CONFIG_TCP_AO: the keys of a socket, by setsockopt(2). Facts
// from linux/tcp.h and Documentation/networking/tcp_ao.rst. Called by socket-options.ts.

import type { Libc } from '../../ffi/libc.ts';
import type { Family } from '../../lib/address.ts';
import { SystemError } from '../../lib/errors.ts';
import type { AoKey } from '../world.ts';
import { IPPROTO, writeKeyAddress } from './socket-address.ts';

const TCP_AO = { addKey: 38, deleteKey: 39, info: 40, getKeys: 41 } as const;

/** Where a field of a structure is, and how many octets it has. */
type Field = readonly [at: number, octets: number];

/**
 * struct tcp_ao_add, tcp_ao_del, tcp_ao_info_opt, tcp_ao_getsockopt. All but `info` begin with a struct sockaddr_storage. What is
 * not named here stays zero.
 */
const ADD = {
  octets: 288,
  fields: {
    algorithm: [128, 64],
    flags: [196, 4],
    prefix: [202, 1],
    sendId: [203, 1],
    receiveId: [204, 1],
    macLength: [205, 1],
    keyLength: [207, 1],
    key: [208, 80],
  },
} as const;
const DELETE = {
  octets: 144,
  fields: { flags: [132, 4], prefix: [138, 1], sendId: [139, 1], receiveId: [140, 1] },
} as const;
const INFO = { octets: 48, fields: { flags: [0, 4], askedId: [7, 1] } } as const;
const LISTED = {
  octets: 304,
  fields: { count: [272, 4], flags: [276, 2], sendId: [278, 1], receiveId: [279, 1] },
} as const;

/** Bits of the fields `flags`. */
const ADD_FLAG = { current: 1, asked: 2 } as const;
const DELETE_FLAG = { unwaited: 4 } as const;
const INFO_FLAG = { asked: 2, required: 4 } as const;
const LIST_FLAG = { current: 1, all: 4 } as const;

/** RFC 5925 §2.2: an id is an octet, so a connection has no more keys. */
const MOST_KEYS = 256;

/** The kernel's names: crypto algorithms, and one of its own for RFC 5926 §3.1.1.2. */
const ALGORITHM: Readonly<Record<AoKey['algorithm'], string>> = {
  'hmac-sha1': 'hmac(sha1)',
  'cmac-aes128': 'cmac(aes128)',
  'hmac-sha256': 'hmac(sha256)',
};

/** Which key, in its two directions. */
export type AoIds = Pick<AoKey, 'sendId' | 'receiveId'>;

/** `current`: what this end sends with, because the other one asks for it. */
export interface ListedKey extends AoIds {
  readonly current: boolean;
}

/** Whose keys, and on which socket; `socketFamily` 6 with an IPv4 address: a socket of IPv6 that talks IPv4. */
export interface AoSocket {
  readonly fd: number;
  readonly socketFamily: Family;
  readonly address: string;
}

/**
 * Make these the keys of a connection, or of a socket that will be one. As RFC 5925 §7.3 has it: what is new comes first, then the
 * other side is asked to send with the first, then what is old goes. Throws what TcpOptions.aoKeys says, and EISCONN for a
 * connection that began without TCP-AO.
 */
export function setAoKeys(libc: Libc, { fd, ...peer }: AoSocket, keys: readonly AoKey[]): void {
  const present = listAoKeys(libc, fd);
  const problems: SystemError[] = [];
  const set = (option: number, bytes: Uint8Array, ids: AoIds | null) =>
    attempt(problems, ids, () => libc.setsockopt(fd, IPPROTO.tcp, option, bytes));
  const [first] = keys.filter((key, i) => {
    if (present.some((ids) => isSame(ids, key))) return true;
    const flags = present.length === 0 && i === 0 ? ADD_FLAG.current | ADD_FLAG.asked : 0;
    return set(TCP_AO.addKey, addition(peer, key, flags), key);
  });
  if (first !== undefined) set(TCP_AO.info, asking(first.receiveId), first);
  for (const ids of present) {
    if (keys.some((key) => isSame(ids, key))) continue;
    // The kernel would say the same, but only after a grace period of RCU.
    if (ids.current) problems.push(explained(new SystemError('EBUSY', 'setsockopt'), ids));
    else set(TCP_AO.deleteKey, deletion(peer, ids, 0), ids);
  }
  const [problem] = problems;
  if (problem !== undefined) throw problem;
}

/** Keys of a listener, of which connections have copies: some go, others come. Throws after all is tried. */
export function changeListenerAoKeys(
  libc: Libc,
  { fd, ...peer }: AoSocket,
  remove: readonly AoIds[],
  add: readonly AoKey[],
): void {
  const kept: SystemError[] = [];
  const refused: SystemError[] = [];
  const set = (problems: SystemError[], option: number, bytes: Uint8Array, ids: AoIds) =>
    attempt(problems, ids, () => libc.setsockopt(fd, IPPROTO.tcp, option, bytes));
  for (const ids of remove) set(kept, TCP_AO.deleteKey, deletion(peer, ids, DELETE_FLAG.unwaited), ids);
  for (const key of add) set(refused, TCP_AO.addKey, addition(peer, key, 0), key);
  // What is not there need not go.
  const problem = kept.find(({ code }) => code !== 'ENOENT' && code !== 'ENOTSUP') ?? refused[0];
  if (problem !== undefined) throw problem;
}

/** All keys of a socket. Throws ENOTSUP where there is no TCP-AO. */
export function listAoKeys(libc: Libc, fd: number): readonly ListedKey[] {
  const { octets, fields } = LISTED;
  const bytes = new Uint8Array(octets * MOST_KEYS);
  put(bytes, fields.count, MOST_KEYS);
  put(bytes, fields.flags, LIST_FLAG.all);
  try {
    // The length that the kernel asks for is that of one structure.
    libc.getsockopt(fd, IPPROTO.tcp, TCP_AO.getKeys, bytes, octets);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENOENT') return [];
    throw explained(error, null);
  }
  const count = Math.min(take(bytes, fields.count), MOST_KEYS);
  return Array.from({ length: count }, (_, i) => {
    const one = bytes.subarray(i * octets);
    const current = (take(one, fields.flags) & LIST_FLAG.current) !== 0;
    return { sendId: take(one, fields.sendId), receiveId: take(one, fields.receiveId), current };
  });
}

type Peer = Omit<AoSocket, 'fd'>;

function addition(peer: Peer, { sendId, receiveId, algorithm, macLength, key }: AoKey, flags: number): Uint8Array {
  const { octets, fields } = ADD;
  const bytes = new Uint8Array(octets);
  const secret = new TextEncoder().encode(key);
  if (secret.length > fields.key[1]) throw new SystemError('EINVAL', 'TCP-AO', `a key of ${secret.length} octets`);
  writePeer(bytes, fields.prefix, peer);
  bytes.set(new TextEncoder().encode(ALGORITHM[algorithm]), fields.algorithm[0]);
  put(bytes, fields.flags, flags);
  put(bytes, fields.sendId, sendId);
  put(bytes, fields.receiveId, receiveId);
  put(bytes, fields.macLength, macLength);
  put(bytes, fields.keyLength, secret.length);
  bytes.set(secret, fields.key[0]);
  return bytes;
}

function deletion(peer: Peer, { sendId, receiveId }: AoIds, flags: number): Uint8Array {
  const { octets, fields } = DELETE;
  const bytes = new Uint8Array(octets);
  writePeer(bytes, fields.prefix, peer);
  put(bytes, fields.flags, flags);
  put(bytes, fields.sendId, sendId);
  put(bytes, fields.receiveId, receiveId);
  return bytes;
}

/** Of a connection: this is asked for (RNextKeyID), and nothing that is not signed is taken. Errors of ICMP are not either. */
function asking(receiveId: number): Uint8Array {
  const { octets, fields } = INFO;
  const bytes = new Uint8Array(octets);
  put(bytes, fields.flags, INFO_FLAG.asked | INFO_FLAG.required);
  put(bytes, fields.askedId, receiveId);
  return bytes;
}

/** struct sockaddr_storage with an address and no port, and all of its bits counting. */
function writePeer(bytes: Uint8Array, prefix: Field, { socketFamily, address }: Peer): void {
  put(bytes, prefix, writeKeyAddress(bytes, socketFamily, address));
}

function put(bytes: Uint8Array, [at, octets]: Field, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (octets === 4) view.setUint32(at, value, true);
  else if (octets === 2) view.setUint16(at, value, true);
  else view.setUint8(at, value);
}

function take(bytes: Uint8Array, [at, octets]: Field): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (octets === 4) return view.getUint32(at, true);
  return octets === 2 ? view.getUint16(at, true) : view.getUint8(at);
}

function isSame(one: AoIds, other: AoIds): boolean {
  return one.sendId === other.sendId && one.receiveId === other.receiveId;
}

/** Did it work? If not, the problem is there to be told later. */
function attempt(problems: SystemError[], ids: AoIds | null, call: () => void): boolean {
  try {
    call();
    return true;
  } catch (error) {
    problems.push(explained(error, ids));
    return false;
  }
}

/** What the kernel means. */
const REASONS: Readonly<Record<string, string>> = {
  EBUSY: 'the other side still asks for it',
  EEXIST: 'another key has one of its ids',
  EISCONN: 'the connection began without TCP-AO',
  EKEYREJECTED: 'there is a TCP-MD5 key too',
};

function explained(error: unknown, ids: AoIds | null): SystemError {
  const code = error instanceof SystemError ? error.code : 'EIO';
  if (code === 'ENOPROTOOPT')
    return new SystemError('ENOTSUP', 'TCP-AO', 'this kernel has none (CONFIG_TCP_AO, Linux 6.7)');
  const call = ids === null ? 'TCP-AO' : `TCP-AO key ${ids.sendId}/${ids.receiveId}`;
  return new SystemError(code, call, REASONS[code] ?? '');
}
