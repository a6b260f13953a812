// Tests whose bounds are times, on a machine that may stand still: its hypervisor, or who else is running, may leave it nothing for
// seconds. A thread that does nothing else sees that; what a hypervisor takes of one core alone the kernel counts. A test that failed
// meanwhile has shown nothing, and is run again when the machine is calm; on a machine that goes on, it is run once.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

/** A standstill: less than BFD at 50 ms × 3 forgives. So is what is stolen of one core. */
const STANDSTILL_MS = 100;
const TIMES = 5;
const MEASURED_TIMES = 3;
/** So long no standstill may happen before the next time; so long it is waited for, and in one suite. */
const CALM_MS = 3_000;
const MOST_WAIT_MS = 30_000;
const MOST_WAITS_MS = 180_000;
/** Of one core, in the first line of /proc/stat: USER_HZ is 100 on Linux. */
const STOLEN_UNIT_MS = 10;

/** When the last standstill ended, in Unix ms, how long it took, and how long all of them took. Written by the thread. */
let seen: Float64Array | null = null;

function watched(): Float64Array {
  if (seen === null) {
    seen = new Float64Array(new SharedArrayBuffer(3 * Float64Array.BYTES_PER_ELEMENT));
    const workerData = { seen, standstillMs: STANDSTILL_MS };
    new Worker(new URL('./steady-worker.js', import.meta.url), { workerData, execArgv: [] }).unref();
  }
  return seen;
}

const now = (): number => performance.timeOrigin + performance.now();

/** proc(5): what of all cores went to other guests since the machine's start, in ms. */
function stolenMs(): number {
  const [, ...times] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.split(/\s+/) ?? [];
  return Number(times[7] ?? 0) * STOLEN_UNIT_MS;
}

/** From now on; asked, the standstill that was the last one, or what was stolen, in ms, or 0. */
function watch(): () => number {
  const [since, last, stolen] = [now(), watched(), stolenMs()];
  return () => {
    const gone = stolenMs() - stolen;
    return (last[0] ?? 0) >= since ? (last[1] ?? 0) : gone >= STANDSTILL_MS ? gone : 0;
  };
}

/** How long all standstills took since this was first asked, in ms: what a bound of time is longer for them. */
export function stoodStillMs(): number {
  return watched()[2] ?? 0;
}

let waitedMs = 0;

/** Resolves when no standstill has been for a while, or it is no use to wait. */
async function calm(): Promise<void> {
  const last = watched();
  for (const end = Math.min(waitedMs + MOST_WAIT_MS, MOST_WAITS_MS); waitedMs < end; waitedMs += CALM_MS) {
    await sleep(CALM_MS);
    if ((last[0] ?? 0) < now() - CALM_MS) return;
  }
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
      if (ms > 0) {
        console.log(`    the machine stood still for ${Math.round(ms)} ms: ${String(error)}`);
        this.timeout(this.timeout() + MOST_WAIT_MS + CALM_MS);
        await calm();
      }
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
    if (ms === 0 || isMeant(measured) || time === MEASURED_TIMES) return measured;
    console.log(`    the machine stood still for ${Math.round(ms)} ms: measured again`);
  }
}
