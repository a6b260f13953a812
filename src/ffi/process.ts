// What this process can be asked for by name: the libc that Node runs on, whatever its file is called, and libuv in it. koffi is
// loaded by the first call. Called by the files beside this one.

import { createRequire } from 'node:module';
import { SystemError } from '../lib/errors.ts';

export type Koffi = typeof import('koffi');
export type Library = ReturnType<Koffi['load']>;

export interface Process {
  readonly koffi: Koffi;
  readonly library: Library;
  /** `ENOENT` for 2; `E#4095` for a number that has no name here. */
  errnoName(errno: number): string;
}

let opened: Process | null = null;

/** Throws SystemError ENOSYS where koffi has no binary for this platform. */
export function openProcess(): Process {
  opened ??= open();
  return opened;
}

function open(): Process {
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)('koffi');
  } catch (error) {
    throw new SystemError('ENOSYS', 'load koffi', error instanceof Error ? error.message : String(error));
  }
  const names = new Map<number, string>();
  // Sorted, the usual name of a number comes first: EAGAIN before EWOULDBLOCK, ENOTSUP before EOPNOTSUPP.
  for (const name of Object.keys(koffi.os.errno).sort()) {
    const errno = koffi.os.errno[name];
    if (errno !== undefined && !names.has(errno)) names.set(errno, name);
  }
  return { koffi, library: koffi.load(null), errnoName: (errno) => names.get(errno) ?? `E#${errno}` };
}
