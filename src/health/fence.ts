// What monitors hand over to be called later: timers, the handlers of streams and sockets. A throw there is a bug of the monitor and
// must not reach the event loop, where it would end the daemon. Used by tools.ts.

import type { Cut } from '../lib/cut.ts';
import { errorText, type SystemError } from '../lib/errors.ts';
import type { Clock, Endpoint, Stream, StreamHandlers, TlsState, UdpHandlers } from '../world/world.ts';

type OnThrow = (error: unknown) => void;

export function bugText(error: unknown): string {
  return `a bug in the monitor: ${errorText(error)}`;
}

/** Nobody can know in which encoding a text is meant. */
export function octetsOnly(call: string, given: unknown): TypeError {
  return new TypeError(`${call} takes octets, not a ${typeof given}: use new TextEncoder().encode(text)`);
}

type Labels = Readonly<Record<string, string>>;

const NO_LABELS: Readonly<Record<string, string>> = {};

/**
 * The labels of a measurement, copied: one that is anything else than text would take the page from all services that the metrics
 * stand on, whenever somebody asks for it. Throws for these, and for a name or a value that is none. `copies`: of those that a monitor
 * hands over again and again and cannot change any more.
 */
export function labelsOf(
  call: string,
  name: unknown,
  value: unknown,
  given: unknown,
  copies: WeakMap<object, Labels>,
): Labels {
  const wrong = (what: string, found: unknown, wanted: string) =>
    new TypeError(`${call}: ${what} is ${errorText(found).slice(0, 100)}, ${wanted}`);
  if (typeof name !== 'string') throw wrong('its name', name, 'no text');
  if (typeof value !== 'number') throw wrong(`the value of ${name}`, `a ${typeof value}`, 'no number');
  if (Number.isNaN(value)) throw wrong(`the value of ${name}`, value, 'no number');
  if (given === undefined) return NO_LABELS;
  if (typeof given !== 'object' || given === null) throw wrong(`what labels ${name}`, given, 'no object');
  const known = copies.get(given);
  if (known !== undefined) return known;
  const labels: Record<string, string> = {};
  for (const [label, text] of Object.entries(given) as [string, unknown][]) {
    if (typeof text !== 'string') throw wrong(`label ${label}`, text, 'no text: write String(…)');
    labels[label] = text;
  }
  if (Object.isFrozen(given)) copies.set(given, labels);
  return labels;
}

/** Call it. What it throws, now or as a promise, goes to `onThrow`. */
export function callFenced(fn: () => unknown, onThrow: OnThrow): void {
  try {
    const returned = fn();
    if (returned instanceof Promise) returned.catch(onThrow);
  } catch (error) {
    onThrow(error);
  }
}

export function fencedClock(clock: Clock, onThrow: OnThrow): Clock {
  return {
    now: () => clock.now(),
    wall: () => clock.wall(),
    at: (delayMs, fn) => clock.at(delayMs, () => callFenced(fn, onThrow)),
    sleep: (ms, cut) => clock.sleep(ms, cut),
  };
}

/** What is in the fence. */
export function unfenced(stream: Stream): Stream {
  return stream instanceof FencedStream ? stream.inner : stream;
}

/** How many connections and sockets of one monitor are open. `look` is told when they are more than it said when it was told last. */
export class OpenCount {
  #count = 0;
  #most = 0;
  readonly #look: (count: number) => number;

  constructor(look: (count: number) => number) {
    this.#look = look;
  }

  add(): void {
    if (++this.#count > this.#most) this.#most = this.#look(this.#count);
  }
  remove(): void {
    this.#count--;
  }
}

/** What all streams of a monitor share. */
export interface Fence {
  readonly open: OpenCount;
  onThrow(stream: FencedStream, error: unknown): void;
  /** The connection was lost. */
  onLost(stream: FencedStream, error: SystemError): void;
}

/** A stream in its fence, which stands between it and its handlers too. */
export class FencedStream implements Stream, StreamHandlers {
  readonly inner: Stream;
  readonly #fence: Fence;
  readonly #ends: 'rst' | null;
  #handlers: StreamHandlers | null = null;
  #open = true;
  /** Whose check it is. */
  readonly cut: Cut;

  /** `ends`: how it is closed, whatever the monitor says; null: as it says. */
  constructor(inner: Stream, cut: Cut, fence: Fence, ends: 'rst' | null = null) {
    this.inner = inner;
    this.cut = cut;
    this.#fence = fence;
    this.#ends = ends;
    fence.open.add();
  }

  /** It is closed, or used up by another one. */
  over(): void {
    if (this.#open) this.#fence.open.remove();
    this.#open = false;
  }

  get tls(): TlsState | undefined {
    return this.inner.tls;
  }
  get local(): Endpoint {
    return this.inner.local;
  }
  get remote(): Endpoint {
    return this.inner.remote;
  }

  on(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    this.inner.on(this);
  }
  write(bytes: Uint8Array): boolean {
    if (bytes instanceof Uint8Array) return this.inner.write(bytes);
    // That it was handed over says nothing of the server.
    const error = octetsOnly('stream.write', bytes);
    this.#fence.onThrow(this, error);
    throw error;
  }
  end(): void {
    this.inner.end();
  }
  pause(): void {
    this.inner.pause();
  }
  resume(): void {
    this.inner.resume();
  }
  close(how: 'fin' | 'rst'): void {
    this.over();
    this.inner.close(this.#ends ?? how);
  }

  onData(bytes: Uint8Array): void {
    try {
      this.#await(this.#handlers?.onData(bytes));
    } catch (error) {
      this.#fence.onThrow(this, error);
    }
  }
  onEnd(): void {
    try {
      this.#await(this.#handlers?.onEnd());
    } catch (error) {
      this.#fence.onThrow(this, error);
    }
  }
  onDrain(): void {
    try {
      this.#await(this.#handlers?.onDrain());
    } catch (error) {
      this.#fence.onThrow(this, error);
    }
  }
  onClose(reason: SystemError | null): void {
    this.over();
    if (reason !== null) this.#fence.onLost(this, reason);
    try {
      this.#await(this.#handlers?.onClose(reason));
    } catch (error) {
      this.#fence.onThrow(this, error);
    }
  }

  /** A handler may be an async function. */
  #await(returned: unknown): void {
    if (returned instanceof Promise) returned.catch((error: unknown) => this.#fence.onThrow(this, error));
  }
}

export function fencedUdpHandlers(handlers: UdpHandlers, onThrow: OnThrow): UdpHandlers {
  return {
    onDatagram: (bytes) => callFenced(() => handlers.onDatagram(bytes), onThrow),
    onError: (error) => callFenced(() => handlers.onError(error), onThrow),
  };
}
