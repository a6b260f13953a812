import { expect } from 'chai';
import type { Path } from '../../../src/decision/decision.ts';
import type { IpvsEntry } from '../../../src/ipvs/table.ts';
import type { Poll } from '../../../src/health/monitor.ts';
import type { ConnectOptions, Stream } from '../../../src/world/world.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { addressAt, fakeMark, lab } from '../../support/health-lab.ts';

const VIP = '10.0.0.1';
const FOUND = fakeMark(1000, '10.0.0.9');
const WAY: Path = {
  mark: 1000,
  found: FOUND,
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

/** `way` and `kernel`: what the reconciler believes of the path, and what is really there. */
function stage(
  refused: (options: ConnectOptions) => boolean,
  way: () => Path | string = () => WAY,
  kernel: () => Promise<readonly IpvsEntry[]> = async () => [FOUND],
) {
  const { streams, ipvs } = new FakeWorld().world;
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
  let readings = 0;
  return {
    asked,
    readings: () => readings,
    ...lab(
      {
        ipvs: {
          ...ipvs,
          async list(keys) {
            readings++;
            return new Map(
              (await kernel()).flatMap((entry) =>
                keys?.includes(entry.service.key) ? [[entry.service.key, entry]] : [],
              ),
            );
          },
        },
        streams: {
          ...streams,
          async connect(options) {
            asked.push(`${options.address} ${options.tcp?.mark ?? 'plain'}`);
            if (refused(options)) throw new SystemError('ECONNREFUSED', 'connect');
            return stream;
          },
        },
      },
      way,
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

  it('takes nothing for down, or up, that was found out while the kernel had lost the path', async () => {
    for (const [kernel, reason] of [
      [async () => [], /changed by somebody during the check/],
      [() => Promise.reject(new SystemError('EPERM', 'list IPVS')), /not known whether the path is there/],
      [() => new Promise<never>(() => {}), /not known whether the path is there.*no answer/],
    ] as const) {
      let lost = false;
      const { fake, runner, configure, told } = stage(
        () => lost,
        () => WAY,
        () => (lost ? kernel() : Promise.resolve([FOUND])),
      );
      configure([CONNECT], { via: 'path' });
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(2000);
      lost = true;
      await fake.clock.advance(12_000);
      expect(told().at(-1)).to.equal('cp1 unknown');
      expect(runner.status()[0]?.last).to.match(reason);
      lost = false;
      await fake.clock.advance(10_000);
      expect(told().at(-1)).to.equal('cp1 up');
      await runner.stop();
    }
  });

  it('takes nothing for down, or up, when the path was away and came back during the check', async () => {
    let way = WAY;
    let broken = false;
    const { fake, runner, configure, told } = stage(
      () => {
        if (broken) way = { ...WAY, found: { ...FOUND } };
        return broken;
      },
      () => way,
    );
    configure([CONNECT], { via: 'path' });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(2000);
    broken = true;
    await fake.clock.advance(10_000);
    expect(told().at(-1)).to.equal('cp1 unknown');
    await runner.stop();
  });

  it('reads the kernel for results that would change a verdict, together for all of them', async () => {
    let broken = false;
    const { fake, runner, configure, told, readings } = stage(() => broken);
    const hosts = Array.from({ length: 50 }, (_, i) => `cp${i}`);
    configure([CONNECT], { via: 'path', hosts });
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(2000);
    expect(told().filter((fact) => fact.endsWith(' up'))).to.have.length(50);
    const first = readings();
    expect(first).to.be.within(1, 15);
    await fake.clock.advance(30_000);
    expect(readings()).to.equal(first);
    broken = true;
    await fake.clock.advance(20_000);
    expect(told().filter((fact) => fact.endsWith(' down'))).to.have.length(50);
    expect(readings() - first).to.be.at.most(105);
    await runner.stop();
  });

  it('reads a table that takes long seldom, and never twice at a time', async () => {
    let underWay = 0;
    let most = 0;
    const slow = async () => {
      most = Math.max(most, ++underWay);
      await fake.clock.sleep(50);
      underWay--;
      return [FOUND];
    };
    const { fake, runner, configure, told, readings } = stage(
      () => false,
      () => WAY,
      () => slow(),
    );
    const hosts = Array.from({ length: 50 }, (_, i) => `cp${i}`);
    configure([CONNECT], { via: 'path', hosts });
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(3500);
    expect(told().filter((fact) => fact.endsWith(' up'))).to.have.length(50);
    expect(readings()).to.be.within(1, 3);
    expect(most).to.equal(1);
    await runner.stop();
  });

  it('gives each reading its time, whoever asks while another one is under way', async () => {
    let broken = false;
    const { fake, runner, configure, told } = stage(
      () => broken,
      () => WAY,
      async () => {
        await fake.clock.sleep(200);
        return [FOUND];
      },
    );
    const hosts = Array.from({ length: 40 }, (_, i) => `cp${i}`);
    configure([CONNECT], { via: 'path', hosts });
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(25_000);
    broken = true;
    await fake.clock.advance(15_000);
    expect(told().filter((fact) => fact.endsWith(' unknown'))).to.deep.equal([]);
    for (const is of ['up', 'down']) expect(told().filter((fact) => fact.endsWith(` ${is}`))).to.have.length(40);
    await runner.stop();
  });

  it('learns what checks find out that are faster than a reading, and counts each of them', async () => {
    for (const [fall, mostMs] of [
      [1, 3000],
      [3, 6000],
    ] as const) {
      let broken = false;
      const { fake, runner, configure, told } = stage(
        () => broken,
        () => WAY,
        async () => {
          await fake.clock.sleep(260);
          return [FOUND];
        },
      );
      const hasty = { ...CONNECT, timing: () => ({ intervalSeconds: 0.25, timeoutSeconds: 0.2 }) };
      configure([hasty], { via: 'path', fall });
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(5000);
      expect(told().at(-1)).to.equal('cp1 up');
      broken = true;
      await fake.clock.advance(mostMs);
      expect(told().at(-1)).to.equal('cp1 down');
      await runner.stop();
    }
  });

  it('says nothing of what a later result contradicts while the kernel is asked', async () => {
    let broken = false;
    const { asked, fake, runner, configure, told } = stage(
      () => broken,
      () => WAY,
      async () => {
        await fake.clock.sleep(900);
        return [FOUND];
      },
    );
    const hasty = { ...CONNECT, timing: () => ({ intervalSeconds: 0.25, timeoutSeconds: 0.2 }) };
    configure([hasty], { via: 'path' });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    const untilAskedAgain = async () => {
      const { length } = asked;
      for (let i = 0; i < 200 && asked.length === length; i++) await fake.clock.advance(10);
    };
    await untilAskedAgain();
    broken = true;
    await fake.clock.advance(5000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 down']);
    broken = false;
    await untilAskedAgain();
    broken = true;
    await fake.clock.advance(5000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 down']);
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
