// `npm run bench:check-js`: what one health check costs us in JavaScript, above the sockets: the runner with the built-in monitors
// over streams that are memory, in virtual time and as fast as it goes, then as often as it is really asked. CPU is that of the
// whole process, the collector's threads included; what the streams of memory cost is in it, and small. Each row runs in a
// process of its own. Then what a held connection keeps in the heap, and what it costs to tell that thousands of them are lost.
// usage: check-js.js [--seconds 2] [--only HTTP,TCP]

import { spawnSync } from 'node:child_process';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseArgs } from 'node:util';
import type { Fact, PoolHost } from '../src/decision/facts.ts';
import { HealthRunner } from '../src/health/runner.ts';
import { loadMonitor } from '../src/health/loader.ts';
import { createLogSink } from '../src/log/sink.ts';
import { FakeWorld } from '../test/support/fake-world.ts';
import { withDefaults } from '../test/support/monitor-bench.ts';
import { serviceConfig } from '../test/support/service-config.ts';
import { addressOf } from './checks/site.ts';
import { MemoryStreams, Timetable } from './checks/memory-streams.ts';
import { median } from './median.ts';

interface Row {
  readonly name: string;
  readonly monitor: string;
  readonly options: Readonly<Record<string, unknown>>;
  /** What a server says to a request; null: nothing is asked. */
  readonly says: string | null;
}

const URL = 'http://bench.example/';
const BODY = 'x'.repeat(600);
const HEAD = [
  'HTTP/1.1 200 OK',
  'Server: nginx/1.22.1',
  'Date: Mon, 05 Jan 2026 10:00:00 GMT',
  'Content-Type: text/html',
  `Content-Length: ${BODY.length}`,
  'Last-Modified: Mon, 05 Jan 2026 09:00:00 GMT',
];
const CLOSING = [...HEAD, 'Connection: close', 'ETag: "695b7f10-258"', 'Accept-Ranges: bytes', '', BODY].join('\r\n');
const KEEPING = [...HEAD, 'Connection: keep-alive', 'ETag: "695b7f10-258"', '', BODY].join('\r\n');

const ROWS: readonly Row[] = [
  { name: 'HTTP', monitor: 'HTTP', options: { url: [URL] }, says: CLOSING },
  { name: 'HTTP, the status', monitor: 'HTTP', options: { url: [URL], 'read-body': false }, says: CLOSING },
  { name: 'HTTP keep-alive', monitor: 'HTTP', options: { url: [URL], 'keep-alive': true }, says: KEEPING },
  { name: 'ProxyFetch', monitor: 'ProxyFetch', options: { url: [URL] }, says: CLOSING },
  { name: 'TCP', monitor: 'TCP', options: {}, says: null },
];
const SERVERS = 1000;
const HELD = 20_000;
/** Of what servers do by themselves, so many at once. */
const EVENTS = 64;
const LAPS = 9;
const WARM_UP_CHECKS = 60_000;

const { values: given } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', default: [...ROWS.map(({ name }) => name), 'IdleConnection'].join(',') },
    here: { type: 'boolean', default: false },
  },
});

interface Setup {
  readonly streams: MemoryStreams;
  readonly timetable: Timetable;
  readonly runner: HealthRunner;
  readonly seen: { up: number; down: number; firstDownAtMs: number };
}

interface Host {
  readonly pooled: PoolHost;
  readonly address: string;
}

function hostsOf(count: number): readonly Host[] {
  return Array.from({ length: count }, (_, i) => ({
    pooled: { host: `cp${i}`, weight: 1, enabled: true },
    // In one piece, as the resolver gives it.
    address: addressOf(i).split('.').join('.'),
  }));
}

async function setUp(row: Omit<Row, 'name'>, hosts: readonly Host[]): Promise<Setup> {
  const timetable = new Timetable();
  const streams = new MemoryStreams(
    row.says === null ? null : new TextEncoder().encode(row.says),
    hosts.length === HELD,
  );
  const seen = { up: 0, down: 0, firstDownAtMs: 0 };
  const sink = createLogSink({
    to: { path: '/dev/null' },
    style: { format: 'text', prefix: 'time' },
    level: 'info',
    wall: Date.now,
  });
  const world = {
    ...new FakeWorld().world,
    clock: timetable.clock,
    streams,
    random: () => Math.random(),
    log: sink.write,
    logsDebug: false,
  };
  const onFact = (fact: Fact) => {
    if (fact.is !== 'health') return;
    if (fact.health?.is === 'up') seen.up++;
    if (fact.health?.is !== 'down') return;
    if (seen.down++ === 0) seen.firstDownAtMs = performance.now();
  };
  const runner = new HealthRunner(world, onFact, () => 'enabled/up/pooled');
  const module = await loadMonitor(row.monitor, []);
  if (module === null) throw new Error(`there is no monitor ${row.monitor}`);
  const config = serviceConfig({ name: 'bench', realPort: 80, monitorsNeeded: 1 });
  const interval = module.kind === 'poll' ? { interval: 1 } : {};
  const options = withDefaults(module, { ...row.options, ...interval });
  runner.configure([{ config, monitors: [{ module, options }], hosts: hosts.map(({ pooled }) => pooled) }]);
  for (const { pooled, address } of hosts) runner.candidate('bench', pooled.host, address);
  return { streams, timetable, runner, seen };
}

