import { expect } from 'chai';
import { CheckCut } from '../../../src/health/check-cut.ts';
import { asHealth, judge } from '../../../src/health/judge.ts';
import type { Mono } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const ON_TIME = new FakeWorld().world;
/** This host, whose event loop stood still for so long. */
const late = (ms: number, inAllMs = ms) => ({
  self: () => ({ ...ON_TIME.self(), lateSince: () => ms, stalledSince: () => inAllMs }),
});

describe('The end of a check', () => {
  it('gives a server that was too slow for a while the benefit of the doubt, for as much as was our own', () => {
    const slow = { is: 'down', reason: 'took 0.9 s', slowByMs: 400 };
    const judged = (returned: unknown, lateMs: number, waitedMs = 0) => {
      const cut = new CheckCut();
      cut.waitedMs = waitedMs;
      return judge({ returned, timedOut: false }, cut, late(lateMs), 5000);
    };
    expect(judged(slow, 399)).to.deep.equal({ is: 'down', reason: 'took 0.9 s' });
    expect(judged(slow, 400)).to.deep.equal({
      is: 'unknown',
      reason: 'took 0.9 s, but the event loop was 400 ms late',
    });
    expect(judged(slow, 10, 390)).to.deep.equal({
      is: 'unknown',
      reason: 'took 0.9 s, but the event loop was 10 ms late and the check waited 390 ms for its turn',
    });
    expect(judged({ is: 'down', reason: 'status 503' }, 4000, 4000).is, 'who does not say so').to.equal('down');
    for (const slowByMs of [Number.NaN, -1, 0, '1', null])
      expect(judged({ ...slow, slowByMs }, 4000).is, String(slowByMs)).to.equal('down');
    expect(judged({ ...slow, is: 'up' }, 4000).is).to.equal('up');
  });

  it('counts all stalls together for what was measured, and the longest for who was not heard at all', () => {
    const judged = (returned: unknown, timedOut: boolean) =>
      judge({ returned, timedOut }, new CheckCut(), late(300, 900), 1000);
    expect(judged({ is: 'down', reason: 'took 1.2 s', slowByMs: 700 }, false)).to.deep.equal({
      is: 'unknown',
      reason: 'took 1.2 s, but the event loop was 900 ms late',
    });
    expect(judged({ is: 'down', reason: 'no answer' }, true)).to.deep.equal({ is: 'down', reason: 'no answer' });
  });

  it('takes silence for an answer only when it listened for half of the time', () => {
    const judged = (lateMs: number, given: number) =>
      judge({ returned: { is: 'down', reason: 'no answer' }, timedOut: true }, new CheckCut(), late(lateMs), given);
    expect(judged(500, 1000)).to.deep.equal({ is: 'down', reason: 'no answer' });
    expect(judged(501, 1000)).to.deep.equal({ is: 'unknown', reason: 'the event loop was 501 ms late' });
  });

  it('counts the time in which a check waits for anything of ours, once', () => {
    const cut = new CheckCut(null, 1000 as Mono);
    cut.startWaiting(1000 as Mono);
    cut.startWaiting(1100 as Mono);
    cut.endWaiting(1300 as Mono);
    expect(cut.moreMs(2000 as Mono, 1000), 'while it waits').to.equal(0);
    cut.endWaiting(1400 as Mono);
    cut.startWaiting(1500 as Mono);
    cut.endWaiting(1900 as Mono);
    expect(cut.waitedMs).to.equal(800);
    expect(cut.moreMs(2000 as Mono, 1000)).to.equal(300);
    expect(cut.moreMs(2300 as Mono, 1000)).to.equal(0);
  });

  it('takes no more of a detail than of a reason, and none that is no text', () => {
    const { detail = '' } = asHealth({ is: 'up', detail: 'x'.repeat(100_000), weight: 3 }) as { detail?: string };
    expect(detail).to.have.lengthOf(1001);
    expect(asHealth({ is: 'up', detail: 'fine', weight: 3 })).to.deep.equal({ is: 'up', detail: 'fine', weight: 3 });
    expect(asHealth({ is: 'up', detail: 5 })).to.have.property('is', 'unknown');
  });

  it("keeps nothing that is the monitor's own: each attribute is read once, and what it says later does not count", () => {
    const reads: string[] = [];
    const first = { is: 'up', detail: 'fine', weight: 5, percent: 50, drain: false };
    const fickle = new Proxy(first, {
      get(_, name) {
        if (reads.includes(String(name))) throw new Error('read twice');
        reads.push(String(name));
        return Reflect.get(first, name) as unknown;
      },
    });
    const health = asHealth(fickle);
    expect(reads.sort()).to.deep.equal(['detail', 'drain', 'is', 'percent', 'weight']);
    Object.assign(first, { weight: Number.NaN, detail: 5 });
    expect(health).to.deep.equal({ is: 'up', detail: 'fine', weight: 5, percent: 50, drain: false });
    const down = { is: 'down', reason: 'no', slowByMs: 5 };
    const seen = asHealth(down);
    down.reason = 'yes';
    expect(seen).to.deep.equal({ is: 'down', reason: 'no' });
  });

  it('calls what is against the contract a bug, and knows nothing then', () => {
    const bugs = [
      [undefined, 'no health'],
      [{ is: 'UP' }, 'no health'],
      [{ is: 'up', detail: 5 }, 'a detail that is no text'],
      [{ is: 'up', weight: Number.NaN }, 'weight NaN'],
      [{ is: 'up', percent: '50' }, 'percent 50'],
      [{ is: 'up', drain: 'no' }, 'a drain that is neither true nor false'],
    ] as const;
    for (const [returned, what] of bugs)
      expect(asHealth(returned)).to.deep.equal({ is: 'unknown', reason: `a bug in the monitor: it returned ${what}` });
    expect(asHealth({ is: 'down' })).to.deep.equal({ is: 'down', reason: '(reason unknown)' });
    const { is, reason } = asHealth({ is: 'down', reason: new Error('no') }) as { is: string; reason: string };
    expect(`${is}, ${reason}`, 'it said down').to.equal(
      'down, a bug in the monitor: it returned a reason that is no text',
    );
  });

  it('lets nothing out that a monitor returns or throws, however odd', () => {
    const throws = (): never => {
      throw new Error('boo');
    };
    const odd = Object.defineProperty({ is: 'down' }, 'reason', { get: throws });
    expect(asHealth(odd)).to.deep.equal({ is: 'unknown', reason: 'a bug in the monitor: boo' });
    const drains = Object.defineProperty({ is: 'up' }, 'drain', { get: throws });
    expect(asHealth(drains)).to.deep.equal({ is: 'unknown', reason: 'a bug in the monitor: boo' });
    const health = judge({ threw: { toString: throws }, timedOut: false }, new CheckCut(), ON_TIME, 1000);
    expect(health).to.deep.equal({ is: 'down', reason: 'something that can not be shown' });
  });
});
