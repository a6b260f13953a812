// A configuration from disk, with the last good text of each section beside it in the state directory. Called by the daemon
// at start and at each reload, and by check.ts. A file that can not be read is refused: it never means "nothing is wanted".

import { type Complaint, errorText, isMissing, SystemError } from '../lib/errors.ts';
import type { World } from '../world/world.ts';
import { decodeConfig, type SectionTexts } from './decode.ts';
import { GLOBAL_OPTIONS } from './options.ts';
import { peek } from './section.ts';
import { type ScannedText, scanText } from './text.ts';
import type { Config } from './types.ts';

const MAX_BYTES = 16 << 20;
const FORMAT_VERSION = 1;

export interface LoadOptions {
  /** Refuse the whole file for any error. */
  readonly strict?: boolean;
  /** Where last good sections are kept, if not where the file itself says. */
  readonly stateDirectory?: string;
  /** The last good sections, for who remembers them; otherwise they are read from the state directory. */
  readonly lastGood?: SectionTexts;
}

export interface Loaded {
  /** null: refused, go on with what runs (or exit 2). */
  readonly config: Config | null;
  readonly complaints: readonly Complaint[];
  /** null: it could not be read. */
  readonly scanned: ScannedText | null;
  readonly stateDirectory: string;
  /** Its last line has no end, as that of a file that is not written whole yet. */
  readonly cutOff: boolean;
  /** Give this to keepSections once the configuration is in use. */
  readonly lastGood: SectionTexts;
}

/** Read and decode a configuration file. Never throws for a file that is missing, unreadable or wrong. */
export async function loadConfig(
  world: Pick<World, 'files' | 'monitor'>,
  path: string,
  options: LoadOptions = {},
): Promise<Loaded> {
  const complaints: Complaint[] = [];
  const stateDirectoryOr = (scanned: ScannedText | null) => options.stateDirectory ?? stateDirectoryOf(scanned);
  let text: string;
  try {
    text = await readText(world, path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    complaints.push(fileComplaint('error', path, `can not be read: ${error.message}`));
    return {
      config: null,
      complaints,
      scanned: null,
      stateDirectory: stateDirectoryOr(null),
      cutOff: false,
      lastGood: new Map(),
    };
  }
  const scanned = scanText(text, path);
  const stateDirectory = stateDirectoryOr(scanned);
  const lastGood = options.lastGood ?? (await readSections(world, stateDirectory, complaints));
  const monitor = (name: string) => world.monitor(name);
  const decoded = await decodeConfig(scanned, { monitor, lastGood, strict: options.strict ?? false });
  const all = [...complaints, ...decoded.complaints];
  const config = decoded.config === null ? null : { ...decoded.config, complaints: all };
  const cutOff = text !== '' && !text.endsWith('\n');
  return { config, complaints: all, scanned, stateDirectory, cutOff, lastGood: decoded.lastGood };
}

/**
 * Where the file says that monitors of one's own are: whoever makes World.monitor must know it before the file can be
 * decoded. The default where the file can not be read; loadConfig will say why.
 */
export async function monitorDirectories(world: Pick<World, 'files'>, path: string): Promise<readonly string[]> {
  const text = await readText(world, path).catch((error: unknown) => {
    if (error instanceof SystemError) return '';
    throw error;
  });
  return peekGlobal(scanText(text, path), 'monitor-directories') as readonly string[];
}

/** Remember each section's text as its last good one. Rejects with a SystemError when the disk does. */
export async function keepSections(
  world: Pick<World, 'files'>,
  stateDirectory: string,
  lastGood: SectionTexts,
): Promise<void> {
  const json = JSON.stringify({ version: FORMAT_VERSION, sections: [...lastGood] }, null, 1);
  await world.files.replace(sectionsPath(stateDirectory), new TextEncoder().encode(`${json}\n`));
}

/** A Latin-1 comment must not refuse a file: bytes that are not UTF-8 become U+FFFD. */
async function readText(world: Pick<World, 'files'>, path: string): Promise<string> {
  return new TextDecoder().decode(await world.files.read(path, MAX_BYTES));
}

async function readSections(
  world: Pick<World, 'files'>,
  stateDirectory: string,
  complaints: Complaint[],
): Promise<SectionTexts> {
  const path = sectionsPath(stateDirectory);
  try {
    return parseSections(JSON.parse(await readText(world, path)));
  } catch (error) {
    if (!isMissing(error))
      complaints.push(fileComplaint('warning', path, `last good sections can not be read: ${errorText(error)}`));
    return new Map();
  }
}

function parseSections(json: unknown): SectionTexts {
  const { version, sections } = (json ?? {}) as { readonly version?: unknown; readonly sections?: unknown };
  if (version !== FORMAT_VERSION || !Array.isArray(sections)) throw new TypeError('not a file of sections');
  const texts = new Map<string, string>();
  for (const entry of sections as readonly unknown[]) {
    const [name, text] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
    if (typeof name !== 'string' || typeof text !== 'string') throw new TypeError('not a file of sections');
    texts.set(name, text);
  }
  return texts;
}

/** Known before anything is decoded, because decoding needs what lies there. */
function stateDirectoryOf(scanned: ScannedText | null): string {
  return peekGlobal(scanned, 'state-directory') as string;
}

/** The value of one option of [global] by itself, its default if it is wrong or not there. */
function peekGlobal(scanned: ScannedText | null, name: 'state-directory' | 'monitor-directories'): unknown {
  const row = GLOBAL_OPTIONS.find((option) => option.name === name);
  if (row === undefined) throw new Error(`the option table has no ${name}`);
  const section = scanned?.sections.find((one) => one.name === 'global');
  return (section === undefined ? null : peek(section, row)) ?? row.default;
}

function sectionsPath(stateDirectory: string): string {
  return `${stateDirectory}/sections.json`;
}

function fileComplaint(severity: Complaint['severity'], file: string, message: string): Complaint {
  return { severity, place: { file, line: 1 }, section: null, option: null, message };
}
