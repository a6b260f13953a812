// The SMTP monitor against Exim: what it says of a server that is well, with TLS and without, and what the log says of it.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import smtp from '../../monitors/smtp.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { type Bench, freePort, runMonitor, serve } from '../support/monitor-bench.ts';
import { requireTools } from '../support/namespace.ts';

const AT = '127.20.25.1';

describe('SMTP monitor and Exim', () => {
  const benches: Bench[] = [];
  const ports = { plain: 0, implicit: 0 };
  let folder = '';
  let daemon: ChildProcess | null = null;

  before(async () => {
    requireTools({ '/usr/sbin/exim4': 'exim4-daemon-light', '/usr/bin/openssl': 'openssl' });
    folder = mkdtempSync(join(tmpdir(), 'talk-smtp-'));
    chmodSync(folder, 0o755);
    ports.plain = await freePort(AT);
    ports.implicit = await freePort(AT);
    const wanted = ['-newkey', 'rsa:2048', '-subj', '/CN=real.example', '-addext', 'subjectAltName=DNS:real.example'];
    const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')];
    execFileSync('openssl', ['req', '-x509', '-nodes', '-days', '30', ...wanted, ...files], { stdio: 'ignore' });
    const config = [
      'primary_hostname = real.example',
      `local_interfaces = <; [${AT}]:${ports.plain} ; [${AT}]:${ports.implicit}`,
      `tls_on_connect_ports = ${ports.implicit}`,
      'tls_advertise_hosts = *',
      `tls_certificate = ${join(folder, 'cert.pem')}`,
      `tls_privatekey = ${join(folder, 'key.pem')}`,
      `spool_directory = ${join(folder, 'spool')}`,
      `log_file_path = ${join(folder, '%slog')}`,
      'log_selector = +smtp_connection',
      'keep_environment =',
      'host_lookup =',
      'rfc1413_query_timeout = 0s',
    ];
    writeFileSync(join(folder, 'exim.conf'), `${config.join('\n')}\n`);
    // It gives up being root once it listens.
    execFileSync('chown', ['-R', 'Debian-exim:', folder]);
    execFileSync('chown', ['root:', join(folder, 'exim.conf')]);
    daemon = spawn('/usr/sbin/exim4', ['-C', join(folder, 'exim.conf'), '-bdf', '-oP', join(folder, 'pid')], {
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    let said = '';
    daemon.stderr?.on('data', (text: Buffer) => {
      said += text.toString();
    });
    for (let tries = 0; !(await answers(ports.plain)); tries++) {
      if (tries > 200 || daemon.exitCode !== null) throw new Error(`exim4 does not start: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
  });
  after(() => {
    // It runs as several processes, of one group of their own.
    if (daemon?.pid !== undefined && daemon.exitCode === null) process.kill(-daemon.pid, 'SIGKILL');
    if (folder !== '') rmSync(folder, { recursive: true });
  });

  async function check(given: Readonly<Record<string, unknown>>, port: number = ports.plain): Promise<string> {
    const bench = runMonitor(smtp, { interval: 3600, ...given }, { address: AT, port }, { files: createFiles() });
    benches.push(bench);
    const health = await bench.result(1, 15_000);
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  }
  const log = () => readFileSync(join(folder, 'mainlog'), 'utf8');
  const trusted = () => ({ 'tls-servername': 'real.example', 'tls-ca': join(folder, 'cert.pem') });

  it('greets, and leaves as clients do that have nothing to say', async () => {
    const before = log().length;
    expect(await check({})).to.match(/^up: 220 real\.example ESMTP Exim /);
    expect(await check({ until: 'greeting' })).to.match(/^up: 220 /);
    expect(await check({ tls: 'starttls', ...trusted() })).to.match(/^up: 220 /);
    const ends = () =>
      log()
        .slice(before)
        .match(/(closed by QUIT|lost|unexpected|error)/g) ?? [];
    for (let tries = 0; ends().length < 3; tries++) {
      if (tries > 100) throw new Error(`exim4 says: ${log().slice(before)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect([...new Set(ends())]).to.deep.equal(['closed by QUIT']);
  });

  it('takes STARTTLS and TLS from the start, with the certificate verified', async () => {
    expect(await check({ tls: 'starttls', ...trusted() })).to.match(/^up: 220 real\.example/);
    expect(await check({ tls: 'implicit', ...trusted() }, ports.implicit)).to.match(/^up: 220 real\.example/);
  });

  it('is down for a certificate of nobody known, or for another name', async () => {
    expect(await check({ tls: 'starttls', 'tls-servername': 'real.example' })).to.match(
      /^down: TLS with .*self[- ]signed/,
    );
    expect(await check({ tls: 'implicit', ...trusted(), 'tls-servername': 'other.example' }, ports.implicit)).to.match(
      /^down: TLS with .*other\.example/,
    );
  });

  it('is down when TLS meets no TLS, and the other way round', async () => {
    expect(await check({ tls: 'implicit', timeout: 2 })).to.match(
      /^down: TLS with [\d.:]+: EPROTO: wrong version number, it speaks no TLS/,
    );
    expect(await check({ timeout: 1 }, ports.implicit)).to.equal('down: greeting: nothing came in time');
  });

  it('is down when it asks for what the server does not know', async () => {
    expect(await check({ 'proxy-protocol': true })).to.match(/^down: (greeting|EHLO): /);
    expect(await check({ codes: [554] })).to.match(/^down: greeting: 220 /);
  });

  it('is unknown when our list of authorities is missing', async () => {
    expect(await check({ tls: 'starttls', 'tls-ca': join(folder, 'nothing') })).to.match(/^unknown: .*ENOENT/);
  });

  it('is down when nobody listens, nothing comes, or only drops of it', async () => {
    expect(await check({}, await freePort(AT))).to.match(/^down: Connection was refused/);
    const silent = await serve(() => {}, { at: AT });
    const drip = await serve(
      (socket) => {
        const timer = setInterval(() => socket.write('2'), 50);
        socket.on('close', () => clearInterval(timer));
      },
      { at: AT },
    );
    const half = await serve((socket) => void socket.end('220-only half\r\n'), { at: AT });
    try {
      expect(await check({ timeout: 0.5 }, silent.port)).to.equal('down: greeting: nothing came in time');
      expect(await check({ timeout: 0.5 }, drip.port)).to.match(/^down: greeting: nothing came in time after "22/);
      expect(await check({}, half.port)).to.equal('down: greeting: the connection was closed after "220-only half"');
    } finally {
      await Promise.all([silent.close(), drip.close(), half.close()]);
    }
  });

  it('is down for a server that is stopped, and up again when it goes on', async () => {
    if (daemon?.pid === undefined) throw new Error('no daemon');
    process.kill(-daemon.pid, 'SIGSTOP');
    try {
      expect(await check({ timeout: 1 })).to.equal('down: greeting: nothing came in time');
    } finally {
      process.kill(-daemon.pid, 'SIGCONT');
    }
    expect(await check({})).to.match(/^up/);
  });
});

async function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, AT, () => {
      socket.end('QUIT\r\n');
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
