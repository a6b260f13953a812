import { expect } from 'chai';
import fc from 'fast-check';
import agent, { healthOf, learn, learnJson } from '../../../monitors/agent.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { HttpRequest, HttpResponse } from '../../../src/world/world.ts';
import { FakeWorld, response } from '../../support/fake-world.ts';
import { type Bench, runMonitor, serve, withDefaults } from '../../support/monitor-bench.ts';

type Said = Exclude<ReturnType<typeof learn>, string>;

const NOTHING: Said = { admin: 'ready', down: null, percent: 100, weight: null, reason: '' };

/** What the runner would hear after these lines. */
function after(...lines: readonly string[]) {
  let said = NOTHING;
  for (const line of lines) {
    const next = learn(said, line);
    if (typeof next === 'string') return next;
    said = next;
  }
  return healthOf(said, '');
}
const json = (value: unknown) => {
  const said = learnJson(typeof value === 'string' ? value : JSON.stringify(value));
  return typeof said === 'string' ? said : healthOf(said, '');
};

describe("Agent: HAProxy's words", () => {
  it('says up, down with its reason, drain and a share of the weight', () => {
    expect(after('up')).to.deep.equal({ is: 'up' });
    expect(after('up 100%')).to.deep.equal({ is: 'up' });
    expect(after('75%')).to.deep.equal({ is: 'up', percent: 75, detail: '75%' });
    expect(after('drain')).to.deep.equal({ is: 'up', drain: true, detail: 'drain' });
    expect(after('maint')).to.deep.equal({ is: 'down', reason: 'the agent says maint' });
    for (const word of ['down', 'fail', 'stopped']) {
      expect(after(word)).to.deep.equal({ is: 'down', reason: `the agent says ${word}` });
    }
    expect(after('fail #disk is full')).to.deep.equal({ is: 'down', reason: 'the agent says fail: disk is full' });
    expect(after('down#db')).to.deep.equal({ is: 'down', reason: 'the agent says down: db' });
    expect(after('drain # deploying 1.2')).to.include({ detail: 'drain # deploying 1.2' });
  });

  it('takes words in any order and case, between blanks and commas, and skips what is not for us', () => {
    expect(after('\tREADY,Up  maxconn:30 , 50% sometimes')).to.deep.equal({ is: 'up', percent: 50, detail: '50%' });
    expect(after('up down 10% 20%')).to.include({ is: 'down' });
    expect(after('maxconn:30')).to.deep.equal({ is: 'up' });
    expect(after('999999%')).to.include({ percent: 25_600 });
  });

  it('changes only what is said: weight, operation and administration are apart, and each stands until it is taken back', () => {
    expect(after('drain', '75%')).to.include({ drain: true, percent: 75 });
    expect(after('drain', 'up')).to.include({ drain: true });
    expect(after('drain', 'ready')).to.deep.equal({ is: 'up' });
    expect(after('down', '75%', 'ready')).to.include({ is: 'down' });
    expect(after('down #x', 'up')).to.deep.equal({ is: 'up' });
    expect(after('maint', 'up')).to.include({ is: 'down' });
    expect(after('maint', 'drain 10%', 'ready')).to.include({ is: 'up', percent: 10 });
  });

  it('finds nothing of an agent in other words, and shows them', () => {
    expect(after('HTTP/1.0 400 Bad Request')).to.equal(
      'the agent says "HTTP/1.0 400 Bad Request", which has no word of an agent\'s',
    );
    for (const text of ['', ' ', '75', '7.5%', '-5%', '# up', 'ups', '\u0000']) expect(after(text)).to.be.a('string');
  });

  it('makes of any line a health within bounds, or a reason of one line', () => {
    const word = fc.constantFrom('up', 'down', 'drain', 'ready', 'maint', 'maxconn:1', '#', '%', ',', 'x');
    const percent = fc.nat(2 ** 30).map((n) => `${n}%`);
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.oneof(word, percent, fc.string()), { maxLength: 8 }).map((w) => w.join(' ')),
    );
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (lines) => {
        const health = after(...lines);
        const words = typeof health === 'string' ? health : health.is === 'up' ? (health.detail ?? '') : health.reason;
        expect(words).to.match(/^[\x20-\x7e…]*$/);
        expect(words.length).to.be.below(400);
        if (typeof health === 'string' || health.is !== 'up') return;
        expect(health.percent ?? 100).to.be.within(0, 25_600);
      }),
      { numRuns: 300, seed: 5 },
    );
  });

  it('gives for what it printed of a state that same state', () => {
    const state = fc.record({
      admin: fc.constantFrom('ready', 'drain', 'maint'),
      operation: fc.constantFrom('up', 'down', 'fail'),
      percent: fc.integer({ min: 0, max: 25_600 }),
    });
    fc.assert(
      fc.property(fc.array(state, { maxLength: 3 }), state, (before, { admin, operation, percent }) => {
        const lines = [...before, { admin, operation, percent }].map((s) => `${s.operation} ${s.percent}% ${s.admin}`);
        const health = after(...lines);
        const down = admin === 'maint' || operation !== 'up';
        expect(health).to.include({ is: down ? 'down' : 'up' });
        if (!down) expect(health).to.deep.include({ ...(percent === 100 ? {} : { percent }) });
        expect(typeof health !== 'string' && health.is === 'up' && health.drain === true).to.equal(
          !down && admin === 'drain',
        );
      }),
      { numRuns: 100, seed: 6 },
    );
  });
});