/** Time goes on to the next timer; everything that happens of it happens. */
async function step({ streams, timetable }: Setup): Promise<void> {
  timetable.next();
  await turn();
  while (streams.busy) {
    streams.deliver(EVENTS);
    await turn();
  }
}

async function measureRow(row: Row): Promise<void> {
  const setup = await setUp(row, hostsOf(SERVERS));
  const { streams } = setup;
  while (streams.asked < WARM_UP_CHECKS) await step(setup);
  const laps: number[] = [];
  for (let lap = 0; lap < LAPS; lap++) {
    const until = performance.now() + (Number(given.seconds) * 1000) / LAPS;
    const before = { ...process.cpuUsage(), asked: streams.asked };
    while (performance.now() < until) await step(setup);
    const { user, system } = process.cpuUsage(before);
    laps.push(((user + system) * 1000) / (streams.asked - before.asked));
  }
  const paced = await inRealTime(setup);
  const bytes = await allocated(setup);
  const status = setup.runner.status();
  const wrong = status.find(({ is }) => is !== 'up');
  if (wrong !== undefined) throw new Error(`${wrong.host}: ${wrong.last}`);
  console.log(
    `${row.name.padEnd(24)}${median(laps).toFixed(0).padStart(8)} ns ${paced.toFixed(0).padStart(8)} ns ${bytes.toFixed(0).padStart(8)} B`,
  );
}

/** A thousand checks a second: caches are cold by then. Waking up for each tick is in it. */
async function inRealTime(setup: Setup): Promise<number> {
  const { streams, timetable } = setup;
  const before = { ...process.cpuUsage(), asked: streams.asked };
  const end = timetable.clock.now() + Number(given.seconds) * 1000;
  for (let now = timetable.clock.now(); now < end; now = timetable.clock.now()) {
    await step(setup);
    await sleep(timetable.clock.now() - now);
  }
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / (streams.asked - before.asked);
}

/** Bytes that one check allocates: nothing is collected meanwhile (see --min-semi-space-size below). */
async function allocated(setup: Setup): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < 9; i++) {
    const before = { bytes: getHeapStatistics().used_heap_size, asked: setup.streams.asked };
    while (setup.streams.asked - before.asked < 500) await step(setup);
    samples.push((getHeapStatistics().used_heap_size - before.bytes) / (setup.streams.asked - before.asked));
  }
  // A collection in between makes one of them negative.
  return median(samples);
}

async function measureHeld(): Promise<void> {
  const collect = collector();
  const row = { monitor: 'IdleConnection', options: {}, says: null };
  const empty = await setUp(row, hostsOf(1));
  await step(empty);
  const hosts = hostsOf(HELD);
  collect();
  const before = process.memoryUsage().heapUsed;
  const setup = await setUp(row, hosts);
  while (setup.seen.up < HELD) await step(setup);
  for (let i = 0; i < 20; i++) await turn();
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / HELD - setup.streams.bytesEach(collect);
  // Longer than a connection must be held to be dialled again at once.
  for (let i = 0; i < 5; i++) setup.timetable.pass(1000);
  setup.streams.refuses = true;
  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  setup.streams.endAll();
  while (setup.streams.busy) {
    setup.streams.deliver(EVENTS);
    await turn();
  }
  const { user, system } = process.cpuUsage(cpu);
  if (setup.seen.down !== HELD) throw new Error(`only ${setup.seen.down} of ${HELD} are down`);
  const first = setup.seen.firstDownAtMs - startedAt;
  console.log(
    `${'IdleConnection'.padEnd(24)}${(((user + system) * 1000) / HELD).toFixed(0).padStart(8)} ns ${bytes.toFixed(0).padStart(8)} B` +
      `   (told as lost; held. First notice after ${first.toFixed(1)} ms)`,
  );
}

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

async function main(): Promise<void> {
  const wanted = given.only.split(',');
  if (given.here) {
    for (const row of ROWS) if (wanted.includes(row.name)) await measureRow(row);
    if (wanted.includes('IdleConnection')) await measureHeld();
    process.exit(0);
  }
  console.log(`${''.padEnd(24)}     CPU   at 1000/s   allocated or held`);
  for (const name of wanted) {
    const [program = ''] = process.argv.slice(1);
    const flags = name === 'IdleConnection' ? [] : ['--min-semi-space-size=128', '--max-semi-space-size=128'];
    const args = [...flags, program, '--here', '--only', name, '--seconds', given.seconds];
    const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' });
    if (status !== 0) throw new Error(`${name}: exit ${status}`);
  }
}

await main();
