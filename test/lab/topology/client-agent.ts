// The program in the client's namespace: opens fresh TCP connections on order and reports each of them. Orders come on
// stdin, reports go to stdout, one JSON object per line. Nothing is tried twice.

import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const STANDSTILL_MS = 100;
const AFTERWARDS_MS = 500;

export type Order =
  | {
      readonly do: 'flood';
      readonly id: number;
      readonly vip: string;
      readonly port: number;
      readonly everyMs: number;
      readonly connectTimeoutMs: number;
      readonly timeoutMs: number;
      /** Stop by itself after so many, one after another; null: until told. */
      readonly count: number | null;
    }
  | { readonly do: 'stop'; readonly id: number }
  | {
      readonly do: 'download';
      readonly id: number;
      readonly vip: string;
      readonly port: number;
      readonly path: string;
      readonly digest: string;
    };

export interface Attempt {
  readonly is: 'attempt';
  readonly id: number;
  /** Unix ms of its start. */
  readonly at: number;
  readonly ms: number;
  readonly localPort: number;
  readonly server: string | null;
  /** Null: the whole body came and its digest was right. */
  readonly error: string | null;
}

export interface Download {
  readonly is: 'download';
  readonly id: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Null: every byte came and the digest was right. */
  readonly error: string | null;
}

export type Report =
  | { readonly is: 'ready' }
  | Attempt
  | { readonly is: 'ended'; readonly id: number }
  | { readonly is: 'progress'; readonly id: number; readonly bytes: number; readonly server: string }
  | Download;

const say = (report: Report): void => void process.stdout.write(`${JSON.stringify(report)}\n`);
const now = (): number => performance.timeOrigin + performance.now();

// Each connection has a port of its own: a director that lost the route keeps its old connections for minutes, and a
// port used again would follow such an entry instead of being scheduled.
let lastPort = 10_000;
function nextPort(): number {
  lastPort = lastPort >= 65_000 ? 10_001 : lastPort + 1;
  return lastPort;
}

function attempt(order: Order & { do: 'flood' }, done: () => void): void {
  const at = now();
  const localPort = nextPort();
  const chunks: Buffer[] = [];
  let over = false;
  const socket = connect({ host: order.vip, port: order.port, localPort });
  const finish = (error: string | null): void => {
    if (over) return;
    over = true;
    forgetConnect();
    forget();
    socket.destroy();
    const verdict = error === null ? checkAnswer(Buffer.concat(chunks).toString('latin1')) : { server: null, error };
    say({ is: 'attempt', id: order.id, at, ms: Math.round((now() - at) * 10) / 10, localPort, ...verdict });
    done();
  };
  const forgetConnect = after(order.connectTimeoutMs, () => finish('connect timeout'));
  const forget = after(order.timeoutMs, () => finish('timeout'));
  socket.on('connect', () => {
    forgetConnect();
    socket.write('GET / HTTP/1.0\r\nHost: lab\r\n\r\n');
  });
  socket.on('data', (bytes) => chunks.push(bytes));
  socket.on('end', () => finish(null));
  socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
}

/** After a standstill of the machine the time is over before what came in meanwhile was heard: then a while more. */
function after(ms: number, act: () => void): () => void {
  const due = now() + ms;
  let timer = setTimeout(() => {
    if (now() - due < STANDSTILL_MS) act();
    else timer = setTimeout(act, AFTERWARDS_MS);
  }, ms);
  return () => clearTimeout(timer);
}

function checkAnswer(answer: string): { server: string | null; error: string | null } {
  const head = answer.indexOf('\r\n\r\n');
  if (!/^HTTP\/1\.[01] 200 /.test(answer) || head < 0) return { server: null, error: `answer ${answer.slice(0, 40)}` };
  const body = answer.slice(head + 4);
  const [, text = '', digest, server] = /^((server r\d)\n[^]*?)\nsha256 ([0-9a-f]{64})\n$/.test(body)
    ? [
        body,
        body.slice(0, body.lastIndexOf('sha256 ')),
        body.slice(body.lastIndexOf('sha256 ') + 7).trim(),
        body.slice(7, 9),
      ]
    : [body];
  if (digest === undefined || server === undefined)
    return { server: null, error: `body of ${body.length} bytes cut short` };
  if (createHash('sha256').update(text).digest('hex') !== digest) return { server, error: 'wrong digest' };
  return { server, error: null };
}

const stops = new Map<number, () => void>();

function flood(order: Order & { do: 'flood' }): void {
  let running = 0;
  let started = 0;
  let stopped = false;
  const settle = (): void => {
    if (stopped && running === 0) say({ is: 'ended', id: order.id });
  };
  const one = (): void => {
    running += 1;
    started += 1;
    attempt(order, () => {
      running -= 1;
      if (order.count !== null && started < order.count) one();
      else if (order.count !== null) stop();
      else settle();
    });
  };
  const timer = order.count === null ? setInterval(one, order.everyMs) : null;
  const stop = (): void => {
    if (timer !== null) clearInterval(timer);
    stopped = true;
    stops.delete(order.id);
    settle();
  };
  stops.set(order.id, stop);
  one();
}

function download(order: Order & { do: 'download' }): void {
  const started = now();
  const hash = createHash('sha256');
  let head = '';
  let server: string | null = null;
  let bytes = 0;
  let reported = 0;
  let over = false;
  const socket = connect({ host: order.vip, port: order.port, localPort: nextPort() });
  const finish = (error: string | null): void => {
    if (over) return;
    over = true;
    socket.destroy();
    const verdict = error ?? (hash.digest('hex') === order.digest ? null : `wrong digest after ${bytes} bytes`);
    say({ is: 'download', id: order.id, bytes, seconds: (now() - started) / 1000, error: verdict });
  };
  const body = (chunk: Buffer): void => {
    bytes += chunk.length;
    hash.update(chunk);
    if (server !== null && (reported === 0 || bytes - reported > 1 << 20)) {
      reported = bytes;
      say({ is: 'progress', id: order.id, bytes, server });
    }
  };
  // Silence of twenty seconds is the end of it: TCP itself would go on trying for a quarter of an hour.
  socket.setTimeout(20_000, () => finish(`stalled after ${bytes} bytes`));
  socket.on('connect', () => socket.write(`GET ${order.path} HTTP/1.0\r\nHost: lab\r\n\r\n`));
  socket.on('data', (chunk) => {
    if (server !== null) return body(chunk);
    head += chunk.toString('latin1');
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    server = /^X-Server: (\S+)/m.exec(head)?.[1] ?? '?';
    body(Buffer.from(head.slice(end + 4), 'latin1'));
  });
  socket.on('end', () => finish(null));
  socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const order = JSON.parse(line) as Order;
  switch (order.do) {
    case 'flood':
      return flood(order);
    case 'stop':
      return stops.get(order.id)?.();
    case 'download':
      return download(order);
    default:
      order satisfies never;
  }
});
say({ is: 'ready' });
