import { expect } from 'chai';
import dns from '../../../monitors/dns.ts';
import dnsquery from '../../../monitors/dnsquery.ts';
import type { MonitorModule } from '../../../src/health/monitor.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { answerTo, labels, questionOf, recordOf } from '../../support/dns-answer.ts';
import { serveDns } from '../../support/dns-server.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';

/** Of a check that has to run out of time: what must happen before that has half a second for each step, also on a busy machine. */
const SOON = { timeout: 1.5 };

type Reply = Parameters<typeof serveDns>[0];
const A = { data: [[192, 0, 2, 1]] };

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function serving(reply: Reply, address = '127.0.0.1') {
  const server = await serveDns(reply, address);
  closing.push(() => server.close());
  return server;
}

function start(
  module: MonitorModule,
  given: Readonly<Record<string, unknown>>,
  port: number,
  address = '127.0.0.1',
): Bench {
  const bench = runMonitor(module, { timeout: 10, ...given }, { port, address });
  closing.push(() => bench.stop());
  return bench;
}

const said = async (bench: Bench) => {
  const health = await bench.result();
  return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
};

describe('DNS', () => {
  const run = (port: number, given: Readonly<Record<string, unknown>> = {}, address = '127.0.0.1') =>
    start(dns, { name: 'www.example.org', ...given }, port, address);

  describe('takes for an answer what is one to its question', () => {
    const ADDRESS = [192, 0, 2, 1];
    const [A_TYPE, CNAME, CHAOS] = [1, 5, 3];
    const asking = async (answer: Parameters<typeof answerTo>[1]) => {
      const { port } = await serving((query) => [answerTo(query, answer)]);
      return said(run(port));
    };

    it('also where names lead on to other names', async () => {
      const records = [
        recordOf(labels('c.example.net'), A_TYPE, ADDRESS),
        recordOf(labels('WWW.example.org'), CNAME, labels('b.example.net')),
        recordOf(labels('b.example.net'), CNAME, labels('C.example.net')),
      ];
      expect(await asking({ records })).to.equal('up: NOERROR: 192.0.2.1');
      const loop = [
        recordOf([0xc0, 12], CNAME, labels('b.example.net')),
        recordOf(labels('b.example.net'), CNAME, labels('www.example.org')),
      ];
      expect(await asking({ records: loop })).to.match(/^down: answered 0 records to www.example.org A/);
    });

    it('and not records of somebody else, or of another class', async () => {
      for (const records of [
        [recordOf(labels('evil.example.net'), A_TYPE, ADDRESS)],
        [recordOf([0xc0, 12], A_TYPE, ADDRESS, CHAOS)],
        [recordOf([0xc0, 12], CNAME, labels('a.example.net')), recordOf(labels('b.example.net'), A_TYPE, ADDRESS)],
      ])
        expect(await asking({ records })).to.match(/^down: answered 0 records to www.example.org A/);
    });

    it('and no message about another class, or another operation', async () => {
      const elsewhere = (query: Uint8Array) => {
        const question = questionOf(query);
        question[question.length - 1] = CHAOS;
        return question;
      };
      for (const answer of [
        (query: Uint8Array) => answerTo(query, { ...A, question: elsewhere(query) }),
        (query: Uint8Array) => answerTo(query, { ...A, opcode: 14 }),
      ]) {
        const { port } = await serving((query) => [answer(query)]);
        expect(await said(run(port, { ...SOON, tries: 1 }))).to.match(
          /^down: no answer .*1 message that was no answer/,
        );
      }
    });
  });

  it('is up with the records that came', async () => {
    const { port } = await serving((query) => [
      answerTo(query, {
        data: [
          [192, 0, 2, 1],
          [192, 0, 2, 2],
        ],
      }),
    ]);
    const bench = run(port);
    expect(await said(bench)).to.equal('up: NOERROR: 192.0.2.1, 192.0.2.2');
    expect(bench.measured).to.deep.equal(['request_duration_seconds {"result":"successful"}']);
  });

  it('asks over IPv6', async () => {
    const { port } = await serving((query) => [answerTo(query, A)], '::1');
    expect(await said(run(port, {}, '::1'))).to.contain('up');
  });

  it('asks what it was told to ask', async () => {
    const { port, queries } = await serving((query) => [answerTo(query, { rcode: 3 })]);
    await said(run(port, { type: 'SRV', name: 'Example.org.', recursion: false, 'edns-size': 0 }));
    const [query = new Uint8Array()] = queries;
    expect(Buffer.from(query.subarray(2)).toString('hex')).to.equal(
      `00000001000000000000${Buffer.from(labels('Example.org')).toString('hex')}00210001`,
    );
  });

  for (const [what, options, given, expected] of [
    ['SERVFAIL', { rcode: 2 }, {}, 'down: answered SERVFAIL to www.example.org A, not NOERROR'],
    ['REFUSED', { rcode: 5 }, {}, 'down: answered REFUSED to www.example.org A, not NOERROR'],
    ['NXDOMAIN', { rcode: 3 }, {}, 'down: answered NXDOMAIN to www.example.org A, not NOERROR'],
    ['NXDOMAIN that is wanted', { rcode: 3 }, { rcode: ['NXDOMAIN', 'NOERROR'] }, 'up: NXDOMAIN'],
    ['REFUSED without the question', { rcode: 5, question: new Uint8Array() }, { rcode: ['REFUSED'] }, 'up: REFUSED'],
    ['no records', {}, {}, 'down: answered 0 records to www.example.org A, not 1 or more'],
    ['no records, which is enough', {}, { 'min-answers': 0 }, 'up: NOERROR'],
    [
      'only a CNAME',
      { type: 5, data: [labels('a.example')] },
      {},
      'down: answered 0 records to www.example.org A, not 1 or more',
    ],
    [
      'too few records',
      A,
      { 'min-answers': 2 },
      'down: answered 1 record to www.example.org A, not 2 or more: 192.0.2.1',
    ],
    ['the right record', A, { answers: ['192.0.2.1'] }, 'up: NOERROR: 192.0.2.1'],
    [
      'another record',
      A,
      { answers: ['192.0.2.9'] },
      'down: the answer to www.example.org A lacks 192.0.2.9: 192.0.2.1',
    ],
    ['no authority', A, { authoritative: true }, 'down: the answer to www.example.org A is not authoritative'],
    ['authority', { ...A, authoritative: true }, { authoritative: true }, 'up: NOERROR: 192.0.2.1'],
  ] as const) {
    it(`${what}: ${expected.split(':')[0]}`, async () => {
      const { port } = await serving((query) => [answerTo(query, options)]);
      expect(await said(run(port, given))).to.equal(expected);
    });
  }

  it('asks again when a datagram gets lost', async () => {
    const { port, asked } = await serving((query, _, number) => (number < 3 ? [] : [answerTo(query, A)]));
    expect(await said(run(port, SOON))).to.equal('up: NOERROR: 192.0.2.1');
    expect(asked).to.deep.equal({ udp: 3, tcp: 0 });
  });

  it('is down when nobody answers, and says how often it asked', async () => {
    const { port } = await serving(() => []);
    expect(await said(run(port, SOON))).to.equal('down: no answer to www.example.org A in 1.5 seconds, asked 3 times');
  });

  it('is down where nobody listens', async () => {
    const server = await serving(() => []);
    await server.close();
    closing.pop();
    expect(await said(run(server.port))).to.equal(
      `down: udp 127.0.0.1:${server.port}: ECONNREFUSED: ICMP port unreachable, says 127.0.0.1`,
    );
  });

  it('asks over TCP when the answer was cut short', async () => {
    const { port, asked } = await serving((query, over) => [answerTo(query, over === 'udp' ? { truncated: true } : A)]);
    expect(await said(run(port))).to.equal('up: NOERROR: 192.0.2.1');
    expect(asked).to.deep.equal({ udp: 1, tcp: 1 });
  });

  it('asks over TCP alone when told to', async () => {
    const { port, asked } = await serving((query) => [answerTo(query, A)]);
    expect(await said(run(port, { transport: 'tcp' }))).to.equal('up: NOERROR: 192.0.2.1');
    expect(asked).to.deep.equal({ udp: 0, tcp: 1 });
  });

  it('waits on after answers that are not to its question, and tells of them', async () => {
    const other = Uint8Array.from([...labels('other.example'), 0, 1, 0, 1]);
    const wrong = (query: Uint8Array) => [
      answerTo(query, { ...A, id: ((((query[0] ?? 0) << 8) | (query[1] ?? 0)) + 1) & 0xffff }),
      answerTo(query, { ...A, question: other }),
      Uint8Array.from([1]),
    ];
    const { port } = await serving((query, _, number) => (number === 1 ? [...wrong(query), answerTo(query, A)] : []));
    expect(await said(run(port))).to.equal('up: NOERROR: 192.0.2.1');
    const forged = await serving((query) => wrong(query));
    expect(await said(run(forged.port, { tries: 1, ...SOON }))).to.equal(
      'down: no answer to www.example.org A in 1.5 seconds (3 messages that were no answer to it)',
    );
  });

  it('is down at once when it gets garbage, or its own question', async () => {
    const garbage = await serving((query) => [Uint8Array.from([...query.subarray(0, 2), ...Array(30).fill(0xff)])]);
    expect(await said(run(garbage.port))).to.equal('down: the answer can not be read: 65535 questions');
    const echo = await serving((query) => [query]);
    expect(await said(run(echo.port))).to.equal('down: sent the question back instead of an answer');
  });

  it('over TCP, tells silence from an end, a reset and a half answer', async () => {
    const over = async (onSocket: Parameters<typeof serve>[0]) => {
      const server = await serve(onSocket);
      closing.push(() => server.close());
      return said(run(server.port, { transport: 'tcp', ...SOON }));
    };
    expect(await over(() => {})).to.equal('down: no answer to www.example.org A in 1.5 seconds');
    expect(await over((socket) => socket.end())).to.equal('down: closed the TCP connection without an answer');
    expect(await over((socket) => socket.once('data', () => socket.resetAndDestroy()))).to.equal(
      'down: reset the TCP connection without an answer',
    );
    expect(await over((socket) => socket.end(Uint8Array.from([0, 20, 1, 2])))).to.equal(
      'down: closed the TCP connection after 4 octets of an answer',
    );
  });

  it('reads an answer over TCP that comes octet by octet', async () => {
    const server = await serve((socket) => {
      socket.setNoDelay(true);
      socket.once('data', (bytes) => {
        const answer = answerTo(bytes.subarray(2), A);
        for (const octet of [0, answer.length, ...answer]) socket.write(Uint8Array.from([octet]));
      });
    });
    closing.push(() => server.close());
    expect(await said(run(server.port, { transport: 'tcp' }))).to.equal('up: NOERROR: 192.0.2.1');
  });

  it('knows nothing when it is this host that can not ask', async () => {
    const open = () => Promise.reject(new SystemError('EMFILE', 'udp 127.0.0.1:53'));
    const bench = runMonitor(dns, { name: 'a' }, { port: 53 }, { udp: { open } });
    closing.push(() => bench.stop());
    expect(await said(bench)).to.equal('unknown: udp 127.0.0.1:53: EMFILE');
  });

  it('refuses a name that is none', () => {
    const refuse = (name: string) => dns.refuse(withDefaults(dns, { name }) as never);
    expect(refuse('www.example.org')).to.deep.equal([]);
    expect(refuse('a..b')).to.deep.equal([{ option: 'name', why: '"a..b" is not a domain name: an empty label' }]);
  });
});

