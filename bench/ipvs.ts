// `npm run bench:ipvs`: 1,000 services × 20 servers through our netlink backend and through ipvsadm, on a real kernel, in one
// run. Boots the lab's VM and measures there. Every measurement starts in a network namespace of its own, because a deleted
// destination stays in the kernel's trash for minutes and slows each new one down. The last line is JSON; above 1 is faster
// than the peer.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, writeFileSync } from 'node:fs';
import { setImmediate, setTimeout } from 'node:timers/promises';
import koffi from 'koffi';
import { ipvsadmLine, ipvsadmSave } from '../src/ipvs/ipvsadm.ts';
import { type NetlinkIpvs, openNetlinkIpvs } from '../src/ipvs/netlink.ts';
import {
  destinationKey,
  type IpvsDestination,
  type IpvsEntry,
  type IpvsOp,
  type IpvsTable,
  sameDestination,
  sameService,
  serviceKey,
} from '../src/ipvs/table.ts';
import type { Fact } from '../src/decision/facts.ts';
import { Reconciler } from '../src/reconcile/reconciler.ts';
import { openNetlinkVips } from '../src/vip/rtnetlink.ts';
import { createClock } from '../src/world/real/clock.ts';
import { createFiles } from '../src/world/real/files.ts';
import { diff } from '../src/lib/diff.ts';
import { runInVm } from '../test/lab/vm/vm.ts';

const SERVICES = 1000;
const DESTINATIONS = 20;
/**
 * The first is cold: our code has not run before, and is compiled during the next ones. Ratios are made of the best of the
 * others, on both sides: the least disturbed.
 */
const ROUNDS = 7;
const SETTLE_MS = 2_000;
const OUR_SINGLE_CHANGES = 500;
const IPVSADM_SINGLE_CHANGES = 100;
const TIMEOUT_SECONDS = 900;

/** Milliseconds by what was measured, one entry per round. */
type Times = Map<string, number[]>;

async function main(): Promise<number> {
  if (existsSync('/.vm/run/guest.sh')) {
    await measure();
    return 0;
  }
  const { exitCode, consoleTail } = await runInVm({
    command: [process.execPath, ...process.argv.slice(1)],
    timeoutSeconds: TIMEOUT_SECONDS,
    onOutput: (bytes) => process.stdout.write(bytes),
  });
  if (exitCode !== 0) console.error(`the VM ended with ${exitCode}: ${consoleTail.trim()}`);
  return exitCode;
}

async function measure(): Promise<void> {
  const table = makeTable();
  const ops = opsThatMake(table);
  writeFileSync('/tmp/ipvsadm-R', ipvsadmSave(table));
  console.log(
    `${SERVICES} services × ${DESTINATIONS} servers: ${ops.length} changes; ${ROUNDS} rounds, the first one cold`,
  );
  const times: Times = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    await measureRaw(times, table, ops);
    await measureVerified(times, table);
    await measureIpvsadm(times, table);
    console.log([...times].map(([what, list]) => `${what} ${(list.at(-1) ?? 0).toFixed(1)} ms`).join(', '));
  }
  report(times, ops.length);
}

/** Program from empty, dump, change one by one, through the backend; then the same table read and changed by ipvsadm. */
async function measureRaw(times: Times, table: IpvsTable, ops: readonly IpvsOp[]): Promise<void> {
  const kernel = await openFresh();
  await timed(times, 'raw', async () => allDone(await kernel.apply(ops)));
  const listed = await timed(times, 'dump', () => kernel.list());
  mustEqual(listed, table);

  const changes = changesOf(table);
  const ours = changes.slice(0, OUR_SINGLE_CHANGES);
  const oneByOne = async (): Promise<void> => {
    for (const op of ours) allDone(await kernel.apply([op]));
  };
  await timed(times, 'single', oneByOne, ours.length);

  const theirs = changes.slice(OUR_SINGLE_CHANGES, OUR_SINGLE_CHANGES + IPVSADM_SINGLE_CHANGES);
  await timed(times, 'ipvsadm -Ln', async () => ipvsadm(['-Ln']));
  const processes = async (): Promise<void> => {
    for (const op of theirs) ipvsadm(ipvsadmLine(op).split(' '));
  };
  await timed(times, 'ipvsadm -e', processes, theirs.length);
  const after = await kernel.list();
  for (const op of [...ours, ...theirs]) {
    if (after.get(op.service.key)?.destinations.get(op.destination.key)?.weight !== op.destination.weight) {
      throw new Error(`not done: ${ipvsadmLine(op)}`);
    }
  }
  kernel.close();
}

