// The thread of steady.ts: wakes up again and again, and notes when it was woken late, and when a hypervisor took much.

import { readFileSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

export interface Watching {
  /** Unix times and durations in ms: see steady.ts. */
  readonly seen: Float64Array;
  readonly standstillMs: number;
  readonly stepMs: number;
}

/** How often the kernel is asked what was stolen, in steps. */
const STOLEN_STEPS = 50;
/** USER_HZ is 100 on Linux. */
const STOLEN_UNIT_MS = 10;

const { seen, standstillMs, stepMs } = workerData as Watching;
const nobody = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
const now = (): number => performance.timeOrigin + performance.now();

/** proc(5): what of all cores went to other guests since the machine's start, in ms. */
function stolenMs(): number {
  const [, ...times] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/\s+/) ?? [];
  return Number(times[7] ?? 0) * STOLEN_UNIT_MS;
}

let stolen = stolenMs();
let last = now();
for (let step = 1; ; step++) {
  seen[3] = last;
  Atomics.wait(nobody, 0, 0, stepMs);
  const woken = now();
  const lateMs = woken - last - stepMs;
  last = woken;
  let gone = 0;
  if (step % STOLEN_STEPS === 0) {
    const before = stolen;
    stolen = stolenMs();
    gone = stolen - before;
  }
  if (lateMs > standstillMs) seen[2] = (seen[2] ?? 0) + lateMs;
  if (lateMs > standstillMs || gone > standstillMs) {
    seen[1] = Math.max(lateMs, gone);
    seen[0] = woken;
  }
}
