// Pings. See Icmp in world.ts. One socket for each family and source, whoever pings whom: a request is known again by its
// sequence number, its address, and a cookie that nobody else could guess. Linux's ping sockets (icmp(7)) need no privilege,
// but the group of this process must be in net.ipv4.ping_group_range; where it is not, CAP_NET_RAW gives a raw socket.

import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { type Libc, openLibc } from '../../ffi/libc.ts';
import { canonicalAddress, type Family, familyOf } from '../../lib/address.ts';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type { Icmp, PingOptions } from '../world.ts';
import { adopt } from './descriptors.ts';
import { systemError } from './errors.ts';
import { echoRequest, type Heard, readRaw, readReply, requestIn } from './icmp-packet.ts';
import { icmpError, ownRefusal, takeErrors } from './icmp-errors.ts';
import {
  addressIn,
  AF,
  int32,
  RECEIVE_ERRORS,
  SOCK_DGRAM_NONBLOCK_CLOEXEC,
  SOCK_RAW_NONBLOCK_CLOEXEC,
  socketAddress,
  type SocketOption,
  SOL_SOCKET,
} from './socket-address.ts';

/** Linux's numbers: linux/in.h, linux/in6.h, linux/icmp.h, linux/icmpv6.h, asm-generic/socket.h. */
const PROTOCOL = { 4: 1, 6: 58 } as const;
const TTL: SocketOption = { 4: [0, 2], 6: [41, 16] }; // IP_TTL, IPV6_UNICAST_HOPS
const FILTER: SocketOption = { 4: [255, 1], 6: [58, 1] }; // ICMP_FILTER, ICMP6_FILTER
/** What a raw socket must hear: replies and errors. */
const HEARD = { 4: [0, 3, 11, 12], 6: [1, 3, 4, 129] } as const;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;

const SYSTEM_TTL = -1;
const DEFAULT_BYTES = 56;
const LEAST_BYTES = 16;
const MOST_BYTES = 65_000;
const SEQUENCE_NUMBERS = 0x10000;
/** The replies of thousands of servers that answer at once. */
const RECEIVE_BUFFER = 4 << 20;

interface Waiting {
  readonly address: string;
  readonly cookie: Uint8Array;
  readonly sentAt: number;
  settle(result: { readonly roundTripMs: number } | SystemError): void;
}

export interface RealIcmp extends Icmp {
  close(): void;
}

/** libc is opened by the first ping. `isOwn`: is this an address of this host? */
export function createIcmp(isOwn: (address: string) => boolean, libc: () => Libc = openLibc): RealIcmp {
  const sockets = new Map<string, PingSocket>();
  return {
    ping: (options, cut) =>
      new Promise((resolve, reject) => {
        const { address, localAddress } = checked(options);
        const call = `ping ${address}`;
        if (cut.aborted) throw new SystemError('ECANCELED', call);
        const key = `${familyOf(address)} ${localAddress ?? ''}`;
        let socket = sockets.get(key);
        if (socket === undefined) {
          socket = new PingSocket(libc(), familyOf(address), localAddress, isOwn, call);
          sockets.set(key, socket);
        }
        socket.ping(options, cut, call, (result) => (result instanceof SystemError ? reject(result) : resolve(result)));
      }),
    close() {
      for (const socket of sockets.values()) socket.close();
      sockets.clear();
    },
  };
}

function checked(options: PingOptions): PingOptions {
  const { address, localAddress, bytes = DEFAULT_BYTES, ttl = 1 } = options;
  const refuse = (why: string): never => {
    throw new SystemError('EINVAL', `ping ${address}`, why);
  };
  for (const each of [address, localAddress ?? address]) {
    if (canonicalAddress(each) === null) refuse('not a literal address');
    if (familyOf(each) !== familyOf(address)) refuse(`the source ${each} is of another family`);
  }
  if (!Number.isInteger(bytes) || bytes < LEAST_BYTES || bytes > MOST_BYTES) refuse(`${bytes} octets`);
  if (!Number.isInteger(ttl) || ttl < 1 || ttl > 255) refuse(`a TTL of ${ttl}`);
  return options;
}

