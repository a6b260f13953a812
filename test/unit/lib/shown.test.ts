import { expect } from 'chai';
import fc from 'fast-check';
import { shown } from '../../../src/lib/shown.ts';

describe('What is shown of a value', () => {
  it('is its JSON, cut after 200 characters', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const json = JSON.stringify(value);
        expect(shown(value)).to.equal(json.length > 200 ? `${json.slice(0, 200)}…` : json);
      }),
    );
    expect(shown('x'.repeat(1_000_000))).to.equal(`"${'x'.repeat(199)}…`);
    expect(shown({ ['x'.repeat(1_000_000)]: 1 })).to.equal(`{"${'x'.repeat(198)}…`);
  });

  it('is as much of a value that is too deep for JSON.stringify', () => {
    const deep = (open: string, close: string): unknown =>
      JSON.parse(`${open.repeat(100_000)}1${close.repeat(100_000)}`);
    expect(shown(deep('[', ']'))).to.equal(`${'['.repeat(200)}…`);
    expect(shown(deep('{"a":', '}'))).to.equal(`${'{"a":'.repeat(40)}…`);
  });
});
