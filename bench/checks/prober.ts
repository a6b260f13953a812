// A program: the runner as the daemon runs it, with the real world, the built-in monitors and a log at level `info`, but nobody
// who decides anything. In a process of its own, so that its CPU and memory are its own too. The bench asks it over IPC.

import { parseArgs } from 'node:util';
import type { Fact } from '../../src/decision/facts.ts';
import { loadMonitor } from '../../src/health/loader.ts';
import { HealthRunner } from '../../src/health/runner.ts';
import { createLogSink } from '../../src/log/sink.ts';
import { tuneEngine } from '../../src/world/real/engine.ts';
import { createRealWorld } from '../../src/world/real/world.ts';
import { withDefaults } from '../../test/support/monitor-bench.ts';
import { serviceConfig } from '../../test/support/service-config.ts';
import { addressOf } from './site.ts';

export interface Job {
  readonly monitor: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly servers: number;
  readonly port: number;
  /** The first two numbers of their addresses; 127.1 if absent. */
  readonly network?: string;
}

export type Order = { readonly do: 'start'; readonly job: Job } | { readonly do: 'report' };

/** Whoever holds connections. Times are of CLOCK_MONOTONIC, ms. */
export interface Holding {
  readonly up: number;
  /** What a server that is not up says. */
  readonly complaint: string;
  /** Servers that became down since they were up, and when the first and the last of them were told of. */
  readonly lost: number;
  readonly firstLostAt: number;
  readonly lastLostAt: number;
}

export interface Report extends Holding {
  readonly down: number;
  readonly unknown: number;
  /** Checks that started late by so many milliseconds; the last place is for all above. */
  readonly lateness: readonly number[];
  /** How late the event loop has been in the last second or two. */
  readonly loopLateMs: number;
  readonly rssMb: number;
}

tuneEngine();
const { values } = parseArgs({ options: { log: { type: 'string' } } });
const sink = createLogSink({
  to: { path: values.log ?? '/dev/null' },
  style: { format: 'text', prefix: 'time' },
  level: 'info',
  wall: Date.now,
});
const world = await createRealWorld({
  backend: 'userspace',
  log: sink.write,
  logsDebug: false,
  loadMonitor: (name) => loadMonitor(name, []),
});
/** CLOCK_MONOTONIC when performance.now() was 0. */
const monotonic = Number(process.hrtime.bigint()) / 1e6 - performance.now();
const lost = { count: 0, firstAt: 0, lastAt: 0 };
const health = new Map<string, string>();
const runner = new HealthRunner(world, onFact, () => 'enabled/up/pooled');

function onFact(fact: Fact): void {
  if (fact.is !== 'health') return;
  const before = health.get(fact.host);
  health.set(fact.host, fact.health?.is ?? 'unknown');
  if (before !== 'up' || fact.health?.is !== 'down') return;
  lost.lastAt = monotonic + performance.now();
  if (lost.count++ === 0) lost.firstAt = lost.lastAt;
}

async function start({ monitor, options, servers, port, network }: Job): Promise<void> {
  const module = await world.monitor(monitor);
  if (module === null) throw new Error(`there is no monitor ${monitor}`);
  const hosts = Array.from({ length: servers }, (_, i) => ({ host: `cp${i}`, weight: 1, enabled: true }));
  const config = serviceConfig({ name: 'bench', realPort: port, monitorsNeeded: 1 });
  runner.configure([{ config, monitors: [{ module, options: withDefaults(module, options) }], hosts }]);
  for (const [i, { host }] of hosts.entries()) runner.candidate('bench', host, addressOf(i, network));
}

function report(): Report {
  const status = runner.status();
  const number = (is: string) => status.filter((check) => check.is === is).length;
  return {
    up: number('up'),
    down: number('down'),
    unknown: number('unknown'),
    complaint: status.find(({ is }) => is !== 'up')?.last ?? '',
    lost: lost.count,
    firstLostAt: lost.firstAt,
    lastLostAt: lost.lastAt,
    lateness: [...runner.lateness.counts],
    loopLateMs: world.self().loopLateMs,
    rssMb: process.memoryUsage.rss() / 2 ** 20,
  };
}

process.on('message', (order: Order) => {
  void (async () => {
    if (order.do === 'start') await start(order.job);
    process.send?.(report());
  })();
});
process.on('disconnect', () => process.exit(0));
process.send?.(report());
