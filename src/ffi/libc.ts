// Calls into libc: sockets for netlink, BFD, UDP and ICMP, and options that Node does not offer. (What a check's connection
// needs, with other manners of telling errors, is tcp-calls.ts.) Calls are synchronous: netlink answers before `send` returns,
// and a call costs 0.2 µs. Called by netlink/socket.ts, vip/rtnetlink.ts and world/real, and by main.ts at the end.

import { SystemError } from '../lib/errors.ts';
import { type Koffi, type Library, openProcess } from './process.ts';

/** Each call throws a SystemError with the errno name where libc returns -1. */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array): void;
  connect(fd: number, address: Uint8Array): void;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array): void;
  /** Fills `value`. `length` is what the kernel is told of it: some answers are longer than that. */
  getsockopt(fd: number, level: number, option: number, value: Uint8Array, length: number): void;
  /** Bytes accepted by the kernel. */
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  /** Bytes received into `buffer`; with MSG_TRUNC in `flags` the datagram's true length, which may be more. */
  recv(fd: number, buffer: Uint8Array, flags: number): number;
  /** One datagram to a socket address. Never waits (EAGAIN). */
  sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): void;
  /** The oldest error of the socket's queue (IP_RECVERR), or null when there is none. Never waits. */
  takeError(fd: number): QueuedError | null;
  /** dup2(2): `to` is another name of what `from` is, and what it was is closed. */
  replace(to: number, from: number): void;
  /** SO_ATTACH_FILTER: `program` is an array of struct sock_filter. */
  attachFilter(fd: number, program: Uint8Array): void;
  /** SCHED_RR for the calling thread, and none of its children. Throws EPERM without CAP_SYS_NICE or RLIMIT_RTPRIO. */
  realtime(priority: number): void;
  /** prctl(2): what this thread starts from now on inherits no capability that root would not have by itself. */
  clearAmbient(): void;
  close(fd: number): void;
  /** _exit(2): the process ends here and now, whatever its threads wait for. */
  exit(code: number): void;
  /** Throws ENODEV when there is no interface of this name. */
  interfaceIndex(name: string): number;
  /** The interface's name, or null when there is none with this index any more. */
  interfaceName(index: number): string | null;
  /** `ENOENT` for 2; `E#4095` for a number that has no name here. */
  errnoName(errno: number): string;
}

/** What MSG_ERRQUEUE gives (recvmsg(2), ip(7)). */
export interface QueuedError {
  /** struct sock_extended_err, with the socket address of who complained behind it. */
  readonly extended: Uint8Array;
  /** The beginning of the packet that it is about: of what the socket had sent, without the headers below. */
  readonly packet: Uint8Array;
  /** The socket address that it was sent to. */
  readonly to: Uint8Array;
}

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SOCK_FILTER_BYTES = 8;
const MSG_DONTWAIT = 0x40;
const MSG_ERRQUEUE = 0x2000;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const SCHED_RR = 2;
const SCHED_RESET_ON_FORK = 0x40000000;

let opened: Libc | null = null;

/** Throws SystemError ENOSYS where koffi has no binary for this platform. */
export function openLibc(): Libc {
  opened ??= load();
  return opened;
}