/** From empty to a table that the reconciler has written, read back and told the decision about. */
async function measureVerified(times: Times, table: IpvsTable): Promise<void> {
  const ipvs = await openFresh();
  const vips = openNetlinkVips(() => setImmediate());
  const stateDirectory = mkdtempSync('/tmp/bench-ipvs-');
  const self = () => ({
    loopLateMs: 0,
    lateSince: () => 0,
    stalledSince: () => 0,
    kernelId: stateDirectory,
    addresses: [],
  });
  const world = { clock: createClock(), ipvs, vips, files: createFiles(), self, log: () => {} };
  const desired = {
    ipvs: table,
    keep: new Set<string>(),
    vips: new Set<string>(),
    routedVips: new Map<string, readonly string[]>(),
    keepVips: new Set<string>(),
    keepAll: false,
    routes: new Map(),
  };
  const facts: (Fact & { is: 'kernel' })[] = [];
  let read = () => {};
  const emit = (fact: Fact) => {
    if (fact.is !== 'kernel') return;
    facts.push(fact);
    // The first one is the empty table.
    if (facts.length === 2) read();
  };
  const reconciler = new Reconciler(world, { emit, whereToEdit: () => null });
  await timed(times, 'verified', async () => {
    await new Promise<void>((resolve) => {
      read = resolve;
      reconciler.start({ stateDirectory, periodMs: 60_000, limitMs: 60_000 });
      reconciler.want(desired);
    });
    const fact = facts[1];
    if (fact === undefined || fact.error !== null) throw new Error('the reconciler failed');
    mustEqual(
      new Map([...fact.ipvs].flatMap(([key, entry]) => (entry === null ? [] : [[key, entry] as const]))),
      table,
    );
  });
  // Otherwise it would look after the table of a later round.
  await reconciler.stop();
  ipvs.close();
  vips.close();
}

async function measureIpvsadm(times: Times, table: IpvsTable): Promise<void> {
  const kernel = await openFresh();
  const stdin = openSync('/tmp/ipvsadm-R', 'r');
  await timed(times, 'ipvsadm -R', async () => ipvsadm(['-R'], stdin));
  mustEqual(await kernel.list(), table);
  kernel.close();
}

function report(times: Times, changes: number): void {
  const cold = (what: string) => times.get(what)?.[0] ?? Number.NaN;
  const warm = (what: string) => Math.min(...(times.get(what) ?? []).slice(1));
  const rows = [
    { what: `${changes} changes`, ours: 'raw', peer: 'ipvsadm -R', ratio: 'bulkVsIpvsadmR' },
    { what: 'the same, verified', ours: 'verified', peer: 'ipvsadm -R', ratio: 'verifiedVsIpvsadmR' },
    { what: 'whole table listed', ours: 'dump', peer: 'ipvsadm -Ln', ratio: 'dumpVsIpvsadm' },
    { what: 'one change', ours: 'single', peer: 'ipvsadm -e', ratio: 'singleVsIpvsadm' },
  ] as const;
  const ratios: Record<string, number> = {};
  console.log(
    `\n${['', 'ours cold, ms', 'ours, ms', 'peer, ms', 'peer', 'times faster'].map((head) => head.padEnd(20)).join('')}`,
  );
  for (const { what, ours, peer, ratio } of rows) {
    ratios[ratio] = Number((warm(peer) / warm(ours)).toFixed(2));
    const cells = [what, cold(ours).toFixed(2), warm(ours).toFixed(2), warm(peer).toFixed(2), peer, `${ratios[ratio]}`];
    console.log(cells.map((cell) => cell.padEnd(20)).join(''));
  }
  console.log(JSON.stringify(ratios));
}

