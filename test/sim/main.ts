// `npm run sim -- --seed N | --seeds A..B [--hours H] [--log] [--tail]`: run simulated sites and say what was hit. Exits 1 at
// the first broken law, with the seed and how to see it again, 2 for a command line that makes no sense.

import { parseArgs } from 'node:util';
import { MONITORS } from './monitors.ts';
import { PROGRAM } from './program.ts';
import { type RunResult, simulate } from './simulation.ts';
import { Tally } from './tally.ts';
import { stamp } from './journal.ts';

const USAGE = 'usage: npm run sim -- [--seed N | --seeds A..B] [--hours H] [--log] [--tail]';

interface Options {
  readonly from: number;
  readonly to: number;
  readonly hours: number;
  readonly log: boolean;
  readonly tail: boolean;
}

function options(args: readonly string[]): Options | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        seeds: { type: 'string' },
        hours: { type: 'string', default: '1' },
        log: { type: 'boolean', default: false },
        tail: { type: 'boolean', default: false },
      },
    });
    const range = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? '');
    const one = /^\d+$/.exec(values.seed ?? '');
    const hours = Number(values.hours);
    if (!(hours > 0 && hours <= 10_000)) return null;
    const { log, tail } = values;
    if (range !== null && values.seed === undefined)
      return { from: Number(range[1]), to: Number(range[2]), hours, log, tail };
    if (one !== null && values.seeds === undefined)
      return { from: Number(one[0]), to: Number(one[0]), hours, log, tail };
    return values.seed === undefined && values.seeds === undefined ? { from: 1, to: 10, hours, log, tail } : null;
  } catch {
    return null;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function report(result: RunResult, hours: number, tail: boolean): void {
  const rate = result.simulatedHours / result.cpuSeconds;
  say(
    `seed ${result.seed}: ${result.violations.length === 0 ? 'ok' : 'BROKEN'}, ${result.simulatedHours.toFixed(1)} h, ` +
      `${result.events} events, ${rate.toFixed(1)} simulated hours per CPU second, ${result.lines} lines, ` +
      `sha256 ${result.digest}`,
  );
  if (result.violations.length === 0) return;
  if (tail) for (const line of result.tail) say(`  ${line}`);
  for (const { law, at, director, text } of result.violations) say(`  ${stamp(at)} law ${law} (${director}): ${text}`);
  say(`  again, with everything that happened: npm run sim -- --seed ${result.seed} --hours ${hours} --log`);
}

function table(tally: Tally): void {
  const rows = tally.rows();
  const width = Math.max(...rows.map(([kind]) => kind.length), 4) + 2;
  const wide = Math.max(...rows.map(([, place]) => place.length), 5) + 2;
  say(`${'fault'.padEnd(width)}${'place'.padEnd(wide)}hits`);
  for (const [kind, place, count] of rows) say(`${kind.padEnd(width)}${place.padEnd(wide)}${count}`);
}

// Whoever pipes this into head has seen enough.
process.stdout.on('error', () => process.exit(0));

async function main(): Promise<number> {
  Error.stackTraceLimit = 0;
  const chosen = options(process.argv.slice(2));
  if (chosen === null) {
    process.stderr.write(`${USAGE}\n`);
    return 2;
  }
  const { from, to, hours, log, tail } = chosen;
  const total = { tally: new Tally(), seeds: 0, events: 0, hours: 0, cpu: 0 };
  let broken = false;
  for (let seed = from; seed <= to && !broken; seed++) {
    const result = await simulate({ seed, hours, program: PROGRAM, monitors: MONITORS, print: log ? say : null });
    report(result, hours, tail);
    broken = result.violations.length > 0;
    total.tally.add(result.tally);
    total.seeds++;
    total.events += result.events;
    total.hours += result.simulatedHours;
    total.cpu += result.cpuSeconds;
  }
  if (to > from) table(total.tally);
  const { seeds, events, cpu } = total;
  say(
    `${seeds} seeds, ${events} events, ${total.hours.toFixed(1)} simulated hours in ${cpu.toFixed(1)} CPU seconds: ` +
      `${(total.hours / cpu).toFixed(1)} per second, ${((cpu * 1e6) / events).toFixed(2)} µs per event`,
  );
  return broken ? 1 : 0;
}

process.exitCode = await main();
