// The difference of two keyed tables.

import { expect } from 'chai';
import fc from 'fast-check';
import { diff } from '../../../src/lib/diff.ts';

const table = fc
  .array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(2)), { maxLength: 4 })
  .map((list) => new Map(list));
const same = (a: number, b: number): boolean => a === b;

describe('lib/diff', () => {
  it('applied to what is there gives what is wanted, and touches nothing else', () => {
    fc.assert(
      fc.property(table, table, (actual, desired) => {
        const { add, change, remove } = diff(actual, desired, same);
        const result = new Map(actual);
        for (const [key, value] of remove) {
          expect(result.get(key)).to.equal(value);
          result.delete(key);
        }
        for (const [key, value] of add) {
          expect(result.has(key)).to.equal(false);
          result.set(key, value);
        }
        for (const [key, value] of change) {
          expect(result.get(key)).to.not.be.oneOf([undefined, value]);
          result.set(key, value);
        }
        expect(new Map([...result].sort())).to.deep.equal(new Map([...desired].sort()));
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it('of a table and itself is empty, and asks of values what the caller calls the same', () => {
    fc.assert(
      fc.property(table, (one) => {
        expect(diff(one, new Map(one), same)).to.deep.equal({ add: [], change: [], remove: [] });
      }),
      { numRuns: 100, seed: 2 },
    );
    const near = diff(new Map([['a', 1]]), new Map([['a', 2]]), () => true);
    expect(near.change).to.deep.equal([]);
  });
});
