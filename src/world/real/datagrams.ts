// UDP sockets for BFD. See Datagrams in world.ts. libc makes them, because what matters must hold before the first packet: TTL,
// DSCP, and a filter in the kernel that drops what was forwarded to us. Node only reads. Used by bfd-worker.ts.

import { createSocket, type Socket } from 'node:dgram';
import { type Libc, openLibc } from '../../ffi/libc.ts';
import { canonicalAddress, type Family, familyOf, printEndpoint } from '../../lib/address.ts';
import { SystemError } from '../../lib/errors.ts';
import type { DatagramOptions, Datagrams, DatagramSocket, Endpoint } from '../world.ts';
import { adopt } from './descriptors.ts';
import { systemError } from './errors.ts';
import { AF, int32, SOCK_DGRAM_NONBLOCK_CLOEXEC, socketAddress } from './socket-address.ts';

/** Linux's numbers: netinet/in.h. */
const SOL = { 4: 0, 6: 41 } as const;
const TTL_OPTION = { 4: 2, 6: 16 } as const; // IP_TTL, IPV6_UNICAST_HOPS
const TOS_OPTION = { 4: 1, 6: 67 } as const; // IP_TOS, IPV6_TCLASS
const IPV6_V6ONLY = 26;
/** RFC 4594 §3.1: network control. */
const DSCP_CS6 = 0xc0;

/** linux/filter.h: where the octet is, counted from the network header. */
const TTL_AT = { 4: 8, 6: 7 } as const;
const SKF_NET_OFF = -0x100000;
const BPF = { loadByte: 0x30, jumpAtLeast: 0x35, return: 0x06 } as const;
const KEEP_ALL = 0xffffffff;

export function createDatagrams(libc: Libc = openLibc()): Datagrams {
  return { open: (options, onDatagram) => open(libc, options, onDatagram) };
}

function open(
  libc: Libc,
  { address, port, ttl, minTtl }: DatagramOptions,
  onDatagram: ((bytes: Uint8Array, from: Endpoint) => void) | null,
): DatagramSocket {
  const family = familyOf(address);
  const local = socketAddress(libc, { address, port });
  const fd = libc.socket(AF[family], SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
  const close = onDatagram === null ? () => libc.close(fd) : null;
  try {
    libc.setsockopt(fd, SOL[family], TTL_OPTION[family], int32(ttl));
    libc.setsockopt(fd, SOL[family], TOS_OPTION[family], int32(DSCP_CS6));
    if (family === 6) libc.setsockopt(fd, SOL[6], IPV6_V6ONLY, int32(1));
    if (onDatagram === null) libc.attachFilter(fd, program([BPF.return, 0, 0, 0]));
    else if (minTtl !== undefined) libc.attachFilter(fd, atLeast(family, minTtl));
    libc.bind(fd, local);
  } catch (error) {
    libc.close(fd);
    const { code, detail } = named(error);
    throw new SystemError(code, `bind ${printEndpoint(address, port)}`, detail);
  }
  const handle = onDatagram === null ? null : receive(libc, fd, family, onDatagram);
  return {
    local: { address, port },
    send: (bytes, to) => libc.sendTo(fd, bytes, socketAddress(libc, to)),
    close: () => {
      close?.();
      handle?.close();
    },
  };
}

function receive(
  libc: Libc,
  fd: number,
  family: Family,
  onDatagram: (bytes: Uint8Array, from: Endpoint) => void,
): Socket {
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  // ICMP errors and the like: silence is what BFD measures.
  socket.on('error', () => {});
  socket.on('message', (bytes, from) => {
    const address = canonicalAddress(from.address);
    if (address !== null) onDatagram(Uint8Array.from(bytes), { address, port: from.port });
  });
  adopt(libc, socket, fd);
  return socket;
}

function named(error: unknown): { readonly code: string; readonly detail: string } {
  const { code, message } = systemError(error, 'socket');
  return { code, detail: message };
}

/** Keep what has at least this TTL or hop limit. */
function atLeast(family: Family, minTtl: number): Uint8Array {
  return program(
    [BPF.loadByte, 0, 0, SKF_NET_OFF + TTL_AT[family]],
    [BPF.jumpAtLeast, 0, 1, minTtl],
    [BPF.return, 0, 0, KEEP_ALL],
    [BPF.return, 0, 0, 0],
  );
}

/** struct sock_filter { u16 code; u8 jt; u8 jf; u32 k; } */
function program(...instructions: readonly (readonly [code: number, jt: number, jf: number, k: number])[]): Uint8Array {
  const bytes = new Uint8Array(8 * instructions.length);
  const view = new DataView(bytes.buffer);
  for (const [i, [code, jt, jf, k]] of instructions.entries()) {
    view.setUint16(8 * i, code, true);
    view.setUint8(8 * i + 2, jt);
    view.setUint8(8 * i + 3, jf);
    view.setUint32(8 * i + 4, k >>> 0, true);
  }
  return bytes;
}
