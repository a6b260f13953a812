// A health runner in a fake world with one service, and what it told.

import type { Pace, ServiceConfig, Via } from '../../src/config/types.ts';
import type { Path } from '../../src/decision/decision.ts';
import type { Fact } from '../../src/decision/facts.ts';
import type { MonitorModule } from '../../src/health/monitor.ts';
import { HealthRunner } from '../../src/health/runner.ts';
import { destinationKey, fwmarkKey, type IpvsEntry } from '../../src/ipvs/table.ts';
import type { World } from '../../src/world/world.ts';
import { FakeWorld } from './fake-world.ts';
import { AS_ALWAYS, serviceConfig } from './service-config.ts';

export interface Wanted {
  readonly hosts?: readonly string[];
  readonly rise?: number;
  readonly fall?: number;
  readonly needed?: number;
  readonly pace?: Partial<Pace>;
  readonly via?: Via;
  readonly options?: Readonly<Record<string, unknown>>;
}

export function lab(over: Partial<World> = {}, pathTo?: (service: ServiceConfig, address: string) => Path | string) {
  const fake = new FakeWorld();
  const facts: Fact[] = [];
  const runner = new HealthRunner(
    { ...fake.world, ...over },
    (fact) => facts.push(fact),
    () => 'enabled/up/pooled',
    pathTo,
  );
  const config = serviceConfig({ name: 'text_80', monitorsNeeded: 1 });
  const configure = (
    modules: readonly MonitorModule[],
    { hosts = ['cp1'], rise = 1, fall = 1, needed, options = {}, pace = {}, via = 'server' }: Wanted = {},
  ) =>
    runner.configure([
      {
        config: {
          ...config,
          rise,
          fall,
          monitors: modules.map(({ name }) => ({ name, options, pace: { ...AS_ALWAYS, ...pace }, via })),
          monitorsNeeded: needed ?? modules.length,
        },
        monitors: modules.map((module) => ({ module, options, via })),
        hosts: hosts.map((host) => ({ host, weight: 10, enabled: true })),
      },
    ]);
  /** `cp1 up`, `cp1 @10.0.0.9`, in the order of telling. */
  const told = () =>
    facts.flatMap((fact) => {
      if (fact.is === 'address') return [`${fact.host} @${fact.address}`];
      return fact.is === 'health' ? [`${fact.host} ${fact.health?.is ?? 'none'}`] : [];
    });
  return { fake, facts, runner, configure, told };
}

/** One for each server. */
export function addressAt(index: number): string {
  return `10.1.${index >> 8}.${index & 255}`;
}

/** What the kernel has for a path to `address`. */
export function fakeMark(mark: number, address: string): IpvsEntry {
  const destination = {
    key: destinationKey(address, 0),
    address,
    port: 0,
    forward: 'dr',
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
  } as const;
  const service = {
    key: fwmarkKey(mark, 4),
    protocol: 'fwmark',
    address: '0.0.0.0',
    port: 0,
    fwmark: mark,
    scheduler: 'rr',
    flags: 0,
    persistenceSeconds: 0,
    persistencePrefix: 32,
  } as const;
  return { service, destinations: new Map([[destination.key, destination]]) };
}
