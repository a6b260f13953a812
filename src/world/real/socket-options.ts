// setsockopt(2) for what Node has no call for: the TTL of a TCP connection, how often keep-alive probes are repeated, and a
// reset below TLS.

import { openLibc } from '../../ffi/libc.ts';
import type { SocketOptions } from './streams.ts';

/** Linux's numbers: netinet/in.h, netinet/tcp.h. */
const IPPROTO = { ip: 0, tcp: 6, ipv6: 41 } as const;
const IP_TTL = 2;
const IPV6_UNICAST_HOPS = 16;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const SOL_SOCKET = 1;
const SO_LINGER = 13;

/** Throws SystemError ENOSYS where there is no native binary for this platform. */
export function openSocketOptions(): SocketOptions {
  const libc = openLibc();
  const set = (fd: number, level: number, option: number, ...values: readonly number[]) =>
    libc.setsockopt(fd, level, option, new Uint8Array(new Int32Array(values).buffer));
  return {
    setTtl(fd, family, ttl) {
      if (family === 4) set(fd, IPPROTO.ip, IP_TTL, ttl);
      else set(fd, IPPROTO.ipv6, IPV6_UNICAST_HOPS, ttl);
    },
    setKeepAlive(fd, intervalSeconds, retries) {
      set(fd, IPPROTO.tcp, TCP_KEEPINTVL, intervalSeconds);
      set(fd, IPPROTO.tcp, TCP_KEEPCNT, retries);
    },
    resetOnClose(fd) {
      // struct linger { int l_onoff; int l_linger; }
      set(fd, SOL_SOCKET, SO_LINGER, 1, 0);
    },
  };
}
