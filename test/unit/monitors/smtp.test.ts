import type net from 'node:net';
import { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import fc from 'fast-check';
import smtp from '../../../monitors/smtp.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';
import { CERTIFICATE as cert, KEY as key } from '../../support/certificate.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';

type Answers = Readonly<Record<string, string | ((socket: net.Socket) => void)>>;

const WELL: Answers = {
  greeting: '220 mx.example ESMTP\r\n',
  EHLO: '250-mx.example\r\n250-STARTTLS\r\n250 SIZE 1000\r\n',
  STARTTLS: '220 go ahead\r\n',
  QUIT: '221 bye\r\n',
};

describe('SMTP', () => {
  const benches: Bench[] = [];
  const servers: Awaited<ReturnType<typeof serve>>[] = [];
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  /** A server that says its greeting and answers commands, and under TLS goes on in the same way. */
  async function mx(over: Answers = {}, given: Readonly<Record<string, unknown>> = {}) {
    const answers: Answers = { ...WELL, ...over };
    const heard: string[] = [];
    const answer = (socket: net.Socket, to: string) => {
      const said = answers[to];
      if (typeof said === 'string') socket.write(said);
      else said?.(socket);
    };
    const talk = (socket: net.Socket, under: string) => {
      let text = '';
      socket.on('error', () => {});
      socket.on('end', () => socket.end());
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
        for (let at = text.indexOf('\r\n'); at >= 0; at = text.indexOf('\r\n')) {
          const line = text.slice(0, at);
          text = text.slice(at + 2);
          heard.push(`${under}${line}`);
          const verb = line.split(' ', 1)[0] ?? '';
          if (verb === 'QUIT') answer(socket, 'QUIT');
          else answer(socket, under !== '' && `TLS ${verb}` in answers ? `TLS ${verb}` : verb);
          if (verb === 'STARTTLS' && answers['STARTTLS'] === WELL['STARTTLS']) {
            socket.removeAllListeners('data');
            talk(new TLSSocket(socket, { isServer: true, cert, key }), 'TLS ');
          }
        }
      });
    };
    const server = await serve((socket) => {
      talk(socket, '');
      answer(socket, 'greeting');
    });
    servers.push(server);
    const read = () => Promise.resolve(new TextEncoder().encode(cert));
    const files = { read, stat: () => Promise.reject(new Error('x')), replace: () => Promise.reject(new Error('x')) };
    const bench = runMonitor(smtp, { timeout: 3, ...given }, { port: server.port }, { files });
    benches.push(bench);
    return { bench, heard };
  }
  const words = async (bench: Bench) => {
    const health = await bench.result();
    return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
  };

  it('greets, says EHLO with its address, and leaves politely', async () => {
    const { bench, heard } = await mx();
    expect(await words(bench)).to.equal('up: 220 mx.example ESMTP');
    expect(heard).to.deep.equal(['EHLO [127.0.0.1]', 'QUIT']);
  });

  it('takes greetings and replies of several lines', async () => {
    const { bench } = await mx({ greeting: '220-mx.example\r\n220-no spam\r\n220\r\n' });
    expect(await words(bench)).to.equal('up: 220 mx.example / no spam');
  });

  it('goes no further than the greeting when that is enough, and takes the codes that it is told', async () => {
    const { bench, heard } = await mx({ greeting: '554 not today\r\n' }, { until: 'greeting', codes: [220, 554] });
    expect(await words(bench)).to.equal('up: 554 not today');
    expect(heard).to.deep.equal(['QUIT']);
  });

  it('carries STARTTLS out, and says EHLO again under TLS', async () => {
    const tls = { tls: 'starttls', 'tls-servername': 'real.example', 'tls-ca': '/ca.pem', hello: 'lb1.example' };
    const { bench, heard } = await mx({}, { ...tls });
    expect(await words(bench)).to.equal('up: 220 mx.example ESMTP');
    expect(heard).to.deep.equal(['EHLO lb1.example', 'STARTTLS', 'TLS EHLO lb1.example', 'TLS QUIT']);
  });

  it('is down for a certificate for another name, or of nobody known, unless it is not looked at', async () => {
    const other = await mx({}, { tls: 'starttls', 'tls-servername': 'mx2.example', 'tls-ca': '/ca.pem' });
    expect(await words(other.bench)).to.match(/^down: TLS with 127\.0\.0\.1:\d+: .*mx2\.example/);
    const nobody = await mx({}, { tls: 'starttls', 'tls-servername': 'real.example' });
    expect(await words(nobody.bench)).to.match(/^down: TLS with .*self[- ]signed/);
    const blind = await mx({}, { tls: 'starttls', 'tls-verify': false });
    expect(await words(blind.bench)).to.equal('up: 220 mx.example ESMTP');
  });

  it('begins with the PROXY line where one is wanted', async () => {
    const { bench, heard } = await mx({}, { 'proxy-protocol': true });
    expect(await words(bench)).to.match(/^up/);
    expect(heard[0]).to.match(/^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+$/);
  });

  for (const [what, answers, given, reason] of [
    ['421', { greeting: '421-too\r\n421 busy\r\n' }, {}, 'greeting: 421 too / busy'],
    ['another code', { greeting: '554 no\r\n' }, {}, 'greeting: 554 no'],
    ['silence', { greeting: '' }, { timeout: 0.2 }, 'greeting: nothing came in time'],
    ['half a line', { greeting: '22' }, { timeout: 0.4 }, 'greeting: nothing came in time after "22"'],
    [
      'only part of a greeting',
      { greeting: '220-mx\r\n' },
      { timeout: 0.4 },
      'greeting: nothing came in time after "220-mx"',
    ],
    ['an end', { greeting: (s) => void s.end() }, {}, 'greeting: the connection was closed'],
    [
      'a reset',
      { greeting: (s) => void setTimeout(() => s.resetAndDestroy(), 30) },
      {},
      'greeting: the connection was lost (ECONNRESET)',
    ],
    ['something else', { greeting: 'SSH-2.0-x\r\n' }, {}, 'greeting: "SSH-2.0-x" is no reply of SMTP\'s'],
    [
      'no end of its line',
      { greeting: '2'.repeat(9000) },
      {},
      `greeting: a line of more than 2048 bytes: "${'2'.repeat(80)}…"`,
    ],
    ['no end of its lines', { greeting: '220-x\r\n'.repeat(500) }, {}, 'greeting: a reply of more than 100 lines'],
    ['a refused EHLO', { EHLO: '502 what?\r\n' }, {}, 'EHLO: 502 what?'],
    ['no answer to EHLO', { EHLO: '' }, { timeout: 0.4 }, 'EHLO: nothing came in time'],
    ['no STARTTLS', { EHLO: '250 mx\r\n' }, { tls: 'starttls' }, 'STARTTLS is not offered'],
    ['a refused STARTTLS', { STARTTLS: '454 later\r\n' }, { tls: 'starttls' }, 'STARTTLS: 454 later'],
    [
      'more behind STARTTLS',
      { STARTTLS: '220 go\r\n250 ok\r\n' },
      { tls: 'starttls' },
      'STARTTLS: the server went on in the clear after 220',
    ],
    ['no TLS', { STARTTLS: '220 \r\n' }, { tls: 'starttls', timeout: 0.4 }, 'no TLS handshake in time'],
    [
      'EHLO refused under TLS',
      { 'TLS EHLO': '530 no\r\n' },
      { tls: 'starttls', 'tls-verify': false },
      'EHLO under TLS: 530 no',
    ],
  ] satisfies [string, Answers, Record<string, unknown>, string][]) {
    it(`is down for ${what}`, async () => {
      const { bench } = await mx(answers, given);
      expect(await words(bench)).to.equal(`down: ${reason}`);
    });
  }

  it('says goodbye to a server that refuses, and not to one that is gone', async () => {
    const { bench, heard } = await mx({ EHLO: '502 what?\r\n' });
    await bench.result();
    expect(heard.at(-1)).to.equal('QUIT');
    const silent = await mx({ greeting: '' }, { timeout: 0.2 });
    await silent.bench.result();
    expect(silent.heard).to.deep.equal([]);
  });

  it('does not wait for the goodbye of a server that was well', async () => {
    for (const timeout of [5, 0.8]) {
      const { bench } = await mx({ QUIT: '' }, { timeout });
      expect(await words(bench), `${timeout} s`).to.match(/^up/);
    }
  });

  it('does not blame the server for a file of ours', async () => {
    const files = new Proxy({} as never, {
      get: () => () => Promise.reject(new SystemError('ENOENT', 'read /ca.pem')),
    });
    const bench = runMonitor(smtp, { tls: 'implicit', 'tls-ca': '/ca.pem' }, {}, { files });
    benches.push(bench);
    expect((await bench.result()).is).to.equal('unknown');
  });

  it('refuses what contradicts itself', () => {
    const complaints = (given: Readonly<Record<string, unknown>>) =>
      smtp.refuse(withDefaults(smtp, given) as never).map(({ option }) => option);
    expect(complaints({ hello: 'lb1.example' })).to.deep.equal([]);
    expect(complaints({ tls: 'starttls', until: 'greeting' })).to.deep.equal(['until']);
    expect(complaints({ hello: 'a\r\nRSET' })).to.deep.equal(['hello']);
  });

  it('survives whatever a server says, and says it in one line', async () => {
    const line = fc.oneof(
      fc.string({ unit: ANY_CHARACTER }),
      fc.constantFrom('220 x', '250-y', '250', '220-', '\r', '42'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (lines) => {
        const { bench } = await mx({ greeting: (s) => void s.end(lines.join('\r\n')) });
        expect(await words(bench)).to.match(/^(up|down): [\x20-\x7e…]*$/);
      }),
      { numRuns: 25, seed: 3 },
    );
  });
});
