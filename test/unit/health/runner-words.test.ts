// What HealthRunner says of its polls: in the log, in numbers, and as PyBal does.

import { expect } from 'chai';
import { HealthRunner } from '../../../src/health/runner.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';
import { addressAt, lab } from '../../support/health-lab.ts';

describe('HealthRunner and what it says', () => {
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

  it('says that a host has no address, once, and keeps the last address after that', () => {
    const { runner, configure, told } = lab();
    configure([scriptedPoll('A').module]);
    runner.candidate('text_80', 'cp1', null);
    runner.candidate('text_80', 'cp1', null);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    runner.candidate('text_80', 'cp1', null);
    expect(told()).to.deep.equal(['cp1 @null', 'cp1 @10.0.0.9']);
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
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
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
});
