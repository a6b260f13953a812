// One question to one DNS server and nobody else: over UDP, asked again while there is no answer, and over TCP when the answer
// was cut short (RFC 7766) or TCP is wanted. Used by dns.ts and dnsquery.ts.

import type { Cut, Target, Tools } from 'anybal/monitor';
import { decodeMessage, encodeQuery, type Message, type Question } from './dns-message.ts';
import { joined } from './octets.ts';
import { textOf } from './text.ts';

export interface Exchange {
  readonly question: Question;
  readonly transport: 'udp' | 'tcp';
  /** How often it is asked over UDP, spread over the time. */
  readonly tries: number;
  /** The check's own; its cut ends the waiting. */
  readonly timeoutSeconds: number;
}

export type Outcome =
  | { readonly is: 'answer'; readonly message: Message }
  | { readonly is: 'timeout'; readonly reason: string }
  | { readonly is: 'failed'; readonly reason: string };

/** RFC 1035 §4.2.2: a length before the message. */
const LENGTH_BYTES = 2;
/** What is not our answer is dropped, so many times. */
const MOST_STRANGERS = 1000;

/** Never rejects. Whatever is no answer to this question is no answer: it is counted, told, and waited on. */
export async function ask(tools: Tools, target: Target, exchange: Exchange, cut: Cut): Promise<Outcome> {
  if (exchange.transport === 'tcp') return overTcp(tools, target, exchange, cut);
  const outcome = await overUdp(tools, target, exchange, cut);
  if (outcome.is !== 'answer' || !outcome.message.truncated) return outcome;
  const again = await overTcp(tools, target, exchange, cut);
  return again.is === 'answer' ? again : { is: again.is, reason: `cut short over UDP, and over TCP: ${again.reason}` };
}

/** `NAME TYPE`, as in the reasons. */
export function printQuestion({ name, type }: Pick<Question, 'name' | 'type'>): string {
  return `${name} ${type}`;
}

/** Reads what comes: undefined while it is not the answer. */
class Listener {
  readonly query: Uint8Array;
  readonly #id: number;
  readonly #question: Question;
  #strangers = 0;

