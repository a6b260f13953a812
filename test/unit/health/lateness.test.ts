import { expect } from 'chai';
import { Lateness } from '../../../src/health/lateness.ts';

describe('Lateness', () => {
  it('counts by the millisecond, what is early as in time', () => {
    const lateness = new Lateness();
    for (const ms of [0, 0.9, 1, 7.5, -3]) lateness.observe(ms);
    expect([...lateness.counts.slice(0, 8)]).to.deep.equal([3, 1, 0, 0, 0, 0, 0, 1]);
  });

  it('has cumulative buckets, and counts what is in none of them', () => {
    const lateness = new Lateness();
    for (const ms of [0.5, 1.5, 4, 49.9, 50, 999.9, 1000, 86_400_000]) lateness.observe(ms);
    const { buckets, count, sumMs } = lateness.histogram();
    expect(buckets.map((bucket) => bucket.count)).to.deep.equal([1, 2, 3, 3, 3, 4, 5, 5, 5, 6]);
    expect(count).to.equal(8);
    expect(sumMs).to.be.closeTo(86_402_105.8, 0.001);
  });
});
