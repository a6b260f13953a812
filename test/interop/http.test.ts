// The monitor HTTP against nginx and HAProxy: what is up is up, and each way in which a server can be broken is told by its name.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import http from '../../monitors/http.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { Authority } from '../support/authority.ts';
import { type Bench, runMonitor, serve } from '../support/monitor-bench.ts';
import { eventually, Namespace, output, requireTools } from '../support/namespace.ts';

const TOOLS = {
  '/usr/sbin/nginx': 'nginx-light',
  '/usr/sbin/haproxy': 'haproxy',
  '/usr/bin/openssl': 'openssl',
  '/usr/sbin/nft': 'nftables',
  '/usr/bin/ss': 'iproute2',
  '/usr/bin/python3': 'python3',
};
const SERVER = '10.85.0.2';
/** Packets to it vanish. */
const BLACK_HOLE = '10.85.0.3';
const STANDING_STILL = `
import socket, time
s = socket.create_server(('${SERVER}', 9002), backlog=0)
time.sleep(50)
`;
const PORTS = {
  plain: 80,
  proxied: 81,
  brief: 82,
  good: 443,
  expired: 444,
  other: 445,
  wanting: 446,
  hap: 8080,
  hapProxied: 8081,
  hapGood: 8443,
  hapWanting: 8444,
};

type Given = Readonly<Record<string, unknown>>;

