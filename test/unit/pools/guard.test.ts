import { expect } from 'chai';
import fc from 'fast-check';
import type { PoolHost } from '../../../src/decision/facts.ts';
import {
  initialGuard,
  sameHosts,
  step,
  type GuardAction,
  type GuardConfig,
  type GuardEvent,
  type GuardState,
  troubleOf,
} from '../../../src/pools/guard.ts';
import type { Mono } from '../../../src/world/world.ts';

const CONFIG: GuardConfig = {
  poolShrinkLimit: 0.5,
  poolShrinkConfirmSeconds: 60,
  adminFloor: false,
  depoolThreshold: 0.5,
};
const NOBODY: ReadonlySet<string> = new Set();
const hosts = (count: number, over: Partial<PoolHost> = {}): readonly PoolHost[] =>
  Array.from({ length: count }, (_, i) => ({ host: `cp${i + 1}`, weight: 10, enabled: true, ...over }));

/** A guard and what it did, driven second by second. */
class Guard {
  state: GuardState = initialGuard;
  seconds = 0;
  readonly actions: GuardAction[] = [];
  readonly config: GuardConfig;
  constructor(over: Partial<GuardConfig> = {}) {
    this.config = { ...CONFIG, ...over };
  }
  get at(): Mono {
    return (this.seconds * 1000) as Mono;
  }
  get inForce(): readonly PoolHost[] | null {
    return this.state.published ? this.state.accepted : null;
  }
  get note(): string | null {
    const trouble = troubleOf(this.state, this.at);
    return trouble === null ? null : `${trouble.is}: ${trouble.reason}`;
  }
  get said(): readonly string[] {
    return this.actions.flatMap((action) => (action.do === 'say' ? [`${action.level}: ${action.text}`] : []));
  }
  on(event: GuardEvent): this {
    const [state, actions] = step(this.config, this.state, event);
    this.state = state;
    this.actions.push(...actions);
    return this;
  }
  /** The source serves `list` once a second, for this many seconds. */
  serve(list: readonly PoolHost[], seconds = 1, { unresolved = NOBODY } = {}): this {
    for (let i = 0; i < seconds; i++) {
      this.on({ on: 'list', at: this.at, hosts: list, unresolved });
      this.seconds++;
    }
    return this;
  }
  fail(seconds = 1, reason = 'ECONNREFUSED'): this {
    for (let i = 0; i < seconds; i++) {
      this.on({ on: 'failed', at: this.at, reason });
      this.seconds++;
    }
    return this;
  }
  garbage(reason = 'not JSON'): this {
    this.on({ on: 'unparsable', at: this.at, reason });
    this.seconds++;
    return this;
  }
  accept(): this {
    return this.on({ on: 'accept', at: this.at, unresolved: NOBODY });
  }
}

