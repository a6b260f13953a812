// How long the daemon's thread stands still in honest work, as BFD's worker sees it: the longest time between two signs of life
// with 1,000 services of 20 servers, beside the limit after which BFD calls the daemon wedged (bfd-wedged-after). The daemon as it
// is, on the real clock, with configuration and pools in memory, and a kernel in memory whose whole table is copied in one piece
// (the real one comes in slices). `npm run bench:standstill [-- SERVICES]`. Prints a table, then one line of JSON; exit code 1
// when anything took half the limit.

import { readdirSync } from 'node:fs';
import { loadMonitor } from '../src/health/loader.ts';
import { HEARTBEAT_MS } from '../src/bfd/types.ts';
import { Daemon } from '../src/daemon.ts';
import type { Health } from '../src/health/monitor.ts';
import { SystemError } from '../src/lib/errors.ts';
import type { AddressOp, HostAddress } from '../src/vip/addresses.ts';
import { createClock } from '../src/world/real/clock.ts';
import type { World } from '../src/world/world.ts';
import { closedWorld, readyMonitor, tableKernel } from './in-memory.ts';

const SERVICES = Number(process.argv[2] ?? 1_000);
const SERVERS = 20;
const PHASE_LIMIT_MS = 120_000;
/** The default of bfd-wedged-after. */
const WEDGED_MS = 2_000;

const clock = createClock();
const kernel = tableKernel();
const { served, ...closed } = closedWorld();
const addresses = new Map<string, HostAddress>();
let health: Health = { is: 'up' };
let threshold = '.5';
let scheduler = 'wrr';

/** As a worker would see it. */
const life = { last: performance.now(), longestMs: 0 };
const alive = (): void => {
  const now = performance.now();
  life.longestMs = Math.max(life.longestMs, now - life.last);
  life.last = now;
};

function configuration(): string {
  const service = (i: number) => `
[service${i}]
protocol = tcp
ip = 10.${i >> 8}.${i & 255}.1
port = 80
scheduler = ${scheduler}
config = file:///pool/${i}
depool-threshold = ${threshold}
monitors = [ 'Bench' ]
`;
  const global = `[global]
bgp = yes
bgp-local-asn = 64600
bgp-peer-address = [ '192.0.2.1' ]
bgp-nexthop-ipv4 = 192.0.2.10
bfd = yes
`;
  return global + Array.from({ length: SERVICES }, (_, i) => service(i)).join('');
}

function content(path: string): Uint8Array {
  if (path === '/pybal.conf') return Buffer.from(configuration());
  const [, number] = /^\/pool\/(\d+)$/.exec(path) ?? [];
  if (number === undefined) throw new SystemError('ENOENT', `read ${path}`);
  const line = (i: number) => `{'host': '10.200.${i}.${Number(number) & 255}', 'weight': 10, 'enabled': True}\n`;
  return Buffer.from(Array.from({ length: SERVERS }, (_, i) => line(i)).join(''));
}

function applyAddress(op: AddressOp): null {
  if (op.do === 'add-address')
    addresses.set(op.address, { address: op.address, prefixLength: 32, interface: 'lo', protocol: 0 });
  else addresses.delete(op.address);
  return null;
}

const monitor = readyMonitor(10, () => health);

const world: World = {
  clock,
  random: Math.random,
  names: { resolve: async (host) => [host], resolveService: async () => [] },
  ...closed,
  files: {
    read: async (path) => content(path),
    stat: async (path) => ({ mtimeMs: 0, ctimeMs: 0, size: content(path).length, inode: 1, mode: 0o100644 }),
    replace: async () => {},
  },
  // A router that refuses.
  streams: { ...closed.streams, connect: () => Promise.reject(new SystemError('ECONNREFUSED', 'connect')) },
  bfd: { configure: () => {}, alive, status: () => [], stop: async () => {} },
  ipvs: kernel,
  vips: { list: async () => new Map(addresses), apply: async (ops) => ops.map(applyAddress) },
  monitor: async (name) => (name.toLowerCase() === 'bench' ? monitor : null),
  self: () => ({
    loopLateMs: 0,
    lateSince: () => 0,
    stalledSince: () => 0,
    kernelId: 'bench',
    addresses: ['192.0.2.10'],
  }),
  log: () => {},
};

