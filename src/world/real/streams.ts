// TCP and TLS streams on node:net. See Streams in world.ts. Addresses are literal: names are resolved by names.ts.

import { connect as netConnect, createServer, isIP, type Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import { printEndpoint } from '../../lib/address.ts';
import type {
  AoKey,
  ConnectOptions,
  Endpoint,
  Listener,
  Stream,
  StreamHandlers,
  Streams,
  TcpOptions,
  TlsOptions,
  TlsState,
} from '../world.ts';
import type { Authorities } from './authorities.ts';
import { systemError } from './errors.ts';
import { listenerTuning } from './listener-keys.ts';
import { LINGER_MS, type QuickDial, QuickStream } from './quick-stream.ts';
import { familyToDial } from './socket-address.ts';
import { securedSocket, tlsStateOf } from './tls.ts';

/** setsockopt(2) on a descriptor, for what Node has no call for. Throws a SystemError. */
export interface SocketOptions {
  /** `address` is the other side's; `socketFamily` 6 with an IPv4 address: one that came to a listener on `::`. */
  apply(fd: number, socketFamily: 4 | 6, address: string, options: TcpOptions): void;
  /** null: the system's. */
  setListenerTtl(fd: number, socketFamily: 4 | 6, ttl: number | null): void;
  /** null: no key any more. */
  setMd5Key(fd: number, socketFamily: 4 | 6, address: string, key: string | null): void;
  /** TCP-AO on a listener. */
  changeListenerAoKeys(
    fd: number,
    socketFamily: 4 | 6,
    address: string,
    remove: readonly AoKey[],
    add: readonly AoKey[],
  ): void;
  setKeepAlive(fd: number, intervalSeconds: number, retries: number): void;
  /** SO_LINGER with no time: close(2) then resets. */
  resetOnClose(fd: number): void;
}

const BACKLOG = 511;

/**
 * `socketOptions` null: TcpOptions are refused (ENOTSUP), and of keep-alive only the idle time is set. `quickDial`: makes the
 * connections that have none of a router's options; null: all are Node's. TLS above them is Node's in any case.
 */
export function createStreams(
  authorities: Authorities,
  socketOptions: SocketOptions | null,
  quickDial: QuickDial | null = null,
  lingerMs = LINGER_MS,
): Streams {
  const settings: Settings = { socketOptions, lingerMs };

  function connect(options: ConnectOptions, cut: Cut): Promise<Stream> {
    const quick = quickDial !== null && isQuick(options);
    const connected = quick ? quickDial(options, cut) : connectTcp(options, settings, cut);
    return options.tls === undefined ? connected : secured(connected, options.tls, options, 'connect', cut);
  }

  function secure(stream: Stream, tls: TlsOptions, cut: Cut): Promise<Stream> {
    return secured(stream, tls, stream.remote, 'TLS with', cut);
  }

  async function secured(
    below: Stream | Promise<Stream>,
    tls: TlsOptions,
    { address, port }: Endpoint,
    doing: string,
    cut: Cut,
  ): Promise<Stream> {
    const stream = await below;
    const call = `${doing} ${printEndpoint(address, port)}`;
    const raw = stream instanceof SocketStream || stream instanceof QuickStream ? stream.release() : null;
    if (raw === null) throw new SystemError('ECONNRESET', call, 'the connection is gone');
    // Through the path nothing ends by a FIN, which would keep port and VIP busy, whatever becomes of the handshake.
    if (stream instanceof QuickStream && stream.marked) needed(socketOptions, call).resetOnClose(descriptorOf(raw));
    return new SocketStream(raw, await securedSocket(raw, tls, address, authorities, call, cut), settings);
  }

  function listen(at: Endpoint, onStream: (stream: Stream) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const call = `listen ${printEndpoint(at.address, at.port)}`;
      if (isIP(at.address) === 0) throw new SystemError('EINVAL', call, 'not a literal address');
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
        // Gone before we could ask for its addresses.
        if (socket.remoteAddress === undefined) socket.destroy();
        else onStream(new SocketStream(socket, null, settings));
      });
      const fail = (error: Error) => reject(systemError(error, call));
      server.once('error', fail);
      // Of IPv6 addresses only the unspecified one takes IPv4 too.
      server.listen({ host: at.address, port: at.port, ipv6Only: at.address !== '::', backlog: BACKLOG }, () => {
        server.off('error', fail);
        // accept(2) out of descriptors: the connection waits in the backlog, libuv tries again.
        server.on('error', () => {});
        const bound = server.address();
        const port = bound !== null && typeof bound === 'object' ? bound.port : at.port;
        resolve({
          local: { address: at.address, port },
          tune: listenerTuning(at.address, () => ({
            fd: descriptorOf(server),
            options: needed(socketOptions, call),
          })),
          // The port is free at once; accepted streams belong to whoever got them.
          close: async () => void server.close(),
        });
      });
    });
  }

  return { connect, secure, listen };
}

