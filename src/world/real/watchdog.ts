// Ends this process when its main thread hangs, with last words that say where: a thread of its own (watchdog-worker.ts) waits
// for signs of life. For `anybal monitor test`, which runs code that nobody has tried yet.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { LastWords, WatchdogData } from './watchdog-worker.ts';

const BEAT_MS = 500;

export interface Watchdog {
  /** The main thread still does what it should. Costs next to nothing; the event loop gives this sign by itself. */
  alive(): void;
  /** What standard output gets if there is no sign of life for `limitMs` from now on; the exit code is then 1. */
  lastWords(words: LastWords): void;
}

/** `file`: where the code is that may hang; its own lines are named rather than those that it has called. */
export async function createWatchdog(file: string, limitMs: number): Promise<Watchdog> {
  const beats = new SharedArrayBuffer(4);
  const counter = new Int32Array(beats);
  const workerData: WatchdogData = { beats, file, limitMs };
  const worker = new Worker(new URL('./watchdog-worker.js', import.meta.url), { workerData, execArgv: [] });
  await once(worker, 'online');
  worker.unref();
  const alive = (): void => void Atomics.add(counter, 0, 1);
  setInterval(alive, BEAT_MS).unref();
  return {
    alive,
    lastWords(words) {
      worker.postMessage(words);
      alive();
    },
  };
}
