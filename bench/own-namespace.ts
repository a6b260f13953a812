// For benches that measure in a network namespace of their own, where nothing is but a loopback that is up. Called by bgp.ts and
// checks.ts. Needs root.

import { spawnSync } from 'node:child_process';
import { output } from '../test/support/namespace.ts';

const INSIDE = 'ANYBAL_BENCH_NAMESPACE';

/** Runs this program once more, in a new namespace, and measures there. Its exit code. */
export async function inOwnNamespace(measure: () => Promise<number>): Promise<number> {
  if (process.env[INSIDE] === undefined) {
    const { status } = spawnSync('unshare', ['--net', process.execPath, ...process.argv.slice(1)], {
      stdio: 'inherit',
      env: { ...process.env, [INSIDE]: '1' },
    });
    return status ?? 1;
  }
  await output('ip', 'link', 'set', 'lo', 'up');
  return measure();
}
