// The thread of steady.ts: wakes up again and again, and notes when it was woken late.

import { workerData } from 'node:worker_threads';

const STEP_MS = 10;

const { seen, standstillMs } = workerData as { readonly seen: Float64Array; readonly standstillMs: number };
const nobody = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
const now = (): number => performance.timeOrigin + performance.now();

for (let last = now(); ; ) {
  Atomics.wait(nobody, 0, 0, STEP_MS);
  const woken = now();
  const lateMs = woken - last - STEP_MS;
  last = woken;
  if (lateMs > standstillMs) {
    seen[2] = (seen[2] ?? 0) + lateMs;
    seen[1] = lateMs;
    seen[0] = woken;
  }
}
