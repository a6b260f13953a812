import { createHash } from 'node:crypto';
import http2 from 'node:http2';
import type net from 'node:net';
import tls from 'node:tls';
import { expect } from 'chai';
import http from '../../../monitors/http.ts';
import { refuse } from '../../../monitors/lib/http-options.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { listenSomewhere } from '../../support/listen.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';
import { fakeSelf } from '../../support/fake-self.ts';

type Server = Awaited<ReturnType<typeof serve>>;
type Given = Readonly<Record<string, unknown>>;

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const URL_ = 'http://www.example.org/a?b=c';

/** A director whose event loop stood still. */
const LATE = {
  self: () => fakeSelf(10_000),
};

describe('HTTP', () => {
  const servers: { close(): Promise<unknown> }[] = [];
  const benches: Bench[] = [];

  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  async function serving(onSocket: (socket: net.Socket) => void): Promise<Server> {
    const server = await serve(onSocket);
    servers.push(server);
    return server;
  }

  /** Answers the first bytes of each connection with `text`, then closes. */
  const answering = (text: string) => serving((socket) => socket.once('data', () => socket.end(text, 'latin1')));

  /** Answers each request by what `answer` says to its first line. */
  const talking = (answer: (line: string, request: string) => string) =>
    serving((socket) =>
      socket.on('data', (bytes) => {
        const request = bytes.toString('latin1');
        socket.write(answer(request.split('\r\n', 1)[0] ?? '', request), 'latin1');
      }),
    );

  function run(port: number, given: Given = {}, parts: Parameters<typeof runMonitor>[3] = {}): Bench {
    const bench = runMonitor(http, { url: [URL_], timeout: 1.2, ...given }, { port }, parts);
    benches.push(bench);
    return bench;
  }

  const told = async (bench: Bench, count = 1) => {
    const health = await bench.result(count);
    return health.is === 'up' ? 'up' : `${health.is}: ${health.reason.replaceAll(`${URL_}: `, '')}`;
  };

  it('asks the server, not the host of the URL, in one packet, and says that it will not come again', async () => {
    const server = await answering(OK);
    const bench = run(server.port, { url: ['http://www.example.org:8080/a%20b?c=d#e'] });
    expect(await bench.result()).to.deep.equal({ is: 'up', detail: '200 OK' });
    expect(server.seen.text).to.equal(
      'GET /a%20b?c=d HTTP/1.1\r\nHost: www.example.org:8080\r\nUser-Agent: anybal\r\nAccept: */*\r\nConnection: close\r\n\r\n',
    );
    expect(bench.lines).to.deep.equal([]);
    expect(bench.measured).to.deep.equal([
      'request_duration_seconds {"result":"successful","url":"http://www.example.org:8080/a%20b?c=d#e"}',
    ]);
  });

  it('sends the method, fields, Host and body that it was given', async () => {
    const server = await answering(OK);
    const headers = ['X-Probe: 1', 'user-agent: mine', 'Content-Type: application/json'];
    const given = { method: 'POST', headers, host: 'front.example', 'request-body': '{"ü":1}' };
    expect(await told(run(server.port, given))).to.equal('up');
    expect(server.seen.text).to.equal(
      'POST /a?b=c HTTP/1.1\r\nHost: front.example\r\nAccept: */*\r\nX-Probe: 1\r\nUser-Agent: mine\r\n' +
        'Content-Type: application/json\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{"Ã¼":1}',
    );
    const form = await answering(OK);
    expect(await told(run(form.port, { method: 'POST', 'request-body': 'a=b' }))).to.equal('up');
    expect(form.seen.text).to.include('\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n');
    const large = await answering(OK);
    expect(await told(run(large.port, { method: 'POST', 'request-bytes': 20_000 }))).to.equal('up');
    expect(large.seen.text).to.match(/\r\nContent-Length: 20000\r\nConnection: close\r\n\r\nx{20000}$/);
    const head = await answering('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n');
    expect(await told(run(head.port, { method: 'HEAD', 'read-body': true }))).to.equal('up');
  });

  it('reads on to the end, so that a server is not cut off while it writes', async () => {
    const seen: string[] = [];
    const server = await serving((socket) => {
      socket.on('error', ({ message }) => seen.push(message));
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n');
        setTimeout(() => socket.write('x'.repeat(20)), 30);
        setTimeout(() => socket.write('y'.repeat(20), () => seen.push('all is written')), 60);
      });
    });
    expect(await told(run(server.port))).to.equal('up');
    for (let i = 0; i < 50 && seen.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seen[0]).to.equal('all is written');
  });

  it('is content with the status, before there are headers, where no more is wanted', async () => {
    const server = await serving((socket) => socket.once('data', () => socket.write('HTTP/1.1 204 No Content\r\nX: ')));
    expect(await told(run(server.port, { 'read-body': false }))).to.equal('up');
    for (let i = 0; i < 50 && server.sockets.size > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(server.sockets.size).to.equal(0);
  });

  for (const [what, text, reason, given] of [
    ['another status', 'HTTP/1.1 503 Service Unavailable\r\n\r\n', '503 Service Unavailable, expected 200-299', {}],
    ['another status than one of a list', OK, '200 OK, expected 301, 400-499', { status: '301, 400-499' }],
    ['a redirect', 'HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n', '302 Found, expected 200-299', {}],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', 'not an HTTP response: SSH-2.0-OpenSSH_9.2', {}],
    ['bytes for a terminal', 'HTTP/1.1 500 a\x1b[31m\r\n\r\n', '500 a?[31m, expected 200-299', {}],
    ['nothing', '', 'closed by the server before any answer', {}],
    ['half a head', 'HTTP/1.1 200 OK\r\nA: b', 'the response headers are cut short', { 'read-body': true }],
    [
      'half a body',
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc',
      '200 OK, but the body was cut short after 3 bytes',
      { 'read-body': true },
    ],
    [
      'endless headers',
      `HTTP/1.1 200 OK\r\n${'X: yyyyyyyyyyyyy\r\n'.repeat(5000)}`,
      'the response headers never end',
      { 'read-body': true },
    ],
    [
      'another body',
      OK,
      '200 OK, but expected “fine” in the body, got 2 bytes that begin with “ok”',
      { 'expect-text': 'fine' },
    ],
    [
      'a body that nothing matches in',
      OK,
      '200 OK, but expected a match of /^fine$/ in the body, got 2 bytes that begin with “ok”',
      { 'expect-regex': '^fine$' },
    ],
    ['no JSON', OK, '200 OK, but expected JSON, got 2 bytes that begin with “ok”', { 'expect-json': ['a = 1'] }],
    [
      'a body with another digest',
      OK,
      `200 OK, but expected a body with SHA-256 ${'0'.repeat(64)}, got ${createHash('sha256').update('ok').digest('hex')} of 2 bytes`,
      { 'expect-sha256': '0'.repeat(64) },
    ],
    [
      'a body that is too long to be judged',
      OK,
      '200 OK, but expected JSON of at most 1 bytes, the body is longer',
      { 'expect-json': ['a = 1'], 'max-body': 1 },
    ],
  ] as const) {
    it(`calls ${what} down, and says what was expected and what came`, async () => {
      const server = await answering(text);
      const bench = run(server.port, given);
      expect(await told(bench)).to.equal(`down: ${reason}`);
      expect(bench.measured[0]).to.include('"result":"failed"');
    });
  }

  it('takes a body that is as expected, whichever way it is', async () => {
    const body = '{"status":"green","n":[1,2]}';
    const digest = createHash('sha256').update(body).digest('hex');
    const server = await answering(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const all = {
      ...{ 'expect-text': 'green', 'expect-regex': '"n":\\[1,\\s*2\\]' },
      ...{ 'expect-json': ['status = green', 'n[1] = 2'], 'expect-sha256': digest },
    };
    expect(await told(run(server.port, all))).to.equal('up');
  });

  it('reads on behind what it may look at, where the body is to be whole', async () => {
    const server = await answering('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nokabc');
    const given = { 'expect-text': 'ok', 'max-body': 2 };
    expect(await told(run(server.port, { ...given, 'read-body': false }))).to.equal('up');
    expect(await told(run(server.port, given))).to.equal('down: 200 OK, but the body was cut short after 5 bytes');
  });

  it('does not read a huge body to its end, and keeps no more of it than it may look at', async () => {
    const block = Buffer.alloc(1 << 20, 'x');
    let sent = 0;
    const server = await serving((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n');
      const pump = () => {
        while (!socket.destroyed && sent < 1 << 28) {
          sent += block.length;
          if (!socket.write(block)) return;
        }
      };
      socket.on('drain', pump);
      pump();
    });
    expect(await told(run(server.port, { 'expect-text': 'y', timeout: 1 }))).to.match(/got more than 65536 bytes/);
    expect(await told(run(server.port, { 'read-body': true, timeout: 1 }))).to.equal('up');
    expect(sent).to.be.lessThan(128 << 20);
  });

  it('calls what happens to a connection by its name', async () => {
    const closed = await answering('');
    await closed.close();
    expect(await told(run(closed.port))).to.equal(
      'down: Connection was refused by other side: 111: Connection refused.',
    );
    const resetting = await serving((socket) => socket.once('data', () => socket.resetAndDestroy()));
    expect(await told(run(resetting.port))).to.equal('down: reset by the server before any answer');
    const middle = await serving((socket) =>
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
        setTimeout(() => socket.resetAndDestroy(), 30);
      }),
    );
    expect(await told(run(middle.port, { 'read-body': true }))).to.equal(
      'down: reset by the server 200 OK, after 3 of 9 bytes of the body',
    );
  });

  it('says how far a server got that ran out of time', async () => {
    const silent = await serving(() => {});
    const dripping = await serving((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('x'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    const halfway = await serving((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc')),
    );
    const connect = (_: unknown, cut: { onAbort(fn: () => void): void }) =>
      new Promise<never>((_, reject) => cut.onAbort(() => reject(new SystemError('ECANCELED', 'connect'))));
    const streams = { connect, secure: () => Promise.reject(new Error()), listen: () => Promise.reject(new Error()) };
    // Long enough for a busy machine: one that wakes us late would make it our own fault.
    const given = { timeout: 0.8, 'read-body': true };
    const https = { ...given, url: ['https://www.example.org/'] };
    const [nothing, drip, half, handshake, unreached] = await Promise.all([
      told(run(silent.port, given)),
      told(run(dripping.port, given)),
      told(run(halfway.port, given)),
      told(run(silent.port, https)),
      told(run(80, given, { streams })),
    ]);
    expect(nothing).to.equal('down: timed out after 0.8 s, before any answer');
    expect(drip).to.match(/^down: timed out after 0.8 s, after \d\d bytes of the headers$/);
    expect(half).to.equal('down: timed out after 0.8 s, 200 OK, after 3 of 9 bytes of the body');
    expect(handshake).to.equal('down: https://www.example.org/: timed out after 0.8 s, in the TLS handshake');
    expect(unreached).to.equal('down: timed out after 0.8 s, while connecting');
  });

  it('calls an answer that takes too long down', async () => {
    const server = await serving((socket) => socket.once('data', () => setTimeout(() => socket.end(OK), 60)));
    expect(await told(run(server.port, { 'max-latency': 0.04 }))).to.match(
      /^down: 200 OK took 0\.\d{3} s, expected at most 0.04 s$/,
    );
    expect(await told(run(server.port, { 'max-latency': 1.1 }))).to.equal('up');
    expect(await told(run(server.port, { 'max-latency': 0.04 }, LATE)), 'nor that it was us').to.match(
      /^unknown: 200 OK took 0\.\d{3} s, expected at most 0.04 s, but the event loop was 10000 ms late$/,
    );
  });

  it('does not call a server down for answers of which enough may be late by our own fault', async () => {
    const server = await serving((socket) =>
      socket.once('data', (bytes) => {
        const bad = bytes.toString().includes('/bad');
        setTimeout(() => socket.end(bad ? 'HTTP/1.1 500 Bad\r\n\r\n' : OK), 60);
      }),
    );
    const asking = (paths: readonly string[], max: number) =>
      run(
        server.port,
        { url: paths.map((path) => `http://x/${path}`), 'check-all': true, 'max-latency': 0.04, 'max-failures': max },
        LATE,
      ).result();
    expect(await asking(['slow', 'slow'], 0)).to.have.property('is', 'unknown');
    expect(await asking(['slow', 'bad'], 1)).to.have.property('is', 'unknown');
    expect(await asking(['slow', 'bad'], 0)).to.have.property('is', 'down');
  });

  it('asks for one URL, or for all of them with check-all, of which max-failures may fail', async () => {
    const server = await talking((line) => (line.includes('/bad') ? 'HTTP/1.1 500 Bad\r\n\r\n' : OK));
    const url = ['http://x/good', 'http://x/bad'];
    // random() is 0.5 here: the second of two.
    expect(await told(run(server.port, { url }))).to.equal('down: http://x/bad: 500 Bad, expected 200-299');
    expect(server.seen.connections).to.equal(1);
    expect(await told(run(server.port, { url, 'check-all': true }))).to.equal(
      'down: http://x/bad: 500 Bad, expected 200-299',
    );
    expect(server.seen.connections).to.equal(3);
    expect(await told(run(server.port, { url, 'check-all': true, 'max-failures': 1 }))).to.equal('up');
    const both = { url: ['http://x/bad', 'http://x/bad2'], 'check-all': true, 'max-failures': 1 };
    expect(await told(run(server.port, both))).to.equal(
      'down: http://x/bad: 500 Bad, expected 200-299; http://x/bad2: 500 Bad, expected 200-299',
    );
  });

  it('asks for no more than four URLs at a time, in their order, and for the next one as soon as one has ended', async () => {
    let busy = 0;
    let most = 0;
    const asked: string[] = [];
    const server = await serving((socket) =>
      socket.once('data', (bytes) => {
        const path = /\/\d+/.exec(bytes.toString('latin1'))?.[0] ?? '';
        asked.push(path);
        most = Math.max(most, ++busy);
        // The first one takes until all others are through.
        const patience = path === '/0' ? 12 : 4;
        const answer = () => {
          if (asked.length < patience) return void setTimeout(answer, 5);
          busy--;
          socket.end(path === '/7' ? 'HTTP/1.1 500 Bad\r\n\r\n' : OK);
        };
        // More than four would have come by then.
        setTimeout(answer, 20);
      }),
    );
    const url = Array.from({ length: 12 }, (_, i) => `http://x/${i}`);
    expect(await told(run(server.port, { url, 'check-all': true, timeout: 10 }))).to.equal(
      'down: http://x/7: 500 Bad, expected 200-299',
    );
    expect(most).to.equal(4);
    expect(asked.toSorted()).to.deep.equal(url.map((one) => one.slice('http://x'.length)).toSorted());
    expect(asked.slice(0, 4).toSorted()).to.deep.equal(['/0', '/1', '/2', '/3']);
  });

  it('says which of its URLs were not asked for in time', async () => {
    const server = await serving(() => {});
    const url = Array.from({ length: 5 }, (_, i) => `http://x/${i}`);
    const bench = run(server.port, { url, 'check-all': true, timeout: 0.3 });
    const health = await told(bench);
    expect(health).to.include(
      'http://x/3: timed out after 0.3 s, before any answer; http://x/4: not asked within 0.3 s',
    );
    // What was not asked took no time.
    expect(bench.measured).to.have.length(4);
  });

  it('follows redirects, on the same server only, so many and no more', async () => {
    const server = await talking((line) => {
      if (line.includes('/old')) return 'HTTP/1.1 302 Found\r\nLocation: ../new?x\r\nContent-Length: 0\r\n\r\n';
      if (line.includes('/away')) return 'HTTP/1.1 301 Moved\r\nLocation: https://other.example/\r\n\r\n';
      if (line.includes('/own')) return `HTTP/1.1 302 Found\r\nLocation: http://x:${server.port}/new?x\r\n\r\n`;
      if (line.includes('/near')) return `HTTP/1.1 302 Found\r\nLocation: http://x:${server.port + 1}/new?x\r\n\r\n`;
      if (line.includes('/named'))
        return 'HTTP/1.1 302 Found\r\nLocation: http://www.example.org/new?x\r\nContent-Length: 0\r\n\r\n';
      if (line.includes('/loop')) return 'HTTP/1.1 307 Again\r\nLocation: /loop\r\n\r\n';
      if (line.includes('/lost')) return 'HTTP/1.1 302 Found\r\n\r\n';
      return line.includes('/new?x') ? OK : 'HTTP/1.1 404 Not Found\r\n\r\n';
    });
    const at = (path: string, given: Given = {}) => {
      const bench = run(server.port, { url: [`http://x${path}`], redirects: 2, ...given });
      return told(bench).then((text) => text.replace(`http://x${path}: `, ''));
    };
    expect(await at('/old')).to.equal('up');
    expect(await at('/old', { 'keep-alive': true })).to.equal('up');
    expect(await at('/old', { redirects: 0 })).to.equal('down: 302 Found, expected 200-299');
    expect(await at('/old', { status: '302' })).to.equal('up');
    // A server that does not listen on port 80 names its own.
    expect(await at('/own')).to.equal('up');
    expect(await at('/near')).to.match(/^down: 302 Found to another server, http:/);
    expect(await at('/away')).to.equal('down: 301 Moved to another server, https://other.example/, expected 200-299');
    expect(await at('/loop')).to.equal('down: 307 Again to http://x/loop after 2 redirects, expected 200-299');
    expect(await at('/lost')).to.equal('down: 302 Found, expected 200-299 or a redirect to somewhere');
    // One that was asked for by another name answers by that.
    expect(await at('/named')).to.match(/^down: 302 Found to another server, http:/);
    expect(await at('/named', { host: 'www.example.org' })).to.equal('up');
    expect(server.seen.text).to.match(/GET \/new\?x HTTP\/1.1\r\nHost: www.example.org\r\n[^]*$/);
    expect(await at('/named', { host: 'www.example.org:81' })).to.match(/^down: 302 Found to another server, http:/);
    expect(await at('/named', { host: 'no url%' })).to.match(/^down: 302 Found to another server, http:/);
    const before = server.seen.text.length;
    expect(await at('/old', { method: 'POST', 'request-body': 'a=b' })).to.equal('up');
    expect(server.seen.text.slice(before)).to.match(/^POST \/old [^]*\r\n\r\na=bGET \/new\?x /);
  });

  it('introduces itself by the PROXY protocol', async () => {
    for (const [version, header] of [
      ['v1', 'PROXY UNKNOWN\r\n'],
      ['v2', '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'],
    ] as const) {
      const server = await serving((socket) => socket.on('data', (bytes) => bytes.includes('GET') && socket.end(OK)));
      expect(await told(run(server.port, { 'proxy-protocol': version }))).to.equal('up');
      expect(server.seen.text.startsWith(`${header}GET /`), version).to.equal(true);
    }
  });

  it('does not blame the server when we have no route or no descriptors', async () => {
    for (const [code, is] of [
      ['ENETUNREACH', 'unknown'],
      ['EMFILE', 'unknown'],
      ['EHOSTUNREACH', 'down'],
    ] as const) {
      const connect = () => Promise.reject(new SystemError(code, 'connect'));
      const bench = run(80, {}, { streams: { connect, secure: connect, listen: connect } });
      expect((await bench.result()).is, code).to.equal(is);
    }
  });

  describe('with a connection that is kept', () => {
    const keep = { 'keep-alive': true, interval: 0.1 };

    it('asks again on the same one', async () => {
      const server = await talking(() => OK);
      const bench = run(server.port, keep);
      await bench.result(4);
      expect(bench.results.every(({ is }) => is === 'up')).to.equal(true);
      expect(server.seen.connections).to.equal(1);
      expect(server.seen.text).to.include('\r\nConnection: keep-alive\r\n');
    });

    it('takes another one, and finds nothing wrong, when the server closed it between two checks', async () => {
      for (const how of ['fin', 'rst'] as const) {
        const server = await serving((socket) =>
          socket.once('data', () => {
            socket.write(OK);
            setTimeout(() => (how === 'fin' ? socket.end() : socket.resetAndDestroy()), 20);
          }),
        );
        const bench = run(server.port, keep);
        await bench.result(3);
        expect(bench.results.map(({ is }) => is).slice(0, 3), how).to.deep.equal(['up', 'up', 'up']);
        expect(server.seen.connections).to.be.at.least(3);
      }
    });

    it('takes another one when the server closes it at the very moment of the next request', async () => {
      const server = await serving((socket) =>
        socket.once('data', () => {
          socket.write(OK);
          socket.once('data', () => socket.resetAndDestroy());
        }),
      );
      const bench = run(server.port, keep);
      await bench.result(3);
      expect(bench.results.map(({ is }) => is).slice(0, 3)).to.deep.equal(['up', 'up', 'up']);
      expect(server.seen.connections).to.be.at.least(3);
    });

    it('does not take another one for a server that has begun to answer', async () => {
      const server = await serving((socket) =>
        socket.once('data', () => {
          socket.write(OK);
          socket.once('data', () => socket.end('HTTP/1.1 200'));
        }),
      );
      const bench = run(server.port, keep);
      expect(await told(bench, 2)).to.equal('down: the response headers are cut short');
    });

    it('lets it go when the server says so, or says what nobody asked for', async () => {
      for (const text of [
        OK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
        `${OK}HTTP/1.1 408 Request Timeout\r\n\r\n`,
      ]) {
        const server = await talking(() => text);
        const bench = run(server.port, keep);
        await bench.result(2);
        expect(server.seen.connections).to.be.at.least(2);
      }
      const unasked = await serving((socket) =>
        socket.once('data', () => {
          socket.write(OK);
          setTimeout(() => socket.write('HTTP/1.1 408 Request Timeout\r\n\r\n'), 30);
        }),
      );
      // Long enough for that to come before the next request, however slow this process is: behind it, it would be the answer.
      const bench = run(unasked.port, { ...keep, interval: 1 });
      await bench.result(2);
      expect(bench.results.map(({ is }) => is).slice(0, 2)).to.deep.equal(['up', 'up']);
      expect(unasked.seen.connections).to.be.at.least(2);
    });

    it('has another one after a check that ran out of time', async () => {
      let requests = 0;
      const server = await serving((socket) => socket.on('data', () => ++requests !== 2 && socket.write(OK)));
      const bench = run(server.port, { ...keep, interval: 0.5, timeout: 0.4 });
      await bench.result(3, 5000);
      expect(bench.results.map(({ is }) => is).slice(0, 3)).to.deep.equal(['up', 'down', 'up']);
      expect(server.seen.connections).to.equal(2);
    });

    it('has one for each URL that is asked at the same time, and none when nobody asks any more', async () => {
      const server = await talking(() => OK);
      const bench = run(server.port, { ...keep, url: ['http://x/1', 'http://x/2', 'http://y/'], 'check-all': true });
      await bench.result(3);
      expect(server.seen.connections).to.equal(3);
      expect(server.sockets.size).to.equal(3);
      await bench.stop();
      for (let i = 0; i < 50 && server.sockets.size > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(server.sockets.size).to.equal(0);
    });
  });

  describe('with TLS', () => {
    const disk = new FakeWorld();
    disk.write('/etc/ca.pem', CERTIFICATE);
    disk.write('/etc/me.pem', CERTIFICATE + KEY);
    disk.write('/etc/bad.pem', 'no PEM');
    const { files } = disk;
    const url = ['https://real.example/'];
    const ca = { url, 'tls-ca': '/etc/ca.pem', timeout: 1 };
    const names: (string | boolean | undefined)[] = [];

    async function securely(over: tls.TlsOptions = {}, answer = OK): Promise<number> {
      const sockets = new Set<net.Socket>();
      const server = tls.createServer({ cert: CERTIFICATE, key: KEY, ...over }, (socket) => {
        names.push((socket as { servername?: string | boolean }).servername);
        socket.on('error', () => {});
        socket.on('data', () => socket.end(answer));
      });
      server.on('connection', (socket) => sockets.add(socket.on('close', () => sockets.delete(socket))));
      servers.push({
        close: async () => {
          for (const socket of sockets) socket.destroy();
          await new Promise((resolve) => server.close(resolve));
        },
      });
      return listenSomewhere(server);
    }
    const says = async (port: number, given: Given) =>
      (await told(run(port, given, { files }))).replace(/https:\/\/[^ ]+: (?=\w)/, '');

    it('verifies the certificate for the name in the URL, or for another one', async () => {
      const port = await securely();
      names.length = 0;
      expect(await says(port, ca)).to.equal('up');
      expect(await says(port, { ...ca, url: ['https://front.example/'], 'tls-verify-name': 'real.example' })).to.equal(
        'up',
      );
      expect(await says(port, { ...ca, url: ['https://front.example/'], sni: 'real.example' })).to.equal('up');
      expect(await says(port, { ...ca, url: ['https://192.0.2.1/'], 'tls-verify': false })).to.equal('up');
      expect(names).to.deep.equal(['real.example', 'front.example', 'real.example', false]);
      expect(await says(port, { ...ca, url: ['https://front.example/'] })).to.match(
        /^down: TLS with .*Host: front.example. is not in the cert's altnames: DNS:real.example/,
      );
      expect(await says(port, { ...ca, url: ['https://192.0.2.1/'] })).to.match(/^down: TLS with .*192.0.2.1/);
      expect(await says(port, { url, timeout: 1 })).to.match(/^down: TLS with .*self-signed certificate/);
    });

    it('does not blame the server for files of our own', async () => {
      const port = await securely();
      expect(await says(port, { ...ca, 'tls-ca': '/etc/none.pem' })).to.match(/^unknown: .*ENOENT/);
      expect(await says(port, { ...ca, 'tls-ca': '/etc/bad.pem' })).to.match(/^unknown: .*certificates for TLS/);
    });

    it('reads its files again, not at each check', async () => {
      const port = await securely();
      const bench = run(port, { ...ca, interval: 0.1 }, { files });
      disk.reads.length = 0;
      await bench.result(3);
      expect(disk.reads).to.deep.equal(['/etc/ca.pem']);
    });

    it('shows a certificate of its own', async () => {
      const port = await securely({ requestCert: true, ca: CERTIFICATE });
      expect(await says(port, { ...ca, 'tls-certificate': '/etc/me.pem' })).to.equal('up');
      expect(await says(port, ca)).to.match(
        /^down: lost before any answer: .*EPROTO: tlsv13 alert certificate required/,
      );
    });

    it('measures how long the certificate is good, warns once a day, and calls it down if so wanted', async () => {
      const port = await securely();
      const lab = (given: Given) => run(port, { ...ca, interval: 0.1, ...given }, { files });
      const quiet = lab({});
      await quiet.result();
      expect(quiet.lines).to.deep.equal([]);
      expect(quiet.measured[0]).to.equal('certificate_days_left {"url":"https://real.example/"}');
      const warned = lab({ 'certificate-warning-days': 3650 });
      expect(await told(warned)).to.equal('up');
      // Valid until 2100: nearer than that no clock of ours can be moved here, so the limit comes to it.
      const far = { 'certificate-failure-days': 36_500 };
      expect(await told(lab(far), 1)).to.match(
        /the certificate of CN=real.example ends on 2100-01-01, in \d+\.\d days, expected at least 36500$/,
      );
      const often = lab({ 'certificate-warning-days': 36_500 });
      await often.result(3);
      expect(often.lines).to.have.length(1);
      expect(often.lines[0]).to.match(
        /^WARN https:\/\/real.example\/: the certificate of CN=real.example ends on 2100-01-01, in /,
      );
    });

    describe('in HTTP/2', () => {
      async function h2server(
        over: http2.SecureServerOptions = {},
      ): Promise<{ port: number; paths: string[]; sessions: number }> {
        const server = http2.createSecureServer({ cert: CERTIFICATE, key: KEY, ...over });
        const seen = { port: 0, paths: [] as string[], sessions: 0 };
        server.on('session', () => seen.sessions++);
        server.on('stream', (stream, asked) => {
          stream.on('error', () => {});
          seen.paths.push(`${asked[':method']} ${asked[':authority']}${asked[':path']}`);
          stream.respond({ ':status': asked[':path'] === '/bad' ? 503 : 200 });
          stream.end('{"status":"ok"}');
        });
        seen.port = await listenSomewhere(server);
        servers.push({ close: async () => void server.close() });
        return seen;
      }

      it('asks where both sides want to, and looks at the same things', async () => {
        const server = await h2server();
        const h2 = { ...ca, alpn: ['h2', 'http/1.1'], 'expect-json': ['status = ok'] };
        expect(await says(server.port, h2)).to.equal('up');
        expect(server.paths).to.deep.equal(['GET real.example/']);
        expect(await says(server.port, { ...h2, url: ['https://real.example/bad'] })).to.equal(
          'down: 503, expected 200-299',
        );
        expect(await says(server.port, { ...h2, 'expect-json': ['status = red'] })).to.equal(
          'down: 200, but expected status to be "red" in the JSON, got "ok"',
        );
        expect(await says(server.port, { ...ca, alpn: ['h2'] })).to.equal('up');
      });

      it('keeps the connection for the next request', async () => {
        const server = await h2server();
        const bench = run(server.port, { ...ca, alpn: ['h2'], 'keep-alive': true, interval: 0.1 }, { files });
        await bench.result(4);
        expect(bench.results.every(({ is }) => is === 'up')).to.equal(true);
        expect([server.sessions, server.paths.length >= 4]).to.deep.equal([1, true]);
      });

      it('asks in HTTP/1.1 where the server knows no other, unless that was not wanted', async () => {
        const port = await securely();
        expect(await says(port, { ...ca, alpn: ['h2', 'http/1.1'] })).to.equal('up');
        expect(await says(port, { ...ca, alpn: ['h2'] })).to.equal(
          'down: expected HTTP/2, the server did not choose it in TLS',
        );
      });
    });
  });

  it('asks in HTTP/2 without TLS when nothing else is wanted', async () => {
    const server = http2.createServer((_, response) => response.end('hello'));
    const port = await listenSomewhere(server);
    servers.push({ close: async () => void server.close() });
    expect(await told(run(port, { alpn: ['h2'], 'expect-text': 'hello' }))).to.equal('up');
    const old = await answering('HTTP/1.1 400 Bad Request\r\n\r\n');
    expect(await told(run(old.port, { alpn: ['h2'] }))).to.match(
      /^down: no HTTP\/2 response: it begins with HTTP\/1.1 400/,
    );
  });

  it('refuses options that make no sense, each with its reason', () => {
    const refused = (given: Given) =>
      refuse(withDefaults(http, { url: [URL_], ...given }) as never).map(({ option, why }) => `${option}: ${why}`);
    expect(refused({})).to.deep.equal([]);
    expect(refused({ status: '200-299, 301,404' })).to.deep.equal([]);
    for (const [given, expected] of [
      [{ status: 'ok' }, 'status: “ok” is not a list of statuses such as 200-299, 301'],
      [{ status: '299-200' }, 'status: “299-200” is not a list of statuses such as 200-299, 301'],
      [{ status: '' }, 'status: “” is not a list of statuses such as 200-299, 301'],
      [
        { url: ['http://me:secret@x/'] },
        'url: a name and password in it are not sent: put Authorization among the headers',
      ],
      [{ 'check-all': true, 'max-failures': 1 }, 'max-failures: of 1 URLs 1 may fail: a server would never be down'],
      [{ headers: ['X'] }, 'headers: “X” is not of the form Name: value'],
      [{ headers: ['X: a\r\nY: b'] }, 'headers: “X: …” is not of the form Name: value'],
      [{ headers: ['Host: x'] }, 'headers: host is not for you to set, use host'],
      [{ headers: ['Content-Length: 1'] }, 'headers: content-length is not for you to set'],
      [{ host: 'a b' }, 'host: “a b” is not a name'],
      [{ 'request-body': 'x' }, 'request-body: is only sent with POST, not GET'],
      [{ 'request-bytes': 5 }, 'request-bytes: are only sent with POST, not GET'],
      [{ 'request-bytes': 5, 'request-body': 'x', method: 'POST' }, 'request-bytes: and a request-body'],
      [{ 'request-body': 'x'.repeat(70_000), method: 'POST' }, 'request-body: more than 65535 bytes'],
      [{ 'tls-key': '/k' }, 'tls-key: without a tls-certificate'],
      [{ 'expect-text': 'x', method: 'HEAD' }, 'expect-text: a response to HEAD has no body'],
      [{ 'expect-regex': '(' }, 'expect-regex: a ( that is not closed, at character 2'],
      [{ 'expect-json': ['a'] }, 'expect-json: “a” is not of the form place = value'],
      [{ 'expect-sha256': 'x' }, 'expect-sha256: it does not have 64 hexadecimal digits'],
    ] as const) {
      expect(refused(given)).to.deep.equal([expected]);
    }
  });
});
