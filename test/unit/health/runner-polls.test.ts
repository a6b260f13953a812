// HealthRunner with polls: when checks are made, and what their results come to.

import { expect } from 'chai';
import { SystemError } from '../../../src/lib/errors.ts';
import type { Cut, Health, MonitorModule, Target, Tools } from '../../../src/health/monitor.ts';
import { HealthRunner } from '../../../src/health/runner.ts';
import type { CommandResult } from '../../../src/world/world.ts';
import { settle } from '../../support/fake-world.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';
import { addressAt, lab } from '../../support/health-lab.ts';
import { fakeSelf } from '../../support/fake-self.ts';

describe('HealthRunner with polls', () => {
  it('tells the first address at once and health after the first result, within a second', async () => {
    const { fake, runner, configure, told } = lab();
    configure([scriptedPoll('A').module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    expect(told()).to.deep.equal(['cp1 @10.0.0.9']);
    await fake.clock.advance(1000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

  it('remembers an address that came before its host', async () => {
    const { fake, runner, configure, told } = lab();
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    configure([scriptedPoll('A').module]);
    await fake.clock.advance(1000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

  it('checks on a grid, however long a check takes, and never two at a time', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('A', { interval: 10, timeout: 0 });
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(14_000);
    expect(asked).to.have.length(1);
    asked[0]?.answer({ is: 'up' });
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(60_000);
    const times = asked.slice(1).map(({ at }) => at);
    expect(times).to.have.length.within(5, 6);
    for (const [i, at] of times.entries()) expect(at - (times[0] ?? 0)).to.be.closeTo(i * 10_000, 0.001);
  });

  it('keeps no address of a host that is not wanted, whenever it was told', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked } = scriptedPoll('A');
    configure([module], { hosts: ['cp1'] });
    runner.candidate('text_80', 'cp2', '10.0.0.2');
    configure([module], { hosts: ['cp1'] });
    configure([module], { hosts: ['cp1', 'cp2'] });
    await fake.clock.advance(2000);
    expect(asked).to.have.length(0);
    runner.candidate('text_80', 'cp2', '10.0.0.3');
    await fake.clock.advance(2000);
    expect(asked.map(({ target }) => target.address)).to.deep.equal(['10.0.0.3']);
  });

  it('spreads first checks over one second and later ones over the interval, the same in each run', async () => {
    const hosts = Array.from({ length: 200 }, (_, i) => `cp${i}`);
    const run = async () => {
      const { fake, runner, configure } = lab();
      const { module, asked } = scriptedPoll('A');
      configure([module], { hosts });
      for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
      await fake.clock.advance(1001);
      const first = asked.map(({ at }) => at);
      expect(first).to.have.length.at.least(200);
      expect(first.filter((at) => at < 1500)).to.have.length.within(60, 140);
      await fake.clock.advance(19_000);
      const later = asked.map(({ at }) => at).filter((at) => at >= 11_000 && at < 21_000);
      expect(later).to.have.length(200);
      expect(later.filter((at) => at < 16_000)).to.have.length.within(60, 140);
      return first;
    };
    expect(await run()).to.deep.equal(await run());
  });

  it('counts rise and fall, except for the first result', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, script } = scriptedPoll('A', { interval: 10 });
    script.auto = () => ({ is: 'down', reason: 'no' });
    configure([module], { rise: 3, fall: 2 });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    expect(told().at(-1)).to.equal('cp1 down');
    script.auto = () => ({ is: 'up' });
    const before = runner.status()[0]?.results.up ?? 0;
    await fake.clock.advance(60_000);
    expect(told().at(-1)).to.equal('cp1 up');
    expect((runner.status()[0]?.results.up ?? 0) - before).to.be.greaterThan(3);
    script.auto = () => ({ is: 'down', reason: 'no' });
    await fake.clock.advance(10_000);
    expect(told().at(-1)).to.equal('cp1 up');
    await fake.clock.advance(10_000);
    expect(told().at(-1)).to.equal('cp1 down');
  });

  it('needs as many monitors up as it was told, and judges again when told otherwise, asking nobody anew', async () => {
    const { fake, runner, configure, told } = lab();
    const good = scriptedPoll('A');
    const bad = scriptedPoll('B');
    bad.script.auto = () => ({ is: 'down', reason: 'no' });
    const modules = [good.module, bad.module];
    configure(modules, { needed: 1 });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    expect(told().at(-1)).to.equal('cp1 up');
    const asked = good.asked.length + bad.asked.length;
    configure(modules, { needed: 2 });
    expect(told().at(-1)).to.equal('cp1 down');
    configure(modules, { needed: 1 });
    expect(told().at(-1)).to.equal('cp1 up');
    expect([good.asked.length + bad.asked.length, good.script.created]).to.deep.equal([asked, 1]);
  });

  it('cuts at the deadline and calls it down, in the words of the check if it has some', async () => {
    const { fake, runner, configure, facts } = lab();
    const { module, asked, script } = scriptedPoll('A', { timeout: 2 });
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    asked[0]?.cut.onAbort(() => asked[0]?.answer({ is: 'down', reason: 'Getting x took longer than 2 seconds.' }));
    await fake.clock.advance(2050);
    expect(asked[0]?.cut.aborted).to.equal(true);
    expect(facts.at(-1)).to.deep.include({ is: 'health', host: 'cp1' });
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'A: Getting x took longer than 2 seconds.');
  });

  it('waits for a check that ignores the cut, calls the server down meanwhile, and leaves it behind after a grace', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, asked, script } = scriptedPoll('A', { interval: 10, timeout: 2 });
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(4000);
    expect(told().at(-1)).to.equal('cp1 down');
    await fake.clock.advance(20_000);
    expect(asked).to.have.length(1);
    await fake.clock.advance(20_000);
    expect(asked).to.have.length(2);
    expect(runner.status()[0]).to.include({ abandoned: 1, givenUp: false });
    asked[0]?.answer({ is: 'up' });
    await settle();
    expect(told().at(-1)).to.equal('cp1 down');
    await fake.clock.advance(3_600_000);
    expect(asked.length).to.be.at.most(12);
    expect(runner.status()[0]?.givenUp).to.equal(true);
    for (const check of asked) check.answer({ is: 'up' });
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(11_000);
    expect(runner.status()[0]).to.include({ is: 'up', givenUp: false });
  });

  it("tells a new weight at once, the same one never again, and a monitor's nonsense as unknown", async () => {
    const { fake, runner, configure, facts, told } = lab();
    const { module, script } = scriptedPoll('A');
    configure([module], { rise: 3, fall: 3 });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    const weighting = () => {
      const fact = facts.at(-1);
      return fact?.is === 'health' ? fact.health?.weighting : null;
    };
    script.auto = () => ({ is: 'up', percent: 25, detail: 'load 3' });
    await fake.clock.advance(10_000);
    expect(weighting()).to.include({ percent: 25 });
    const count = facts.length;
    await fake.clock.advance(50_000);
    expect(facts).to.have.length(count);
    script.auto = () => ({ is: 'up', weight: Number.NaN });
    await fake.clock.advance(10_000);
    expect(told().at(-1)).to.equal('cp1 unknown');
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'A: a bug in the monitor: it returned weight NaN');
    expect(weighting()).to.include({ percent: 25 });
  });

  it('takes a throw as down and our own fault as unknown, which freezes what was known', async () => {
    const connect = () => Promise.reject(new SystemError('EMFILE', 'connect'));
    const { fake, runner, configure, facts, told } = lab({ streams: { connect, secure: connect, listen: connect } });
    const { module, asked, script } = scriptedPoll('A');
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    script.auto = null;
    await fake.clock.advance(11_000);
    const check = asked.at(-1);
    // The monitor swallows the error and calls it down: that changes nothing.
    await check?.tools
      .connect({ address: '10.0.0.9', port: 80 }, check.cut)
      .catch(() => check.answer({ is: 'down', reason: 'x' }));
    await settle();
    expect(told().at(-1)).to.equal('cp1 unknown');
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'A: connect: EMFILE');
    expect(facts.at(-1)).to.have.nested.property('health.partial', true);
    await fake.clock.advance(10_000);
    asked.at(-1)?.fail(new Error('boom'));
    await settle();
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'A: boom');
    expect(told().at(-1)).to.equal('cp1 down');
  });

  for (const [code, is] of [
    ['ECONNREFUSED', 'down'],
    ['ETIMEDOUT', 'down'],
    ['EFBIG', 'down'],
    ['ENOTFOUND', 'unknown'],
    ['EMFILE', 'unknown'],
  ] as const) {
    it(`fetches, and takes ${code} as ${is}`, async () => {
      const { fake, runner, configure, told } = lab();
      fake.reply = () => new SystemError(code, 'GET');
      const { module } = scriptedPoll('A');
      const request = { url: 'http://feed.example/', timeoutMs: 1000, maxBytes: 10 };
      const create = (_: unknown, tools: Tools) => ({
        check: async (_target: Target, cut: Cut): Promise<Health> => {
          const { status } = await tools.fetch(request, cut);
          return { is: 'up', detail: String(status) };
        },
      });
      configure([{ ...module, create } as MonitorModule]);
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(1000);
      expect(fake.requests).to.deep.equal([request]);
      expect(told().at(-1)).to.equal(`cp1 ${is}`);
    });
  }

  it('asks how late the event loop was during the check, not lately', async () => {
    const since: number[] = [];
    const self = () => ({ ...fakeSelf(0), stalledSince: (at: number) => (since.push(at), 300) });
    const { fake, runner, configure, told } = lab({ self });
    const { module, asked, script } = scriptedPoll('A', { interval: 10, timeout: 5 });
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(2000);
    asked[0]?.answer({ is: 'down', reason: 'took 1 s', slowByMs: 200 });
    await fake.clock.advance(10_000);
    asked[1]?.answer({ is: 'down', reason: 'took 1 s', slowByMs: 400 });
    await settle();
    expect(since).to.deep.equal(asked.map(({ at }) => at));
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 unknown', 'cp1 down']);
  });

  it('calls a missed deadline unknown when the event loop was late by more than half of it', async () => {
    const { fake, runner, configure, told } = lab({ self: () => fakeSelf(1100) });
    const { module, script } = scriptedPoll('A', { timeout: 2 });
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(4000);
    expect(told().at(-1)).to.equal('cp1 unknown');
  });

  it('runs at most 15 commands of one monitor at once, the rest in turn, and does not blame servers for a turn that never came', async () => {
    let running = 0;
    let most = 0;
    const ends: (() => void)[] = [];
    const run = () =>
      new Promise<CommandResult>((resolve) => {
        most = Math.max(most, ++running);
        ends.push(() => {
          running--;
          resolve({ exitCode: 0, signal: null, timedOut: false, output: '', durationMs: 1, leftovers: 'none' });
        });
      });
    const { fake, runner, configure, told } = lab({ processes: { run } });
    const { module: poll } = scriptedPoll('A', { interval: 600, timeout: 3 });
    const command = { path: '/bin/true', args: [], env: {}, timeoutMs: 0, maxOutputBytes: 0 };
    const module: MonitorModule = {
      ...poll,
      kind: 'poll',
      create: (_, tools) => ({
        check: async (_, cut) =>
          (await tools.run(command, cut)).exitCode === 0 ? { is: 'up' } : { is: 'down', reason: '' },
      }),
    };
    const hosts = Array.from({ length: 40 }, (_, i) => `cp${i}`);
    configure([module], { hosts });
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(1100);
    expect(ends).to.have.length(15);
    for (const end of ends.splice(0)) end();
    await settle();
    expect(ends).to.have.length(15);
    await fake.clock.advance(4000);
    expect(most).to.equal(15);
    expect(told().filter((line) => line.endsWith('up'))).to.have.length(15);
    // 15 never ended, and 10 never began.
    expect(told().filter((line) => line.endsWith('down'))).to.have.length(15);
    expect(told().filter((line) => line.endsWith('unknown'))).to.have.length(10);
  });

  it('combines monitors by AND and keeps one broken monitor to itself', async () => {
    const { fake, runner, configure, facts } = lab();
    const good = scriptedPoll('Good');
    const bad: MonitorModule = {
      ...scriptedPoll('Bad').module,
      create: () => {
        throw new Error('no such thing');
      },
    };
    configure([good.module, bad]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    expect(facts.at(-1)).to.have.nested.property('health.is', 'unknown');
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'Bad: Bad cannot be set up: no such thing');
    expect(good.asked.length).to.be.greaterThan(0);
  });

  it('is up without monitors', () => {
    const { runner, configure, facts } = lab();
    configure([]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    expect(facts.at(-1)).to.have.nested.property('health.is', 'up');
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'no monitors');
  });
});
