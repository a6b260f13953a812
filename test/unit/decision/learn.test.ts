// Facts: each changes what it speaks of, and shares everything else by reference.

import { expect } from 'chai';
import fc from 'fast-check';
import type { Fact, Facts } from '../../../src/decision/facts.ts';
import { keyOf, learn, learnAll, nothingKnown } from '../../../src/decision/learn.ts';
import type { IpvsEntry } from '../../../src/ipvs/table.ts';
import type { Mono } from '../../../src/world/world.ts';
import { checked, configWith, deepFreeze, Scene } from '../../support/decision-scene.ts';

const TEXT = checked();
const DNS = checked({ name: 'dns', vip: '10.0.0.2', port: 53 });

function told(...facts: readonly Fact[]): Facts {
  let known = nothingKnown(1000 as Mono);
  for (const fact of [{ is: 'configuration', config: configWith([TEXT, DNS]) } as const, ...facts]) {
    known = learn(deepFreeze(known), deepFreeze(fact));
  }
  return known;
}

const list: Fact = {
  is: 'pool',
  service: 'text',
  list: { hosts: ['cp1', 'cp2'].map((host) => ({ host, weight: 1, enabled: true })), note: null },
};
const address: Fact = { is: 'address', service: 'text', host: 'cp1', address: '10.9.0.1' };
const health: Fact = {
  is: 'health',
  service: 'text',
  host: 'cp1',
  health: { is: 'up', since: 1 as Mono, reason: '', partial: true },
};

/** As an earlier life left it. */
function entryOf(config = TEXT): IpvsEntry {
  const scene = new Scene(configWith([config]), (before) => before.leave(config, ['cp1']));
  const entry = scene.kernel.get(keyOf(config));
  if (entry === undefined) throw new Error('no entry');
  return entry;
}

function kernel(ipvs: ReadonlyMap<string, IpvsEntry | null>, is: Partial<Fact & { is: 'kernel' }> = {}): Fact {
  return { is: 'kernel', at: 2000 as Mono, whole: true, ipvs, vips: new Map(), error: null, denied: false, ...is };
}

