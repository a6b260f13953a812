// Time and connections for check-js.ts, as cheap as they can be: a clock that only goes on when it is told, and servers that say
// the same to every request. What happens to connections is delivered in bundles, as the kernel would.

import { SystemError } from '../../src/lib/errors.ts';
import type {
  Clock,
  ConnectOptions,
  Endpoint,
  Mono,
  Stream,
  StreamHandlers,
  Streams,
  Wall,
} from '../../src/world/world.ts';

interface Timer {
  readonly at: number;
  readonly fn: () => void;
  cancelled: boolean;
}

export class Timetable {
  readonly clock: Clock;
  #now = 0;
  /** The latest first. */
  readonly #timers: Timer[] = [];

  constructor() {
    this.clock = {
      now: () => this.#now as Mono,
      wall: () => this.#now as Wall,
      at: (delayMs, fn) => {
        const timer = { at: this.#now + Math.max(0, delayMs), fn, cancelled: false };
        let low = 0;
        let high = this.#timers.length;
        while (low < high) {
          const middle = (low + high) >> 1;
          if ((this.#timers[middle]?.at ?? 0) > timer.at) low = middle + 1;
          else high = middle;
        }
        this.#timers.splice(low, 0, timer);
        return () => {
          timer.cancelled = true;
        };
      },
      sleep: (ms) => new Promise((resolve) => void this.clock.at(ms, resolve)),
    };
  }

  /** Go on to the next timer. */
  next(): void {
    for (;;) {
      const timer = this.#timers.pop();
      if (timer === undefined) throw new Error('nothing waits');
      if (timer.cancelled) continue;
      this.#now = timer.at;
      timer.fn();
      return;
    }
  }

  /** Go on by so much, with all that is due. */
  pass(ms: number): void {
    const until = this.#now + ms;
    while ((this.#timers.at(-1)?.at ?? Number.POSITIVE_INFINITY) <= until) this.next();
    this.#now = until;
  }
}

const HERE: Endpoint = { address: '127.0.0.1', port: 40_000 };
const THERE: Endpoint = { address: '127.0.0.2', port: 80 };

type Event = 'connected' | 'refused' | 'answer' | 'end' | 'closed';

export class MemoryStreams implements Streams {
  /** Connections that were asked for, or requests where there is an answer. */
  asked = 0;
  refuses = false;
  readonly #answer: Uint8Array | null;
  #open: MemoryStream[] = [];
  /** What comes of what we did. */
  #soon: MemoryStream[] = [];
  /** What servers do by themselves. */
  #later: MemoryStream[] = [];

  readonly #keeps: boolean;

  /** `keeps`: connections will all be ended at once. */
  constructor(answer: Uint8Array | null, keeps: boolean) {
    this.#answer = answer;
    this.#keeps = keeps;
  }

  get busy(): boolean {
    return this.#soon.length + this.#later.length > 0;
  }

  connect(_options: ConnectOptions): Promise<Stream> {
    if (this.#answer === null) this.asked++;
    return new Promise((resolve, reject) => {
      const stream = new MemoryStream(this);
      stream.resolve = resolve;
      stream.reject = reject;
      this.happens(stream, this.refuses ? 'refused' : 'connected');
    });
  }
  secure(): Promise<Stream> {
    return Promise.reject(new SystemError('ENOSYS', 'secure'));
  }
  listen(): Promise<never> {
    return Promise.reject(new SystemError('ENOSYS', 'listen'));
  }

  happens(stream: MemoryStream, event: Event): void {
    stream.event = event;
    this.#soon.push(stream);
  }

  onWrite(stream: MemoryStream): void {
    this.asked++;
    this.happens(stream, 'answer');
  }

  /** What comes of what we did; if there is none, at most so many of the other events. */
  deliver(most: number): void {
    const due = this.#soon.length > 0 ? this.#soon : this.#later.splice(0, most);
    this.#soon = [];
    for (const stream of due) {
      const { event, handlers } = stream;
      stream.event = null;
      if (event === 'connected') {
        stream.resolve?.(stream);
        if (this.#keeps) this.#open.push(stream);
        stream.resolve = stream.reject = null;
      } else if (event === 'refused') {
        stream.reject?.(new SystemError('ECONNREFUSED', 'connect 127.0.0.2:80'));
        stream.resolve = stream.reject = null;
      } else if (event === 'answer' && this.#answer !== null) handlers?.onData(this.#answer);
      else if (event === 'end') handlers?.onEnd();
      else if (event === 'closed') handlers?.onClose(null);
    }
  }

  /** All servers send a FIN. */
  endAll(): void {
    for (const stream of this.#open) stream.event = 'end';
    this.#later = this.#open;
    this.#open = [];
  }

  /** What one of these streams keeps in the heap. */
  bytesEach(collect: () => void): number {
    const count = 10_000;
    collect();
    const before = process.memoryUsage().heapUsed;
    const streams = Array.from({ length: count }, () => new MemoryStream(this));
    collect();
    return (process.memoryUsage().heapUsed - before) / streams.length;
  }
}

class MemoryStream implements Stream {
  readonly #streams: MemoryStreams;
  resolve: ((stream: Stream) => void) | null = null;
  reject: ((error: Error) => void) | null = null;
  handlers: StreamHandlers | null = null;
  event: Event | null = null;

  constructor(streams: MemoryStreams) {
    this.#streams = streams;
  }

  get local(): Endpoint {
    return HERE;
  }
  get remote(): Endpoint {
    return THERE;
  }
  on(handlers: StreamHandlers): void {
    this.handlers = handlers;
  }
  write(): boolean {
    this.#streams.onWrite(this);
    return true;
  }
  end(): void {}
  pause(): void {}
  resume(): void {}
  close(how: 'fin' | 'rst'): void {
    if (how === 'fin') this.#streams.happens(this, 'closed');
  }
}
