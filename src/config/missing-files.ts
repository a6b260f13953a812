// Files that monitors are to use and that are not there: a command, a feed, a certificate. Called by check.ts. The daemon does not look:
// a file system that hangs would keep it from its configuration, and each check says for itself what it can not do.

import { type Complaint, isMissing } from '../lib/errors.ts';
import type { World } from '../world/world.ts';
import { Report } from './section.ts';
import type { ScannedText } from './text.ts';
import type { ServiceConfig } from './types.ts';

/** A warning for each, at the line that names it. */
export async function missingFiles(
  world: Pick<World, 'files' | 'monitor'>,
  { file, sections }: ScannedText,
  services: readonly ServiceConfig[],
): Promise<readonly Complaint[]> {
  const complaints: Complaint[] = [];
  for (const service of services) {
    const section = sections.find(({ name }) => name === service.name);
    if (section === undefined) continue;
    const report = new Report(file, section);
    for (const { name, options } of service.monitors) {
      const module = await world.monitor(name);
      for (const row of module?.options ?? []) {
        const path = options[row.name];
        if (row.kind !== 'path' || typeof path !== 'string') continue;
        const missing = await world.files.stat(path).then(() => false, isMissing);
        if (missing) report.warning(`${name.toLowerCase()}.${row.name}`, `${path} is not there`);
      }
    }
    complaints.push(...report.complaints);
  }
  return complaints;
}
