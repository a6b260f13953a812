// The plan: what is done to make the kernel equal to what is wanted, in which order, and whose entries are left alone.

import { expect } from 'chai';
import fc from 'fast-check';
import type { Desired } from '../../../src/decision/decision.ts';
import { familyOf } from '../../../src/lib/address.ts';
import { applyToMemory, type MemoryTable } from '../../../src/ipvs/memory.ts';
import { type IpvsEntry, type IpvsOp, type IpvsTable, sameDestination, sameService } from '../../../src/ipvs/table.ts';
import { entryOps, isEmpty, type Owned, type Plan, plan, withoutNew } from '../../../src/reconcile/plan.ts';
import type { AddressTable } from '../../../src/vip/addresses.ts';
import { destination, onLo } from '../../support/decision-scene.ts';

const NOBODY: Owned = { services: new Set(), vips: new Set() };
const NO_VIPS: AddressTable = new Map();

/** `10.0.0.1:80 rr 1=10 2=0`: a service, its scheduler, and destinations 10.9.0.n with weights. */
function entry(text: string): IpvsEntry {
  const [at = '', scheduler = 'wrr', ...list] = text.split(' ');
  const [address = '', port = ''] = at.split(':');
  const destinations = list.map((each) => {
    const [number, weight] = each.split('=');
    return destination(`10.9.0.${number}`, 80, Number(weight));
  });
  return {
    service: {
      key: `tcp ${at}`,
      protocol: 'tcp',
      address,
      port: Number(port),
      fwmark: 0,
      scheduler,
      flags: 0,
      persistenceSeconds: 0,
      persistencePrefix: 32,
    },
    destinations: new Map(destinations.map((one) => [one.key, one])),
  };
}

const table = (...texts: readonly string[]): MemoryTable =>
  new Map(texts.map((text) => [entry(text).service.key, entry(text)]));
const addresses = (...list: readonly string[]): AddressTable => new Map(list.map((one) => [one, onLo(one)]));

function desired(is: Partial<Desired>): Desired {
  const nothing = {
    ipvs: new Map(),
    keep: new Set<string>(),
    vips: new Set<string>(),
    routedVips: new Map(),
    keepVips: new Set<string>(),
  };
  return { ...nothing, keepAll: false, routes: new Map(), ...is };
}

const words = (ops: readonly IpvsOp[]): string[] =>
  ops.map((op) =>
    'destination' in op ? `${op.do} ${op.destination.address} ${op.destination.weight}` : `${op.do} ${op.service.key}`,
  );