describe('DNSQuery', () => {
  const run = (port: number, given: Readonly<Record<string, unknown>> = {}) =>
    start(dnsquery, { hostnames: ['a.example', 'b.example', 'c.example'], ...given }, port);

  it('is up for any answer that is no error, also one without records', async () => {
    const { port, queries } = await serving((query) => [answerTo(query)]);
    const bench = run(port);
    expect(await bench.result()).to.deep.equal({ is: 'up' });
    expect(Buffer.from(questionOf(queries[0] ?? new Uint8Array())).toString('latin1')).to.contain('b\x07example');
    expect(bench.measured).to.deep.equal(['request_duration_seconds {"result":"successful"}']);
    expect(bench.lines).to.deep.equal(['DEBUG DNS query successful (b.example AAAA), N.NNN s']);
  });

  for (const [rcode, given, expected] of [
    [3, {}, 'up: '],
    [3, { 'fail-on-nxdomain': true }, 'down: DNS query answered NXDOMAIN, query: b.example AAAA'],
    [2, {}, 'down: DNS server error, query: b.example AAAA'],
    [5, {}, 'down: DNS query refused, query: b.example AAAA'],
    [1, {}, 'down: DNS query answered FORMERR, query: b.example AAAA'],
  ] as const) {
    it(`response code ${rcode}${Object.keys(given).join()}: ${expected}`, async () => {
      const { port } = await serving((query) => [answerTo(query, { rcode })]);
      const bench = run(port, given);
      expect(await said(bench)).to.equal(expected);
      if (rcode === 3) expect(bench.lines).to.include('INFO b.example NXDOMAIN');
    });
  }

  it('says in PyBal’s words that nobody answered, and asks nobody else', async () => {
    const { port, asked } = await serving(() => []);
    expect(await said(run(port, SOON))).to.equal('down: DNS query timeout, query: b.example AAAA');
    expect(asked).to.deep.equal({ udp: 3, tcp: 0 });
  });
});
