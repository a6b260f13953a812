// TCP and TLS streams on node:net. See Streams in world.ts. Addresses are literal: names are resolved by names.ts.

import { connect as netConnect, createServer, isIP, type Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import { printEndpoint } from '../../lib/address.ts';
import type {
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
import { securedSocket, tlsStateOf } from './tls.ts';

/** setsockopt(2) on a descriptor, for what Node has no call for. Throws a SystemError. */
export interface SocketOptions {
  /** `address` is the other side's; `socketFamily` 6 with an IPv4 address: one that came to a listener on `::`. */
  apply(fd: number, socketFamily: 4 | 6, address: string, options: TcpOptions): void;
  /** null: the system's. */
  setListenerTtl(fd: number, socketFamily: 4 | 6, ttl: number | null): void;
  /** null: no key any more. */
  setMd5Key(fd: number, socketFamily: 4 | 6, address: string, key: string | null): void;
  setKeepAlive(fd: number, intervalSeconds: number, retries: number): void;
  /** SO_LINGER with no time: close(2) then resets. */
  resetOnClose(fd: number): void;
}

/** After our own FIN the other side has this long to send its own before the connection is reset. */
const LINGER_MS = 5_000;
const BACKLOG = 511;

/** `socketOptions` null: TcpOptions are refused (ENOTSUP), and of keep-alive only the idle time is set. */
export function createStreams(
  authorities: Authorities,
  socketOptions: SocketOptions | null,
  lingerMs = LINGER_MS,
): Streams {
  const asStream = (socket: Socket) => streamOf(socket, null, socketOptions, lingerMs);
  const asSecureStream = (socket: TLSSocket, raw: Socket) => streamOf(raw, socket, socketOptions, lingerMs);

  async function connect(options: ConnectOptions, cut: Cut): Promise<Stream> {
    const call = `connect ${printEndpoint(options.address, options.port)}`;
    const socket = await connectTcp(options, call, cut, socketOptions);
    if (options.preface !== undefined) socket.write(options.preface);
    if (options.tls === undefined) return asStream(socket);
    return asSecureStream(await securedSocket(socket, options.tls, options.address, authorities, call, cut), socket);
  }

  async function secure(stream: Stream, tls: TlsOptions, cut: Cut): Promise<Stream> {
    const { address, port } = stream.remote;
    const call = `TLS with ${printEndpoint(address, port)}`;
    const raw = isOurs(stream) ? stream.release() : null;
    if (raw === null) throw new SystemError('ECONNRESET', call, 'the connection is gone');
    return asSecureStream(await securedSocket(raw, tls, address, authorities, call, cut), raw);
  }

  function listen(at: Endpoint, onStream: (stream: Stream) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const call = `listen ${printEndpoint(at.address, at.port)}`;
      if (isIP(at.address) === 0) throw new SystemError('EINVAL', call, 'not a literal address');
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
        // Gone before we could ask for its addresses.
        if (socket.remoteAddress === undefined) socket.destroy();
        else onStream(asStream(socket));
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
        let keyed: readonly string[] = [];
        resolve({
          local: { address: at.address, port },
          tune({ ttl, md5Keys }) {
            const socketFamily = at.address.includes(':') ? 6 : 4;
            const fd = descriptorOf(server);
            const keys = [...md5Keys].filter(([address]) => takes(at.address, address));
            if (ttl === null && keys.length + keyed.length === 0) return;
            const options = needed(socketOptions, call);
            options.setListenerTtl(fd, socketFamily, ttl);
            for (const address of keyed) if (!md5Keys.has(address)) options.setMd5Key(fd, socketFamily, address, null);
            for (const [address, key] of keys) options.setMd5Key(fd, socketFamily, address, key);
            keyed = keys.map(([address]) => address);
          },
          // The port is free at once; accepted streams belong to whoever got them.
          close: async () => void server.close(),
        });
      });
    });
  }

  return { connect, secure, listen };
}

function connectTcp(
  options: ConnectOptions,
  call: string,
  cut: Cut,
  socketOptions: SocketOptions | null,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (cut.aborted) throw new SystemError('ECANCELED', call);
    const family = isIP(options.address);
    if (family !== 4 && family !== 6) throw new SystemError('EINVAL', call, 'not a literal address');
    if (!Number.isInteger(options.port) || options.port < 1 || options.port > 65_535) {
      throw new SystemError('EINVAL', call, 'not a port');
    }
    const { localAddress, localPort, keepAlive, tcp } = options;
    if (tcp !== undefined && protects(tcp)) needed(socketOptions, call);
    const socket = new Socket({ allowHalfOpen: true });
    // Paused, or Node would read ahead of `on`.
    socket.pause();
    const settle = (error: SystemError | null) => {
      release();
      for (const event of ['error', 'close', 'connect', 'connectionAttempt']) socket.removeAllListeners(event);
      if (error === null) resolve(socket);
      else {
        socket.on('error', () => {});
        socket.destroy();
        reject(error);
      }
    };
    if (tcp !== undefined) {
      // RFC 5082, RFC 2385: the SYN must have it too. At this event the descriptor exists (a local address makes Node bind first).
      socket.on('connectionAttempt', () => {
        try {
          socketOptions?.apply(descriptorOf(socket), family, options.address, tcp);
        } catch (error) {
          // Later: Node is in the middle of connecting and still needs its handle.
          queueMicrotask(() => settle(systemError(error, call)));
        }
      });
    }
    socket.on('error', (error) => settle(systemError(error, call)));
    socket.on('close', () => settle(new SystemError('ECONNRESET', call)));
    socket.on('connect', () => {
      try {
        socket.setNoDelay(true);
        if (keepAlive !== undefined) {
          socket.setKeepAlive(true, keepAlive.idleSeconds * 1000);
          socketOptions?.setKeepAlive(descriptorOf(socket), keepAlive.intervalSeconds, keepAlive.retries);
        }
        settle(null);
      } catch (error) {
        settle(systemError(error, call));
      }
    });
    const release = cut.onAbort(() => settle(new SystemError('ECANCELED', call)));
    const bound = tcp !== undefined || localPort !== undefined;
    const source = localAddress ?? (bound ? (family === 4 ? '0.0.0.0' : '::') : undefined);
    try {
      socket.connect({
        host: options.address,
        port: options.port,
        ...(source === undefined ? {} : { localAddress: source }),
        ...(localPort === undefined ? {} : { localPort }),
      });
    } catch (error) {
      settle(systemError(error, call));
    }
  });
}

