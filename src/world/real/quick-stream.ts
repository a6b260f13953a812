// TCP connections of checks: as those of streams.ts, which dials them here, but by system calls instead of node:net, whose sockets
// cost twice the CPU and memory where a connection lives for a moment, or where there are thousands of idle ones.

import { Socket } from 'node:net';
import { openLibc } from '../../ffi/libc.ts';
import { openTcpCalls } from '../../ffi/tcp-calls.ts';
import { canonicalAddress, printEndpoint } from '../../lib/address.ts';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type { ConnectOptions, Endpoint, Stream, StreamHandlers, TcpOptions } from '../world.ts';
import { Closer } from './closer.ts';
import { firstKeptDescriptor } from './descriptors.ts';
import { ownRefusal, refusalOf } from './icmp-errors.ts';
import { EPOLL, Poller, type Watched } from './poller.ts';
import { callOf, destination, socketFor, type Sockets } from './quick-socket.ts';
import { endpointIn, IPPROTO, SOL_SOCKET } from './socket-address.ts';
import type { SocketOptions } from './streams.ts';

/** Linux's numbers: asm-generic/errno.h, asm-generic/socket.h, netinet/tcp.h. */
const EAGAIN = 11;
const EPIPE = 32;
const ECONNRESET = 104;
const EINPROGRESS = 115;
const SO_KEEPALIVE = 9;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;

/** After our own FIN the other side has this long to send its own before the connection is reset. */
export const LINGER_MS = 5_000;
const READ_BYTES = 65_536;
/** Descriptors that are left for the connections that come next, when others wait to be closed. */
const NEXT_CONNECTIONS = 256;
/** No connection is made from a lower port, unless somebody has lowered net.ipv4.ip_local_port_range below it. */
const FIRST_OF_CONNECTIONS = 1024;
/** Before others are heard: a server that never stops talking must not be the only one. */
const MOST_READS = 4;

/** What all of them share. */
interface Engine extends Sockets {
  readonly poller: Poller;
  readonly closer: Closer;
  readonly lingerMs: number;
  readonly buffer: Uint8Array;
  /** Those whose owners must hear that they are closed. */
  readonly closed: QuickStream[];
}

/** Who dials: see Streams.connect. It knows nothing of TLS. */
export type QuickDial = (options: ConnectOptions, cut: Cut) => Promise<QuickStream>;

/** One for the process: it stays as long as the event loop does. */
let opened: Omit<Engine, 'options' | 'lingerMs'> | null = null;

/** Throws a SystemError where this can not be had: no native code, no libuv in Node's binary, not in the main thread. */
export function openQuickDial(options: SocketOptions, lingerMs = LINGER_MS): QuickDial {
  opened ??= open();
  const engine: Engine = { ...opened, options, lingerMs };
  return (to, cut) => new Promise((resolve, reject) => new QuickStream(engine, to, cut, resolve, reject));
}

function open(): NonNullable<typeof opened> {
  const calls = openTcpCalls();
  const poller = new Poller(calls);
  return {
    libc: openLibc(),
    calls,
    poller,
    closer: new Closer(calls, () => firstKeptDescriptor() - poller.count - NEXT_CONNECTIONS),
    buffer: new Uint8Array(READ_BYTES),
    closed: [],
    known: new Map(),
  };
}

/** A stream, and before it is one the attempt to connect. */
export class QuickStream implements Stream, Watched {
  readonly #engine: Engine;
  readonly remote: Endpoint;
  /** It leads through the path to a real server (docs/path-checks.md). */
  readonly marked: boolean;
  #local: Endpoint | null = null;
  /** -1: closed, or given away. */
  #fd: number;
  /** While it is being connected: with 0, or an errno with its sign turned. */
  #dialled: ((result: number) => void) | null = null;
  #watched = false;
  #handlers: StreamHandlers | null = null;
  /** What the kernel has not taken yet. */
  #queue: Uint8Array[] | null = null;
  /** Those that know that it is closed. */
  #told: StreamHandlers | null = null;
  #failure: SystemError | null = null;
  #lingering: NodeJS.Timeout | null = null;
  #held = false;
  /** There may be something to read. */
  #readable = false;
  /** A read that does not fill the buffer may have left something: an end, an error, what lies behind an urgent octet (tcp(7)). */
  #more = false;
  #heardEnd = false;
  /** The error that the connection had by the time that it was known to be there: the kernel tells it once. */
  #lost = 0;
  #spoke = false;
  /** Of ours: FIN was sent, or will be after what is queued. */
  #ended = false;
  #closing = false;

