// The pools of all services: where servers come from. Built once by the daemon, told of each configuration, and stopped at
// the end. It emits `pool` facts; the addresses of hosts go to `onCandidate`, whose owner decides when a server moves.

import { isAnother } from '../config/identity.ts';
import type { ServiceConfig } from '../config/types.ts';
import type { Fact } from '../decision/facts.ts';
import { inTime } from '../lib/in-time.ts';
import type { World } from '../world/world.ts';
import { Resolver } from './resolve.ts';
import { ServicePool, type PoolContext, type PoolStatus } from './service-pool.ts';

export type { PoolStatus } from './service-pool.ts';

export interface PoolSettings {
  readonly stateDirectory: string;
  readonly resolveIntervalSeconds: number;
}

/** How long stop() waits for a disk. */
const STOP_MS = 3000;

export class Pools {
  readonly #context: PoolContext;
  readonly #pools = new Map<string, ServicePool>();
  /** Pools of services that left the configuration, until they have ended. */
  readonly #ending = new Set<Promise<void>>();

  /**
   * `onCandidate` is called after the `pool` fact that names the host, then whenever its address changes; null: DNS says
   * none that it may use (not resolved, or another host of the service has it, or it is the VIP). So no two hosts of a service
   * are given one address at a time. Nothing is called for hosts that left the list.
   */
  constructor(
    world: World,
    emit: (fact: Fact) => void,
    onCandidate: (service: string, host: string, address: string | null) => void,
  ) {
    this.#context = { world, emit, onCandidate, resolver: new Resolver(world) };
  }

  /** Only the difference: pools of services that stay keep their list, their source's state and their addresses. */
  configure(services: readonly ServiceConfig[], settings: PoolSettings): void {
    this.#context.resolver.setInterval(settings.resolveIntervalSeconds);
    const wanted = new Set(services.map((service) => service.name));
    for (const [name, pool] of [...this.#pools]) if (!wanted.has(name)) this.#end(name, pool);
    for (const service of services) {
      const pool = this.#pools.get(service.name);
      if (pool !== undefined && !isAnother(pool.config, service)) {
        pool.configure(service, settings.stateDirectory);
        continue;
      }
      if (pool !== undefined) this.#end(service.name, pool);
      this.#pools.set(service.name, new ServicePool(this.#context, service, settings.stateDirectory));
    }
  }

  /** Ask every source now, for all that it has. */
  reread(): void {
    for (const pool of this.#pools.values()) pool.reread();
  }

  /** Put the suspect or refused list of a service in force, by hand. False: there is none. */
  accept(service: string): boolean {
    return this.#pools.get(service)?.accept() ?? false;
  }

  status(): ReadonlyMap<string, PoolStatus> {
    return new Map([...this.#pools].map(([name, pool]) => [name, pool.status()]));
  }

  /** Resolves when every loop has ended and the lists are on disk, or when that takes too long. */
  async stop(): Promise<void> {
    for (const [name, pool] of [...this.#pools]) this.#end(name, pool);
    const { clock, log } = this.#context.world;
    const ended = await inTime(clock, STOP_MS, Promise.all(this.#ending));
    const text = 'Not waiting for a disk that does not answer: last good lists may be older than they could be';
    this.#ending.clear();
    if (ended === null) log({ level: 'warn', system: 'pybal', text });
    await this.#context.resolver.stop();
  }

  #end(name: string, pool: ServicePool): void {
    this.#pools.delete(name);
    const ending = pool.stop().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }
}