describe('pool guard', () => {
  it('The first list is put in force at once, and kept.', () => {
    const guard = new Guard().serve(hosts(4));
    expect(guard.actions).to.deep.equal([{ do: 'publish', hosts: hosts(4), first: true, save: true }]);
    expect(guard.note).to.equal(null);
  });

  it('The same list again does nothing, whatever its order.', () => {
    const guard = new Guard().serve(hosts(4)).serve([...hosts(4)].reverse(), 5);
    expect(guard.actions).to.have.length(1);
  });

  it('A list of half the length is obeyed, a shorter one is suspect, with a limit of 0.5.', () => {
    expect(new Guard().serve(hosts(4)).serve(hosts(2)).inForce).to.have.length(2);
    const guard = new Guard().serve(hosts(4)).serve(hosts(1));
    expect(guard.inForce).to.have.length(4);
    expect(guard.note).to.equal('suspect: the list shrank from 4 to 1 servers');
  });

  it('A list is suspect that has lost too many servers, whoever has come in their place.', () => {
    const others = hosts(9).slice(4);
    const guard = new Guard().serve(hosts(4)).serve([...hosts(1), ...others]);
    expect(guard.inForce).to.have.length(4);
    expect(guard.note).to.equal("suspect: the list has 1 of the last one's 4 servers");
    expect(new Guard().serve(hosts(4)).serve([...hosts(2), ...others]).inForce).to.have.length(7);
    expect(guard.serve([...hosts(1), ...others], 60).inForce).to.have.length(6);
  });

  it('Another source may have other servers, but not too few.', () => {
    const moved = () => {
      const guard = new Guard().serve(hosts(4));
      guard.state = { ...guard.state, ofAnother: true };
      return guard;
    };
    const others = hosts(9).slice(5);
    expect(moved().serve(others).inForce).to.deep.equal(others);
    expect(moved().serve(others).serve(hosts(4)).note).to.match(/^suspect/);
    expect(moved().serve(hosts(4)).serve(others).note).to.match(/^suspect/);
    expect(moved().serve(others.slice(0, 1)).note).to.equal('suspect: the list shrank from 4 to 1 servers');
  });

  it('A list that lost too many servers one by one is suspect, too.', () => {
    const guard = new Guard();
    for (const count of [10, 9, 8, 7, 6, 5]) guard.serve(hosts(count));
    expect(guard.inForce).to.have.length(5);
    for (const count of [4, 3, 2, 1, 0]) guard.serve(hosts(count));
    expect(guard.inForce).to.have.length(5);
    guard.serve(hosts(4));
    expect(guard.note).to.equal('suspect: the list shrank from 10 to 4 servers within 60 s');
    // What was believed is the measure then.
    expect(guard.accept().inForce).to.have.length(4);
    expect(guard.serve(hosts(2)).inForce).to.have.length(2);
    expect(guard.serve(hosts(1)).inForce).to.have.length(2);
    expect(guard.serve(hosts(1), 60).inForce).to.have.length(1);
  });

  it('A list that loses its servers slowly, or has had as few before, is not suspect.', () => {
    const slow = new Guard();
    for (const count of [10, 8, 6, 4, 3, 2]) slow.serve(hosts(count), 40);
    expect(slow.inForce).to.have.length(2);
    const back = new Guard();
    for (const count of [10, 16, 8]) back.serve(hosts(count));
    expect(back.inForce).to.have.length(8);
    expect(back.serve([...hosts(4), ...hosts(12).slice(8)]).inForce).to.have.length(8);
  });

  it('A list that only grows takes nothing away, and is taken at once.', () => {
    expect(new Guard().serve(hosts(1)).serve(hosts(5000)).inForce).to.have.length(5000);
  });

  it('A suspect list is accepted when served unchanged for the time of confirmation, not a second earlier.', () => {
    const guard = new Guard().serve(hosts(4)).serve(hosts(1), 60);
    expect(guard.inForce).to.have.length(4);
    guard.serve(hosts(1));
    expect(guard.inForce).to.have.length(1);
    expect(guard.note).to.equal(null);
  });

  it('An empty list is suspect, also when there never was another one.', () => {
    expect(new Guard().serve(hosts(1)).serve([], 60).inForce).to.have.length(1);
    const first = new Guard().serve([], 60);
    expect(first.inForce).to.equal(null);
    expect(first.note).to.equal('suspect: the list is empty');
    expect(first.serve([]).inForce).to.deep.equal([]);
  });

  it('A different suspect list restarts the wait, and so does garbage in between.', () => {
    const other = hosts(1, { weight: 1 });
    expect(new Guard().serve(hosts(4)).serve(hosts(1), 50).serve(other, 50).inForce).to.have.length(4);
    expect(new Guard().serve(hosts(4)).serve(hosts(1), 50).garbage().serve(hosts(1), 50).inForce).to.have.length(4);
    expect(new Guard().serve(hosts(4)).serve(hosts(1), 50).serve(hosts(4)).serve(hosts(1), 50).inForce).to.have.length(
      4,
    );
  });

  it('An outage of the source does not restart the wait, and counts for 10 s at most.', () => {
    const guard = new Guard().serve(hosts(4)).serve(hosts(1), 40).fail(100).serve(hosts(1), 11);
    expect(guard.inForce).to.have.length(4);
    expect(guard.serve(hosts(1), 1).inForce).to.have.length(1);
  });

  it('The old list coming back ends the suspicion.', () => {
    const guard = new Guard().serve(hosts(4)).serve(hosts(1), 5).serve(hosts(4));
    expect(guard.state.pending).to.equal(null);
    expect(guard.note).to.equal(null);
  });

  it('A suspect list is accepted by hand; without one there is nothing to accept.', () => {
    const guard = new Guard().serve(hosts(4)).serve([]).accept();
    expect(guard.inForce).to.deep.equal([]);
    const before = guard.state;
    expect(guard.accept().state).to.equal(before);
  });

  it('Garbage is never accepted, and the note says so until the source is readable again.', () => {
    const guard = new Guard().serve(hosts(4));
    for (let i = 0; i < 200; i++) guard.garbage();
    expect(guard.accept().inForce).to.have.length(4);
    expect(guard.note).to.equal('unparsable: not JSON');
    expect(guard.said.filter((line) => line.includes('unparsable'))).to.have.length(1);
    expect(guard.serve(hosts(4)).note).to.equal(null);
  });

  it('A source that fails is stale after 10 s, not at the first hiccup; it is logged once per reason.', () => {
    const guard = new Guard().serve(hosts(4)).fail(10);
    expect(guard.note).to.equal('stale: ECONNREFUSED');
    expect(new Guard().serve(hosts(4)).fail(9).note).to.equal(null);
    expect(guard.said).to.deep.equal(['error: pool source failed: ECONNREFUSED']);
    guard.fail(1, 'HTTP 500').serve(hosts(4));
    expect(guard.said.slice(1)).to.deep.equal([
      'error: pool source failed: HTTP 500',
      'info: pool source answers again',
    ]);
  });

  it('A source that fails after a list that is not in force is stale, too, and what it served last is not forgotten.', () => {
    const suspect = 'suspect: the list shrank from 3 to 1 servers';
    const guard = new Guard().serve(hosts(3)).serve(hosts(1));
    expect(guard.fail(9, 'HTTP 500').note).to.equal(suspect);
    expect(guard.fail(1, 'HTTP 500').note).to.equal(`stale: HTTP 500; what it served last is ${suspect}`);
    expect(guard.serve(hosts(1)).note).to.equal(suspect);
    guard.garbage('is HTML').fail(10, 'HTTP 206');
    expect(guard.note).to.equal('stale: HTTP 206; what it served last is unparsable: is HTML');
    expect(guard.fail(1, 'timed out').note).to.match(/^stale: timed out; what it served last is unparsable/);
    expect(guard.serve(hosts(3)).note).to.equal(null);
  });

  it('Without any list it is stale at the first failure, unless there is something better to tell.', () => {
    expect(new Guard().fail().note).to.equal('stale: ECONNREFUSED');
    expect(new Guard().garbage().fail().note).to.equal('unparsable: not JSON');
    expect(new Guard().garbage().fail(10).note).to.match(/^stale: ECONNREFUSED; what it served last is unparsable/);
  });

  describe('with a list from an earlier process', () => {
    const restored = () => new Guard().on({ on: 'restored', hosts: hosts(4) });

    it('puts nothing in force before the source had its say.', () => {
      expect(restored().inForce).to.equal(null);
    });

    it('uses it when the source fails, serves garbage, or a suspect list.', () => {
      for (const guard of [restored().fail(), restored().garbage(), restored().serve([]), restored().serve(hosts(1))]) {
        expect(guard.inForce).to.have.length(4);
        expect(guard.note).not.to.equal(null);
        expect(guard.actions).to.deep.include({ do: 'publish', hosts: hosts(4), first: true, save: false });
      }
    });

    it('takes a sound list of the source instead, and writes nothing when it is the same.', () => {
      expect(restored().serve(hosts(5)).actions).to.deep.equal([
        { do: 'publish', hosts: hosts(5), first: true, save: true },
      ]);
      expect(restored().serve(hosts(4)).actions).to.deep.equal([
        { do: 'publish', hosts: hosts(4), first: true, save: false },
      ]);
    });
  });

  describe('at the floor', () => {
    const drained = (down: number) => hosts(4).map((host, i) => ({ ...host, enabled: i >= down }));

    it('A list that takes eligible servers below the floor is obeyed and shouted about.', () => {
      const guard = new Guard().serve(hosts(4)).serve(drained(3));
      expect(guard.inForce).to.deep.equal(drained(3));
      expect(guard.said).to.deep.equal([
        'critical: pool list obeyed, but 1 of 4 servers are enabled and resolved, the depool threshold needs 2',
      ]);
    });

    it('With admin-floor it is refused, however long it is served; by hand it passes.', () => {
      const guard = new Guard({ adminFloor: true }).serve(hosts(4)).serve(drained(3), 300);
      expect(guard.inForce).to.deep.equal(hosts(4));
      expect(guard.note).to.equal(
        'refused: 1 of 4 servers would be enabled and resolved, the depool threshold needs 2',
      );
      expect(guard.accept().inForce).to.deep.equal(drained(3));
    });

    it('With admin-floor a list that is suspect, too, is still refused when it was served for the time of confirmation.', () => {
      const guard = new Guard({ adminFloor: true }).serve(hosts(4)).serve(hosts(1, { enabled: false }), 300);
      expect(guard.inForce).to.deep.equal(hosts(4));
    });

    it('With admin-floor the floor itself may be reached.', () => {
      expect(new Guard({ adminFloor: true }).serve(hosts(4)).serve(drained(2)).inForce).to.deep.equal(drained(2));
    });

    it('A host without address is not eligible.', () => {
      const guard = new Guard({ adminFloor: true }).serve(hosts(4));
      guard.serve(drained(2), 1, { unresolved: new Set(['cp4']) });
      expect(guard.note).to.match(/^refused: 1 of 4/);
    });

    it('A pool that is below its floor already may be edited for the better, not for the worse.', () => {
      const low = () => new Guard({ adminFloor: true }).serve(drained(4));
      expect(low().serve(drained(3)).inForce).to.deep.equal(drained(3));
      expect(low().serve(drained(3)).serve(drained(4)).inForce).to.deep.equal(drained(3));
    });

    it('A refused list that becomes acceptable by itself, when its hosts resolve, is accepted.', () => {
      const guard = new Guard({ adminFloor: true }).serve(hosts(4));
      guard.serve(drained(2), 5, { unresolved: new Set(['cp4']) });
      expect(guard.serve(drained(2)).inForce).to.deep.equal(drained(2));
    });
  });

  describe('whatever the source does', () => {
    const list = fc
      .array(fc.record({ host: fc.integer({ min: 1, max: 8 }), weight: fc.nat(2), enabled: fc.boolean() }), {
        maxLength: 8,
      })
      .map((entries) => [...new Map(entries.map((entry) => [entry.host, entry])).values()])
      .map((entries) => entries.map((entry) => ({ ...entry, host: `cp${entry.host}` })));
    type Doing = (guard: Guard) => Guard;
    const doing: fc.Arbitrary<Doing> = fc.oneof(
      fc.tuple(list, fc.integer({ min: 1, max: 30 })).map(
        ([served, seconds]): Doing =>
          (guard) =>
            guard.serve(served, seconds),
      ),
      fc.integer({ min: 1, max: 30 }).map(
        (seconds): Doing =>
          (guard) =>
            guard.fail(seconds),
      ),
      fc.constant<Doing>((guard) => guard.garbage()),
    );
    const config = fc.record({
      poolShrinkLimit: fc.constantFrom(0, 0.5, 0.9, 1),
      poolShrinkConfirmSeconds: fc.constantFrom(40, 60),
      adminFloor: fc.boolean(),
    });

    it('a pool shrinks below the limit, or to nothing, only after the list was served for the time of confirmation.', () => {
      fc.assert(
        fc.property(config, fc.array(doing, { maxLength: 40 }), (over, doings) => {
          const guard = new Guard(over);
          let served: readonly PoolHost[] | null = null;
          let seconds = 0;
          const watch = new Proxy(guard, {});
          const on = guard.on.bind(guard);
          guard.on = (event) => {
            const before = guard.inForce;
            // An independent count of how long the same list has been served without another one in between.
            if (event.on === 'unparsable') served = null;
            if (event.on === 'list') {
              seconds = served !== null && sameHosts(served, event.hosts) ? seconds + 1 : 0;
              served = event.hosts;
            }
            on(event);
            const after = guard.inForce;
            if (after === before || after === null) return guard;
            expect(event.on).to.equal('list');
            const least = (before?.length ?? 0) * guard.config.poolShrinkLimit;
            if (after.length === 0 || after.length < least) {
              expect(seconds).to.be.at.least(guard.config.poolShrinkConfirmSeconds);
            }
            return guard;
          };
          for (const act of doings) act(watch);
        }),
        { numRuns: 500, seed: 6 },
      );
    });

    it('a list that is served for good is in force in the end, unless admin-floor refuses it.', () => {
      fc.assert(
        fc.property(config, fc.array(doing, { maxLength: 20 }), list, (over, doings, last) => {
          const guard = new Guard(over);
          for (const act of doings) act(guard);
          guard.serve(last, guard.config.poolShrinkConfirmSeconds + 2);
          if (guard.config.adminFloor && guard.state.pending?.why === 'refused') {
            const eligible = last.filter((host) => host.enabled).length;
            expect(eligible).to.be.below(Math.ceil(last.length * guard.config.depoolThreshold));
            guard.accept();
          }
          expect(sameHosts(guard.inForce ?? hosts(99), last)).to.equal(true);
          expect(guard.note).to.equal(null);
        }),
        { numRuns: 500, seed: 6 },
      );
    });

    it('also when every other question fails.', () => {
      const guard = new Guard().serve(hosts(4));
      for (let i = 0; i < 200; i++) guard.serve([]).fail();
      expect(guard.inForce).to.deep.equal([]);
    });
  });
});
