// What servers say on a connection, by protocol: the greeting, and an answer to each request. Octets stand as Latin-1 text, as
// in a monitor's sample. How such an answer gets lost, garbled or late is the server's business (server.ts).

import { answerTo, questionOf } from '../support/dns-answer.ts';
import type { MonitorName } from './topology.ts';

/** A server that is well, or one that says that it is not: HTTP 503, SERVFAIL, 421, NOT_SERVING. */
export interface Condition {
  readonly well: boolean;
  /** Percent of its weight that an agent asks for. */
  readonly share: number;
}

export interface Turn {
  /** How much of what was received it answers. */
  readonly used: number;
  readonly say: string;
  /** The server ends the connection with it. */
  readonly last: boolean;
}

export interface Speaker {
  greeting(condition: Condition): string;
  /** Null: the request is not complete. */
  turn(received: string, condition: Condition): Turn | null;
}

const silentAtFirst = (): string => '';

/** HTTP, an agent's protocol and DNS over TCP: the client speaks first, and its first octets tell them apart. */
const clientFirst: Speaker = {
  greeting: silentAtFirst,
  turn(received, { well, share }) {
    // RFC 1035 §4.2.2: a query over TCP begins with its length.
    if (received.startsWith('\0')) return dnsTurn(received, well);
    const used = received.indexOf('\r\n\r\n') + 4;
    if (used < 4) return null;
    if (received.startsWith('agent ')) return { used, say: well ? `up ${share}%\n` : 'fail # broken\n', last: true };
    const say = well
      ? 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n'
      : 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
    return { used, say, last: !/^connection: keep-alive\r$/im.test(received.slice(0, used)) };
  },
};

function dnsTurn(received: string, well: boolean): Turn | null {
  const bytes = octets(received);
  const length = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  if (bytes.length < 2 + length) return null;
  const reply = dnsReply(bytes.subarray(2, 2 + length), well);
  return { used: 2 + length, say: text(Uint8Array.of(reply.length >> 8, reply.length & 255, ...reply)), last: false };
}

/** RFC 5321, as far as a monitor goes; STARTTLS is offered to all. */
const smtp: Speaker = {
  greeting: ({ well }) => (well ? '220 mail.example ESMTP\r\n' : '421 4.3.2 Service not available\r\n'),
  turn(received, { well }) {
    const end = received.indexOf('\r\n');
    if (end < 0) return null;
    const verb = received.slice(0, end).split(' ', 1)[0]?.toUpperCase();
    const turn = (say: string, last = false): Turn => ({ used: end + 2, say, last });
    if (verb === 'QUIT') return turn('221 2.0.0 Bye\r\n', true);
    if (!well) return turn('421 4.3.2 Service not available\r\n', true);
    if (verb === 'EHLO') return turn('250-mail.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n');
    return turn(verb === 'STARTTLS' ? '220 2.0.0 Ready to start TLS\r\n' : '502 5.5.2 Command not recognized\r\n');
  },
};

/** RFC 4253 §4.2; OpenSSH's words when it has too many guests. */
const ssh: Speaker = {
  greeting: ({ well }) => (well ? 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n' : 'Exceeded MaxStartups\r\n'),
  turn: () => null,
};

// HTTP/2 (RFC 9113 §4.1, §6).
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const FRAME_HEADER = 9;
const DATA = 0;
const HEADERS = 1;
const SETTINGS = 4;
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;

function frame(type: number, flags: number, stream: number, payload: string): string {
  return text(Uint8Array.of(0, payload.length >> 8, payload.length & 255, type, flags, 0, 0, 0, stream)) + payload;
}

/** HPACK (RFC 7541 §5.2): a string that is not Huffman's. */
const literal = (value: string): string => String.fromCharCode(value.length) + value;

/** The standard health service: SERVING is 1, NOT_SERVING 2. */
const grpc: Speaker = {
  greeting: silentAtFirst,
  turn(received, { well }) {
    if (!received.startsWith(PREFACE)) return null;
    const bytes = octets(received);
    for (let at = PREFACE.length; at + FRAME_HEADER <= bytes.length; ) {
      const length = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
      const whole = at + FRAME_HEADER + length <= bytes.length;
      if (whole && bytes[at + 3] === DATA) return { used: received.length, say: healthAnswer(well), last: false };
      at += FRAME_HEADER + length;
    }
    return null;
  },
};

function healthAnswer(well: boolean): string {
  const status = String.fromCharCode(well ? 1 : 2);
  return [
    frame(SETTINGS, 0, 0, ''),
    frame(SETTINGS, ACK, 0, ''),
    frame(HEADERS, END_HEADERS, 1, `\x88\x5f${literal('application/grpc')}`),
    frame(DATA, 0, 1, `\0\0\0\0\x02\x08${status}`),
    frame(HEADERS, END_HEADERS | END_STREAM, 1, `\0${literal('grpc-status')}${literal('0')}`),
  ].join('');
}

/** What listens on the port of a service that is checked by these. */
export function speakerFor(monitors: readonly MonitorName[]): Speaker {
  if (monitors.includes('SMTP')) return smtp;
  if (monitors.includes('SSH')) return ssh;
  return monitors.includes('GRPC') ? grpc : clientFirst;
}

const TYPE_A = 1;
const ADDRESS = { data: [[192, 0, 2, 80]] } as const;
const SERVFAIL = { rcode: 2 } as const;

export function dnsReply(query: Uint8Array, well: boolean): Uint8Array {
  return answerTo(query, !well ? SERVFAIL : typeOf(query) === TYPE_A ? ADDRESS : {});
}

/** Behind the name of the question. */
function typeOf(query: Uint8Array): number {
  const question = questionOf(query);
  return ((question.at(-4) ?? 0) << 8) | (question.at(-3) ?? 0);
}

export function octets(latin1: string): Uint8Array {
  return Uint8Array.from(latin1, (character) => character.charCodeAt(0));
}

export function text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