function connectTcp(options: ConnectOptions, settings: Settings, cut: Cut): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const { address, port, localAddress, localPort, keepAlive, tcp, preface } = options;
    const { socketOptions } = settings;
    const call = () => `connect ${printEndpoint(address, port)}`;
    if (cut.aborted) throw new SystemError('ECANCELED', call());
    const family = familyToDial(options);
    if (tcp !== undefined && protects(tcp)) needed(socketOptions, call());
    const socket = new Socket({ allowHalfOpen: true });
    // Paused, or Node would read ahead of `on`.
    socket.pause();
    const settle = (error: SystemError | null) => {
      release();
      stream.connecting = stream.connected = null;
      if (error === null) resolve(stream);
      else {
        socket.destroy();
        reject(error);
      }
    };
    const stream = new SocketStream(socket, null, settings, { address, port });
    stream.connecting = (error) =>
      settle(error === null ? new SystemError('ECONNRESET', call()) : systemError(error, call()));
    if (tcp !== undefined) {
      // RFC 5082, RFC 2385: the SYN must have it too. At this event the descriptor exists (a local address makes Node bind first).
      socket.once('connectionAttempt', () => {
        try {
          socketOptions?.apply(descriptorOf(socket), family, address, tcp);
        } catch (error) {
          // Later: Node is in the middle of connecting and still needs its handle.
          queueMicrotask(() => stream.connecting?.(error));
        }
      });
    }
    const release = cut.onAbort(() => settle(new SystemError('ECANCELED', call())));
    const bound = tcp !== undefined || localPort !== undefined;
    const source = localAddress ?? (bound ? (family === 4 ? '0.0.0.0' : '::') : undefined);
    stream.connected = () => {
      try {
        socket.setNoDelay(true);
        if (keepAlive !== undefined) {
          socket.setKeepAlive(true, keepAlive.idleSeconds * 1000);
          socketOptions?.setKeepAlive(descriptorOf(socket), keepAlive.intervalSeconds, keepAlive.retries);
        }
        if (preface !== undefined) socket.write(preface);
        settle(null);
      } catch (error) {
        settle(systemError(error, call()));
      }
    };
    // It stays: a listener that is taken away makes an object of Node's larger, for good.
    socket.on('connect', onConnect);
    try {
      socket.connect({
        host: address,
        port,
        ...(source === undefined ? {} : { localAddress: source }),
        ...(localPort === undefined ? {} : { localPort }),
      });
    } catch (error) {
      settle(systemError(error, call()));
    }
  });
}

/** A check's, not a router's: no option of TCP but the mark that leads through a path. */
function isQuick({ tcp }: ConnectOptions): boolean {
  for (const option in tcp) if (option !== 'mark') return false;
  return true;
}

