// ProxyFetch: fetch a URL from the real server. The connection goes to the server's own address and port whatever the URL
// says; the URL gives scheme, Host and path. Options, request, verdicts and wording are PyBal's, with one repair: `timeout`
// covers the whole check, connecting included.

import type { Cut, OptionRow, OptionsOf, Poll, Stream, Target, Tools } from 'anybal/monitor';

const MAX_HEAD_BYTES = 64 * 1024;
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
    doc: 'Fetch all URLs in each check, at the same time, instead of one.',
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
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => {
    const wanted = REDIRECTS.includes(o.http_status) ? REDIRECTS : SUCCESSES;
    let surprising = !wanted.includes(o.http_status);
    return {
      async check(target, cut) {
        if (surprising) {
          surprising = false;
          tools.log('warn', target, `http_status ${o.http_status} is not supported: 200, 201 and 202 count as success`);
        }
        const first = Math.floor(tools.random() * o.url.length);
        const urls = o.check_all ? o.url : o.url.slice(first, first + 1);
        const failures = (await Promise.all(urls.map((url) => fetch(o, tools, target, url, wanted, cut)))).flat();
        const allowed = o.check_all ? o.max_failures : 0;
        return failures.length <= allowed ? { is: 'up' } : { is: 'down', reason: failures.join('\n') };
      },
    };
  },
} satisfies Poll<typeof options>;

const SUCCESSES: readonly number[] = [200, 201, 202];
const REDIRECTS: readonly number[] = [301, 302, 303];

