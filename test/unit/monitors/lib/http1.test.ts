import { expect } from 'chai';
import fc from 'fast-check';
import { Http1Reader, type Http1Reading } from '../../../../monitors/lib/http1.ts';

const WHOLE: Http1Reading = { until: 'body', keepBytes: 1000, maxBodyBytes: 10_000, toHead: false, skipInterim: true };
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));
const reading = (over: Partial<Http1Reading> = {}) => new Http1Reader({ ...WHOLE, ...over });
const bodyOf = (reader: Http1Reader) => Buffer.from(reader.body()).toString('latin1');

describe('The HTTP/1 reader', () => {
  it('passes over interim responses, whole or in pieces, with nothing but the status line asked for too', () => {
    const text =
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    for (const until of ['line', 'head', 'body'] as const) {
      const whole = reading({ until });
      expect(whole.push(bytes(text))).to.equal(null);
      expect(whole.status).to.equal(200);
      const drip = reading({ until });
      let verdict: unknown;
      for (const character of text) verdict ??= drip.push(bytes(character)) === null ? 'read' : undefined;
      expect([verdict, drip.line, drip.header('link')]).to.deep.equal(['read', '200 OK', []]);
    }
    expect(reading().push(bytes('HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n'))).to.equal(null);
  });

  it('does not pass over interim responses without end', () => {
    const reader = reading();
    let verdict: unknown;
    for (let i = 0; i < 5000 && verdict === undefined; i++)
      verdict = reader.push(bytes('HTTP/1.1 100 Continue\r\n\r\n'));
    expect(verdict).to.equal('the response headers never end');
  });

  it('does not read lines of a chunked body without end', () => {
    const endless = (start: string, more: string) => {
      const reader = reading({ maxBodyBytes: 1 << 24 });
      expect(reader.push(bytes(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${start}`))).to.equal(undefined);
      let verdict: unknown;
      for (let i = 0; i < 200 && verdict === undefined; i++) verdict = reader.push(bytes(more.repeat(1000)));
      return verdict;
    };
    expect(endless('', '1\r\nx\r\n')).to.equal('200 OK, but the body comes in too many chunks');
    expect(endless('1\r\nx', '\r\n')).to.equal("200 OK, but a chunk's size is ");
    expect(endless('1\r\nxy', '\r\n')).to.equal('200 OK, but a chunk does not end where it should');
    expect(endless('0\r\n', 'X-Y: z\r\n')).to.equal('200 OK, but the trailers of the chunked body never end');
  });

  it('keeps what it is to keep, in how many pieces it may come', () => {
    const reader = reading({ keepBytes: 700 });
    reader.push(bytes('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'));
    for (let i = 0; i < 1000; i++) reader.push(bytes(`1\r\n${i % 10}\r\n`));
    expect(bodyOf(reader)).to.equal('0123456789'.repeat(70));
    expect(reader.bodyBytes).to.equal(1000);
  });

  it('is content with the status line as soon as that is there', () => {
    const reader = reading({ until: 'line' });
    expect(reader.push(bytes('HTTP/1.1 404 Not Fo'))).to.equal(undefined);
    expect(reader.push(bytes('und\r'))).to.equal(undefined);
    expect(reader.push(bytes('\n'))).to.equal(null);
    expect([reader.status, reader.line, reader.reusable]).to.deep.equal([404, '404 Not Found', false]);
    expect(reading({ until: 'line' }).push(bytes('SSH-2.0-x\r\n'))).to.equal('not an HTTP response: SSH-2.0-x');
  });

  it('knows responses that have no body', () => {
    for (const [over, head] of [
      [{ toHead: true }, '200 OK\r\nContent-Length: 5'],
      [{}, '204 No Content'],
      [{}, '304 Not Modified\r\nContent-Length: 5'],
    ] as const) {
      const reader = reading(over);
      expect(reader.push(bytes(`HTTP/1.1 ${head}\r\n\r\n`)), head).to.equal(null);
      expect(reader.reusable, head).to.equal(true);
    }
  });

  for (const [what, text, reusable] of [
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', true],
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n', true],
    ['a length, but will be closed', 'HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok', false],
    ['a length in HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok', false],
    [
      'a length in HTTP/1.0 that goes on',
      'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok',
      true,
    ],
    ['more behind it', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK', false],
  ] as const) {
    it(`says that a connection with ${what} can${reusable ? '' : 'not'} be used again`, () => {
      const reader = reading();
      expect(reader.push(bytes(text))).to.equal(null);
      expect(bodyOf(reader)).to.equal('ok');
      expect(reader.reusable).to.equal(reusable);
    });
  }

  it('keeps so much of a body, reads so much of it, and no more', () => {
    const reader = reading({ keepBytes: 10, maxBodyBytes: 100 });
    expect(reader.push(bytes('HTTP/1.1 200 OK\r\n\r\n0123456789abcdef'))).to.equal(undefined);
    expect(bodyOf(reader)).to.equal('0123456789');
    expect(reader.push(bytes('x'.repeat(84)))).to.equal(undefined);
    expect(reader.push(bytes('x'))).to.equal(null);
    expect(reader.bodyBytes).to.equal(101);
    expect(reader.reusable).to.equal(false);
  });

  it('keeps what came, not the buffer that it came in', () => {
    const reader = reading();
    reader.push(bytes('HTTP/1.1 200 OK\r\n\r\n'));
    const shared = bytes('first');
    reader.push(shared);
    shared.set(bytes('XXXXX'));
    expect(bodyOf(reader)).to.equal('first');
  });

  it('tells how far it got', () => {
    const reader = reading();
    const told = [reader.progress];
    for (const text of ['HTTP/1.1 200 OK\r\n', 'Content-Length: 7\r\n\r\n', 'abc']) {
      reader.push(bytes(text));
      told.push(reader.progress);
    }
    expect(told).to.deep.equal([
      'before any answer',
      'after 17 bytes of the headers',
      '200 OK, after 0 of 7 bytes of the body',
      '200 OK, after 3 of 7 bytes of the body',
    ]);
    expect(reader.end()).to.equal('200 OK, but the body was cut short after 3 bytes');
  });

  it('knows another protocol by its first characters, and waits for no empty line of it', () => {
    for (const until of ['line', 'head', 'body'] as const) {
      expect(reading({ until }).push(bytes('220 mx ESMTP\r\n'))).to.equal('not an HTTP response: 220 mx ESMTP');
      const drip = reading({ until });
      for (const character of 'HTTPX') expect(drip.push(bytes(character))).to.equal(undefined);
      expect(drip.push(bytes('\n'))).to.equal('not an HTTP response: HTTPX');
    }
    const alert = reading();
    expect(alert.push(bytes('\x15\x03\x01'))).to.equal(undefined);
    expect(alert.end()).to.equal('not an HTTP response: ???');
    expect(reading().push(bytes('x'.repeat(300)))).to.equal(`not an HTTP response: ${'x'.repeat(200)}`);
  });

  it('neither throws nor grows, whatever a server sends and however it is cut into pieces', () => {
    const words = fc.constantFrom(
      ...[
        'HTTP/1.1 200 OK\r\n',
        'HTTP/1.1 100 \r\n\r\n',
        'Content-Length: 5\r\n',
        'Transfer-Encoding: chunked\r\n',
        '\r\n',
      ],
      ...[
        'HTTP/1.0 404 Not  Found \r\n',
        'HTTP/1.1 200\n',
        'Connection: Close\r\n',
        'connection:\tkeep-alive \r\n',
        'Connection: Upgrade, close\r\n',
        'Content-Length:5 \n',
        'Content\rLength: 5\r\n',
        'transfer-encoding: gzip, CHUNKED\r\n',
        'Server: x\r\n',
        ' Content-Length: 7\r\n',
      ],
      ...['\n', '5\r\n', '0\r\n', 'ffffffffffff\r\n', ': \r\n', 'hello', '\r', 'Content-Length: 99999999999\r\n'],
    );
    const noise = fc.uint8Array({ maxLength: 40 }).map((some) => Buffer.from(some).toString('latin1'));
    fc.assert(
      fc.property(
        fc.array(fc.oneof(words, noise), { maxLength: 40 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 10 }),
        fc.constantFrom('line', 'head', 'body'),
        (pieces, sizes, until) => {
          const all = bytes(pieces.join(''));
          const dripping = reading({ until, keepBytes: 50, maxBodyBytes: 200 });
          let verdict: string | null | undefined;
          for (let at = 0, i = 0; at < all.length && verdict === undefined; i++) {
            const size = sizes[i % sizes.length] ?? 1;
            verdict = dripping.push(all.subarray(at, at + size));
            at += size;
          }
          const whole = reading({ until, keepBytes: 50, maxBodyBytes: 200 });
          const atOnce = whole.push(all);
          expect(verdict).to.equal(atOnce);
          expect(dripping.status).to.equal(whole.status);
          expect(dripping.line).to.equal(whole.line);
          expect(dripping.bodyBytes).to.equal(whole.bodyBytes);
          if (verdict === null) expect(dripping.body()).to.deep.equal(whole.body());
          expect(dripping.body().length).to.be.at.most(50);
          expect([dripping.progress, dripping.line, String(dripping.end())].join('').length).to.be.at.most(1500);
        },
      ),
      { seed: 9112, numRuns: 2000 },
    );
  });

  it('says the same of a head that it makes text of and of one that it need not', () => {
    const lines = fc.constantFrom(
      ...[
        'Connection: Close',
        'connection:\tkeep-alive ',
        'Connection: Upgrade, close',
        'CONNECTION: ',
        'Connection: closed',
      ],
      ...['Content-Length:2 ', 'content-length: 2', 'Content-Length: 0', 'Content-Length: +2', 'Content-Length: 2, 2'],
      ...['Content\rLength: 9', 'Content-Length : 9', ' Content-Length: 9', 'Content-Length', 'Content-Length: 2\r'],
      ...['Transfer-Encoding: chunked', 'transfer-encoding: gzip, CHUNKED', 'Transfer-Encoding: identity', 'Server: x'],
    );
    const first = fc.constantFrom(
      ...[
        'HTTP/1.1 200 OK',
        'HTTP/1.0 200 OK',
        'HTTP/1.1 200',
        'HTTP/1.1 200 ',
        'HTTP/1.0 404 Not  Found ',
        'HTTP/2.0 200 OK',
      ],
      ...[
        'HTTP/1.1 20 OK',
        'HTTP/1.1 2000 OK',
        'HTTP/1.1 200OK',
        'http/1.1 200 OK',
        'HTTP/1.2 204 ?',
        'HTTP/1.1 304 \x80\xff',
      ],
      `HTTP/1.1 500 ${'x'.repeat(300)}`,
    );
    fc.assert(
      fc.property(
        first,
        fc.array(lines, { maxLength: 4 }),
        fc.constantFrom('\r\n', '\n'),
        fc.constantFrom('ok', 'oktwo', '2\r\nok\r\n0\r\n\r\n', ''),
        fc.constantFrom('line', 'head', 'body'),
        (top, fields, newline, body, until) => {
          const all = bytes([top, ...fields, '', body].join(newline));
          const said = [true, false].map((asText) => {
            const reader = reading({ until, fields: asText });
            const verdict = reader.push(all);
            const { status, line, bodyBytes, reusable } = reader;
            // When it has ended there is nothing more to tell.
            const far = verdict === undefined ? [reader.progress, reader.end()] : [];
            return { verdict, status, line, bodyBytes, reusable, far, body: bodyOf(reader) };
          });
          expect(said[1]).to.deep.equal(said[0]);
        },
      ),
      { seed: 9112, numRuns: 4000 },
    );
  });
});
