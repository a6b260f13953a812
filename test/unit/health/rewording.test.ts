import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import type { Health } from '../../../src/health/monitor.ts';
import { MOST_PATIENCE, REWORDING_MS } from '../../../src/health/rewording.ts';
import { addressAt, lab } from '../../support/health-lab.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';

/** Some servers that are checked every `interval` seconds, and the health that is told of them in each second. */
async function servers(count: number, interval: number, first: Health) {
  const { fake, runner, configure, facts } = lab();
  const { module, script } = scriptedPoll('A', { interval, timeout: 0 });
  const hosts = Array.from({ length: count }, (_, i) => `cp${i}`);
  const answers = (health: () => Health) => {
    script.auto = health;
  };
  answers(() => first);
  configure([module], { hosts });
  for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
  await fake.clock.advance(1000);
  facts.length = 0;
  const told = async (seconds: number) => {
    const all: { readonly second: number; readonly health: NonNullable<(Fact & { is: 'health' })['health']> }[] = [];
    for (let second = 1; second <= seconds; second++) {
      await fake.clock.advance(1000);
      for (const fact of facts.splice(0))
        if (fact.is === 'health' && fact.health !== null) all.push({ second, health: fact.health });
    }
    return all;
  };
  return { fake, runner, configure, answers, told };
}

const down = (reason: string): Health => ({ is: 'down', reason });

describe('A server whose verdict stays, and whose reason does not', () => {
  it('is told with its present reason within seconds, once', async () => {
    const { answers, told } = await servers(1, 1, down('503'));
    answers(() => down('404'));
    const all = await told(120);
    expect(all.map(({ health }) => health.reason)).to.deep.equal(['A: 404']);
    expect(all[0]?.second).to.be.at.most(1 + REWORDING_MS / 1000);
    answers(() => down('refused'));
    const later = await told(120);
    expect(later.map(({ health }) => health.reason)).to.deep.equal(['A: refused']);
    expect(later[0]?.second, 'patience has an end').to.be.at.most(1 + REWORDING_MS / 1000);
    expect(later[0]?.health.since).to.equal(all[0]?.health.since);
  });

  it('is told why nothing is known, too, and why it gets less than its weight', async () => {
    const { answers, told } = await servers(1, 1, { is: 'unknown', reason: 'EMFILE' });
    answers(() => ({ is: 'unknown', reason: 'ENETUNREACH' }));
    expect((await told(20)).map(({ health }) => health.reason)).to.deep.equal(['A: ENETUNREACH']);
    answers(() => ({ is: 'up', percent: 50, detail: 'deploying' }));
    expect((await told(20)).map(({ health }) => health.weighting?.reason)).to.deep.equal(['A: deploying']);
    answers(() => ({ is: 'up', percent: 50, detail: 'cleaning up' }));
    expect((await told(20)).map(({ health }) => health.weighting?.reason)).to.deep.equal(['A: cleaning up']);
  });

  it('is not told while it is up, whatever it says, nor when it says again what was told', async () => {
    let n = 0;
    const { answers, told } = await servers(1, 1, { is: 'up', detail: '200 OK' });
    answers(() => ({ is: 'up', detail: `200 OK after ${n++} ms` }));
    expect(await told(60)).to.deep.equal([]);
    answers(() => down('503'));
    expect(await told(20)).to.have.length(1);
    answers(() => down('404'));
    expect(await told(1), 'not yet').to.deep.equal([]);
    answers(() => down('503'));
    expect(await told(60)).to.deep.equal([]);
  });

  it('is told ever less often when it has a number in its reason that differs each time', async () => {
    let n = 0;
    const { answers, told } = await servers(1, 1, down('503'));
    answers(() => down(`503 after ${n++} ms`));
    const all = await told(600);
    const most = (MOST_PATIENCE * REWORDING_MS) / 1000;
    expect(all.length).to.be.within(600 / most - 1, 600 / most + 4);
    for (let i = 5; i < all.length; i++) expect((all[i]?.second ?? 0) - (all[i - 1]?.second ?? 0)).to.equal(most);
  });

  it('is told in one go with all others that differ each time, however their checks are spread', async () => {
    let n = 0;
    const { answers, told } = await servers(100, 10, down('503'));
    answers(() => down(`503 after ${n++} ms`));
    await told(120);
    const seconds = (await told(600)).map(({ second }) => second);
    const most = (MOST_PATIENCE * REWORDING_MS) / 1000;
    expect(new Set(seconds).size).to.be.within(600 / most - 1, 600 / most + 1);
    expect(seconds).to.have.length(100 * new Set(seconds).size);
  });

  it('is told at once when the verdict changes, and not again', async () => {
    const { answers, told } = await servers(1, 1, down('503'));
    answers(() => down('404'));
    expect(await told(1), 'not yet').to.deep.equal([]);
    answers(() => ({ is: 'up' }));
    expect((await told(60)).map(({ second, health }) => `${second} ${health.is}`)).to.deep.equal(['1 up']);
  });

  it('is not told when it is gone, and leaves no timer behind', async () => {
    const { fake, runner, configure, answers, told } = await servers(2, 10, down('503'));
    let n = 0;
    answers(() => down(`503 after ${n++} ms`));
    await told(12);
    configure([scriptedPoll('A').module], { hosts: [] });
    expect(await told(60)).to.deep.equal([]);
    await runner.stop();
    await fake.clock.advance(5000);
    expect(fake.clock.pending).to.equal(0);
  });
});
