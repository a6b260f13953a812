// ProxyFetch: fetch a URL from the real server. The connection goes to the server's own address and port whatever the URL
// says; the URL gives scheme, Host and path. Options, request, verdicts and wording are PyBal's, with one repair: `timeout`
// covers the whole check, connecting included.

import type {
  Cut,
  OptionRow,
  OptionsOf,
  Poll,
  Sample,
  Stream,
  StreamHandlers,
  Target,
  TlsOptions,
  Tools,
} from 'anybal/monitor';
import { failing } from './lib/doubt.ts';
import { Http1Reader, type Http1Reading } from './lib/http1.ts';
import { inTurn } from './lib/in-turn.ts';
import type { Verdict } from './lib/response.ts';
import { httpSays } from './lib/samples.ts';
import { textOf } from './lib/text.ts';
import { serverNameOf } from './lib/tls.ts';

/** A body is counted and dropped. One that is longer than this has proven its point and is not read to its end. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

const options = [
  {
    name: 'url',
    kind: 'urls',
    schemes: ['http', 'https'],
    example: "[ 'http://www.example.org/' ]",
    pybal: '0.1',
    doc: 'URLs to fetch; one of them, chosen at random, per check. https does not verify the certificate.',
  },
  {
    name: 'interval',
    kind: 'seconds',
    min: 0.1,
    max: 86400,
    default: 10,
    pybal: '0.1',
    doc: 'Seconds between checks.',
  },
  {
    name: 'timeout',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 5,
    pybal: '0.1',
    doc: 'Seconds for the whole check, from connecting to the last byte.',
  },
  {
    name: 'http_status',
    kind: 'int',
    min: 100,
    max: 599,
    default: 200,
    pybal: '1.11',
    doc: '301, 302 or 303: any of these three is up. Every other value, as in PyBal: 200, 201 or 202 is up.',
  },
  {
    name: 'check_all',
    kind: 'bool',
    default: false,
    pybal: '1.15',
    doc: 'Fetch all URLs in each check, four at the same time, instead of one.',
  },
  {
    name: 'max_failures',
    kind: 'int',
    min: 0,
    default: 0,
    pybal: '1.15',
    doc: 'With check_all: how many URLs may fail while the server still counts as up.',
  },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

export default {
  apiVersion: 1,
  name: 'ProxyFetch',
  kind: 'poll',
  asks: 'endpoint',
  options,
  doubt: (o) => [
    ...failing('max_failures', o.max_failures, o.check_all, o.url.length),
    ...(SUCCESSES.includes(o.http_status) || REDIRECTS.includes(o.http_status)
      ? []
      : [{ option: 'http_status' as const, why: `${o.http_status} means 200, 201 or 202, as in PyBal` }]),
  ],
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => {
    const wanted = REDIRECTS.includes(o.http_status) ? REDIRECTS : SUCCESSES;
    const questions = o.url.map(questionOf);
    const reading: Http1Reading = {
      until: 'body',
      keepBytes: 0,
      maxBodyBytes: MAX_BODY_BYTES,
      toHead: false,
      skipInterim: false,
      headIsEnough: (status) => !wanted.includes(status),
    };
    let surprising = !wanted.includes(o.http_status);
    return {
      async check(target, cut) {
        if (surprising) {
          surprising = false;
          tools.log('warn', target, `http_status ${o.http_status} is not supported: 200, 201 and 202 count as success`);
        }
        const one = questions[Math.floor(tools.random() * questions.length)];
        if (one !== undefined && !o.check_all) {
          const failure = await fetch(o, tools, target, one, reading, cut);
          return failure === null ? { is: 'up' } : { is: 'down', reason: failure };
        }
        const asked = await inTurn(questions, (question) => fetch(o, tools, target, question, reading, cut));
        const failures = asked.filter((failure) => failure !== null);
        return failures.length <= o.max_failures ? { is: 'up' } : { is: 'down', reason: failures.join('\n') };
      },
    };
  },
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { options: { url: "[ 'http://www.example.org/' ]" }, stream: httpSays };

const SUCCESSES: readonly number[] = [200, 201, 202];
const REDIRECTS: readonly number[] = [301, 302, 303];

/** What stays the same from check to check. */
interface Question {
  /** Without user and password, which are not sent either: fit for a log. */
  readonly url: string;
  readonly tls: TlsOptions | null;
  readonly request: Uint8Array;
  readonly successful: Readonly<Record<string, string>>;
  readonly failed: Readonly<Record<string, string>>;
}

