// UDP: send datagrams and see what comes back. With an expected reply the server is up when it comes. Without one, silence is
// up, and only ICMP that nobody listens there (or that nobody can be reached) is down: that is PyBal's monitor, whose options
// and meaning are kept. A server that drops everything looks healthy to it.

import type { OptionRow, OptionsOf, Poll, Sample, Target, Tools, UdpSocket } from 'anybal/monitor';
import { idle } from './lib/doubt.ts';
import { fromOctets, toOctets } from './lib/octets.ts';
import { endpoint, keyOf, quote, textOf } from './lib/text.ts';

const options = [
  {
    name: 'send',
    kind: 'octets',
    default: [''],
    example: "[ 'hex:e3000000' ]",
    doc: 'Datagrams to send, one after the other, in each try. PyBal sends an empty one.',
  },
  {
    name: 'expect',
    kind: 'octets',
    default: [],
    doc:
      'What must be in the replies, each of these in one of them. If nothing is expected, any reply is up and so is ' +
      'silence: then only an ICMP error is down.',
  },
  {
    name: 'match',
    kind: 'choice',
    choices: ['contains', 'starts'],
    default: 'contains',
    doc: 'Where in a reply: anywhere, or at its beginning.',
  },
  {
    name: 'tries',
    kind: 'int',
    min: 1,
    max: 20,
    default: 3,
    doc: 'How often to send while an expected reply has not come, spread evenly over the timeout.',
  },
  {
    name: 'icmp-timeout',
    kind: 'seconds',
    min: 0,
    max: 86_400,
    default: 20,
    pybal: '1.15',
    doc:
      'When nothing is expected: how long after an ICMP error the server stays down, since networks limit how often they ' +
      'send one.',
  },
  {
    name: 'interval',
    kind: 'seconds',
    min: 0.1,
    max: 86_400,
    default: 10,
    pybal: '1.15',
    doc: 'Seconds between checks.',
  },
  {
    name: 'timeout',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 4,
    doc:
      'Seconds to wait for the replies; or if none is expected for an ICMP error, which takes 3 seconds for a neighbour ' +
      'that has no power.',
  },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

/** A server that sends without end has proven nothing. */
const MOST_REPLIES = 100;
/** Behind the time that silence takes to be up. */
const DEADLINE_SECONDS = 1;

export default {
  apiVersion: 1,
  name: 'UDP',
  kind: 'poll',
  asks: 'endpoint',
  options,
  doubt: (o) => [
    ...idle(o.expect.length === 0, ['match', 'tries'], 'nothing is expected'),
    ...idle(o.expect.length > 0, ['icmp-timeout'], 'a reply is expected'),
  ],
  timing: (o) => ({
    intervalSeconds: o.interval,
    timeoutSeconds: o.timeout + (o.expect.length === 0 ? DEADLINE_SECONDS : 0),
  }),
  create: (o, tools) => {
    /** When ICMP last said that nobody is there, by server. */
    const unreachable = new Map<string, number>();
    return {
      forget: (target) => void unreachable.delete(keyOf(target)),
      async check(target, cut) {
        const replies = new Replies(o);
        const key = keyOf(target);
        let settle = (_: string | null): void => {};
        /** Null: up. */
        const verdict = new Promise<string | null>((resolve) => {
          settle = resolve;
        });
        const { address, port } = target;
        const socket = await tools.datagram(
          { address, port },
          {
            onDatagram: (bytes) => replies.push(bytes) && settle(replies.complaint()),
            onError(error) {
              if (error.code === 'ECONNREFUSED' || error.code === 'EHOSTUNREACH') {
                unreachable.set(key, tools.clock.now());
                tools.log('warn', target, `${endpoint(target)}: ICMP destination unreachable received`);
              }
              settle(error.message);
            },
          },
          cut,
        );
        const stop = sendAll(o, tools, socket, settle);
        const silence = () => settle(o.expect.length > 0 ? replies.complaint() : null);
        // Where silence is up, it is so before the whole check is out of time.
        const part = o.expect.length > 0 ? null : tools.deadline(cut, o.timeout * 1000);
        const forget = (part?.cut ?? cut).onAbort(silence);
        const reason = await verdict.finally(() => {
          stop();
          forget();
          part?.release();
          socket.close();
        });
        return replies.count > 0 || o.expect.length > 0 ? plain(reason, replies) : remembered(reason, key);
      },
    };

    function plain(reason: string | null, replies: Replies) {
      return reason === null
        ? ({ is: 'up', detail: `${replies.count} ${replies.count === 1 ? 'reply' : 'replies'}` } as const)
        : ({ is: 'down', reason } as const);
    }

    /** Silence is up, unless ICMP said otherwise a short while ago. */
    function remembered(reason: string | null, key: string) {
      const at = unreachable.get(key);
      if (reason !== null) return { is: 'down', reason } as const;
      const seconds = at === undefined ? Number.POSITIVE_INFINITY : (tools.clock.now() - at) / 1000;
      if (seconds < o['icmp-timeout']) {
        return { is: 'down', reason: `ICMP said ${seconds.toFixed(0)} s ago that it is unreachable` } as const;
      }
      unreachable.delete(key);
      return { is: 'up', detail: 'silent' } as const;
    }
  },
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = {
  options: { send: "'ping'", expect: "'pong'" },
  datagram: () => new TextEncoder().encode('pong'),
};

/** Each datagram in each try; once if nothing is expected. Returns a function that ends it. */
function sendAll(o: Options, tools: Tools, socket: UdpSocket, fail: (reason: string) => void): () => void {
  const most = o.expect.length === 0 ? 1 : o.tries;
  let tries = 0;
  let cancel = (): void => {};
  const send = (): void => {
    if (++tries < most) cancel = tools.clock.at((o.timeout * 1000) / o.tries, send);
    try {
      for (const datagram of o.send) socket.send(toOctets(datagram));
    } catch (error) {
      fail(textOf(error));
    }
  };
  send();
  return () => cancel();
}

/** What came back, as far as it is expected. */
class Replies {
  readonly #o: Options;
  readonly #missing: Set<string>;
  #last = '';
  count = 0;

  constructor(o: Options) {
    this.#o = o;
    this.#missing = new Set(o.expect);
  }

  /** Whether that is all. */
  push(bytes: Uint8Array): boolean {
    this.count++;
    const octets = fromOctets(bytes);
    this.#last = octets;
    for (const text of this.#missing) {
      if (this.#o.match === 'starts' ? octets.startsWith(text) : octets.includes(text)) this.#missing.delete(text);
    }
    return this.#missing.size === 0 || this.count >= MOST_REPLIES;
  }

  /** What is wrong with what came, or null. */
  complaint(): string | null {
    if (this.#missing.size === 0) return null;
    const wanted = [...this.#missing].map(quote).join(', ');
    if (this.count === 0) return `no reply in ${this.#o.timeout} seconds, sent ${this.#o.tries} times`;
    const where = this.#o.match === 'starts' ? 'begins with' : 'contains';
    return `none of ${this.count} replies ${where} ${wanted}, the last is ${quote(this.#last)}`;
  }
}
