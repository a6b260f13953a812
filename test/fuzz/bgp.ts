// `npm run fuzz:bgp`: millions of generated and mutated BGP messages to the decoders, and a hundred thousand to a running
// speaker, each held against what the RFCs say. Ends with 1 at the first finding, and prints how to see that one again.
// usage: bgp.js [--seed N] [--messages 5000000] [--live 100000] [--at INDEX]

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseArgs } from 'node:util';
import { fuzzDecoders, type Outcomes } from './bgp-decoders.ts';
import { fuzzLive } from './bgp-live.ts';

const SLICE = 250_000;
/** How much more may be on the heap at the end than after the first tenth. */
const GROWTH_LIMIT_MB = 16;

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    messages: { type: 'string', default: '5000000' },
    live: { type: 'string', default: '100000' },
    /** One message of the seed only. */
    at: { type: 'string' },
  },
});

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function main(): Promise<void> {
  const seed = Number(options.seed);
  console.log(`seed ${seed}`);
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    process.on(event, (error: unknown) => {
      console.error(`${event}, seed ${seed}:`, error);
      process.exit(1);
    });
  }
  if (options.at !== undefined) {
    const index = Number(options.at);
    const outcomes: Outcomes = new Map();
    fuzzDecoders(seed, index, index + 1, outcomes);
    console.log([...outcomes.keys()].join());
    return;
  }
  decoders(seed, Number(options.messages));
  await live(seed, Number(options.live));
}

function decoders(seed: number, messages: number): void {
  const outcomes: Outcomes = new Map();
  const start = performance.now();
  let heapMb: number | null = null;
  for (let from = 0; from < messages; from += SLICE) {
    const to = Math.min(messages, from + SLICE);
    fuzzDecoders(seed, from, to, outcomes);
    if (heapMb === null && to >= messages / 10) heapMb = heapUsedMb();
  }
  const seconds = (performance.now() - start) / 1000;
  const growthMb = heapUsedMb() - (heapMb ?? 0);
  console.log(
    `decoders: ${messages} messages in ${seconds.toFixed(1)} s, heap ${growthMb.toFixed(1)} MB larger at the end`,
  );
  for (const [outcome, count] of [...outcomes].sort((a, b) => b[1] - a[1])) {
    console.log(`  ${String(count).padStart(9)}  ${outcome}`);
  }
  if (growthMb > GROWTH_LIMIT_MB) throw new Error(`the heap has grown by ${growthMb.toFixed(1)} MB`);
}

async function live(seed: number, messages: number): Promise<void> {
  if (messages === 0) return;
  const start = performance.now();
  const at = `127.${64 + (process.pid & 63)}.${(process.pid >> 6) & 255}`;
  const tenth = Math.ceil(messages / 10);
  await fuzzLive(seed, tenth, `${at}.1`, `${at}.2`);
  const heapMb = heapUsedMb();
  const result = await fuzzLive(seed + 1, messages - tenth, `${at}.3`, `${at}.4`);
  const seconds = (performance.now() - start) / 1000;
  const growthMb = heapUsedMb() - heapMb;
  const { sessions, forgiven } = result;
  console.log(
    `live: ${messages} messages in ${seconds.toFixed(1)} s, in ${sessions} sessions of the last nine tenths; ` +
      `${forgiven} UPDATEs forgiven; heap ${growthMb.toFixed(1)} MB larger at the end`,
  );
  if (growthMb > GROWTH_LIMIT_MB) throw new Error(`the heap has grown by ${growthMb.toFixed(1)} MB`);
}

function heapUsedMb(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