/** Without these a connection would be open to others, or go elsewhere; the rest is a help that may be missing. */
function protects({ ttl, minTtl, mark, md5Key, aoKeys }: TcpOptions): boolean {
  return [ttl, minTtl, mark, md5Key, aoKeys].some((value) => value !== undefined);
}

function needed(socketOptions: SocketOptions | null, call: string): SocketOptions {
  if (socketOptions === null) throw new SystemError('ENOTSUP', call, 'options of TCP connections can not be set here');
  return socketOptions;
}

/** The file descriptor under a socket: not public in Node, but stable since 0.8 and the only way to setsockopt(2). */
function descriptorOf(socket: Socket | Server): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  if (typeof fd !== 'number' || fd < 0) throw new SystemError('EBADF', 'setsockopt');
  return fd;
}

/** An IPv4 peer of a socket that listens on `::` has an address like `::ffff:192.0.2.1` (RFC 4291 §2.5.5.2). */
function unmapped(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

interface Settings {
  readonly socketOptions: SocketOptions | null;
  readonly lingerMs: number;
}

/** On a socket: the stream that it is. So all sockets have the same listeners, of which there would be thousands otherwise. */
const STREAM = Symbol('stream');

interface OwnedSocket extends Socket {
  [STREAM]?: SocketStream | null;
}

function onConnect(this: OwnedSocket): void {
  this[STREAM]?.connected?.();
}
function onData(this: OwnedSocket, bytes: Uint8Array): void {
  this[STREAM]?.onData(bytes);
}
function onEnd(this: OwnedSocket): void {
  this[STREAM]?.onEnd();
}
function onDrain(this: OwnedSocket): void {
  this[STREAM]?.onDrain();
}
function onError(this: OwnedSocket, error: Error): void {
  this[STREAM]?.onError(error);
}
function onClose(this: OwnedSocket): void {
  this[STREAM]?.onClose();
}

/** A stream on a socket, or on the TLS above it. The methods from `onData` on are for its listeners. */
class SocketStream implements Stream {
  /** While it is being connected: told of an error, or of the end (null), in the place of handlers. */
  connecting: ((error: unknown) => void) | null = null;
  connected: (() => void) | null = null;
  readonly #raw: Socket;
  readonly #tls: TLSSocket | null;
  readonly #settings: Settings;
  #local: Endpoint | null = null;
  #remote: Endpoint | null = null;
  #state: TlsState | null = null;
  #handlers: StreamHandlers | null = null;
  #failure: SystemError | null = null;
  #held = false;
  /** The other side has sent its FIN. */
  #heardEnd = false;
  #ended = false;
  #closing = false;
  #gone = false;

  constructor(raw: Socket, tls: TLSSocket | null, settings: Settings, dialled: Endpoint | null = null) {
    this.#raw = raw;
    this.#tls = tls;
    this.#settings = settings;
    this.#remote = dialled;
    const socket: OwnedSocket = this.#socket;
    socket[STREAM] = this;
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.on('end', onEnd);
    if (tls !== null) raw.on('error', () => {});
    // Of others somebody will ask, perhaps when they are gone.
    if (dialled === null) void [this.local, this.remote];
  }

  /** What is read and written. */
  get #socket(): Socket {
    return this.#tls ?? this.#raw;
  }
  get #call(): string {
    const { address, port } = this.remote;
    return `stream ${printEndpoint(address, port)}`;
  }
  get local(): Endpoint {
    return (this.#local ??= { address: unmapped(this.#raw.localAddress ?? ''), port: this.#raw.localPort ?? 0 });
  }
  get remote(): Endpoint {
    return (this.#remote ??= {
      address: unmapped(this.#raw.remoteAddress ?? ''),
      port: this.#raw.remotePort ?? 0,
    });
  }
  // Not before it is asked for: taking a certificate apart costs.
  get tls(): TlsState | undefined {
    return this.#tls === null ? undefined : (this.#state ??= tlsStateOf(this.#tls));
  }

  /** The socket, for something else to use: this stream is none any more. Null: it is gone, closed, or has TLS already. */
  release(): Socket | null {
    const raw: OwnedSocket = this.#raw;
    if (this.#gone || this.#closing || this.#ended || this.#tls !== null || raw.destroyed) return null;
    raw.pause();
    raw.off('data', onData).off('error', onError).off('close', onClose).off('end', onEnd).off('drain', onDrain);
    raw[STREAM] = null;
    this.#gone = this.#closing = true;
    return raw;
  }

  on(given: StreamHandlers): void {
    const first = this.#handlers === null;
    this.#handlers = given;
    if (this.#gone) {
      queueMicrotask(() => this.#tellClosed());
      return;
    }
    if (first) this.#socket.on('data', onData);
    if (!this.#held && !this.#closing) this.#socket.resume();
  }

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (this.#closing || this.#ended || socket.destroyed || socket.write(bytes)) return true;
    if (socket.listenerCount('drain') === 0) socket.on('drain', onDrain);
    return false;
  }

  end(): void {
    if (this.#closing || this.#ended || this.#socket.destroyed) return;
    this.#ended = true;
    this.#socket.end();
  }

  pause(): void {
    this.#held = true;
    if (!this.#closing) this.#socket.pause();
  }

  resume(): void {
    this.#held = false;
    if (this.#handlers !== null && !this.#closing) this.#socket.resume();
  }

  tune(options: TcpOptions): void {
    const { address } = this.remote;
    const mapped = this.#raw.remoteAddress !== address && address.includes('.');
    const socketFamily = mapped || address.includes(':') ? 6 : 4;
    const { socketOptions } = this.#settings;
    const settings = protects(options) ? needed(socketOptions, this.#call) : socketOptions;
    settings?.apply(descriptorOf(this.#raw), socketFamily, address, options);
  }

  close(how: 'fin' | 'rst'): void {
    if (this.#gone) return;
    if (how === 'rst') {
      this.#closing = true;
      this.#reset();
      return;
    }
    if (this.#closing) return;
    this.#closing = true;
    const socket = this.#socket;
    // Nothing to send, nothing to hear.
    if (this.#heardEnd && this.#tls === null && socket.writableLength === 0) {
      socket.destroy();
      return;
    }
    socket.end();
    // What still comes is read and dropped until the other side ends too, or its time is over.
    socket.resume();
    const timer = setTimeout(() => this.#reset(), this.#settings.lingerMs);
    socket.on('close', () => clearTimeout(timer));
  }

  onData(bytes: Uint8Array): void {
    if (!this.#closing) this.#handlers?.onData(bytes);
  }

  onEnd(): void {
    this.#heardEnd = true;
    if (this.#closing) return;
    // An alert of TLS: Node tells the error, then an end as if all were in order.
    if (this.#failure === null) this.#handlers?.onEnd();
    else this.#socket.destroy();
  }

  onDrain(): void {
    if (!this.#closing) this.#handlers?.onDrain();
  }

  onError(error: Error): void {
    if (this.connecting !== null) this.connecting(error);
    else if (!this.#closing) this.#failure ??= systemError(error, this.#call);
  }

  onClose(): void {
    this.#gone = true;
    if (this.connecting !== null) this.connecting(null);
    else this.#tellClosed();
  }

  #tellClosed(): void {
    this.#handlers?.onClose(this.#closing ? null : this.#failure);
  }

  /** Node's own resetAndDestroy() crashes the process (20.20) on the socket below a TLS one; destroying alone would send FIN. */
  #reset(): void {
    if (this.#tls === null) {
      this.#raw.resetAndDestroy();
      return;
    }
    try {
      this.#settings.socketOptions?.resetOnClose(descriptorOf(this.#raw));
    } catch {
      // It is gone already.
    }
    this.#tls.destroy();
  }
}