describe('reconcile/plan', () => {
  it('makes a service before its destinations', () => {
    const todo = plan(new Map(), NO_VIPS, desired({ ipvs: table('10.0.0.1:80 wrr 1=10 2=5') }), NOBODY);
    expect(words(todo.program)).to.deep.equal([
      'add-service tcp 10.0.0.1:80',
      'add-destination 10.9.0.1 10',
      'add-destination 10.9.0.2 5',
    ]);
  });

  it('goes on with what is there and what is ours while nothing new can be written down as ours', () => {
    const wanted = desired({
      ipvs: table('10.0.0.1:80 wrr 1=7', '10.0.0.2:80 wrr 1=10', '10.0.0.3:80 wrr 1=10'),
      vips: new Set(['10.0.0.2', '10.0.0.3']),
    });
    const owned = { services: new Set(['tcp 10.0.0.3:80']), vips: new Set(['10.0.0.3']) };
    const todo = withoutNew(plan(table('10.0.0.1:80 wrr 1=10'), NO_VIPS, wanted, owned), owned);
    expect(words(todo.program)).to.deep.equal([
      'set-destination 10.9.0.1 7',
      'add-service tcp 10.0.0.3:80',
      'add-destination 10.9.0.1 10',
    ]);
    expect(todo.addVips.map(({ address }) => address)).to.deep.equal(['10.0.0.3']);
  });

  it('adds, then changes, then deletes destinations, so that a service is never empty in between', () => {
    const ops = entryOps(entry('10.0.0.1:80 wrr 1=10 2=10'), entry('10.0.0.1:80 wrr 2=7 3=10'));
    expect(words(ops)).to.deep.equal([
      'add-destination 10.9.0.3 10',
      'set-destination 10.9.0.2 7',
      'delete-destination 10.9.0.1 10',
    ]);
  });

  for (const scheduler of ['sh', 'mh']) {
    it(`gives a leaving destination weight 0 first with ${scheduler}`, () => {
      const ops = entryOps(entry(`10.0.0.1:80 ${scheduler} 1=10 2=10 3=0`), entry(`10.0.0.1:80 ${scheduler} 1=10`));
      expect(words(ops)).to.deep.equal([
        'set-destination 10.9.0.2 0',
        'delete-destination 10.9.0.2 10',
        'delete-destination 10.9.0.3 0',
      ]);
    });
  }

  it('changes what changed of a service in place', () => {
    const ops = entryOps(entry('10.0.0.1:80 rr 1=10'), entry('10.0.0.1:80 wlc 1=10'));
    expect(words(ops)).to.deep.equal(['set-service tcp 10.0.0.1:80']);
  });

  it('deletes only what is ours, and reports the rest as foreign', () => {
    const actual = table('10.0.0.1:80 rr 1=1', '10.0.0.2:80 rr 1=1', '10.0.0.3:80 rr 1=1');
    const owned: Owned = { services: new Set(['tcp 10.0.0.1:80']), vips: new Set(['10.0.0.1']) };
    const todo = plan(
      actual,
      addresses('10.0.0.1', '10.0.0.2'),
      desired({ keep: new Set(['tcp 10.0.0.3:80']) }),
      owned,
    );
    expect(words(todo.unprogram)).to.deep.equal(['delete-service tcp 10.0.0.1:80']);
    expect(todo.deleteVips.map(({ address }) => address)).to.deep.equal(['10.0.0.1']);
    expect(todo.foreign).to.deep.equal(['tcp 10.0.0.2:80']);
  });

  it('keeps a frozen service and a frozen VIP, ours or not', () => {
    const owned: Owned = { services: new Set(['tcp 10.0.0.1:80']), vips: new Set(['10.0.0.1']) };
    const frozen = desired({ keep: new Set(['tcp 10.0.0.1:80']), keepVips: new Set(['10.0.0.1']) });
    const todo = plan(table('10.0.0.1:80 rr 1=1'), addresses('10.0.0.1'), frozen, owned);
    expect(isEmpty(todo)).to.equal(true);
    expect(todo.foreign).to.deep.equal([]);
  });

  it('takes nothing away while a section hides what is its own, and still adds', () => {
    const owned: Owned = { services: new Set(['tcp 10.0.0.1:80']), vips: new Set(['10.0.0.1']) };
    const wanted = desired({ keepAll: true, ipvs: table('10.0.0.2:80 rr 1=1'), vips: new Set(['10.0.0.2']) });
    const todo = plan(table('10.0.0.1:80 rr 1=1'), addresses('10.0.0.1'), wanted, owned);
    expect(todo.unprogram).to.deep.equal([]);
    expect(todo.deleteVips).to.deep.equal([]);
    expect(words(todo.program)[0]).to.equal('add-service tcp 10.0.0.2:80');
    expect(todo.addVips.map(({ address }) => address)).to.deep.equal(['10.0.0.2']);
  });

  it('adds only VIPs that are not there, and never takes away one that it did not put there', () => {
    const todo = plan(
      new Map(),
      addresses('10.0.0.1', '10.0.0.9'),
      desired({ vips: new Set(['10.0.0.1', '2001:db8::1']) }),
      NOBODY,
    );
    expect(todo.addVips).to.deep.equal([{ do: 'add-address', address: '2001:db8::1', family: 6 }]);
    expect(todo.deleteVips).to.deep.equal([]);
  });

  describe('for a VIP that is present by route', () => {
    const steps = (todo: Pick<Plan, 'addVips' | 'deleteVips'>) =>
      [...todo.addVips, ...todo.deleteVips].map((op) => ('uplink' in op ? `${op.do} ${op.uplink}` : op.do));
    const routed = (uplinks: readonly string[], route = true): AddressTable =>
      new Map([['10.0.0.1', { ...onLo('10.0.0.1'), interface: null, routed: { route, uplinks } }]]);
    const wanted = (...uplinks: readonly string[]) => desired({ routedVips: new Map([['10.0.0.1', uplinks]]) });

    it('makes the route before the rules that lead to it, and takes them away in the other order', () => {
      expect(steps(plan(new Map(), NO_VIPS, wanted('eth0', 'eth1'), NOBODY))).to.deep.equal([
        'add-route',
        'add-rule eth0',
        'add-rule eth1',
      ]);
      expect(steps(plan(new Map(), routed(['eth0', 'eth1']), desired({}), NOBODY))).to.deep.equal([
        'delete-rule eth0',
        'delete-rule eth1',
        'delete-route',
      ]);
    });

    it('does nothing for what is as it should be, and repairs what is not', () => {
      const all = wanted('eth0', 'eth1');
      expect(isEmpty(plan(new Map(), routed(['eth0', 'eth1']), all, NOBODY))).to.equal(true);
      expect(steps(plan(new Map(), routed(['eth1']), all, NOBODY))).to.deep.equal(['add-rule eth0']);
      expect(steps(plan(new Map(), routed(['eth0', 'eth1'], false), all, NOBODY))).to.deep.equal(['add-route']);
    });

    it('moves to another uplink rule by rule, the new one first', () => {
      expect(steps(plan(new Map(), routed(['eth0']), wanted('eth1'), NOBODY))).to.deep.equal([
        'add-rule eth1',
        'delete-rule eth0',
      ]);
    });

    it('comes before an address on lo goes, and goes after it has come', () => {
      const onLoOnly = plan(new Map(), addresses('10.0.0.1'), wanted('eth0'), {
        ...NOBODY,
        vips: new Set(['10.0.0.1']),
      });
      expect(steps(onLoOnly)).to.deep.equal(['add-route', 'add-rule eth0', 'delete-address']);
      const back = plan(new Map(), routed(['eth0']), desired({ vips: new Set(['10.0.0.1']) }), NOBODY);
      expect(steps(back)).to.deep.equal(['add-address', 'delete-rule eth0', 'delete-route']);
    });

    it('stays while it is frozen, or a section hides what is its own', () => {
      const frozen = desired({ keepVips: new Set(['10.0.0.1']) });
      expect(isEmpty(plan(new Map(), routed(['eth0']), frozen, NOBODY))).to.equal(true);
      expect(isEmpty(plan(new Map(), routed(['eth0']), desired({ keepAll: true }), NOBODY))).to.equal(true);
    });
  });

  it('leaves alone what it is told to ignore', () => {
    const wanted = desired({ ipvs: table('10.0.0.1:80 rr 1=1', '10.0.0.2:80 rr 1=1'), vips: new Set(['10.0.0.1']) });
    const todo = plan(new Map(), NO_VIPS, wanted, NOBODY, new Set(['tcp 10.0.0.1:80', '10.0.0.1']));
    expect(new Set(todo.program.map(({ service }) => service.key))).to.deep.equal(new Set(['tcp 10.0.0.2:80']));
    expect(todo.addVips).to.deep.equal([]);
  });

  describe('for any two tables', () => {
    const arbitraryEntryAt = (number: number): fc.Arbitrary<IpvsEntry> =>
      fc
        .tuple(
          fc.constantFrom('rr', 'wrr', 'sh', 'mh'),
          fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 3 })), {
            selector: ([server]) => server,
            maxLength: 5,
          }),
        )
        .map(([scheduler, list]) =>
          entry([`10.0.0.${number}:80`, scheduler, ...list.map(([server, weight]) => `${server}=${weight}`)].join(' ')),
        );
    const arbitraryTable: fc.Arbitrary<IpvsTable> = fc
      .tuple(...[1, 2, 3, 4].map((number) => fc.option(arbitraryEntryAt(number), { nil: null })))
      .map((entries) => new Map(entries.flatMap((one) => (one === null ? [] : [[one.service.key, one] as const]))));
    const keys = [1, 2, 3, 4].map((number) => `tcp 10.0.0.${number}:80`);
    const vipList = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
    const arbitraryCase = fc.record({
      actual: arbitraryTable,
      wanted: arbitraryTable,
      services: fc.subarray(keys),
      keep: fc.subarray(keys),
      present: fc.subarray(vipList),
      wantedVips: fc.subarray(vipList),
      ownedVips: fc.subarray(vipList),
      keepVips: fc.subarray(vipList),
      keepAll: fc.boolean(),
    });

    it('doing it gives what is wanted, takes away what is ours, leaves the rest as it was, and then there is nothing to do', () => {
      fc.assert(
        fc.property(arbitraryCase, (is) => {
          const before = addresses(...is.present);
          const target = desired({
            ipvs: is.wanted,
            keep: new Set(is.keep),
            vips: new Set(is.wantedVips),
            keepVips: new Set(is.keepVips),
            keepAll: is.keepAll,
          });
          const owned: Owned = { services: new Set(is.services), vips: new Set(is.ownedVips) };
          const todo = plan(is.actual, before, target, owned);
          const kernel: MemoryTable = new Map(is.actual);
          const vips = new Map(before);
          carryOut(todo, kernel, vips);
          for (const [key, want] of is.wanted) expectSame(kernel.get(key), want);
          for (const [key, had] of is.actual) {
            if (is.wanted.has(key)) continue;
            const goes = is.services.includes(key) && !is.keep.includes(key) && !is.keepAll;
            expect(kernel.get(key), key).to.equal(goes ? undefined : had);
          }
          for (const vip of vipList) {
            const goes = is.ownedVips.includes(vip) && !is.keepVips.includes(vip) && !is.keepAll;
            const there = is.wantedVips.includes(vip) || (is.present.includes(vip) && !goes);
            expect(vips.has(vip), vip).to.equal(there);
          }
          expect(isEmpty(plan(kernel, vips, target, owned))).to.equal(true);
        }),
        { numRuns: 200, seed: 1 },
      );
    });

    it('of a table and itself nothing is to be done, and a served service is served at every step', () => {
      fc.assert(
        fc.property(arbitraryTable, arbitraryTable, (actual, wanted) => {
          expect(isEmpty(plan(actual, NO_VIPS, desired({ ipvs: actual }), NOBODY))).to.equal(true);
          const kernel: MemoryTable = new Map(actual);
          const served = (one: IpvsEntry | undefined) =>
            one !== undefined && [...one.destinations.values()].some(({ weight }) => weight > 0);
          for (const op of plan(actual, NO_VIPS, desired({ ipvs: wanted }), NOBODY).program) {
            const key = op.service.key;
            applyToMemory(kernel, op);
            if (served(actual.get(key)) && served(wanted.get(key)))
              expect(served(kernel.get(key)), words([op])[0]).to.equal(true);
          }
        }),
        { numRuns: 500, seed: 2 },
      );
    });
  });
});

function carryOut(todo: Plan, kernel: MemoryTable, vips: Map<string, ReturnType<typeof onLo>>): void {
  for (const { address, family } of todo.addVips) {
    expect(family).to.equal(familyOf(address));
    vips.set(address, onLo(address));
  }
  for (const op of [...todo.program, ...todo.unprogram])
    expect(applyToMemory(kernel, op), words([op])[0]).to.equal(null);
  for (const { address } of todo.deleteVips) vips.delete(address);
}

function expectSame(have: IpvsEntry | undefined, want: IpvsEntry): void {
  if (have === undefined) return expect.fail(`${want.service.key} is not there`);
  expect(sameService(have.service, want.service)).to.equal(true);
  expect(new Set(have.destinations.keys())).to.deep.equal(new Set(want.destinations.keys()));
  for (const [key, one] of want.destinations) {
    const other = have.destinations.get(key);
    expect(other !== undefined && sameDestination(other, one), key).to.equal(true);
  }
}
