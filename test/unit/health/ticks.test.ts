import { expect } from 'chai';
import { TICK_MS, Ticks } from '../../../src/health/ticks.ts';
import type { Clock } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';

function lab() {
  const { clock, world } = new FakeWorld();
  let timers = 0;
  const counting: Clock = {
    ...world.clock,
    now: () => world.clock.now(),
    at(delayMs, fn) {
      timers++;
      return world.clock.at(delayMs, fn);
    },
  };
  const said: string[] = [];
  const start = world.clock.now();
  const say = (what: string) => () => void said.push(`${what} at ${world.clock.now() - start}`);
  return { clock, ticks: new Ticks(counting), said, say, timers: () => timers };
}

describe('Ticks', () => {
  it('does what is due at about the same time in one turn, never early', async () => {
    const { clock, ticks, said, say, timers } = lab();
    ticks.at(11, say('a'));
    ticks.at(20, say('b'));
    ticks.at(20.5, say('c'));
    await clock.advance(100);
    expect(said).to.deep.equal(['a at 20', 'b at 20', 'c at 40']);
    expect(timers()).to.equal(2);
  });

  it('does not do what was cancelled, also by what is done in the same tick', async () => {
    const { clock, ticks, said, say } = lab();
    let cancel = () => {};
    ticks.at(5, () => cancel());
    cancel = ticks.at(5, say('never'));
    ticks.at(500, say('never either'))();
    ticks.at(500, say('kept'));
    await clock.advance(1000);
    cancel();
    expect(said).to.deep.equal(['kept at 500']);
  });

  it('gives what is added at its very time a turn of its own', async () => {
    const { clock, ticks, said, say } = lab();
    let left = 3;
    const again = () => {
      say('again')();
      if (--left > 0) ticks.at(0, again);
    };
    ticks.at(TICK_MS, again);
    ticks.at(TICK_MS, say('other'));
    await clock.advance(TICK_MS);
    expect(said).to.deep.equal(['again at 20', 'other at 20', 'again at 20', 'again at 20']);
  });
});
