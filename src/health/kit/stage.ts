// The world in which the conformance kit puts a monitor: virtual time, and a peer in memory that behaves as a sample says, but for
// the fault that is tried. It knows what the monitor has opened and not closed. Made by kit/kit.ts, one for each try.

import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type {
  Clock,
  CommandResult,
  Mono,
  Self,
  Stream,
  StreamHandlers,
  TlsState,
  UdpHandlers,
  UdpSocket,
  Wall,
  World,
} from '../../world/world.ts';
import type { Sample } from '../monitor.ts';
import type { Fault, Tool } from './fault.ts';
import { octetsOnly } from '../fence.ts';

const HERE = { address: '192.0.2.1', port: 40_000 };
const SLOW_MS = 1000;
const PIECE_BYTES = 4096;
const FLOOD_BYTES = 64 << 10;
/** What an endless answer comes to: more than anybody should read. */
const ENDLESS_BYTES = 64 << 20;
const TLS: TlsState = { protocol: 'TLSv1.3', alpn: null, certificate: null };
const WALL = 1_700_000_000_000;

/** Virtual time: stands still until `next`. */
export class StageClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly fn: () => void }>();

  now(): Mono {
    return this.#now as Mono;
  }
  wall(): Wall {
    return (WALL + this.#now) as Wall;
  }
  at(delayMs: number, fn: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), fn };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }
  sleep(ms: number, cut?: Cut): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.at(ms, () => {
        forget();
        resolve();
      });
      const forget =
        cut?.onAbort(() => {
          cancel();
          resolve();
        }) ?? (() => {});
    });
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Fire the earliest timer that is due until then; false: there is none, and it is then. */
  next(until: number): boolean {
    let first: { readonly at: number; readonly fn: () => void } | null = null;
    for (const timer of this.#timers) if (timer.at <= until && (first === null || timer.at < first.at)) first = timer;
    this.#now = Math.max(this.#now, first?.at ?? until);
    if (first === null) return false;
    this.#timers.delete(first);
    first.fn();
    return true;
  }
}

export class Stage {
  /** What the monitor sees, and what the peer lives by: their timers are counted apart. */
  readonly clock = new StageClock();
  readonly #peer: StageClock = this.clock;
  readonly #sample: Sample;
  readonly #fault: Fault;
  readonly used = new Set<Tool>();
  openStreams = 0;
  openSockets = 0;
  askedTls = false;
  /** Timers of the peer that are set. */
  #peerTimers = 0;

  constructor(sample: Sample, fault: Fault) {
    this.#sample = sample;
    this.#fault = fault;
  }

  /** Timers that the monitor has set and that are there still. */
  get openTimers(): number {
    return this.clock.pending - this.#peerTimers;
  }

