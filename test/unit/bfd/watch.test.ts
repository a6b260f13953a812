// Is the daemon alive? The limit, what counts as silence, and what it takes to be believed again.

import { expect } from 'chai';
import { Watch } from '../../../src/bfd/watch.ts';
import { HEARTBEAT_MS } from '../../../src/bfd/types.ts';
import type { Clock, Mono, Wall } from '../../../src/world/world.ts';
import { Scheduler } from '../../sim/scheduler.ts';

function scene(limitMs: number) {
  const scheduler = new Scheduler();
  const clock: Clock = {
    now: () => scheduler.now as Mono,
    wall: () => scheduler.now as Wall,
    at: (delayMs, fn) => scheduler.at(delayMs, fn),
    sleep: () => Promise.reject(new Error('nobody sleeps here')),
  };
  let count = 0;
  let beating = true;
  const beat = (): void => {
    if (beating) count++;
    scheduler.at(HEARTBEAT_MS, beat);
  };
  scheduler.at(HEARTBEAT_MS / 3, beat);
  const told: string[] = [];
  const watch = new Watch(clock, () => count, {
    wedged: (forMs) => told.push(`wedged for ${forMs} at ${Math.round(scheduler.now)}`),
    recovered: () => told.push(`recovered at ${Math.round(scheduler.now)}`),
  });
  watch.start(limitMs);
  return {
    told,
    watch,
    run: (ms: number) => scheduler.run(scheduler.now + ms),
    daemon: (lives: boolean) => {
      beating = lives;
    },
  };
}

describe('BFD watch over the daemon', () => {
  it('says nothing of one that lives', async () => {
    const { told, run } = scene(500);
    await run(60_000);
    expect(told).to.deep.equal([]);
  });
  it('calls it wedged after the limit, once', async () => {
    const { told, run, daemon } = scene(2_000);
    await run(10_000);
    daemon(false);
    await run(30_000);
    expect(told).to.have.length(1);
    expect(told[0]).to.match(/^wedged for 2000 at 12\d\d\d$/);
  });
  it('forgets silence that was shorter than the limit', async () => {
    const { told, run, daemon } = scene(2_000);
    for (let i = 0; i < 20; i++) {
      daemon(false);
      await run(1_800);
      daemon(true);
      await run(200);
    }
    expect(told).to.deep.equal([]);
  });
  it('believes it again after it has lived for as long as the limit', async () => {
    const { told, run, daemon } = scene(1_000);
    daemon(false);
    await run(5_000);
    daemon(true);
    await run(700);
    daemon(false);
    await run(5_000);
    expect(told).to.have.length(1);
    daemon(true);
    await run(1_300);
    expect(told).to.have.length(2);
    expect(told[1]).to.match(/^recovered/);
  });
  it('says nothing when it is told to stop, and takes a new limit while it watches', async () => {
    const { told, run, daemon, watch } = scene(10_000);
    watch.start(1_000);
    daemon(false);
    await run(2_000);
    expect(told).to.have.length(1);
    watch.stop();
    expect(watch.isWedged).to.equal(false);
    daemon(true);
    await run(10_000);
    expect(told).to.have.length(1);
  });
});