  constructor(tools: Tools, question: Question) {
    this.#id = Math.floor(tools.random() * 0x10000);
    this.#question = question;
    this.query = encodeQuery(this.#id, question);
  }

  read(bytes: Uint8Array): Outcome | undefined {
    const [high, low] = bytes;
    if (bytes.length < 2 || (((high ?? 0) << 8) | (low ?? 0)) !== this.#id) return this.#stranger();
    let message: Message;
    try {
      message = decodeMessage(bytes);
    } catch (error) {
      return failed(`the answer can not be read: ${textOf(error)}`);
    }
    if (!message.isAnswer) return failed('sent the question back instead of an answer');
    // RFC 1035 §4.1.1: that of the query is copied into its answer.
    if (message.opcode !== 0) return this.#stranger();
    const [asked, ...others] = message.questions;
    // RFC 1035 does not say that an error repeats the question, and some servers do not.
    if (asked === undefined && message.rcode !== 'NOERROR') return { is: 'answer', message };
    const { name, type } = this.#question;
    const same = asked?.type === type && asked.name === canonicalName(name) && others.length === 0;
    return same ? { is: 'answer', message } : this.#stranger();
  }

  /** ` (3 answers to other questions came)` */
  get strangers(): string {
    if (this.#strangers === 0) return '';
    return ` (${this.#strangers} ${this.#strangers === 1 ? 'message that was' : 'messages that were'} no answer to it)`;
  }

  #stranger(): Outcome | undefined {
    return ++this.#strangers < MOST_STRANGERS ? undefined : failed(`${MOST_STRANGERS} messages that were no answer`);
  }
}

async function overUdp(tools: Tools, target: Target, exchange: Exchange, cut: Cut): Promise<Outcome> {
  const { question, tries, timeoutSeconds } = exchange;
  const listener = new Listener(tools, question);
  let settle = (_: Outcome): void => {};
  const outcome = new Promise<Outcome>((resolve) => {
    settle = resolve;
  });
  try {
    const socket = await tools.datagram(
      { address: target.address, port: target.port },
      {
        onDatagram(bytes) {
          const read = listener.read(bytes);
          if (read !== undefined) settle(read);
        },
        onError: (error) => settle(failed(error.message)),
      },
      cut,
    );
    let sent = 0;
    let cancel = (): void => {};
    const send = (): void => {
      if (sent++ < tries - 1) cancel = tools.clock.at((timeoutSeconds * 1000) / tries, send);
      try {
        socket.send(listener.query);
      } catch (error) {
        settle(failed(textOf(error)));
      }
    };
    const forget = cut.onAbort(() => settle(silence(question, timeoutSeconds, sent, listener.strangers)));
    send();
    return await outcome.finally(() => {
      cancel();
      forget();
      socket.close();
    });
  } catch (error) {
    return cut.aborted ? silence(question, timeoutSeconds, 0, '') : failed(textOf(error));
  }
}

async function overTcp(tools: Tools, target: Target, exchange: Exchange, cut: Cut): Promise<Outcome> {
  const { question, timeoutSeconds } = exchange;
  const listener = new Listener(tools, question);
  const frames = new Frames();
  try {
    const stream = await tools.connect({ address: target.address, port: target.port }, cut);
    return await new Promise<Outcome>((resolve) => {
      let forget = (): void => {};
      const settle = (outcome: Outcome): void => {
        forget();
        resolve(outcome);
        stream.close('rst');
      };
      stream.on({
        onData(bytes) {
          for (const frame of frames.push(bytes)) {
            const outcome = listener.read(frame);
            if (outcome === undefined) continue;
            settle(outcome);
            return;
          }
        },
        onEnd: () => settle(failed(`closed the TCP connection ${frames.where}${listener.strangers}`)),
        onDrain() {},
        onClose: (error) =>
          settle(
            failed(`${error === null ? 'closed' : 'reset'} the TCP connection ${frames.where}${listener.strangers}`),
          ),
      });
      forget = cut.onAbort(() => settle(silence(question, timeoutSeconds, 1, listener.strangers)));
      if (cut.aborted) return;
      const { query } = listener;
      stream.write(Uint8Array.from([query.length >> 8, query.length & 0xff, ...query]));
    });
  } catch (error) {
    if (!cut.aborted) return failed(textOf(error));
    return { is: 'timeout', reason: `no TCP connection in ${timeoutSeconds} seconds` };
  }
}

/** Cuts a TCP stream into messages. Holds one message at most, which has 65,535 octets at most. */
class Frames {
  #held: Uint8Array = new Uint8Array();

  push(bytes: Uint8Array): readonly Uint8Array[] {
    let rest = joined([this.#held, bytes]);
    const whole: Uint8Array[] = [];
    for (;;) {
      const [high = 0, low = 0] = rest;
      const end = LENGTH_BYTES + ((high << 8) | low);
      if (rest.length < LENGTH_BYTES || rest.length < end) break;
      whole.push(rest.subarray(LENGTH_BYTES, end));
      rest = rest.subarray(end);
    }
    this.#held = rest;
    return whole;
  }

  get where(): string {
    return this.#held.length === 0 ? 'without an answer' : `after ${this.#held.length} octets of an answer`;
  }
}

function silence(question: Question, seconds: number, times: number, strangers: string): Outcome {
  const asked = times > 1 ? `, asked ${times} times` : '';
  return { is: 'timeout', reason: `no answer to ${printQuestion(question)} in ${seconds} seconds${asked}${strangers}` };
}

function failed(reason: string): Outcome {
  return { is: 'failed', reason };
}

export function canonicalName(name: string): string {
  return name === '.' ? name : name.replace(/\.$/, '').toLowerCase();
}
