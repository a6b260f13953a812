// HealthRunner with monitors that are not there, or throw where nobody catches.

import { expect } from 'chai';
import type { Fact } from '../../../src/decision/facts.ts';
import type { Cut, Health, StreamHandlers, Target, Tools } from '../../../src/health/monitor.ts';
import { HealthRunner, missingMonitor } from '../../../src/health/runner.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { scriptedPoll, scriptedWatch } from '../../support/scripted-monitor.ts';
import { addressAt, lab } from '../../support/health-lab.ts';

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

  for (const [what, part, happens, reason] of [
    ['throws', false, (on: StreamHandlers) => on.onData(new Uint8Array()), 'a bug in the monitor: boom'],
    ['throws, of a part', true, (on: StreamHandlers) => on.onData(new Uint8Array()), 'a bug in the monitor: boom'],
    ['is lost', false, (on: StreamHandlers) => on.onClose(new SystemError('ENETDOWN', 'read')), 'read: ENETDOWN'],
  ] as const) {
    it(`on a connection that was kept and now ${what}: the check under way is unknown`, async () => {
      const { fake, runner, configure, facts, told } = lab({ streams });
      const { module } = scriptedPoll('A', { interval: 10, timeout: 5 });
      let checks = 0;
      const check = (tools: Tools) => async (_: Target, cut: Cut) => {
        if (++checks === 1) {
          const { cut: own, release } = part ? tools.deadline(cut, 1000) : { cut, release: () => {} };
          const made = await tools.connect({ address: '10.0.0.9', port: 80 }, own);
          release();
          made.on({ onData: boom, onEnd() {}, onDrain() {}, onClose() {} });
        } else if (checks === 2) {
          if (handlers !== null) happens(handlers);
          return { is: 'down', reason: 'the server closed the connection' } as const;
        }
        return { is: 'up' } as const;
      };
      configure([{ ...module, create: (_: unknown, tools: Tools) => ({ check: check(tools) }) }]);
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      await fake.clock.advance(15_000);
      expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up', 'cp1 unknown']);
      expect(facts.at(-1)).to.have.nested.property('health.reason', `A: ${reason}`);
      await fake.clock.advance(10_000);
      expect(told().at(-1), 'and it only').to.equal('cp1 up');
    });
  }

  it('does not mind a kept connection that throws when no check is under way', async () => {
    const { fake, runner, configure, told } = lab({ streams });
    const { module } = scriptedPoll('A', { interval: 10, timeout: 5 });
    const check = (tools: Tools) => async (_: Target, cut: Cut) => {
      const made = await tools.connect({ address: '10.0.0.9', port: 80 }, cut);
      made.on({ onData: boom, onEnd() {}, onDrain() {}, onClose() {} });
      return { is: 'up' } as const;
    };
    configure([{ ...module, create: (_: unknown, tools: Tools) => ({ check: check(tools) }) }]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(2000);
    handlers?.onData(new Uint8Array());
    await fake.clock.advance(20_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 up']);
  });

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

  it('has nothing on the metrics that is no text or no number: the check is unknown, those of other servers are not', async () => {
    const throwing = { toString: boom };
    const bugs: readonly [unknown[], string][] = [
      [['a', 1, { code: 200 }], 'tools.observe: label code is 200, no text: write String(…)'],
      [['a', 1, { code: throwing }], 'tools.observe: label code is something that can not be shown, no text: write'],
      [['a', 1n], 'tools.observe: the value of a is a bigint, no number'],
      [['a', Number.NaN], 'tools.observe: the value of a is NaN, no number'],
      [[5, 1], 'tools.observe: its name is 5, no text'],
      [['a', 1, 'code'], 'tools.observe: what labels a is code, no object'],
    ];
    for (const [given, why] of bugs) {
      const { fake, runner, configure, told } = lab();
      const { module } = scriptedPoll('A', { interval: 10, timeout: 5 });
      const check = (tools: Tools) => async (target: Target) => {
        if (target.host === 'cp1') (tools.observe as (...all: unknown[]) => void)(target, ...given);
        return { is: 'up' } as const;
      };
      configure([{ ...module, create: (_: unknown, tools: Tools) => ({ check: check(tools) }) }], {
        hosts: ['cp1', 'cp2'],
      });
      runner.candidate('text_80', 'cp1', '10.0.0.9');
      runner.candidate('text_80', 'cp2', '10.0.0.10');
      await fake.clock.advance(2000);
      const [one, two] = runner.status();
      expect(one?.last).to.contain(`unknown: a bug in the monitor: ${why}`);
      expect(one?.observations).to.deep.equal([]);
      expect(two?.last).to.equal('up');
      expect(told()).to.include('cp2 up');
    }
  });

  it('keeps labels as they were when it was told of them', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked } = scriptedPoll('A', { interval: 10, timeout: 5 });
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1500);
    const [check] = asked;
    const labels: { code: unknown } = { code: '200' };
    check?.tools.count(check.target, 'seen_total', labels as { code: string });
    labels.code = '503';
    check?.tools.count(check.target, 'seen_total', labels as { code: string });
    labels.code = 503;
    expect(runner.status()[0]?.observations.map((one) => one.labels['code'])).to.deep.equal(['200', '503']);
  });

  it('asks a watch again whose end can not be looked at', async () => {
    const { fake, runner, configure, facts, told } = lab();
    const { module } = scriptedWatch('Idle');
    let started = 0;
    const watch = async (_: unknown, report: (health: Health) => void) => {
      if (++started > 1) report({ is: 'up' });
      return started > 1 ? new Promise<never>(() => {}) : Object.defineProperty({}, 'means', { get: boom });
    };
    configure([{ ...module, create: () => ({ watch: watch as never }) }]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1500);
    expect(facts.at(-1)).to.have.nested.property('health.reason', 'Idle: a bug in the monitor: boom');
    await fake.clock.advance(20_000);
    expect(told()).to.deep.equal(['cp1 @10.0.0.9', 'cp1 unknown', 'cp1 up']);
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
    for (const [i, host] of hosts.entries()) runner.candidate('text_80', host, addressAt(i));
    await fake.clock.advance(60_000);
    const waiting = runner.status().filter(({ last }) => last === 'unknown: too many checks at once');
    expect(waiting).to.have.length(5);
    expect(fake.lines.filter((line) => line.includes('WARN') && line.includes('too many checks'))).to.have.length(1);
  });
});
