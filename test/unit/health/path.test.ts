import { expect } from 'chai';
import type { Path } from '../../../src/decision/decision.ts';
import type { PathSource } from '../../../src/health/path.ts';
import { CheckCut } from '../../../src/health/check-cut.ts';
import { judge } from '../../../src/health/judge.ts';
import { makeGates, makeTools } from '../../../src/health/tools.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { ConnectOptions, Stream, UdpOptions, World } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { fakeMark } from '../../support/health-lab.ts';

const WAY: Path = {
  mark: 1007,
  found: fakeMark(1007, '10.9.0.1'),
  vip: '10.0.0.1',
  vipPort: 80,
  fixedPort: false,
  localAddress: null,
  firstPort: 10_056,
  ports: 8,
};
const ON_TIME = new FakeWorld().world;
const HERE = { address: '10.9.0.1', port: 8080 };

function stage(way: () => Path | string, fails: (options: ConnectOptions) => string | null = () => null) {
  const fake = new FakeWorld();
  const dialled: (ConnectOptions | UdpOptions)[] = [];
  const closed: string[] = [];
  const nothing = { on() {}, write: () => true, end() {}, pause() {}, resume() {} };
  const stream: Stream = { local: HERE, remote: HERE, ...nothing, close: (how) => void closed.push(how) };
  const world: World = {
    ...fake.world,
    streams: {
      ...fake.world.streams,
      async connect(options) {
        dialled.push(options);
        const code = fails(options);
        if (code !== null) throw new SystemError(code, 'connect');
        return stream;
      },
    },
    udp: {
      async open(options) {
        dialled.push(options);
        return { local: HERE, send() {}, close() {} };
      },
    },
  };
  const tools = makeTools('Test', world, makeGates(), { log() {}, observe() {}, count() {} }, () => {});
  const source: PathSource = { ...HERE, way, dialled: 0, began: null };
  return { fake, tools, dialled, closed, cut: new CheckCut(source) };
}

const thrownBy = (act: Promise<unknown>): Promise<unknown> =>
  act.then(
    () => null,
    (thrown: unknown) => thrown,
  );
const verdict = (threw: unknown, cut: CheckCut) => judge({ threw, timedOut: false }, cut, ON_TIME, 1000);

describe('A check through the path', () => {
  it('dials the VIP with the mark and the ports of its server, one after the other', async () => {
    const { tools, dialled, cut } = stage(() => WAY);
    for (let i = 0; i < 9; i++) await tools.connect({ ...HERE, tcp: { ttl: 3 } }, cut);
    expect(dialled[0]).to.deep.equal({
      address: '10.0.0.1',
      port: 80,
      localPort: 10_056,
      tcp: { ttl: 3, mark: 1007 },
    });
    expect(dialled.map(({ localPort }) => (localPort ?? 0) - 10_056)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 0]);
  });

  it('sends datagrams the same way', async () => {
    const { tools, dialled, cut } = stage(() => ({ ...WAY, localAddress: '192.0.2.10' }));
    await tools.datagram(HERE, { onDatagram() {}, onError() {} }, cut);
    expect(dialled).to.deep.equal([
      { address: '10.0.0.1', port: 80, localAddress: '192.0.2.10', localPort: 10_056, mark: 1007 },
    ]);
  });

  it('takes the next port when one is still in use, and is unknown when all are', async () => {
    const busy = new Set([10_056, 10_057]);
    const some = stage(
      () => WAY,
      ({ localPort = 0 }) => (busy.has(localPort) ? 'EADDRNOTAVAIL' : null),
    );
    await some.tools.connect(HERE, some.cut);
    expect(some.dialled.map(({ localPort }) => localPort)).to.deep.equal([10_056, 10_057, 10_058]);
    const all = stage(
      () => WAY,
      () => 'EADDRINUSE',
    );
    const threw = await thrownBy(all.tools.connect(HERE, all.cut));
    expect(all.dialled).to.have.length(8);
    expect(verdict(threw, all.cut)).to.deep.equal({
      is: 'unknown',
      reason: 'take the path: EADDRINUSE: all 8 ports of this server to 10.0.0.1:80 are in use',
    });
  });

  it('is down for what comes of the path, after a busy port too', async () => {
    const { tools, cut } = stage(
      () => WAY,
      ({ localPort }) => (localPort === 10_056 ? 'EADDRINUSE' : 'ECONNREFUSED'),
    );
    const threw = await thrownBy(tools.connect(HERE, cut));
    expect(verdict(threw, cut)).to.have.property('is', 'down');
  });

  it('keeps a port that is not the service’s, as IPVS does, but through NAT there is only the server’s own', async () => {
    const direct = stage(() => WAY);
    await direct.tools.connect({ ...HERE, port: 9000 }, direct.cut);
    expect(direct.dialled[0]).to.deep.include({ address: '10.0.0.1', port: 9000 });
    const nat = stage(() => ({ ...WAY, fixedPort: true }));
    await nat.tools.connect(HERE, nat.cut);
    expect(nat.dialled[0]).to.deep.include({ port: 80 });
    for (const to of [
      { ...HERE, port: 9000 },
      { ...HERE, address: '192.0.2.1' },
    ]) {
      const threw = await thrownBy(nat.tools.connect(to, nat.cut));
      expect(verdict(threw, nat.cut)).to.have.property('is', 'unknown');
    }
    expect(nat.dialled).to.have.length(1);
  });

  it('waits for a path that is being made', async () => {
    let way: Path | string = 'not yet';
    const { fake, tools, dialled, cut } = stage(() => way);
    const connecting = tools.connect(HERE, cut);
    await fake.clock.advance(200);
    expect(dialled).to.have.length(0);
    way = WAY;
    await fake.clock.advance(100);
    await connecting;
    expect(dialled).to.have.length(1);
    expect(cut.waitedMs, 'which is not the time of the server').to.equal(250);
  });

  it('is unknown, with the reason, when there is no path in time or before the deadline', async () => {
    for (const end of ['time', 'deadline'] as const) {
      const { fake, tools, cut } = stage(() => 'the path has no mark yet');
      const connecting = thrownBy(tools.connect(HERE, cut));
      await fake.clock.advance(end === 'time' ? 6000 : 100);
      if (end === 'deadline') cut.abort();
      const threw = await connecting;
      expect(verdict(threw, cut)).to.deep.equal({
        is: 'unknown',
        reason: 'take the path: ENOTCONN: the path has no mark yet',
      });
    }
  });

  it('ends with a reset, so that neither this host nor IPVS remembers it', async () => {
    const { tools, closed, cut } = stage(() => WAY);
    (await tools.connect(HERE, cut)).close('fin');
    expect(closed).to.deep.equal(['rst']);
  });

  it('is unknown for what can not go through it', async () => {
    const { tools } = stage(() => WAY);
    const source: PathSource = { ...HERE, way: () => WAY, dialled: 0, began: null };
    const ways = [
      (cut: CheckCut) => tools.ping({ address: HERE.address }, cut),
      (cut: CheckCut) => tools.run({ path: '/bin/true', args: [], env: {}, timeoutMs: 1000, maxOutputBytes: 100 }, cut),
      (cut: CheckCut) => tools.fetch({ url: 'http://10.9.0.1/', timeoutMs: 1000, maxBytes: 100 }, cut),
    ];
    for (const way of ways) {
      const cut = new CheckCut(source);
      const health = verdict(await thrownBy(way(cut)), cut);
      expect(health).to.have.property('is', 'unknown');
      expect(health)
        .to.have.property('reason')
        .that.matches(/can not go through the path$/);
    }
  });
});
