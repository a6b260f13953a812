// HTTP: ask for URLs of the real server and look at what comes: status, body, certificate, how long it took. HTTP/1.1, or HTTP/2
// (RFC 9113) where ALPN or the options say so. The connection goes to the server's own address and port whatever the URL says.
// PyBal's own HTTP check, with its options and words, is ProxyFetch.

import type { Cut, Poll, Sample, Stream, Target, TlsCertificate, TlsOptions, Tools } from 'anybal/monitor';
import type { Expectation } from './lib/expect.ts';
import { Connection } from './lib/http-connection.ts';
import {
  doubt,
  expectationsOf,
  isWanted,
  options,
  questionOf,
  readStatuses,
  redirected,
  refuse,
} from './lib/http-options.ts';
import type { Options, Question, Statuses } from './lib/http-options.ts';
import type { Http1Reading } from './lib/http1.ts';
import { inTurn } from './lib/in-turn.ts';
import type { ResponseReader } from './lib/response.ts';
import { httpSays } from './lib/samples.ts';
import { keyOf, printable, textOf } from './lib/text.ts';
import { serverNameOf } from './lib/tls.ts';

/** Of a body in which nothing is expected: one that is longer has proven its point. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const MAX_PEM_BYTES = 1024 * 1024;
/** Files of certificates are read again after this time: they are renewed while we run. */
const CREDENTIALS_MS = 60_000;
const DAY_MS = 86_400_000;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

