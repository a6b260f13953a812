// `anybal check [-c FILE] [--strict]`: every complaint about a configuration, and whether it may be used.

import { type Complaint, printComplaint } from '../lib/errors.ts';
import { escaped } from '../log/format.ts';
import type { World } from '../world/world.ts';
import { type LoadOptions, loadConfig } from './load.ts';
import { missingFiles } from './missing-files.ts';

export interface CheckReport {
  /** One line per complaint and one that sums up, each ended by a newline. */
  readonly text: string;
  /** 0: good, warnings perhaps. 2: errors or dangers. */
  readonly exitCode: 0 | 2;
}

/** Read the file at `path` as the daemon would, and say what it would say, and which files are not there. Writes nothing. */
export async function checkReport(
  world: Pick<World, 'files' | 'monitor'>,
  path: string,
  options: LoadOptions = {},
): Promise<CheckReport> {
  const { config, complaints: said, scanned } = await loadConfig(world, path, options);
  const missing = config === null || scanned === null ? [] : await missingFiles(world, scanned, config);
  const complaints = [...said, ...missing];
  const errors = count(complaints, 'error');
  const dangers = count(complaints, 'danger');
  const warnings = count(complaints, 'warning');
  const found = [
    plural(errors, 'error'),
    ...(dangers === 0 ? [] : [plural(dangers, 'danger')]),
    plural(warnings, 'warning'),
  ];
  const what =
    config === null
      ? 'refused'
      : `${plural(config.services.length, 'service')}, ${plural(config.peers.length, 'BGP peer')}`;
  const lines = [...complaints.map(printComplaint), `${path}: ${what}: ${found.join(', ')}`];
  return { text: `${lines.map(escaped).join('\n')}\n`, exitCode: errors + dangers === 0 ? 0 : 2 };
}

function count(complaints: readonly Complaint[], severity: Complaint['severity']): number {
  return complaints.filter((complaint) => complaint.severity === severity).length;
}

function plural(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
