// The lines that monitors write themselves, and how many of them.

import { expect } from 'chai';
import type { MonitorModule } from '../../../src/health/monitor.ts';
import { scriptedPoll, scriptedWatch } from '../../support/scripted-monitor.ts';
import { addressAt, lab } from '../../support/health-lab.ts';

describe('the lines of a monitor in the log', () => {
  const hosts = Array.from({ length: 1000 }, (_, i) => `cp${i}`);
  const writing = (lines: (host: string) => number): MonitorModule => ({
    ...scriptedPoll('Chatty', { interval: 10 }).module,
    create: (_, tools) => ({
      async check(target) {
        for (let i = 0; i < lines(target.host); i++) tools.log('info', target, `line ${i}`);
        return { is: 'up' };
      },
    }),
  });
  const setUp = (lines: (host: string) => number) => {
    const it = lab();
    it.configure([writing(lines)], { hosts });
    for (const [i, host] of hosts.entries()) it.runner.candidate('text_80', host, addressAt(i));
    const written = () => it.fake.lines.filter((line) => line.includes('line ')).length;
    const leftOut = () =>
      it.fake.lines.flatMap((line) => /Chatty writes too much: (\d+) line\(s\) left out/.exec(line)?.[1] ?? []);
    return { ...it, written, leftOut };
  };

  it('are all written when something is said of every server, twice at each check', async () => {
    const { fake, written, leftOut } = setUp(() => 2);
    await fake.clock.advance(100_000);
    expect(written()).to.be.within(10 * 2 * hosts.length, 12 * 2 * hosts.length);
    expect(leftOut()).to.deep.equal([]);
  });

  it('are bounded about the server of which too much is said, and what was left out is told in one line', async () => {
    const { fake, written, leftOut, runner } = setUp((host) => (host === 'cp7' ? 1000 : 1));
    const about7 = () => fake.lines.filter((line) => line.includes('cp7 ') && line.includes(': line ')).length;
    await fake.clock.advance(1000);
    expect(about7()).to.equal(20);
    for (let i = 0; i < 100 && leftOut().length === 0; i++) await fake.clock.advance(100);
    const checks = runner.status().find(({ host }) => host === 'cp7')?.results.up ?? 0;
    expect(leftOut()).to.deep.equal([String(1000 * checks - about7())]);
    expect(written() - about7()).to.be.at.least(hosts.length - 1);
    const before = about7();
    await fake.clock.advance(120_000);
    // Twenty a minute and two for each check.
    expect(about7() - before).to.be.within(2 * 20 + 11 * 2, 2 * 20 + 13 * 2);
    expect(leftOut().length).to.be.within(6, 13);
    await runner.stop();
    const told = leftOut().length;
    await fake.clock.advance(60_000);
    expect(leftOut()).to.have.length(told);
  });

  it('may go on in a connection that is held', async () => {
    const { fake, runner, configure } = lab();
    const tied: MonitorModule = {
      ...scriptedWatch('Chatty').module,
      kind: 'watch',
      create: (_, tools) => ({
        watch: (target, report) => {
          report({ is: 'up' });
          const say = () => {
            tools.log('info', target, 'line');
            tools.clock.at(1000, say);
          };
          say();
          return new Promise(() => {});
        },
      }),
    };
    configure([tied]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(600_500);
    const written = fake.lines.filter((line) => line.endsWith('line')).length;
    expect(written).to.be.within(10 * 20, 11 * 20);
  });
});
