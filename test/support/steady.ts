// Tests whose bounds are times, on a machine that may stand still: its hypervisor, or who else is running, may leave it nothing for
// seconds. A thread that does nothing else sees that, and what a hypervisor takes while the machine seems to go on. A test that failed
// meanwhile has shown nothing, and is run again when the machine is calm; on a machine that goes on, it is run once. Mocha's root hooks
// for the suites in real time (bootstrap.mjs), and for those who measure.

import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Watching } from './steady-worker.ts';

const TIMES = 5;
const MEASURED_TIMES = 3;
/** So long no standstill may happen before the next time; so long it is waited for, and in one process. */
const CALM_MS = 3_000;
const MOST_WAIT_MS = 30_000;
const MOST_WAITS_MS = 180_000;
/** A standstill: less than BFD at 50 ms × 3 forgives. */
const STANDSTILL_MS = 100;
const STEP_MS = 10;

/** Written by the thread, in ms: when the last standstill ended (Unix), how long it and all of them took, when it woke up last. */
const LAST_END = 0;
const LAST = 1;
const ALL = 2;
const WOKEN = 3;

let seen: Float64Array | null = null;

function watched(): Float64Array {
  if (seen === null) {
    // The thread's own start takes time: until then nobody is late.
    seen = new Float64Array(new SharedArrayBuffer(4 * Float64Array.BYTES_PER_ELEMENT)).fill(Infinity, WOKEN);
    const workerData: Watching = { seen, standstillMs: STANDSTILL_MS, stepMs: STEP_MS };
    new Worker(new URL('./steady-worker.js', import.meta.url), { workerData, execArgv: [] }).unref();
  }
  return seen;
}

/** Resolves when the thread is there. */
async function watching(): Promise<void> {
  for (const of = watched(); of[WOKEN] === Infinity; ) await sleep(STEP_MS);
}

const now = (): number => performance.timeOrigin + performance.now();

/** What the thread has not told yet: after a standstill it wakes up no sooner than whoever asks. */
function untoldMs(of: Float64Array): number {
  const lateMs = now() - (of[WOKEN] ?? 0) - STEP_MS;
  return lateMs > STANDSTILL_MS ? lateMs : 0;
}

/** From now on; asked, the standstill that was the last one, in ms, or 0. */
export function watch(): () => number {
  const [since, of] = [now(), watched()];
  return () => untoldMs(of) || ((of[LAST_END] ?? 0) >= since ? (of[LAST] ?? 0) : 0);
}

/** How long all standstills took since this was first asked, in ms: so much longer is a bound of time. */
export function stoodStillMs(): number {
  const of = watched();
  return (of[ALL] ?? 0) + untoldMs(of);
}

let waitedMs = 0;

/** Resolves when no standstill has been for a while, or it is no use to wait. */
async function calm(): Promise<void> {
  const of = watched();
  for (const end = Math.min(waitedMs + MOST_WAIT_MS, MOST_WAITS_MS); waitedMs < end; waitedMs += CALM_MS) {
    await sleep(CALM_MS);
    if ((of[LAST_END] ?? 0) < now() - CALM_MS) return;
  }
}

/** Of a test, what Mocha asks when it has failed. */
interface Retried {
  retries(times?: number): unknown;
  currentRetry(): number;
  fullTitle(): string;
}

export const mochaHooks = {
  async beforeEach(this: Mocha.Context): Promise<void> {
    const test = this.currentTest as unknown as Retried | undefined;
    if (test === undefined) return;
    if (test.currentRetry() > 0) {
      console.log(`    failed while the machine stood still: ${test.fullTitle()}`);
      this.timeout(2 * MOST_WAIT_MS);
      await calm();
    }
    await watching();
    const standstill = watch();
    // Asked when it has failed, and again when it is copied for the next time.
    let stoodMs: number | undefined;
    test.retries = (times) => {
      if (times !== undefined) return test;
      stoodMs ??= standstill();
      return stoodMs > 0 ? TIMES - 1 : 0;
    };
  },
};

/** `complaint`: what is not as meant; null if all is. */
async function tried<T>(act: () => Promise<T>, complaint: (outcome: T) => string | null): Promise<T> {
  for (let time = 1; ; time++) {
    const standstill = watch();
    const outcome = await act();
    const ms = standstill();
    const wrong = complaint(outcome);
    if (ms === 0 || wrong === null || time === MEASURED_TIMES) return outcome;
    console.log(`    the machine stood still for ${Math.round(ms)} ms: ${wrong}`);
    await calm();
  }
}

/** For what is no test of its own: again when it fails and the machine stood still. */
export async function steadily<T>(act: () => Promise<T>): Promise<T> {
  const settled = async () => (await Promise.allSettled([act()]))[0];
  const outcome = await tried(settled, (one) => (one.status === 'rejected' ? String(one.reason) : null));
  if (outcome.status === 'rejected') throw outcome.reason;
  return outcome.value;
}

/** For what is measured once and looked at by many tests: again when it is not as meant and the machine stood still. */
export function measuredSteady<T>(measure: () => Promise<T>, isMeant: (measured: T) => boolean): Promise<T> {
  return tried(measure, (measured) => (isMeant(measured) ? null : 'measured again'));
}
