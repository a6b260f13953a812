// Descriptors of sockets that checks use: how many they may, and how Node gets one. Called by quick-socket.ts, quick-stream.ts,
// udp.ts, icmp.ts and datagrams.ts.

import type { Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import type { Libc } from '../../ffi/libc.ts';
import { SystemError } from '../../lib/errors.ts';
import { systemError } from './errors.ts';

/**
 * Descriptors that checks leave to the others, however many servers there are: kernel tables are read, routers spoken to, and files and
 * complaints written, when thousands of connections are held.
 */
const KEPT_DESCRIPTORS = 128;

let firstKept: number | null = null;

/**
 * Checks use no descriptor from this one on: RLIMIT_NOFILE, which Node has raised as far as it may, without what is kept for others.
 * The kernel gives the smallest number that is free.
 */
export function firstKeptDescriptor(): number {
  firstKept ??= readFirstKept();
  return firstKept;
}

function readFirstKept(): number {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
  const limit = soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
  return limit - Math.min(KEPT_DESCRIPTORS, limit / 2);
}

/** For whoever was given one that is kept. */
export function usedUp(call: string): SystemError {
  const why = `checks have used ${firstKeptDescriptor()} descriptors, the others are not for them`;
  return new SystemError('EMFILE', call, why);
}

/** From now on the descriptor is Node's, unless it does not want it: then both are closed. */
export function adopt(libc: Libc, socket: Socket, fd: number): void {
  try {
    socket.bind({ fd, exclusive: true });
  } catch (error) {
    libc.close(fd);
    socket.close();
    throw systemError(error, 'bind');
  }
}
