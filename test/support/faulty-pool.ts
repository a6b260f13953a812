// One service's pool in a fake world, with faults on the path to the server that it comes from: for sources whose server is one
// of the fakes beside this file. Called by the unit tests of such sources.

import { expect } from 'chai';
import type { ServiceConfig } from '../../src/config/types.ts';
import type { PoolHost } from '../../src/decision/facts.ts';
import { SystemError } from '../../src/lib/errors.ts';
import { Pools, type PoolStatus } from '../../src/pools/pools.ts';
import type { HttpResponse } from '../../src/world/world.ts';
import { type FakeRequest, FakeWorld, response, type Streamed } from './fake-world.ts';
import { serviceConfig } from './service-config.ts';
import { show } from './watched-pool.ts';

/** What stands between us and the server. */
export const PATH_FAULTS = ['refuses', 'hangs', 'answers 500', 'is garbage'] as const;
export type PathFault = (typeof PATH_FAULTS)[number];

export class FaultyPool {
  readonly fake = new FakeWorld();
  readonly #pools: Pools;
  /** The list in force. */
  hosts: readonly PoolHost[] = [];
  /** Whether it ever was empty. */
  emptied = false;
  fault: PathFault | 'none' = 'none';
  readonly #breakers = new Set<() => void>();

  constructor(service: Partial<ServiceConfig>, answer: (request: FakeRequest) => HttpResponse | Streamed) {
    this.fake.reply = (request) => {
      if (this.fault === 'refuses') return new SystemError('ECONNREFUSED', `ask ${request.url}`);
      if (this.fault === 'hangs') return 'hang';
      if (this.fault === 'answers 500') return response(500, '{"message":"etcdserver: request timed out"}');
      if (this.fault === 'is garbage') return response(200, '<html>captive portal</html>');
      const answered = answer(request);
      return 'open' in answered ? this.#breakable(answered) : answered;
    };
    this.#pools = new Pools(
      this.fake.world,
      (fact) => {
        if (fact.is !== 'pool') return;
        this.hosts = fact.list.hosts;
        this.emptied ||= fact.list.hosts.length === 0;
      },
      () => {},
    );
    this.#pools.configure([serviceConfig({ poolShrinkLimit: 0, ...service })], {
      stateDirectory: '/state',
      resolveIntervalSeconds: 60,
    });
  }

  /** The connections of all watches break. */
  reset(): void {
    const breakers = [...this.#breakers];
    this.#breakers.clear();
    for (const breaker of breakers) breaker();
  }

  get list(): string {
    return show(this.hosts);
  }

  get status(): PoolStatus | undefined {
    return this.#pools.status().get('text');
  }

  stop(): Promise<void> {
    return this.#pools.stop();
  }

  #breakable(streamed: Streamed): Streamed {
    return {
      open: (push, end) => {
        const close = streamed.open(push, end);
        const breaker = () => {
          close();
          end(new SystemError('ECONNRESET', 'watch'));
        };
        this.#breakers.add(breaker);
        return () => {
          this.#breakers.delete(breaker);
          close();
        };
      },
    };
  }
}

/**
 * Play `acts` with a pool that has just begun. Without any fault the list is what it should be `settleMs` later, it never was
 * empty, and nothing is left behind. `watchers` counts those that the server still has.
 */
export async function expectPlayedOut(
  play: FaultyPool,
  acts: () => Promise<void>,
  { settleMs, expected, watchers }: { settleMs: number; expected: () => string; watchers: () => number },
): Promise<void> {
  try {
    await play.fake.clock.advance(100);
    await acts();
    play.fault = 'none';
    await play.fake.clock.advance(settleMs);
    expect(play.list).to.equal(expected());
    expect(play.emptied).to.equal(false);
  } finally {
    await play.stop();
  }
  expect(play.fake.clock.pending).to.equal(0);
  expect(watchers()).to.equal(0);
}
