// Sockets for quick-stream.ts, with all that they must have before the first packet, and the addresses that they dial.

import type { Libc } from '../../ffi/libc.ts';
import type { TcpCalls } from '../../ffi/tcp-calls.ts';
import { familyOf, printEndpoint } from '../../lib/address.ts';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type { ConnectOptions, Endpoint } from '../world.ts';
import { firstKeptDescriptor, usedUp } from './descriptors.ts';
import { AF, familyToDial, IPPROTO, SOL_SOCKET, socketAddress } from './socket-address.ts';
import type { SocketOptions } from './streams.ts';

/** Linux's numbers: asm-generic/socket.h, netinet/in.h. */
const SO_REUSEADDR = 2;
const IP_BIND_ADDRESS_NO_PORT = 24;

const MOST_KNOWN = 20_000;

/** What making one takes. */
export interface Sockets {
  readonly libc: Libc;
  readonly calls: TcpCalls;
  readonly options: SocketOptions;
  /** Socket addresses by address, with the port of whoever was the last: the same few thousand are dialled again and again. */
  readonly known: Map<string, Uint8Array>;
}

export function callOf({ address, port }: Endpoint): string {
  return `connect ${printEndpoint(address, port)}`;
}

/** Good until the next call. */
export function destination({ libc, known }: Sockets, { address, port }: Endpoint): Uint8Array {
  const bytes = known.get(address);
  if (bytes !== undefined && Number.isInteger(port) && port >= 1 && port <= 65_535) {
    bytes[2] = port >> 8;
    bytes[3] = port & 0xff;
    return bytes;
  }
  familyToDial({ address, port });
  const made = socketAddress(libc, { address, port });
  // The index of a zone's interface may become another's.
  if (address.includes('%')) return made;
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(address, made);
  return made;
}

/** Throws a SystemError: what the kernel refuses, or EMFILE. */
export function socketFor({ libc, calls, options }: Sockets, to: ConnectOptions, cut: Cut): number {
  const { address, localAddress, localPort, tcp } = to;
  if (cut.aborted) throw new SystemError('ECANCELED', callOf(to));
  const family = familyOf(address);
  const fd = calls.socket(AF[family]);
  if (fd < 0) throw calls.error(fd, callOf(to));
  if (fd >= firstKeptDescriptor()) {
    calls.close(fd);
    throw usedUp(callOf(to));
  }
  try {
    if (tcp !== undefined) options.apply(fd, family, address, tcp);
    if (localAddress !== undefined || localPort !== undefined) {
      if (localPort === undefined) calls.set(fd, IPPROTO.ip, IP_BIND_ADDRESS_NO_PORT, 1);
      else calls.set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      const any = family === 4 ? '0.0.0.0' : '::';
      const source = { address: localAddress ?? any, port: localPort ?? 0 };
      const bound = calls.bind(fd, socketAddress(libc, source));
      if (bound < 0) throw calls.error(bound, callOf(to));
    }
  } catch (error) {
    calls.close(fd);
    throw error;
  }
  return fd;
}
