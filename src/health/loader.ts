// From the name of a monitor to its module. Handed to the world by main.ts, the demo and `anybal check`. The only place
// that imports code by name: such code runs inside a process with CAP_NET_ADMIN, so nobody else may be able to change it.

import { execFile } from 'node:child_process';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { errorText } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { API_VERSION, type MonitorModule, type OptionRow, type Sample } from './monitor.ts';

/** The same place in the sources and in what is built from them. */
const BUILT_IN = fileURLToPath(new URL('../../monitors/', import.meta.url));
const NAME = /^[A-Za-z][A-Za-z0-9]*$/;
/** Sources are there to be run by a Node that strips types. */
const ENDINGS = import.meta.url.endsWith('.ts') ? ['.ts', '.mjs', '.js'] : ['.mjs', '.js'];

/** How long a module may take to be loaded: one that awaits at its top level may never be. Far below a reload's deadline. */
const IMPORT_MS = 10_000;
/** Of a file that was refused. */
const CHECK_MS = 5_000;
const CLOCK = {
  at(ms: number, call: () => void) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

export interface LoadMonitorOptions {
  /** A file is about to be loaded that is not built in. */
  readonly onStranger?: () => void;
  readonly importMs?: number;
}

/** A monitor that is there and cannot be used. The message names the file and says why. */
export class MonitorRefused extends Error {
  constructor(file: string, why: string, cause?: unknown) {
    super(`${file}: ${why}`, { cause });
    this.name = 'MonitorRefused';
  }
}

/**
 * The module that configuration calls `name`, in any case: file `<name>.mjs` or `.js`. No other file is looked into.
 * `directories` come before the built-in monitors, in their order. Null: there is none, and so it is for what is no name.
 * A module that is good is read once: a file that changed is seen after a restart. One that is not is read again each time.
 * Rejects with MonitorRefused.
 */
export async function loadMonitor(
  name: string,
  directories: readonly string[],
  { onStranger = () => {}, importMs = IMPORT_MS }: LoadMonitorOptions = {},
): Promise<MonitorModule | null> {
  if (!NAME.test(name)) return null;
  const stem = name.toLowerCase();
  for (const path of [...directories, BUILT_IN]) {
    for (const ending of ENDINGS) {
      const file = join(path, stem + ending);
      if (!(await exists(file))) continue;
      if (path !== BUILT_IN) {
        await demandTrusted(file);
        onStranger();
      }
      return (await importModule(file, stem, importMs)).module;
    }
  }
  return null;
}

/** The monitor in this very file, whoever may write it, and the sample beside it: for its author. Rejects with MonitorRefused. */
export async function loadMonitorFile(
  file: string,
): Promise<{ readonly module: MonitorModule; readonly sample: Sample | null }> {
  const path = resolve(file);
  if (!(await exists(path))) {
    const found = await stat(path).catch(() => null);
    throw new MonitorRefused(file, found?.isDirectory() === true ? 'it is a folder' : 'there is no such file');
  }
  const { module, sample } = await importModule(path, basename(path).replace(/\.\w+$/, ''), IMPORT_MS);
  return { module, sample: isObject(sample) ? (sample as Sample) : null };
}

async function exists(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw new MonitorRefused(file, errorText(error), error);
  }
}