  constructor(
    engine: Engine,
    to: ConnectOptions,
    cut: Cut,
    resolve: (stream: QuickStream) => void,
    reject: (error: unknown) => void,
  ) {
    const { address, port, tcp } = to;
    this.#engine = engine;
    this.remote = { address, port };
    this.marked = tcp?.mark !== undefined;
    const { calls } = engine;
    const there = destination(engine, to);
    this.#fd = socketFor(engine, to, cut);
    const begun = calls.connect(this.#fd, there);
    const fail = (error: unknown): void => {
      // Where there is no connection the kernel has little to do.
      this.#finish(null, calls);
      reject(error);
    };
    const succeed = (): void => {
      if (this.#isItsOwnPeer()) {
        calls.resetOnClose(this.#fd);
        fail(new SystemError('ECONNREFUSED', callOf(to), 'nobody listens, it was connected to itself'));
        return;
      }
      try {
        this.#begin(to);
        resolve(this);
      } catch (error) {
        fail(error);
      }
    };
    // On its way through this host alone a connection is there at once.
    const failed = begun === -EINPROGRESS ? engine.poller.dial(this.#fd, this) : begun;
    // Nothing is thrown: V8 would look through all of the stack.
    if (failed < 0) {
      fail(ownRefusal(calls.error(failed, callOf(to))));
      return;
    }
    if (begun === 0) {
      succeed();
      return;
    }
    const release = cut.onAbort(() => fail(new SystemError('ECANCELED', callOf(to))));
    this.#dialled = (result) => {
      this.#dialled = null;
      release();
      // RFC 9293 §3.10.7.3: who is reset before the connection is there was refused. Anything else came later.
      if (result === -ECONNRESET || result === -EPIPE) this.#lost = result;
      if (result === 0 || this.#lost !== 0) succeed();
      else fail(refusalOf(calls.error(result, callOf(to))));
    };
  }

  get local(): Endpoint {
    const { calls } = this.#engine;
    return (this.#local ??= (this.#fd < 0 ? null : endpointIn(calls.localAddress(this.#fd))) ?? {
      address: '',
      port: 0,
    });
  }

  on(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    if (this.#fd < 0) this.#tellSoon();
    else this.#listen();
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closing || this.#ended || this.#fd < 0) return true;
    if (this.#queue !== null) {
      this.#queue.push(new Uint8Array(bytes));
      return false;
    }
    // The first words go out at once anyway (RFC 1122 §4.2.3.4).
    if (this.#spoke) this.#set(IPPROTO.tcp, TCP_NODELAY, 1);
    this.#spoke = true;
    const sent = this.#engine.calls.send(this.#fd, bytes);
    if (sent === bytes.length) return true;
    if (sent < 0 && sent !== -EAGAIN) {
      this.#fail(this.#lost || sent);
      return true;
    }
    // A copy: `slice` of a Buffer is none.
    this.#queue = [new Uint8Array(bytes.subarray(Math.max(0, sent)))];
    this.#fail(this.#watch());
    return false;
  }

  end(): void {
    if (this.#closing || this.#ended || this.#fd < 0) return;
    this.#end();
    if (this.#heardEnd && this.#queue === null) this.#finish();
  }

  pause(): void {
    this.#held = true;
  }

  resume(): void {
    this.#held = false;
    if (this.#handlers !== null && this.#fd >= 0) this.#listen();
  }

  tune(options: TcpOptions): void {
    if (this.#fd < 0) throw new SystemError('EBADF', 'setsockopt');
    const { address } = this.remote;
    this.#engine.options.apply(this.#fd, address.includes(':') ? 6 : 4, address, options);
  }

  close(how: 'fin' | 'rst'): void {
    if (this.#fd < 0 || (this.#closing && how === 'fin')) return;
    this.#closing = true;
    if (how === 'rst') {
      this.#reset();
      return;
    }
    // Nothing to send, nothing to hear: close(2) sends the FIN.
    if (this.#heardEnd && this.#queue === null) {
      this.#finish();
      return;
    }
    if (!this.#ended) this.#end();
    // What still comes is read and dropped until the other side ends too, or its time is over.
    this.#lingering = setTimeout(() => this.#reset(), this.#engine.lingerMs);
    this.#listen();
  }

  /** The connection, for something else to use: this stream is none any more. Null: it is gone, or closed, or had more to send. */
  release(): Socket | null {
    if (this.#queue !== null) this.close('rst');
    if (this.#fd < 0 || this.#closing || this.#ended) return null;
    const fd = this.#fd;
    void this.local;
    this.#engine.poller.forget(fd, true);
    this.#fd = -1;
    this.#closing = true;
    this.#handlers = null;
    const socket = new Socket({ fd, allowHalfOpen: true });
    socket.setNoDelay(true);
    return socket;
  }

  onEvents(events: number): void {
    if (this.#dialled !== null) {
      this.#dialled((events & (EPOLL.error | EPOLL.hangUp)) === 0 ? 0 : this.#engine.calls.socketError(this.#fd));
      if (this.#fd < 0) return;
    }
    if ((events & ~EPOLL.out) !== 0) this.#readable = true;
    if ((events & (EPOLL.error | EPOLL.hangUp | EPOLL.peerEnd | EPOLL.urgent)) !== 0) this.#more = true;
    if ((events & EPOLL.out) !== 0 && this.#queue !== null) this.#flush();
    this.#read();
  }

  /**
   * Where nobody listens on a port of this host from which connections are made, one may get that very port: two that open at the same
   * time are connected (RFC 9293 §3.5), also if they are one and the same. It would call the dead server up, and hold its port.
   */
  #isItsOwnPeer(): boolean {
    const { address, port } = this.remote;
    if (port < FIRST_OF_CONNECTIONS) return false;
    const own = this.#engine.calls.localAddress(this.#fd);
    // struct sockaddr_in and sockaddr_in6 have the port in the same place.
    return own[2] === port >> 8 && own[3] === (port & 0xff) && this.local.address === canonicalAddress(address);
  }

  /** Connected. */
  #begin({ keepAlive, preface }: ConnectOptions): void {
    if (keepAlive !== undefined) {
      this.#set(SOL_SOCKET, SO_KEEPALIVE, 1);
      this.#set(IPPROTO.tcp, TCP_KEEPIDLE, keepAlive.idleSeconds);
      this.#engine.options.setKeepAlive(this.#fd, keepAlive.intervalSeconds, keepAlive.retries);
    }
    if (preface !== undefined) this.write(preface);
  }

  #set(level: number, option: number, value: number): void {
    this.#engine.calls.set(this.#fd, level, option, value);
  }

  /** 0, or an errno with its sign turned. */
  #watch(): number {
    if (this.#watched) return 0;
    const failed = this.#engine.poller.watch(this.#fd, this);
    this.#watched = failed === 0;
    return failed;
  }

  /** What can be read already is told in the next turn, not from within a call of the owner's. */
  #listen(): void {
    this.#fail(this.#watch());
    if (this.#readable) this.#engine.poller.again(this.#fd);
  }

  #read(): void {
    const { calls, buffer, poller } = this.#engine;
    for (let reads = 0; reads < MOST_READS; reads++) {
      if (!this.#readable || this.#heardEnd || this.#fd < 0) return;
      if (!this.#closing && (this.#handlers === null || this.#held)) return;
      // An error that is known is not told again: there is just no more.
      const length = calls.recv(this.#fd, buffer) || this.#lost;
      if (length > 0) {
        // The buffer was not filled, so nothing is left; what comes now comes with an event (epoll(7), question 9).
        if (length < buffer.length && !this.#more) this.#readable = false;
        if (!this.#closing) this.#handlers?.onData(buffer.slice(0, length));
      } else if (length === 0) this.#hearEnd();
      else if (length === -EAGAIN) this.#readable = false;
      else this.#finish(this.#broken(length));
    }
    poller.again(this.#fd);
  }

  #hearEnd(): void {
    this.#heardEnd = true;
    if (!this.#closing) this.#handlers?.onEnd();
    if (this.#ended && this.#queue === null) this.#finish();
  }

  #end(): void {
    this.#ended = true;
    if (this.#queue === null) this.#engine.calls.shutdown(this.#fd);
  }

  #flush(): void {
    const queue = this.#queue ?? [];
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      const sent = this.#engine.calls.send(this.#fd, next);
      if (sent === -EAGAIN) return;
      if (sent < 0) {
        this.#fail(sent);
        return;
      }
      if (sent < next.length) queue[0] = next.subarray(sent);
      else queue.shift();
    }
    this.#queue = null;
    if (this.#ended) {
      this.#engine.calls.shutdown(this.#fd);
      if (this.#heardEnd) this.#finish();
    } else if (!this.#closing) this.#handlers?.onDrain();
  }

  #broken(errno: number): SystemError {
    const { address, port } = this.remote;
    return this.#engine.calls.error(errno, `stream ${printEndpoint(address, port)}`);
  }

  /** If so, in a moment: the owner is in the middle of a call. */
  #fail(errno: number): void {
    if (errno >= 0) return;
    const failure = this.#broken(errno);
    queueMicrotask(() => this.#finish(failure));
  }

  #reset(): void {
    this.#engine.calls.resetOnClose(this.#fd);
    this.#finish();
  }

  #finish(failure: SystemError | null = null, closer: Pick<Closer, 'close'> = this.#engine.closer): void {
    const fd = this.#fd;
    if (fd < 0) return;
    this.#fd = -1;
    this.#engine.poller.forget(fd);
    closer.close(fd);
    this.#queue = null;
    this.#failure = failure;
    if (this.#lingering !== null) clearTimeout(this.#lingering);
    if (this.#handlers !== null) this.#tellSoon();
  }

  /** Behind the call that is under way: its owner may be in the middle of something. All that wait are told together. */
  #tellSoon(): void {
    const { closed } = this.#engine;
    // It costs a seventh of queueMicrotask, which makes an AsyncResource.
    if (closed.push(this) === 1) process.nextTick(() => QuickStream.#tellAll(closed.splice(0)));
  }

  static #tellAll(closed: readonly QuickStream[]): void {
    let told = 0;
    try {
      for (const stream of closed) {
        told++;
        stream.#tellClosed();
      }
    } finally {
      // What one of them throws is uncaught. The others must hear it.
      if (told < closed.length) process.nextTick(() => QuickStream.#tellAll(closed.slice(told)));
    }
  }

  #tellClosed(): void {
    const handlers = this.#handlers;
    if (handlers === this.#told) return;
    this.#told = handlers;
    handlers?.onClose(this.#closing ? null : this.#failure);
  }
}