function questionOf(configured: string): Question {
  const parsed = new URL(configured);
  const url = configured.replace(/^([a-z]+:\/\/)[^/?#]*@/i, '$1***@');
  return {
    url,
    tls: parsed.protocol === 'https:' ? { servername: serverNameOf(parsed), verify: false } : null,
    request: requestOf(parsed),
    successful: Object.freeze({ result: 'successful', url }),
    failed: Object.freeze({ result: 'failed', url }),
  };
}

/** One fetch, logged and measured: null, or why it failed. */
async function fetch(
  o: Options,
  tools: Tools,
  target: Target,
  question: Question,
  reading: Http1Reading,
  cut: Cut,
): Promise<string | null> {
  const { url } = question;
  const start = tools.clock.now();
  let failure: string | null;
  let missing = '';
  try {
    failure = await get(tools, target, question, reading, cut);
  } catch (error) {
    failure = textOf(error);
    missing = question.tls === null ? ' No connection.' : ' No connection with TLS.';
  }
  if (cut.aborted) failure = `Getting ${url} took longer than ${o.timeout} seconds.${missing}`;
  const seconds = (tools.clock.now() - start) / 1000;
  if (failure === null) tools.log('debug', target, () => `Fetch successful (${url}), ${seconds.toFixed(3)} s`);
  else tools.log('warn', target, `Fetch failed (${url}), ${seconds.toFixed(3)} s`);
  tools.observe(target, 'request_duration_seconds', seconds, failure === null ? question.successful : question.failed);
  return failure;
}

/** Null when it went well, otherwise why it did not. */
async function get(
  tools: Tools,
  { address, port }: Target,
  { tls, request }: Question,
  reading: Http1Reading,
  cut: Cut,
): Promise<string | null> {
  const stream = await tools.connect(tls === null ? { address, port } : { address, port, tls }, cut);
  return new Promise((resolve) => new Exchange(stream, request, reading, cut, resolve));
}

/** The request and its response. */
class Exchange implements StreamHandlers {
  readonly #stream: Stream;
  readonly #reader: Http1Reader;
  readonly #reading: Http1Reading;
  readonly #resolve: (failure: string | null) => void;
  /** Null while there is nothing to forget, the cut may have come already. */
  #forget: (() => void) | null = null;

  constructor(
    stream: Stream,
    request: Uint8Array,
    reading: Http1Reading,
    cut: Cut,
    resolve: (failure: string | null) => void,
  ) {
    this.#stream = stream;
    this.#reader = new Http1Reader(reading);
    this.#reading = reading;
    this.#resolve = resolve;
    stream.on(this);
    this.#forget = cut.onAbort(() => this.#settle('cancelled'));
    if (!cut.aborted) stream.write(request);
  }

  #settle(verdict: Verdict): void {
    if (verdict === undefined) return;
    this.#forget?.();
    const { line, status } = this.#reader;
    // Of a status that is not wanted.
    this.#resolve(verdict === null && this.#reading.headIsEnough?.(status) === true ? line : verdict);
    this.#stream.close('rst');
  }

  onData(bytes: Uint8Array): void {
    this.#settle(this.#reader.push(bytes));
  }
  onEnd(): void {
    this.#settle(this.#reader.end());
  }
  onDrain(): void {}
  onClose(error: Error | null): void {
    this.#settle(error === null ? this.#reader.end() : LOST);
  }
}

const LOST = 'Connection to the other side was lost in a non-clean fashion: Connection lost.';

/** As Twisted's getPage wrote it: server logs know the checks by this User-Agent. */
function requestOf(url: URL): Uint8Array {
  const host = ['', '80', '443'].includes(url.port) ? url.hostname : `${url.hostname}:${url.port}`;
  const lines = [
    `GET ${url.pathname}${url.search} HTTP/1.0`,
    `Host: ${host}`,
    'User-Agent: Twisted PageGetter',
    '',
    '',
  ];
  return new TextEncoder().encode(lines.join('\r\n'));
}
