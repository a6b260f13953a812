// The thread beside the main one that sees it hang, asks the debugger where, says so and ends the process. Started by watchdog.ts.

import { realpathSync, writeSync } from 'node:fs';
import { type Debugger, Session } from 'node:inspector';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { openLibc } from '../../ffi/libc.ts';

export interface WatchdogData {
  /** One counter: signs of life. */
  readonly beats: SharedArrayBuffer;
  readonly file: string;
  readonly limitMs: number;
}

/** Between them comes where the main thread hangs. */
export interface LastWords {
  readonly before: string;
  readonly after: string;
}

const LOOK_MS = 250;
/** A thread that waits in the kernel, or inside one regular expression, does not stop for the debugger. */
const STOP_MS = 2_000;
/** A reader of standard output that is slow, or has gone. */
const WRITE_TRIES = 100;
const WRITE_PAUSE_MS = 20;
const NAME = /^[\p{L}\p{N}_$.# ]+$/u;

function run(): void {
  const { beats, file, limitMs } = workerData as WatchdogData;
  const counter = new Int32Array(beats);
  let words: LastWords = { before: '', after: '' };
  parentPort?.on('message', (given: LastWords) => (words = given));
  let last = 0;
  // Looks are counted, not milliseconds: a process that was stopped, or a machine that slept, is not one that hangs.
  let silent = 0;
  const looking = setInterval(() => {
    const beat = Atomics.load(counter, 0);
    silent = beat === last ? silent + 1 : 0;
    last = beat;
    if (silent * LOOK_MS < limitMs) return;
    clearInterval(looking);
    const seconds = Math.round(limitMs / 1000);
    whereItHangs(urlOf(file), (place) => {
      const what = place === null || place.name === '' ? 'it' : `${place.name}()`;
      const line = place === null ? '' : `, line ${place.line}`;
      say(`${words.before}${what} had not returned after ${seconds} s${line}${words.after}`);
      end();
    });
  }, LOOK_MS);
}

/** As modules are named: by where links lead to. */
function urlOf(file: string): string {
  try {
    return pathToFileURL(realpathSync(file)).href;
  } catch {
    return pathToFileURL(file).href;
  }
}

interface Place {
  /** The outermost function of the file; empty if it has no name, as what is not in a function. */
  readonly name: string;
  /** In the innermost one. */
  readonly line: number;
}

/** Null: not known. */
function whereItHangs(url: string, found: (place: Place | null) => void): void {
  const session = new Session();
  try {
    session.connectToMainThread();
  } catch {
    // Node may have been built without it.
    found(null);
    return;
  }
  const scripts = new Set<string>();
  const late = setTimeout(() => found(null), STOP_MS);
  session.on('Debugger.scriptParsed', ({ params }) => {
    if (params.url === url) scripts.add(params.scriptId);
  });
  session.on('Debugger.paused', ({ params }) => {
    clearTimeout(late);
    found(placeIn(params.callFrames.filter(({ location }) => scripts.has(location.scriptId))));
  });
  session.post('Debugger.enable');
  session.post('Debugger.pause');
}

/** `frames`: the innermost first. */
function placeIn(frames: readonly Debugger.CallFrame[]): Place | null {
  const [inner] = frames;
  const outer = frames.at(-1);
  if (inner === undefined || outer === undefined) return null;
  return { name: NAME.test(outer.functionName) ? outer.functionName : '', line: inner.location.lineNumber + 1 };
}

/** process.stdout is the main thread's business. */
function say(text: string): void {
  let bytes = Buffer.from(text);
  for (let tries = 0; bytes.length > 0 && tries < WRITE_TRIES; tries++) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WRITE_PAUSE_MS);
    }
  }
}

/** process.exit() ends no more than this thread here. */
function end(): void {
  try {
    openLibc().exit(1);
  } catch {
    process.kill(process.pid, 'SIGKILL');
  }
}

run();
