// `npm run bench:bfd [-- --minutes 10 --main-thread]`: BFD at 50 ms × 3 against BIRD and FRR, over IPv4 and IPv6, while the daemon's
// thread is blocked in bursts of 200 ms, half of the time, making garbage. A flap on either side is a failure. Needs root,
// makes network namespaces. The last line is JSON; exit code 1 when anything flapped. With --main-thread BFD itself runs in the
// blocked thread, which shows what the worker is for.

import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Engine } from '../src/bfd/engine.ts';
import type { BfdChange, BfdSessionConfig } from '../src/bfd/types.ts';
import { HEARTBEAT_MS } from '../src/bfd/types.ts';
import type { LogRecord } from '../src/log/record.ts';
import { createBfd } from '../src/world/real/bfd.ts';
import { createClock } from '../src/world/real/clock.ts';
import { createDatagrams } from '../src/world/real/datagrams.ts';
import type { Bfd } from '../src/world/world.ts';
import { Bird } from '../test/support/bird.ts';
import { Bfdd } from '../test/support/bfdd.ts';
import { eventually, Namespace, requireTools } from '../test/support/namespace.ts';

const INTERVAL_MS = 50;
const MULTIPLIER = 3;
const BURST_MS = 200;
/** How often the routers are asked. */
const ASK_MS = 10_000;

const NETS = {
  bird: { name: 'bfdload-b', us: ['198.19.86.2', 'fd00:bfd:86::2'], router: ['198.19.86.1', 'fd00:bfd:86::1'] },
  frr: { name: 'bfdload-f', us: ['198.19.87.2', 'fd00:bfd:87::2'], router: ['198.19.87.1', 'fd00:bfd:87::1'] },
} as const;
type Router = keyof typeof NETS;
const ROUTERS = Object.keys(NETS) as readonly Router[];

const plen = (address: string): string => `${address}/${address.includes(':') ? 64 : 24}`;
const pairs = (router: Router) => NETS[router].us.map((us, i) => ({ us, router: NETS[router].router[i] ?? '' }));

const birdConfig = `
log stderr { warning, error, fatal, bug };
router id ${NETS.bird.router[0]};
protocol device {}
protocol bfd {
  accept direct;
  interface "wire" { interval ${INTERVAL_MS} ms; multiplier ${MULTIPLIER}; };
${pairs('bird')
  .map(({ us, router }) => `  neighbor ${us} dev "wire" local ${router};`)
  .join('\n')}
}
`;

const bfddConfig = `bfd
${pairs('frr')
  .map(
    ({ us, router }) => ` peer ${us} local-address ${router}
  receive-interval ${INTERVAL_MS}
  transmit-interval ${INTERVAL_MS}
  detect-multiplier ${MULTIPLIER}
  no shutdown
 !`,
  )
  .join('\n')}
`;

/** `Since` of each session that is up, as BIRD prints it: another time means that it went down in between. */
async function birdSessions(bird: Bird): Promise<ReadonlyMap<string, string>> {
  const text = await bird.ask('show bfd sessions').catch(() => '');
  return new Map(
    Array.from(text.matchAll(/^(\S+)\s+wire\s+Up\s+(\S+)/gm), ([, address = '', since = '']) => [address, since]),
  );
}

/** Half of the time the thread does nothing but this. */
function block(): number {
  const end = performance.now() + BURST_MS;
  let garbage: object[] = [];
  let made = 0;
  while (performance.now() < end) {
    garbage.push({ made: made++, text: `${made}` });
    if (garbage.length > 10_000) garbage = [];
  }
  return made;
}

function log({ level, text }: LogRecord): void {
  process.stderr.write(`${level}: ${text}\n`);
}

/** The engine without its worker. */
function inThisThread(): Bfd {
  let onChange = (_: BfdChange): void => {};
  let beats = 0;
  const digest = (hash: string, bytes: Uint8Array): Uint8Array => createHash(hash).update(bytes).digest();
  const world = { clock: createClock(), random: Math.random, digest, datagrams: createDatagrams(), log };
  const engine = new Engine(world, { changed: (change) => onChange(change), heartbeat: () => beats });
  return {
    configure(config, handler) {
      onChange = handler;
      engine.configure(config);
    },
    alive: () => void beats++,
    status: () => engine.status(),
    stop: async () => engine.stop(),
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { minutes: { type: 'string' }, 'main-thread': { type: 'boolean' } } });
  const minutes = Number(values.minutes ?? 10);
  if (!(minutes > 0 && minutes <= 60)) throw new Error('--minutes: more than 0, up to 60');
  requireTools({
    '/usr/sbin/bird': 'bird2',
    '/usr/sbin/birdc': 'bird2',
    '/usr/lib/frr/bfdd': 'frr',
    '/usr/bin/vtysh': 'frr',
    '/usr/sbin/ip': 'iproute2',
    '/usr/bin/chrt': 'util-linux',
  });
  const made: (() => Promise<void>)[] = [];
  try {
    return await measure(minutes, values['main-thread'] === true, made);
  } finally {
    for (const undo of made.reverse()) await undo();
  }
}

