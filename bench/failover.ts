// `npm run bench:failover`: how long a router goes on forwarding to a director that has died. Two announcers of one virtual
// IP, the preferred one fails; measured is the time until the router's kernel table no longer leads to it. Our daemon and
// BIRD as an announcer fail side by side in the same run, before BIRD and before FRR as routers. Needs root, makes network
// namespaces. The last line is JSON: BIRD's median divided by ours, one ratio a row; above 1 we are out of the way sooner.
// A round that breaks off is named on standard error and missing in its rows; the exit code is 1 when a row has none.
//
//   npm run bench:failover -- [--rounds 7] [--router BIRD|FRR] [--detection 'hold 3'] [--restart]
//
// --restart measures what routers do with a director that has asked for graceful restart instead: docs/failover.md.

import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Director, type DirectorKind } from '../test/support/failover/director.ts';
import { type Armed, arm, type Failure, failures } from '../test/support/failover/failure.ts';
import type { Wire } from '../test/support/failover/network.ts';
import type { RouterKind } from '../test/support/failover/router.ts';
import type { Setting } from '../test/support/failover/setting.ts';
import { Stage } from '../test/support/failover/stage.ts';
import { median } from './median.ts';

const off = { bfdMs: null, restartSeconds: null } as const;
const SETTINGS: readonly Setting[] = [
  { ...off, name: 'hold 3', holdTimeSeconds: 3 },
  { ...off, name: 'hold 9', holdTimeSeconds: 9 },
  { ...off, name: 'BFD 100 ms × 3', holdTimeSeconds: 9, bfdMs: 100 },
  { ...off, name: 'BFD 50 ms × 3', holdTimeSeconds: 9, bfdMs: 50 },
];
const RESTART_SECONDS = 10;
const RESTART_SETTINGS: readonly Setting[] = [
  { ...off, name: 'no restart', holdTimeSeconds: 9 },
  { ...off, name: 'no restart, BFD', holdTimeSeconds: 9, bfdMs: 100 },
  { ...off, name: 'restart', holdTimeSeconds: 9, restartSeconds: RESTART_SECONDS },
  { ...off, name: 'restart, BFD', holdTimeSeconds: 9, bfdMs: 100, restartSeconds: RESTART_SECONDS },
];
const RESTART_FAILURES: readonly Failure[] = ['kill -9', 'SIGTERM', 'silent drop'];
const KINDS: readonly DirectorKind[] = ['anybal', 'BIRD'];
const ROUTERS: readonly RouterKind[] = ['BIRD', 'FRR'];
/** Between two failures of one round: routers must not be busy with the one before. */
const APART_MS = 300;
/** Later than the hold time, and the restart time: such a director was not given up. */
const GRACE_MS = 5_000;

interface Row {
  readonly router: RouterKind;
  readonly failure: Failure;
  readonly setting: Setting;
  readonly times: Readonly<Record<DirectorKind, number[]>>;
}

/** One director and how it will die. */
interface Case {
  readonly row: Row;
  readonly kind: DirectorKind;
  readonly wire: Wire;
}

interface Plan {
  readonly rounds: number;
  readonly routers: readonly RouterKind[];
  readonly settings: readonly Setting[];
  readonly failures: readonly Failure[];
}

/** The exit code: 1 when a row has nothing to show. */
async function main(): Promise<number> {
  const plan = planOf(process.argv.slice(2));
  Stage.requireTools();
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(signal)));
  // Both routers at a time: they mostly wait.
  const tables = await Promise.all(plan.routers.map((router) => measureRouter(router, plan, stop.signal)));
  const rows = tables.flat();
  report(rows, plan.rounds);
  return rows.some(({ times }) => KINDS.some((kind) => times[kind].length === 0)) ? 1 : 0;
}

function planOf(args: readonly string[]): Plan {
  const text = { type: 'string' } as const;
  const options = { rounds: text, router: text, detection: text, restart: { type: 'boolean' } } as const;
  const { values } = parseArgs({ args: [...args], options });
  const rounds = Number(values.rounds ?? 7);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds: a whole number from 1');
  const all = values.restart === true ? RESTART_SETTINGS : SETTINGS;
  const settings = all.filter(({ name }) => values.detection === undefined || values.detection === name);
  if (settings.length === 0) throw new Error(`--detection: one of ${all.map(({ name }) => name).join(', ')}`);
  const routers = ROUTERS.filter((router) => values.router === undefined || values.router === router);
  if (routers.length === 0) throw new Error(`--router: one of ${ROUTERS.join(', ')}`);
  return { rounds, routers, settings, failures: values.restart === true ? RESTART_FAILURES : failures };
}

async function measureRouter(router: RouterKind, plan: Plan, signal: AbortSignal): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const setting of plan.settings) {
    const here = plan.failures.map((failure) => ({ router, failure, setting, times: { anybal: [], BIRD: [] } }));
    rows.push(...here);
    await playRounds({ router, setting }, here, plan.rounds, signal);
  }
  return rows;
}

/** A round that breaks off costs itself and its stage, and nothing else; the next one has a new stage. */
async function playRounds(
  { router, setting }: Pick<Row, 'router' | 'setting'>,
  rows: readonly Row[],
  rounds: number,
  signal: AbortSignal,
): Promise<void> {
  const name = `failover-${router.toLowerCase()}`;
  const network = 70 + ROUTERS.indexOf(router);
  const places = rows.length * KINDS.length;
  let stage: Stage | null = null;
  for (let round = 1; round <= rounds && !signal.aborted; round++) {
    const title = `${router}, ${setting.name}: round ${round} of ${rounds}`;
    try {
      stage ??= await Stage.create({ name, network, router, setting, places });
      await playRound(stage, casesOf(stage, rows), signal);
      console.error(`${title} done`);
    } catch (error) {
      console.error(`${title} broke off: ${String(error)}`);
      await close(stage);
      stage = null;
    }
  }
  await close(stage);
}