function load(): Libc {
  const { koffi, library, errnoName } = openProcess();
  const socket = library.func('int socket(int domain, int type, int protocol)');
  const bind = library.func('int bind(int fd, const void *address, uint32_t length)');
  const connect = library.func('int connect(int fd, const void *address, uint32_t length)');
  const setsockopt = library.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)');
  const getsockopt = library.func('int getsockopt(int fd, int level, int name, void *value, void *length)');
  const send = library.func('long send(int fd, const void *bytes, size_t length, int flags)');
  const recv = library.func('long recv(int fd, void *buffer, size_t length, int flags)');
  const sendTo = library.func(
    'long sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t addressLength)',
  );
  // struct sock_fprog points to its instructions, so that setsockopt(2) needs a type of its own here.
  koffi.struct('sock_fprog', { length: 'uint16_t', filter: 'void *' });
  const setFilter = library.func('int setsockopt(int fd, int level, int name, sock_fprog *value, uint32_t length)');
  const filterBytes = koffi.sizeof('sock_fprog');
  const dup2 = library.func('int dup2(int from, int to)');
  const takeQueued = queueReader(koffi, library);
  const prctl = library.func(
    'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
  );
  const close = library.func('int close(int fd)');
  const exit = library.func('void _exit(int code)');
  const setScheduler = library.func('int sched_setscheduler(int pid, int policy, const void *parameters)');
  const ifNameToIndex = library.func('uint32_t if_nametoindex(const char *name)');
  const ifIndexToName = library.func('void *if_indextoname(uint32_t index, void *name)');

  const checked = (result: number, call: string): number => {
    if (result < 0) throw new SystemError(errnoName(koffi.errno()), call);
    return result;
  };
  const interfaceNameBuffer = new Uint8Array(16); // IF_NAMESIZE

  return {
    socket: (domain, type, protocol) => checked(socket(domain, type, protocol), 'socket'),
    bind: (fd, address) => void checked(bind(fd, address, address.length), 'bind'),
    connect: (fd, address) => void checked(connect(fd, address, address.length), 'connect'),
    setsockopt: (fd, level, option, value) =>
      void checked(setsockopt(fd, level, option, value, value.length), 'setsockopt'),
    getsockopt: (fd, level, option, value, length) =>
      void checked(
        getsockopt(fd, level, option, value, new Uint8Array(new Uint32Array([length]).buffer)),
        'getsockopt',
      ),
    send: (fd, bytes, length, flags) => checked(send(fd, bytes, Math.min(length, bytes.length), flags), 'send'),
    recv: (fd, buffer, flags) => checked(recv(fd, buffer, buffer.length, flags), 'recv'),
    sendTo: (fd, bytes, address) =>
      void checked(sendTo(fd, bytes, bytes.length, MSG_DONTWAIT, address, address.length), 'sendto'),
    takeError: takeQueued,
    replace: (to, from) => void checked(dup2(from, to), 'dup2'),
    attachFilter: (fd, program) => {
      const value = { length: program.length / SOCK_FILTER_BYTES, filter: program };
      checked(setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, value, filterBytes), 'setsockopt SO_ATTACH_FILTER');
    },
    realtime: (priority) => {
      const parameters = new Uint8Array(new Int32Array([priority]).buffer);
      checked(setScheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, parameters), 'sched_setscheduler');
    },
    clearAmbient: () => void checked(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 'prctl'),
    close: (fd) => void checked(close(fd), 'close'),
    exit: (code) => void exit(code),
    interfaceIndex: (name) => {
      const index = ifNameToIndex(name);
      if (index === 0) throw new SystemError(errnoName(koffi.errno()), `if_nametoindex ${name}`);
      return index;
    },
    interfaceName: (index) => {
      if (ifIndexToName(index, interfaceNameBuffer) === null) return null;
      const end = interfaceNameBuffer.indexOf(0);
      return Buffer.from(interfaceNameBuffer.subarray(0, end < 0 ? interfaceNameBuffer.length : end)).toString(
        'latin1',
      );
    },
    errnoName,
  };
}

/** recvmsg(2) for errors, into memory of its own. */
function queueReader(koffi: Koffi, library: Library): (fd: number) => QueuedError | null {
  const iovec = koffi.struct('iovec', { base: 'void *', length: 'size_t' });
  const msghdr = koffi.struct('msghdr', {
    name: 'void *',
    nameLength: 'uint32_t',
    parts: 'void *',
    partCount: 'size_t',
    control: 'void *',
    controlLength: 'size_t',
    flags: 'int',
  });
  const receive = library.func('long recvmsg(int fd, void *message, int flags)');
  /** struct cmsghdr { size_t cmsg_len; int cmsg_level; int cmsg_type; }, and its data behind it. */
  const controlHeaderBytes = koffi.sizeof('size_t') + 8;
  const sizes = { name: 128, control: 512, packet: 512 } as const;
  const make = (bytes: number): { readonly at: unknown; readonly bytes: Uint8Array } => {
    const at: unknown = koffi.alloc('uint8_t', bytes);
    return { at, bytes: new Uint8Array(koffi.view(at, bytes)) };
  };
  const name = make(sizes.name);
  const control = make(sizes.control);
  const packet = make(sizes.packet);
  const parts: unknown = koffi.alloc(iovec, 1);
  koffi.encode(parts, iovec, { base: packet.at, length: sizes.packet });
  const message: unknown = koffi.alloc(msghdr, 1);

  return (fd) => {
    koffi.encode(message, msghdr, {
      name: name.at,
      nameLength: sizes.name,
      parts,
      partCount: 1,
      control: control.at,
      controlLength: sizes.control,
      flags: 0,
    });
    const length: number = receive(fd, message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (length < 0) return null;
    const got: { readonly nameLength: number; readonly controlLength: number } = koffi.decode(message, msghdr);
    return {
      extended: control.bytes.slice(controlHeaderBytes, got.controlLength),
      packet: packet.bytes.slice(0, length),
      to: name.bytes.slice(0, got.nameLength),
    };
  };
}
