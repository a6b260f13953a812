// SMTP (RFC 5321): greeting, EHLO, and TLS from the start or by STARTTLS (RFC 3207). Leaves with QUIT, so that the server's log
// stays quiet. No mail is sent.

import type { Clock, Cut, OptionRow, OptionsOf, Poll, Sample, Stream, Target, TlsOptions, Tools } from 'anybal/monitor';
import { type Lines, linesOf } from './lib/lines.ts';
import { noConnection, printable, quote, textOf } from './lib/text.ts';
import { doubtTls, refuseTls, TLS_ROWS, tlsOptions } from './lib/tls.ts';

/** RFC 5321 §4.5.3.1.5 wants 512; some servers are not to be held to it. */
const MAX_LINE_BYTES = 2048;
const MAX_LINES = 100;
/** A server that is well has this long to say goodbye. */
const QUIT_MS = 1000;

const options = [
  {
    name: 'codes',
    kind: 'ints',
    min: 200,
    max: 599,
    default: [220],
    doc: 'Codes of the greeting that mean up. Any other is down with its text, 421 and 554 among them.',
  },
  {
    name: 'until',
    kind: 'choice',
    choices: ['greeting', 'ehlo'],
    default: 'ehlo',
    doc: 'How far to go: to the greeting, or on to an EHLO that is answered with 250, with or without TLS.',
  },
  {
    name: 'hello',
    kind: 'string',
    default: null,
    example: 'director1.example.org',
    doc: 'The name given with EHLO. Without it, the address of the director in brackets.',
  },
  {
    name: 'tls',
    kind: 'choice',
    choices: ['none', 'starttls', 'implicit'],
    default: 'none',
    doc: 'starttls: the server must offer it and carry it out. implicit: TLS from the first octet on, as on port 465.',
  },
  ...TLS_ROWS,
  {
    name: 'proxy-protocol',
    kind: 'bool',
    default: false,
    doc: 'Begin with a PROXY line (version 1) that names the connection as it is, for a server that expects one.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86400, default: 10, doc: 'Seconds between checks.' },
  {
    name: 'timeout',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 10,
    doc: 'Seconds for the whole check. Servers that let strangers wait before they greet need more.',
  },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

export default {
  apiVersion: 1,
  name: 'SMTP',
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse: (o) => [
    ...(o.tls === 'starttls' && o.until === 'greeting'
      ? [{ option: 'until' as const, why: 'is greeting, and STARTTLS comes after EHLO' }]
      : []),
    ...(o.hello !== null && !/^[\x21-\x7e]{1,255}$/.test(o.hello)
      ? [{ option: 'hello' as const, why: 'is no name for EHLO' }]
      : []),
    ...refuseTls(o),
  ],
  doubt: (o) => doubtTls(o, o.tls !== 'none'),
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => ({
    async check(target, cut) {
      const tls = o.tls === 'none' ? null : await tlsOptions(o, tools, cut);
      const talk = new Talk(o, tools, tls, cut);
      const start = tools.clock.now();
      // It is not to be called too slow for a goodbye: that has what is left of the time, and not all of it.
      const quitMs = () => Math.min(QUIT_MS, (o.timeout * 1000 - (tools.clock.now() - start)) / 2);
      try {
        const greeting = await talk.hold(target);
        await talk.quit(quitMs());
        return { is: 'up', detail: `${greeting.code} ${greeting.text}` };
      } catch (error) {
        // Whoever can still answer is told goodbye: a connection that just ends is a line in its log.
        if (error instanceof Refused) await talk.quit(quitMs());
        return { is: 'down', reason: `${talk.step}${textOf(error)}` };
      } finally {
        talk.close();
      }
    },
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = {
  stream: (received) =>
    `220 mail.example.org ESMTP\r\n${/EHLO .*\r\n/.test(received) ? '250-mail.example.org\r\n250 PIPELINING\r\n' : ''}${
      received.includes('QUIT\r\n') ? '221 2.0.0 Bye\r\n' : ''
    }`,
};

interface Reply {
  readonly code: number;
  /** Lines joined by ` / `, safe for the log. */
  readonly text: string;
  readonly lines: readonly string[];
}

/** The server answered, with something else than is wanted. */
class Refused extends Error {}

/** One conversation. What it throws says what went wrong, `step` where. */
class Talk {
  readonly #o: Options;
  readonly #tools: Tools;
  readonly #tls: TlsOptions | null;
  readonly #cut: Cut;
  #stream: Stream | null = null;
  #lines: Lines | null = null;
  /** `EHLO: `; empty while connecting, whose errors speak for themselves. */
  step = '';

  constructor(o: Options, tools: Tools, tls: TlsOptions | null, cut: Cut) {
    this.#o = o;
    this.#tools = tools;
    this.#tls = tls;
    this.#cut = cut;
  }

  /** The greeting, when everything went as it should. */
  async hold({ address, port }: Target): Promise<Reply> {
    const stream = await this.#tools.connect({ address, port }, this.#cut).catch((error: unknown) => {
      throw new Error(noConnection(error, this.#cut, this.#o.timeout));
    });
    this.#use(stream);
    if (this.#o['proxy-protocol']) this.#say(stream, proxyLine(stream));
    if (this.#o.tls === 'implicit') await this.#secure();
    this.step = 'greeting: ';
    const greeting = await this.#reply();
    if (!this.#o.codes.includes(greeting.code)) throw new Refused(`${greeting.code} ${greeting.text}`);
    if (this.#o.until === 'greeting') return greeting;
    const { lines } = await this.#command('EHLO', this.#hello(stream), 250);
    if (this.#o.tls !== 'starttls') return greeting;
    if (!lines.some((line) => /^STARTTLS\b/i.test(line))) {
      this.step = '';
      throw new Refused('STARTTLS is not offered');
    }
    await this.#command('STARTTLS', '', 220);
    // What came in the clear must not be taken for something that came under TLS.
    if (this.#lines?.rest !== '') throw new Error('the server went on in the clear after 220');
    await this.#secure();
    await this.#command('EHLO', this.#hello(stream), 250, 'EHLO under TLS: ');
    return greeting;
  }

  #use(stream: Stream): void {
    this.#stream = stream;
    // Read from when a reply is wanted: what comes before may be TLS's own.
    this.#lines = null;
  }

  async #secure(): Promise<void> {
    this.step = '';
    if (this.#stream === null || this.#tls === null) return;
    try {
      this.#use(await this.#tools.secure(this.#stream, this.#tls, this.#cut));
    } catch (error) {
      throw this.#cut.aborted ? new Error('no TLS handshake in time') : error;
    }
  }

  #say(stream: Stream, text: string): void {
    stream.write(new TextEncoder().encode(`${text}\r\n`));
  }

  async #command(verb: string, argument: string, wanted: number, step = `${verb}: `): Promise<Reply> {
    this.step = step;
    if (this.#stream !== null) this.#say(this.#stream, `${verb} ${argument}`.trimEnd());
    const reply = await this.#reply();
    if (reply.code !== wanted) throw new Refused(`${reply.code} ${reply.text}`);
    return reply;
  }

  /** RFC 5321 §4.1.3: one that has no name gives its address. */
  #hello(stream: Stream): string {
    const { address } = stream.local;
    return this.#o.hello ?? (address.includes(':') ? `[IPv6:${address}]` : `[${address}]`);
  }

  /** RFC 5321 §4.2: `250-` goes on, `250 ` and a bare `250` end. */
  async #reply(): Promise<Reply> {
    if (this.#stream === null) throw new Error('not connected');
    this.#lines ??= linesOf(this.#stream, this.#cut, MAX_LINE_BYTES);
    const lines: string[] = [];
    for (let line = ''; ; ) {
      line = await this.#lines.next(line);
      const [, code, mark, text = ''] = /^([2-5]\d\d)(?:([- ])(.*))?$/.exec(line) ?? [];
      if (code === undefined) throw new Error(`${quote(line)} is no reply of SMTP's`);
      lines.push(text);
      if (mark !== '-') return { code: Number(code), text: shown(lines), lines };
      if (lines.length >= MAX_LINES) throw new Error(`a reply of more than ${MAX_LINES} lines`);
    }
  }

  async quit(ms: number): Promise<void> {
    const [stream, lines] = [this.#stream, this.#lines];
    if (stream === null || lines === null) return;
    this.#say(stream, 'QUIT');
    await settled(this.#tools.clock, Math.max(0, ms), this.#reply());
  }

  close(): void {
    this.#stream?.close(this.#cut.aborted ? 'rst' : 'fin');
  }
}

/** Resolves when the promise has, one way or the other, or `ms` have passed. */
function settled(clock: Clock, ms: number, promise: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.at(ms, resolve);
    const done = (): void => {
      cancel();
      resolve();
    };
    promise.then(done, done);
  });
}

/** The PROXY protocol, version 1 (§2.1). */
function proxyLine({ local, remote }: Stream): string {
  const family = remote.address.includes(':') ? 'TCP6' : 'TCP4';
  return `PROXY ${family} ${local.address} ${remote.address} ${local.port} ${remote.port}`;
}

function shown(lines: readonly string[]): string {
  return printable(lines.filter((line) => line !== '').join(' / '), 300);
}
