import { expect } from 'chai';
import fc from 'fast-check';
import http2 from 'node:http2';
import net from 'node:net';
import { encodeFields, type Field } from '../../../../monitors/lib/hpack.ts';
import { Http2Client } from '../../../../monitors/lib/http2.ts';
import type { Reading, Verdict } from '../../../../monitors/lib/response.ts';
import { listenSomewhere } from '../../../support/listen.ts';

const WHOLE: Reading = { until: 'body', keepBytes: 1 << 20, maxBodyBytes: 1 << 24, toHead: false };
const GET: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'www.example.org'],
  [':path', '/'],
];
const NOTHING = new Uint8Array(0);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

function frame(type: number, flags: number, stream: number, payload: Uint8Array | string = ''): Buffer {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}
const SETTINGS = frame(4, 0, 0);
const headers = (fields: readonly Field[], flags = 4, stream = 1) => frame(1, flags, stream, encodeFields(fields));
const OK = headers([[':status', '200']]);
const u32 = (...values: readonly number[]) =>
  Buffer.concat(values.map((value) => Buffer.from(value.toString(16).padStart(8, '0'), 'hex')));

/** A client that has asked. */
function asking(reading: Partial<Reading> = {}): Http2Client {
  const client = new Http2Client();
  client.request(GET, NOTHING, { ...WHOLE, ...reading });
  return client;
}

