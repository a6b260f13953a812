// Connected UDP sockets for monitors. See Udp in world.ts. libc makes them, because a mark and a source must be there before
// connect(2), and because Node would not tell who sent an ICMP error. Node only waits and reads.

import { createSocket } from 'node:dgram';
import { type Libc, openLibc } from '../../ffi/libc.ts';
import { canonicalAddress, familyOf, printEndpoint } from '../../lib/address.ts';
import { SystemError } from '../../lib/errors.ts';
import type { Udp, UdpHandlers, UdpOptions, UdpSocket } from '../world.ts';
import { adopt, firstKeptDescriptor, usedUp } from './descriptors.ts';
import { systemError } from './errors.ts';
import { icmpError, ownRefusal, takeErrors } from './icmp-errors.ts';
import {
  AF,
  int32,
  RECEIVE_ERRORS,
  SO_MARK,
  SOCK_DGRAM_NONBLOCK_CLOEXEC,
  socketAddress,
  SOL_SOCKET,
} from './socket-address.ts';

/** Linux's number: bits/socket.h. */
const MSG_DONTWAIT = 0x40;

/** libc is opened by the first socket: whoever wants none needs no native code. */
export function createUdp(libc: () => Libc = openLibc): Udp {
  return { open: async (options, handlers) => open(libc(), options, handlers) };
}

function open(libc: Libc, options: UdpOptions, handlers: UdpHandlers): UdpSocket {
  const call = `udp ${printEndpoint(options.address, options.port)}`;
  // A socket of Node's that was made for nothing would stay for as long as the process does.
  const fd = connected(libc, options, call);
  const socket = createSocket(familyOf(options.address) === 4 ? 'udp4' : 'udp6');
  adopt(libc, socket, fd);
  let closed = false;

  /** Whether there was anything. */
  const tellErrors = (): boolean => {
    const taken = takeErrors(libc, fd);
    const errors = taken.flatMap((error) => {
      if (error.is === 'local') return new SystemError(error.code, call);
      return icmpError(error.icmp, call, (address) => address === local.address) ?? [];
    });
    // Not from inside the owner's send.
    for (const error of errors) queueMicrotask(() => closed || handlers.onError(error));
    return taken.length > 0;
  };
  const send = (bytes: Uint8Array) => void libc.send(fd, bytes, bytes.length, MSG_DONTWAIT);

  socket.on('error', (error) => {
    if (!closed && !tellErrors()) handlers.onError(systemError(error, call));
  });
  socket.on('message', (bytes) => {
    if (!closed) handlers.onDatagram(bytes);
  });
  const { address, port } = socket.address();
  const local = { address: canonicalAddress(address) ?? address, port };
  return {
    local,
    send(bytes) {
      if (closed) return;
      try {
        send(bytes);
      } catch (error) {
        // The error of an earlier datagram stands in the way of this one (udp(7)).
        if (!tellErrors()) throw renamed(error, call);
        try {
          send(bytes);
        } catch (again) {
          throw renamed(again, call);
        }
      }
    },
    close() {
      if (closed) return;
      closed = true;
      socket.close();
    },
  };
}

function connected(libc: Libc, options: UdpOptions, call: string): number {
  const { address, port, localAddress, localPort = 0, mark } = options;
  for (const each of [address, localAddress ?? address]) {
    if (canonicalAddress(each) === null) throw new SystemError('EINVAL', call, 'not a literal address');
    if (familyOf(each) !== familyOf(address))
      throw new SystemError('EINVAL', call, `the source ${each} is of another family`);
  }
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new SystemError('EINVAL', call, 'not a port');
  const family = familyOf(address);
  let fd = -1;
  try {
    fd = libc.socket(AF[family], SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
    if (fd >= firstKeptDescriptor()) throw usedUp(call);
    libc.setsockopt(fd, ...RECEIVE_ERRORS[family], int32(1));
    if (mark !== undefined) libc.setsockopt(fd, SOL_SOCKET, SO_MARK, int32(mark));
    if (localAddress !== undefined || localPort > 0) {
      const any = family === 4 ? '0.0.0.0' : '::';
      libc.bind(fd, socketAddress(libc, { address: localAddress ?? any, port: localPort }));
    }
    libc.connect(fd, socketAddress(libc, { address, port }));
    return fd;
  } catch (error) {
    if (fd >= 0) libc.close(fd);
    throw ownRefusal(renamed(error, call));
  }
}

/** The call that somebody knows, instead of libc's. */
function renamed(error: unknown, call: string): SystemError {
  const known = systemError(error, call);
  return known.call === call ? known : new SystemError(known.code, call, `in ${known.call}`);
}
