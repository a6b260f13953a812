// Tests whose bounds are times, on a machine that may stand still: its hypervisor, or who else is running, may leave it nothing for
// seconds. A thread that does nothing else sees that. A test that failed meanwhile has shown nothing, and is run again; on a machine
// that goes on, it is run once.

import { Worker } from 'node:worker_threads';

/** A standstill: less than BFD at 50 ms × 3 forgives. */
const STANDSTILL_MS = 100;
const TIMES = 3;

/** When the last standstill ended, in Unix ms, and how long it took. Written by the thread. */
let seen: Float64Array | null = null;

function watched(): Float64Array {
  if (seen === null) {
    seen = new Float64Array(new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT));
    const workerData = { seen, standstillMs: STANDSTILL_MS };
    new Worker(new URL('./steady-worker.js', import.meta.url), { workerData, execArgv: [] }).unref();
  }
  return seen;
}

const now = (): number => performance.timeOrigin + performance.now();

/** From now on; asked, the standstill that was the last one, in ms, or 0. */
function watch(): () => number {
  const [since, last] = [now(), watched()];
  return () => ((last[0] ?? 0) >= since ? (last[1] ?? 0) : 0);
}

/** In the place of mocha's `it`. */
export function steady(title: string, test: (this: Mocha.Context) => Promise<void>): void {
  it(title, async function () {
    const standstill = watch();
    try {
      await test.call(this);
    } catch (error) {
      const ms = standstill();
      // Mocha runs it again, with the hooks of each test, so many times.
      this.retries(ms > 0 ? TIMES - 1 : 0);
      if (ms > 0) console.log(`    the machine stood still for ${Math.round(ms)} ms: ${String(error)}`);
      throw error;
    }
  });
}

/** For what is measured once and looked at by many tests: again when it is not as meant and the machine stood still. */
export async function measuredSteady<T>(measure: () => Promise<T>, isMeant: (measured: T) => boolean): Promise<T> {
  for (let time = 1; ; time++) {
    const standstill = watch();
    const measured = await measure();
    const ms = standstill();
    if (ms === 0 || isMeant(measured) || time === TIMES) return measured;
    console.log(`    the machine stood still for ${Math.round(ms)} ms: measured again`);
  }
}
