import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { Cut, Health, MonitorModule, StreamHandlers, Target, Tools } from '../../../src/health/monitor.ts';
import { HealthRunner, missingMonitor } from '../../../src/health/runner.ts';
import type { CommandResult, World } from '../../../src/world/world.ts';
import { FakeWorld, settle } from '../../support/fake-world.ts';
import { scriptedPoll, scriptedWatch } from '../../support/scripted-monitor.ts';
import { lab } from '../../support/health-lab.ts';
import { serviceConfig } from '../../support/service-config.ts';

describe('HealthRunner with polls', () => {
  it('tells the first address at once and health after the first result, within a second', async () => {
    const { fake, runner, configure, told } = lab();
    configure([scriptedPoll('A').module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    expect(told()).to.deep.equal(['cp1 @10.0.0.9']);
    await fake.clock.advance(1000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

  it('counts how late each check starts', async () => {
    const { fake, runner, configure } = lab();
    configure([scriptedPoll('A').module], { hosts: ['cp1', 'cp2'] });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(60_000);
    const { count } = runner.lateness.histogram();
    const started = runner.status()[0]?.results.up ?? 0;
    expect(started).to.be.above(3);
    expect(count).to.equal(started);
  });

  it('remembers an address that came before its host', async () => {
    const { fake, runner, configure, told } = lab();
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    configure([scriptedPoll('A').module]);
    await fake.clock.advance(1000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

  it('says that a host has no address, once, and keeps the last address after that', () => {
    const { runner, configure, told } = lab();
    configure([scriptedPoll('A').module]);
    runner.candidate('text_80', 'cp1', null);
    runner.candidate('text_80', 'cp1', null);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    runner.candidate('text_80', 'cp1', null);
    expect(told()).to.deep.equal(['cp1 @null', 'cp1 @10.0.0.9']);
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
      for (const host of hosts) runner.candidate('text_80', host, '10.0.0.9');
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
    expect(runner.status()[0]?.abandoned).to.equal(1);
    asked[0]?.answer({ is: 'up' });
    await settle();
    expect(told().at(-1)).to.equal('cp1 down');
    await fake.clock.advance(3_600_000);
    expect(asked.length).to.be.at.most(12);
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
    script.auto = () => ({ is: 'up', percent: 25, detail: `load ${facts.length}` });
    await fake.clock.advance(10_000);
    expect(weighting()).to.include({ percent: 25 });
    const count = facts.length;
    await fake.clock.advance(50_000);
    expect(facts).to.have.length(count);
    script.auto = () => ({ is: 'up', weight: Number.NaN });
    await fake.clock.advance(10_000);
    expect(told().at(-1)).to.equal('cp1 unknown');
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'A: the monitor returned weight NaN');
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

  it('calls a missed deadline unknown when the event loop was later than that', async () => {
    const { fake, runner, configure, told } = lab({ self: () => ({ loopLateMs: 2500, kernelId: '', addresses: [] }) });
    const { module, script } = scriptedPoll('A', { timeout: 2 });
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(4000);
    expect(told().at(-1)).to.equal('cp1 unknown');
  });

  it('logs as PyBal does, once per transition', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('ProxyFetch');
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    script.auto = () => ({ is: 'down', reason: '503 Service Unavailable' });
    await fake.clock.advance(30_000);
    const last = asked.at(-1);
    last?.tools.log('warn', last.target, 'Fetch failed (http://x/), 5.004 s');
    expect(fake.lines.filter((line) => !line.includes('INFO'))).to.deep.equal([
      '[text_80] ERROR: Monitoring instance ProxyFetch reports server cp1 (enabled/up/pooled) down: 503 Service Unavailable',
      '[text_80 ProxyFetch] WARN: cp1 (enabled/up/pooled): Fetch failed (http://x/), 5.004 s',
    ]);
  });

  it('says once per service that checks cannot tell, and once that they can again', async () => {
    const { fake, runner, configure } = lab();
    const { module, script } = scriptedPoll('A');
    const hosts = ['cp1', 'cp2', 'cp3'];
    configure([module], { hosts });
    for (const host of hosts) runner.candidate('text_80', host, '10.0.0.9');
    await fake.clock.advance(1000);
    const said = fake.lines.length;
    script.auto = () => ({ is: 'unknown', reason: 'EMFILE' });
    await fake.clock.advance(30_000);
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(11_000);
    const lines = fake.lines.slice(said).filter((line) => !line.includes('DEBUG') && !line.endsWith('is up'));
    expect(lines).to.have.length(2);
    expect(lines[0]).to.match(
      /^\[text_80\] WARN: Monitoring instance A cannot tell the health of server cp\d \(enabled\/up\/pooled\): EMFILE$/,
    );
    expect(lines[1]).to.equal('[text_80] INFO: All checks can tell again');
  });

  it('runs at most 16 commands at once, the rest in turn, and does not blame servers for a turn that never came', async () => {
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
    for (const host of hosts) runner.candidate('text_80', host, '10.0.0.9');
    await fake.clock.advance(1100);
    expect(ends).to.have.length(16);
    for (const end of ends.splice(0)) end();
    await settle();
    expect(ends).to.have.length(16);
    await fake.clock.advance(4000);
    expect(most).to.equal(16);
    expect(told().filter((line) => line.endsWith('up'))).to.have.length(16);
    // 16 never ended, and 8 never began.
    expect(told().filter((line) => line.endsWith('down'))).to.have.length(16);
    expect(told().filter((line) => line.endsWith('unknown'))).to.have.length(8);
  });

  it('counts results and transitions, and keeps the measurements of each server until it is gone', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('ProxyFetch');
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    script.auto = () => ({ is: 'down', reason: '503' });
    await fake.clock.advance(30_000);
    const check = asked.at(-1);
    for (const value of [0.5, 0.25]) {
      check?.tools.observe(check.target, 'request_duration_seconds', value, { result: 'failed' });
      check?.tools.count(check.target, 'tries_total');
    }
    const [status] = runner.status();
    expect(status?.transitions).to.deep.equal({ up: 1, down: 1 });
    expect(status?.results).to.deep.equal({ up: 1, down: asked.length - 1, unknown: 0 });
    expect(status).to.include({
      service: 'text_80',
      host: 'cp1',
      monitor: 'ProxyFetch',
      is: 'down',
      last: 'down: 503',
    });
    const labels = { service: 'text_80', host: 'cp1', monitor: 'ProxyFetch' };
    expect(status?.observations).to.deep.equal([
      {
        metric: 'pybal_monitor_proxyfetch_request_duration_seconds',
        kind: 'gauge',
        labels: { ...labels, result: 'failed' },
        value: 0.25,
      },
      { metric: 'pybal_monitor_proxyfetch_tries_total', kind: 'counter', labels, value: 2 },
    ]);
    for (let i = 0; i < 1000; i++) check?.tools.count(check.target, 'flood', { i: String(i) });
    expect(runner.status()[0]?.observations).to.have.length(200);
    configure([module], { hosts: [] });
    check?.tools.count(check.target, 'tries_total');
    expect(runner.status()).to.deep.equal([]);
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

describe('HealthRunner when configuration changes', () => {
  it('leaves unchanged monitors of unchanged hosts alone', async () => {
    const { fake, runner, configure, told } = lab();
    const kept = scriptedPoll('Kept');
    configure([kept.module], { hosts: ['cp1', 'cp2'] });
    for (const host of ['cp1', 'cp2', 'cp3']) runner.candidate('text_80', host, '10.0.0.9');
    await fake.clock.advance(5000);
    const before = runner.status().find(({ host }) => host === 'cp1');
    const said = told().length;
    configure([kept.module], { hosts: ['cp1', 'cp3'] });
    expect(runner.status().find(({ host }) => host === 'cp1')).to.deep.equal(before);
    expect(runner.status().map(({ host }) => host)).to.deep.equal(['cp1', 'cp3']);
    await fake.clock.advance(1000);
    expect(told().slice(said)).to.deep.equal(['cp3 @10.0.0.9', 'cp3 up']);
    expect(kept.script.created).to.equal(1);
  });

  it('restarts only the monitor whose options changed, and keeps its verdict until it has another', async () => {
    const { fake, runner, configure, told } = lab();
    const one = scriptedPoll('One');
    const asked = () => runner.status().map(({ monitor, results }) => `${monitor} ${results.up > 0 ? 'asked' : 'new'}`);
    configure([one.module], { options: { url: 'a' }, fall: 3 });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    configure([one.module], { options: { url: 'b' }, fall: 3 });
    expect(asked()).to.deep.equal(['One new']);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
    one.script.auto = () => ({ is: 'down', reason: 'b is broken' });
    await fake.clock.advance(1000);
    expect(told().at(-1)).to.equal('cp1 down');
  });

  it('hands a new weight to the next check without starting again', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked } = scriptedPoll('A');
    const config = serviceConfig({ name: 'text_80', monitorsNeeded: 1 });
    const monitors = [{ module, options: {} }];
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    runner.configure([{ config, monitors, hosts: [{ host: 'cp1', weight: 3, enabled: false }] }]);
    await fake.clock.advance(11_000);
    expect(asked.at(-1)?.target.weight).to.equal(3);
    expect(asked.at(-1)?.target.port).to.equal(80);
  });

  it('asks again when the port changes, and forgets addresses when the family does', async () => {
    const { fake, runner, told } = lab();
    const { module, asked } = scriptedPoll('A');
    const monitors = [{ module, options: {} }];
    const hosts = [{ host: 'cp1', weight: 10, enabled: true }];
    const config = serviceConfig({ name: 'text_80', monitorsNeeded: 1 });
    runner.configure([{ config, monitors, hosts }]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    runner.configure([{ config: { ...config, port: 81, realPort: 81 }, monitors, hosts }]);
    await fake.clock.advance(1000);
    expect(asked.at(-1)?.target.port).to.equal(81);
    runner.configure([{ config: { ...config, vip: '2001:db8::1', family: 6 }, monitors, hosts }]);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up', 'cp1 @null', 'cp1 none']);
    const count = asked.length;
    await fake.clock.advance(20_000);
    expect(asked).to.have.length(count);
    runner.candidate('text_80', 'cp1', '2001:db8::9');
    await fake.clock.advance(1000);
    expect(told().slice(4)).to.deep.equal(['cp1 @2001:db8::9', 'cp1 up']);
  });

  it('reports nothing of what was removed or stopped, cuts it, and leaves no timer behind', async () => {
    const { fake, runner, configure, facts } = lab();
    const { module, asked, script } = scriptedPoll('A');
    script.auto = null;
    configure([module], { hosts: ['cp1', 'cp2'] });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    runner.candidate('text_80', 'cp2', '10.0.0.8');
    await fake.clock.advance(1000);
    const said = facts.length;
    configure([module], { hosts: ['cp2'] });
    expect(asked.find(({ target }) => target.host === 'cp1')?.cut.aborted).to.equal(true);
    const stopped = runner.stop();
    for (const { answer } of asked) answer({ is: 'up' });
    await settle();
    await stopped;
    expect(facts).to.have.length(said);
    await fake.clock.advance(60_000);
    expect(asked).to.have.length(2);
    expect(fake.clock.pending).to.equal(0);
  });

  it('tells a monitor which targets it will not be asked about any more, after the last check of each', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('A');
    const forgotten: string[] = [];
    const forgetting: MonitorModule = {
      ...module,
      create: (options, tools) => ({
        ...module.create(options, tools),
        forget({ host, address }) {
          forgotten.push(`${host} ${address}`);
          throw new Error('a bug');
        },
      }),
    };
    script.auto = null;
    configure([forgetting], { hosts: ['cp1', 'cp2'] });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    runner.candidate('text_80', 'cp2', '10.0.0.8');
    await fake.clock.advance(1000);
    configure([forgetting], { hosts: ['cp2'] });
    await settle();
    expect(forgotten).to.deep.equal([]);
    for (const { answer } of asked) answer({ is: 'up' });
    await settle();
    expect(forgotten).to.deep.equal(['cp1 10.0.0.9']);
    runner.candidate('text_80', 'cp2', '10.0.0.7');
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(20_000);
    expect(forgotten.slice(1)).to.deep.equal(['cp2 10.0.0.8']);
    await runner.stop();
    expect(forgotten.slice(2)).to.deep.equal(['cp2 10.0.0.7']);
  });

  it('does not tell a monitor to let go of what a new check of the same server may hold', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('A');
    let forgotten = 0;
    const forgetting: MonitorModule = {
      ...module,
      create: (options, tools) => ({ ...module.create(options, tools), forget: () => void forgotten++ }),
    };
    script.auto = null;
    configure([forgetting], { hosts: ['cp1'] });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    configure([forgetting], { hosts: [] });
    configure([forgetting], { hosts: ['cp1'] });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    expect(asked).to.have.length(2);
    asked[0]?.answer({ is: 'up' });
    await settle();
    expect(forgotten).to.equal(0);
    asked[1]?.answer({ is: 'up' });
    configure([forgetting], { hosts: [] });
    await settle();
    expect(forgotten).to.equal(1);
  });

  for (const [what, broken, reason] of [
    ['no check', { create: () => ({}) as never }, 'create returned nothing that has check'],
    ['nothing at all', { create: () => null as never }, 'create returned nothing that has check'],
    ['no interval', { timing: () => ({ intervalSeconds: 0, timeoutSeconds: 1 }) }, 'its interval is 0'],
    [
      'an odd interval',
      { timing: () => ({ intervalSeconds: Number.NaN, timeoutSeconds: 1 }) },
      'timing says intervalSeconds NaN',
    ],
    ['an odd timeout', { timing: () => ({ intervalSeconds: 1, timeoutSeconds: -1 }) }, 'timing says timeoutSeconds -1'],
  ] as const)
    it(`does not blame a server for a monitor that makes ${what}`, async () => {
      const { fake, runner, configure, told } = lab();
      configure([{ ...scriptedPoll('A').module, ...broken }]);
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(2000);
      expect(told()).to.not.include('down');
      expect(fake.lines.join('\n')).to.contain(`A cannot be set up: ${reason}`);
    });

  it('tells of a monitor that never closes its connections', async () => {
    const at = { address: '10.0.0.9', port: 80 };
    const stream = { on() {}, write: () => true, end() {}, pause() {}, resume() {}, close() {}, local: at, remote: at };
    const refused = async () => Promise.reject(new SystemError('ENOSYS', 'listen'));
    const streams = { connect: async () => stream, secure: refused, listen: refused };
    const { fake, runner, configure } = lab({ streams });
    const { module } = scriptedPoll('Leaky', { interval: 1 });
    const leaking: MonitorModule = {
      ...module,
      create: (_, tools) => ({
        async check({ address, port }, cut) {
          for (let i = 0; i < 50; i++) await tools.connect({ address, port }, cut);
          return { is: 'up' };
        },
      }),
    };
    configure([leaking], { hosts: ['cp1'] });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(5500);
    expect(runner.bugs()).to.deep.equal([]);
    await fake.clock.advance(10_000);
    const [bug] = runner.bugs();
    expect(bug?.monitor).to.equal('monitor Leaky');
    expect(bug?.last).to.match(/^\d+ connections and sockets open for 1 server\(s\): it does not close them$/);
    expect(bug?.count).to.be.below(4);
  });

  it('does not wait for ever for a check that ignores being stopped', async () => {
    const { fake, runner, configure } = lab();
    const { module, script } = scriptedPoll('A');
    script.auto = null;
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    let over = false;
    void runner.stop().then(() => {
      over = true;
    });
    await fake.clock.advance(1900);
    expect(over).to.equal(false);
    await fake.clock.advance(200);
    expect(over).to.equal(true);
  });
});

describe('HealthRunner when an address changes', () => {
  it('uses the new one only when it is up, and the old one until then', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, script } = scriptedPoll('A');
    let newIsUp = false;
    script.auto = ({ address }) =>
      address === '10.0.0.9' || newIsUp ? { is: 'up' } : { is: 'down', reason: 'not yet' };
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    runner.candidate('text_80', 'cp1', '10.0.0.7');
    await fake.clock.advance(20_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
    expect(runner.status().map(({ address, candidate }) => [address, candidate])).to.deep.equal([
      ['10.0.0.9', false],
      ['10.0.0.7', true],
    ]);
    newIsUp = true;
    await fake.clock.advance(10_000);
    expect(told().at(2)).to.equal('cp1 @10.0.0.7');
    expect(told().filter((line) => line.includes('down'))).to.deep.equal([]);
    expect(runner.status()).to.have.length(1);
  });

  it('switches at once when the old one is not up, or ceases to be', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, script } = scriptedPoll('A');
    let oldIsUp = true;
    script.auto = ({ address }) => (address === '10.0.0.9' && oldIsUp ? { is: 'up' } : { is: 'down', reason: 'no' });
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    runner.candidate('text_80', 'cp1', '10.0.0.7');
    await fake.clock.advance(2000);
    oldIsUp = false;
    await fake.clock.advance(11_000);
    expect(told().slice(2)).to.deep.equal(['cp1 down', 'cp1 @10.0.0.7']);
    runner.candidate('text_80', 'cp1', '10.0.0.6');
    expect(told().at(-1)).to.equal('cp1 unknown');
    expect(told().at(-2)).to.equal('cp1 @10.0.0.6');
  });

  it('forgets the new one when the resolver returns to the old one', async () => {
    const { fake, runner, configure, told } = lab();
    configure([scriptedPoll('A').module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    runner.candidate('text_80', 'cp1', '10.0.0.7');
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(20_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });
});

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
    expect(runner.status()[0]).to.include({ abandoned: 10, is: 'down' });
    watched[3]?.end('unchanged');
    for (let waited = 0; waited < 400 && watched.length < 11; waited += 10) await fake.clock.advance(10_000);
    expect(watched).to.have.length(11);
    watched[10]?.report({ is: 'up' });
    expect(runner.status()[0]?.is).to.equal('up');
  });

  it('does not blame the server for a deadline that passed while nobody looked', async () => {
    const { fake, runner, configure, told } = lab({
      self: () => ({ loopLateMs: 40_000, kernelId: '', addresses: [] }),
    });
    configure([scriptedWatch('Idle').module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(32_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 unknown']);
    expect(runner.status()[0]?.last).to.equal('unknown: the event loop was 40000 ms late');
  });
});

describe('HealthRunner without a module', () => {
  it('knows nothing of the server, and says why', async () => {
    const { fake, runner, configure, told, facts } = lab();
    configure([missingMonitor('Mine', 'its file is not there')]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(10_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 unknown']);
    const { health } = facts.at(-1) as Fact & { is: 'health' };
    expect(health?.reason).to.equal('Mine: Mine cannot be set up: its file is not there');
    expect(fake.lines).to.include('[text_80] ERROR: Mine cannot be set up: its file is not there');
  });
});

describe('HealthRunner with a monitor that throws where nobody catches', () => {
  /** A poll whose checks never end by themselves, and one that `act` makes of each. */
  const broken = (act: (tools: Tools, cut: Cut) => unknown) => {
    const { module } = scriptedPoll('A', { interval: 10, timeout: 5 });
    return {
      ...module,
      create: (_: unknown, tools: Tools) => ({
        check: (_target: Target, cut: Cut) => new Promise<Health>(() => act(tools, cut)),
      }),
    };
  };
  const boom = () => {
    throw new TypeError('boom');
  };
  const asyncBoom: unknown = async () => boom();
  let handlers: StreamHandlers | null = null;
  const stream = {
    ...{ local: { address: '', port: 0 }, remote: { address: '', port: 0 }, write: () => true },
    ...{ end() {}, pause() {}, resume() {}, close() {}, on: (given: StreamHandlers) => void (handlers = given) },
  };
  const no = () => Promise.reject(new Error('no'));
  const streams = { connect: async () => stream, secure: no, listen: no };

  for (const [where, act] of [
    ['a timer', (tools: Tools) => tools.clock.at(100, boom)],
    ['an async timer', (tools: Tools) => tools.clock.at(100, asyncBoom as () => void)],
    [
      'a stream',
      async (tools: Tools, cut: Cut) => {
        const made = await tools.connect({ address: '10.0.0.9', port: 80 }, cut);
        made.on({ onData: boom, onEnd() {}, onDrain() {}, onClose() {} });
        handlers?.onData(new Uint8Array());
      },
    ],
    [
      'an abort',
      (tools: Tools, cut: Cut) => {
        cut.onAbort(boom);
        tools.clock.at(100, boom);
      },
    ],
  ] as const) {
    it(`in ${where}: the check is unknown, long before its deadline`, async () => {
      const { fake, runner, configure, facts, told } = lab({ streams });
      configure([broken(act)]);
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(1500);
      expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 unknown']);
      expect(facts.at(-1)).to.have.nested.property('health.reason', 'A: a bug in the monitor: boom');
      await fake.clock.advance(120_000);
      expect(told().filter((line) => line !== 'cp1 unknown')).to.deep.equal(['cp1 @10.0.0.9']);
      expect(runner.status()[0]?.abandoned).to.be.greaterThan(1);
    });
  }

  it('cuts a watch, which is tried again', async () => {
    const { fake, runner, configure, told } = lab();
    const { module } = scriptedWatch('Idle');
    let started = 0;
    const watch = (tools: Tools) => (_: unknown, report: (health: Health) => void) => {
      report({ is: 'up' });
      if (++started === 1) tools.clock.at(100, boom);
      return new Promise<never>(() => {});
    };
    configure([{ ...module, create: (_: unknown, tools: Tools) => ({ watch: watch(tools) }) }]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(20_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up', 'cp1 unknown', 'cp1 up']);
  });

  it('says that a check waits for its turn longer than its interval', async () => {
    const hosts = Array.from({ length: 20 }, (_, i) => `cp${i}`);
    const processes = { run: () => new Promise<never>(() => {}) };
    const { fake, runner, configure } = lab({ processes });
    const command = { path: '/x', args: [], env: {}, timeoutMs: 0, maxOutputBytes: 0 };
    const poll = scriptedPoll('Run', { interval: 10, timeout: 0 }).module;
    const check = (tools: Tools) => async (_: unknown, cut: Cut) =>
      tools.run(command, cut).then(() => ({ is: 'up' as const }));
    configure([{ ...poll, create: (_: unknown, tools: Tools) => ({ check: check(tools) }) }], { hosts });
    for (const host of hosts) runner.candidate('text_80', host, '10.0.0.9');
    await fake.clock.advance(60_000);
    const waiting = runner.status().filter(({ last }) => last === 'unknown: too many checks at once');
    expect(waiting).to.have.length(4);
    expect(fake.lines.filter((line) => line.includes('WARN') && line.includes('too many checks'))).to.have.length(1);
  });
});

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
    for (const host of hosts) it.runner.candidate('text_80', host, '10.0.0.9');
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
