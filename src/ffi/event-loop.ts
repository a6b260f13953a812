// Node's event loop, told to wake when a descriptor of ours can be read: libuv's uv_poll_t, which Node's binary offers to native
// modules. What libuv calls then does nothing; the loop has woken, and JavaScript that waits for its next turn
// (`setImmediate(…).unref()`) has it. Called by world/real/poller.ts.

import { isMainThread } from 'node:worker_threads';
import { SystemError } from '../lib/errors.ts';
import { openProcess } from './process.ts';

export interface Waker {
  /** From now on the loop does not sleep while the descriptor can be read, and does not end. */
  start(): void;
  stop(): void;
}

/** uv.h: UV_POLL of uv_handle_type, UV_READABLE of uv_poll_event. Both are as they are since libuv 1.0. */
const UV_POLL = 8;
const UV_READABLE = 1;

/** For the main thread, and for as long as the process lives. Throws SystemError ENOSYS where Node's binary has no libuv to offer. */
export function wakeOn(fd: number): Waker {
  if (!isMainThread) throw new SystemError('ENOSYS', 'uv_default_loop', 'not in a worker thread');
  const { koffi, library } = openProcess();
  try {
    const defaultLoop = library.func('void *uv_default_loop()');
    const handleSize = library.func('size_t uv_handle_size(int type)');
    const init = library.func('int uv_poll_init(void *loop, void *handle, int fd)');
    const start = library.func('int uv_poll_start(void *handle, int events, void *callback)');
    const stop = library.func('int uv_poll_stop(void *handle)');
    // A callback that only looks at the handle: JavaScript can not be called from there.
    const callback: unknown = library.symbol('uv_is_active', 'void *');
    // It stays where it is: libuv has it in its lists.
    const handle: unknown = koffi.alloc('uint8_t', Number(handleSize(UV_POLL)));
    if (init(defaultLoop(), handle, fd) !== 0) throw new SystemError('ENOSYS', 'uv_poll_init');
    return {
      start: () => void start(handle, UV_READABLE, callback),
      stop: () => void stop(handle),
    };
  } catch (error) {
    throw new SystemError('ENOSYS', 'libuv', error instanceof Error ? error.message : String(error));
  }
}
