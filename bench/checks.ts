// `npm run bench:checks`: what a health check costs, by our runner with its real monitors beside keepalived's checker and
// ldirectord. All ask the same nginx, from one core, in turns, several rounds; nginx says how many checks there were. Then
// how late checks start, and beside Node alone and a floor of system calls what idle connections cost and how soon their loss is told.
// Needs root, and runs in namespaces of its own. CPU is that of all threads of the checker's process. The last line is JSON; ratios
// above 1 mean that we are better.
// usage: checks.js [--rounds 3] [--seconds 5] [--idle 19000] [--only cost,peak,lateness,idle]

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { eventually, requireTools } from '../test/support/namespace.ts';
import {
  type Checker,
  floorHolder,
  nodeHolder,
  type Ordered,
  type Ours,
  prober,
  startKeepalived,
  startLdirectord,
  startOurs,
} from './checks/checkers.ts';
import type { Holding, Job, Report } from './checks/prober.ts';
import { type Ending, PORT, type Served, Site, startIdleServers } from './checks/site.ts';
import { median } from './median.ts';
import { inOwnNamespace } from './own-namespace.ts';
import { usage } from './process-usage.ts';

const SERVERS = 1000;
const WARM_UP_MS = 5_000;
/** With the shortest interval that a configuration may have: 30,000 checks a second. */
const PEAK = { servers: 3_000, intervalSeconds: 0.1 } as const;
const LATENESS_SERVERS = 5_000;
/** Held connections have been held for a while: where little happens V8 gives back what it does not need, in 25 to 45 s. */
const SETTLE_MS = 60_000;

const { values: given } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    idle: { type: 'string', default: '19000' },
    only: { type: 'string', default: 'cost,peak,lateness,idle' },
  },
});

interface Sample {
  readonly perSecond: number;
  /** CPU per 1,000 checks. */
  readonly cpuMs: number;
  readonly rssMb: number;
}

interface Row {
  readonly name: string;
  /** What nginx counts of it. */
  readonly counts: keyof Served;
  start(folder: string): Promise<Checker | Ours>;
}

function ours(name: string, counts: keyof Served, job: Omit<Job, 'servers'> & { readonly servers?: number }): Row {
  return { name, counts, start: () => startOurs({ servers: SERVERS, ...job }) };
}

function keepalived(
  name: string,
  counts: keyof Served,
  check: Parameters<typeof startKeepalived>[1]['check'],
  { servers, intervalSeconds }: { readonly servers: number; readonly intervalSeconds: number } = {
    servers: SERVERS,
    intervalSeconds: 1,
  },
): Row {
  const start = (folder: string) => startKeepalived(folder, { check, servers, delaySeconds: intervalSeconds });
  return { name, counts, start };
}

const FETCH = { monitor: 'ProxyFetch', port: PORT.http } as const;
const HTTP = { monitor: 'HTTP', port: PORT.http } as const;
const URL = 'http://bench.example/';

const COSTS: readonly Row[] = [
  keepalived('keepalived HTTP', 'requests', 'HTTP_GET'),
  // As keepalived does, to the last octet of the body.
  ours('ours HTTP', 'requests', { ...HTTP, options: { url: [URL], interval: 1 } }),
  ours('ours ProxyFetch', 'requests', { ...FETCH, options: { url: [URL], interval: 1 } }),
  ours('ours HTTP keep-alive', 'requests', { ...HTTP, options: { url: [URL], interval: 1, 'keep-alive': true } }),
  keepalived('keepalived TLS', 'requests', 'SSL_GET'),
  ours('ours TLS', 'requests', {
    ...FETCH,
    port: PORT.https,
    options: { url: ['https://bench.example/'], interval: 1 },
  }),
  { name: 'ldirectord HTTP', counts: 'requests', start: async (folder) => startLdirectord(folder, 200) },
  keepalived('keepalived TCP', 'connections', 'TCP_CHECK'),
  ours('ours TCP', 'connections', { monitor: 'TCP', port: PORT.http, options: { interval: 1 } }),
];

const PEAKS: readonly Row[] = [
  keepalived('keepalived HTTP peak', 'requests', 'HTTP_GET', PEAK),
  ours('ours ProxyFetch peak', 'requests', {
    ...FETCH,
    servers: PEAK.servers,
    options: { url: [URL], interval: PEAK.intervalSeconds },
  }),
];

async function main(): Promise<number> {
  requireTools({
    '/usr/sbin/keepalived': 'keepalived',
    '/usr/sbin/ldirectord': 'ldirectord',
    '/usr/sbin/ipvsadm': 'ipvsadm',
    '/usr/sbin/nginx': 'nginx-light',
    '/usr/bin/gcc': 'gcc',
    '/usr/bin/taskset': 'util-linux',
    '/usr/bin/unshare': 'util-linux',
  });
  return inOwnNamespace(measureAll);
}

