// The monitors that simulated directors know, by the names that configuration uses: the real ones.

import idleConnection from '../../monitors/idleconnection.ts';
import proxyFetch from '../../monitors/proxyfetch.ts';
import runCommand from '../../monitors/runcommand.ts';
import type { MonitorModule } from '../../src/health/monitor.ts';

// A module's `create` takes its own options; whoever handles modules in general gives each what its rows decode to.
const MODULES = [idleConnection, proxyFetch, runCommand] as readonly unknown[] as readonly MonitorModule[];

export const MONITORS: ReadonlyMap<string, MonitorModule> = new Map(
  MODULES.flatMap((module) => [module.name, ...(module.aliases ?? [])].map((name) => [name.toLowerCase(), module])),
);