  /** As `clock.at`, for the peer. */
  #later(ms: number, fn: () => void): () => void {
    this.#peerTimers++;
    let done = false;
    const over = () => {
      if (!done) this.#peerTimers--;
      done = true;
    };
    const cancel = this.#peer.at(ms, () => {
      over();
      fn();
    });
    return () => {
      over();
      cancel();
    };
  }

  get world(): World {
    const none = (): never => {
      throw new SystemError('ENOSYS', 'conformance kit', 'monitors have no such tool');
    };
    const self: Self = { loopLateMs: 0, lateSince: () => 0, stalledSince: () => 0, kernelId: 'kit', addresses: [] };
    return {
      clock: this.clock,
      random: () => 0.5,
      self: () => self,
      streams: {
        connect: async (options, cut) => {
          this.used.add('connect');
          if (options.tls !== undefined) this.askedTls = true;
          await this.#begin('connect', cut);
          return this.#stream(options.tls === undefined ? undefined : TLS);
        },
        secure: async (stream, _tls, cut) => {
          this.askedTls = true;
          await this.#begin('connect', cut);
          return 'secured' in stream && typeof stream.secured === 'function'
            ? (stream.secured as () => Stream)()
            : stream;
        },
        listen: none,
      },
      udp: {
        open: async (_options, handlers) => {
          this.used.add('datagram');
          const { fails = '' } = this.#fault;
          if (this.#fault.throws === true) throw new TypeError('not a function');
          if (fails !== '' && !ABOUT_THE_SERVER.has(fails)) throw new SystemError(fails, 'open');
          return this.#socket(handlers);
        },
      },
      icmp: {
        ping: async (options, cut) => {
          this.used.add('ping');
          await this.#begin('ping', cut, options.timeoutMs);
          return { roundTripMs: 1 };
        },
      },
      http: {
        get: async (request, cut) => {
          this.used.add('fetch');
          await this.#begin('fetch', cut, request.timeoutMs);
          const { status, headers = {}, body } = this.#sample.fetch ?? { status: 200, body: '' };
          return { status, headers, body: this.#garbage ?? latin1(body) };
        },
        post: none,
        stream: none,
        serve: none,
      },
      files: {
        read: async (path) => {
          this.used.add('read');
          const content = this.#sample.files?.[path];
          if (content === undefined) throw new SystemError('ENOENT', `read ${path}`);
          return this.#garbage ?? latin1(content);
        },
        stat: async (path) => {
          this.used.add('read');
          const content = this.#sample.files?.[path];
          if (content === undefined) throw new SystemError('ENOENT', `stat ${path}`);
          return { mtimeMs: WALL, ctimeMs: WALL, size: content.length, inode: 1, mode: 0o100644 };
        },
        replace: none,
      },
      processes: {
        run: async (command, cut) => {
          this.used.add('run');
          const { fails = '' } = this.#fault;
          const ended = (over: Partial<CommandResult>): CommandResult => ({
            exitCode: null,
            signal: null,
            timedOut: false,
            output: '',
            durationMs: this.clock.now(),
            leftovers: 'none',
            ...over,
          });
          if (ABOUT_THE_SERVER.has(fails)) return ended({ exitCode: 1, output: fails });
          if (this.#fault.silent === 'nothing' && command.timeoutMs > 0) {
            await this.#wait(command.timeoutMs, cut, 'run');
            return ended({ signal: 'SIGKILL', timedOut: true });
          }
          await this.#begin('run', cut);
          const output = this.#garbage === null ? undefined : new TextDecoder('latin1').decode(this.#garbage);
          return ended({ exitCode: 0, ...this.#sample.command, ...(output === undefined ? {} : { output }) });
        },
      },
      names: { resolve: none, resolveService: none },
      bfd: { configure: none, alive: none, status: none, stop: none },
      ipvs: { list: none, apply: none },
      vips: { list: none, apply: none },
      monitor: none,
      log: () => {},
    };
  }

  get #garbage(): Uint8Array | null {
    return this.#fault.bytes === 'garbage' ? garbage() : null;
  }

  /** What comes before any answer: a millisecond, a failure, or nothing for ever. */
  async #begin(call: string, cut: Cut, timeoutMs = 0): Promise<void> {
    const { fails, throws, silent } = this.#fault;
    if (throws === true) throw new TypeError('not a function');
    if (silent === 'nothing') {
      await this.#wait(timeoutMs === 0 ? Number.POSITIVE_INFINITY : timeoutMs, cut, call);
      throw new SystemError('ETIMEDOUT', call);
    }
    await this.#wait(1, cut, call);
    if (fails !== undefined) throw new SystemError(fails, call);
  }

  /** Rejects with ECANCELED when cut. */
  #wait(ms: number, cut: Cut, call: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel =
        ms === Number.POSITIVE_INFINITY
          ? () => {}
          : this.#later(ms, () => {
              forget();
              resolve();
            });
      const forget = cut.onAbort(() => {
        cancel();
        reject(new SystemError('ECANCELED', call));
      });
    });
  }

  /** A connection to the peer. `says` is asked after each arrival for all that it says by then. */
  #stream(tls: TlsState | undefined): Stream & { secured(): Stream } {
    const { silent, bytes = 'whole', then } = this.#fault;
    const says = this.#sample.stream;
    let handlers: StreamHandlers | null = null;
    let received = '';
    let sent = 0;
    let open = true;
    let paused = false;
    let timer = (): void => {};
    this.openStreams++;
    const gone = (error: SystemError | null) => {
      if (!open) return;
      open = false;
      this.openStreams--;
      timer();
      handlers?.onClose(error);
    };
    const noise = bytes === 'garbage' ? garbage() : new Uint8Array();
    const flood = bytes === 'endless' ? new Uint8Array(FLOOD_BYTES).fill(97) : new Uint8Array();
    /** All that the peer says, as the fault has it. */
    const saying = (): Uint8Array => {
      if (silent === 'connected' || says === undefined) return new Uint8Array();
      if (bytes === 'garbage') return noise;
      const all = latin1(says(received));
      return bytes === 'half' ? all.subarray(0, all.length >> 1) : all;
    };
    const flooding = () => {
      timer = this.#later(0.1, () => {
        if (!open || paused) return;
        sent += flood.length;
        handlers?.onData(flood.slice());
        if (sent < ENDLESS_BYTES) flooding();
      });
    };
    const go = () => {
      timer();
      if (!open || handlers === null || paused) return;
      if (bytes === 'endless' && says !== undefined) {
        flooding();
        return;
      }
      const all = saying();
      if (sent < all.length) {
        const piece = bytes === 'one by one' || bytes === 'slow' ? 1 : PIECE_BYTES;
        timer = this.#later(bytes === 'slow' ? SLOW_MS : 0.1, () => {
          if (!open || paused) return;
          const from = sent;
          sent = Math.min(all.length, sent + piece);
          handlers?.onData(all.slice(from, sent));
          go();
        });
      } else if (then !== undefined) {
        timer = this.#later(1, () => {
          if (then === 'rst') gone(new SystemError('ECONNRESET', 'read'));
          else if (open) handlers?.onEnd();
        });
      }
    };
    const stream = {
      local: HERE,
      remote: HERE,
      ...(tls === undefined ? {} : { tls }),
      on: (given: StreamHandlers) => {
        handlers = given;
        go();
      },
      write: (data: Uint8Array) => {
        if (!open) return true;
        received += new TextDecoder('latin1').decode(data);
        go();
        return true;
      },
      end: () => {},
      pause: () => {
        paused = true;
      },
      resume: () => {
        paused = false;
        go();
      },
      close: () => {
        if (!open) return;
        open = false;
        this.openStreams--;
        timer();
        this.#later(0, () => handlers?.onClose(null));
      },
      /** The same connection with TLS on it: what was heard and said before does not count any more. */
      secured: () => Object.assign(stream, { tls: TLS }),
    };
    return stream;
  }

  #socket(handlers: UdpHandlers): UdpSocket {
    let open = true;
    this.openSockets++;
    const { fails, silent, bytes } = this.#fault;
    return {
      local: HERE,
      send: (data) => {
        if (!(data instanceof Uint8Array)) throw octetsOnly('socket.send', data);
        this.#later(1, () => {
          if (!open || silent !== undefined) return;
          if (fails !== undefined) {
            if (fails !== 'ETIMEDOUT') handlers.onError(new SystemError(fails, 'recv'));
            return;
          }
          const reply = this.#sample.datagram?.(data) ?? null;
          if (reply === null) return;
          handlers.onDatagram(
            bytes === 'garbage' ? garbage() : bytes === 'half' ? reply.subarray(0, reply.length >> 1) : reply,
          );
        });
      },
      close: () => {
        if (open) this.openSockets--;
        open = false;
      },
    };
  }
}

/** Errors that a server, or the network at its side, is the reason of. */
const ABOUT_THE_SERVER: ReadonlySet<string> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ECONNRESET', 'ETIMEDOUT']);

export function latin1(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? Uint8Array.from(text, (character) => character.charCodeAt(0) & 255) : text;
}

/** The same in each run. */
function garbage(): Uint8Array {
  const bytes = new Uint8Array(20_000);
  let state = 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    bytes[i] = state >> 16;
  }
  return bytes;
}
