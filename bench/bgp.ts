// `npm run bench:bgp`: our speaker beside BIRD, GoBGP and ExaBGP, each announcing the same distinct host routes to the
// same BIRD, and taking them back. From "the session is established" until the receiver's table has them all; from the
// order to withdraw until it has none. CPU is that of all threads of the announcer's process, without the receiver and
// without the programs that order it about. Our code is compiled while it runs, so ours does all of it several times
// over: the first time is printed as cold, the median of the later ones is compared, and the CPU of both. Memory is
// compared as it is when the routes were announced once, before garbage that V8 sees no reason to collect. Then one
// route among 100,000 is changed, and timed until the UPDATE has arrived. Needs root, and runs in a network namespace
// of its own. The last line is JSON; ratios above 1 mean that we are better.
// usage: bgp.js [--sizes 1000,10000,100000] [--rounds 3] [--only anybal,BIRD]

import { parseArgs } from 'node:util';
import { output, requireTools } from '../test/support/namespace.ts';
import { KEEPALIVE, openMessage, RawPeer, TYPE } from '../test/support/raw-peer.ts';
import { type Announcer, ANNOUNCERS, startOurs } from './bgp/announcers.ts';
import { ADDRESS, type Family, Receiver } from './bgp/receiver.ts';
import { median } from './median.ts';
import { inOwnNamespace } from './own-namespace.ts';
import { usage } from './process-usage.ts';

const FAMILIES: readonly Family[] = [4, 6];
type Name = keyof typeof ANNOUNCERS;
const NAMES = Object.keys(ANNOUNCERS) as Name[];
/** What takes so long that it is measured once only. */
const SLOW: ReadonlySet<string> = new Set(['ExaBGP 100000']);
/** How often one process of ours announces and withdraws everything, and how often before it is compared. */
const LAPS = 6;
const WARM_LAPS = 3;
const CHANGES = 101;

interface Sample {
  readonly announceMs: number;
  readonly announceCpuMs: number;
  readonly rssMb: number;
  readonly withdrawMs: number;
  readonly withdrawCpuMs: number;
}

const COLD = 'anybal, cold';
/** By family, number of routes and announcer, or COLD. */
type Results = Map<string, Sample>;

const { values: options } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1000,10000,100000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: NAMES.join() },
  },
});

async function main(): Promise<number> {
  requireTools({
    '/usr/sbin/bird': 'bird2',
    '/usr/bin/gobgp': 'gobgpd',
    '/usr/bin/gobgpd': 'gobgpd',
    '/usr/sbin/exabgp': 'exabgp',
    '/usr/bin/unshare': 'util-linux',
  });
  return inOwnNamespace(measureAll);
}

async function measureAll(): Promise<number> {
  const sizes = options.sizes.split(',').map(Number);
  const names = NAMES.filter((name) => options.only.split(',').includes(name));
  const results: Results = new Map();
  const receiver = await Receiver.start();
  try {
    for (const count of sizes) {
      for (const family of FAMILIES) {
        for (const name of names) await measure(receiver, family, count, name, results);
      }
    }
    const oneRouteMs = Math.max(await changeOne(4, 100_000), await changeOne(6, 100_000));
    console.log(`\none route of 100000 changed, until its UPDATE has arrived: ${oneRouteMs.toFixed(2)} ms`);
    console.log(JSON.stringify(summary(results, Math.max(...sizes), oneRouteMs)));
  } finally {
    await receiver.stop();
  }
  return 0;
}

async function measure(receiver: Receiver, family: Family, count: number, name: Name, results: Results): Promise<void> {
  const rounds = SLOW.has(`${name} ${count}`) ? 1 : Number(options.rounds);
  const first: Sample[] = [];
  const last: Sample[] = [];
  for (let round = 0; round < rounds; round++) {
    const laps = await once(receiver, family, count, name);
    first.push(...laps.slice(0, 1));
    last.push(...laps.slice(laps.length === 1 ? 0 : WARM_LAPS));
  }
  if (name === NAMES.find((one) => options.only.includes(one))) printHead(family, count);
  const known = [...(name === 'anybal' ? ([[COLD, first]] as const) : []), [name, last] as const];
  for (const [label, samples] of known) {
    const sample = middle(samples);
    results.set(keyOf(family, count, label), sample);
    printRow(label, sample, rounds);
  }
}

function middle(samples: readonly Sample[]): Sample {
  const of = (pick: (sample: Sample) => number) => median(samples.map(pick));
  return {
    announceMs: of(({ announceMs }) => announceMs),
    announceCpuMs: of(({ announceCpuMs }) => announceCpuMs),
    rssMb: of(({ rssMb }) => rssMb),
    withdrawMs: of(({ withdrawMs }) => withdrawMs),
    withdrawCpuMs: of(({ withdrawCpuMs }) => withdrawCpuMs),
  };
}

/** One sample a lap; there is one where the announcer's process is as quick the first time as ever after. */
async function once(receiver: Receiver, family: Family, count: number, name: Name): Promise<readonly Sample[]> {
  const announcer = await ANNOUNCERS[name](family, count);
  const { reload } = announcer;
  try {
    const samples = [await lap(receiver, family, count, name, announcer)];
    while (reload !== undefined && samples.length < LAPS) {
      await receiver.disable(family);
      await reload();
      samples.push(await lap(receiver, family, count, name, announcer));
    }
    return samples;
  } finally {
    await receiver.disable(family).finally(() => announcer.stop());
  }
}

