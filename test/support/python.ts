// Python 3 as an oracle: its standard library defines what a configuration means.

import { spawnSync } from 'node:child_process';

/** Run a program that reads JSON from stdin and prints JSON. Throws, naming the package, when there is no python3. */
export function askPython(program: string, input: unknown): unknown {
  const done = spawnSync('python3', ['-c', program], {
    input: JSON.stringify(input),
    encoding: 'utf8',
    timeout: 15_000,
    maxBuffer: 64 << 20,
  });
  if (done.error !== undefined)
    throw new Error(`this test needs python3 (Debian: apt-get install python3): ${done.error.message}`);
  if (done.status !== 0) throw new Error(`python3 failed: ${done.stderr}`);
  return JSON.parse(done.stdout);
}
