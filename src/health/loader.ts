// From the name of a monitor to its module. Handed to the world by main.ts, the demo and `anybal check`. The only place
// that imports code by name: such code runs inside a process with CAP_NET_ADMIN, so nobody else may be able to change it.

import { realpath, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { errorText } from '../lib/errors.ts';
import { API_VERSION, type MonitorModule, type OptionRow, type Sample } from './monitor.ts';

/** The same place in the sources and in what is built from them. */
const BUILT_IN = fileURLToPath(new URL('../../monitors/', import.meta.url));
const NAME = /^[A-Za-z][A-Za-z0-9]*$/;
/** Sources are there to be run by a Node that strips types. */
const ENDINGS = import.meta.url.endsWith('.ts') ? ['.ts', '.mjs', '.js'] : ['.mjs', '.js'];

/** A monitor that is there and cannot be used. The message names the file and says why. */
export class MonitorRefused extends Error {
  constructor(file: string, why: string, cause?: unknown) {
    super(`${file}: ${why}`, { cause });
    this.name = 'MonitorRefused';
  }
}

/**
 * The module that configuration calls `name`, in any case: file `<name>.mjs` or `.js`, else one that has it as an alias.
 * `directories` come before the built-in monitors, in their order. Null: there is none, and so it is for what is no name.
 * `onStranger`: a file is about to be loaded that is not built in. A module is read once: a file that changed is seen
 * after a restart. Rejects with MonitorRefused.
 */
export async function loadMonitor(
  name: string,
  directories: readonly string[],
  onStranger = (): void => {},
): Promise<MonitorModule | null> {
  if (!NAME.test(name)) return null;
  const wanted = name.toLowerCase();
  const places = [...directories.map((path) => ({ path, ours: false })), { path: BUILT_IN, ours: true }];
  return (await byStem(wanted, places, onStranger)) ?? byAlias(wanted, places, onStranger);
}

/** The monitor in this very file, whoever may write it, and the sample beside it: for its author. Rejects with MonitorRefused. */
export async function loadMonitorFile(
  file: string,
): Promise<{ readonly module: MonitorModule; readonly sample: Sample | null }> {
  const path = resolve(file);
  if (!(await exists(path))) throw new MonitorRefused(file, 'there is no such file');
  const module = await importModule(path, basename(path).replace(/\.\w+$/, ''));
  const { sample } = (await import(pathToFileURL(path).href)) as { readonly sample?: unknown };
  return { module, sample: isObject(sample) ? (sample as Sample) : null };
}

interface Place {
  readonly path: string;
  readonly ours: boolean;
}

async function byStem(stem: string, places: readonly Place[], onStranger: () => void): Promise<MonitorModule | null> {
  for (const { path, ours } of places) {
    for (const ending of ENDINGS) {
      const file = join(path, stem + ending);
      if (!(await exists(file))) continue;
      if (!ours) {
        await demandTrusted(file);
        onStranger();
      }
      return importModule(file, stem);
    }
  }
  return null;
}

/** A file that cannot be used, or that another of the same name comes before, has no say. */
async function byAlias(
  wanted: string,
  places: readonly Place[],
  onStranger: () => void,
): Promise<MonitorModule | null> {
  for (const { path } of places) {
    const files = await readdir(path).catch(() => []);
    for (const file of files.sort()) {
      const stem = file.replace(/\.\w+$/, '');
      if (!NAME.test(stem) || !ENDINGS.includes(file.slice(stem.length))) continue;
      try {
        const module = await byStem(stem, places, onStranger);
        if (module?.aliases?.some((alias) => alias.toLowerCase() === wanted)) return module;
      } catch (error) {
        if (!(error instanceof MonitorRefused)) throw error;
      }
    }
  }
  return null;
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

async function importModule(file: string, stem: string): Promise<MonitorModule> {
  let imported: unknown;
  try {
    imported = await import(pathToFileURL(file).href);
  } catch (error) {
    // The file itself exists: it is one of its own imports that is missing.
    const missing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
    throw new MonitorRefused(file, `${missing ? 'an import of it is missing: ' : ''}${errorText(error)}`, error);
  }
  const module = isObject(imported) ? imported.default : undefined;
  const wrong = complaint(module, stem);
  if (wrong !== null) throw new MonitorRefused(file, wrong);
  const monitor = module as MonitorModule;
  const taken = await nameOfBuiltIn(monitor.aliases ?? [], stem);
  if (taken !== null) throw new MonitorRefused(file, `alias ${taken} is the name of a built-in monitor`);
  return monitor;
}

/** The first of `aliases` that is a built-in monitor's name other than `own`: it would never be heard. */
async function nameOfBuiltIn(aliases: readonly string[], own: string): Promise<string | null> {
  for (const alias of aliases) {
    const stem = alias.toLowerCase();
    if (stem === own) continue;
    for (const ending of ENDINGS) if (await exists(join(BUILT_IN, stem + ending))) return alias;
  }
  return null;
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
  const { apiVersion, name, aliases, kind, options } = module;
  if (apiVersion !== API_VERSION)
    return `it is made for version ${String(apiVersion)} of the contract, this is ${API_VERSION}`;
  if (typeof name !== 'string' || !NAME.test(name)) return 'name is not a word of letters and digits';
  // Configuration keeps the name, and finds the module by it again.
  if (name.toLowerCase() !== stem) return `a monitor named ${name} must be in a file ${name.toLowerCase()}.mjs`;
  if (aliases !== undefined && !(Array.isArray(aliases) && aliases.every((alias) => NAME.test(String(alias))))) {
    return 'aliases is not a list of names';
  }
  if (kind !== 'poll' && kind !== 'watch') return "kind is neither 'poll' nor 'watch'";
  if (typeof module.create !== 'function' || typeof module.timing !== 'function') return 'create or timing is missing';
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