describe('The HTTP/2 client', () => {
  describe('with the server of Node', () => {
    const server = http2.createServer({ settings: { maxConcurrentStreams: 1 } });
    const closing: (() => void)[] = [];
    let port = 0;
    before(async () => {
      server.on('stream', (stream, asked) => {
        stream.on('error', () => {});
        let body = '';
        stream.setEncoding('latin1');
        stream.on('data', (chunk: string) => {
          body += chunk;
        });
        stream.on('end', () => {
          const path = asked[':path'] ?? '';
          if (path === '/big') {
            stream.respond({ ':status': 200, 'x-lots': 'z'.repeat(3000) });
            stream.end('x'.repeat(300_000));
          } else if (path === '/trailers') {
            stream.respond({ ':status': 200 }, { waitForTrailers: true });
            stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
            stream.end('abc');
          } else if (path === '/interim') {
            stream.additionalHeaders({ ':status': 103, link: '</x>' });
            stream.respond({ ':status': 204 }, { endStream: true });
          } else if (path === '/reset') {
            stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
          } else {
            stream.respond({ ':status': 404, server: 'Node', date: 'today', 'x-long': 'Ünïcode and "quotes" {}|~^' });
            stream.end(`${asked[':method']} ${path} ${asked['x-y'] ?? ''} ${body.length}`);
          }
        });
      });
      port = await listenSomewhere(server);
    });
    after(() => {
      for (const close of closing) close();
      server.close();
    });

    async function connect() {
      const socket = net.connect(port, '127.0.0.1');
      closing.push(() => socket.destroy());
      await new Promise((resolve) => socket.once('connect', resolve));
      const client = new Http2Client();
      let settle: (verdict: Verdict) => void = () => {};
      socket.on('data', (bytes) => {
        const verdict = client.push(bytes);
        const output = client.output();
        if (output !== null) socket.write(output);
        if (verdict !== undefined) settle(verdict);
      });
      const ask = (fields: readonly Field[], body = '', reading: Partial<Reading> = {}) =>
        new Promise<Verdict>((resolve) => {
          settle = resolve;
          const all = [...GET.slice(0, 3), ...fields];
          socket.write(client.request(all, new TextEncoder().encode(body), { ...WHOLE, ...reading }));
        });
      return { client, ask };
    }

    it('reads status, fields in the Huffman code and body, one request after the other', async () => {
      const { client, ask } = await connect();
      for (let i = 0; i < 5; i++) {
        expect(
          await ask([
            [':path', `/${i}`],
            ['x-y', 'z'],
          ]),
        ).to.equal(null);
        expect(client.status).to.equal(404);
        expect(client.header('server')).to.deep.equal(['Node']);
        expect(client.header('date')).to.deep.equal(['today']);
        expect(client.header('x-long')).to.have.length(1);
        expect(text(client.body())).to.equal(`GET /${i} z 0`);
        expect(client.reusable).to.equal(true);
      }
    });

    it('takes a body that is larger than all windows, and gives it back', async () => {
      const { client, ask } = await connect();
      for (let i = 0; i < 3; i++) {
        expect(await ask([[':path', '/big']])).to.equal(null);
        expect(client.bodyBytes).to.equal(300_000);
        expect(client.header('x-lots')[0]?.length).to.equal(3000);
      }
      expect(await ask([[':path', '/big']], '', { keepBytes: 10, maxBodyBytes: 1000 })).to.equal(null);
      expect(text(client.body())).to.equal('x'.repeat(10));
      expect(client.reusable).to.equal(false);
    });

    it('sends bodies of many frames as long as they fit', async () => {
      const { client, ask } = await connect();
      const body = 'b'.repeat(40_000);
      expect(client.fits(65_535)).to.equal(true);
      expect(client.fits(65_536)).to.equal(false);
      const post: readonly Field[] = [[':path', '/post']];
      expect(await ask(post, body)).to.equal(null);
      expect(text(client.body())).to.equal('GET /post  40000');
      if (client.fits(body.length)) expect(await ask(post, body)).to.equal(null);
    });

    it('reads trailers, and passes over what comes before the response', async () => {
      const { client, ask } = await connect();
      expect(await ask([[':path', '/trailers']])).to.equal(null);
      expect(client.header('grpc-status')).to.deep.equal(['0']);
      expect(text(client.body())).to.equal('abc');
      expect(await ask([[':path', '/interim']])).to.equal(null);
      expect(client.status).to.equal(204);
      expect(client.header('link')).to.deep.equal([]);
    });

    it('says why the server reset the stream', async () => {
      const { client, ask } = await connect();
      expect(await ask([[':path', '/reset']])).to.match(/the server reset the stream: REFUSED_STREAM$/);
      expect(client.reusable).to.equal(false);
    });
  });

  it('reads a response byte by byte as it does at once', () => {
    const whole = Buffer.concat([SETTINGS, frame(6, 0, 0, '12345678'), OK, frame(0, 0, 1, 'ab'), frame(0, 1, 1, 'c')]);
    const client = asking();
    for (const byte of whole.subarray(0, -1)) expect(client.push(Uint8Array.of(byte))).to.equal(undefined);
    expect(client.push(whole.subarray(-1))).to.equal(null);
    expect([client.status, text(client.body()), client.reusable]).to.deep.equal([200, 'abc', true]);
    client.dropResponse();
    expect([client.body().length, client.reusable]).to.deep.equal([0, true]);
    // An acknowledgement of SETTINGS, and the PING back.
    const answer = Buffer.concat([frame(4, 1, 0), frame(6, 1, 0, '12345678')]);
    expect(Buffer.from(client.output() ?? NOTHING).toString('hex')).to.equal(answer.toString('hex'));
  });

  it('is content with the head where only that was wanted', () => {
    const client = asking({ until: 'line' });
    expect(client.push(Buffer.concat([SETTINGS, OK]))).to.equal(null);
    expect(client.status).to.equal(200);
    expect(client.reusable).to.equal(false);
  });

  it('takes padding, priorities and continuations for what they are', () => {
    const client = asking();
    const block = encodeFields([
      [':status', '200'],
      ['a', 'b'],
    ]);
    const padded = Buffer.concat([Buffer.of(2), Buffer.alloc(5), block.subarray(0, 2), Buffer.alloc(2)]);
    const rest = [frame(1, 0x08 | 0x20, 1, padded), frame(9, 0, 1), frame(9, 4, 1, block.subarray(2))];
    const body = frame(0, 0x09, 1, Buffer.concat([Buffer.of(3), Buffer.from('xyz'), Buffer.alloc(3)]));
    expect(client.push(Buffer.concat([SETTINGS, ...rest, body]))).to.equal(null);
    expect(client.header('a')).to.deep.equal(['b']);
    expect(text(client.body())).to.equal('xyz');
  });

  for (const [what, frames, reason] of [
    [
      'HTTP/1',
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      /no HTTP\/2 response: it begins with HTTP\/1.1 400 Bad Re/,
    ],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), /it begins with SSH-2.0/],
    ['a huge frame', Buffer.concat([SETTINGS, Buffer.from('ffffff000000000001', 'hex')]), /a frame has 16777215 bytes/],
    ['a reset', Buffer.concat([SETTINGS, frame(3, 0, 1, u32(2))]), /the server reset the stream: INTERNAL_ERROR/],
    [
      'GOAWAY',
      Buffer.concat([SETTINGS, frame(7, 0, 0, Buffer.concat([u32(0, 0xb), Buffer.from('slow\x07')]))]),
      /GOAWAY: ENHANCE_YOUR_CALM \(slow\?\)/,
    ],
    ['a refusing GOAWAY', Buffer.concat([SETTINGS, frame(7, 0, 0, u32(0, 0))]), /GOAWAY: NO_ERROR/],
    ['a push', Buffer.concat([SETTINGS, frame(5, 4, 1, u32(2))]), /PUSH_PROMISE/],
    [
      'another stream',
      Buffer.concat([SETTINGS, headers([[':status', '200']], 5, 3)]),
      /headers of stream 3, which nobody opened/,
    ],
    ['data without headers', Buffer.concat([SETTINGS, frame(0, 1, 1, 'x')]), /a body without headers/],
    ['no status', Buffer.concat([SETTINGS, headers([['a', 'b']])]), /the status is “”/],
    ['a broken header block', Buffer.concat([SETTINGS, frame(1, 4, 1, Buffer.of(0x80))]), /there is no header field 0/],
    ['an interrupted header block', Buffer.concat([SETTINGS, frame(1, 0, 1, ''), SETTINGS]), /is interrupted/],
    [
      'a body of another length',
      Buffer.concat([
        SETTINGS,
        headers([
          [':status', '200'],
          ['content-length', '5'],
        ]),
        frame(0, 1, 1, 'abc'),
      ]),
      /200: 3 bytes of body, but Content-Length is 5/,
    ],
    [
      'no body where one was told',
      Buffer.concat([
        SETTINGS,
        headers(
          [
            [':status', '200'],
            ['content-length', '5'],
          ],
          5,
        ),
      ]),
      /0 bytes of body, but Content-Length is 5/,
    ],
    [
      'a body that trailers cut short',
      Buffer.concat([
        SETTINGS,
        headers([
          [':status', '200'],
          ['content-length', '5'],
        ]),
        frame(0, 0, 1, 'abc'),
        headers([['grpc-status', '0']], 5),
      ]),
      /200: 3 bytes of body, but Content-Length is 5/,
    ],
    [
      'too much padding',
      Buffer.concat([SETTINGS, OK, frame(0, 8, 1, Buffer.of(9, 1))]),
      /200: more padding than frame/,
    ],
    [
      'a body octet by octet',
      Buffer.concat([SETTINGS, OK, ...new Array<Buffer>(16_385).fill(frame(0, 0, 1, 'x'))]),
      /200: the body comes in too many frames/,
    ],
    [
      'PINGs without end',
      Buffer.concat([SETTINGS, ...new Array<Buffer>(1001).fill(frame(6, 0, 0, '12345678'))]),
      /without end/,
    ],
    [
      'empty continuations without end',
      Buffer.concat([SETTINGS, frame(1, 0, 1), ...new Array<Buffer>(1001).fill(frame(9, 0, 1))]),
      /without end/,
    ],
    [
      'headers without end',
      Buffer.concat([SETTINGS, frame(1, 0, 1), ...new Array<Buffer>(5).fill(frame(9, 0, 1, Buffer.alloc(16_000)))]),
      /the response headers never end/,
    ],
  ] as const) {
    it(`calls ${what} by its name`, () => {
      const client = asking();
      expect(client.push(frames)).to.match(reason);
      expect(client.reusable).to.equal(false);
      expect(client.push(OK)).to.match(reason);
    });
  }

  it('lets a server go in order: the response counts, and the connection is not used again', () => {
    const client = asking();
    const frames = [SETTINGS, OK, frame(7, 0, 0, u32(1, 0)), frame(0, 1, 1, 'x'), frame(3, 0, 1, u32(0))];
    expect(client.push(Buffer.concat(frames))).to.equal(null);
    expect(client.reusable).to.equal(false);
  });

  it('tells how far it got', () => {
    const client = asking();
    expect(client.progress).to.equal('before any answer');
    expect(client.end()).to.equal('Connection was closed cleanly.');
    client.push(SETTINGS.subarray(0, 3));
    expect(client.progress).to.equal('before its SETTINGS');
    client.push(SETTINGS.subarray(3));
    expect(client.end()).to.equal('the connection was closed after its SETTINGS, before any headers');
    client.push(Buffer.concat([OK, frame(0, 0, 1, 'abc')]));
    expect(client.end()).to.equal('the connection was closed 200, after 3 bytes of the body');
  });

  it('neither throws nor hangs nor grows, whatever a server sends', () => {
    const noise = fc.uint8Array({ maxLength: 300 });
    const frames = fc
      .tuple(
        fc.integer({ min: 0, max: 11 }),
        fc.integer({ min: 0, max: 255 }),
        fc.constantFrom(0, 1, 1, 1, 2, 3),
        noise,
      )
      .map(([type, flags, stream, payload]) => frame(type, flags, stream, payload));
    const piece = fc.oneof(
      noise.map((bytes) => Buffer.from(bytes)),
      frames,
      fc.constantFrom(SETTINGS, OK, frame(0, 0, 1, 'abc')),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.array(piece, { maxLength: 30 }), (greet, pieces) => {
        const client = asking({ keepBytes: 100, maxBodyBytes: 1000 });
        for (const bytes of greet ? [SETTINGS, ...pieces] : pieces) {
          const verdict = client.push(bytes);
          expect(['string', 'undefined', 'object']).to.include(typeof verdict);
          expect((client.output() ?? NOTHING).length).to.be.at.most(5000);
          expect(client.body().length).to.be.at.most(100);
        }
        expect(client.progress).to.be.a('string');
        client.end();
      }),
      { seed: 9113, numRuns: 2000 },
    );
  });
});