export default {
  apiVersion: 1,
  name: 'HTTP',
  kind: 'poll',
  options,
  asks: 'endpoint',
  refuse: (o) => refuse(o),
  doubt: (o) => doubt(o),
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => {
    const prober = new Prober(o, tools);
    return { check: (target, cut) => prober.check(target, cut), forget: (target) => prober.forget(target) };
  },
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = {
  options: { url: "[ 'http://www.example.org/' ]", 'expect-text': 'ok' },
  stream: httpSays,
};

type Verdict = { is: 'up'; detail?: string } | { is: 'down'; reason: string; slowByMs: number };
type Credentials = Pick<TlsOptions, 'ca' | 'certificate' | 'files'>;

const NO_CREDENTIALS: Readonly<Credentials> = {};

/** One fetch: for whom, and where it stands when its time is over. */
interface Fetch {
  readonly target: Target;
  readonly credentials: Credentials;
  readonly cut: Cut;
  phase: string;
  reader: ResponseReader | null;
  /** The status line that was wanted. */
  line: string;
  /** More than max-latency, when nothing else was wrong, ms. */
  slowByMs: number;
}

class Prober {
  readonly #o: Options;
  readonly #tools: Tools;
  readonly #questions: readonly Question[];
  readonly #statuses: Statuses;
  readonly #expectations: readonly Expectation[];
  readonly #reading: Http1Reading;
  readonly #preface: Uint8Array | null;
  readonly #onlyHttp2: boolean;
  /** Connections that wait for the next check, by target. */
  readonly #kept = new Map<string, Connection[]>();
  /** When a certificate was last warned of, by target and URL. */
  readonly #warned = new Map<string, Map<string, number>>();
  #credentials: { readonly at: number; readonly read: Credentials } | null = null;

  constructor(o: Options, tools: Tools) {
    this.#o = o;
    this.#tools = tools;
    this.#questions = o.url.map((url) => questionOf(o, url));
    this.#statuses = readStatuses(o.status) ?? { text: o.status, ranges: [] };
    this.#expectations = expectationsOf(o);
    this.#onlyHttp2 = o.alpn.length > 0 && !o.alpn.includes('http/1.1');
    this.#preface = prefaceOf(o['proxy-protocol']);
    const expecting = this.#expectations.length > 0;
    const whole = expecting || o['read-body'] || o['keep-alive'];
    this.#reading = {
      until: whole ? 'body' : o.redirects > 0 ? 'head' : 'line',
      keepBytes: expecting ? o['max-body'] : 0,
      maxBodyBytes: expecting && !o['read-body'] ? o['max-body'] : MAX_BODY_BYTES,
      toHead: o.method === 'HEAD',
      fields: o.redirects > 0,
      skipInterim: true,
      headIsEnough: (status) => !o['keep-alive'] && !isWanted(this.#statuses, status),
    };
  }

  async check(target: Target, cut: Cut): Promise<Verdict> {
    const o = this.#o;
    // Outside of what can make the server look bad: files of ours are our own fault.
    const ownFiles = o['tls-ca'] !== null || o['tls-certificate'] !== null;
    const credentials = ownFiles ? await this.#readCredentials(cut) : NO_CREDENTIALS;
    const one = this.#questions[Math.floor(this.#tools.random() * this.#questions.length)];
    if (one === undefined || o['check-all']) return this.#checkAll(target, credentials, cut);
    const fetch = fetchOf(target, credentials, cut);
    const failure = await this.#fetch(one, fetch);
    return failure === null
      ? { is: 'up', detail: fetch.line }
      : { is: 'down', reason: failure, slowByMs: fetch.slowByMs };
  }

  async #checkAll(target: Target, credentials: Credentials, cut: Cut): Promise<Verdict> {
    const fetches = this.#questions.map((question) => ({ question, fetch: fetchOf(target, credentials, cut) }));
    const ended = await inTurn(fetches, ({ question, fetch }) => this.#fetch(question, fetch));
    const failures = ended.filter((failure) => failure !== null);
    const tooMany = failures.length - this.#o['max-failures'];
    if (tooMany > 0) {
      // Without so many of those that were only slow it would be up.
      const slow = fetches.map(({ fetch }) => fetch.slowByMs).filter((ms) => ms > 0);
      const slowByMs = slow.toSorted((a, b) => a - b)[tooMany - 1] ?? 0;
      return { is: 'down', reason: failures.join('; '), slowByMs };
    }
    const [only, ...others] = fetches;
    return only === undefined || others.length > 0 || failures.length > 0
      ? { is: 'up' }
      : { is: 'up', detail: only.fetch.line };
  }

  forget(target: Target): void {
    const key = keyOf(target);
    for (const connection of this.#kept.get(key) ?? []) connection.close();
    this.#kept.delete(key);
    this.#warned.delete(key);
  }

  /** One fetch, measured: null when it went well, otherwise why it did not. Never rejects. */
  async #fetch(question: Question, fetch: Fetch): Promise<string | null> {
    const { clock } = this.#tools;
    const { timeout, 'max-latency': maxLatency } = this.#o;
    if (fetch.cut.aborted) return `${question.label}: not asked within ${timeout} s`;
    const start = clock.now();
    let failure: string | null;
    try {
      failure = await this.#follow(question, fetch);
    } catch (error) {
      failure = textOf(error);
    }
    const seconds = (clock.now() - start) / 1000;
    if (fetch.cut.aborted) failure = `timed out after ${timeout} s, ${fetch.reader?.progress ?? fetch.phase}`;
    else if (failure === null && maxLatency !== null && seconds > maxLatency) {
      fetch.slowByMs = (seconds - maxLatency) * 1000;
      failure = `${fetch.line} took ${seconds.toFixed(3)} s, expected at most ${maxLatency} s`;
    }
    const labels = failure === null ? question.successful : question.failed;
    this.#tools.observe(fetch.target, 'request_duration_seconds', seconds, labels);
    return failure === null ? null : `${question.label}: ${failure}`;
  }

  /** Null when it went well, otherwise why it did not. */
  async #follow(first: Question, fetch: Fetch): Promise<string | null> {
    let question = first;
    for (let followed = 0; ; followed++) {
      const kept = this.#o['keep-alive'] ? await this.#onKept(question, fetch) : null;
      if (typeof kept === 'string') return kept;
      let connection = kept;
      if (connection === null) {
        connection = await this.#dial(question, fetch);
        const failure = await this.#ask(connection, question, fetch);
        if (failure !== null) {
          connection.close();
          return failure;
        }
      }
      const next = this.#judge(connection, question, followed, fetch);
      this.#keep(fetch.target, connection);
      if (next === null || typeof next === 'string') return next;
      question = next;
    }
  }

  /** Null: all is as it was wanted. Otherwise why it is not, or what to ask next. */
  #judge(
    { response, certificate }: Connection,
    question: Question,
    followed: number,
    fetch: Fetch,
  ): Question | string | null {
    if (response === null) return 'nothing was asked';
    if (!isWanted(this.#statuses, response.status)) return this.#redirect(question, response, followed, fetch.target);
    fetch.line = response.line;
    return this.#judgeBody(response) ?? this.#judgeCertificate(certificate, question, fetch.target);
  }

  #judgeBody(response: ResponseReader): string | null {
    if (this.#expectations.length === 0) return null;
    const bytes = response.body();
    const body = { bytes, cut: response.bodyBytes > bytes.length };
    for (const expectation of this.#expectations) {
      const why = expectation(body);
      if (why !== null) return `${response.line}, but ${why}`;
    }
    return null;
  }

  /** Where a response that is not what was wanted leads to, or why to nowhere. */
  #redirect(question: Question, response: ResponseReader, followed: number, { port }: Target): Question | string {
    const { redirects } = this.#o;
    const unwanted = `${response.line}, expected ${this.#statuses.text}`;
    if (redirects === 0 || !REDIRECTS.includes(response.status)) return unwanted;
    const [location = ''] = response.header('location');
    if (location === '' || !URL.canParse(location, question.url.href)) return `${unwanted} or a redirect to somewhere`;
    const url = new URL(location, question.url.href);
    if (followed >= redirects)
      return `${response.line} to ${url.href.slice(0, 200)} after ${followed} redirects, expected ${this.#statuses.text}`;
    const next = onSameServer(url, question.url, this.#o.host, port);
    if (next === null)
      return `${response.line} to another server, ${url.href.slice(0, 200)}, expected ${this.#statuses.text}`;
    return redirected(this.#o, question, response.status, next);
  }

  /** A request and its response on a connection that was kept; why it failed, or null if another one is needed. */
  async #onKept(question: Question, fetch: Fetch): Promise<Connection | string | null> {
    const kept = this.#take(fetch.target, question);
    if (kept === null) return null;
    const failure = await this.#ask(kept, question, fetch);
    if (failure === null) return kept;
    kept.close();
    // It was closed between two checks, which servers may do: that is no failure.
    return kept.unseen && !fetch.cut.aborted ? null : failure;
  }

  #ask(connection: Connection, question: Question, fetch: Fetch): Promise<string | null> {
    const toHead = question.method === 'HEAD';
    const reading = toHead === this.#reading.toHead ? this.#reading : { ...this.#reading, toHead };
    const asking = connection.ask(question, reading, fetch.cut);
    fetch.reader = connection.response;
    return asking;
  }

  async #dial(question: Question, fetch: Fetch): Promise<Connection> {
    const { address, port } = fetch.target;
    fetch.phase = 'while connecting';
    fetch.reader = null;
    const preface = this.#preface;
    const plain = await this.#tools.connect(
      preface === null ? { address, port } : { address, port, preface },
      fetch.cut,
    );
    return question.secure
      ? this.#secured(plain, question, fetch)
      : new Connection(question.origin, plain, this.#onlyHttp2);
  }

  async #secured(plain: Stream, question: Question, fetch: Fetch): Promise<Connection> {
    fetch.phase = 'in the TLS handshake';
    let stream: Stream;
    try {
      stream = await this.#tools.secure(plain, this.#tlsOptions(question, fetch.credentials), fetch.cut);
    } catch (error) {
      const text = textOf(error);
      throw new Error(text.startsWith('TLS ') ? text : `TLS: ${text}`, { cause: error });
    }
    const alpn = stream.tls?.alpn ?? null;
    if (this.#onlyHttp2 && alpn !== 'h2') {
      stream.close('rst');
      throw new Error('expected HTTP/2, the server did not choose it in TLS');
    }
    return new Connection(question.origin, stream, alpn === 'h2');
  }

  #tlsOptions({ url }: Question, credentials: Credentials): TlsOptions {
    const o = this.#o;
    return {
      servername: o.sni ?? serverNameOf(url),
      verify: o['tls-verify'],
      verifyName: o['tls-verify-name'] ?? o.sni ?? url.hostname.replace(/^\[|\]$/g, ''),
      ...(o.alpn.length === 0 ? {} : { alpn: o.alpn }),
      ...credentials,
    };
  }

  #take(target: Target, { origin, body }: Question): Connection | null {
    const connections = this.#kept.get(keyOf(target));
    const at = connections?.findIndex((connection) => connection.origin === origin) ?? -1;
    const [found] = at < 0 ? [] : (connections?.splice(at, 1) ?? []);
    if (found === undefined || found.canCarry(body.length)) return found ?? null;
    found.close();
    return null;
  }

  #keep(target: Target, connection: Connection): void {
    if (!this.#o['keep-alive'] || !connection.rest()) {
      connection.close();
      return;
    }
    const key = keyOf(target);
    let connections = this.#kept.get(key);
    if (connections === undefined) this.#kept.set(key, (connections = []));
    if (connections.length >= this.#questions.length) connections.shift()?.close();
    connections.push(connection);
  }

  #judgeCertificate(certificate: TlsCertificate | null, { label }: Question, target: Target): string | null {
    if (certificate === null) return null;
    const { 'certificate-failure-days': failure, 'certificate-warning-days': warning } = this.#o;
    const wall = this.#tools.clock.wall();
    const left = (certificate.validTo - wall) / DAY_MS;
    // A date that cannot be read is no number.
    if (!Number.isNaN(left)) this.#tools.observe(target, 'certificate_days_left', left, { url: label });
    if (failure !== null && left < failure) return `${validity(certificate, left)}, expected at least ${failure}`;
    if (left >= warning) return null;
    const warned = this.#warned.get(keyOf(target)) ?? new Map<string, number>();
    this.#warned.set(keyOf(target), warned);
    if (wall - (warned.get(label) ?? 0) < DAY_MS) return null;
    warned.set(label, wall);
    this.#tools.log('warn', target, `${label}: ${validity(certificate, left)}`);
    return null;
  }

  /** Each check for itself while there are none: the cut of one must not be the end of another. */
  async #readCredentials(cut: Cut): Promise<Credentials> {
    const known = this.#credentials;
    const now = this.#tools.clock.now();
    if (known !== null && now - known.at < CREDENTIALS_MS) return known.read;
    const read = await this.#loadCredentials(cut);
    this.#credentials = { at: now, read };
    return read;
  }

  async #loadCredentials(cut: Cut): Promise<Credentials> {
    const { 'tls-ca': ca, 'tls-certificate': certificate, 'tls-key': key } = this.#o;
    const pem = async (path: string) => new TextDecoder().decode(await this.#tools.read(path, MAX_PEM_BYTES, cut));
    const cert = certificate === null ? null : await pem(certificate);
    return {
      ...(ca === null ? {} : { ca: await pem(ca) }),
      ...(cert === null ? {} : { certificate: { cert, key: key === null ? cert : await pem(key) } }),
      files: [ca, certificate, key].filter((path) => path !== null),
    };
  }
}

