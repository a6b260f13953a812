// HTTP: one-shot requests by undici, and a small server on TCP or a Unix socket by node:http. See Http in world.ts.

import { lstat, mkdir, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect as netConnect, isIP, Socket } from 'node:net';
import { dirname } from 'node:path';
import { buildConnector, Client } from 'undici';
import type { Family } from '../../lib/address.ts';
import { printEndpoint } from '../../lib/address.ts';
import { type Cut, Knife, knifeWithin } from '../../lib/cut.ts';
import { errorText, SystemError } from '../../lib/errors.ts';
import { showUrl } from '../../lib/url.ts';
import type { Log } from '../../log/record.ts';
import type { Endpoint, Http, HttpRequest, HttpResponse, Names, ServedRequest, ServedResponse } from '../world.ts';
import type { Authorities } from './authorities.ts';
import { systemError } from './errors.ts';
import { ownRefusal, refusalOf } from './icmp-errors.ts';

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_REQUEST_BODY_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 128;
const REQUEST_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 5_000;
/** RFC 8305 §3: the other family's answer may take this much longer than the first one. */
const RESOLUTION_DELAY_MS = 50;
/** How long a client may take to read its answer, however slowly it does. */
const ANSWER_TIMEOUT_MS = 30_000;
/** What is still being answered at close() has this long. */
const CLOSE_GRACE_MS = 500;
/** A live owner of a Unix socket answers at once. */
const PROBE_MS = 1_000;

/** What undici says of a body that ended too early, or a connection that went away. */
const UNDICI_CODES: Readonly<Record<string, string>> = {
  UND_ERR_SOCKET: 'ECONNRESET',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'ECONNRESET',
  UND_ERR_CONNECT_TIMEOUT: 'ETIMEDOUT',
  UND_ERR_HEADERS_OVERFLOW: 'EFBIG',
};

export function createHttp(
  names: Names,
  authorities: Authorities,
  log: Log,
  answerTimeoutMs = ANSWER_TIMEOUT_MS,
): Http {
  return {
    get: (request, cut) => exchange({ ...request, method: 'GET' }, cut, names, authorities),
    post: (request, cut) => exchange({ ...request, method: 'POST' }, cut, names, authorities),
    stream: (request, onData, cut) => {
      const method = request.body === undefined ? 'GET' : 'POST';
      return exchange({ ...request, method, onData }, cut, names, authorities);
    },
    serve: (at, handle) =>
      serve(at, (request, response) => void answer(request, response, handle, log, answerTimeoutMs)),
  };
}

interface Exchange extends HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly body?: string;
  /** The body of an answer with status 200 comes here, for as long as it takes. */
  readonly onData?: (bytes: Uint8Array) => void;
}

/** One client for one request: nothing is pooled, so nothing of an earlier request can disturb this one. */
async function exchange(request: Exchange, cut: Cut, names: Names, authorities: Authorities): Promise<HttpResponse> {
  const call = `${request.method} ${showUrl(request.url)}`;
  if (cut.aborted) throw new SystemError('ECANCELED', call);
  const url = URL.canParse(request.url) ? new URL(request.url) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new SystemError('EINVAL', call, 'not an http or https URL');
  }
  // Ends what is under way, name look-ups included, with the reason that came first.
  const knife = new Knife();
  const stopped: { by: SystemError | null } = { by: null };
  const stop = (error: SystemError) => {
    stopped.by ??= error;
    knife.abort();
  };
  const client = new Client(url.origin, {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: dialBy(
      {
        timeout: 0,
        lookup: lookupBy(names, knife),
        ...(url.protocol === 'https:'
          ? { secureContext: authorities(request.tls), rejectUnauthorized: request.tls?.verify ?? true }
          : {}),
      },
      call,
      knife,
    ),
  });
  knife.onAbort(() => void client.destroy(stopped.by).catch(() => {}));
  const onTimeOver = () => stop(new SystemError('ETIMEDOUT', call, `${request.timeoutMs} ms`));
  // One turn of the loop more: when it stood still, timers come before the answer that is there already.
  let turn: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => (turn = setImmediate(onTimeOver)), request.timeoutMs);
  const inTime = () => {
    clearTimeout(timer);
    clearImmediate(turn);
  };
  const release = cut.onAbort(() => stop(new SystemError('ECANCELED', call)));
  try {
    const { statusCode, headers, body } = await client.request({
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: request.headers ?? {},
      signal: knife.signal,
      ...(request.body === undefined ? {} : { body: request.body }),
    });
    const onData = statusCode === 200 ? request.onData : undefined;
    if (onData !== undefined) inTime();
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (onData !== undefined) {
        onData(new Uint8Array(chunk));
        continue;
      }
      length += chunk.length;
      if (length > request.maxBytes) {
        stop(new SystemError('EFBIG', call, `at most ${request.maxBytes} bytes`));
        break;
      }
      chunks.push(chunk);
    }
    if (stopped.by !== null) throw stopped.by;
    return { status: statusCode, headers: flatten(headers), body: new Uint8Array(Buffer.concat(chunks)) };
  } catch (error) {
    throw stopped.by ?? undiciError(error, call);
  } finally {
    inTime();
    release();
    client.destroy().catch(() => {});
  }
}

