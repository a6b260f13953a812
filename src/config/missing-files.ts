// What the configuration names on this host and what is not there, or not what it should be: a command, a user, a feed, a
// certificate, a folder of monitors. Called by check.ts. The daemon does not look: a file system that hangs would keep it from its
// configuration, and each check says for itself what it can not do.

import type { MonitorModule } from '../health/monitor.ts';
import { type Complaint, isMissing } from '../lib/errors.ts';
import type { Files, World } from '../world/world.ts';
import type { OptionRow, OptionsOf } from './rows.ts';
import { Report } from './section.ts';
import type { ScannedText, Section } from './text.ts';
import type { Config, MonitorConfig } from './types.ts';

type Use = 'file' | 'folder' | 'program' | 'user';

const PASSWD_BYTES = 4 << 20;
/** stat(2) */
const [S_IFMT, S_IFDIR, S_IXUGO] = [0o170000, 0o040000, 0o111];

/** A warning for each, at the line that names it. */
export async function missingFiles(
  { files, monitor }: Pick<World, 'files' | 'monitor'>,
  { file, sections }: ScannedText,
  { global, services }: Pick<Config, 'global' | 'services'>,
): Promise<readonly Complaint[]> {
  const complaints: Complaint[] = [];
  const look = async (section: Section, named: readonly Named[]) => {
    const report = new Report(file, section);
    for (const { option, use, name } of named) {
      const why = await wrongWith(files, use, name);
      if (why !== null) report.warning(option, why);
    }
    complaints.push(...report.complaints);
  };
  const directories = 'monitor-directories';
  for (const section of sections) {
    if (section.name === 'global' && section.entries.has(directories))
      await look(
        section,
        global.monitorDirectories.map((name) => ({ option: directories, use: 'folder', name })),
      );
    for (const one of services.find(({ name }) => name === section.name)?.monitors ?? [])
      await look(section, namedBy(await monitor(one.name), one, section));
  }
  return complaints;
}

interface Named {
  readonly option: string;
  readonly use: Use;
  readonly name: string;
}

function namedBy(module: MonitorModule | null, { name, options }: MonitorConfig, section: Section): readonly Named[] {
  const uses = usesOf(module, options);
  return (module?.options ?? []).flatMap((row) => {
    const option = `${name.toLowerCase()}.${row.name}`;
    const value = options[row.name];
    const byKind = row.kind === 'path' && (uses === undefined || section.entries.has(option)) ? 'file' : undefined;
    const use = uses?.[row.name] ?? byKind;
    return use === undefined || typeof value !== 'string' ? [] : [{ option, use, name: value }];
  });
}

function usesOf(
  module: MonitorModule | null,
  options: MonitorConfig['options'],
): Readonly<Record<string, Use | undefined>> | undefined {
  try {
    return module?.uses?.(options as OptionsOf<readonly OptionRow[]>);
  } catch {
    // A bug of its own, which is no reason to say nothing of what it names.
    return undefined;
  }
}

/** Null: nothing, as far as can be told. */
async function wrongWith(files: Files, use: Use, name: string): Promise<string | null> {
  try {
    if (use === 'user') {
      const passwd = new TextDecoder().decode(await files.read('/etc/passwd', PASSWD_BYTES));
      return passwd.split('\n').some((line) => line.startsWith(`${name}:`)) ? null : `/etc/passwd has no user ${name}`;
    }
    const { mode } = await files.stat(name);
    const isFolder = (mode & S_IFMT) === S_IFDIR;
    if (use === 'folder') return isFolder ? null : `${name} is not a folder`;
    if (use !== 'program') return null;
    if (isFolder) return `${name} is a folder`;
    return (mode & S_IXUGO) === 0 ? `nobody may execute ${name}: it has mode ${(mode & 0o7777).toString(8)}` : null;
  } catch (error) {
    return use !== 'user' && isMissing(error) ? `${name} is not there` : null;
  }
}
