// A DNS server that says what a test wants it to say, over UDP and TCP on one port of the loopback; and the octets of answers.

import { createSocket } from 'node:dgram';
import net from 'node:net';

export interface AnswerOptions {
  /** Instead of the query's own. */
  readonly id?: number;
  readonly rcode?: number;
  readonly authoritative?: boolean;
  readonly truncated?: boolean;
  /** RDATA of records of the type that was asked for, each with its owner compressed to the question's name. */
  readonly data?: readonly (readonly number[])[];
  /** Their type, when it is another. */
  readonly type?: number;
  /** The question section; the query's own when absent. */
  readonly question?: Uint8Array;
}

/** The question section of a query. */
export function questionOf(query: Uint8Array): Uint8Array {
  let at = 12;
  while ((query[at] ?? 0) !== 0) at += 1 + (query[at] ?? 0);
  return query.slice(12, at + 5);
}

export function answerTo(query: Uint8Array, options: AnswerOptions = {}): Uint8Array {
  const { rcode = 0, authoritative = false, truncated = false, data = [], question = questionOf(query) } = options;
  const id = options.id ?? ((query[0] ?? 0) << 8) | (query[1] ?? 0);
  const asked = questionOf(query);
  const type = options.type ?? ((asked.at(-4) ?? 0) << 8) | (asked.at(-3) ?? 0);
  const flags = 0x8180 | rcode | (authoritative ? 0x400 : 0) | (truncated ? 0x200 : 0);
  const two = (value: number) => [value >> 8, value & 255];
  const records = data.flatMap((rdata) => [0xc0, 12, ...two(type), 0, 1, 0, 0, 0, 60, ...two(rdata.length), ...rdata]);
  const questions = question.length === 0 ? 0 : 1;
  return Uint8Array.from([...[id, flags, questions, data.length, 0, 0].flatMap(two), ...question, ...records]);
}

/** `www.example.org` as labels. */
export function labels(name: string): number[] {
  const each = name === '.' ? [] : name.split('.');
  return [...each.flatMap((label) => [label.length, ...Buffer.from(label)]), 0];
}

type Over = 'udp' | 'tcp';

/** `reply` answers the messages to send to one query. */
export async function serveDns(
  reply: (query: Uint8Array, over: Over, number: number) => readonly Uint8Array[],
  address = '127.0.0.1',
) {
  const asked = { udp: 0, tcp: 0 };
  const queries: Uint8Array[] = [];
  const tcp = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      queries.push(bytes.subarray(2));
      for (const message of reply(bytes.subarray(2), 'tcp', ++asked.tcp)) {
        socket.write(Uint8Array.from([message.length >> 8, message.length & 255, ...message]));
      }
    });
  });
  await new Promise<void>((resolve) => tcp.listen(0, address, resolve));
  const bound = tcp.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (query, from) => {
    queries.push(query);
    for (const message of reply(query, 'udp', ++asked.udp)) udp.send(message, from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(port, address, resolve));
  return {
    port,
    asked,
    queries,
    async close() {
      await new Promise<void>((resolve) => udp.close(resolve));
      await new Promise<void>((resolve) => {
        tcp.close(() => resolve());
      });
    },
  };
}