/** Links are followed: what counts is the file that would run, and the folder in which it could be replaced. */
async function demandTrusted(file: string): Promise<void> {
  const real = await realpath(file);
  for (const path of new Set([real, dirname(real), dirname(file)])) {
    const { uid, mode } = await stat(path);
    if (uid !== 0 && uid !== process.getuid?.())
      throw new MonitorRefused(file, `${path} belongs to user ${uid}, not to root`);
    if ((mode & 0o022) !== 0) throw new MonitorRefused(file, `${path} can be written by others (mode ${octal(mode)})`);
  }
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** One reading of a file. Node keeps what came of a URL, errors too, for as long as the process lives. */
interface Reading {
  readonly number: number;
  /** Another when another file is in its place. */
  readonly stamp: string;
  readonly imported: Promise<unknown>;
  is: 'loading' | 'late' | 'good' | 'refused';
}

/** The last one of each file. */
const readings = new Map<string, Reading>();

/** A file that was refused is read again, and so is one that is not loaded yet when it has changed. */
async function readingOf(file: string): Promise<Reading> {
  const { ino, ctimeMs } = await stat(file);
  const stamp = `${ino} ${ctimeMs}`;
  const last = readings.get(file);
  if (last !== undefined && last.is !== 'refused' && (last.is !== 'late' || last.stamp === stamp)) return last;
  const number = last === undefined ? 0 : last.number + 1;
  const url = pathToFileURL(file);
  if (number > 0) url.search = `${number}`;
  const reading: Reading = { number, stamp, imported: import(url.href), is: 'loading' };
  readings.set(file, reading);
  return reading;
}

/** 'line 7: ', or '': Node tells where a file can not be parsed only to who asks for that alone, not to who imports it. */
function lineThatFails(file: string): Promise<string> {
  return new Promise((resolve) =>
    execFile(process.execPath, ['--check', file], { timeout: CHECK_MS, env: {} }, (_, __, said) => {
      const line = /^[^\n]*:(\d+)\n/.exec(said)?.[1];
      resolve(line === undefined ? '' : `line ${line}: `);
    }),
  );
}

async function importModule(
  file: string,
  stem: string,
  importMs: number,
): Promise<{ readonly module: MonitorModule; readonly sample: unknown }> {
  const reading = await readingOf(file);
  const refused = (why: string, cause?: unknown): MonitorRefused => {
    reading.is = 'refused';
    return new MonitorRefused(file, why, cause);
  };
  let imported: unknown;
  try {
    // It had its time: all that counts is whether it has come to its end since.
    imported = await inTime(CLOCK, reading.is === 'late' ? 0 : importMs, reading.imported);
  } catch (error) {
    // The file itself exists: it is one of its own imports that is missing.
    const missing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
    const place = error instanceof SyntaxError ? await lineThatFails(file) : '';
    throw refused(`${missing ? 'an import of it is missing: ' : ''}${place}${errorText(error)}`, error);
  }
  if (imported === null) {
    reading.is = 'late';
    throw new MonitorRefused(file, `an await at its top level has not ended after ${importMs / 1000} s`);
  }
  const { default: module, sample } = isObject(imported) ? imported : {};
  const wrong = complaint(module, stem);
  if (wrong !== null) throw refused(wrong);
  reading.is = 'good';
  return { module: module as MonitorModule, sample };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

const KINDS: Readonly<Record<OptionRow['kind'], true>> = {
  int: true,
  float: true,
  seconds: true,
  port: true,
  bool: true,
  string: true,
  secret: true,
  path: true,
  url: true,
  address: true,
  choice: true,
  strings: true,
  octets: true,
  urls: true,
  addresses: true,
  ints: true,
  words: true,
  template: true,
};

/** What is wrong with the module in the file `<stem>.mjs`; null if nothing is. */
function complaint(module: unknown, stem: string): string | null {
  if (!isObject(module)) return 'it has no default export that is a monitor';
  const { apiVersion, name, kind, options } = module;
  if (apiVersion !== API_VERSION)
    return `it is made for version ${String(apiVersion)} of the contract, this is ${API_VERSION}`;
  if (typeof name !== 'string' || !NAME.test(name)) return 'name is not a word of letters and digits';
  // Configuration keeps the name, and finds the module by it again.
  if (name.toLowerCase() !== stem) return `a monitor named ${name} must be in a file ${name.toLowerCase()}.mjs`;
  if (kind !== 'poll' && kind !== 'watch') return "kind is neither 'poll' nor 'watch'";
  if (typeof module.create !== 'function' || typeof module.timing !== 'function') return 'create or timing is missing';
  for (const given of ['refuse', 'doubt', 'viaPath', 'uses']) {
    if (module[given] !== undefined && typeof module[given] !== 'function') return `${given} is not a function`;
  }
  if (!Array.isArray(options)) return 'options is not a list of rows';
  const names = new Set<unknown>();
  for (const row of options as readonly unknown[]) {
    if (!isObject(row) || typeof row.name !== 'string' || typeof row.kind !== 'string' || typeof row.doc !== 'string') {
      return 'an option has no name, kind or doc';
    }
    if (!Object.hasOwn(KINDS, row.kind)) return `option ${row.name} is of kind ${row.kind}, which there is not`;
    if (names.has(row.name)) return `option ${row.name} is there twice`;
    names.add(row.name);
  }
  return null;
}
