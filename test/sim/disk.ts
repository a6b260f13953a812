// The files of a simulated machine. They survive crashes and reboots. A replacement is prepared in one event and takes
// effect in another, so a process can die between; what is there is always one whole version.

import { SystemError } from '../../src/lib/errors.ts';
import type { Files } from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { Tally } from './tally.ts';

interface Stored {
  readonly bytes: Uint8Array;
  readonly mtimeMs: number;
  readonly inode: number;
}

export class Disk {
  /** Every replacement fails with this: ENOSPC, EROFS, EIO. */
  writeError: string | null = null;
  /** Called when a replacement has been prepared and not taken effect yet. */
  replacing: (() => void) | null = null;
  /** Paths that nobody is let read: EACCES. */
  readonly unreadable = new Set<string>();
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #wall: () => number;
  readonly #files = new Map<string, Stored>();
  #inode = 1000;

  constructor(scheduler: Scheduler, random: Random, tally: Tally, wall: () => number) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#tally = tally;
    this.#wall = wall;
  }

  /** As an editor or a deploy tool on the machine: a new file in place of the old one. */
  put(path: string, content: string | Uint8Array): void {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    this.#files.set(path, { bytes, mtimeMs: this.#wall(), inode: this.#inode++ });
  }

  get(path: string): Uint8Array | null {
    return this.#files.get(path)?.bytes ?? null;
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  files(life: Life): Files {
    const after = (fn: () => void): void => {
      life.after(this.#random.between(0.05, 2), fn);
    };
    const find = (call: string, path: string): Stored | SystemError => {
      if (this.unreadable.has(path) && call === 'read') {
        this.#tally.hit('EACCES', call);
        return new SystemError('EACCES', `${call} ${path}`);
      }
      const stored = this.#files.get(path);
      if (stored !== undefined) return stored;
      const folder = this.paths.some((other) => other.startsWith(`${path}/`));
      return new SystemError(folder && call === 'read' ? 'EISDIR' : 'ENOENT', `${call} ${path}`);
    };
    return {
      read: (path, maxBytes) =>
        life.promise((resolve, reject) =>
          after(() => {
            const stored = find('read', path);
            if (stored instanceof SystemError) reject(stored);
            else if (stored.bytes.length > maxBytes) reject(new SystemError('EFBIG', `read ${path}`));
            else resolve(stored.bytes.slice());
          }),
        ),
      stat: (path) =>
        life.promise((resolve, reject) =>
          after(() => {
            const stored = find('stat', path);
            if (stored instanceof SystemError) reject(stored);
            else {
              // Each version is a new file.
              const { bytes, mtimeMs, inode } = stored;
              resolve({ mtimeMs, ctimeMs: mtimeMs, size: bytes.length, inode, mode: 0o100644 });
            }
          }),
        ),
      replace: (path, content) => {
        const bytes = content.slice();
        return life.promise((resolve, reject) =>
          after(() => {
            if (this.writeError !== null) {
              this.#tally.hit(this.writeError, 'replace');
              reject(new SystemError(this.writeError, `replace ${path}`));
              return;
            }
            this.replacing?.();
            this.#scheduler.at(this.#random.between(0.1, 3), () => {
              if (!life.alive) {
                this.#tally.hit('killed', 'before a file was replaced');
                return;
              }
              life.enter(() => {
                this.put(path, bytes);
                after(() => resolve());
              });
            });
          }),
        );
      },
    };
  }
}
