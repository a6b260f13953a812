// A BIRD that knows TCP-AO (2.17 and later): Debian trixie's, with its libraries, unpacked beside this machine's older one. Called by
// main.ts, which downloads, and in the guest by the lab.

import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BirdPrograms } from '../../support/bird.ts';
import { labCache } from '../vm/artefacts.ts';
import { aptOf, type Apt } from '../vm/debian.ts';

const SUITE = 'trixie';
const PREFIX = 'bird2_';

/** Downloads it, if that was not done before. Answers its version. */
export function prepareNewerBird(): string {
  const cache = labCache();
  const apt = aptOf(SUITE, cache);
  const version = apt.version('bird2');
  const folder = join(cache, `${PREFIX}${version}`);
  if (existsSync(folder)) return version;
  const work = mkdtempSync(join(cache, 'bird-'));
  try {
    apt.unpack(['bird2', ...libraries(apt, 'bird2')], join(work, 'tree'));
    for (const other of birds(cache)) rmSync(join(cache, other), { recursive: true });
    renameSync(join(work, 'tree'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return version;
}

/** How to run what `prepareNewerBird` has left: its libraries need their own loader. */
export function newerBird(): BirdPrograms {
  const cache = labCache();
  const [folder] = birds(cache);
  if (folder === undefined) throw new Error('no BIRD below .cache/lab: node dist/test/lab/ao/main.js brings it');
  const at = (path: string) => join(cache, folder, 'usr', path);
  const run: [string, ...string[]] = [
    at('lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'),
    '--library-path',
    at('lib/x86_64-linux-gnu'),
  ];
  return { daemon: [...run, at('sbin/bird')], client: [...run, at('sbin/birdcl')] };
}

function birds(cache: string): readonly string[] {
  return readdirSync(cache).filter((name) => name.startsWith(PREFIX));
}

/** What a program needs to be loaded, and what that needs. */
function libraries(apt: Apt, program: string): ReadonlySet<string> {
  const found = new Set<string>();
  const waiting = [program];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    for (const needed of apt.depends(name)) {
      if (!needed.startsWith('lib') || found.has(needed)) continue;
      found.add(needed);
      waiting.push(needed);
    }
  }
  return found;
}
