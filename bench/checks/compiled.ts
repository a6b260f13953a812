// Compiles what is in C here, because what it plays must cost next to nothing.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A file beside this one, as `to`. Answers `to`. */
export function compiled(source: string, to: string, ...options: readonly string[]): string {
  const path = fileURLToPath(new URL(`../../../bench/checks/${source}`, import.meta.url));
  const { status, stderr, error } = spawnSync('gcc', [...options, '-O2', '-o', to, path], { encoding: 'utf8' });
  if (error !== undefined) throw new Error('this bench needs gcc (Debian: gcc, libc6-dev)');
  if (status !== 0) throw new Error(`gcc: ${stderr}`);
  return to;
}