function undiciError(thrown: unknown, call: string): SystemError {
  const code = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
  const errno = UNDICI_CODES[code];
  return errno === undefined ? systemError(thrown, call) : new SystemError(errno, call, errorText(thrown));
}

function flatten(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}

/**
 * undici's own, but what the network says of the server is told from what this host can not do, and a cut ends it: undici waits for a
 * connection that has not come about, TLS included, though its client is destroyed.
 */
function dialBy(options: buildConnector.BuildOptions, call: string, cut: Cut): buildConnector.connector {
  const dial = buildConnector(options);
  return (to, done) => {
    let atOnce = false;
    let forget = (): void => {};
    const socket: unknown = dial(to, (...outcome) => {
      forget();
      const failed = outcome[0] === null ? null : systemError(outcome[0], call);
      const refusal = failed === null ? null : atOnce ? ownRefusal(failed) : refusalOf(failed);
      if (refusal === null || refusal === failed) done(...outcome);
      else done(refusal, null);
    });
    if (!(socket instanceof Socket)) return;
    forget = cut.onAbort(() => void socket.destroy());
    socket.on('connectionAttempt', () => {
      atOnce = true;
      // What connect(2) refuses is told in the tick behind this one, before anything is heard of the network.
      process.nextTick(() => process.nextTick(() => (atOnce = false)));
    });
  };
}

type Found = { readonly address: string; readonly family: Family };
type LookupCallback = (error: Error | null, found: Found[] | string, family?: number) => void;

/**
 * net.connect's `lookup` in terms of Names: both families at once, so that Node may try one after the other (RFC 8305). A name server
 * that answers for one family only costs no more than the delay.
 */
function lookupBy(names: Names, cut: Cut) {
  return (host: string, options: { readonly all?: boolean | undefined }, done: LookupCallback): void => {
    const { knife, release } = knifeWithin(cut);
    const answers: Record<Family, readonly Found[]> = { 6: [], 4: [] };
    let failure: SystemError | null = null;
    let awaited = 2;
    let over = false;
    let delay: NodeJS.Timeout | undefined;
    const finish = (): void => {
      if (over) return;
      over = true;
      clearTimeout(delay);
      release();
      knife.abort();
      const found = [...answers[6], ...answers[4]];
      const [first] = found;
      if (first === undefined) done(failure, []);
      else if (options.all) done(null, found);
      else done(null, first.address, first.family);
    };
    const ask = async (family: Family): Promise<void> => {
      try {
        const addresses = await names.resolve(host, family, knife);
        if (addresses.length === 0) throw new SystemError('ENOTFOUND', `resolve ${host}`);
        answers[family] = addresses.map((address) => ({ address, family }));
        delay ??= setTimeout(finish, RESOLUTION_DELAY_MS);
      } catch (error) {
        if (family === 4) failure = systemError(error, `resolve ${host}`);
      }
      awaited--;
      if (awaited === 0) finish();
    };
    void ask(6);
    void ask(4);
  };
}

