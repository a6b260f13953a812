import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type net from 'node:net';
import tls from 'node:tls';
import { expect } from 'chai';
import proxyfetch from '../../../monitors/proxyfetch.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { listenSomewhere } from '../../support/listen.ts';
import { type Bench, runMonitor, serve } from '../../support/monitor-bench.ts';

type Server = Awaited<ReturnType<typeof serve>>;

describe('ProxyFetch', () => {
  const servers: Server[] = [];
  const benches: Bench[] = [];

  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  async function serving(onSocket: (socket: net.Socket) => void, over: { at?: string } = {}): Promise<Server> {
    const server = await serve(onSocket, over);
    servers.push(server);
    return server;
  }

  /** Answers the first bytes of each request with `text`, then closes. */
  const answering = (text: string) => serving((socket) => socket.once('data', () => socket.end(text, 'latin1')));

  function run(port: number, given: Readonly<Record<string, unknown>> = {}, address = '127.0.0.1'): Bench {
    const options = { url: ['http://www.example.org/a?b=c'], timeout: 0.3, ...given };
    const bench = runMonitor(proxyfetch, options, { address, port });
    benches.push(bench);
    return bench;
  }

  const reasonOf = async (bench: Bench) => {
    const health = await bench.result();
    return health.is === 'up' ? 'up' : `${health.is}: ${health.reason}`;
  };

  it('asks the server, not the host of the URL, as PyBal did', async () => {
    const server = await answering('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok');
    const bench = run(server.port, { url: ['http://www.example.org:8080/a%20b?c=d#e'] });
    expect(await bench.result()).to.deep.equal({ is: 'up' });
    expect(server.seen.text).to.equal(
      'GET /a%20b?c=d HTTP/1.0\r\nHost: www.example.org:8080\r\nUser-Agent: Twisted PageGetter\r\n\r\n',
    );
    expect(bench.lines).to.deep.equal(['DEBUG Fetch successful (http://www.example.org:8080/a%20b?c=d#e), N.NNN s']);
    expect(bench.measured).to.deep.equal([
      'request_duration_seconds {"result":"successful","url":"http://www.example.org:8080/a%20b?c=d#e"}',
    ]);
  });

  it('asks over IPv6, and leaves well-known ports out of Host', async () => {
    const server = await serving((socket) => socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\n\r\n')), {
      at: '::1',
    });
    expect(await reasonOf(run(server.port, { url: ['http://[2001:db8::1]:443/'] }, '::1'))).to.equal('up');
    expect(server.seen.text).to.include('\r\nHost: [2001:db8::1]\r\n');
  });

  for (const [what, text] of [
    ['a body up to its Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc'],
    ['a body that ends with the connection', 'HTTP/1.0 201 Created\r\n\r\nabc'],
    ['no body', 'HTTP/1.0 202 Accepted\r\ncontent-length: 0\r\n\r\n'],
    ['bare line feeds', 'HTTP/1.0 200 OK\nContent-Length: 3\n\nabc'],
    ['no reason phrase', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n'],
    [
      'chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n',
    ],
    ['no chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ] as const) {
    it(`takes ${what}, also byte by byte`, async () => {
      const whole = await serving((socket) => socket.once('data', () => socket.write(text)));
      // Only what ends by itself is told without the end of the connection.
      const ends = !what.includes('connection');
      if (ends) expect(await reasonOf(run(whole.port))).to.equal('up');
      const dripping = await serving((socket) =>
        socket.once('data', () => {
          socket.setNoDelay(true);
          const bytes = [...text];
          const drip = () => {
            const byte = bytes.shift();
            if (byte !== undefined) {
              socket.write(byte);
              setImmediate(drip);
            } else if (!ends) socket.end();
          };
          drip();
        }),
      );
      expect(await reasonOf(run(dripping.port))).to.equal('up');
    });
  }

  for (const [what, text, reason] of [
    ['503', 'HTTP/1.0 503 Service Unavailable\r\nContent-Length: 100\r\n\r\n', '503 Service Unavailable'],
    ['a redirect', 'HTTP/1.0 301 Moved Permanently\r\nLocation: /x\r\n\r\n', '301 Moved Permanently'],
    ['204', 'HTTP/1.0 204 No Content\r\n\r\n', '204 No Content'],
    ['bytes for a terminal in a reason', 'HTTP/1.0 500 a\x1b[31m\tb\r\n\r\n', '500 a?[31m?b'],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'not an HTTP response: SSH-2.0-OpenSSH_9.2'],
    ['nothing', '', 'Connection was closed cleanly.'],
    ['half a head', 'HTTP/1.0 200 OK\r\nContent-Le', 'the response headers are cut short'],
    [
      'a truncated body',
      'HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nabc',
      '200 OK, but the body was cut short after 3 bytes',
    ],
    [
      'truncated chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
      '200 OK, but the body was cut short after 3 bytes',
    ],
    ['a bad chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n', "200 OK, but a chunk's size is -5"],
    [
      'contradicting lengths',
      'HTTP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na',
      '200 OK, but Content-Length is 1, 2',
    ],
    ['a negative length', 'HTTP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n', '200 OK, but Content-Length is -1'],
    ['endless headers', `HTTP/1.0 200 OK\r\n${'X: yyyyyyyyyyyyy\r\n'.repeat(5000)}`, 'the response headers never end'],
  ] as const) {
    it(`calls ${what} down`, async () => {
      const server = await answering(text);
      const bench = run(server.port);
      expect(await reasonOf(bench)).to.equal(`down: ${reason}`);
      expect(bench.lines).to.deep.equal(['WARN Fetch failed (http://www.example.org/a?b=c), N.NNN s']);
      expect(bench.measured[0]).to.include('"result":"failed"');
    });
  }

  it('calls a refused connection down in the words of PyBal', async () => {
    const server = await answering('');
    await server.close();
    const reason = 'down: Connection was refused by other side: 111: Connection refused.';
    expect(await reasonOf(run(server.port))).to.equal(reason);
  });

  it('calls a reset down', async () => {
    const server = await serving((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const reason = 'down: Connection to the other side was lost in a non-clean fashion: Connection lost.';
    expect(await reasonOf(run(server.port))).to.equal(reason);
  });

  it('gives silence and a slow drip their timeout and no more, and hangs up', async () => {
    const reason = 'down: Getting http://www.example.org/a?b=c took longer than 0.15 seconds.';
    const silent = await serving(() => {});
    const dripping = await serving((socket) => {
      socket.write('HTTP/1.0 200 OK\r\nX: ');
      const timer = setInterval(() => socket.write('x'), 20);
      socket.on('close', () => clearInterval(timer));
    });
    for (const server of [silent, dripping]) {
      const start = performance.now();
      expect(await reasonOf(run(server.port, { timeout: 0.15 }))).to.equal(reason);
      expect(performance.now() - start).to.be.within(140, 400);
      for (let i = 0; i < 50 && server.sockets.size > 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(server.sockets.size).to.equal(0);
    }
  });

  it('does not read a huge body to its end, and keeps none of it', async () => {
    const block = Buffer.alloc(1 << 20, 'x');
    let sent = 0;
    const server = await serving((socket) => {
      socket.write('HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n');
      const pump = () => {
        while (!socket.destroyed && sent < 1 << 28) {
          sent += block.length;
          if (!socket.write(block)) return;
        }
      };
      socket.on('drain', pump);
      pump();
    });
    expect(await reasonOf(run(server.port, { timeout: 1 }))).to.equal('up');
    expect(sent).to.be.lessThan(64 << 20);
  });

  it('takes any of 301, 302 and 303 when one of them is asked for, and then nothing else', async () => {
    for (const status of [301, 302, 303]) {
      const server = await answering('HTTP/1.0 302 Found\r\n\r\n');
      expect(await reasonOf(run(server.port, { http_status: status }))).to.equal('up');
    }
    const server = await answering('HTTP/1.0 200 OK\r\n\r\n');
    expect(await reasonOf(run(server.port, { http_status: 301 }))).to.equal('down: 200 OK');
  });

  it('takes every other http_status as 200, as PyBal did, and says so once', async () => {
    const server = await answering('HTTP/1.0 200 OK\r\n\r\n');
    const bench = run(server.port, { http_status: 404, interval: 0.1 });
    await bench.result(2);
    expect(bench.results.slice(0, 2)).to.deep.equal([{ is: 'up' }, { is: 'up' }]);
    const warnings = bench.lines.filter((line) => line.startsWith('WARN'));
    expect(warnings).to.deep.equal(['WARN http_status 404 is not supported: 200, 201 and 202 count as success']);
  });

  it('fetches no more than four URLs at a time, and the next one as soon as one has ended', async () => {
    let [busy, most, asked] = [0, 0, 0];
    const server = await serving((socket) =>
      socket.once('data', () => {
        asked++;
        most = Math.max(most, ++busy);
        const answer = () => {
          if (asked < 4) return void setTimeout(answer, 5);
          busy--;
          socket.end('HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n');
        };
        // More than four would have come by then.
        setTimeout(answer, 20);
      }),
    );
    const url = Array.from({ length: 11 }, (_, i) => `http://x/${i}`);
    expect(await reasonOf(run(server.port, { url, check_all: true }))).to.equal('up');
    expect([most, asked]).to.deep.equal([4, 11]);
  });

  it('fetches one URL, or all of them with check_all, of which max_failures may fail', async () => {
    const server = await serving((socket) =>
      socket.once('data', (bytes) =>
        socket.end(`HTTP/1.0 ${String(bytes).includes('/bad') ? '500 Bad' : '200 OK'}\r\n\r\n`),
      ),
    );
    const url = ['http://x/good', 'http://x/bad'];
    // random() is 0.5 here: the second of two.
    expect(await reasonOf(run(server.port, { url }))).to.equal('down: 500 Bad');
    expect(await reasonOf(run(server.port, { url, max_failures: 1 }))).to.equal('down: 500 Bad');
    expect(server.seen.connections).to.equal(2);
    expect(await reasonOf(run(server.port, { url, check_all: true }))).to.equal('down: 500 Bad');
    expect(server.seen.connections).to.equal(4);
    expect(await reasonOf(run(server.port, { url, check_all: true, max_failures: 1 }))).to.equal('up');
    const both = ['http://x/bad', 'http://x/bad2'];
    expect(await reasonOf(run(server.port, { url: both, check_all: true, max_failures: 1 }))).to.equal(
      'down: 500 Bad\n500 Bad',
    );
  });

  it('shows no user and password of a URL: neither in logs nor in metrics nor in reasons', async () => {
    const server = await serving(() => {});
    const bench = run(server.port, { url: ['http://me:secret@www.example.org/a@b'], timeout: 0.1 });
    expect(await reasonOf(bench)).to.contain('http://***@www.example.org/a@b');
    expect([...bench.lines, ...bench.measured].join()).to.contain('http://***@www.example.org/a@b');
    expect([...bench.lines, ...bench.measured, await reasonOf(bench)].join()).to.not.contain('secret');
  });

  it('does not blame the server when we have no route or no descriptors', async () => {
    for (const code of ['ENETUNREACH', 'EMFILE', 'EADDRNOTAVAIL', 'EPERM']) {
      const connect = () => Promise.reject(new SystemError(code, 'connect'));
      const options = { url: ['http://x/'], timeout: 0.3 };
      const bench = runMonitor(proxyfetch, options, {}, { streams: { connect, secure: connect, listen: connect } });
      benches.push(bench);
      expect((await bench.result()).is, code).to.equal('unknown');
    }
    for (const code of ['ECONNREFUSED', 'EHOSTUNREACH', 'ETIMEDOUT', 'ECONNRESET']) {
      const connect = () => Promise.reject(new SystemError(code, 'connect'));
      const options = { url: ['http://x/'], timeout: 0.3 };
      const bench = runMonitor(proxyfetch, options, {}, { streams: { connect, secure: connect, listen: connect } });
      benches.push(bench);
      expect((await bench.result()).is, code).to.equal('down');
    }
  });

  describe('with TLS', () => {
    const folder = mkdtempSync(join(tmpdir(), 'health-tls-'));
    before(() => {
      const request =
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other.example';
      const files = ['-keyout', join(folder, 'key'), '-out', join(folder, 'cert')];
      execFileSync('openssl', [...request.split(' '), ...files], { stdio: 'ignore' });
    });
    after(() => rmSync(folder, { recursive: true }));

    it('fetches https whatever the certificate says, and names the host of the URL', async () => {
      const names: (string | boolean | null)[] = [];
      const secure = tls.createServer(
        { key: readFileSync(join(folder, 'key')), cert: readFileSync(join(folder, 'cert')) },
        (socket) => {
          names.push((socket as { servername?: string | false }).servername ?? null);
          socket.on('error', () => {});
          socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'));
        },
      );
      const port = await listenSomewhere(secure);
      try {
        expect(await reasonOf(run(port, { url: ['https://www.example.org/'], timeout: 1 }))).to.equal('up');
        expect(await reasonOf(run(port, { url: ['https://192.0.2.1/'], timeout: 1 }))).to.equal('up');
        expect(names).to.deep.equal(['www.example.org', false]);
      } finally {
        await new Promise((resolve) => secure.close(resolve));
      }
    });

    it('calls a server down that speaks no TLS, or never finishes the handshake', async () => {
      const plain = await answering('HTTP/1.0 400 Bad Request\r\n\r\n');
      expect(await reasonOf(run(plain.port, { url: ['https://x/'], timeout: 1 }))).to.match(/^down: /);
      const silent = await serving(() => {});
      // A second: a busy machine that wakes us late would make it our own fault.
      const reason = 'down: Getting https://x/ took longer than 1 seconds. No connection with TLS.';
      expect(await reasonOf(run(silent.port, { url: ['https://x/'], timeout: 1 }))).to.equal(reason);
    });
  });
});