/** What `run` took goes into the times, divided by how many things it did. */
async function timed<T>(times: Times, what: string, run: () => Promise<T>, count = 1): Promise<T> {
  const start = performance.now();
  const result = await run();
  const list = times.get(what) ?? [];
  list.push((performance.now() - start) / count);
  times.set(what, list);
  return result;
}

const unshare = koffi.load(null).func('int unshare(int flags)');
const CLONE_NEWNET = 0x40000000;

/** A backend in a new network namespace. Programs that are started from now on are in it too. */
async function openFresh(): Promise<NetlinkIpvs> {
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()}`);
  // Without any route the kernel takes every address for a broadcast, and refuses it as a real server.
  if (spawnSync('ip', ['link', 'set', 'lo', 'up']).status !== 0) throw new Error('ip link set lo up failed');
  // The kernel takes the namespace before this one, and its 20,000 destinations, apart in the background.
  await setTimeout(SETTLE_MS);
  return openNetlinkIpvs(() => setImmediate());
}

/** Output is thrown away, which is in favour of ipvsadm: nobody parses it. */
function ipvsadm(args: readonly string[], stdin: number | 'ignore' = 'ignore'): void {
  const { status, stderr } = spawnSync('ipvsadm', args, { stdio: [stdin, 'ignore', 'pipe'] });
  const complaint = stderr.toString().slice(0, 200);
  if (status !== 0 || complaint !== '') throw new Error(`ipvsadm ${args.join(' ')}: ${status} ${complaint}`);
}

function makeTable(): IpvsTable {
  const table = new Map<string, IpvsEntry>();
  for (let s = 0; s < SERVICES; s++) {
    const address = `10.9.${s >> 8}.${s & 255}`;
    const destinations = new Map<string, IpvsDestination>();
    for (let d = 0; d < DESTINATIONS; d++) {
      const real = `10.2.${d}.${s & 255}`;
      const key = destinationKey(real, 80);
      const limits = { upperThreshold: 0, lowerThreshold: 0 };
      destinations.set(key, { key, address: real, port: 80, forward: 'dr', weight: 10, ...limits });
    }
    const key = serviceKey('tcp', address, 80);
    const settings = { scheduler: 'wrr', flags: 0, persistenceSeconds: 0, persistencePrefix: 32 };
    table.set(key, { service: { key, protocol: 'tcp', address, port: 80, fwmark: 0, ...settings }, destinations });
  }
  return table;
}

function opsThatMake(table: IpvsTable): readonly IpvsOp[] {
  return [...table.values()].flatMap(({ service, destinations }): IpvsOp[] => [
    { do: 'add-service', service },
    ...[...destinations.values()].map((destination) => ({ do: 'add-destination', service, destination }) as const),
  ]);
}

/** A new weight for the first server of each service. */
function changesOf(table: IpvsTable): readonly (IpvsOp & { readonly do: 'set-destination' })[] {
  return [...table.values()].flatMap(({ service, destinations }, i) =>
    [...destinations.values()].slice(0, 1).map((destination) => ({
      do: 'set-destination' as const,
      service,
      destination: { ...destination, weight: 11 + (i % 50) },
    })),
  );
}

function allDone(results: readonly (Error | null)[]): void {
  const failed = results.find((result) => result !== null);
  if (failed !== undefined && failed !== null) throw failed;
}

function mustEqual(actual: IpvsTable, wanted: IpvsTable): void {
  const { add, change, remove } = diff(actual, wanted, sameEntry);
  const first = add[0]?.[0] ?? change[0]?.[0] ?? remove[0]?.[0];
  if (first !== undefined) throw new Error(`${first} is missing, different, or too much`);
}

function sameEntry(actual: IpvsEntry, wanted: IpvsEntry): boolean {
  if (!sameService(actual.service, wanted.service) || actual.destinations.size !== wanted.destinations.size)
    return false;
  for (const [key, destination] of wanted.destinations) {
    const have = actual.destinations.get(key);
    if (have === undefined || !sameDestination(have, destination)) return false;
  }
  return true;
}

process.exitCode = await main();
