import { expect } from 'chai';
import type { Path } from '../../../src/decision/decision.ts';
import type { Poll } from '../../../src/health/monitor.ts';
import type { ConnectOptions, Stream } from '../../../src/world/world.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { lab } from '../../support/health-lab.ts';

const VIP = '10.0.0.1';
const WAY: Path = {
  mark: 1000,
  vip: VIP,
  vipPort: 80,
  fixedPort: false,
  localAddress: null,
  firstPort: 10_000,
  ports: 8,
};

/** Connects, and is up when that worked. */
const CONNECT = {
  apiVersion: 1,
  name: 'Connect',
  kind: 'poll',
  options: [],
  timing: () => ({ intervalSeconds: 10, timeoutSeconds: 2 }),
  create: (_, tools) => ({
    async check({ address, port }, cut) {
      (await tools.connect({ address, port }, cut)).close('rst');
      return { is: 'up' };
    },
  }),
} as const satisfies Poll<[]>;

function stage(refused: (options: ConnectOptions) => boolean) {
  const { streams } = new FakeWorld().world;
  const here = { address: VIP, port: 80 };
  const stream: Stream = {
    local: here,
    remote: here,
    on() {},
    write: () => true,
    end() {},
    pause() {},
    resume() {},
    close() {},
  };
  const asked: string[] = [];
  return {
    asked,
    ...lab(
      {
        streams: {
          ...streams,
          async connect(options) {
            asked.push(`${options.address} ${options.tcp?.mark ?? 'plain'}`);
            if (refused(options)) throw new SystemError('ECONNREFUSED', 'connect');
            return stream;
          },
        },
      },
      () => WAY,
    ),
  };
}

describe('A service whose monitors go through the path', () => {
  it('asks one way or the other, or both, as it is told', async () => {
    const wanted = {
      server: ['10.0.0.9 plain'],
      path: [`${VIP} 1000`],
      both: [`${VIP} 1000`, '10.0.0.9 plain'],
    } as const;
    for (const via of ['server', 'path', 'both'] as const) {
      const { asked, fake, runner, configure, told } = stage(() => false);
      configure([CONNECT], { via });
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(2000);
      expect([...asked].sort()).to.deep.equal(wanted[via]);
      expect(told().at(-1)).to.equal('cp1 up');
      const names =
        via === 'both' ? ['Connect', 'Connect via path'] : [via === 'path' ? 'Connect via path' : 'Connect'];
      expect(runner.status().map(({ monitor }) => monitor)).to.deep.equal(names);
      await runner.stop();
    }
  });

  it('counts a pair as one of its monitors, and names the way that fails', async () => {
    let broken = false;
    const { facts, fake, runner, configure } = stage(({ tcp }) => broken && tcp?.mark !== undefined);
    configure([CONNECT], { via: 'both', needed: 1 });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(2000);
    broken = true;
    await fake.clock.advance(10_000);
    const last = facts.findLast((fact) => fact.is === 'health');
    expect(last?.is === 'health' && last.health?.is).to.equal('down');
    expect(last?.is === 'health' && last.health?.reason).to.match(
      /^Connect: application answers on its own address, VIP path does not: Connection was refused/,
    );
    await runner.stop();
  });

  it('says which address it tries out, so that a path is made to it', async () => {
    const { facts, fake, runner, configure } = stage(() => false);
    configure([CONNECT], { via: 'path' });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(2000);
    runner.candidate('text_80', 'cp1', '10.0.0.8');
    const tried = () =>
      facts.flatMap((fact) => (fact.is === 'candidate' || fact.is === 'address' ? [`${fact.is} ${fact.address}`] : []));
    expect(tried()).to.deep.equal(['address 10.0.0.9', 'candidate 10.0.0.8']);
    await fake.clock.advance(2000);
    expect(tried().slice(2)).to.deep.equal(['candidate null', 'address 10.0.0.8']);
    await runner.stop();
  });
});