async function measureAll(): Promise<number> {
  writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', '1024 65000');
  const folder = mkdtempSync(join(tmpdir(), 'bench-checks-'));
  const parts = given.only.split(',');
  try {
    const site = await Site.start(folder);
    try {
      const rows = [...(parts.includes('cost') ? COSTS : []), ...(parts.includes('peak') ? PEAKS : [])];
      const measured = await measureRows(site, rows, folder);
      const lateness = parts.includes('lateness') ? await measureLateness(site) : {};
      const idle = parts.includes('idle') ? await measureIdle(Number(given.idle), folder) : {};
      console.log(JSON.stringify({ ...summary(measured), ...lateness, ...idle }));
    } finally {
      await site.stop();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return 0;
}

/** The rows in turns, so that whatever else the machine does meets all of them. */
async function measureRows(site: Site, rows: readonly Row[], folder: string): Promise<ReadonlyMap<string, Sample>> {
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < Number(given.rounds); round++) {
    for (const row of rows) {
      const list = samples.get(row.name) ?? [];
      list.push(await measure(site, row, folder));
      samples.set(row.name, list);
    }
  }
  const head = ['checks/s', 'CPU ms per 1000', 'RSS MB'].map((title) => title.padStart(18)).join('');
  if (rows.length > 0) console.log(`${''.padEnd(24)}${head}`);
  const medians = new Map<string, Sample>();
  for (const [name, list] of samples) {
    const middle = (pick: (sample: Sample) => number) => median(list.map(pick));
    const sample: Sample = {
      perSecond: middle(({ perSecond }) => perSecond),
      cpuMs: middle(({ cpuMs }) => cpuMs),
      rssMb: middle(({ rssMb }) => rssMb),
    };
    const cells = [sample.perSecond.toFixed(0), sample.cpuMs.toFixed(1), sample.rssMb.toFixed(1)];
    console.log(`${name.padEnd(24)}${cells.map((cell) => cell.padStart(18)).join('')}`);
    medians.set(name, sample);
  }
  return medians;
}

async function measure(site: Site, row: Row, folder: string): Promise<Sample> {
  const checker = await row.start(folder);
  try {
    await sleep(WARM_UP_MS);
    const before = { ...usage(checker.pid), ...(await site.served()), at: performance.now() };
    await sleep(Number(given.seconds) * 1000);
    const after = { ...usage(checker.pid), ...(await site.served()), at: performance.now() };
    const checks = after[row.counts] - before[row.counts];
    if (checks < 100) throw new Error(`${row.name}: only ${checks} checks`);
    // One that fails sooner would be cheaper.
    if ('order' in checker) allUp(await checker.order({ do: 'report' }));
    return {
      perSecond: (checks * 1000) / (after.at - before.at),
      cpuMs: ((after.cpuMs - before.cpuMs) * 1000) / checks,
      rssMb: after.rssMb,
    };
  } finally {
    await checker.stop();
  }
}

async function measureLateness(site: Site): Promise<{ readonly latenessP99Ms: number }> {
  const checker = await startOurs({ ...FETCH, servers: LATENESS_SERVERS, options: { url: [URL], interval: 1 } });
  try {
    await sleep(WARM_UP_MS);
    const before = { ...(await checker.order({ do: 'report' })), ...(await site.served()), at: performance.now() };
    await sleep(Number(given.seconds) * 1000);
    const after = { ...(await checker.order({ do: 'report' })), ...(await site.served()), at: performance.now() };
    allUp(after);
    const counts = after.lateness.map((count, i) => count - (before.lateness[i] ?? 0));
    const perSecond = ((after.requests - before.requests) * 1000) / (after.at - before.at);
    const [p50, p99, p100] = [0.5, 0.99, 1].map((share) => percentile(counts, share));
    console.log(
      `start of a check at ${perSecond.toFixed(0)}/s: late by ${p50} ms (median), ${p99} ms (99 %), ${p100} ms (longest)`,
    );
    return { latenessP99Ms: p99 ?? Number.NaN };
  } finally {
    await checker.stop();
  }
}

interface Held {
  readonly bytesPerConnection: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** Ours, Node alone, and what the kernel takes for it. */
async function measureIdle(connections: number, folder: string): Promise<Readonly<Record<string, number>>> {
  // Not what it costs but how soon it is counts here: V8 compiles what is new on another core, as it does in the daemon.
  const begin = () => prober(join(folder, 'log'), { anyCore: true });
  const measure = async (ending: Ending) => ({
    ours: await measureHeld('ours', begin, connections, ending, folder),
    node: await measureHeld('Node alone', nodeHolder, connections, ending, folder),
    floor: await measureHeld('the floor', () => floorHolder(folder), connections, ending, folder),
  });
  const [closed, reset] = [await measure('closed'), await measure('reset')];
  const versus = (peer: Held, ours: Held) => Number((peer.lastMs / ours.lastMs).toFixed(2));
  return {
    idleBytesPerConnection: Math.round(closed.ours.bytesPerConnection),
    idleFirstNoticeMs: Number(closed.ours.firstMs.toFixed(1)),
    idleLastNoticeMs: Math.round(closed.ours.lastMs),
    idleLastNoticeVsNode: versus(closed.node, closed.ours),
    idleLastNoticeVsFloor: versus(closed.floor, closed.ours),
    idleResetFirstNoticeMs: Number(reset.ours.firstMs.toFixed(1)),
    idleResetLastNoticeMs: Math.round(reset.ours.lastMs),
    idleResetLastNoticeVsNode: versus(reset.node, reset.ours),
    idleResetLastNoticeVsFloor: versus(reset.floor, reset.ours),
  };
}

/**
 * All servers die at once. Of a connection that was closed nothing follows: whoever had it comes again, is refused, and only then notices
 * that the server is down. A reset is notice enough.
 */
async function measureHeld(
  name: string,
  begin: () => Promise<Ordered<Holding>>,
  connections: number,
  ending: Ending,
  folder: string,
): Promise<Held> {
  const servers = await startIdleServers(folder, ending);
  let holder: Ordered<Holding> | null = null;
  try {
    holder = await begin();
    const { order, pid } = holder;
    await sleep(1_000);
    const empty = usage(pid);
    await order({
      do: 'start',
      job: { monitor: 'IdleConnection', options: {}, servers: connections, port: PORT.idle },
    });
    const report = () => order({ do: 'report' });
    await eventually(
      `${connections} connections`,
      async () => ((await report()).up === connections ? true : null),
      async () => (await report()).complaint,
      60_000,
    );
    await sleep(SETTLE_MS);
    const held = usage(pid);
    await sleep(Number(given.seconds) * 1000);
    const later = usage(pid);
    const killedAt = Number(process.hrtime.bigint()) / 1e6;
    servers.kill('SIGTERM');
    // Whoever asks how far it is keeps it from what it has to do.
    await sleep(3_000);
    const lost = await eventually(
      'all losses',
      async () => {
        const now = await report();
        return now.lost === connections ? now : null;
      },
      async () => JSON.stringify({ ...(await report()), lateness: [] }),
    );
    const bytesPerConnection = ((later.rssMb - empty.rssMb) * 2 ** 20) / connections;
    const [firstMs, lastMs] = [lost.firstLostAt - killedAt, lost.lastLostAt - killedAt];
    console.log(
      `${connections} idle connections, ${name}: ${bytesPerConnection.toFixed(0)} B each ` +
        `(RSS ${empty.rssMb.toFixed(0)} → ${later.rssMb.toFixed(0)} MB), ` +
        `${((later.cpuMs - held.cpuMs) / Number(given.seconds)).toFixed(1)} ms CPU per second; ` +
        `all ${ending} at once: first told after ${firstMs.toFixed(1)} ms, last after ${lastMs.toFixed(0)} ms`,
    );
    return { bytesPerConnection, firstMs, lastMs };
  } finally {
    servers.kill('SIGKILL');
    await holder?.stop();
  }
}

function summary(rows: ReadonlyMap<string, Sample>): Readonly<Record<string, number | null>> {
  const versus = (peer: string, us: string) => {
    const ratio = (rows.get(peer)?.cpuMs ?? Number.NaN) / (rows.get(us)?.cpuMs ?? Number.NaN);
    return Number.isNaN(ratio) ? null : Number(ratio.toFixed(2));
  };
  const peak = rows.get('ours ProxyFetch peak');
  return {
    httpFreshVsKeepalived: versus('keepalived HTTP', 'ours HTTP'),
    httpKeepaliveVsKeepalived: versus('keepalived HTTP', 'ours HTTP keep-alive'),
    tcpVsKeepalived: versus('keepalived TCP', 'ours TCP'),
    tlsVsKeepalived: versus('keepalived TLS', 'ours TLS'),
    httpVsLdirectord: versus('ldirectord HTTP', 'ours HTTP'),
    peakPerSecond: peak === undefined ? null : Math.round(peak.perSecond),
  };
}

function allUp({ up, down, unknown, complaint }: Report): void {
  if (down + unknown > 0) throw new Error(`${down} are down, ${unknown} unknown, ${up} up: ${complaint}`);
}

/** The upper end of the place below which this share lies. */
function percentile(counts: readonly number[], share: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (const [place, count] of counts.entries()) {
    below += count;
    if (below >= total * share) return place + 1;
  }
  return Number.NaN;
}

process.exitCode = await main();