/** Without these a connection would be open to others, or go elsewhere; the rest is a help that may be missing. */
function protects({ ttl, minTtl, mark, md5Key, ao }: TcpOptions): boolean {
  return [ttl, minTtl, mark, md5Key].some((value) => value !== undefined) || ao === true;
}

function needed(socketOptions: SocketOptions | null, call: string): SocketOptions {
  if (socketOptions === null) throw new SystemError('ENOTSUP', call, 'options of TCP connections can not be set here');
  return socketOptions;
}

/** Can a caller with this address come to a listener at that one? */
function takes(listener: string, caller: string): boolean {
  return listener === '::' || listener.includes(':') === caller.includes(':');
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

/** A stream that was made here. */
interface OwnStream extends Stream {
  /** The socket, for something else to use: this stream is none any more. Null: it is gone, closed, or has TLS already. */
  release(): Socket | null;
}

function isOurs(stream: Stream): stream is OwnStream {
  return 'release' in stream;
}

function streamOf(
  raw: Socket,
  tls: TLSSocket | null,
  socketOptions: SocketOptions | null,
  lingerMs: number,
): OwnStream {
  /** What is read and written. */
  const socket: Socket = tls ?? raw;
  const local = { address: unmapped(raw.localAddress ?? ''), port: raw.localPort ?? 0 };
  const remote = { address: unmapped(raw.remoteAddress ?? ''), port: raw.remotePort ?? 0 };
  const call = `stream ${printEndpoint(remote.address, remote.port)}`;
  let state: TlsState | null = null;
  let handlers: StreamHandlers | null = null;
  let failure: SystemError | null = null;
  let held = false;
  let ended = false;
  let closing = false;
  let gone = false;

  /** Node's own resetAndDestroy() crashes the process (20.20) on the socket below a TLS one; destroying alone would send FIN. */
  const reset = () => {
    if (tls === null) {
      socket.resetAndDestroy();
      return;
    }
    try {
      socketOptions?.resetOnClose(descriptorOf(raw));
    } catch {
      // It is gone already.
    }
    socket.destroy();
  };
  const tellClosed = () => handlers?.onClose(closing ? null : failure);
  const onData = (bytes: Uint8Array) => {
    if (!closing) handlers?.onData(bytes);
  };
  const onError = (error: Error) => {
    failure ??= systemError(error, call);
  };
  const onClose = () => {
    gone = true;
    tellClosed();
  };
  const onEnd = () => {
    if (closing) return;
    // An alert of TLS: Node tells the error, then an end as if all were in order.
    if (failure === null) handlers?.onEnd();
    else socket.destroy();
  };
  const onDrain = () => {
    if (!closing) handlers?.onDrain();
  };
  socket.on('error', onError).on('close', onClose).on('end', onEnd).on('drain', onDrain);
  if (tls !== null) raw.on('error', () => {});

  return {
    local,
    remote,
    // Not before it is asked for: taking a certificate apart costs.
    get tls() {
      return tls === null ? undefined : (state ??= tlsStateOf(tls));
    },
    release() {
      if (gone || closing || ended || tls !== null || raw.destroyed) return null;
      raw.pause();
      raw.off('data', onData).off('error', onError).off('close', onClose).off('end', onEnd).off('drain', onDrain);
      gone = closing = true;
      return raw;
    },
    on(given) {
      handlers = given;
      if (gone) {
        queueMicrotask(tellClosed);
        return;
      }
      socket.on('data', onData);
      if (!held && !closing) socket.resume();
    },
    write(bytes) {
      return closing || ended || socket.destroyed ? true : socket.write(bytes);
    },
    end() {
      if (closing || ended || socket.destroyed) return;
      ended = true;
      socket.end();
    },
    pause() {
      held = true;
      if (!closing) socket.pause();
    },
    resume() {
      held = false;
      if (handlers !== null && !closing) socket.resume();
    },
    tune(options) {
      const mapped = raw.remoteAddress !== remote.address && remote.address.includes('.');
      const socketFamily = mapped || remote.address.includes(':') ? 6 : 4;
      const settings = protects(options) ? needed(socketOptions, call) : socketOptions;
      settings?.apply(descriptorOf(raw), socketFamily, remote.address, options);
    },
    close(how) {
      if (gone) return;
      if (how === 'rst') {
        closing = true;
        reset();
        return;
      }
      if (closing) return;
      closing = true;
      socket.end();
      // What still comes is read and dropped until the other side ends too, or its time is over.
      socket.resume();
      const timer = setTimeout(reset, lingerMs);
      socket.on('close', () => clearTimeout(timer));
    },
  };
}