type Handle = (request: ServedRequest) => ServedResponse | Promise<ServedResponse>;
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(at: Endpoint | { readonly path: string }, answer: Answer) {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
    },
    oneAtATime(answer),
  );
  boundConnections(server);
  server.setTimeout(REQUEST_TIMEOUT_MS + IDLE_TIMEOUT_MS);
  if ('path' in at) await listenUnix(server, at.path);
  else {
    const call = `listen ${printEndpoint(at.address, at.port)}`;
    if (isIP(at.address) === 0) throw new SystemError('EINVAL', call, 'not a literal address');
    await listening(server, call, () =>
      server.listen({ host: at.address, port: at.port, ipv6Only: at.address !== '::' }),
    );
  }
  server.on('error', () => {});
  return {
    close: () =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/**
 * A request that comes before the one before it on its connection was answered is not looked at: that answer is the last one there,
 * and whoever wants more asks again (RFC 9112 §9.3.2). Node has thousands parsed at once that came together, and answers them all.
 */
function oneAtATime(answer: Answer): Answer {
  const underWay = new WeakMap<Socket, ServerResponse | 'the last'>();
  return (request, response) => {
    const { socket } = request;
    const before = underWay.get(socket);
    if (before === 'the last') return;
    if (before === undefined) {
      underWay.set(socket, response);
      response.once('close', () => {
        if (underWay.get(socket) === response) underWay.delete(socket);
      });
      return answer(request, response);
    }
    underWay.set(socket, 'the last');
    // Node reads on after each request that it has parsed.
    process.nextTick(() => socket.pause());
    if (before.headersSent) socket.destroySoon();
    else before.shouldKeepAlive = false;
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  handle: Handle,
  log: Log,
  timeoutMs: number,
): Promise<void> {
  // Nothing here takes a body: a small one is read and dropped.
  let length = 0;
  request.on('data', (chunk: Uint8Array) => {
    length += chunk.length;
    if (length > MAX_REQUEST_BODY_BYTES) request.destroy();
  });
  request.on('error', () => {});
  response.on('error', () => {});
  const method = request.method ?? 'GET';
  const url = request.url ?? '/';
  let answered: ServedResponse;
  try {
    answered = await handle({ method, url, headers: flatten(request.headers) });
  } catch (error) {
    log({ level: 'error', system: 'http', text: `${method} ${url}: ${errorText(error)}` });
    answered = {
      status: 500,
      headers: { 'content-type': 'application/json' },
      body: `${JSON.stringify({ error: 'internal error' })}\n`,
    };
  }
  if (response.destroyed) return;
  response.writeHead(answered.status, { ...answered.headers, 'content-length': Buffer.byteLength(answered.body) });
  const timer = setTimeout(() => request.socket.destroy(), timeoutMs);
  response.once('close', () => clearTimeout(timer));
  response.end(answered.body);
}

/** Those that ask nothing make room, the oldest first: idle connections shut nobody out. */
function boundConnections(server: Server): void {
  const idle = new Set<Socket>();
  let open = 0;
  server.on('connection', (socket: Socket) => {
    open++;
    socket.once('close', () => {
      open--;
      idle.delete(socket);
    });
    if (open > MAX_CONNECTIONS) {
      const [oldest = socket] = idle;
      // Counted as closed only later: it must not be chosen twice.
      idle.delete(oldest);
      oldest.destroy();
      if (oldest === socket) return;
    }
    idle.add(socket);
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    response.once('close', () => {
      if (!socket.destroyed) idle.add(socket);
    });
  });
}

/** Mode 0660 from its first moment. A socket file that nobody answers on is what a crash left, and is replaced. */
async function listenUnix(server: Server, path: string): Promise<void> {
  const call = `listen ${path}`;
  const bind = () =>
    listening(server, call, () => {
      // bind(2) happens inside this call, so no other file can get this mask.
      const umask = process.umask(0o117);
      try {
        server.listen({ path });
      } finally {
        process.umask(umask);
      }
    });
  try {
    await mkdir(dirname(path), { recursive: true });
    return await bind();
  } catch (error) {
    if (systemError(error, call).code !== 'EADDRINUSE') throw systemError(error, call);
  }
  const found = await lstat(path).catch(() => null);
  if (found !== null && !found.isSocket())
    throw new SystemError('EADDRINUSE', call, 'there is a file that is no socket');
  if (await answers(path)) throw new SystemError('EADDRINUSE', call);
  await unlink(path).catch(() => {});
  await bind();
}

/** Does a process listen on this Unix socket? Only a refused connection says that none does. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = netConnect({ path });
    const settle = (alive: boolean) => {
      clearTimeout(timer);
      probe.destroy();
      resolve(alive);
    };
    const timer = setTimeout(() => settle(true), PROBE_MS);
    probe.on('connect', () => settle(true));
    probe.on('error', (error) => settle(systemError(error, 'connect').code !== 'ECONNREFUSED'));
  });
}

function listening(server: Server, call: string, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(systemError(error, call));
    server.once('error', fail);
    server.once('listening', () => {
      server.off('error', fail);
      resolve();
    });
    listen();
  });
}
