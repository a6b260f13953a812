// Packages of Debian's that are unpacked and not installed: a kernel, or a program that is newer than the machine's. Called by
// artefacts.ts and the labs. apt itself answers and downloads, so what comes is signed.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Apt {
  /** Packages that it depends on, its own architecture's, the first alternative of each. */
  depends(name: string): readonly string[];
  version(name: string): string;
  /** The files of these packages below `folder`, their `/boot` as `boot`. */
  unpack(names: readonly string[], folder: string): void;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** apt as this machine has it, or with one suite only (`trixie`), of which the lists are kept below `cache`. */
export function aptOf(suite: string | null, cache: string): Apt {
  const options = suite === null ? [] : suiteOptions(suite, join(cache, `apt-${suite}`));
  const ask = (command: 'depends' | 'show', ...args: readonly string[]) =>
    run('apt-cache', [...options, command, ...args], '/');
  const asked = <T>(look: () => T | undefined, complaint: string): T => {
    let found = look();
    if (found === undefined && (suite !== null || process.getuid?.() === 0)) {
      run('apt-get', [...options, 'update'], '/');
      found = look();
    }
    if (found === undefined) throw new Error(complaint);
    return found;
  };
  // A suite of later packages changes every few days, and soon offers no file of a list that is older.
  if (suite !== null) refresh(join(cache, `apt-${suite}`), () => run('apt-get', [...options, 'update'], '/'));
  const known = `apt${suite === null ? '' : ` (${suite})`} knows no`;
  return {
    depends(name) {
      return asked(() => {
        const found = [...ask('depends', name).matchAll(/^ +\|?Depends: ([^\s<]\S*)/gm)].map((match) => match[1] ?? '');
        return found.length === 0 ? undefined : found;
      }, `${known} ${name}: apt-get update (Debian, amd64)`);
    },
    version(name) {
      return asked(
        () => /^Version: (\S+)$/m.exec(ask('show', '--no-all-versions', name))?.[1],
        `${known} version of ${name}`,
      );
    },
    unpack(names, folder) {
      mkdirSync(folder, { recursive: true });
      const exact = names.map((name) => `${name}=${this.version(name)}`);
      // A private download folder is writable for root only: apt would complain about its sandbox user.
      run('apt-get', [...options, '-o', 'APT::Sandbox::User=root', 'download', ...exact], folder);
      for (const deb of readdirSync(folder).filter((file) => file.endsWith('.deb'))) {
        run('dpkg-deb', ['-x', deb, '.'], folder);
        rmSync(join(folder, deb));
      }
    },
  };
}

const LIST_AGE_MS = 86_400_000;

/** Once a day. */
function refresh(folder: string, update: () => void): void {
  const stamp = join(folder, 'updated');
  if (existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < LIST_AGE_MS) return;
  update();
  writeFileSync(stamp, '');
}

/** Options with which apt knows nothing but this suite, and touches nothing of the machine's. */
function suiteOptions(suite: string, folder: string): readonly string[] {
  mkdirSync(join(folder, 'lists/partial'), { recursive: true });
  mkdirSync(join(folder, 'cache/archives/partial'), { recursive: true });
  if (!existsSync(KEYRING)) throw new Error(`${KEYRING} is missing: apt-get install debian-archive-keyring`);
  writeFileSync(
    join(folder, 'sources.list'),
    `deb [arch=amd64 signed-by=${KEYRING}] http://deb.debian.org/debian ${suite} main\n`,
  );
  const settings = {
    'Dir::State::Lists': join(folder, 'lists'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::SourceList': join(folder, 'sources.list'),
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::Etc::Preferences': '/dev/null',
    'Dir::Etc::PreferencesParts': '/dev/null',
    'Acquire::Languages': 'none',
    'APT::Sandbox::User': 'root',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Runs to the end and answers what it said. Throws with the last line of its complaint. */
export function run(command: string, args: readonly string[], cwd: string): string {
  try {
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
    return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new Error(`${command} ${args.join(' ')} failed: ${stderr.split('\n').at(-1) ?? ''}`, { cause: error });
  }
}