class PingSocket {
  readonly #libc: Libc;
  readonly #family: Family;
  readonly #isOwn: (address: string) => boolean;
  readonly #fd: number;
  readonly #socket: Socket;
  /** Of a raw socket: the identifier of our requests. A ping socket's is the kernel's business. */
  readonly #rawId: number | null;
  readonly #waiting = new Map<number, Waiting>();
  #sequence = randomBytes(2).readUInt16BE();
  #ttl = SYSTEM_TTL;

  constructor(
    libc: Libc,
    family: Family,
    source: string | undefined,
    isOwn: (address: string) => boolean,
    call: string,
  ) {
    this.#libc = libc;
    this.#family = family;
    this.#isOwn = isOwn;
    const { fd, raw } = opened(libc, family, source, call);
    this.#rawId = raw ? randomBytes(2).readUInt16BE() : null;
    // Node takes no raw socket. It is given one of UDP, which becomes the raw one before the event loop has looked at it.
    this.#fd = raw ? placeFor(libc, fd, family) : fd;
    this.#socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    this.#socket.on('error', () => this.#takeErrors());
    this.#socket.on('message', (bytes, from) => this.#onMessage(bytes, from.address));
    try {
      adopt(libc, this.#socket, this.#fd);
      if (raw) libc.replace(this.#fd, fd);
    } finally {
      if (raw) libc.close(fd);
    }
    this.#socket.unref();
  }

  close(): void {
    this.#socket.close();
  }

  ping(options: PingOptions, cut: Cut, call: string, done: Waiting['settle']): void {
    const { address, bytes = DEFAULT_BYTES, ttl = SYSTEM_TTL, timeoutMs } = options;
    const sequence = this.#freeSequence(call);
    const cookie = randomBytes(LEAST_BYTES / 2);
    const packet = echoRequest(this.#family, this.#rawId ?? 0, sequence, cookie, bytes);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let forget = (): void => {};
    const settle: Waiting['settle'] = (result) => {
      if (!this.#waiting.delete(sequence)) return;
      forget();
      clearTimeout(timer);
      if (this.#waiting.size === 0) this.#socket.unref();
      done(result);
    };
    this.#waiting.set(sequence, { address: withoutZone(address), cookie, sentAt: performance.now(), settle });
    if (this.#waiting.size === 1) this.#socket.ref();
    try {
      this.#send(packet, address, ttl);
    } catch (error) {
      settle(ownRefusal(new SystemError(systemError(error, call).code, call)));
      return;
    }
    if (timeoutMs !== undefined) {
      timer = setTimeout(() => settle(new SystemError('ETIMEDOUT', call, `no reply in ${timeoutMs} ms`)), timeoutMs);
    }
    forget = cut.onAbort(() => settle(new SystemError('ECANCELED', call)));
  }

  #send(packet: Uint8Array, address: string, ttl: number): void {
    const to = socketAddress(this.#libc, { address, port: 0 });
    if (ttl !== this.#ttl) this.#libc.setsockopt(this.#fd, ...TTL[this.#family], int32(ttl));
    this.#ttl = ttl;
    try {
      this.#libc.sendTo(this.#fd, packet, to);
    } catch (error) {
      // The error of an earlier request stands in the way of this one.
      if (this.#takeErrors() === 0) throw error;
      this.#libc.sendTo(this.#fd, packet, to);
    }
  }

  #freeSequence(call: string): number {
    if (this.#waiting.size === SEQUENCE_NUMBERS) throw new SystemError('ENOBUFS', call, 'too many pings at once');
    do this.#sequence = (this.#sequence + 1) % SEQUENCE_NUMBERS;
    while (this.#waiting.has(this.#sequence));
    return this.#sequence;
  }

  #onMessage(bytes: Uint8Array, from: string): void {
    const heard = this.#rawId === null ? readReply(this.#family, bytes) : readRaw(this.#family, bytes, this.#rawId);
    if (heard !== null) this.#onHeard(heard, withoutZone(canonicalAddress(from) ?? from));
  }

  #onHeard(heard: Heard, from: string): void {
    const waiting = this.#waiting.get(heard.sequence);
    if (waiting === undefined) return;
    if (heard.is === 'reply') {
      const ours = from === waiting.address && Buffer.compare(heard.payload.subarray(0, 8), waiting.cookie) === 0;
      if (ours) waiting.settle({ roundTripMs: Math.round((performance.now() - waiting.sentAt) * 1000) / 1000 });
    } else if (heard.to === waiting.address) {
      this.#fail(waiting, heard.type, heard.code, from);
    }
  }

  #fail(waiting: Waiting, type: number, code: number, from: string | null): void {
    const error = icmpError({ family: this.#family, type, code, from }, `ping ${waiting.address}`, this.#isOwn);
    if (error !== null) waiting.settle(error);
  }

  /** How many there were. */
  #takeErrors(): number {
    const errors = takeErrors(this.#libc, this.#fd);
    for (const error of errors) {
      if (error.is === 'local') continue;
      const sequence = requestIn(this.#family, error.queued.packet);
      const waiting = sequence === null ? undefined : this.#waiting.get(sequence);
      if (waiting === undefined || addressIn(error.queued.to) !== waiting.address) continue;
      this.#fail(waiting, error.icmp.type, error.icmp.code, error.icmp.from);
    }
    return errors.length;
  }
}

function opened(libc: Libc, family: Family, source: string | undefined, call: string) {
  const { fd, raw } = allowed(libc, family, call);
  try {
    if (raw) libc.setsockopt(fd, ...FILTER[family], filterFor(family));
    else libc.setsockopt(fd, ...RECEIVE_ERRORS[family], int32(1));
    try {
      libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, int32(RECEIVE_BUFFER));
    } catch {
      libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, int32(RECEIVE_BUFFER));
    }
    if (source !== undefined) libc.bind(fd, socketAddress(libc, { address: source, port: 0 }));
    return { fd, raw };
  } catch (error) {
    libc.close(fd);
    throw new SystemError(systemError(error, call).code, call);
  }
}

/** A ping socket, or else a raw one. */
function allowed(libc: Libc, family: Family, call: string): { readonly fd: number; readonly raw: boolean } {
  try {
    return { fd: libc.socket(AF[family], SOCK_DGRAM_NONBLOCK_CLOEXEC, PROTOCOL[family]), raw: false };
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw new SystemError(codeOf(error), call);
  }
  try {
    return { fd: libc.socket(AF[family], SOCK_RAW_NONBLOCK_CLOEXEC, PROTOCOL[family]), raw: true };
  } catch (error) {
    if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'EACCES') throw new SystemError(codeOf(error), call);
    const why = "net.ipv4.ping_group_range leaves out this process's group, and it has no CAP_NET_RAW";
    throw new SystemError('EACCES', call, why);
  }
}

/** A bit that is set blocks its type. */
function filterFor(family: Family): Uint8Array {
  const bits = new Uint32Array(family === 4 ? 1 : 8).fill(0xffffffff);
  for (const type of HEARD[family]) bits[type >> 5] = (bits[type >> 5] ?? 0) & ~(1 << (type & 31));
  return new Uint8Array(bits.buffer);
}

/** A socket of UDP. */
function placeFor(libc: Libc, raw: number, family: Family): number {
  try {
    return libc.socket(AF[family], SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
  } catch (error) {
    libc.close(raw);
    throw error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof SystemError ? error.code : 'EIO';
}

function withoutZone(address: string): string {
  return address.split('%')[0] ?? address;
}
