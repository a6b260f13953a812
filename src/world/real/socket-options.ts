// setsockopt(2) for what Node has no call for: TTL and its check (RFC 5082), DSCP, marks, TCP-MD5 (RFC 2385), how long data
// may wait for its acknowledgement, how often keep-alive probes are repeated, and a reset below TLS.

import { openLibc } from '../../ffi/libc.ts';
import { familyOf } from '../../lib/address.ts';
import { SystemError } from '../../lib/errors.ts';
import type { TcpOptions } from '../world.ts';
import { IPPROTO, SO_MARK, SOL_SOCKET, writeKeyAddress } from './socket-address.ts';
import type { SocketOptions } from './streams.ts';
import { changeListenerAoKeys, setAoKeys } from './tcp-ao.ts';

/** Linux's numbers: netinet/in.h, netinet/tcp.h. Two of them where IPv4 and IPv6 differ. */
const TTL = { 4: [IPPROTO.ip, 2], 6: [IPPROTO.ipv6, 16] } as const;
const MIN_TTL = { 4: [IPPROTO.ip, 21], 6: [IPPROTO.ipv6, 73] } as const;
const TRAFFIC_CLASS = { 4: [IPPROTO.ip, 1], 6: [IPPROTO.ipv6, 67] } as const;
const TCP = { keepInterval: 5, keepCount: 6, md5: 14, userTimeout: 18 } as const;
const SO_LINGER = 13;

/** struct tcp_md5sig: an address of 128 octets, flags, prefix length, key length, interface, and the key. */
const MD5 = { bytes: 216, keyLength: 130, key: 136, longest: 80 } as const;

/** Throws SystemError ENOSYS where there is no native binary for this platform. */
export function openSocketOptions(): SocketOptions {
  const libc = openLibc();
  const set = (fd: number, level: number, option: number, ...values: readonly number[]) =>
    libc.setsockopt(fd, level, option, new Uint8Array(new Int32Array(values).buffer));
  const setOne = (fd: number, [level, option]: readonly [number, number], value: number) =>
    set(fd, level, option, value);
  const setMd5Key = (fd: number, socketFamily: 4 | 6, address: string, key: string | null) => {
    try {
      libc.setsockopt(fd, IPPROTO.tcp, TCP.md5, md5Signature(socketFamily, address, key));
    } catch (error) {
      // There was none to take away.
      if (!(key === null && error instanceof SystemError && error.code === 'ENOENT')) throw error;
    }
  };
  return {
    apply(fd, socketFamily, address, { ttl, minTtl, dscp, mark, userTimeoutMs, md5Key, aoKeys }: TcpOptions) {
      const family = familyOf(address);
      if (ttl !== undefined) setOne(fd, TTL[family], ttl);
      if (minTtl !== undefined) setOne(fd, MIN_TTL[family], minTtl);
      if (dscp !== undefined) setOne(fd, TRAFFIC_CLASS[family], dscp << 2);
      if (mark !== undefined) setMark(() => set(fd, SOL_SOCKET, SO_MARK, mark));
      if (userTimeoutMs !== undefined) set(fd, IPPROTO.tcp, TCP.userTimeout, userTimeoutMs);
      if (md5Key !== undefined) setMd5Key(fd, socketFamily, address, md5Key);
      if (aoKeys !== undefined) setAoKeys(libc, { fd, socketFamily, address }, aoKeys);
    },
    setListenerTtl(fd, socketFamily, ttl) {
      // -1 is the system's own. A socket of IPv6 answers IPv4 callers by what is set for IPv4.
      setOne(fd, TTL[4], ttl ?? -1);
      if (socketFamily === 6) setOne(fd, TTL[6], ttl ?? -1);
    },
    setMd5Key,
    changeListenerAoKeys: (fd, socketFamily, address, remove, add) =>
      changeListenerAoKeys(libc, { fd, socketFamily, address }, remove, add),
    setKeepAlive(fd, intervalSeconds, retries) {
      set(fd, IPPROTO.tcp, TCP.keepInterval, intervalSeconds);
      set(fd, IPPROTO.tcp, TCP.keepCount, retries);
    },
    resetOnClose(fd) {
      // struct linger { int l_onoff; int l_linger; }
      set(fd, SOL_SOCKET, SO_LINGER, 1, 0);
    },
  };
}

function setMark(set: () => void): void {
  try {
    set();
  } catch (error) {
    const code = error instanceof SystemError ? error.code : 'EIO';
    throw new SystemError(code, 'set the mark of a socket', code === 'EPERM' ? 'CAP_NET_ADMIN is needed' : '');
  }
}

/** null deletes the key of this address. */
function md5Signature(socketFamily: 4 | 6, address: string, key: string | null): Uint8Array {
  const bytes = new Uint8Array(MD5.bytes);
  const view = new DataView(bytes.buffer);
  writeKeyAddress(bytes, socketFamily, address);
  const secret = new TextEncoder().encode(key ?? '');
  if (secret.length > MD5.longest) throw new SystemError('EINVAL', 'TCP-MD5', `a key of ${secret.length} octets`);
  view.setUint16(MD5.keyLength, secret.length, true);
  bytes.set(secret, MD5.key);
  return bytes;
}