/** One fetch, logged and measured: no failure, or one with its reason. */
async function fetch(
  o: Options,
  tools: Tools,
  target: Target,
  url: string,
  wanted: readonly number[],
  cut: Cut,
): Promise<readonly string[]> {
  const start = tools.clock.now();
  let failure: string | null;
  try {
    failure = await get(tools, target, new URL(url), wanted, cut);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  if (cut.aborted) failure = `Getting ${url} took longer than ${o.timeout} seconds.`;
  const seconds = (tools.clock.now() - start) / 1000;
  if (failure === null) tools.log('debug', target, `Fetch successful (${url}), ${seconds.toFixed(3)} s`);
  else tools.log('warn', target, `Fetch failed (${url}), ${seconds.toFixed(3)} s`);
  const result = failure === null ? 'successful' : 'failed';
  tools.observe(target, 'request_duration_seconds', seconds, { result, url });
  return failure === null ? [] : [failure];
}

/** Null when it went well, otherwise why it did not. */
async function get(
  tools: Tools,
  target: Target,
  url: URL,
  wanted: readonly number[],
  cut: Cut,
): Promise<string | null> {
  // RFC 6066 §3: a literal address is no server name.
  const literal = /^\[|^[\d.]+$/.test(url.hostname);
  const tls = { servername: literal ? null : url.hostname, verify: false };
  const { address, port } = target;
  const stream = await tools.connect({ address, port, ...(url.protocol === 'https:' ? { tls } : {}) }, cut);
  return new Promise((resolve) => {
    const reader = new ResponseReader(wanted);
    let forget = () => {};
    const settle = (failure: string | null) => {
      forget();
      resolve(failure);
      stream.close('rst');
    };
    stream.on({
      onData(bytes) {
        const verdict = reader.push(bytes);
        if (verdict !== undefined) settle(verdict);
      },
      onEnd: () => settle(reader.end()),
      onDrain() {},
      onClose: (error) => settle(error === null ? reader.end() : LOST),
    });
    forget = cut.onAbort(() => settle('cancelled'));
    if (!cut.aborted) request(stream, url);
  });
}

const LOST = 'Connection to the other side was lost in a non-clean fashion: Connection lost.';

/** As Twisted's getPage wrote it: server logs know the checks by this User-Agent. */
function request(stream: Stream, url: URL): void {
  const host = ['', '80', '443'].includes(url.port) ? url.hostname : `${url.hostname}:${url.port}`;
  const lines = [
    `GET ${url.pathname}${url.search} HTTP/1.0`,
    `Host: ${host}`,
    'User-Agent: Twisted PageGetter',
    '',
    '',
  ];
  stream.write(new TextEncoder().encode(lines.join('\r\n')));
}

/**
 * Reads one HTTP response (RFC 9112) and keeps nothing of it. `push` and `end` answer undefined while there is more to
 * come, null for a good response, or what is wrong with it.
 */
class ResponseReader {
  readonly #wanted: readonly number[];
  readonly #latin1 = new TextDecoder('latin1');
  #in: 'head' | 'length' | 'close' | 'chunk size' | 'chunk' | 'trailer' = 'head';
  #text = '';
  #status = '';
  /** Bytes left of the body or chunk. */
  #left = 0;
  #seen = 0;

  constructor(wanted: readonly number[]) {
    this.#wanted = wanted;
  }

  push(bytes: Uint8Array): string | null | undefined {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#in === 'head') {
        const before = this.#text.length;
        this.#text += this.#latin1.decode(rest);
        const head = endOfHead(this.#text, before);
        if (head === null) return this.#text.length > MAX_HEAD_BYTES ? 'the response headers never end' : undefined;
        const verdict = this.#head(this.#text.slice(0, head.at));
        if (verdict !== undefined) return verdict;
        rest = rest.subarray(head.at + head.length - before);
        this.#text = '';
      } else if (this.#in === 'chunk size' || this.#in === 'trailer') {
        const end = rest.indexOf(10);
        this.#text += this.#latin1.decode(end < 0 ? rest : rest.subarray(0, end));
        if (this.#text.length > MAX_HEAD_BYTES) return `${this.#status}, but a line of the chunked body never ends`;
        if (end < 0) return undefined;
        rest = rest.subarray(end + 1);
        const verdict = this.#chunkLine(this.#text.trim());
        if (verdict !== undefined) return verdict;
        this.#text = '';
      } else {
        const taken = this.#in === 'close' ? rest.length : Math.min(rest.length, this.#left);
        this.#seen += taken;
        if (this.#seen > MAX_BODY_BYTES) return null;
        rest = rest.subarray(taken);
        if (this.#in === 'close') return undefined;
        this.#left -= taken;
        if (this.#left > 0) return undefined;
        if (this.#in === 'length') return null;
        // The two bytes of the line end behind the chunk read as an empty size line.
        this.#in = 'chunk size';
      }
    }
    return undefined;
  }

  /** The server will send no more. */
  end(): string | null {
    if (this.#in === 'close') return null;
    if (this.#in === 'head')
      return this.#text === '' ? 'Connection was closed cleanly.' : 'the response headers are cut short';
    return `${this.#status}, but the body was cut short after ${this.#seen} bytes`;
  }

  #head(text: string): string | null | undefined {
    const [first = '', ...lines] = text.split(/\r?\n/);
    const [, code, message = ''] = /^HTTP\/\d\.\d (\d{3})(?: (.*))?$/.exec(first) ?? [];
    if (code === undefined) return `not an HTTP response: ${printable(first)}`;
    this.#status = printable(`${code} ${message}`.trim());
    if (!this.#wanted.includes(Number(code))) return this.#status;
    const header = (name: string) => {
      const values = lines.map((line) => /^([^:\s]+):(.*)$/.exec(line)).filter((m) => m?.[1]?.toLowerCase() === name);
      return values.map((m) => m?.[2]?.trim() ?? '');
    };
    if (header('transfer-encoding').some((value) => /\bchunked$/i.test(value))) {
      this.#in = 'chunk size';
      return undefined;
    }
    const [length, ...others] = header('content-length');
    if (length === undefined) {
      this.#in = 'close';
      return undefined;
    }
    // RFC 9112 §6.3: differing or unreadable lengths cannot be recovered from.
    if (!/^\d{1,15}$/.test(length) || others.some((other) => other !== length)) {
      return `${this.#status}, but Content-Length is ${printable([length, ...others].join(', '))}`;
    }
    this.#in = 'length';
    this.#left = Number(length);
    return this.#left === 0 ? null : undefined;
  }

  #chunkLine(line: string): string | null | undefined {
    if (this.#in === 'trailer') return line === '' ? null : undefined;
    if (line === '' && this.#seen > 0) return undefined;
    const [, size] = /^([0-9a-fA-F]{1,12})(?:\s*;.*)?$/.exec(line) ?? [];
    if (size === undefined) return `${this.#status}, but a chunk's size is ${printable(line)}`;
    this.#left = Number.parseInt(size, 16);
    this.#in = this.#left === 0 ? 'trailer' : 'chunk';
    return undefined;
  }
}

/** Where the empty line behind the headers is, looking only near what is new since `before`. */
function endOfHead(text: string, before: number): { readonly at: number; readonly length: number } | null {
  const found = /\r?\n\r?\n/.exec(text.slice(Math.max(0, before - 3)));
  return found === null ? null : { at: Math.max(0, before - 3) + found.index, length: found[0].length };
}

/** What a server sent, made safe for a line of the log. */
function printable(text: string): string {
  return text.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}
