import { expect } from 'chai';
import fc from 'fast-check';
import { History, KEPT_RESULTS, KEPT_TRANSITIONS } from '../../../src/health/history.ts';
import type { Mono } from '../../../src/world/world.ts';
import { lab } from '../../support/health-lab.ts';
import { scriptedPoll } from '../../support/scripted-monitor.ts';

describe('History', () => {
  it('keeps the last results and transitions, the oldest first, and no more than so many', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ is: fc.constantFrom('up', 'down', 'unknown'), reason: fc.string() }), { maxLength: 60 }),
        (said) => {
          const history = new History();
          for (const [at, { is, reason }] of said.entries()) {
            history.result(at as Mono, is, at / 7, reason);
            history.transition(at as Mono, is, reason);
          }
          const all = said.map(({ is, reason }, at) => ({ at, is, reason }));
          expect(history.results).to.deep.equal(
            all.slice(-KEPT_RESULTS).map((one) => ({ ...one, latencyMs: one.at / 7 })),
          );
          expect(history.transitions).to.deep.equal(all.slice(-KEPT_TRANSITIONS));
        },
      ),
    );
  });

  it('does not keep all that a server had to say', () => {
    const history = new History();
    history.result(1 as Mono, 'down', 1, 'x'.repeat(10_000));
    history.transition(1 as Mono, 'down', 'x'.repeat(10_000));
    expect(history.results[0]?.reason.length).to.be.below(210);
    expect(history.transitions[0]?.reason.length).to.be.below(210);
  });
});

describe('HealthRunner and its history', () => {
  it('tells each result with its latency, and each change of the verdict after rise and fall', async () => {
    const { fake, runner, configure } = lab();
    const { module, asked, script } = scriptedPoll('A', { interval: 10 });
    configure([module], { fall: 2 });
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(1000);
    script.auto = null;
    const before = asked.length;
    while (asked.length === before) await fake.clock.advance(1000);
    await fake.clock.advance(250);
    asked.at(-1)?.answer({ is: 'down', reason: 'no' });
    script.auto = () => ({ is: 'down', reason: 'not again' });
    await fake.clock.advance(10_000);
    const [seen, ...others] = runner.history('cp1');
    expect([others, runner.history('cp2')]).to.deep.equal([[], []]);
    expect(seen).to.include({ service: 'text_80', host: 'cp1', address: '10.0.0.9', candidate: false, monitor: 'A' });
    expect(seen?.results.slice(-3).map(({ is, reason }) => `${is} ${reason}`)).to.deep.equal([
      'up ',
      'down no',
      'down not again',
    ]);
    expect(seen?.results.at(-2)?.latencyMs).to.be.within(250, 1250);
    expect(seen?.transitions.map(({ is, reason }) => `${is} ${reason}`)).to.deep.equal(['up ', 'down not again']);
    expect(seen?.transitions.at(-1)?.at).to.equal(seen?.results.at(-1)?.at);
  });

  it('goes on when the monitor is asked differently', async () => {
    const { fake, runner, configure } = lab();
    const { module } = scriptedPoll('A', { interval: 10 });
    configure([module]);
    runner.candidate('text_80', 'cp1', '10.0.0.9');
    await fake.clock.advance(15_000);
    const before = runner.history('cp1')[0]?.results ?? [];
    configure([module], { options: { other: 1 } });
    await fake.clock.advance(1000);
    const after = runner.history('cp1')[0]?.results ?? [];
    expect(after.slice(0, before.length)).to.deep.equal(before);
    expect(after.length).to.equal(before.length + 1);
  });
});