describe('Agent: JSON', () => {
  it('says all there is to say', () => {
    expect(json({ state: 'up' })).to.deep.equal({ is: 'up' });
    expect(json({ status: 'UP', weight: '50%' })).to.include({ percent: 50 });
    expect(json({ state: 'ready', weight: 7 })).to.include({ is: 'up', weight: 7, detail: 'weight 7' });
    expect(json({ state: 'draining', reason: 'deploying\n' })).to.include({
      drain: true,
      detail: 'drain # deploying?',
    });
    expect(json({ state: 'maintenance', message: 'until 5' })).to.deep.equal({
      is: 'down',
      reason: 'the agent says maint: until 5',
    });
    expect(json({ state: 'down', reason: 'no database' })).to.deep.equal({
      is: 'down',
      reason: 'the agent says down: no database',
    });
  });

  it('is not guessed at', () => {
    for (const wrong of [
      '{',
      '[]',
      '{}',
      '{"state": 1}',
      '{"state": "so so"}',
      '{"state": "50%"}',
      '{"state":"maxconn:3"}',
    ]) {
      expect(json(wrong), wrong).to.be.a('string');
    }
    for (const weight of [-1, '5', 'up', true, [], '1e9%'])
      expect(json({ state: 'up', weight }), String(weight)).to.be.a('string');
    expect(json('{"state": "up", "weight": 1e999}')).to.be.a('string');
  });
});