async function lap(
  receiver: Receiver,
  family: Family,
  count: number,
  name: Name,
  announcer: Announcer,
): Promise<Sample> {
  const idle = usage(announcer.pid);
  await receiver.enable(family);
  const up = await receiver.until(family, ({ established }) => established);
  const there = await receiver.until(family, ({ routes }) => routes === count);
  const announced = usage(announcer.pid);
  const start = performance.now();
  const told = announcer.withdraw();
  const gone = await receiver.until(family, ({ routes }) => routes === 0);
  const withdrawn = usage(announcer.pid);
  await told;
  const { established } = await receiver.progress(family);
  if (!established) throw new Error(`${name} has lost its session`);
  return {
    announceMs: there - up,
    announceCpuMs: announced.cpuMs - idle.cpuMs,
    rssMb: announced.rssMb,
    withdrawMs: gone - start,
    withdrawCpuMs: withdrawn.cpuMs - announced.cpuMs,
  };
}

/** Median time from `set` with one changed route to the UPDATE at a peer of ours, ms. */
async function changeOne(family: Family, count: number): Promise<number> {
  const ours = await startOurs(family, count);
  // The receiver's address, on this side of the wire.
  await output('ip', 'address', 'add', ADDRESS[family].receiver, 'dev', 'lo', ...(family === 6 ? ['nodad'] : []));
  try {
    const peer = await RawPeer.connect({ address: ADDRESS[family].announcer, port: 179 }, ADDRESS[family].receiver);
    const multiprotocol = [2, 6, 1, 4, 0, family === 4 ? 1 : 2, 0, 1];
    peer.say(openMessage({ parameters: multiprotocol }), KEEPALIVE);
    const updates = () => peer.heard.filter(({ type }) => type === TYPE.update).length;
    // Of all UPDATEs only End-of-RIB is that short.
    const ended = () => peer.heard.some(({ type, body }) => type === TYPE.update && body.length <= 11);
    await peer.until('End-of-RIB', ended, 60_000);
    const times: number[] = [];
    for (let i = 0; i < CHANGES; i++) {
      const before = updates();
      let arrived = 0n;
      const heard = peer.until('the change', () => {
        if (updates() === before) return false;
        arrived = process.hrtime.bigint();
        return true;
      });
      const { at } = await ours.order({ do: 'change', index: (i * 977) % count, med: 1 + i });
      await heard;
      times.push(Number(arrived - BigInt(at)) / 1e6);
    }
    peer.end();
    return median(times);
  } finally {
    await output('ip', 'address', 'del', ADDRESS[family].receiver, 'dev', 'lo');
    await ours.stop();
  }
}

const COLUMNS = ['announce ms', 'CPU ms', 'RSS MB', 'withdraw ms', 'CPU ms'] as const;

function printHead(family: Family, count: number): void {
  const head = `\n${count} routes, IPv${family}`.padEnd(24);
  console.log(head + COLUMNS.map((column) => column.padStart(13)).join(''));
}

function printRow(label: string, sample: Sample, rounds: number): void {
  const { announceMs, announceCpuMs, rssMb, withdrawMs, withdrawCpuMs } = sample;
  const cells = [announceMs, announceCpuMs, rssMb, withdrawMs, withdrawCpuMs].map((n) => n.toFixed(1).padStart(13));
  console.log(`  ${label}`.padEnd(23) + cells.join('') + (rounds === 1 ? '   (one run)' : ''));
}

/** Of the two families always the worse one. */
function summary(results: Results, count: number, oneRouteMs: number): Readonly<Record<string, number | null>> {
  const worst = (peer: Name, pick: (sample: Sample) => number, own = 'anybal'): number | null => {
    const ratios = FAMILIES.map((family) => {
      const [ours, theirs] = [results.get(keyOf(family, count, own)), results.get(keyOf(family, count, peer))];
      return ours === undefined || theirs === undefined ? Number.NaN : pick(theirs) / pick(ours);
    });
    const ratio = Math.min(...ratios);
    return Number.isNaN(ratio) ? null : Number(ratio.toFixed(2));
  };
  const cpu = (sample: Sample) => sample.announceCpuMs + sample.withdrawCpuMs;
  return {
    announceVsGobgp: worst('GoBGP', ({ announceMs }) => announceMs),
    announceVsExabgp: worst('ExaBGP', ({ announceMs }) => announceMs),
    withdrawVsGobgp: worst('GoBGP', ({ withdrawMs }) => withdrawMs),
    withdrawVsExabgp: worst('ExaBGP', ({ withdrawMs }) => withdrawMs),
    cpuVsBird: worst('BIRD', cpu),
    coldCpuVsBird: worst('BIRD', cpu, COLD),
    rssMB: Math.round(Math.max(...FAMILIES.map((family) => results.get(keyOf(family, count, COLD))?.rssMb ?? 0))),
    oneRouteMs: Number(oneRouteMs.toFixed(2)),
  };
}

function keyOf(family: Family, count: number, name: string): string {
  return `${family} ${count} ${name}`;
}

process.exitCode = await main();
