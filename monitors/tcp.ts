// TCP: connect, and say and hear what the protocol's first words are, with or without TLS. Without `send` and `expect` a
// connection that comes about is up, whatever happens to it afterwards.

import type { Cut, OptionRow, OptionsOf, Poll, Sample, Stream, Target, TlsOptions, Tools } from 'anybal/monitor';
import { idle, idleLatency } from './lib/doubt.ts';
import { fromOctets, toOctets } from './lib/octets.ts';
import { noConnection, quote } from './lib/text.ts';
import { doubtTls, refuseTls, TLS_ROWS, tlsOptions } from './lib/tls.ts';

const options = [
  {
    name: 'send',
    kind: 'octets',
    default: [],
    example: "[ 'PING\\r\\n' ]",
    doc: "What to say, in turn with expect: one, then its answer, then the next. '' says nothing.",
  },
  {
    name: 'expect',
    kind: 'octets',
    default: [],
    example: "[ '+PONG' ]",
    doc:
      "What must come after each of them; what had come before something was said does not count. '' waits for nothing; " +
      "send = [ '', 'QUIT\\r\\n' ] lets the server speak first.",
  },
  {
    name: 'match',
    kind: 'choice',
    choices: ['contains', 'starts'],
    default: 'contains',
    doc: 'Where in what comes: anywhere, or at its beginning.',
  },
  {
    name: 'max-bytes',
    kind: 'int',
    min: 1,
    max: 1 << 20,
    default: 65_536,
    doc: 'How many octets may come in all before what is expected has come.',
  },
  { name: 'tls', kind: 'bool', default: false, doc: 'Speak TLS from the first octet on.' },
  ...TLS_ROWS,
  {
    name: 'max-latency',
    kind: 'seconds',
    min: 0.001,
    max: 3600,
    default: null,
    example: '0.5',
    doc: 'Longer than this, from connecting to the last octet that is expected, is down.',
  },
  {
    name: 'close',
    kind: 'choice',
    choices: ['rst', 'fin'],
    default: 'rst',
    doc: 'How to leave: rst costs neither side anything; fin is for servers that log a reset as an error.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86_400, default: 10, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.01, max: 3600, default: 5, doc: 'Seconds for the whole check.' },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

export default {
  apiVersion: 1,
  name: 'TCP',
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse: (o) => [
    ...refuseTls(o),
    ...(o.expect.join('').length > o['max-bytes']
      ? [{ option: 'expect' as const, why: `more than the ${o['max-bytes']} octets of max-bytes: it can never come` }]
      : []),
  ],
  doubt: (o) => [
    ...doubtTls(o, o.tls),
    ...idleLatency(o),
    ...idle(o.expect.join('') === '', ['match', 'max-bytes'], 'nothing is expected'),
  ],
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => ({
    async check(target, cut) {
      const start = tools.clock.now();
      const tls = o.tls ? await tlsOptions(o, tools, cut) : null;
      const stream = await connected(o, tools, target, tls, cut);
      if (typeof stream === 'string') return { is: 'down', reason: stream };
      // Mostly there is nothing to say or hear.
      const silent = o.send.length === 0 && o.expect.length === 0;
      if (silent) stream.close(o.close === 'fin' ? 'fin' : 'rst');
      const complaint = silent ? null : await converse(o, stream, cut);
      const ms = tools.clock.now() - start;
      if (complaint !== null) return { is: 'down', reason: complaint };
      const limit = o['max-latency'];
      if (limit !== null && ms > limit * 1000) {
        const slowByMs = ms - limit * 1000;
        return { is: 'down', reason: `took ${ms.toFixed(0)} ms, longer than ${limit * 1000} ms`, slowByMs };
      }
      return { is: 'up' };
    },
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = {
  options: { send: "'PING\\r\\n'", expect: "'+PONG'" },
  stream: (received) => (received.includes('PING') ? '+PONG\r\n' : ''),
};

/** The connection, or why there is none. */
async function connected(
  o: Options,
  tools: Tools,
  { address, port }: Target,
  tls: TlsOptions | null,
  cut: Cut,
): Promise<Stream | string> {
  try {
    return await tools.connect(tls === null ? { address, port } : { address, port, tls }, cut);
  } catch (error) {
    return noConnection(error, cut, o.timeout, o.tls);
  }
}

/** Null when all was heard, otherwise what was not. Closes the stream. */
function converse(o: Options, stream: Stream, cut: Cut): Promise<string | null> {
  const turns = Math.max(o.send.length, o.expect.length);
  return new Promise((resolve) => {
    let turn = 0;
    let seen = 0;
    /** What came and was not expected yet, one character for each octet. */
    let text = '';
    /** So much of it has been looked through. */
    let looked = 0;
    let open = true;
    let forget = (): void => {};

    const settle = (complaint: string | null): void => {
      if (!open) return;
      open = false;
      forget();
      resolve(complaint);
      stream.close(complaint === null && o.close === 'fin' ? 'fin' : 'rst');
    };
    const missing = (what: string): string => {
      const expected = o.expect[turn] ?? '';
      return `${what} ${quote(expected)}${text === '' ? '' : `, after ${quote(text)}`}`;
    };
    /** Says what is to be said in this turn, if anything. */
    const speak = (): boolean => {
      const words = o.send[turn] ?? '';
      if (words !== '') stream.write(toOctets(words));
      return words !== '';
    };
    /** Goes on as far as what has come allows. */
    const listen = (): void => {
      while (open) {
        const expected = o.expect[turn] ?? '';
        const found =
          o.match === 'starts'
            ? startOf(text, expected)
            : text.indexOf(expected, Math.max(0, looked - expected.length));
        looked = text.length;
        if (found === 'never') return settle(`said ${quote(text)} instead of ${quote(expected)}`);
        if (found < 0) return seen >= o['max-bytes'] ? settle(missing(`${seen} octets without`)) : undefined;
        text = text.slice(found + expected.length);
        looked = 0;
        if (++turn >= turns) return settle(null);
        // What is left of one answer is none to what is said next.
        if (speak()) text = '';
      }
    };
    stream.on({
      onData(bytes) {
        const taken = bytes.subarray(0, o['max-bytes'] - seen);
        seen += taken.length;
        text += fromOctets(taken);
        listen();
      },
      onEnd: () => settle(missing('closed the connection before it said')),
      onDrain() {},
      onClose: (error) => settle(missing(`${endOf(error)} before it said`)),
    });
    forget = cut.onAbort(() => settle(missing(`in ${o.timeout} seconds never said`)));
    if (!open) return;
    speak();
    listen();
  });
}

function endOf(error: { readonly code: string } | null): string {
  if (error === null) return 'closed the connection';
  return error.code === 'ECONNRESET' ? 'reset the connection' : `connection lost (${error.code})`;
}

/** -1: not yet. */
function startOf(text: string, expected: string): number | 'never' {
  if (text.startsWith(expected)) return 0;
  return expected.startsWith(text) ? -1 : 'never';
}