describe('HTTP with real servers', function () {
  this.timeout(60_000);
  let namespace: Namespace | null = null;
  let authority: Authority;
  let folder: string;
  let pem: { good: string; expired: string; other: string; client: string };
  const benches: Bench[] = [];

  before(async () => {
    requireTools(TOOLS);
    folder = mkdtempSync(join(tmpdir(), 'anybal-http-'));
    authority = new Authority();
    pem = {
      good: authority.issue('good', 'real.example', 20),
      expired: authority.issue('expired', 'real.example', -1),
      other: authority.issue('other', 'other.example', 20),
      client: authority.issue('client', 'director.example', 20),
    };
    namespace = await Namespace.create('anybal-http', ['10.85.0.1/24'], [`${SERVER}/24`, `${BLACK_HOLE}/24`]);
    const drop = `table ip hole { chain in { type filter hook input priority 0; ip daddr ${BLACK_HOLE} drop; }; }`;
    writeFileSync(join(folder, 'hole.nft'), drop);
    await output('ip', 'netns', 'exec', 'anybal-http', 'nft', '-f', join(folder, 'hole.nft'));
    writeFileSync(join(folder, 'nginx.conf'), nginx());
    writeFileSync(join(folder, 'big'), 'x'.repeat(20 << 20));
    writeFileSync(join(folder, 'drip'), 'y'.repeat(100_000));
    namespace.spawn('nginx', '-c', join(folder, 'nginx.conf'), '-p', folder);
    writeFileSync(join(folder, 'haproxy.cfg'), haproxy());
    namespace.spawn('haproxy', '-db', '-f', join(folder, 'haproxy.cfg'));
    for (const port of [PORTS.plain, PORTS.hap]) {
      await eventually(`a server on port ${port}`, async () => ((await says(port)) === 'up' ? true : null));
    }
  });

  after(async () => {
    await namespace?.destroy();
    authority.remove();
    rmSync(folder, { recursive: true });
  });

  afterEach(() => Promise.all(benches.splice(0).map((bench) => bench.stop())));

  function nginx(): string {
    const listener = (port: number, more: string) =>
      `server { listen ${SERVER}:${port}${more}; root ${folder}; include ${join(folder, 'locations.conf')}; }`;
    writeFileSync(
      join(folder, 'locations.conf'),
      [
        'location = / { default_type text/plain; return 200 "hello from $host over $server_protocol\\n"; }',
        'location = /who { default_type text/plain; return 200 "$ssl_client_s_dn $http_x_probe $request_method $content_type"; }',
        'location = /json { default_type application/json; return 200 \'{"status":"green","checks":[{"up":true}]}\'; }',
        'location = /busy { return 503; }',
        'location = /nothing { return 444; }',
        'location = /old { return 301 /json; }',
        'location = /loop { return 302 /loop; }',
        'location = /away { return 302 https://elsewhere.example/; }',
        'location = /drip { limit_rate 1k; }',
      ].join('\n'),
    );
    const secure = (file: string) =>
      ` ssl http2; ssl_certificate ${join(authority.folder, file)}.crt; ssl_certificate_key ${join(authority.folder, file)}.key`;
    const servers = [
      listener(PORTS.plain, ''),
      listener(PORTS.proxied, ' proxy_protocol'),
      listener(PORTS.brief, '; keepalive_requests 2'),
      listener(PORTS.good, secure('good')),
      listener(PORTS.expired, secure('expired')),
      listener(PORTS.other, secure('other')),
      listener(PORTS.wanting, `${secure('good')}; ssl_verify_client on; ssl_client_certificate ${authority.path}`),
    ];
    return [
      `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;`,
      'events {}',
      `http { access_log off; client_body_temp_path ${folder}/1; proxy_temp_path ${folder}/2; fastcgi_temp_path ${folder}/3;`,
      `uwsgi_temp_path ${folder}/4; scgi_temp_path ${folder}/5;`,
      ...servers,
      '}',
    ].join('\n');
  }

  function haproxy(): string {
    return `
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  timeout tarpit 10s
frontend all
  bind ${SERVER}:${PORTS.hap}
  bind ${SERVER}:${PORTS.hapProxied} accept-proxy
  bind ${SERVER}:${PORTS.hapGood} ssl crt ${pem.good} alpn h2,http/1.1
  bind ${SERVER}:${PORTS.hapWanting} ssl crt ${pem.good} ca-file ${authority.path} verify required
  http-request silent-drop if { path /silent }
  http-request tarpit if { path /tarpit }
  http-request reject if { path /reject }
  http-request deny deny_status 503 if { path /busy }
  http-request redirect location /json if { path /old }
  http-request redirect location /loop if { path /loop }
  http-request return status 200 content-type application/json string '{"status":"green"}' if { path /json }
  use_backend gone if { path /gone }
  http-request return status 200 content-type text/plain lf-string "hello from %[req.hdr(host)] %[src]\\n" unless { path /gone }
backend gone
  server nobody ${SERVER}:9
`;
  }

  function run(port: number, path = '/', given: Given = {}, address = SERVER): Bench {
    const scheme =
      [PORTS.plain, PORTS.proxied, PORTS.brief, PORTS.hap, PORTS.hapProxied].includes(port) || port > 9000
        ? 'http'
        : 'https';
    const options = {
      url: [`${scheme}://real.example${path}`],
      timeout: 5,
      interval: 60,
      'tls-ca': authority.path,
      ...given,
    };
    const bench = runMonitor(http, options, { address, port }, { files: createFiles() });
    benches.push(bench);
    return bench;
  }

  async function says(port: number, path = '/', given: Given = {}, address = SERVER): Promise<string> {
    const health = await run(port, path, given, address).result(1, 10_000);
    return health.is === 'up' ? 'up' : `${health.is}: ${health.reason.replace(/https?:\/\/real\.example[^ ]*: /, '')}`;
  }

  for (const [name, plain, good, wanting, proxied] of [
    ['nginx', PORTS.plain, PORTS.good, PORTS.wanting, PORTS.proxied],
    ['HAProxy', PORTS.hap, PORTS.hapGood, PORTS.hapWanting, PORTS.hapProxied],
  ] as const) {
    describe(name, () => {
      it('is up, in HTTP/1.1 and HTTP/2, with TLS and without, with HEAD and POST', async () => {
        const hello = { 'expect-text': 'hello from real.example' };
        expect(await says(plain, '/', hello)).to.equal('up');
        expect(await says(good, '/', hello)).to.equal('up');
        for (const alpn of [['h2'], ['h2', 'http/1.1'], ['http/1.1']]) {
          expect(await says(good, '/', { ...hello, alpn }), alpn.join()).to.equal('up');
        }
        expect(await says(plain, '/', { method: 'HEAD', 'read-body': true })).to.equal('up');
        expect(await says(good, '/json', { method: 'HEAD', 'read-body': true, alpn: ['h2'] })).to.equal('up');
        const post = { method: 'POST', 'request-body': 'x'.repeat(5000), 'expect-text': 'hello' };
        expect(await says(plain, '/', post)).to.equal('up');
        expect(await says(good, '/', { ...post, alpn: ['h2'] })).to.equal('up');
      });

      it('is asked for another host than it is at, and judged by what it says', async () => {
        expect(await says(plain, '/', { host: 'other.example', 'expect-text': 'hello from other.example' })).to.equal(
          'up',
        );
        const json = { 'expect-json': ['status = green'], 'expect-regex': '"status":\\s*"(green|yellow)"' };
        expect(await says(plain, '/json', json)).to.equal('up');
        expect(await says(good, '/json', { ...json, alpn: ['h2'] })).to.equal('up');
        expect(await says(plain, '/json', { 'expect-json': ['status = red'] })).to.equal(
          'down: 200 OK, but expected status to be "red" in the JSON, got "green"',
        );
        expect(await says(plain, '/json', { 'expect-sha256': '0'.repeat(64) })).to.match(
          /^down: 200 OK, but expected a body with SHA-256 0{64}, got [0-9a-f]{64} of \d+ bytes$/,
        );
        expect(await says(plain, '/', { 'expect-text': 'goodbye' })).to.match(
          /^down: 200 OK, but expected “goodbye” in the body, got \d+ bytes that begin with “hello from real.example/,
        );
      });

      it('is down with 503, in both versions', async () => {
        expect(await says(plain, '/busy')).to.match(/^down: 503 Service (Temporarily )?Unavailable, expected 200-299$/);
        expect(await says(good, '/busy', { alpn: ['h2'] })).to.equal('down: 503, expected 200-299');
        expect(await says(plain, '/busy', { status: '200, 500-503' })).to.equal('up');
      });

      it('may redirect, but not in circles', async () => {
        const green = { 'expect-text': 'green', redirects: 3 };
        expect(await says(plain, '/old', green)).to.equal('up');
        expect(await says(good, '/old', { ...green, alpn: ['h2'] })).to.equal('up');
        expect(await says(plain, '/old')).to.match(/^down: 30[12] .*, expected 200-299$/);
        expect(await says(plain, '/loop', { redirects: 3 })).to.match(
          /^down: 302 .* to http:\/\/real.example\/loop after 3 redirects, expected 200-299$/,
        );
      });

      it('sees our certificate where it wants one', async () => {
        expect(await says(wanting, '/json', { 'tls-certificate': pem.client })).to.equal('up');
        expect(await says(wanting, '/json')).to.match(
          name === 'nginx'
            ? /^down: 400 Bad Request, expected 200-299$/
            : /^down: (lost before any answer: .*alert|TLS with )/,
        );
      });

      it('takes the PROXY protocol, and tells when it wanted to', async () => {
        for (const version of ['v1', 'v2'])
          expect(await says(proxied, '/', { 'proxy-protocol': version })).to.equal('up');
        expect(await says(proxied, '/', {})).to.match(/^down: (closed|reset) by the server before any answer$/);
        expect(await says(plain, '/', { 'proxy-protocol': 'v1' })).to.match(
          /^down: 400 Bad [Rr]equest, expected 200-299$/,
        );
      });

      it('is asked again on the same connection, in both versions', async () => {
        for (const [port, alpn] of [
          [plain, []],
          [good, []],
          [good, ['h2']],
        ] as const) {
          const bench = run(port, '/json', { 'keep-alive': true, interval: 0.1, alpn, 'expect-text': 'green' });
          await bench.result(5, 10_000);
          expect(bench.results.map(({ is }) => is)).to.not.include('down');
          const open = await output('ss', '-tnH', 'state', 'established', 'dst', `${SERVER}:${port}`);
          expect(open.trim().split('\n')).to.have.length(1);
          await bench.stop();
        }
      });
    });
  }

  describe('a certificate', () => {
    it('that has ended, is for another name, or of nobody known is down, each for its own reason', async () => {
      expect(await says(PORTS.expired)).to.match(/^down: TLS with .*certificate has expired/);
      expect(await says(PORTS.other)).to.match(
        /^down: TLS with .*real.example. is not in the cert's altnames: DNS:other.example/,
      );
      expect(await says(PORTS.good, '/', { 'tls-ca': null })).to.match(
        /^down: TLS with .*unable to (get local issuer|verify)/,
      );
      expect(await says(PORTS.expired, '/', { 'tls-verify': false })).to.equal('up');
      expect(await says(PORTS.expired, '/', { 'tls-verify': false, 'certificate-failure-days': 1 })).to.match(
        /^down: the certificate of CN=real.example ended on \d{4}-\d\d-\d\d, 1\.0 days ago, expected at least 1$/,
      );
    });

    it('that will end is a warning before it is down', async () => {
      const warned = run(PORTS.good, '/', { 'certificate-warning-days': 30 });
      expect((await warned.result(1, 10_000)).is).to.equal('up');
      expect(warned.lines).to.have.length(1);
      expect(warned.lines[0]).to.match(
        /^WARN .*: the certificate of CN=real.example ends on \d{4}-\d\d-\d\d, in (19\.9|20\.0) days$/,
      );
      expect(await says(PORTS.good, '/', { 'certificate-failure-days': 30 })).to.match(
        /in (19\.9|20\.0) days, expected at least 30$/,
      );
    });
  });

  it('nginx: a connection that it closes after two requests is no failure', async () => {
    const bench = run(PORTS.brief, '/json', { 'keep-alive': true, interval: 0.1 });
    await bench.result(7, 10_000);
    expect(bench.results.every(({ is }) => is === 'up')).to.equal(true);
  });

  it('nginx: a slow drip is down when its time is over, but not where the status is enough', async () => {
    expect(await says(PORTS.plain, '/drip', { 'read-body': false })).to.equal('up');
    expect(await says(PORTS.plain, '/drip', { 'read-body': true, timeout: 1 })).to.match(
      /^down: timed out after 1 s, 200 OK, after \d+ of 100000 bytes of the body$/,
    );
    expect(await says(PORTS.good, '/drip', { 'read-body': true, timeout: 1, alpn: ['h2'] })).to.match(
      /^down: timed out after 1 s, 200, after \d+ bytes of the body$/,
    );
  });

  it('nginx: a huge body is read to its end unless the status is enough, and never kept', async () => {
    for (const [port, alpn] of [
      [PORTS.plain, []],
      [PORTS.good, ['h2']],
    ] as const) {
      expect(await says(port, '/big', { alpn, 'read-body': false })).to.equal('up');
      expect(await says(port, '/big', { alpn })).to.equal('up');
      expect(await says(port, '/big', { alpn, 'expect-text': 'y' })).to.match(
        /got more than 65536 bytes that begin with “x+”$/,
      );
    }
    expect(await says(PORTS.plain, '/big', { 'expect-sha256': '0'.repeat(64) })).to.match(
      /expected a body of at most 65536 bytes, it is longer$/,
    );
  });

  it('nginx: closed without an answer, and led away', async () => {
    expect(await says(PORTS.plain, '/nothing')).to.equal('down: closed by the server before any answer');
    expect(await says(PORTS.plain, '/away', { redirects: 3 })).to.equal(
      'down: 302 Moved Temporarily to another server, https://elsewhere.example/, expected 200-299',
    );
  });

  it('HAProxy: silence, a tarpit, a rejection, and nobody behind it', async () => {
    expect(await says(PORTS.hap, '/silent', { timeout: 1 })).to.match(
      /^down: (timed out after 1 s, before any answer|reset by the server before any answer)$/,
    );
    expect(await says(PORTS.hap, '/tarpit', { timeout: 1 })).to.equal('down: timed out after 1 s, before any answer');
    expect(await says(PORTS.hap, '/reject')).to.match(/^down: (closed|reset) by the server before any answer$/);
    expect(await says(PORTS.hap, '/gone')).to.equal('down: 503 Service Unavailable, expected 200-299');
  });

  it('nobody there, a black hole and no way there are told apart', async () => {
    expect(await says(9001)).to.equal('down: Connection was refused by other side: 111: Connection refused.');
    expect(await says(9001, '/', { timeout: 1 }, BLACK_HOLE)).to.equal('down: timed out after 1 s, while connecting');
    expect(await says(9001, '/', { timeout: 5 }, '10.85.0.77')).to.match(
      /^down: (No route to host: 113|timed out after 5 s, while connecting)/,
    );
  });

  it('a process that stands still is silence, and with a full backlog a black hole', async () => {
    namespace?.spawn('python3', '-c', STANDING_STILL);
    await eventually('a listener', async () =>
      (await output('ip', 'netns', 'exec', 'anybal-http', 'ss', '-tlnH')).includes(':9002 ') ? true : null,
    );
    const given = { timeout: 1 };
    expect(await says(9002, '/', given)).to.equal('down: timed out after 1 s, before any answer');
    // The kernel took one connection for it, and keeps that.
    expect(await says(9002, '/', given)).to.equal('down: timed out after 1 s, while connecting');
  });

  it('what is no server of ours is told by what it says: SSH, garbage, HTTP/1 where HTTP/2 is wanted', async () => {
    const servers = [
      await serve((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')),
      await serve((socket) => socket.end(Buffer.from([0, 255, 1, 254, 10, 13, 10]))),
      await serve((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))),
      await serve((socket) =>
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc');
          setTimeout(() => socket.resetAndDestroy(), 50);
        }),
      ),
      await serve((socket) => socket.end()),
    ];
    const [ssh, garbage, old, cut, closed] = servers.map(({ port }) => port);
    const local = '127.0.0.1';
    const plain = { url: ['http://real.example/'] };
    expect(await says(ssh ?? 0, '/', plain, local)).to.equal('down: not an HTTP response: SSH-2.0-OpenSSH_9.2');
    expect(await says(garbage ?? 0, '/', plain, local)).to.match(/^down: not an HTTP response: \?+$/);
    expect(await says(ssh ?? 0, '/', { url: ['https://real.example/'] }, local)).to.match(
      /^down: TLS with .*wrong version number/,
    );
    expect(await says(old ?? 0, '/', { ...plain, alpn: ['h2'] }, local)).to.match(
      /^down: no HTTP\/2 response: it begins with HTTP\/1.1 400 Bad Request/,
    );
    expect(await says(cut ?? 0, '/', { ...plain, 'read-body': true }, local)).to.equal(
      'down: reset by the server 200 OK, after 3 of 10 bytes of the body',
    );
    expect(await says(closed ?? 0, '/', plain, local)).to.equal('down: closed by the server before any answer');
    for (const server of servers) await server.close();
  });
});
