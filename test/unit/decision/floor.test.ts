// The depool threshold. PyBal's own rule, written down once more in its words, is the oracle wherever all servers are enabled.

import { expect } from 'chai';
import fc from 'fast-check';
import { type Candidate, choosePool, floorOf } from '../../../src/decision/floor.ts';

const THRESHOLDS = [0, 0.1, 0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.7, 0.75, 0.8, 0.9, 1];

/** pybal/coordinator.py: a server is depooled if those that are still up are at least `threshold` of all. */
const canDepool = (up: number, all: number, threshold: number): boolean => up >= Number((all * threshold).toFixed(9));

/** How many are pooled in PyBal after all of `all` servers failed, one after another. */
function pybalLeaves(all: number, threshold: number): number {
  let pooled = all;
  for (let up = all - 1; up >= 0; up--) if (canDepool(up, all, threshold)) pooled--;
  return pooled;
}

const name = (index: number): string => `cp${String(index).padStart(2, '0')}`;

function candidate(index: number, is: Partial<Candidate> = {}): Candidate {
  return {
    host: name(index),
    eligible: true,
    up: true,
    down: is.up === false,
    drains: false,
    weightless: false,
    holdable: true,
    wasPooled: true,
    upForMs: 1000,
    ...is,
  };
}

/** Servers fail in this order, each seen by itself. */
function failInOrder(count: number, threshold: number, order: readonly number[]): readonly ReadonlySet<string>[] {
  let state = Array.from({ length: count }, (_, index) => candidate(index));
  return order.map((failing) => {
    state = state.map((server, index) => (index === failing ? { ...server, up: false } : server));
    const { pooled } = choosePool(state, threshold);
    state = state.map((server) => ({ ...server, wasPooled: pooled.has(server.host) }));
    return pooled;
  });
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe('decision/floor', () => {
  describe('keeps what PyBal keeps when all fail one after another', () => {
    for (let count = 1; count <= 12; count++) {
      it(`of ${count}`, () => {
        for (const threshold of THRESHOLDS) {
          const left = failInOrder(count, threshold, range(count)).at(-1)?.size;
          expect(left, `threshold ${threshold}`).to.equal(pybalLeaves(count, threshold));
          expect(left, `threshold ${threshold}`).to.equal(Math.ceil(Number((count * threshold).toFixed(9))));
        }
      });
    }
    for (const [count, left] of [
      [1, 1],
      [2, 1],
      [3, 2],
      [4, 2],
    ] as const) {
      it(`${left} of ${count} at threshold .5, as PyBal was seen to do`, () => {
        expect(failInOrder(count, 0.5, range(count)).at(-1)).to.have.property('size', left);
      });
    }
    it('all at threshold 1, none at threshold 0', () => {
      for (const count of range(12)) {
        expect(failInOrder(count + 1, 1, range(count + 1)).at(-1)?.size).to.equal(count + 1);
        expect(failInOrder(count + 1, 0, range(count + 1)).at(-1)?.size).to.equal(0);
      }
    });
  });

  it('is not raised by binary fractions', () => {
    expect(floorOf(0.1, 30)).to.equal(3);
    expect(floorOf(0.7, 10)).to.equal(7);
    expect(floorOf(0.28, 25)).to.equal(7);
    expect(floorOf(0.5, 3)).to.equal(2);
    expect(floorOf(1 / 3, 3)).to.equal(1);
    expect(floorOf(0.5, 0)).to.equal(0);
  });

  it('holds those who were pooled, then those not known to be down, then those who were up longest, then by name', () => {
    const down = { up: false, upForMs: 5 };
    const choose = (...servers: Candidate[]) => [...choosePool(servers, 0.25).held];
    const four = [candidate(1, down), candidate(2, down), candidate(3, down), candidate(4, down)];
    expect(choose(...four)).to.deep.equal(['cp01']);
    expect(choose(...four.map((server) => ({ ...server, wasPooled: server.host === 'cp03' })))).to.deep.equal(['cp03']);
    expect(
      choose(...four.map((server) => (server.host === 'cp04' ? { ...server, upForMs: 6 } : server))),
    ).to.deep.equal(['cp04']);
    const out = four.map((server) => ({ ...server, wasPooled: false, down: server.host !== 'cp04', upForMs: 0 }));
    expect(choose({ ...candidate(1, down), wasPooled: false }, ...out.slice(1))).to.deep.equal(['cp04']);
    expect(choose(candidate(1, down), ...out.slice(1)), 'was pooled').to.deep.equal(['cp01']);
  });

  it('says that the floor cannot be met, and pools what there is', () => {
    const { pooled, met, floor } = choosePool(
      [candidate(1), candidate(2, { eligible: false }), candidate(3, { eligible: false })],
      0.5,
    );
    expect({ pooled: [...pooled], met, floor }).to.deep.equal({ pooled: ['cp01'], met: false, floor: 2 });
  });

  it('counts on nobody who drains, and holds the last of them rather than one that is down', () => {
    const drains = { drains: true };
    const pooled = {
      host: 'cp09',
      eligible: true,
      up: false,
      down: true,
      drains: false,
      weightless: false,
      holdable: true,
      wasPooled: true,
      upForMs: 9,
    };
    const choose = (...servers: Candidate[]) => choosePool(servers, 0.5);
    const some = choose(candidate(1, drains), candidate(2));
    expect([...some.pooled, some.held.size]).to.deep.equal(['cp01', 'cp02', 0]);
    const all = choose(candidate(1, { ...drains, wasPooled: false }), candidate(2, drains));
    expect([...all.pooled, '|', ...all.held]).to.deep.equal(['cp01', 'cp02', '|', 'cp02']);
    expect([...choose(candidate(1, { ...drains, wasPooled: false, upForMs: 0 }), pooled).held]).to.deep.equal(['cp01']);
    expect(choose(candidate(1, drains), candidate(2, { eligible: false }), candidate(3)).met).to.equal(true);
  });

  it('holds one that is down and has a weight, whoever else is up without one', () => {
    const without = { weightless: true };
    const down = { up: false };
    const choose = (...servers: Candidate[]) => {
      const { pooled, held, met } = choosePool(servers, 0.5);
      return [...[...pooled].sort(), '|', ...held, met];
    };
    expect(choose(candidate(1, without), candidate(2, down))).to.deep.equal(['cp01', 'cp02', '|', 'cp02', true]);
    expect(choose(candidate(1, { ...without, ...down }), candidate(2, down))).to.deep.equal([
      'cp02',
      '|',
      'cp02',
      true,
    ]);
    // Where nobody else is left, what is up is enough; what is not is kept as anybody would be.
    expect(choose(candidate(1, without), candidate(2, without))).to.deep.equal(['cp01', 'cp02', '|', true]);
    expect(choose(candidate(1, { ...without, ...down }), candidate(2, { ...down, holdable: false }))).to.deep.equal([
      'cp01',
      '|',
      'cp01',
      true,
    ]);
  });

  const arbitraryCandidates = fc
    .array(
      fc.record({
        eligible: fc.boolean(),
        up: fc.boolean(),
        down: fc.boolean(),
        drains: fc.boolean(),
        weightless: fc.boolean(),
        holdable: fc.boolean(),
        wasPooled: fc.boolean(),
        upForMs: fc.integer({ min: 0, max: 3 }),
      }),
      { maxLength: 12 },
    )
    .map((list) =>
      list.map((is, index) =>
        candidate(index, { ...is, down: !is.up && is.down, drains: is.up && is.drains && !is.weightless }),
      ),
    );
  const arbitraryThreshold = fc.constantFrom(...THRESHOLDS);

  it('never pools who is not eligible, never leaves out who is up, never holds more than it must', () => {
    fc.assert(
      fc.property(arbitraryCandidates, arbitraryThreshold, (servers, threshold) => {
        const { pooled, held, floor, met } = choosePool(servers, threshold);
        expect(floor).to.equal(floorOf(threshold, servers.length));
        for (const { host, eligible, up, drains, holdable } of servers) {
          if (!eligible) expect(pooled.has(host)).to.equal(false);
          if (eligible && up) expect(pooled.has(host) && (drains || !held.has(host))).to.equal(true);
          if (held.has(host)) expect((up ? drains : holdable) && pooled.has(host)).to.equal(true);
        }
        const standing = servers.filter(({ eligible, up, drains }) => eligible && up && !drains).length + held.size;
        expect(met).to.equal(standing >= floor);
        const possible = servers.filter(({ eligible, up, holdable }) => eligible && (up || holdable)).length;
        expect(standing).to.be.at.least(Math.min(floor, possible));
        const weighted = servers.filter(({ eligible, weightless }) => eligible && !weightless);
        const taking = weighted.filter(({ up, drains, host }) => (up && !drains) || held.has(host)).length;
        expect(held.size === 0 || taking <= floor).to.equal(true);
        // Who gets no connections takes nobody's place.
        const able = weighted.filter(({ up, holdable }) => up || holdable).length;
        expect(taking).to.be.at.least(Math.min(floor, able));
        const drained = servers.some(({ eligible, drains, host }) => eligible && drains && !held.has(host));
        expect(drained && servers.some(({ up, host }) => !up && held.has(host))).to.equal(false);
      }),
      { numRuns: 150, seed: 1 },
    );
  });

  it('chooses the same whatever the order of the servers', () => {
    fc.assert(
      fc.property(
        arbitraryCandidates.chain((servers) =>
          fc.tuple(fc.constant(servers), fc.shuffledSubarray(servers, { minLength: servers.length })),
        ),
        arbitraryThreshold,
        ([servers, shuffled], threshold) => {
          expect([...choosePool(shuffled, threshold).pooled].sort()).to.deep.equal(
            [...choosePool(servers, threshold).pooled].sort(),
          );
        },
      ),
      { numRuns: 150, seed: 2 },
    );
  });

  it('leaves as many whatever the order in which they fail, and never swaps one held server for another', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }).chain((count) => fc.shuffledSubarray(range(count), { minLength: count })),
        arbitraryThreshold,
        (order, threshold) => {
          const steps = failInOrder(order.length, threshold, order);
          expect(steps.at(-1)?.size).to.equal(pybalLeaves(order.length, threshold));
          const failed = new Set<string>();
          let before: ReadonlySet<string> = new Set(range(order.length).map(name));
          for (const [i, pooled] of steps.entries()) {
            for (const host of pooled) expect(before.has(host), `${host} came back while others failed`).to.equal(true);
            failed.add(name(order[i] ?? -1));
            before = pooled;
          }
        },
      ),
      { numRuns: 150, seed: 3 },
    );
  });

  it('lets a recovered server replace a held one at once', () => {
    const held = failInOrder(4, 0.5, [0, 1, 2, 3]).at(-1) ?? new Set();
    const state = range(4).map((index) => candidate(index, { up: false, wasPooled: held.has(name(index)) }));
    const back = state.findIndex(({ host }) => !held.has(host));
    const { pooled, held: now } = choosePool(
      state.map((server, index) => (index === back ? { ...server, up: true } : server)),
      0.5,
    );
    expect(pooled.has(name(back))).to.equal(true);
    expect(pooled.size).to.equal(2);
    expect(now.size).to.equal(1);
  });
});
