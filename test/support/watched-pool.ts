// One service's pool as the daemon has it, over the operating system's world: for sources that are real servers.

import type { ServiceConfig } from '../../src/config/types.ts';
import type { PoolHost } from '../../src/decision/facts.ts';
import { Pools, type PoolStatus } from '../../src/pools/pools.ts';
import { systemAuthorities } from '../../src/world/real/authorities.ts';
import { createClock } from '../../src/world/real/clock.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { createHttp } from '../../src/world/real/http.ts';
import { createNames } from '../../src/world/real/names.ts';
import type { World } from '../../src/world/world.ts';
import { FakeWorld } from './fake-world.ts';
import { eventually } from './namespace.ts';
import { serviceConfig } from './service-config.ts';

export class WatchedPool {
  readonly pools: Pools;
  readonly #fake = new FakeWorld();
  /** Every list that was in force, as text. */
  readonly lists: string[] = [];
  /** Of hosts, as last told. */
  readonly addresses = new Map<string, string | null>();

  constructor(service: Partial<ServiceConfig>, over: Partial<World> = {}, resolveIntervalSeconds = 60) {
    const names = createNames();
    const world: World = {
      ...this.#fake.world,
      clock: createClock(),
      random: Math.random,
      names,
      files: { ...createFiles(), replace: () => Promise.resolve() },
      http: createHttp(names, systemAuthorities(), () => {}),
      ...over,
    };
    const emit = (hosts: readonly PoolHost[]) => {
      const text = show(hosts);
      if (this.lists.at(-1) !== text) this.lists.push(text);
    };
    this.pools = new Pools(
      world,
      (fact) => {
        if (fact.is === 'pool') emit(fact.list.hosts);
      },
      (_service, host, address) => void this.addresses.set(host, address),
    );
    this.pools.configure([serviceConfig({ vip: '192.0.2.1', ...service })], {
      stateDirectory: '/nonexistent',
      resolveIntervalSeconds,
    });
  }

  get status(): PoolStatus {
    const status = this.pools.status().get('text');
    if (status === undefined) throw new Error('no pool');
    return status;
  }

  get list(): string {
    return this.lists.at(-1) ?? '';
  }

  get log(): readonly string[] {
    return this.#fake.lines;
  }

  /** Until the list in force is this one. */
  async becomes(list: string, limitMs = 15_000): Promise<void> {
    await eventually(
      list,
      () => (this.list === list ? true : null),
      () => this.describe(),
      limitMs,
    );
  }

  /** Until the source's last failure is this one. */
  async fails(reason: RegExp, limitMs = 15_000): Promise<string> {
    const look = () => (reason.test(this.status.lastError ?? '') ? this.status.lastError : null);
    return eventually(`${reason}`, look, () => this.describe(), limitMs);
  }

  async state(state: PoolStatus['state'], limitMs = 25_000): Promise<void> {
    await eventually(
      state,
      () => (this.status.state === state ? true : null),
      () => this.describe(),
      limitMs,
    );
  }

  describe(): string {
    return `${this.lists.join(' | ')}; ${JSON.stringify(this.status)}; ${this.log.join(' / ')}`;
  }

  stop(): Promise<void> {
    return this.pools.stop();
  }
}

/** `10.0.0.1=10 10.0.0.2=0!`: weights, and which ones are disabled. */
export function show(hosts: readonly PoolHost[]): string {
  const words = hosts.map(({ host, weight, enabled }) => `${host}=${weight}${enabled ? '' : '!'}`);
  return words.sort().join(' ');
}
