// A libc whose kernel says what a test wants it to say. For unit tests of what netlink sockets do with it.

import type { Libc } from '../../src/ffi/libc.ts';
import { SystemError } from '../../src/lib/errors.ts';
import { Messages } from '../../src/netlink/codec.ts';

export interface Request {
  readonly type: number;
  readonly seq: number;
  readonly flags: number;
  /** The first byte behind the header: the command of generic netlink. */
  readonly command: number;
}
/** A datagram, or the error number that recv fails with. */
export type Reply = Uint8Array | string;

/** A libc whose kernel answers each send with what `serve` says; an empty queue is a receive timeout. */
export class ScriptedLibc implements Libc {
  readonly requests: Request[][] = [];
  sockets = 0;
  readonly open = new Set<number>();
  #queue: Iterator<Reply> = [].values();
  readonly #serve: (requests: readonly Request[], attempt: number) => Iterable<Reply>;

  constructor(serve: (requests: readonly Request[], attempt: number) => Iterable<Reply>) {
    this.#serve = serve;
  }
  socket(): number {
    this.open.add(++this.sockets);
    this.#queue = [].values();
    return this.sockets;
  }
  bind(): void {}
  takeError(): null {
    return null;
  }
  replace(): void {}
  clearAmbient(): void {}
  connect(): void {}
  setsockopt(_fd: number, _level: number, option: number): void {
    if (option === 33) throw new SystemError('EPERM', 'setsockopt'); // SO_RCVBUFFORCE
  }
  getsockopt(_fd: number, _level: number, _option: number, _value: Uint8Array, _length: number): void {}
  send(fd: number, bytes: Uint8Array, length: number): number {
    if (!this.open.has(fd)) throw new SystemError('EBADF', 'send');
    const requests: Request[] = [];
    for (const message = new Messages(bytes, length); message.next(); ) {
      const { type, seq, flags, start, end } = message;
      requests.push({ type, seq, flags, command: end > start ? message.view.getUint8(start) : 0 });
    }
    this.requests.push(requests);
    this.#queue = this.#serve(requests, this.requests.length)[Symbol.iterator]();
    return length;
  }
  recv(_fd: number, buffer: Uint8Array): number {
    const { done, value } = this.#queue.next();
    const reply: Reply = done === true ? 'EAGAIN' : value;
    if (typeof reply === 'string') throw new SystemError(reply, 'recv');
    buffer.set(reply.subarray(0, buffer.length));
    return reply.length;
  }
  close(fd: number): void {
    this.open.delete(fd);
  }
  exit(): void {}
  sendTo(): void {}
  attachFilter(): void {}
  realtime(): void {}
  interfaceIndex(): number {
    return 0;
  }
  interfaceName(): null {
    return null;
  }
  errnoName(errno: number): string {
    return { 1: 'EPERM', 3: 'ESRCH', 17: 'EEXIST' }[errno] ?? `E#${errno}`;
  }
}
