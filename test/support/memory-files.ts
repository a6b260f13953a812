// Files of a world in memory.

import { SystemError } from '../../src/lib/errors.ts';
import type { Files } from '../../src/world/world.ts';

/**
 * The map is the disk: tests read and change it. A value may be an error to reject with. `modes` are those of what is no
 * plain file.
 */
export function memoryFiles(
  disk: Map<string, Uint8Array | SystemError>,
  modes: ReadonlyMap<string, number> = new Map(),
): Files {
  const get = (path: string) => {
    const found = disk.get(path) ?? new SystemError('ENOENT', `open ${path}`);
    if (found instanceof SystemError) throw found;
    return found;
  };
  return {
    async read(path, maxBytes) {
      const bytes = get(path);
      if (bytes.length > maxBytes) throw new SystemError('EFBIG', `read ${path}`);
      return bytes;
    },
    async stat(path) {
      return { mtimeMs: 0, ctimeMs: 0, size: get(path).length, inode: 1, mode: modes.get(path) ?? 0o100644 };
    },
    async replace(path, bytes) {
      disk.set(path, bytes);
    },
  };
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
