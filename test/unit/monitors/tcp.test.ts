import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { expect } from 'chai';
import tcp from '../../../monitors/tcp.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { createFiles } from '../../../src/world/real/files.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { listenSomewhere } from '../../support/listen.ts';
import { type Bench, runMonitor, serve } from '../../support/monitor-bench.ts';
import { eventually } from '../../support/namespace.ts';
import { fakeSelf } from '../../support/fake-self.ts';

describe('TCP', () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function serving(onSocket: (socket: net.Socket) => void) {
    const server = await serve(onSocket);
    closing.push(() => server.close());
    return server;
  }

  function run(port: number, given: Readonly<Record<string, unknown>> = {}, address = '127.0.0.1', lateMs = 0): Bench {
    const self = () => fakeSelf(lateMs);
    const bench = runMonitor(tcp, { timeout: 0.6, ...given }, { port, address }, { files: createFiles(), self });
    closing.push(() => bench.stop());
    return bench;
  }

  const said = async (bench: Bench) => {
    const health = await bench.result();
    return health.is === 'up' ? 'up' : `${health.is}: ${health.reason}`;
  };

  it('is up when it is connected, and resets what it opened', async () => {
    let lost: Error | null = null;
    const { port } = await serving((socket) => {
      socket.resume().on('error', (error) => {
        lost = error;
      });
    });
    expect(await said(run(port))).to.equal('up');
    expect(await eventually('the reset', () => lost)).to.have.property('code', 'ECONNRESET');
  });

  it('leaves with FIN when told to', async () => {
    let ended = false;
    const { port } = await serving((socket) => {
      socket.resume().on('end', () => {
        ended = true;
        socket.end();
      });
    });
    expect(await said(run(port, { close: 'fin' }))).to.equal('up');
    await eventually('the FIN', () => ended || null);
  });

  it('says and hears several times, also when it comes octet by octet', async () => {
    const { port, seen } = await serving((socket) => {
      socket.setNoDelay(true);
      const slowly = (text: string) => {
        for (const octet of text) socket.write(octet);
      };
      slowly('220 mail ready\r\n');
      socket.on('data', (bytes) => slowly(bytes.toString().startsWith('NOOP') ? '250 ok\r\n' : '221 bye\r\n'));
    });
    const given = { send: ['', 'NOOP\r\n', 'QUIT\r\n'], expect: ['220 ', '250 ', '221 '] };
    expect(await said(run(port, given))).to.equal('up');
    expect(seen.text).to.equal('NOOP\r\nQUIT\r\n');
  });

  it('hears octets that are no text', async () => {
    const { port, seen } = await serving((socket) =>
      socket.on('data', () => socket.write(Uint8Array.from([0, 0x93, 255]))),
    );
    expect(await said(run(port, { send: ['\x00\xff'], expect: ['\x00\x93\xff'], match: 'starts' }))).to.equal('up');
    expect(seen.text).to.equal('\x00\xff');
  });

  for (const [what, onSocket, given, expected] of [
    ['other words', (s) => s.write('-ERR\n'), {}, 'down: in 0.6 seconds never said "+PONG", after "-ERR\\n"'],
    ['other words at once', (s) => s.write('-ERR\n'), { match: 'starts' }, 'down: said "-ERR\\n" instead of "+PONG"'],
    ['silence', () => {}, {}, 'down: in 0.6 seconds never said "+PONG"'],
    ['an end', (s) => s.end('+PO'), {}, 'down: closed the connection before it said "+PONG", after "+PO"'],
    ['a reset', (s) => s.resetAndDestroy(), {}, 'down: reset the connection before it said "+PONG"'],
    [
      'no end of noise',
      (s) => s.write('x'.repeat(2e6)),
      {},
      `down: 65536 octets without "+PONG", after "${'x'.repeat(80)}…"`,
    ],
    ['few octets', (s) => s.write('12345'), { 'max-bytes': 4 }, 'down: 4 octets without "+PONG", after "1234"'],
    ['the words, half closed', (s) => s.end('+PONG\r\n'), {}, 'up'],
  ] as readonly (readonly [string, (socket: net.Socket) => void, Readonly<Record<string, unknown>>, string])[]) {
    it(`for ${what} is ${expected.slice(0, 4)}`, async () => {
      const { port } = await serving((socket) => {
        socket.resume();
        socket.once('data', () => onSocket(socket));
      });
      expect(await said(run(port, { send: ['PING\r\n'], expect: ['+PONG'], ...given }))).to.equal(expected);
    });
  }

  describe('where what is left of one answer looks like the next', () => {
    const GREETING = '220 mail ready\r\n';
    const HELLO = '250-mail\r\n250-PIPELINING\r\n250 HELP\r\n';
    const smtp = (toMail: string) => (socket: net.Socket) => {
      socket.on('error', () => {}).write(GREETING);
      socket.on('data', (said) => socket.write(said.includes('EHLO') ? HELLO : toMail));
    };
    const talk = { send: ['', 'EHLO lb\r\n', 'MAIL FROM:<>\r\n'], expect: ['220', '250', '250'] };

    it('hears what comes after it spoke only', async () => {
      const { port } = await serving(smtp('451 try later\r\n'));
      expect(await said(run(port, talk))).to.equal(
        'down: in 0.6 seconds never said "250", after "451 try later\\r\\n"',
      );
      const { port: well } = await serving(smtp('250 ok\r\n'));
      expect(await said(run(well, talk))).to.equal('up');
    });

    it('looks for a beginning where the answer begins', async () => {
      const { port } = await serving(smtp(''));
      const words = { send: ['', 'EHLO lb\r\n'], expect: ['220 ', '250-'], match: 'starts' };
      expect(await said(run(port, words))).to.equal('up');
    });

    it('goes on in it where nothing is said between', async () => {
      const { port } = await serving(smtp(''));
      const words = { send: ['', '', 'EHLO lb\r\n', ''], expect: ['220', 'ready', '250-mail', '250 HELP'] };
      expect(await said(run(port, words))).to.equal('up');
    });
  });

  it('wants the second answer behind the first one', async () => {
    const { port } = await serving((socket) => socket.write('one two'));
    expect(await said(run(port, { expect: ['one', 'two'] }))).to.equal('up');
    expect(await said(run(port, { expect: ['two', 'one'] }))).to.contain('never said "one"');
  });

  it('is down when it takes too long, though all is said', async () => {
    const { port } = await serving((socket) => void setTimeout(() => socket.write('hello'), 60));
    expect(await said(run(port, { expect: ['hello'], 'max-latency': 0.02 }))).to.match(
      /^down: took \d+ ms, longer than 20 ms$/,
    );
    expect(await said(run(port, { expect: ['hello'], 'max-latency': 1.5, timeout: 3 }))).to.equal('up');
    const late = run(port, { expect: ['hello'], 'max-latency': 0.02, timeout: 30 }, '127.0.0.1', 10_000);
    expect(await said(late), 'unless it was us').to.match(
      /^unknown: took \d+ ms, longer than 20 ms, but the event loop was 10000 ms late$/,
    );
  });

  it('is down where nobody listens', async () => {
    const server = await serve(() => {});
    await server.close();
    expect(await said(run(server.port))).to.equal(
      'down: Connection was refused by other side: 111: Connection refused.',
    );
  });

  it('knows nothing when it is this host that can not connect', async () => {
    const connect = () => Promise.reject(new SystemError('EMFILE', 'connect'));
    const streams = { connect, secure: connect, listen: connect };
    const bench = runMonitor(tcp, { timeout: 0.6 }, { port: 25 }, { streams });
    closing.push(() => bench.stop());
    expect(await said(bench)).to.contain('unknown: ');
  });

  describe('with TLS', () => {
    let folder: string;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'anybal-tcp-'));
      writeFileSync(join(folder, 'ca.pem'), CERTIFICATE);
    });
    after(() => rmSync(folder, { recursive: true }));

    async function securely(): Promise<number> {
      const server = tls.createServer({ cert: CERTIFICATE, key: KEY }, (socket) => {
        socket.on('error', () => {});
        socket.end(`hello ${String(Reflect.get(socket, 'servername'))}`);
      });
      server.on('tlsClientError', () => {});
      closing.push(() => new Promise((resolve) => server.close(resolve)));
      return listenSomewhere(server);
    }
    const name = { tls: true, 'tls-servername': 'real.example', timeout: 1 };

    it('tells the name, and takes a certificate of an authority that it was given', async () => {
      const port = await securely();
      const given = { ...name, 'tls-ca': join(folder, 'ca.pem'), expect: ['hello real.example'] };
      expect(await said(run(port, given))).to.equal('up');
    });

    it('is down for a certificate that nobody trusted signed, or for another name, unless told not to look', async () => {
      const port = await securely();
      expect(await said(run(port, name))).to.match(/^down: .*self-signed/);
      const other = { ...name, 'tls-servername': 'other.example', 'tls-ca': join(folder, 'ca.pem') };
      expect(await said(run(port, other))).to.match(/^down: .*real\.example/);
      expect(await said(run(port, { ...other, 'tls-verify': false }))).to.equal('up');
    });

    it('is down when the server speaks no TLS, or does not get on', async () => {
      const plain = await serving((socket) => socket.write('220 hello\r\n'));
      expect(await said(run(plain.port, name))).to.match(/^down: /);
      const silent = await serving(() => {});
      expect(await said(run(silent.port, { ...name, timeout: 0.6 }))).to.equal(
        'down: no connection with TLS in 0.6 seconds',
      );
    });

    it('knows nothing when it can not read its authorities', async () => {
      const port = await securely();
      expect(await said(run(port, { ...name, 'tls-ca': join(folder, 'absent.pem') }))).to.match(
        /^unknown: .*absent\.pem/,
      );
    });
  });
});
