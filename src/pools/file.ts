// A pool in a file (`file:///etc/pybal/pools/text`): looked at each second, read when its size, time or inode changed. It may
// vanish and come back.

import { errorText } from '../lib/errors.ts';
import type { Files, FileStat } from '../world/world.ts';
import { MAX_POOL_BYTES } from './parse.ts';
import { POLL_MS, sameBytes, type Answer, type Source } from './source.ts';

/** PyBal takes what follows `file://` as it stands: no percent escapes. */
export function fileSource(files: Files, url: string): Source | string {
  const path = url.slice('file://'.length).replace(/^localhost(?=\/)/, '');
  if (!path.startsWith('/')) return `not an absolute path: ${url}`;
  return new FileSource(files, path);
}

class FileSource implements Source {
  readonly #files: Files;
  readonly #path: string;
  #stat: FileStat | null = null;
  #bytes: Uint8Array | null = null;

  constructor(files: Files, path: string) {
    this.#files = files;
    this.#path = path;
  }

  async ask(afresh: boolean): Promise<Answer> {
    try {
      const before = await this.#files.stat(this.#path);
      if (!afresh && this.#stat !== null && sameStat(this.#stat, before)) return { is: 'unchanged' };
      const bytes = await this.#files.read(this.#path, MAX_POOL_BYTES);
      // Somebody is writing it: what was read may be half of it. Next time, then.
      if (!sameStat(before, await this.#files.stat(this.#path)))
        return { is: 'failed', reason: 'changed while it was read' };
      this.#stat = before;
      if (sameBytes(this.#bytes, bytes)) return { is: 'unchanged' };
      this.#bytes = bytes;
      return { is: 'content', bytes };
    } catch (thrown) {
      this.#stat = null;
      return { is: 'failed', reason: errorText(thrown) };
    }
  }

  /** Looking at a file costs nobody anything: no back-off. */
  delayMs(): number {
    return POLL_MS;
  }
}

function sameStat(a: FileStat, b: FileStat): boolean {
  return a.mtimeMs === b.mtimeMs && a.size === b.size && a.inode === b.inode;
}