describe('decision/learn', () => {
  it('changes one service and shares the others', () => {
    for (const fact of [list, address, health]) {
      const before = told();
      const after = learn(before, fact);
      expect(after.services.get('text'), fact.is).to.not.equal(before.services.get('text'));
      expect(after.services.get('dns'), fact.is).to.equal(before.services.get('dns'));
      expect(after.kernel, fact.is).to.equal(before.kernel);
    }
  });

  it('is the very same for a fact that says nothing new, or is about a service that is not there', () => {
    const before = told(list, address);
    expect(learn(before, address)).to.equal(before);
    expect(learn(before, { ...health, service: 'gone' } as Fact)).to.equal(before);
  });

  it('keeps everything known at a reload of the same, and of another weight of things', () => {
    const before = told(list, address, health);
    const same = learn(before, { is: 'configuration', config: configWith([checked(), { ...DNS }]) });
    expect(same.services.get('text')).to.equal(before.services.get('text'));
    const other = learn(before, { is: 'configuration', config: configWith([checked({ scheduler: 'sh' }), DNS]) });
    const known = other.services.get('text');
    expect(known).to.deep.equal({ ...before.services.get('text'), config: checked({ scheduler: 'sh' }) });
    expect(known?.health).to.equal(before.services.get('text')?.health);
    expect(other.services.get('dns')).to.equal(before.services.get('dns'));
  });

  it('keeps list and health of a service that moves to another port, and begins its kernel anew', () => {
    const before = told(list, address, health, kernel(new Map([[keyOf(TEXT), entryOf()]])), {
      is: 'time',
      now: 9000 as Mono,
    });
    const after = learn(before, { is: 'configuration', config: configWith([checked({ port: 81 }), DNS]) });
    const known = after.services.get('text');
    expect(known).to.include({ kernel: null, adopted: null, since: 9000 });
    expect(known?.list).to.equal(before.services.get('text')?.list);
    expect(known?.addresses).to.equal(before.services.get('text')?.addresses);
  });

  it('forgets addresses and health of the other family', () => {
    const after = learn(told(list, address, health), {
      is: 'configuration',
      config: configWith([checked({ vip: '2001:db8::1', family: 6 }), DNS]),
    });
    expect(after.services.get('text')?.addresses.size).to.equal(0);
    expect(after.services.get('text')?.health.size).to.equal(0);
  });

  it('forgets health and address of a host with its place on the list', () => {
    const hosts = [{ host: 'cp2', weight: 1, enabled: true }];
    const after = told(list, address, health, { is: 'pool', service: 'text', list: { hosts, note: null } });
    expect(after.services.get('text')?.health.size).to.equal(0);
    expect(after.services.get('text')?.addresses.size).to.equal(0);
  });

  it('forgets a service with its section', () => {
    const after = learn(told(list), { is: 'configuration', config: configWith([DNS]) });
    expect([...after.services.keys()]).to.deep.equal(['dns']);
    const back = learn(after, { is: 'configuration', config: configWith([TEXT, DNS]) });
    expect(back.services.get('text')?.list).to.equal(null);
  });

  describe('of the kernel', () => {
    const entry = entryOf();

    it('adopts what the first good reading shows, and nothing of later ones', () => {
      const failed = told(kernel(new Map(), { whole: false, error: 'EIO' }));
      expect(failed.kernel.verifiedAt).to.equal(null);
      const first = learn(failed, kernel(new Map([[keyOf(TEXT), entry]])));
      expect(first.services.get('text')).to.include({ kernel: entry, adopted: entry });
      expect(first.kernel.verifiedAt).to.equal(2000);
      const later = learn(first, kernel(new Map([[keyOf(DNS), entryOf(DNS)]]), { whole: false }));
      expect(later.services.get('dns')?.kernel).to.not.equal(null);
      expect(later.services.get('dns')?.adopted).to.equal(null);
      expect(later.services.get('text')).to.equal(first.services.get('text'));
    });

    it('adopts for a section that comes later what stands there then', () => {
      const before = told(kernel(new Map([['tcp 10.0.0.3:80', entry]])));
      const after = learn(before, { is: 'configuration', config: configWith([checked({ vip: '10.0.0.3' })]) });
      expect(after.services.get('text')?.adopted).to.equal(entry);
    });

    it('takes a part as a part: null is gone, what is not named stays', () => {
      const before = told(
        kernel(
          new Map([
            [keyOf(TEXT), entry],
            [keyOf(DNS), entryOf(DNS)],
          ]),
        ),
      );
      const after = learn(before, kernel(new Map([[keyOf(TEXT), null]]), { whole: false }));
      expect(after.services.get('text')?.kernel).to.equal(null);
      expect(after.services.get('dns')).to.equal(before.services.get('dns'));
      expect([...after.kernel.ipvs.keys()]).to.deep.equal([keyOf(DNS)]);
    });

    it('of an error keeps the tables and the time of the last good reading', () => {
      const before = told(kernel(new Map([[keyOf(TEXT), entry]])));
      const after = learn(before, kernel(new Map(), { whole: false, at: 5000 as Mono, error: 'EPERM', denied: true }));
      expect(after.kernel).to.include({ verifiedAt: 2000, error: 'EPERM', denied: true });
      expect(after.kernel.ipvs).to.equal(before.kernel.ipvs);
      expect(after.services).to.equal(before.services);
    });

    it('that shows nothing new leaves every service as it was', () => {
      const before = told(kernel(new Map([[keyOf(TEXT), entry]])));
      const after = learn(before, kernel(new Map(), { whole: false, at: 7000 as Mono }));
      expect(after.kernel.verifiedAt).to.equal(7000);
      expect(after.services).to.equal(before.services);
    });
  });

  it('knows its peers and the time', () => {
    const state = { established: true, since: 5 as Mono };
    const known = told({ is: 'peer', peer: 'a', state }, { is: 'time', now: 77 as Mono });
    expect(known.peers.get('a')).to.deep.equal(state);
    expect(known.now).to.equal(77);
  });

  describe('of many facts at once', () => {
    const host = fc.constantFrom('cp1', 'cp2', 'cp3');
    const service = fc.constantFrom('text', 'dns', 'gone');
    const fact: fc.Arbitrary<Fact> = fc.oneof(
      fc.record({ is: fc.constant('address'), service, host, address: fc.constantFrom(null, '10.9.0.1', '10.9.0.2') }),
      fc.record({
        is: fc.constant('health'),
        service,
        host,
        health: fc.constantFrom(null, { is: 'up', since: 1 as Mono, reason: '', partial: true } as const),
      }),
      fc.constantFrom<Fact>(
        list,
        { is: 'pool', service: 'dns', list: { hosts: [{ host: 'cp3', weight: 1, enabled: true }], note: null } },
        { is: 'configuration', config: configWith([TEXT]) },
        { is: 'configuration', config: configWith([checked({ port: 81 }), DNS]) },
        { is: 'peer', peer: 'a', state: { established: true, since: 5 as Mono } },
        { is: 'writing', services: new Set([keyOf(TEXT)]), vips: new Set(['10.0.0.1']) },
        kernel(new Map([[keyOf(TEXT), entryOf()]])),
      ),
    );

    it('knows what it would know had they come one by one, and leaves what was known before as it was', () => {
      fc.assert(
        fc.property(fc.array(fact), fc.array(fact), (earlier, news) => {
          const before = told(...earlier);
          const untouched = structuredClone(before);
          const after = learnAll(before, news);
          expect(after).to.deep.equal(news.reduce(learn, before));
          expect(before).to.deep.equal(untouched);
        }),
      );
    });

    it('copies what they touch once', () => {
      let copies = 0;
      class Watched extends Map<string, string | null> {
        override [Symbol.iterator]() {
          copies++;
          return super[Symbol.iterator]();
        }
      }
      const before = told(list);
      const known = before.services.get('text');
      if (known === undefined) throw new Error('no service');
      const addresses = new Watched([['cp1', null]]);
      const facts = { ...before, services: new Map([['text', { ...known, addresses }]]) };
      const news = Array.from({ length: 50 }, (_, i): Fact => ({ ...address, address: `10.9.0.${i}` }));
      expect(learnAll(facts, news).services.get('text')?.addresses.get('cp1')).to.equal('10.9.0.49');
      expect(copies).to.equal(1);
      expect(addresses.get('cp1')).to.equal(null);
    });
  });
});
