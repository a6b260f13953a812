// How long one turn of the event loop gets when a pool is very large: the daemon as it is, on the real clock, with a kernel
// in memory and a monitor that answers by itself. `npm run bench:pool [-- HOSTS]`. Prints a table, then one line of JSON.

import { Daemon } from '../src/daemon.ts';
import type { Health } from '../src/health/monitor.ts';
import { SystemError } from '../src/lib/errors.ts';
import { createClock } from '../src/world/real/clock.ts';
import type { World } from '../src/world/world.ts';
import { createSelf } from '../src/world/real/self.ts';
import { closedWorld, readyMonitor, tableKernel } from './in-memory.ts';

const HOSTS = Number(process.argv[2] ?? 10_000);
const PHASE_LIMIT_MS = 120_000;
const INTERVAL_SECONDS = 5;

const CONFIGURATION = `
[text]
protocol = tcp
ip = 10.0.0.1
port = 80
scheduler = wrr
config = file:///pool
depool-threshold = .5
monitors = [ 'Bench' ]
bgp = no
`;

interface Phase {
  readonly name: string;
  readonly longestTurnMs: number;
  readonly tookMs: number;
}

const clock = createClock();
const self = createSelf();
const kernel = tableKernel();
const { served, ...closed } = closedWorld();
let health: Health = { is: 'up' };
let log = 0;
let pool = poolText(HOSTS);
let changedAt = 0;

function poolText(count: number): string {
  const line = (i: number) => `{'host': 'cp${i}.example', 'weight': 10, 'enabled': True}\n`;
  return Array.from({ length: count }, (_, i) => line(i)).join('');
}

function content(path: string): Uint8Array {
  if (path === '/pybal.conf') return Buffer.from(CONFIGURATION);
  if (path === '/pool') return Buffer.from(pool);
  throw new SystemError('ENOENT', `read ${path}`);
}

const monitor = readyMonitor(INTERVAL_SECONDS, () => health);

const addressOf = (host: string): string => {
  const number = Number(/\d+/.exec(host)?.[0]);
  return `10.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
};

const world: World = {
  clock,
  random: Math.random,
  names: {
    resolve: async (host) => {
      await clock.sleep(1);
      return [addressOf(host)];
    },
    resolveService: async () => [],
  },
  ...closed,
  files: {
    read: async (path) => content(path),
    stat: async (path) => ({
      mtimeMs: path === '/pool' ? changedAt : 0,
      ctimeMs: path === '/pool' ? changedAt : 0,
      size: content(path).length,
      inode: 1,
      mode: 0o100644,
    }),
    replace: async () => {},
  },
  bfd: { configure: () => {}, alive: () => {}, status: () => [], stop: async () => {} },
  ipvs: kernel,
  vips: {
    list: async () => new Map([['10.0.0.1', { address: '10.0.0.1', prefixLength: 32, interface: 'lo', protocol: 0 }]]),
    apply: async (ops) => ops.map(() => null),
  },
  monitor: async () => monitor,
  self: () => self.self(),
  log: () => {
    log++;
  },
};

const daemon = new Daemon(world, {
  configPath: '/pybal.conf',
  version: 'bench',
  backend: 'netlink',
  exit: (code) => {
    if (code !== 0) throw new Error(`exit ${code}`);
  },
});
const destinations = () => [...kernel.table.values()][0]?.destinations.size ?? 0;

/** Runs `start` and waits until `done`, with the longest time between two turns meanwhile. */
async function phase(name: string, start: () => unknown, done: () => boolean): Promise<Phase> {
  const began = performance.now();
  let last = began;
  let longest = 0;
  let over = false;
  const turn = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await start();
  while (!done()) {
    if (performance.now() - began > PHASE_LIMIT_MS) throw new Error(`${name} did not end in time`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const tookMs = performance.now() - began;
  await new Promise((resolve) => setTimeout(resolve, 20));
  over = true;
  return { name, longestTurnMs: longest, tookMs };
}

async function ask(url: string): Promise<void> {
  const handle = [...served.values()][0];
  if (handle === undefined) throw new Error('nothing is served');
  const { status } = await handle({ method: 'GET', url, headers: {} });
  if (status !== 200) throw new Error(`${url} answered ${status}`);
}

const phases = [
  await phase(
    'list accepted, names resolved, first results, all pooled',
    () => daemon.start(),
    () => destinations() === HOSTS,
  ),
  await phase(
    'every server goes down, the depool threshold holds half',
    () => (health = { is: 'down', reason: 'bench' }),
    () => destinations() === Math.ceil(HOSTS / 2),
  ),
  await phase(
    'every server comes back',
    () => (health = { is: 'up' }),
    () => destinations() === HOSTS,
  ),
  await phase(
    'a tenth of the servers leaves the list',
    () => {
      pool = poolText(Math.floor(HOSTS * 0.9));
      changedAt++;
    },
    () => destinations() === Math.floor(HOSTS * 0.9),
  ),
  await phase(
    'status asked for',
    () => ask('/v1/status'),
    () => true,
  ),
  await phase(
    'metrics asked for',
    () => ask('/v1/metrics'),
    () => true,
  ),
];
for (const { name, longestTurnMs, tookMs } of phases) {
  console.log(`${name.padEnd(60)} longest turn ${longestTurnMs.toFixed(0).padStart(6)} ms of ${tookMs.toFixed(0)} ms`);
}
console.log(
  JSON.stringify({ hosts: HOSTS, longestTurnMs: Math.round(Math.max(...phases.map((p) => p.longestTurnMs))) }),
);
daemon.terminate();
self.close();
setTimeout(() => process.exit(0), 100);
