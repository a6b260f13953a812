import { expect } from 'chai';
import fc from 'fast-check';
import { Stalls } from '../../../src/lib/stalls.ts';

describe('Stalls', () => {
  it('know how long those since any moment were together, and of one that had begun by then what was left', () => {
    const pauseAndLength = fc.tuple(fc.nat(200), fc.integer({ min: 1, max: 300 }));
    fc.assert(
      fc.property(fc.array(pauseAndLength, { maxLength: 30 }), fc.nat(10_000), (all, since) => {
        const stalls = new Stalls();
        let now = 0;
        let sum = 0;
        let longest = 0;
        for (const [pause, ms] of all) {
          now += pause + ms;
          stalls.add(now, ms);
          if (now <= since) continue;
          const counted = Math.min(ms, now - since);
          longest = Math.max(longest, counted);
          if (ms >= 100) sum += counted;
        }
        expect(stalls.longestSince(since)).to.equal(longest);
        expect(stalls.sumSince(since)).to.equal(Math.max(sum, longest));
      }),
    );
  });

  it('count what is under way as well', () => {
    const stalls = new Stalls();
    stalls.add(1000, 600);
    stalls.add(2000, 600);
    expect(stalls.sumSince(0)).to.equal(1200);
    expect(stalls.sumSince(0, 600)).to.equal(1800);
    expect(stalls.sumSince(2000, 50)).to.equal(50);
  });

  it('do not add up where each is no more than a turn of a loop that is busy', () => {
    const stalls = new Stalls();
    for (let i = 1; i <= 100; i++) stalls.add(i * 60, 40);
    expect(stalls.sumSince(0)).to.equal(40);
  });

  it('hold no more than a thousand, the latest', () => {
    const stalls = new Stalls();
    for (let i = 0; i < 3000; i++) stalls.add(i * 10_000, 9000 - i);
    expect(stalls.sumSince(-10_000)).to.equal(1000 * 9000 - ((2000 + 2999) * 1000) / 2);
    expect(stalls.sumSince(2998 * 10_000)).to.equal(9000 - 2999);
    const short = new Stalls();
    for (let i = 0; i < 3000; i++) short.add(i * 10_000, 90 - i / 100);
    expect(short.sumSince(-10_000)).to.equal(90 - 20);
  });
});
