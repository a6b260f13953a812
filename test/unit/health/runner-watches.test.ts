// HealthRunner with watches: connections that are held.

import { expect } from 'chai';
import type { Health } from '../../../src/health/monitor.ts';
import { HealthRunner } from '../../../src/health/runner.ts';
import { settle } from '../../support/fake-world.ts';
import { scriptedWatch } from '../../support/scripted-monitor.ts';
import { lab } from '../../support/health-lab.ts';
import { fakeSelf } from '../../support/fake-self.ts';

describe('HealthRunner with watches', () => {
  const start = async () => {
    const made = lab();
    const { module, watched } = scriptedWatch('Idle');
    made.configure([module], { rise: 3, fall: 3 });
    made.runner.candidate('text_80', 'cp1', '10.0.0.9');
    await made.fake.clock.advance(1000);
    return { ...made, watched };
  };

  it('passes reports on at once, whatever rise and fall say', async () => {
    const { watched, told } = await start();
    watched[0]?.report({ is: 'up' });
    expect(told().at(-1)).to.equal('cp1 up');
    watched[0]?.end({ is: 'down', reason: 'lost' });
    await settle();
    expect(told().at(-1)).to.equal('cp1 down');
  });

  it('calls again at once after a clean end, though not more than once a second, and changes nothing', async () => {
    const { fake, watched, told } = await start();
    watched[0]?.report({ is: 'up' });
    await fake.clock.advance(5000);
    watched[0]?.end('unchanged');
    await fake.clock.advance(1);
    expect(watched).to.have.length(2);
    // A server that accepts and closes.
    for (let i = 0; i < 200; i++) {
      watched.at(-1)?.report({ is: 'up' });
      watched.at(-1)?.end('unchanged');
      await fake.clock.advance(50);
    }
    expect(watched.length).to.be.within(11, 13);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

  it('gives a connection its time only, less after a clean end, and ignores what it says later', async () => {
    const { fake, watched, told } = await start();
    await fake.clock.advance(28_000);
    expect(watched[0]?.cut.aborted).to.equal(false);
    await fake.clock.advance(2100);
    expect(watched[0]?.cut.aborted).to.equal(true);
    expect(told().at(-1)).to.equal('cp1 down');
    watched[0]?.report({ is: 'up' });
    expect(told().at(-1)).to.equal('cp1 down');
    await fake.clock.advance(3000);
    watched[1]?.report({ is: 'up' });
    await fake.clock.advance(100_000);
    expect(watched[1]?.cut.aborted).to.equal(false);
    watched[1]?.end('unchanged');
    await fake.clock.advance(3100);
    expect(watched[2]?.cut.aborted).to.equal(true);
    expect(told().at(-1)).to.equal('cp1 down');
  });

  it('backs off from about 2.7 s by e up to the limit, and starts over after an up', async () => {
    const { fake, watched } = await start();
    const gaps: number[] = [];
    for (let i = 0; i < 9; i++) {
      const count = watched.length;
      watched.at(-1)?.end({ is: 'down', reason: 'refused' });
      const at = fake.clock.now();
      for (let waited = 0; watched.length === count && waited < 400; waited++) await fake.clock.advance(1000);
      gaps.push(((watched.at(-1)?.at ?? 0) - at) / 1000);
    }
    expect(gaps[0]).to.be.within(1.5, 4);
    for (let i = 1; i < 5; i++) expect((gaps[i] ?? 0) / (gaps[i - 1] ?? 1)).to.be.within(1.5, 5);
    expect(gaps.at(-1)).to.be.within(150, 300);
    watched.at(-1)?.report({ is: 'up' });
    watched.at(-1)?.end({ is: 'down', reason: 'reset' });
    const count = watched.length;
    await fake.clock.advance(4000);
    expect(watched).to.have.length(count + 1);
  });

  it('asks again soon after a fault of our own, and seldom again one that has been dead for long', async () => {
    const { fake, watched } = await start();
    const gapAfter = async (means: Health): Promise<number> => {
      const count = watched.length;
      watched.at(-1)?.end(means);
      const at = fake.clock.now();
      for (let waited = 0; watched.length === count && waited < 400; waited++) await fake.clock.advance(1000);
      return ((watched.at(-1)?.at ?? 0) - at) / 1000;
    };
    for (let i = 0; i < 8; i++) await gapAfter({ is: 'down', reason: 'refused' });
    expect(await gapAfter({ is: 'unknown', reason: 'EMFILE' })).to.be.at.most(10);
    expect(await gapAfter({ is: 'down', reason: 'refused' })).to.be.within(150, 300);
  });

  it('takes a report that comes before the monitor has returned', async () => {
    const { fake, runner, configure, told } = lab();
    const { module } = scriptedWatch('Idle');
    const watch = (_: unknown, report: (health: Health) => void) => {
      report({ is: 'up' });
      return new Promise<never>(() => {});
    };
    configure([{ ...module, create: () => ({ watch }) }]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(100_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

  it('starts no more than ten that ignore the cut, and goes on as soon as one of them ends', async () => {
    const { fake, watched, runner } = await start();
    await fake.clock.advance(3_600_000);
    expect(watched).to.have.length(10);
    expect(runner.status()[0]).to.include({ abandoned: 10, is: 'down', givenUp: true });
    watched[3]?.end('unchanged');
    for (let waited = 0; waited < 400 && watched.length < 11; waited += 10) await fake.clock.advance(10_000);
    expect(watched).to.have.length(11);
    watched[10]?.report({ is: 'up' });
    expect(runner.status()[0]).to.include({ is: 'up', givenUp: false });
  });

  it('does not blame the server for a deadline that passed while nobody looked', async () => {
    const { fake, runner, configure, told } = lab({
      self: () => fakeSelf(40_000),
    });
    configure([scriptedWatch('Idle').module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(32_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 unknown']);
    expect(runner.status()[0]?.last).to.equal('unknown: the event loop was 40000 ms late');
  });
});
