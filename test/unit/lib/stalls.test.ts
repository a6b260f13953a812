import { expect } from 'chai';
import fc from 'fast-check';
import { Stalls } from '../../../src/lib/stalls.ts';

describe('Stalls', () => {
  it('know the longest since any moment, and of one that had begun by then what was left', () => {
    const pauseAndLength = fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 50 }));
    fc.assert(
      fc.property(fc.array(pauseAndLength, { maxLength: 30 }), fc.nat(1500), (all, since) => {
        const stalls = new Stalls();
        let now = 0;
        let longest = 0;
        for (const [pause, ms] of all) {
          now += pause + ms;
          stalls.add(now, ms);
          if (now > since) longest = Math.max(longest, Math.min(ms, now - since));
        }
        expect(stalls.longestSince(since)).to.equal(longest);
      }),
    );
  });

  it('hold no more than a thousand, the latest', () => {
    const stalls = new Stalls();
    for (let i = 0; i < 3000; i++) stalls.add(i * 10_000, 9000 - i);
    expect(stalls.longestSince(-10_000)).to.equal(9000 - 2000);
    expect(stalls.longestSince(2998 * 10_000)).to.equal(9000 - 2999);
  });
});
