// Structural equality of plain data.

import { expect } from 'chai';
import fc from 'fast-check';
import { equal } from '../../../src/lib/equal.ts';

const plain = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(0, -0, 1, Number.NaN, '', 'a', null, undefined, true, false, Number.POSITIVE_INFINITY),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value'), { maxKeys: 3 }),
    fc.array(fc.tuple(fc.constantFrom('a', 'b', 1), tie('value')), { maxLength: 3 }).map((list) => new Map(list)),
    fc.array(fc.constantFrom('a', 'b', 1), { maxLength: 3 }).map((list) => new Set(list)),
  ),
})).value;

describe('lib/equal', () => {
  const different: readonly (readonly [unknown, unknown])[] = [
    [0, -0],
    [1, '1'],
    [null, undefined],
    [null, {}],
    [[], {}],
    [[], new Map()],
    [{}, new Set()],
    [new Map(), new Set()],
    [[1, 2], [1]],
    [{ a: 1 }, { a: 1, b: undefined }],
    [{ a: undefined }, { b: undefined }],
    [new Map([['a', undefined]]), new Map([['b', undefined]])],
    [new Map([['a', 1]]), new Map([['a', 2]])],
    [new Set(['a']), new Set(['b'])],
    [{ toString: 1 }, {}],
  ];
  for (const [a, b] of different) {
    it(`tells ${show(a)} from ${show(b)}`, () => {
      expect(equal(a, b)).to.equal(false);
      expect(equal(b, a)).to.equal(false);
      expect(equal([a], [b])).to.equal(false);
    });
  }

  it('takes not-a-number for itself, and maps in any order for the same', () => {
    expect(equal(Number.NaN, Number.NaN)).to.equal(true);
    const one = new Map<string, unknown>([
      ['a', [1]],
      ['b', new Set([1, 2])],
    ]);
    const other = new Map<string, unknown>([
      ['b', new Set([2, 1])],
      ['a', [1]],
    ]);
    expect(equal(one, other)).to.equal(true);
  });

  it('holds between a value and its copy, and is the same from both sides', () => {
    fc.assert(
      fc.property(plain, plain, (a, b) => {
        expect(equal(a, structuredClone(a))).to.equal(true);
        expect(equal(a, b)).to.equal(equal(b, a));
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});

function show(value: unknown): string {
  if (value instanceof Map || value instanceof Set) return `${value.constructor.name} ${JSON.stringify([...value])}`;
  return Object.is(value, -0) ? '-0' : value === undefined ? 'undefined' : JSON.stringify(value);
}
