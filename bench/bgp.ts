// `npm run bench:bgp`: our speaker beside BIRD, GoBGP and ExaBGP, each announcing the same distinct host routes to the
// same BIRD, and taking them back. From "the session is established" until the receiver's table has them all; from the
// order to withdraw until it has none. CPU is that of all threads of the announcer's process, without the receiver and
// without the programs that order it about. Our code is compiled while it runs, so ours does all of it several times
// over: the first time is printed as cold, the median of the later ones is compared, and the CPU of both. Memory is
// compared as it is when the routes were announced once, before garbage that V8 sees no reason to collect. Then one
// route among 100,000 is changed, and timed until the UPDATE has arrived. Needs root, and runs in a network namespace
// of its own, for seven minutes; two and a half of them are ExaBGP's with 100,000 routes, for which there is one round
// only. The last line is JSON; ratios above 1 mean that we are better. A round that breaks off is named on standard
// error and missing in its row; the exit code is 1 when a row has none.
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
const CHANGE_COUNT = 100_000;

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
  const receivers = new Receivers();
  for (const count of sizes) {
    for (const family of FAMILIES) {
      printHead(family, count);
      for (const name of names) await measure(receivers, family, count, name, results);
    }
  }
  const oneRouteMs = await changes(receivers);
  await receivers.stop();
  const oneRoute = Number.isNaN(oneRouteMs) ? 'not measured' : `${oneRouteMs.toFixed(2)} ms`;
  console.log(`\none route of ${CHANGE_COUNT} changed, until its UPDATE has arrived: ${oneRoute}`);
  console.log(JSON.stringify(summary(results, Math.max(...sizes), oneRouteMs)));
  return Number.isNaN(oneRouteMs) || [...results.values()].some(({ announceMs }) => Number.isNaN(announceMs)) ? 1 : 0;
}

/** A round that breaks off costs itself and its receiver, and nothing else; the next one has a new receiver. */
class Receivers {
  #receiver: Receiver | null = null;

  /** null when it broke off. */
  async play<T>(title: string, round: (receiver: Receiver) => Promise<T>): Promise<T | null> {
    const start = performance.now();
    try {
      this.#receiver ??= await Receiver.start();
      const result = await round(this.#receiver);
      console.error(`${title}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
      return result;
    } catch (error) {
      console.error(`${title} broke off: ${String(error)}`);
      await this.stop();
      return null;
    }
  }

  /** What it leaves behind, the next one removes. */
  async stop(): Promise<void> {
    await this.#receiver?.stop().catch((error: unknown) => console.error(`not removed: ${String(error)}`));
    this.#receiver = null;
  }
}

async function measure(
  receivers: Receivers,
  family: Family,
  count: number,
  name: Name,
  results: Results,
): Promise<void> {
  const rounds = SLOW.has(`${name} ${count}`) ? 1 : Number(options.rounds);
  const first: Sample[] = [];
  const last: Sample[] = [];
  let played = 0;
  for (let round = 1; round <= rounds; round++) {
    const title = `${name}, ${count} routes, IPv${family}, round ${round} of ${rounds}`;
    const laps = await receivers.play(title, (receiver) => once(receiver, family, count, name));
    if (laps === null) continue;
    played++;
    first.push(...laps.slice(0, 1));
    last.push(...laps.slice(laps.length === 1 ? 0 : WARM_LAPS));
  }
  const known = [...(name === 'anybal' ? ([[COLD, first]] as const) : []), [name, last] as const];
  for (const [label, samples] of known) {
    const sample = middle(samples);
    results.set(keyOf(family, count, label), sample);
    printRow(label, sample, played, rounds);
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
  let failed = false;
  told.catch(() => {
    failed = true;
  });
  const gone = await receiver.until(family, ({ routes }) => routes === 0 || failed);
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

/** Of the two families the worse one, ms; NaN when one of them broke off. */
async function changes(receivers: Receivers): Promise<number> {
  const medians: number[] = [];
  for (const family of FAMILIES) {
    const title = `one route of ${CHANGE_COUNT} changed, IPv${family}`;
    medians.push((await receivers.play(title, () => changeOne(family, CHANGE_COUNT))) ?? Number.NaN);
  }
  return Math.max(...medians);
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
      const [{ at }] = await Promise.all([ours.order({ do: 'change', index: (i * 977) % count, med: 1 + i }), heard]);
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

/** And of how many rounds, where some are missing. */
function printRow(label: string, sample: Sample, played: number, rounds: number): void {
  const { announceMs, announceCpuMs, rssMb, withdrawMs, withdrawCpuMs } = sample;
  const numbers = [announceMs, announceCpuMs, rssMb, withdrawMs, withdrawCpuMs];
  const cells = numbers.map((n) => (Number.isNaN(n) ? '–' : n.toFixed(1)).padStart(13));
  const of = played < rounds ? `   (${played} of ${rounds} rounds)` : rounds === 1 ? '   (one round)' : '';
  console.log(`  ${label}`.padEnd(23) + cells.join('') + of);
}

/** Of the two families always the worse one; null where one was not measured. */
function summary(results: Results, count: number, oneRouteMs: number): Readonly<Record<string, number | null>> {
  const of = (family: Family, name: string) => results.get(keyOf(family, count, name)) ?? middle([]);
  const known = (n: number): number | null => (Number.isNaN(n) ? null : n);
  const worst = (peer: Name, pick: (sample: Sample) => number, own = 'anybal'): number | null => {
    const ratios = FAMILIES.map((family) => pick(of(family, peer)) / pick(of(family, own)));
    return known(Number(Math.min(...ratios).toFixed(2)));
  };
  const cpu = (sample: Sample) => sample.announceCpuMs + sample.withdrawCpuMs;
  return {
    announceVsGobgp: worst('GoBGP', ({ announceMs }) => announceMs),
    announceVsExabgp: worst('ExaBGP', ({ announceMs }) => announceMs),
    withdrawVsGobgp: worst('GoBGP', ({ withdrawMs }) => withdrawMs),
    withdrawVsExabgp: worst('ExaBGP', ({ withdrawMs }) => withdrawMs),
    cpuVsBird: worst('BIRD', cpu),
    coldCpuVsBird: worst('BIRD', cpu, COLD),
    rssMB: known(Math.round(Math.max(...FAMILIES.map((family) => of(family, COLD).rssMb)))),
    oneRouteMs: known(Number(oneRouteMs.toFixed(2))),
  };
}

function keyOf(family: Family, count: number, name: string): string {
  return `${family} ${count} ${name}`;
}

process.exitCode = await main();
