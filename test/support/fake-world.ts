// A small world for unit tests of one organ: virtual time, files, names and HTTP that a test sets by hand. Nothing in it
// happens by chance. The simulator in test/sim is the one that knows faults, several machines and crashes.

import type { Cut } from '../../src/lib/cut.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { LogRecord } from '../../src/log/record.ts';
import type {
  Clock,
  Files,
  FileStat,
  Http,
  HttpRequest,
  HttpResponse,
  Mono,
  Names,
  ServiceRecord,
  Wall,
  World,
} from '../../src/world/world.ts';
import { fakeSelf } from './fake-self.ts';

/** Virtual time: stands still until `advance`. */
export class FakeClock implements Clock {
  #now = 1000;
  #seq = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly fn: () => void }>();
  /** Timers ring so much later, as real ones do. */
  lateMs = 0;

  readonly now = (): Mono => this.#now as Mono;
  readonly wall = (): Wall => (1_700_000_000_000 + this.#now) as Wall;

  /** Timers that are set and neither fired nor cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  readonly at = (delayMs: number, fn: () => void): (() => void) => {
    const id = ++this.#seq;
    this.#timers.set(id, { at: this.#now + Math.max(0, delayMs) + this.lateMs, fn });
    return () => this.#timers.delete(id);
  };

  readonly sleep = (ms: number, cut?: Cut): Promise<void> => {
    return new Promise((resolve) => {
      let forget = () => {};
      const cancel = this.at(ms, () => {
        forget();
        resolve();
      });
      forget =
        cut?.onAbort(() => {
          cancel();
          resolve();
        }) ?? forget;
    });
  };

  /** What is being done takes so long. */
  spend(ms: number): void {
    this.#now += ms;
  }

  /** Let `ms` pass, timer by timer, with all promise work done between them. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      let next: number | null = null;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= end && (next === null || timer.at < (this.#timers.get(next)?.at ?? 0))) next = id;
      }
      const timer = next === null ? undefined : this.#timers.get(next);
      if (next === null || timer === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, timer.at);
      timer.fn();
      await settle();
    }
    this.#now = Math.max(this.#now, end);
  }
}

/** All promise work that is ready. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** An answer that goes on: `open` gets what sends a piece and what ends it, and answers what to do when the asker goes away. */
export interface Streamed {
  open(push: (text: string) => void, end: (error: SystemError | null) => void): () => void;
}

export type FakeRequest = HttpRequest & { readonly body?: string };
type Reply = HttpResponse | SystemError | 'hang' | Streamed;

export class FakeWorld {
  readonly clock = new FakeClock();
  readonly logged: LogRecord[] = [];
  /** Path to content; change it with `write`. */
  readonly disk = new Map<string, { readonly bytes: Uint8Array } & Omit<FileStat, 'size' | 'mode'>>();
  readonly reads: string[] = [];
  /** `4 cp1` to addresses; a host that is not there is ENOTFOUND, an error is thrown, 'hang' waits for the cut. */
  readonly dns = new Map<string, readonly string[] | SystemError | 'hang'>();
  /** SRV records, likewise. */
  readonly srv = new Map<string, readonly ServiceRecord[] | SystemError | 'hang'>();
  readonly lookups: string[] = [];
  readonly requests: FakeRequest[] = [];
  /** Requests under way, and the most that ever were. */
  underWay = 0;
  mostUnderWay = 0;
  /** What an HTTP server says. */
  reply: (request: FakeRequest) => Reply = () => new SystemError('ECONNREFUSED', 'get');
  #inode = 0;

  /** Put a file in place, as by rename: another inode, another time. */
  write(path: string, content: string | Uint8Array): void {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    this.disk.set(path, { bytes, mtimeMs: this.clock.now(), ctimeMs: this.clock.now(), inode: ++this.#inode });
  }

  text(path: string): string {
    return new TextDecoder().decode(this.disk.get(path)?.bytes ?? new Uint8Array());
  }

  /** Log lines as an operator sees them, without time. */
  get lines(): readonly string[] {
    return this.logged.map(({ level, system, text }) => `[${system}] ${level.toUpperCase()}: ${text}`);
  }

  readonly files: Files = {
    read: async (path, maxBytes) => {
      this.reads.push(path);
      const { bytes } = this.#file('read', path);
      if (bytes.length > maxBytes) throw new SystemError('EFBIG', `read ${path}`);
      return bytes;
    },
    stat: async (path) => {
      const { bytes, ...stat } = this.#file('stat', path);
      return { ...stat, size: bytes.length, mode: 0o100644 };
    },
    replace: async (path, bytes) => this.write(path, bytes),
  };

  readonly names: Names = {
    resolve: async (host, family, cut) => {
      this.lookups.push(host);
      const answer = this.dns.get(`${family} ${host}`) ?? new SystemError('ENOTFOUND', `resolve ${host}`);
      if (answer === 'hang') return hang(cut);
      if (answer instanceof SystemError) throw answer;
      return answer;
    },
    resolveService: async (name, cut) => {
      this.lookups.push(name);
      const answer = this.srv.get(name) ?? new SystemError('ENOTFOUND', `resolve ${name}`);
      if (answer === 'hang') return hang(cut);
      if (answer instanceof SystemError) throw answer;
      return answer;
    },
  };

  readonly http: Http = {
    get: (request, cut) => this.#ask(request, null, cut),
    post: (request, cut) => this.#ask(request, null, cut),
    stream: (request, onData, cut) => this.#ask(request, onData, cut),
    serve: () => Promise.reject(new SystemError('ENOSYS', 'serve')),
  };

  async #ask(request: FakeRequest, onData: ((bytes: Uint8Array) => void) | null, cut: Cut): Promise<HttpResponse> {
    this.requests.push(request);
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    try {
      const reply = this.reply(request);
      if (reply instanceof SystemError) throw reply;
      if (reply !== 'hang' && !('open' in reply)) return reply;
      if (reply !== 'hang' && onData !== null) return await follow(reply, onData, cut);
      const disarm = this.clock.at(request.timeoutMs, () => late());
      let late = () => {};
      const timeout = new Promise<never>((_, reject) => {
        late = () => reject(new SystemError('ETIMEDOUT', `get ${request.url}`));
      });
      return await Promise.race([timeout, hang(cut)]).finally(disarm);
    } finally {
      this.underWay--;
    }
  }

  #file(call: string, path: string) {
    const file = this.disk.get(path);
    if (file === undefined) throw new SystemError('ENOENT', `${call} ${path}`);
    return file;
  }

  /** As a World; what is not faked fails with ENOSYS. */
  get world(): World {
    const absent = () => Promise.reject(new SystemError('ENOSYS', 'fake world'));
    return {
      clock: this.clock,
      random: () => 0.5,
      names: this.names,
      http: this.http,
      files: this.files,
      streams: { connect: absent, secure: absent, listen: absent },
      udp: { open: absent },
      icmp: { ping: absent },
      bfd: { configure: () => {}, alive: () => {}, status: () => [], stop: () => Promise.resolve() },
      ipvs: { list: absent, apply: absent },
      vips: { list: absent, apply: absent },
      processes: { run: absent },
      monitor: () => Promise.resolve(null),
      self: () => fakeSelf(0, 'fake'),
      log: (record) => {
        this.logged.push(record);
      },
    };
  }
}

function hang(cut: Cut): Promise<never> {
  return new Promise((_, reject) => cut.onAbort(() => reject(new SystemError('ECANCELED', 'cut'))));
}

function follow(streamed: Streamed, onData: (bytes: Uint8Array) => void, cut: Cut): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const end = (error: SystemError | null): void => {
      forget();
      if (error === null) resolve(response(200));
      else reject(error);
    };
    let forget = (): void => {};
    const close = streamed.open((text) => onData(new TextEncoder().encode(text)), end);
    forget = cut.onAbort(() => {
      close();
      reject(new SystemError('ECANCELED', 'cut'));
    });
  });
}

export function response(status: number, body = '', headers: Readonly<Record<string, string>> = {}): HttpResponse {
  return { status, headers, body: new TextEncoder().encode(body) };
}
