import { expect } from 'chai';
import { checkNow, type CheckNow } from '../../../src/foreground/check-now.ts';
import type { Health, MonitorModule, Poll } from '../../../src/health/monitor.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { HttpResponse, Stream, World } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const CONFIG = `
[global]
state-directory = /state
control-socket = /run/x.sock
[web]
protocol = tcp
ip = 198.51.100.1
port = 80
scheduler = wrr
config = file:///pools/web
monitors = [ 'Good', 'Odd' ]
`;

const POOL = `{ 'host': 'cp1', 'weight': 10, 'enabled': True }\n{ 'host': 'cp2', 'weight': 3, 'enabled': True }\n`;

function module(
  name: string,
  check: Poll['create'] extends (o: never, t: infer T) => unknown
    ? (t: T) => ReturnType<Poll['create']>['check']
    : never,
): MonitorModule {
  return {
    apiVersion: 1,
    name,
    kind: 'poll',
    options: [],
    timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 }),
    create: (_, tools) => ({ check: check(tools) }),
  };
}

/** `odd` says what the second monitor finds, by host. */
function lab(odd: (host: string) => Health, over: Partial<World> = {}) {
  const fake = new FakeWorld();
  fake.write('/pybal.conf', CONFIG);
  fake.write('/pools/web', POOL);
  fake.dns.set('4 cp1', ['10.0.0.1']);
  fake.dns.set('4 cp2', ['10.0.0.2']);
  fake.dns.set('4 cp9', ['10.0.0.9']);
  const modules = [
    module('Good', () => async () => ({ is: 'up', detail: 'fine', weight: 7 })),
    module('Odd', () => async (target) => odd(target.host)),
  ];
  const world: World = {
    ...fake.world,
    monitor: async (name) => modules.find((one) => one.name.toLowerCase() === name.toLowerCase()) ?? null,
    ...over,
  };
  const io = {
    out: '',
    err: '',
    answer: null as HttpResponse | null,
    get: async () => {
      if (io.answer === null) throw new SystemError('ECONNREFUSED', 'connect');
      return io.answer;
    },
    print: (text: string) => void (io.out += text),
    printError: (text: string) => void (io.err += text),
  };
  const run = async (wanted: Partial<CheckNow> = {}) => {
    const done = checkNow({ config: '/pybal.conf', service: 'web', server: null, monitor: null, ...wanted }, world, io);
    let code: number | null = null;
    void done.then((value) => (code = value));
    for (let i = 0; i < 40 && code === null; i++) await fake.clock.advance(500);
    return done;
  };
  return { fake, io, run };
}

const UP: Health = { is: 'up' };
const DOWN: Health = { is: 'down', reason: '503' };
const UNKNOWN: Health = { is: 'unknown', reason: 'EMFILE' };

describe('anybal check-now', () => {
  it('checks every server of the pool without a daemon, and exits 0 when all are up', async () => {
    const { io, run } = lab(() => UP);
    expect(await run()).to.equal(0);
    expect(io.out).to.contain('Checked by this process, not by the daemon. No daemon answers at /run/x.sock');
    for (const text of ['cp1 (10.0.0.1:80), Good', 'cp2 (10.0.0.2:80), Odd', 'UP: fine, weight 7', 'cp1: up, 2 of 2'])
      expect(io.out).to.contain(text);
  });

  it('exits 1 when one is down, 3 when none is and one can not be told', async () => {
    expect(await lab((host) => (host === 'cp2' ? DOWN : UNKNOWN)).run()).to.equal(1);
    const { io, run } = lab((host) => (host === 'cp2' ? UNKNOWN : UP));
    expect(await run()).to.equal(3);
    expect(io.out).to.contain('UNKNOWN: EMFILE');
  });

  it('combines the monitors as the service does', async () => {
    const { fake, io, run } = lab(() => DOWN);
    fake.write('/pybal.conf', `${CONFIG}monitors-combine = any\n`);
    expect(await run()).to.equal(0);
    expect(io.out).to.contain('cp1: up, 1 of 2 monitors must be up');
  });

  it('gives its verdict of a monitor that never ends, and says so', async () => {
    const stuck = module('Odd', () => () => new Promise<Health>(() => {}));
    const { io, run } = lab(() => UP, { monitor: async () => stuck });
    expect(await run({ server: 'cp1' })).to.equal(1);
    expect(io.out).to.contain('ERROR: the check does not end after it was cut').and.to.contain('DOWN: timed out');
  });

  it('says that it does not reach the path, and calls that unknown', async () => {
    const { fake, io, run } = lab(() => UP);
    fake.write(
      '/pybal.conf',
      `${CONFIG}odd.via = path\nvip-presence = route\n`.replace('[global]', '[global]\nvip-uplinks = eth0'),
    );
    expect(await run(), io.err).to.equal(3);
    expect(io.out).to.contain('only the daemon has marks');
  });

  it('with via = both is unknown when up on the own address, which is half of it, and down when down there', async () => {
    const both = `${CONFIG}odd.via = both\nvip-presence = route\n`.replace('[global]', '[global]\nvip-uplinks = eth0');
    for (const [odd, code] of [
      [UP, 3],
      [UNKNOWN, 3],
      [DOWN, 1],
    ] as const) {
      const { fake, io, run } = lab(() => odd);
      fake.write('/pybal.conf', both);
      expect(await run(), io.err).to.equal(code);
      expect(io.out).to.contain('so up on its own address alone is unknown');
    }
    const one = lab(() => UP);
    one.fake.write('/pybal.conf', both);
    expect(await one.run({ monitor: 'Good' })).to.equal(0);
  });

  it('asks one server, or one monitor, and also a host that is in no pool', async () => {
    const { io, run } = lab(() => DOWN);
    expect(await run({ server: 'cp2', monitor: 'GOOD' })).to.equal(0);
    expect(io.out).to.not.contain('cp1');
    expect(io.out).to.not.contain('Odd');
    const other = lab((host) => (host === 'cp9' ? UP : DOWN));
    expect(await other.run({ server: 'cp9' })).to.equal(0);
    expect(other.io.out).to.contain('cp9 is no server of web: asked all the same.');
    expect(await other.run({ server: '10.0.0.77' })).to.equal(1);
  });

  it('takes the servers from the daemon when it answers', async () => {
    const { io, run } = lab(() => UP);
    const view = { services: [{ name: 'web', servers: [{ host: 'cp5', address: '10.0.0.5', weight: 1 }] }] };
    io.answer = { status: 200, headers: {}, body: new TextEncoder().encode(JSON.stringify(view)) };
    expect(await run()).to.equal(0);
    expect(io.out).to.contain('as the daemon at /run/x.sock says');
    expect(io.out).to.contain('cp5 (10.0.0.5:80), Good');
    expect(io.out).to.not.contain('cp1');
  });

  it('exits 2 and says why when it can not be done', async () => {
    const failing = async (wanted: Partial<CheckNow>, config = CONFIG) => {
      const { fake, io, run } = lab(() => UP);
      fake.write('/pybal.conf', config);
      expect(await run(wanted)).to.equal(2);
      return io.err;
    };
    expect(await failing({ service: 'wbe' })).to.equal('anybal: /pybal.conf has no service wbe (did you mean web?)\n');
    expect(await failing({ config: '/nothing' })).to.contain('can not be read');
    expect(await failing({ monitor: 'Ping' })).to.equal('anybal: [web] has no monitor Ping, but Good, Odd\n');
    expect(await failing({ server: 'cp3' })).to.contain('cp3 is no server of web and has no IPv4 address');
    expect(await failing({}, CONFIG.replace(/monitors.*/, ''))).to.contain('has no monitors');
    expect(await failing({}, CONFIG.replace('/pools/web', '/pools/none'))).to.contain('no server of web is known');
  });

  it('says why a section can not be used, and asks as its last good text says where there is one', async () => {
    const { fake, io, run } = lab(() => UP);
    const broken = CONFIG.replace('port = 80', 'port = http');
    fake.write('/pybal.conf', broken);
    expect(await run({ server: 'cp1' })).to.equal(2);
    expect(io.err).to.match(
      /^anybal: \[web\] can not be used, see anybal check:\n\/pybal\.conf:8: \[web\] port: .*http/,
    );
    io.err = '';
    const sections = [['web', CONFIG.slice(CONFIG.indexOf('[web]'))]];
    fake.write('/state/sections.json', JSON.stringify({ version: 1, sections }));
    expect(await run({ server: 'cp1' })).to.equal(0);
    expect(io.err).to.match(/^anybal: \[web\] is checked as its last good text says:\n\/pybal\.conf:8: \[web\] port: /);
  });

  it('shows a server without an address as unknown', async () => {
    const { fake, io, run } = lab(() => UP);
    fake.dns.delete('4 cp2');
    expect(await run()).to.equal(3);
    expect(io.out).to.contain('cp2: unknown, it has no address');
  });

  it('shows each step with its time, TLS apart from TCP, and nothing that a server sent raw', async () => {
    const stream = (over: Partial<Stream> = {}): Stream => ({
      local: { address: '10.0.0.254', port: 4242 },
      remote: { address: '10.0.0.1', port: 80 },
      on: (handlers) => handlers.onData(new Uint8Array(12)),
      write: () => true,
      end: () => {},
      pause: () => {},
      resume: () => {},
      close: () => {},
      ...over,
    });
    const streams: World['streams'] = {
      connect: () => Promise.resolve(stream()),
      secure: () => Promise.resolve(stream({ tls: { protocol: 'TLSv1.3', alpn: 'h2', certificate: null } })),
      listen: () => Promise.reject(new SystemError('ENOSYS', 'listen')),
    };
    const steps = module('Good', (tools) => async ({ address, port }, cut) => {
      const tls = { servername: 'www.example.org', verify: true };
      const made = await tools.connect({ address, port, tls }, cut);
      made.write(new Uint8Array(5));
      const none = () => {};
      made.on({ onData: none, onEnd: none, onDrain: none, onClose: none });
      made.close('rst');
      made.close('rst');
      return { is: 'down', reason: '\x1b[2J' };
    });
    const { io, run } = lab(() => UP, { streams, monitor: async () => steps });
    expect(await run({ server: 'cp1', monitor: 'Good' })).to.equal(1);
    expect(
      io.out
        .split('\n')
        .slice(3, -1)
        .map((line) => line.replace(/^ *\d+\.\d ms {2}/, '')),
    ).to.deep.equal([
      'TCP to 10.0.0.1:80 …',
      'TCP to 10.0.0.1:80: connected from 10.0.0.254:4242',
      'TLS for www.example.org …',
      'TLS for www.example.org: TLSv1.3, h2',
      'sends 5 bytes',
      'first byte (12 bytes came with it)',
      'closes the connection, 12 bytes received',
      'DOWN: \\x1b[2J',
    ]);
  });
});