const daemon = new Daemon(world, {
  configPath: '/pybal.conf',
  version: 'bench',
  backend: 'netlink',
  exit: (code) => {
    if (code !== 0) throw new Error(`exit ${code}`);
  },
});

interface Phase {
  readonly name: string;
  readonly longestMs: number;
  readonly tookMs: number;
}

async function phase(name: string, start: () => unknown, done: () => boolean = () => true): Promise<Phase> {
  const began = performance.now();
  life.last = began;
  life.longestMs = 0;
  await start();
  while (!done()) {
    if (performance.now() - began > PHASE_LIMIT_MS) throw new Error(`${name} did not end in time`);
    await clock.sleep(20);
  }
  const tookMs = performance.now() - began;
  // The beat that is due.
  await clock.sleep(3 * HEARTBEAT_MS);
  return { name, longestMs: life.longestMs, tookMs };
}

async function ask(url: string): Promise<void> {
  const handle = [...served.values()][0];
  if (handle === undefined) throw new Error('nothing is served');
  const { status } = await handle({ method: 'GET', url, headers: {} });
  if (status !== 200) throw new Error(`${url} answered ${status}`);
}

const destinations = (): number => [...kernel.table.values()].reduce((sum, entry) => sum + entry.destinations.size, 0);
const schedulers = (): ReadonlySet<string> =>
  new Set([...kernel.table.values()].map(({ service }) => service.scheduler));
const all = SERVICES * SERVERS;
const BUILT_IN = readdirSync(new URL('../monitors/', import.meta.url))
  .filter((file) => file.endsWith('.js'))
  .map((file) => file.replace(/\.js$/, ''));

const phases = [
  await phase(
    `start with ${SERVICES} services of ${SERVERS} servers, all programmed`,
    () => daemon.start(),
    () => destinations() === all,
  ),
  await phase('30 s of checks and read-backs of the whole table', () => clock.sleep(30_000)),
  await phase('reload that changes nothing', () => {
    daemon.hangUp();
    return clock.sleep(2_000);
  }),
  await phase(
    'reload that changes every service',
    () => {
      scheduler = 'sh';
      threshold = '.7';
      daemon.hangUp();
    },
    () => schedulers().size === 1 && schedulers().has('sh'),
  ),
  await phase(
    'every server goes down, the depool threshold holds its share',
    () => (health = { is: 'down', reason: 'bench' }),
    () => destinations() === SERVICES * Math.ceil(SERVERS * 0.7),
  ),
  await phase(
    'every server comes back',
    () => (health = { is: 'up' }),
    () => destinations() === all,
  ),
  await phase('status asked for', () => ask('/v1/status')),
  await phase('metrics asked for', () => ask('/v1/metrics')),
  await phase('state dumped to the log', () => daemon.dump()),
  await phase(`modules of ${BUILT_IN.length} monitors loaded`, async () => {
    for (const name of BUILT_IN) await loadMonitor(name, []);
  }),
];
for (const { name, longestMs, tookMs } of phases) {
  console.log(
    `${name.padEnd(64)} silent for ${longestMs.toFixed(0).padStart(5)} ms at most, took ${tookMs.toFixed(0)} ms`,
  );
}
const longestMs = Math.round(Math.max(...phases.map((each) => each.longestMs)));
console.log(JSON.stringify({ services: SERVICES, servers: all, longestMs, wedgedMs: WEDGED_MS }));
process.exit(longestMs < WEDGED_MS / 2 ? 0 : 1);