function fetchOf(target: Target, credentials: Credentials, cut: Cut): Fetch {
  return { target, credentials, cut, phase: 'while connecting', reader: null, line: '', slowByMs: 0 };
}

/**
 * What to ask for when the server leads to `to`; null: another server is to be asked. Servers name the port on which they listen, which
 * need not be the one of the URL, and themselves as they were asked for: by `host`, if that was told to them.
 */
function onSameServer(to: URL, asked: URL, host: string | null, dialledPort: number): URL | null {
  if (to.protocol !== asked.protocol) return null;
  const isOf = (server: URL) => to.hostname === server.hostname && [portOf(server), dialledPort].includes(portOf(to));
  if (isOf(asked)) return to;
  const told = `${asked.protocol}//${host ?? ''}/`;
  if (host === null || !URL.canParse(told) || !isOf(new URL(told))) return null;
  const same = new URL(asked);
  same.pathname = to.pathname;
  same.search = to.search;
  return same;
}

function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}

function validity({ subject, validTo }: TlsCertificate, left: number): string {
  const day = new Intl.DateTimeFormat('sv-SE', { timeZone: 'UTC' }).format(validTo);
  const when =
    left < 0 ? `ended on ${day}, ${(-left).toFixed(1)} days ago` : `ends on ${day}, in ${left.toFixed(1)} days`;
  return `the certificate of ${printable(subject)} ${when}`;
}

/** As one who connects on his own behalf and not for a client: the PROXY protocol's §2.1 and §2.2. */
function prefaceOf(version: string): Uint8Array | null {
  if (version === 'v1') return new TextEncoder().encode('PROXY UNKNOWN\r\n');
  if (version === 'v2') return Uint8Array.of(13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x20, 0, 0, 0);
  return null;
}
