// Socket options that Node has no call for, on a descriptor that Node owns. Handed to world/real/streams.ts.

import { openLibc } from './libc.ts';

const IPPROTO = { ip: 0, tcp: 6, ipv6: 41 } as const;
const IP_TTL = 2;
const IPV6_UNICAST_HOPS = 16;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;

/** Both throw SystemError: EBADF, EINVAL … */
export const socketOptions = {
  /** TTL or hop limit, 1 to 255, of what is sent. */
  setTtl(fd: number, family: 4 | 6, ttl: number): void {
    if (family === 4) setInt(fd, IPPROTO.ip, IP_TTL, ttl);
    else setInt(fd, IPPROTO.ipv6, IPV6_UNICAST_HOPS, ttl);
  },
  /** Probes of an idle connection: this far apart, and dead after so many without an answer. */
  setKeepAlive(fd: number, intervalSeconds: number, retries: number): void {
    setInt(fd, IPPROTO.tcp, TCP_KEEPINTVL, intervalSeconds);
    setInt(fd, IPPROTO.tcp, TCP_KEEPCNT, retries);
  },
};

function setInt(fd: number, level: number, option: number, value: number): void {
  openLibc().setsockopt(fd, level, option, new Uint8Array(new Int32Array([value]).buffer));
}
