import { expect } from 'chai';
import fc from 'fast-check';
import { Claims } from '../../../src/pools/claims.ts';

describe('addresses within a service', () => {
  it('Of two hosts on one address the second in list order goes without, whichever was resolved first.', () => {
    const claims = new Claims();
    claims.list(['a', 'b']);
    expect(claims.set('b', '10.0.0.1')).to.deep.equal(['b']);
    expect(claims.get('b')).to.deep.equal({ address: '10.0.0.1', rival: null });
    expect([...claims.set('a', '10.0.0.1')].sort()).to.deep.equal(['a', 'b']);
    expect(claims.get('a')).to.deep.equal({ address: '10.0.0.1', rival: null });
    expect(claims.get('b')).to.deep.equal({ address: null, rival: 'a' });
  });

  it('The second inherits when the first leaves the list, or moves.', () => {
    for (const leave of [(claims: Claims) => claims.list(['b']), (claims: Claims) => claims.set('a', '10.0.0.2')]) {
      const claims = new Claims();
      claims.list(['a', 'b']);
      claims.set('a', '10.0.0.1');
      claims.set('b', '10.0.0.1');
      expect(leave(claims)).to.include('b');
      expect(claims.get('b')).to.deep.equal({ address: '10.0.0.1', rival: null });
    }
  });

  it('Claims depend on the list and the last answers only, no address is given twice, and every change is told.', () => {
    const host = fc.constantFrom('a', 'b', 'c', 'd');
    const address = fc.constantFrom('10.0.0.1', '10.0.0.2', null);
    const act = fc.oneof(fc.record({ list: fc.shuffledSubarray(['a', 'b', 'c', 'd']) }), fc.record({ host, address }));
    fc.assert(
      fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
        const claims = new Claims();
        let list: readonly string[] = ['a', 'b', 'c', 'd'];
        claims.list(list);
        const answers = new Map<string, string | null>();
        const known = new Map<string, string | null>();
        for (const act of acts) {
          let told: readonly string[];
          if ('list' in act) {
            list = act.list;
            for (const gone of [...answers.keys()]) if (!list.includes(gone)) answers.delete(gone);
            told = claims.list(list);
          } else {
            if (!list.includes(act.host)) continue;
            answers.set(act.host, act.address);
            told = claims.set(act.host, act.address);
          }
          for (const each of told) known.set(each, claims.get(each)?.address ?? null);
          const taken = new Set<string>();
          for (const each of list) {
            const wanted = answers.get(each) ?? null;
            const expected = wanted !== null && !taken.has(wanted) ? wanted : null;
            if (expected !== null) taken.add(expected);
            expect(claims.get(each)?.address ?? null, each).to.equal(expected);
            expect(known.get(each) ?? null, `told of ${each}`).to.equal(expected);
          }
          for (const each of [...known.keys()]) if (!list.includes(each)) known.delete(each);
        }
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});
