// HealthRunner when configuration and addresses change under its checks.

import { expect } from 'chai';
import { SystemError } from '../../../src/lib/errors.ts';
import type { MonitorModule } from '../../../src/health/monitor.ts';
import { HealthRunner } from '../../../src/health/runner.ts';
import { settle } from '../../support/fake-world.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';
import { addressAt, lab } from '../../support/health-lab.ts';
import { serviceConfig } from '../../support/service-config.ts';

describe('HealthRunner when configuration changes', () => {
  it('leaves unchanged monitors of unchanged hosts alone', async () => {
    const { fake, runner, configure, told } = lab();
    const kept = scriptedPoll('Kept');
    configure([kept.module], { hosts: ['cp1', 'cp2'] });
    for (const [i, host] of ['cp1', 'cp2', 'cp3'].entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(5000);
    const before = runner.status().find(({ host }) => host === 'cp1');
    const said = told().length;
    configure([kept.module], { hosts: ['cp1', 'cp3'] });
    expect(runner.status().find(({ host }) => host === 'cp1')).to.deep.equal(before);
    expect(runner.status().map(({ host }) => host)).to.deep.equal(['cp1', 'cp3']);
    await fake.clock.advance(1000);
    expect(told().slice(said)).to.deep.equal([`cp3 @${addressAt(2)}`, 'cp3 up']);
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

  it('still cannot tell what it could not tell, until the first result, and says so only once', async () => {
    const { fake, runner, configure, told } = lab();
    const { module, script } = scriptedPoll('A');
    const hosts = ['cp1', 'cp2'];
    const warned = () => fake.lines.filter((line) => /cannot tell the health|can tell again/.test(line));
    configure([module], { hosts, options: { url: 'a' } });
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(1000);
    script.auto = () => ({ is: 'unknown', reason: 'ENETUNREACH' });
    await fake.clock.advance(20_000);
    const said = told().length;
    const { since } = runner.status()[0] ?? {};
    configure([module], { hosts, options: { url: 'b' } });
    await fake.clock.advance(20_000);
    expect(told().slice(said)).to.deep.equal([]);
    expect(runner.status().map((check) => check.is)).to.deep.equal(['unknown', 'unknown']);
    expect(runner.status()[0]?.since).to.equal(since);
    expect(warned()).to.have.length(1);
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(11_000);
    expect(told().slice(said)).to.have.members(['cp1 up', 'cp2 up']);
    expect(warned().slice(1)).to.deep.equal(['[text_80] INFO: All checks can tell again']);
  });

  it('counts who cannot tell rightly when some of them go with a reload', async () => {
    const { fake, runner, configure } = lab();
    const { module, script } = scriptedPoll('A');
    const warned = () => fake.lines.filter((line) => /cannot tell the health|can tell again/.test(line));
    script.auto = () => ({ is: 'unknown', reason: 'ENETUNREACH' });
    configure([module], { hosts: ['cp1', 'cp2', 'cp3'], options: { url: 'a' } });
    for (const [i, host] of ['cp1', 'cp2', 'cp3'].entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(1000);
    configure([module], { hosts: ['cp1', 'cp2'], options: { url: 'b' } });
    configure([module], { hosts: ['cp1', 'cp2'], options: { url: 'c' } });
    script.auto = ({ host }) => (host === 'cp1' ? { is: 'up' } : { is: 'unknown', reason: 'ENETUNREACH' });
    await fake.clock.advance(11_000);
    expect(warned()).to.have.length(1);
    configure([module], { hosts: ['cp1'], options: { url: 'c' } });
    script.auto = () => ({ is: 'unknown', reason: 'ENETUNREACH' });
    await fake.clock.advance(11_000);
    script.auto = () => ({ is: 'up' });
    await fake.clock.advance(11_000);
    expect(
      warned()
        .slice(1)
        .map((line) => /cannot tell|can tell again/.exec(line)?.[0]),
    ).to.deep.equal(['cannot tell', 'can tell again']);
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

  it('tells a monitor to let go of the port that it was asked about, not of the one that is asked about now', async () => {
    const { fake, runner } = lab();
    const { module } = scriptedPoll('A');
    const forgotten: string[] = [];
    const forgetting: MonitorModule = {
      ...module,
      create: (options, tools) => ({
        ...module.create(options, tools),
        forget: ({ host, address, port }) => void forgotten.push(`${host} ${address}:${port}`),
      }),
    };
    const config = serviceConfig({ name: 'text_80', monitorsNeeded: 1 });
    const configure = (realPort: number) =>
      runner.configure([
        {
          config: { ...config, realPort },
          monitors: [{ module: forgetting, options: {} }],
          hosts: [{ host: 'cp1', weight: 10, enabled: true }],
        },
      ]);
    configure(8080);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    configure(8081);
    await fake.clock.advance(1000);
    expect(forgotten).to.deep.equal(['cp1 10.0.0.9:8080']);
    configure(8082);
    await settle();
    expect(forgotten.slice(1), 'asked nothing meanwhile: nothing is held').to.deep.equal(['cp1 10.0.0.9:8081']);
    configure(8083);
    await runner.stop();
    expect(forgotten.slice(2)).to.deep.equal([]);
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