async function measure(minutes: number, mainThread: boolean, made: (() => Promise<void>)[]): Promise<number> {
  const namespaces: Partial<Record<Router, Namespace>> = {};
  for (const router of ROUTERS) {
    const { name, us, router: theirs } = NETS[router];
    const namespace = await Namespace.create(name, us.map(plen), theirs.map(plen));
    made.push(() => namespace.destroy());
    namespaces[router] = namespace;
  }
  const { bird: birdNamespace, frr: frrNamespace } = namespaces;
  if (birdNamespace === undefined || frrNamespace === undefined) throw new Error('no namespaces');
  const bird = new Bird(birdNamespace, birdConfig);
  made.push(() => bird.stop());
  const bfdd = await Bfdd.start(frrNamespace, bfddConfig);
  made.push(() => bfdd.stop());

  await birdNamespace.haste();
  await frrNamespace.haste();

  const sessions = ROUTERS.flatMap((router) =>
    pairs(router).map(
      (pair): BfdSessionConfig => ({
        name: `${router} ${pair.router}`,
        address: pair.router,
        localAddress: pair.us,
        multihop: false,
        intervalMs: INTERVAL_MS,
        multiplier: MULTIPLIER,
        auth: null,
      }),
    ),
  );
  const bfd = mainThread ? inThisThread() : createBfd(createClock(), log);
  made.push(() => bfd.stop());
  const changes: BfdChange[] = [];
  let watching = false;
  let start = performance.now();
  bfd.configure({ sessions, wedgedMs: 2_000 }, (change) => {
    if (!watching) return;
    changes.push(change);
    process.stdout.write(`${((performance.now() - start) / 1000).toFixed(1)} s: ${JSON.stringify(change)}\n`);
  });
  const beat = setInterval(() => bfd.alive(), HEARTBEAT_MS);
  made.push(async () => clearInterval(beat));

  const fast = () =>
    bfd.status().length === sessions.length &&
    bfd.status().every(({ state, detectionMs }) => state === 'Up' && detectionMs === INTERVAL_MS * MULTIPLIER);
  await eventually(
    'all sessions up at 50 ms × 3',
    () => (fast() ? true : null),
    () => JSON.stringify(bfd.status()),
  );
  await setTimeout(2_000);
  const since = await birdSessions(bird);
  const frrBefore = await bfdd.downs();
  if (since.size !== 2 || frrBefore.size !== 2) throw new Error('the routers do not see two sessions each');
  watching = true;
  const sentBefore = packets(bfd.status());

  const birdFlaps = new Set<string>();
  const look = async (): Promise<void> => {
    const now = await birdSessions(bird);
    for (const [address, at] of since) {
      if (now.get(address) !== at) birdFlaps.add(`${address} up since ${now.get(address) ?? 'never'}, not ${at}`);
    }
  };
  start = performance.now();
  let blockedMs = 0;
  let longestMs = 0;
  let askAt = ASK_MS;
  let asked = Promise.resolve();
  while (performance.now() - start < minutes * 60_000) {
    const before = performance.now();
    block();
    const took = performance.now() - before;
    blockedMs += took;
    longestMs = Math.max(longestMs, took);
    if (performance.now() - start > askAt) {
      askAt += ASK_MS;
      asked = asked.then(look);
    }
    await setTimeout(BURST_MS);
  }
  await asked;
  await setTimeout(1_000);
  await look();

  const elapsedMs = performance.now() - start;
  const status = bfd.status();
  const frrDowns = [...(await bfdd.downs())].filter(([peer, downs]) => downs !== frrBefore.get(peer));
  const flaps = {
    ours: changes.filter(({ was }) => was === 'Up').length,
    bird: birdFlaps.size,
    frr: frrDowns.length,
  };
  for (const flap of [...birdFlaps, ...frrDowns.map(([peer, downs]) => `${peer}: ${downs} downs`)]) {
    process.stdout.write(`flap: ${flap}\n`);
  }
  const result = {
    minutes: Math.round(elapsedMs / 6_000) / 10,
    sessions: status.length,
    packetsSent: packets(status) - sentBefore,
    blockedShare: Math.round((100 * blockedMs) / elapsedMs) / 100,
    longestBlockMs: Math.round(longestMs),
    flaps,
  };
  for (const { name, state, transmitMs, detectionMs, counters } of status) {
    process.stdout.write(
      `${name}: ${state}, ${transmitMs} ms, detects in ${detectionMs} ms, ${counters.downs} downs\n`,
    );
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return flaps.ours + flaps.bird + flaps.frr === 0 && status.every(({ state }) => state === 'Up') ? 0 : 1;
}

function packets(status: readonly { readonly counters: { readonly packetsOut: number } }[]): number {
  return status.reduce((sum, { counters }) => sum + counters.packetsOut, 0);
}

process.exit(await main());
