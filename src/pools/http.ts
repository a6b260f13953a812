// A pool behind HTTP or HTTPS: asked each second, by its ETag if it has one, the next time only when the last one has ended.
// Failures back off with jitter. Redirects are failures: a pool must not move by the word of a web server.

import type { SourceAccess } from '../config/types.ts';
import type { Cut } from '../lib/cut.ts';
import { errorText } from '../lib/errors.ts';
import { AccessFiles, loginOf, tlsOf } from './access.ts';
import type { HttpResponse, Mono, World } from '../world/world.ts';
import { shown } from '../lib/shown.ts';
import { showUrl } from '../lib/url.ts';
import { MAX_POOL_BYTES } from './parse.ts';
import { backOffMs, POLL_MS, sameBytes, SETTLE_MS, type Answer, type Source } from './source.ts';

const TIMEOUT_MS = 5000;
/** A tag may lie, as one made of size and time does: so often all of it is asked for. */
const WHOLE_MS = 60_000;

type HttpWorld = Pick<World, 'clock' | 'files' | 'http'>;

export function httpSource(world: HttpWorld, url: string, access: SourceAccess): Source {
  return new HttpSource(world, url, access);
}

class HttpSource implements Source {
  readonly #world: HttpWorld;
  readonly #url: string;
  readonly #access: SourceAccess;
  readonly #files: AccessFiles;
  /** Of the last content, for the next question. A date is none: of an older file put back it says "not modified". */
  #etag: string | null = null;
  /** When all of it was last served. */
  #wholeAt: Mono | null = null;
  #bytes: Uint8Array | null = null;
  #changedAt: Mono | null = null;

  constructor(world: HttpWorld, url: string, access: SourceAccess) {
    this.#world = world;
    this.#url = url;
    this.#access = access;
    this.#files = new AccessFiles(world);
  }

  async ask(afresh: boolean, cut: Cut): Promise<Answer> {
    const conditions = afresh ? {} : this.#conditions();
    try {
      const login = await loginOf(this.#files, this.#access);
      const response = await this.#world.http.get(
        {
          url: this.#url,
          headers: { 'user-agent': 'anybal', accept: '*/*', 'accept-encoding': 'identity', ...login, ...conditions },
          timeoutMs: TIMEOUT_MS,
          maxBytes: MAX_POOL_BYTES,
          tls: await tlsOf(this.#files, this.#access),
        },
        cut,
      );
      return this.#read(response, Object.keys(conditions).length > 0);
    } catch (thrown) {
      return { is: 'failed', reason: errorText(thrown).replaceAll(this.#url, showUrl(this.#url)) };
    }
  }

  #conditions(): Readonly<Record<string, string>> {
    if (this.#etag === null || this.#changedAt === null || this.#wholeAt === null) return {};
    const now = this.#world.clock.now();
    if (now - this.#changedAt < SETTLE_MS || now - this.#wholeAt >= WHOLE_MS) return {};
    return { 'if-none-match': this.#etag };
  }

  #read(response: HttpResponse, conditional: boolean): Answer {
    const { status, headers, body } = response;
    if (status === 304 && conditional) return { is: 'unchanged' };
    if (status !== 200) return { is: 'failed', reason: refusalOf(status, headers['location']) };
    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity')
      return { is: 'failed', reason: `content-encoding ${encoding.slice(0, 40)} was not asked for` };
    this.#etag = headers['etag'] ?? null;
    this.#wholeAt = this.#world.clock.now();
    if (sameBytes(this.#bytes, body)) return { is: 'unchanged' };
    this.#bytes = body;
    this.#changedAt = this.#wholeAt;
    return { is: 'content', bytes: body };
  }

  delayMs(failures: number, random: number): number {
    return failures === 0 ? POLL_MS : backOffMs(failures, random);
  }
}

function refusalOf(status: number, location: string | undefined): string {
  if (status === 304) return 'HTTP 304 although nothing was asked about';
  if (status < 300 || status > 399) return `HTTP ${status}`;
  const where = location === undefined ? '' : ` to ${shown(location)}`;
  return `HTTP ${status}: redirected${where}, and redirects are not followed`;
}
