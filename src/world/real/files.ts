// Files: bounded reads and durable replacement. See Files in world.ts.

import { constants, mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SystemError } from '../../lib/errors.ts';
import type { FileStat, Files } from '../world.ts';
import { systemError } from './errors.ts';

export function createFiles(): Files {
  let temporaries = 0;

  async function read(path: string, maxBytes: number): Promise<Uint8Array> {
    const call = `read ${path}`;
    try {
      // O_NONBLOCK: opening a FIFO that nobody writes to would hold a thread for ever.
      const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        const found = await file.stat();
        if (found.isDirectory()) throw new SystemError('EISDIR', call);
        if (!found.isFile()) throw new SystemError('EINVAL', call, 'not a regular file');
        if (found.size > maxBytes) throw new SystemError('EFBIG', call, `${found.size} bytes, at most ${maxBytes}`);
        // The size is only a hint: the file may grow, and files in /proc say 0.
        let bytes = Buffer.allocUnsafe(Math.min(maxBytes, Math.max(found.size, 4096)) + 1);
        let length = 0;
        for (;;) {
          const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
          if (bytesRead === 0) return new Uint8Array(bytes.subarray(0, length));
          length += bytesRead;
          if (length > maxBytes) throw new SystemError('EFBIG', call, `at most ${maxBytes} bytes`);
          if (length === bytes.length) {
            const grown = Buffer.allocUnsafe(Math.min(maxBytes + 1, 2 * bytes.length));
            bytes.copy(grown);
            bytes = grown;
          }
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      throw systemError(error, call);
    }
  }

  async function statOf(path: string): Promise<FileStat> {
    try {
      const { mtimeMs, ctimeMs, size, ino: inode, mode } = await stat(path);
      return { mtimeMs, ctimeMs, size, inode, mode };
    } catch (error) {
      throw systemError(error, `stat ${path}`);
    }
  }

  async function replace(path: string, bytes: Uint8Array): Promise<void> {
    const folder = dirname(path);
    temporaries += 1;
    const temporary = join(folder, `.${basename(path)}.${process.pid}-${temporaries}.tmp`);
    try {
      await makeFolder(folder);
      try {
        // For root's eyes: the last good sections are copies of the configuration, which may hold passwords.
        const file = await open(temporary, 'wx', 0o600);
        try {
          await file.writeFile(bytes);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(temporary, path);
      } catch (error) {
        await unlink(temporary).catch(() => {});
        throw error;
      }
      await syncFolder(folder);
    } catch (error) {
      throw systemError(error, `replace ${path}`);
    }
  }

  return { read, stat: statOf, replace };
}

/** Make a folder and what is missing above it, durably: a new name is only safe once the folder that has it is. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o750 });
  if (first === undefined) return;
  const top = dirname(first);
  for (let made = folder; made !== top && made !== dirname(made); ) {
    made = dirname(made);
    await syncFolder(made);
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
