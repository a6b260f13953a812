// What monitors hand over to be called later: timers, the handlers of streams and sockets. A throw there is a bug of the monitor and
// must not reach the event loop, where it would end the daemon. Used by tools.ts.

import { errorText } from '../lib/errors.ts';
import type { Clock, Stream, UdpHandlers } from '../world/world.ts';

type OnThrow = (error: unknown) => void;

export function bugText(error: unknown): string {
  return `a bug in the monitor: ${errorText(error)}`;
}

/** `fn`, except that what it throws, now or as a promise, goes to `onThrow`. */
export function fenced<A extends readonly unknown[]>(fn: (...args: A) => unknown, onThrow: OnThrow) {
  return (...args: A): void => {
    try {
      const returned = fn(...args);
      if (returned instanceof Promise) returned.catch(onThrow);
    } catch (error) {
      onThrow(error);
    }
  };
}

export function fencedClock(clock: Clock, onThrow: OnThrow): Clock {
  return {
    now: () => clock.now(),
    wall: () => clock.wall(),
    at: (delayMs, fn) => clock.at(delayMs, fenced(fn, onThrow)),
    sleep: (ms, cut) => clock.sleep(ms, cut),
  };
}

/** A stream in its fence. */
interface FencedStream extends Stream {
  readonly inner: Stream;
}

/** What is in the fence. */
export function unfenced(stream: Stream): Stream {
  return 'inner' in stream ? (stream as FencedStream).inner : stream;
}

/** `ends`: how it is closed, whatever the monitor says; null: as it says. */
export function fencedStream(stream: Stream, onThrow: OnThrow, ends: 'rst' | null = null): FencedStream {
  return {
    inner: stream,
    get tls() {
      return stream.tls;
    },
    local: stream.local,
    remote: stream.remote,
    on: (handlers) =>
      stream.on({
        onData: fenced((bytes) => handlers.onData(bytes), onThrow),
        onEnd: fenced(() => handlers.onEnd(), onThrow),
        onDrain: fenced(() => handlers.onDrain(), onThrow),
        onClose: fenced((error) => handlers.onClose(error), onThrow),
      }),
    write: (bytes) => stream.write(bytes),
    end: () => stream.end(),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    close: (how) => stream.close(ends ?? how),
  };
}

export function fencedUdpHandlers(handlers: UdpHandlers, onThrow: OnThrow): UdpHandlers {
  return {
    onDatagram: fenced((bytes) => handlers.onDatagram(bytes), onThrow),
    onError: fenced((error) => handlers.onError(error), onThrow),
  };
}
