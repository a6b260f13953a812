import { expect } from 'chai';
import { intervalFor } from '../../../src/health/pace.ts';
import { type MonitorState, noResult } from '../../../src/health/rise.ts';
import type { Mono } from '../../../src/world/world.ts';
import { lab } from '../../support/health-lab.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';

const at = (ms: number) => ms as Mono;
const PACE = { fastIntervalSeconds: 1, slowIntervalSeconds: 60, slowAfterSeconds: 600 };
const gaps = (times: readonly number[]) => times.slice(1).map((time, i) => Math.round(time - (times[i] ?? 0)));

describe('intervalFor', () => {
  const state = (over: Partial<MonitorState>): MonitorState => ({ ...noResult(at(0)), ...over });

  it('is fast while results contradict the verdict, slow when the server is long dead, else the monitor’s own', () => {
    expect(intervalFor(state({ known: 'up' }), PACE, 10_000, at(5))).to.equal(10_000);
    expect(intervalFor(state({ known: 'up', against: 1 }), PACE, 10_000, at(5))).to.equal(1000);
    expect(intervalFor(state({ known: 'down' }), PACE, 10_000, at(599_999))).to.equal(10_000);
    expect(intervalFor(state({ known: 'down' }), PACE, 10_000, at(600_000))).to.equal(60_000);
    expect(intervalFor(state({ known: 'down', against: 1 }), PACE, 10_000, at(600_000))).to.equal(1000);
    expect(intervalFor(state({ known: 'up' }), PACE, 10_000, at(600_000))).to.equal(10_000);
  });

  it('is never slower by fast-interval, never faster by slow-interval, and neither by our own fault', () => {
    expect(intervalFor(state({ known: 'up', against: 1 }), PACE, 500, at(5))).to.equal(500);
    expect(intervalFor(state({ known: 'down' }), PACE, 90_000, at(600_000))).to.equal(90_000);
    for (const known of ['up', 'down', null] as const)
      expect(intervalFor(state({ known, against: 1, blind: 'EMFILE' }), PACE, 10_000, at(600_000))).to.equal(10_000);
  });
});

describe('HealthRunner and its pace', () => {
  it('asks every fast-interval from the first failure until fall has decided, then on its grid again', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, asked, script } = scriptedPoll('A', { interval: 10 });
    configure([module], { fall: 4, rise: 3, pace: { fastIntervalSeconds: 1 } });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(25_000);
    const grid = (asked.at(-1)?.at ?? 0) % 10_000;
    const before = asked.length;
    script.auto = () => ({ is: 'down', reason: 'no' });
    await fake.clock.advance(14_000);
    expect(told().at(-1)).to.equal('cp1 down');
    const failed = asked.slice(before).map(({ at: time }) => time);
    expect(gaps(failed.slice(0, 4))).to.deep.equal([1000, 1000, 1000]);
    await fake.clock.advance(20_000);
    for (const { at: time } of asked.slice(asked.length - 2)) expect(time % 10_000).to.be.closeTo(grid, 0.001);
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(12_500);
    expect(told().at(-1)).to.equal('cp1 up');
  });

  it('asks the long dead every slow-interval, and sees one that is back within it and the timeout', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, asked, script } = scriptedPoll('A', { interval: 10 });
    script.auto = () => ({ is: 'down', reason: 'no' });
    configure([module], { pace: { slowIntervalSeconds: 60, slowAfterSeconds: 100 } });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(130_000);
    const before = asked.length;
    expect(before).to.be.within(11, 13);
    await fake.clock.advance(600_000);
    expect(asked.length - before).to.be.within(9, 11);
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(60_001);
    expect(told().at(-1)).to.equal('cp1 up');
    const recovered = asked.length;
    await fake.clock.advance(60_000);
    expect(asked.length - recovered).to.be.within(5, 7);
  });

  it('is as fast as fast-interval says, though timers ring a little late', async () => {
    const { fake, runner, configure } = lab();
    fake.clock.lateMs = 0.4;
    const { module, asked, script } = scriptedPoll('A', { interval: 10 });
    configure([module], { fall: 30, pace: { fastIntervalSeconds: 1 } });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(15_000);
    const before = asked.length;
    script.auto = () => ({ is: 'down', reason: 'no' });
    await fake.clock.advance(30_000);
    const failed = asked.slice(before).map(({ at: time }) => time);
    expect(failed.length).to.be.above(15);
    for (const gap of gaps(failed.slice(1))) expect(gap).to.be.within(1000, 1021);
  });

  for (const [interval, mostMs] of [
    [10, 100],
    [0.5, 50],
    [0.2, 20],
  ] as const) {
    it(`lets a check wait for others by up to ${mostMs} ms when its interval is ${interval} s`, async () => {
      const { fake, runner, configure } = lab();
      const hosts = Array.from({ length: 40 }, (_, i) => `cp${i}`);
      configure([scriptedPoll('A', { interval }).module], { hosts });
      for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, `10.0.0.${i}`);
      await fake.clock.advance(5 * Math.max(1, interval) * 1000);
      const lastLate = runner.lateness.counts.findLastIndex((count) => count > 0);
      expect(lastLate).to.be.within(mostMs / 2, mostMs);
    });
  }

  it('does not ask two at a time, however fast', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('A', { interval: 10, timeout: 4 });
    configure([module], { fall: 3, pace: { fastIntervalSeconds: 0.5 } });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(15_000);
    const before = asked.length;
    script.auto = null;
    for (let i = 0; i < 40; i++) {
      await fake.clock.advance(500);
      const open = asked.slice(before).filter(({ cut }) => !cut.aborted);
      expect(open.length).to.be.at.most(1);
    }
  });
});
