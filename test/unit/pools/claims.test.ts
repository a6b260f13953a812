import { expect } from 'chai';
import fc from 'fast-check';
import { Claims } from '../../../src/pools/claims.ts';

const ONE = '10.0.0.1';

function claimsOf(hosts: readonly string[]): Claims {
  const claims = new Claims();
  claims.list(hosts);
  return claims;
}

describe('addresses within a service', () => {
  it('Of two hosts on one address the second goes without, and says because of whom.', () => {
    const claims = claimsOf(['a', 'b']);
    claims.set('a', ONE);
    expect(claims.set('b', ONE)).to.deep.equal(['b']);
    expect(claims.get('a')).to.deep.equal({ address: ONE, rival: null });
    expect(claims.get('b')).to.deep.equal({ address: null, rival: 'a' });
  });

  it('A host that has its address keeps it, also when another one is listed before it.', () => {
    const claims = claimsOf(['a']);
    claims.set('a', ONE);
    claims.list(['new', 'a']);
    claims.set('new', ONE);
    claims.set('a', ONE);
    expect(claims.get('a')).to.deep.equal({ address: ONE, rival: null });
    expect(claims.get('new')).to.deep.equal({ address: null, rival: 'a' });
  });

  it('The first in list order inherits when the holder leaves the list, moves or is gone from DNS.', () => {
    const leavings = [
      (claims: Claims) => claims.list(['b', 'c']),
      (claims: Claims) => claims.set('a', '10.0.0.2'),
      (claims: Claims) => claims.set('a', null),
    ];
    for (const leave of leavings) {
      const claims = claimsOf(['a', 'b', 'c']);
      for (const host of ['a', 'c', 'b']) claims.set(host, ONE);
      expect(leave(claims)).to.include.members(['b', 'c']);
      expect(claims.get('b')).to.deep.equal({ address: ONE, rival: null });
      expect(claims.get('c')).to.deep.equal({ address: null, rival: 'b' });
    }
  });

  it('A host that had an address is waited for: nobody else gets it before that one has said where it is.', () => {
    for (const [answer, holder] of [
      [ONE, 'b'],
      ['10.0.0.2', 'a'],
      [null, 'a'],
    ] as const) {
      const claims = claimsOf(['a', 'b']);
      claims.expect('b', ONE);
      expect(claims.set('a', ONE)).to.deep.equal(['a']);
      expect([claims.get('a'), claims.get('b')]).to.deep.equal([undefined, undefined]);
      expect(claims.set('b', answer)).to.have.members(['a', 'b']);
      expect(claims.holder(ONE)).to.equal(holder);
      expect(claims.get('a')?.address).to.equal(holder === 'a' ? ONE : null);
    }
    const claims = claimsOf(['a', 'b']);
    claims.expect('b', ONE);
    claims.set('a', ONE);
    expect(claims.list(['a'])).to.deep.equal(['a']);
    expect(claims.get('a')).to.deep.equal({ address: ONE, rival: null });
  });

  it('When many leave at once, those that stay are named once.', () => {
    const gone = Array.from({ length: 500 }, (_, index) => `gone${index}`);
    const claims = claimsOf([...gone, 'a', 'b']);
    for (const host of [...gone, 'b', 'a']) claims.set(host, ONE);
    expect(claims.list(['a', 'b'])).to.deep.equal(['a', 'b']);
    expect(claims.get('a')).to.deep.equal({ address: ONE, rival: null });
  });

  it('No address is given twice or wasted, nobody loses one to another, and every change is told.', () => {
    const all = ['a', 'b', 'c', 'd'];
    const act = fc.oneof(
      fc.record({ list: fc.shuffledSubarray(all) }),
      fc.record({ host: fc.constantFrom(...all), address: fc.constantFrom(ONE, '10.0.0.2', null) }),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
        let list: readonly string[] = all;
        const claims = claimsOf(list);
        const answers = new Map<string, string | null>();
        const told = new Map<string, string | null>();
        const tell = (hosts: readonly string[]) => {
          for (const host of hosts) told.set(host, claims.get(host)?.address ?? null);
        };
        for (const act of acts) {
          const before = new Map(told);
          if ('list' in act) {
            list = act.list;
            for (const gone of all.filter((host) => !list.includes(host))) answers.delete(gone);
            tell(claims.list(list));
          } else if (list.includes(act.host)) {
            answers.set(act.host, act.address);
            tell(claims.set(act.host, act.address));
          }
          for (const gone of all.filter((host) => !list.includes(host))) told.delete(gone);

          const given = list.flatMap((host) => claims.get(host)?.address ?? []);
          const wanted = new Set(list.flatMap((host) => answers.get(host) ?? []));
          expect([...given].sort()).to.deep.equal([...wanted].sort());
          for (const host of list) {
            const address = claims.get(host)?.address ?? null;
            if (address !== null) expect(address).to.equal(answers.get(host));
            expect(told.get(host) ?? null, `told of ${host}`).to.equal(address);
            const had = before.get(host) ?? null;
            if (had !== null && answers.get(host) === had) expect(address, `${host} keeps its address`).to.equal(had);
          }
        }
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});
