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
  const ticks = new Ticks(counting);
  const at = (delayMs: number, fn: () => void, slackMs = 0) => {
    const alarm = ticks.alarm({ onAlarm: fn });
    alarm.set(delayMs, slackMs);
    return () => alarm.clear();
  };
  return { clock, ticks, at, said, say, timers: () => timers };
}

describe('Ticks', () => {
  it('does what is due at about the same time in one turn, never early', async () => {
    const { clock, at, said, say, timers } = lab();
    at(11, say('a'));
    at(20, say('b'));
    at(20.5, say('c'));
    await clock.advance(100);
    expect(said).to.deep.equal(['a at 20', 'b at 20', 'c at 40']);
    expect(timers()).to.equal(2);
  });

  it('does not do what was cancelled, also by what is done in the same tick', async () => {
    const { clock, at, said, say } = lab();
    let cancel = () => {};
    at(5, () => cancel());
    cancel = at(5, say('never'));
    at(500, say('never either'))();
    at(500, say('kept'));
    await clock.advance(1000);
    cancel();
    expect(said).to.deep.equal(['kept at 500']);
  });

  it('lets others have their turn where much is due', async () => {
    const { clock, at, said, say } = lab();
    let rung = 0;
    const long = () => {
      // What the first of them asked for is answered soon.
      if (rung++ === 0) clock.at(0, () => void said.push(`heard after ${rung}`));
      clock.spend(1);
    };
    for (let i = 0; i < 100; i++) at(5, long);
    for (let i = 0; i < 100; i++) at(25, long);
    // Due since the 40th ms, and not rung yet when it is cancelled.
    const cancel = at(25, say('never'));
    at(30, () => void said.push(`the last after ${rung}`));
    clock.at(50, cancel);
    await clock.advance(1000);
    expect(said).to.deep.equal(['heard after 20', 'the last after 200']);
  });

  it('gives what is added at its very time a turn of its own', async () => {
    const { clock, at, said, say } = lab();
    let left = 3;
    const again = () => {
      say('again')();
      if (--left > 0) at(0, again);
    };
    at(TICK_MS, again);
    at(TICK_MS, say('other'));
    await clock.advance(TICK_MS);
    expect(said).to.deep.equal(['again at 20', 'other at 20', 'again at 20', 'again at 20']);
  });

  /** So many alarms a second, for two seconds and a bit. */
  async function busy(ticking: ReturnType<typeof lab>, perSecond: number) {
    for (let i = 0; i < 2.2 * perSecond; i++) ticking.at((i * 1000) / perSecond, () => {});
    await ticking.clock.advance(2200);
    return ticking;
  }

  it('lets what can wait share ticks that are further apart', async () => {
    const { clock, at, said, say } = await busy(lab(), 100);
    at(11, say('patient'), 100);
    at(12, say('less patient'), 50);
    at(13, say('impatient'), 20);
    await clock.advance(200);
    expect(said).to.deep.equal(['impatient at 2220', 'less patient at 2250', 'patient at 2300']);
  });

  it('keeps ticks close where many would share one, and before anybody knows how many', async () => {
    const fresh = lab();
    fresh.at(11, fresh.say('patient'), 100);
    await fresh.clock.advance(200);
    expect(fresh.said).to.deep.equal(['patient at 20']);
    for (const [perSecond, rings] of [
      [3000, 2250],
      [5000, 2220],
    ] as const) {
      const { clock, at, said, say } = await busy(lab(), perSecond);
      at(11, say('patient'), 100);
      await clock.advance(200);
      expect(said).to.deep.equal([`patient at ${rings}`]);
    }
  });

  it('makes no burst of what is added where few have rung', async () => {
    const { clock, at, said, say } = await busy(lab(), 100);
    for (let i = 0; i < 600; i++) at(11, say('new'), 100);
    await clock.advance(200);
    const times = [2220, 2250, 2300].map((time) => said.filter((what) => what === `new at ${time}`).length);
    expect(times).to.deep.equal([100, 250, 250]);
  });
});
