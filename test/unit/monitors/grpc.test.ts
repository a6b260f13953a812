import http2 from 'node:http2';
import { expect } from 'chai';
import fc from 'fast-check';
import grpc, { decodeResponse } from '../../../monitors/grpc.ts';
import { CERTIFICATE as cert, KEY as key } from '../../support/certificate.ts';
import { listenSomewhere } from '../../support/listen.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';

interface Call {
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
}
type Answer = (stream: http2.ServerHttp2Stream, call: Call) => void;

const framed = (message: readonly number[]) => Buffer.from([0, 0, 0, 0, message.length, ...message]);

/** A whole answer, as gRPC servers give it. */
const says =
  (message: readonly number[], trailers: Readonly<Record<string, string>> = { 'grpc-status': '0' }): Answer =>
  (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end(framed(message));
  };
/** Trailers-Only: an error has nothing else. */
const fails =
  (status: string, message = ''): Answer =>
  (stream) =>
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': status, 'grpc-message': message },
      { endStream: true },
    );

describe('GRPC', () => {
  const benches: Bench[] = [];
  const closers: (() => void)[] = [];
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
    for (const close of closers.splice(0)) close();
  });

  async function against(answer: Answer, given: Readonly<Record<string, unknown>> = {}) {
    const calls: Call[] = [];
    const server = given['tls'] === true ? http2.createSecureServer({ cert, key }) : http2.createServer({});
    const sessions = new Set<http2.ServerHttp2Session>();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => {});
    });
    server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      const parts: Buffer[] = [];
      stream.on('error', () => {});
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () => {
        const call = { headers, body: Buffer.concat(parts) };
        calls.push(call);
        answer(stream, call);
      });
    });
    const port = await listenSomewhere(server);
    closers.push(() => {
      for (const session of sessions) session.destroy();
      server.close();
    });
    return { calls, port, bench: run(port, given) };
  }
  function run(port: number, given: Readonly<Record<string, unknown>> = {}): Bench {
    const read = () => Promise.resolve(new TextEncoder().encode(cert));
    const files = { read, stat: () => Promise.reject(new Error('x')), replace: () => Promise.reject(new Error('x')) };
    const bench = runMonitor(grpc, { timeout: 3, ...given }, { port }, { files });
    benches.push(bench);
    return bench;
  }
  const words = async (bench: Bench) => {
    const health = await bench.result(1, 4000);
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  };

  it('asks the health service, as gRPC wants it', async () => {
    const { bench, calls, port } = await against(says([8, 1]), { service: 'shop.Cart' });
    expect(await words(bench)).to.equal('up: SERVING');
    expect(calls[0]?.headers).to.include({
      ':method': 'POST',
      ':scheme': 'http',
      ':path': '/grpc.health.v1.Health/Check',
      ':authority': `127.0.0.1:${port}`,
      te: 'trailers',
      'content-type': 'application/grpc',
      'grpc-timeout': '3000m',
    });
    expect(calls[0]?.body).to.deep.equal(Buffer.from([0, 0, 0, 0, 11, 0x0a, 9, ...Buffer.from('shop.Cart')]));
  });

  it('asks for the server as a whole, and for names of any length, as protobuf writes them', async () => {
    const whole = await against(says([8, 1]));
    await words(whole.bench);
    expect(whole.calls[0]?.body).to.deep.equal(Buffer.from([0, 0, 0, 0, 0]));
    const name = 'x'.repeat(300);
    const long = await against(says([8, 1]), { service: name, authority: 'cart.example' });
    await words(long.bench);
    expect(long.calls[0]?.body).to.deep.equal(Buffer.from([0, 0, 0, 1, 47, 0x0a, 0xac, 2, ...Buffer.from(name)]));
    expect(long.calls[0]?.headers[':authority']).to.equal('cart.example');
  });

  it('speaks TLS with h2, verified', async () => {
    const tls = { tls: true, 'tls-servername': 'real.example', 'tls-ca': '/ca.pem' };
    const { bench, calls } = await against(says([8, 1]), tls);
    expect(await words(bench)).to.equal('up: SERVING');
    expect(calls[0]?.headers).to.include({ ':scheme': 'https', ':authority': 'real.example' });
    expect(await words((await against(says([8, 1]), { ...tls, 'tls-servername': 'other.example' })).bench)).to.match(
      /^down: .*other\.example/,
    );
    expect(await words((await against(says([8, 1]), { tls: true })).bench)).to.match(/^down: .*self[- ]signed/);
  });

  for (const [what, answer, given, reason] of [
    ['UNKNOWN', says([]), {}, 'the server is UNKNOWN'],
    ['NOT_SERVING', says([8, 2]), { service: 'shop.Cart' }, 'shop.Cart is NOT_SERVING'],
    ['SERVICE_UNKNOWN', says([8, 3]), { service: 'x' }, 'x is SERVICE_UNKNOWN'],
    ['a status that nobody knows', says([8, 9]), {}, 'the server is of status 9'],
    ['NOT_FOUND', fails('5', 'no%20such'), { service: 'x' }, 'the server knows nothing of x: NOT_FOUND (no such)'],
    ['UNIMPLEMENTED', fails('12'), {}, 'the server has no health service: UNIMPLEMENTED'],
    ['UNAVAILABLE', fails('14', 'going away'), {}, 'UNAVAILABLE (going away)'],
    [
      'an error behind a body',
      says([8, 1], { 'grpc-status': '8', 'grpc-message': 'full' }),
      {},
      'RESOURCE_EXHAUSTED (full)',
    ],
    ['no grpc-status', says([8, 1], {}), {}, 'the answer has no grpc-status'],
    ['no message', says([0xff]), {}, 'the answer is no HealthCheckResponse'],
    [
      "a proxy's error",
      (s) => s.respond({ ':status': 503 }, { endStream: true }),
      {},
      "HTTP status 503 instead of an answer of gRPC's",
    ],
    [
      'a web page',
      (s) => {
        s.respond({ ':status': 200, 'content-type': 'text/html' });
        s.end('<html>');
      },
      {},
      'no answer of gRPC\'s: content-type is "text/html"',
    ],
    [
      'no answer',
      () => {},
      { timeout: 0.3 },
      'no whole answer in 0.3 seconds (after its SETTINGS, before any headers)',
    ],
    [
      'half an answer',
      (s) => {
        s.respond({ ':status': 200, 'content-type': 'application/grpc' });
        s.write(Buffer.from([0, 0]));
      },
      { timeout: 0.4 },
      'no whole answer in 0.4 seconds (200, after 2 bytes of the body)',
    ],
    [
      'a reset of the call',
      (s) => s.close(http2.constants.NGHTTP2_REFUSED_STREAM),
      {},
      'no HTTP/2 response: the server reset the stream: REFUSED_STREAM',
    ],
  ] satisfies [string, Answer, Record<string, unknown>, string][]) {
    it(`is down for ${what}`, async () => {
      expect(await words((await against(answer, given)).bench)).to.equal(`down: ${reason}`);
    });
  }

  it('is down for what is not gRPC at all', async () => {
    for (const [onSocket, reason] of [
      [(s) => void s.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /^down: no HTTP\/2 response: it begins with HTTP/],
      [(s) => void s.end(), /^down: closed by the server before any answer$/],
      [(s) => void setTimeout(() => s.resetAndDestroy(), 30), /^down: (reset|lost)/],
      [(s) => void s.write(Buffer.alloc(100_000, 0xff)), /^down: no HTTP\/2 response: /],
    ] satisfies [Parameters<typeof serve>[0], RegExp][]) {
      const server = await serve(onSocket);
      closers.push(() => void server.close());
      expect(await words(run(server.port))).to.match(reason);
    }
  });

  it('reads any message within its bounds, and knows its own', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const status = decodeResponse(framed([...bytes]));
        expect(status === null || (Number.isInteger(status) && status >= 0)).to.equal(true);
        decodeResponse(bytes);
      }),
      { numRuns: 300, seed: 2 },
    );
    expect(decodeResponse(framed([]))).to.equal(0);
    expect(decodeResponse(framed([8, 0x81, 1]))).to.equal(129);
    // Unknown fields of every wire type that there is.
    expect(
      decodeResponse(framed([0x10, 5, 0x1a, 2, 9, 9, 0x25, 1, 2, 3, 4, 0x29, 1, 2, 3, 4, 5, 6, 7, 8, 8, 2])),
    ).to.equal(2);
    expect(decodeResponse(Buffer.from([1, 0, 0, 0, 2, 8, 1]))).to.equal(null);
    expect(decodeResponse(Buffer.from([0, 0, 0, 0, 9, 8, 1]))).to.equal(null);
  });

  it('refuses names that cannot be sent', () => {
    const complaints = (given: Readonly<Record<string, unknown>>) =>
      grpc.refuse(withDefaults(grpc, given) as never).map(({ option }) => option);
    expect(complaints({})).to.deep.equal([]);
    expect(complaints({ service: 'é'.repeat(600), authority: 'a b' })).to.deep.equal(['service', 'authority']);
  });
});
