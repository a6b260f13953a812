// What ICMP said of a packet of ours, in words (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7, RFC 4443 §3): as Linux queues it
// for a socket (sock_extended_err, ip(7)), as a raw socket reads it, or as the error of a connection. Used by udp.ts, icmp.ts, quick-stream.ts
// and http.ts.

import type { Libc, QueuedError } from '../../ffi/libc.ts';
import type { Family } from '../../lib/address.ts';
import { SystemError } from '../../lib/errors.ts';
import { addressIn } from './socket-address.ts';

/** linux/errqueue.h */
const ORIGIN = { local: 1, icmp: 2, icmp6: 3 } as const;
/** More than a socket's buffer holds. */
const MAX_QUEUED = 4096;

export interface IcmpError {
  readonly family: Family;
  readonly type: number;
  readonly code: number;
  /** Who said it. */
  readonly from: string | null;
}

const UNREACHABLE: Readonly<Record<Family, readonly string[]>> = {
  4: [
    'network unreachable',
    'host unreachable',
    'protocol unreachable',
    'port unreachable',
    'fragmentation needed',
    'source route failed',
    'network unknown',
    'host unknown',
    'source host isolated',
    'network prohibited',
    'host prohibited',
    'network unreachable for this type of service',
    'host unreachable for this type of service',
    'communication prohibited',
    'host precedence violation',
    'precedence cut off',
  ],
  6: [
    'no route',
    'communication prohibited',
    'beyond the scope of the source address',
    'address unreachable',
    'port unreachable',
    'source address failed policy',
    'route rejects',
  ],
};

interface Words {
  readonly unreachable: number;
  readonly exceeded: number;
  readonly problem: number;
  readonly limit: string;
  readonly port: number;
  /** The last hop finds nobody with that address. */
  readonly host: number;
}

const TYPES: Readonly<Record<Family, Words>> = {
  4: { unreachable: 3, exceeded: 11, problem: 12, limit: 'TTL exceeded', port: 3, host: 1 },
  6: { unreachable: 1, exceeded: 3, problem: 4, limit: 'hop limit exceeded', port: 4, host: 3 },
};

/**
 * What an ICMP error says of its packet: ECONNREFUSED for a port where nothing listens, EHOSTUNREACH for all else. Null for what
 * says nothing of it: that it was too long the kernel has learned (RFC 1191), and the next one will do.
 */
export function icmpError(error: IcmpError, call: string, isOwn: (address: string) => boolean): SystemError | null {
  const { family, type, code, from } = error;
  const types = TYPES[family];
  if (type === types.unreachable) {
    if (family === 4 && code === 4) return null;
    const words = UNREACHABLE[family][code] ?? `unreachable (code ${code})`;
    const errno = code === types.port ? 'ECONNREFUSED' : 'EHOSTUNREACH';
    // Our own kernel gave up on ARP or neighbour discovery.
    const nobody = code === types.host && from !== null && isOwn(from);
    return new SystemError(errno, call, nobody ? 'no neighbour answers for this address' : said(words, from));
  }
  if (type === types.exceeded) {
    return new SystemError('EHOSTUNREACH', call, said(code === 0 ? types.limit : 'reassembly took too long', from));
  }
  if (type === types.problem) return new SystemError('EHOSTUNREACH', call, said('parameter problem', from));
  return null;
}

/**
 * What connect(2) says of this host when it says it at once, but of an ICMP error when it comes later: Linux makes these codes of some
 * (icmp_err_convert in net/ipv4/icmp.c, tab_unreach in net/ipv6/icmp.c), and EHOSTUNREACH of most.
 */
const OF_CONNECTING: ReadonlyMap<string, string> = new Map([
  // RFC 792 code 0, RFC 1122 codes 6, 9 and 11; RFC 4443 code 0.
  ['ENETUNREACH', 'ICMP network unreachable'],
  // RFC 4443 codes 1, 5 and 6.
  ['EACCES', 'ICMP communication prohibited'],
  // RFC 792 code 5: EOPNOTSUPP, which is the same number.
  ['ENOTSUP', 'ICMP source route failed'],
]);

/** Why a TCP connection that was under way did not come about: EHOSTUNREACH where the network said no. */
export function refusalOf(error: SystemError): SystemError {
  const words = OF_CONNECTING.get(error.code);
  return words === undefined ? error : new SystemError('EHOSTUNREACH', error.call, words);
}

/**
 * Why this host did not even try: the error of connect(2), or of a datagram that was not sent, when it comes at once. EHOSTUNREACH is
 * then a route of type `unreachable` (ip-route(8)), no word of the server, and becomes ENETUNREACH.
 */
export function ownRefusal(error: SystemError): SystemError {
  return error.code === 'EHOSTUNREACH'
    ? new SystemError('ENETUNREACH', error.call, 'this host has an unreachable route to it')
    : error;
}

function said(words: string, from: string | null): string {
  return from === null ? `ICMP ${words}` : `ICMP ${words}, says ${from}`;
}

/** One error of a socket's queue; `local` is an errno of this host. */
export type SocketError =
  | { readonly is: 'icmp'; readonly icmp: IcmpError; readonly queued: QueuedError }
  | { readonly is: 'local'; readonly code: string; readonly queued: QueuedError };

/** Empties the queue of a socket with IP_RECVERR. While it is not empty, the event loop would be woken again and again. */
export function takeErrors(libc: Libc, fd: number): readonly SocketError[] {
  const errors: SocketError[] = [];
  for (let i = 0; i < MAX_QUEUED; i++) {
    const queued = libc.takeError(fd);
    if (queued === null) break;
    const error = decode(libc, queued);
    if (error !== null) errors.push(error);
  }
  return errors;
}

/** struct sock_extended_err { u32 ee_errno; u8 ee_origin, ee_type, ee_code, ee_pad; u32 ee_info, ee_data; }, then the offender. */
function decode(libc: Libc, queued: QueuedError): SocketError | null {
  const { extended } = queued;
  if (extended.length < 16) return null;
  const view = new DataView(extended.buffer, extended.byteOffset);
  const origin = extended[4];
  if (origin === ORIGIN.local) return { is: 'local', code: libc.errnoName(view.getUint32(0, true)), queued };
  if (origin !== ORIGIN.icmp && origin !== ORIGIN.icmp6) return null;
  const family = origin === ORIGIN.icmp ? 4 : 6;
  const from = addressIn(extended.subarray(16));
  return { is: 'icmp', icmp: { family, type: extended[5] ?? 0, code: extended[6] ?? 0, from }, queued };
}