/** What it leaves behind, the next stage of that name removes. */
async function close(stage: Stage | null): Promise<void> {
  await stage?.close().catch((error: unknown) => console.error(`not removed: ${String(error)}`));
}

function casesOf(stage: Stage, rows: readonly Row[]): readonly Case[] {
  const cases = rows.flatMap((row) => KINDS.map((kind) => ({ row, kind })));
  return stage.places.flatMap((wire, i) => cases.slice(i, i + 1).map((each) => ({ ...each, wire })));
}

/** Start all, let all of them fail one after the other, wait for the router, and clean up. */
async function playRound(stage: Stage, cases: readonly Case[], signal: AbortSignal): Promise<void> {
  const directors = new Map<Case, Director>();
  const armed = new Map<Case, Armed>();
  const took = new Map<Case, number>();
  try {
    for (const each of cases) directors.set(each, stage.start(each.kind, each.wire));
    const story = () => [...directors.values()].map((director) => director.story().slice(-500)).join('\n');
    await stage.allServe(
      cases.map(({ wire }) => wire),
      story,
    );
    await stage.network.haste();
    const served = Date.now();
    for (const [each, { pid }] of directors) {
      armed.set(each, await arm(each.row.failure, { network: stage.network, wire: each.wire, pid }));
    }
    const struck: { readonly each: Case; readonly at: number }[] = [];
    for (const [each, { strike }] of shuffled([...armed])) {
      // Spread over the time between two keepalives.
      await setTimeout(APART_MS * (0.5 + Math.random()), null, { signal });
      const { kind, row, wire } = each;
      // On a machine that is too busy a BFD session may have failed by itself, also for a moment.
      if (stage.fib.left(wire.vip, wire.directorAddress, served) === null) struck.push({ each, at: strike() });
      else console.error(`${row.router}: ${kind} was given up before its ${row.failure}, which is left out`);
    }
    for (const { each, at } of struck) took.set(each, await timeUntilLeft(stage, each.wire, at, signal));
  } finally {
    const gone = [...directors.values()].map((director) => director.kill());
    for (const { mend } of armed.values()) await mend();
    // A process with a stopped thread is gone when its tracer is.
    await Promise.all(gone);
  }
  // A router that has died meanwhile is no witness: the round counts when it is as it was before.
  await stage.allStandBy();
  for (const [{ row, kind }, ms] of took) row.times[kind].push(ms);
}

/** In ms; infinite when the route stays. */
async function timeUntilLeft(
  { fib, setting }: Stage,
  wire: Wire,
  struckAt: number,
  signal: AbortSignal,
): Promise<number> {
  const end = struckAt + (setting.holdTimeSeconds + (setting.restartSeconds ?? 0)) * 1000 + GRACE_MS;
  for (;;) {
    const left = fib.left(wire.vip, wire.directorAddress, struckAt);
    if (left !== null) return left - struckAt;
    if (Date.now() > end) return Number.POSITIVE_INFINITY;
    await setTimeout(20, null, { signal });
  }
}

function report(rows: readonly Row[], rounds: number): void {
  console.log(`Milliseconds until the router forwards elsewhere: median (fastest – slowest) of ${rounds} rounds\n`);
  const widths = [8, 19, 17, 31, 31, 8];
  const line = (cells: readonly string[]) => console.log(cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(''));
  line(['router', 'failure', 'detection', 'anybal', 'BIRD as announcer', 'ratio']);
  const ratios: Record<string, number | null> = {};
  for (const { router, failure, setting, times } of rows) {
    const ratio = times.anybal.length === 0 || times.BIRD.length === 0 ? null : ratioOf(times);
    ratios[`${router} ${failure} ${setting.name}`] = ratio;
    // Beyond the noise: our usual case is worse than the worst that BIRD did.
    const slower = ratio !== null && median(times.anybal) > Math.max(...times.BIRD) ? ' slower' : '';
    const spreads = KINDS.map((kind) => spread(times[kind], rounds));
    line([router, failure, setting.name, ...spreads, `${ratio ?? '–'}${slower}`]);
  }
  console.log('\nslower: our median is above the slowest that BIRD was.');
  if (rows.some(({ times }) => KINDS.some((kind) => times[kind].length < rounds))) {
    console.log(`… of ${rounds}: the other rounds broke off, or this director was given up before it was to fail.`);
  }
  if (rows.some(({ failure }) => failure === 'main thread stuck')) {
    console.log(
      'main thread stuck: ptrace stops that thread and no other. BIRD has no such watch: its BFD thread goes on.',
    );
  }
  console.log(JSON.stringify(ratios));
}

function ratioOf({ anybal, BIRD }: Row['times']): number {
  return Number((median(BIRD) / median(anybal)).toFixed(2));
}

/** And of how many rounds, where some are missing. */
function spread(times: readonly number[], rounds: number): string {
  if (times.length === 0) return `none of ${rounds}`;
  const show = (ms: number) => (ms === Number.POSITIVE_INFINITY ? 'never' : ms.toFixed(ms < 100 ? 1 : 0));
  const of = times.length < rounds ? `, ${times.length} of ${rounds}` : '';
  return `${show(median(times))} (${show(Math.min(...times))} – ${show(Math.max(...times))})${of}`;
}

function shuffled<T>(list: readonly T[]): readonly T[] {
  return list
    .map((each) => [Math.random(), each] as const)
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each);
}

process.exitCode = await main();