describe('Agent', () => {
  const benches: Bench[] = [];
  const servers: Awaited<ReturnType<typeof serve>>[] = [];
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  async function against(onSocket: Parameters<typeof serve>[0], given: Readonly<Record<string, unknown>> = {}) {
    const server = await serve(onSocket);
    servers.push(server);
    const bench = runMonitor(agent, { port: server.port, timeout: 3, interval: 0.1, ...given });
    benches.push(bench);
    return { bench, server };
  }
  const says = (text: string) => against((socket) => void socket.end(text));
  const words = async (bench: Bench, count = 1) => {
    const health = await bench.result(count);
    return health.is === 'up' ? `up ${health.detail ?? ''}`.trim() : `${health.is}: ${health.reason}`;
  };

  it('asks the agent on its own port and understands its line', async () => {
    const { bench } = await says('75% # load 3\n');
    expect(await bench.result()).to.deep.equal({ is: 'up', percent: 75, detail: '75% # load 3' });
    expect(bench.measured).to.deep.equal(['weight_percent {}']);
  });

  it('sends what it was told to, with the attributes of the server in it', async () => {
    const send = ['lb ', { server: 'host' }, ' ', { server: 'ip' }, '\n'];
    const { bench } = await against(
      (socket) => {
        socket.once('data', (text) => void socket.end(text.toString() === 'lb cp1 127.0.0.1\n' ? 'up\r\n' : 'fail\n'));
      },
      { send },
    );
    expect(await words(bench)).to.equal('up');
  });

  it('remembers what the agent does not say again', async () => {
    let asked = 0;
    const { bench } = await against((socket) => void socket.end(['drain\n', '50%\n', 'ready\n'][asked++] ?? 'up\n'));
    expect([await words(bench, 1), await words(bench, 2), await words(bench, 3)]).to.deep.equal([
      'up drain',
      'up drain 50%',
      'up 50%',
    ]);
  });

  for (const [end, onSocket] of [
    ['a CR alone, and goes on', (s) => void s.write('ready up 75%\rmore')],
    ['CR and LF, and goes on', (s) => void s.write('ready up 75%\r\nmore')],
    ['its connection', (s) => void s.end('ready up 75%')],
  ] satisfies [string, Parameters<typeof serve>[0]][]) {
    it(`understands a line that the agent ends by ${end}`, async () => {
      const { bench } = await against(onSocket);
      expect(await words(bench)).to.equal('up 75%');
    });
  }

  it('does not wait for the agent to close', async () => {
    const { bench } = await against((socket) => void socket.write('up\nand more that nobody wants'));
    expect(await words(bench)).to.equal('up');
  });

  for (const [what, onSocket, reason] of [
    ['says nothing', () => {}, 'nothing came in time'],
    ['says half a line', (s) => void s.write('up'), 'nothing came in time after "up"'],
    ['closes without a word', (s) => void s.end(), 'the connection was closed'],
    ['closes within a word', (s) => void s.end('dow'), 'the agent says "dow", which has no word of an agent\'s'],
    [
      'resets within the line',
      (s) => void s.write('up 50%', () => setTimeout(() => s.resetAndDestroy(), 30)),
      'the connection was lost (ECONNRESET) after "up 50%"',
    ],
    ['resets', (s) => void setTimeout(() => s.resetAndDestroy(), 30), 'the connection was lost (ECONNRESET)'],
    ['says other words', (s) => void s.end('hello\n'), 'the agent says "hello", which has no word of an agent\'s'],
    [
      'never ends its line',
      (s) => void s.write('x'.repeat(4096)),
      `a line of more than 1024 bytes: "${'x'.repeat(80)}…"`,
    ],
  ] satisfies [string, Parameters<typeof serve>[0], string][]) {
    it(`is down when the agent ${what}, and says so`, async () => {
      const { bench } = await against(onSocket, reason.includes('in time') ? { timeout: 0.3 } : {});
      expect(await words(bench)).to.equal(`down: ${reason}`);
      expect(bench.measured).to.deep.equal([]);
    });
  }

  it('is down when nobody listens', async () => {
    const server = await serve(() => {});
    await server.close();
    const bench = runMonitor(agent, { port: server.port });
    benches.push(bench);
    expect(await words(bench)).to.equal('down: Connection was refused by other side: 111: Connection refused.');
  });

  it('with `unreachable = unchanged` keeps to what the agent said last, timeouts included', async () => {
    let asked = 0;
    const { bench } = await against(
      (socket) => void (asked++ === 0 ? socket.end('drain 50%\n') : asked === 2 ? socket.destroy() : null),
      { unreachable: 'unchanged', timeout: 0.3 },
    );
    expect(await bench.result(1)).to.include({ drain: true, percent: 50 });
    expect(await words(bench, 2)).to.match(/^up drain 50% \(not heard: the connection was /);
    expect(await words(bench, 3)).to.equal('up drain 50% (not heard: nothing came in time)');
    expect(await bench.result(3)).to.include({ drain: true, percent: 50 });
  });

  it('with `unreachable = unchanged` knows nothing until the agent was heard once', async () => {
    let asked = 0;
    const { bench } = await against((socket) => void socket.end(['', 'hello\n', 'drain\n'][asked++] ?? ''), {
      unreachable: 'unchanged',
    });
    expect(await words(bench, 1)).to.equal('unknown: the agent was never heard: the connection was closed');
    expect(await words(bench, 2)).to.match(/^unknown: the agent was never heard: the agent says "hello"/);
    expect(await words(bench, 3)).to.equal('up drain');
    expect(await words(bench, 4)).to.equal('up drain (not heard: the connection was closed)');
  });

  it("does not call our own fault the agent's", async () => {
    const connect = () => Promise.reject(new SystemError('EMFILE', 'connect'));
    const streams = { connect, secure: connect, listen: connect };
    const bench = runMonitor(agent, {}, {}, { streams });
    benches.push(bench);
    expect(await words(bench)).to.equal('unknown: connect: EMFILE');
  });

  describe('over HTTP', () => {
    function overHttp(reply: (request: HttpRequest) => HttpResponse | SystemError, given = {}) {
      const fake = new FakeWorld();
      fake.reply = reply;
      const options = { url: 'http://agent.example/state?x=1', port: 8080, interval: 0.1, ...given };
      const bench = runMonitor(agent, options, { address: '2001:db8::7' }, { http: fake.http });
      benches.push(bench);
      return { fake, bench };
    }

    it('asks the server itself, by the name in the URL', async () => {
      const { fake, bench } = overHttp(() => response(200, '{"state": "draining", "weight": "10%"}'));
      expect(await bench.result()).to.deep.equal({ is: 'up', drain: true, percent: 10, detail: 'drain 10%' });
      expect(fake.requests[0]).to.deep.include({
        url: 'http://[2001:db8::7]:8080/state?x=1',
        headers: { host: 'agent.example', accept: 'application/json, text/plain' },
      });
    });

    it('understands a line, and one that takes the server out whatever the status', async () => {
      expect(await words(overHttp(() => response(200, 'up 20%\n')).bench)).to.equal('up 20%');
      expect(await words(overHttp(() => response(503, 'drain\n')).bench)).to.equal('up drain');
    });

    it('takes no word of a page that tells of an error for up', async () => {
      for (const [status, text] of [
        [503, 'service is not up at the moment'],
        [404, 'Not ready'],
        [302, '50%'],
        [503, '{"state": "up"}'],
      ] as const) {
        expect(await words(overHttp(() => response(status, text)).bench)).to.match(
          new RegExp(`^down: HTTP status ${status}, though the agent says "`),
        );
      }
      expect(await words(overHttp(() => response(503, 'down # disk')).bench)).to.equal(
        'down: the agent says down: disk',
      );
    });

    it('names the status and what came when that is no state', async () => {
      expect(await words(overHttp(() => response(404, '<html>')).bench)).to.equal(
        'down: HTTP status 404, and the agent says "<html>", which has no word of an agent\'s',
      );
      expect(await words(overHttp(() => response(200, '')).bench)).to.match(/^down: the agent says ""/);
      expect(await words(overHttp(() => new SystemError('ECONNREFUSED', 'GET x')).bench)).to.equal(
        'down: GET x: ECONNREFUSED',
      );
    });
  });

  it('refuses a text to send beside a URL, and a password in one', () => {
    const complaints = (given: Readonly<Record<string, unknown>>) => agent.refuse(withDefaults(agent, given) as never);
    expect(complaints({})).to.deep.equal([]);
    expect(complaints({ send: ['x\n'] })).to.deep.equal([]);
    expect(complaints({ url: 'http://a/' })).to.deep.equal([]);
    expect(complaints({ url: 'http://a/', send: ['x\n'] })).to.deep.equal([
      { option: 'send', why: 'is sent over TCP only, and there is a url' },
    ]);
    expect(complaints({ url: 'http://me:secret@a/' })).to.deep.equal([
      { option: 'url', why: 'a name and password in it are not sent' },
    ]);
  });
});
