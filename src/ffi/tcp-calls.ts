// TCP connections and epoll(7) by their system calls, for thousands of them a second: errors are numbers, because most of them
// (EINPROGRESS, EAGAIN) are no failures, and nothing is allocated. Called by poller.ts, closer.ts, quick-socket.ts and quick-stream.ts in
// world/real.

import { SystemError } from '../lib/errors.ts';
import { openProcess } from './process.ts';

/** Where a number comes back, a negative one is an errno with its sign turned, as the kernel has it. */
export interface TcpCalls {
  /** A stream socket that does not block. */
  socket(domain: number): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  /** Never raises SIGPIPE. */
  send(fd: number, bytes: Uint8Array): number;
  /** 0: the other side has ended. */
  recv(fd: number, buffer: Uint8Array): number;
  /** Send FIN. */
  shutdown(fd: number): number;
  close(fd: number): void;
  /**
   * Close these and all between them, which the caller owns, on another thread, and say whether that was done. False: it can not be
   * done (the kernel is older than Linux 5.9, or may not), and nobody will be told.
   */
  closeRange(first: number, last: number, onDone: (closed: boolean) => void): boolean;
  /** An option that is an int. */
  set(fd: number, level: number, option: number, value: number): number;
  /** close(2) will reset the connection: SO_LINGER with no time. */
  resetOnClose(fd: number): number;
  /** The errno of what happened meanwhile, turned; 0: nothing. It is forgotten by asking. */
  socketError(fd: number): number;
  /** The socket address of our end. */
  localAddress(fd: number): Uint8Array;
  /** A new epoll instance. Throws a SystemError. */
  epoll(): number;
  /** `key` comes back with each event; it is two words of 32 bits. */
  watch(epoll: number, fd: number, events: number, key: readonly [number, number]): number;
  unwatch(epoll: number, fd: number): number;
  /** Those that are there already, at most `most`, which is at most MOST_EVENTS. */
  take(epoll: number, most: number): number;
  /** Of what `take` found. */
  readonly taken: { events(at: number): number; key(at: number, word: 0 | 1): number };
  error(negative: number, call: string): SystemError;
}

/** Of one batch: what promises make of it comes behind all of it, and must not come late. */
export const MOST_EVENTS = 64;

/** Linux's numbers: asm-generic/socket.h, sys/epoll.h. */
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SHUT_WR = 1;
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const LONGEST_ADDRESS = 28; // struct sockaddr_in6
/** asm-generic/unistd.h; x86-64 has it too. The libc has a name for it only since glibc 2.34. */
const SYS_CLOSE_RANGE = 436;
const EINVAL = 22;
const UINT_MAX = 0xffffffff;

/** struct epoll_event { uint32_t events; uint64_t data; }, which is packed on x86-64 alone. */
const EVENT = process.arch === 'x64' ? { bytes: 12, key: 4 } : { bytes: 16, key: 8 };

/** Throws SystemError ENOSYS where koffi has no binary for this platform. */
export function openTcpCalls(): TcpCalls {
  const { koffi, library, errnoName } = openProcess();
  const socket = library.func('int socket(int domain, int type, int protocol)');
  const bind = library.func('int bind(int fd, const void *address, uint32_t length)');
  const connect = library.func('int connect(int fd, const void *address, uint32_t length)');
  const send = library.func('long send(int fd, const void *bytes, size_t length, int flags)');
  const recv = library.func('long recv(int fd, void *buffer, size_t length, int flags)');
  const shutdown = library.func('int shutdown(int fd, int how)');
  const close = library.func('int close(int fd)');
  const setsockopt = library.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)');
  const getsockopt = library.func('int getsockopt(int fd, int level, int name, void *value, void *length)');
  const getsockname = library.func('int getsockname(int fd, void *address, void *length)');
  const syscall = library.func('long syscall(long number, ulong first, ulong last, ulong flags)');
  const epollCreate = library.func('int epoll_create1(int flags)');
  const epollControl = library.func('int epoll_ctl(int epoll, int operation, int fd, void *event)');
  const epollWait = library.func('int epoll_wait(int epoll, void *events, int most, int timeoutMs)');

  const number = new Int32Array(1);
  const length = new Uint32Array(1);
  const lingerNot = new Int32Array([1, 0]); // struct linger { int l_onoff; int l_linger; }
  const address = new Uint8Array(LONGEST_ADDRESS);
  const watched = new DataView(new ArrayBuffer(EVENT.bytes));
  const events = new DataView(new ArrayBuffer(MOST_EVENTS * EVENT.bytes));
  const result = (returned: number): number => (returned < 0 ? -koffi.errno() : returned);
  // Flags that there are not: whoever has the call refuses them, and closes nothing. A filter of system calls says something else.
  const hasCloseRange = result(syscall(SYS_CLOSE_RANGE, UINT_MAX, UINT_MAX, UINT_MAX)) === -EINVAL;

  return {
    socket: (domain) => result(socket(domain, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)),
    bind: (fd, to) => result(bind(fd, to, to.length)),
    connect: (fd, to) => result(connect(fd, to, to.length)),
    send: (fd, bytes) => result(send(fd, bytes, bytes.length, MSG_NOSIGNAL)),
    recv: (fd, buffer) => result(recv(fd, buffer, buffer.length, 0)),
    shutdown: (fd) => result(shutdown(fd, SHUT_WR)),
    close: (fd) => void close(fd),
    closeRange(first, last, onDone) {
      if (!hasCloseRange) return false;
      try {
        syscall.async(SYS_CLOSE_RANGE, first, last, 0, (failed: unknown, returned: number) =>
          onDone(failed === null && returned === 0),
        );
        return true;
      } catch {
        // koffi bounds the calls that are under way.
        return false;
      }
    },
    set(fd, level, option, value) {
      number[0] = value;
      return result(setsockopt(fd, level, option, number, number.byteLength));
    },
    resetOnClose: (fd) => result(setsockopt(fd, SOL_SOCKET, SO_LINGER, lingerNot, lingerNot.byteLength)),
    socketError(fd) {
      length[0] = number.byteLength;
      const asked = result(getsockopt(fd, SOL_SOCKET, SO_ERROR, number, length));
      return asked < 0 ? asked : -(number[0] ?? 0);
    },
    localAddress(fd) {
      length[0] = address.length;
      return getsockname(fd, address, length) < 0 ? new Uint8Array() : address.slice(0, length[0]);
    },
    epoll() {
      const fd = result(epollCreate(EPOLL_CLOEXEC));
      if (fd < 0) throw new SystemError(errnoName(-fd), 'epoll_create1');
      return fd;
    },
    watch(epoll, fd, wanted, key) {
      watched.setUint32(0, wanted, true);
      watched.setUint32(EVENT.key, key[0], true);
      watched.setUint32(EVENT.key + 4, key[1], true);
      return result(epollControl(epoll, EPOLL_CTL_ADD, fd, watched));
    },
    unwatch: (epoll, fd) => result(epollControl(epoll, EPOLL_CTL_DEL, fd, watched)),
    take: (epoll, most) => Math.max(0, epollWait(epoll, events, most, 0)),
    taken: {
      events: (at) => events.getUint32(at * EVENT.bytes, true),
      key: (at, word) => events.getUint32(at * EVENT.bytes + EVENT.key + 4 * word, true),
    },
    error: (negative, call) => new SystemError(errnoName(-negative), call),
  };
}
