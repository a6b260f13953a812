// GRPC: the standard health service (grpc.health.v1, method Check), in the clear (HTTP/2 with prior knowledge) or over TLS. A new
// connection for each check, so that a server which takes no more of them is noticed.

import type { Cut, Health, OptionRow, OptionsOf, Poll, Sample, Stream, Target, Tools } from 'anybal/monitor';
import { Connection } from './lib/http-connection.ts';
import type { ResponseReader } from './lib/response.ts';
import { grpcSays } from './lib/samples.ts';
import { endpoint, noConnection, printable } from './lib/text.ts';
import { doubtTls, refuseTls, TLS_ROWS, tlsOptions } from './lib/tls.ts';

const PATH = '/grpc.health.v1.Health/Check';
/** The answer that is expected has seven octets. */
const MAX_BODY_BYTES = 4096;
const READING = {
  until: 'body',
  keepBytes: MAX_BODY_BYTES,
  maxBodyBytes: MAX_BODY_BYTES,
  fields: true,
  toHead: false,
  skipInterim: true,
} as const;
const SERVING = 1;
/** HealthCheckResponse.ServingStatus. */
const STATUSES: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
/** grpc-status, by number. */
const CODES: readonly string[] = (
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED ' +
  'FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED'
).split(' ');

const options = [
  {
    name: 'service',
    kind: 'string',
    default: '',
    example: 'shop.Cart',
    doc: 'Whose health to ask for, by the name that the server registered. Empty: of the server as a whole.',
  },
  {
    name: 'authority',
    kind: 'string',
    default: null,
    example: 'cart.example.org',
    doc: 'What stands for Host (:authority). Without it, tls-servername, or else the address and port.',
  },
  { name: 'tls', kind: 'bool', default: false, doc: 'Over TLS, with h2 agreed on by ALPN; otherwise in the clear.' },
  ...TLS_ROWS,
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86400, default: 10, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.01, max: 3600, default: 5, doc: 'Seconds for the whole check.' },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

export default {
  apiVersion: 1,
  name: 'GRPC',
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse: (o) => [
    ...(new TextEncoder().encode(o.service).length > 1000 ? [{ option: 'service' as const, why: 'is too long' }] : []),
    ...(o.authority !== null && !/^[\x21-\x7e]{1,255}$/.test(o.authority)
      ? [{ option: 'authority' as const, why: 'is no host name' }]
      : []),
    ...refuseTls(o),
  ],
  doubt: (o) => doubtTls(o, o.tls),
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => ({
    async check(target, cut) {
      const stream = await connect(o, tools, target, cut);
      if (typeof stream === 'string') return { is: 'down', reason: stream };
      const connection = new Connection('', stream, true);
      try {
        const failure = await connection.ask(question(o, target), READING, cut);
        const { response } = connection;
        if (cut.aborted) {
          return { is: 'down', reason: `no whole answer in ${o.timeout} seconds (${response?.progress ?? ''})` };
        }
        if (failure !== null || response === null) return { is: 'down', reason: failure ?? 'no answer' };
        return judged(o.service, response);
      } finally {
        connection.close();
      }
    },
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { stream: grpcSays };

/** The connection, or why there is none that speaks HTTP/2. */
async function connect(o: Options, tools: Tools, { address, port }: Target, cut: Cut): Promise<Stream | string> {
  const tls = o.tls ? await tlsOptions(o, tools, cut, ['h2']) : null;
  try {
    const stream = await tools.connect({ address, port, ...(tls === null ? {} : { tls }) }, cut);
    if (tls === null || stream.tls?.alpn === 'h2') return stream;
    stream.close('rst');
    return 'the server does not speak HTTP/2 over TLS (ALPN)';
  } catch (error) {
    return noConnection(error, cut, o.timeout, o.tls);
  }
}

function question(o: Options, target: Target) {
  return {
    fields: [
      [':method', 'POST'],
      [':scheme', o.tls ? 'https' : 'http'],
      [':path', PATH],
      [':authority', o.authority ?? o['tls-servername'] ?? endpoint(target)],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
      // At most eight digits.
      ['grpc-timeout', `${Math.max(1, Math.round(o.timeout * 1000))}m`],
      ['user-agent', 'anybal'],
    ] as const,
    body: framed(encodeRequest(o.service)),
    bytes: new Uint8Array(0),
  };
}

/** A message in gRPC's frame: not compressed, its length, itself. */
function framed(message: Uint8Array): Uint8Array {
  return Uint8Array.of(0, 0, 0, message.length >> 8, message.length & 0xff, ...message);
}

/** HealthCheckRequest: field 1, the service's name, left out when it is empty. */
function encodeRequest(service: string): Uint8Array {
  const name = new TextEncoder().encode(service);
  if (name.length === 0) return name;
  const length = name.length < 128 ? [name.length] : [(name.length & 0x7f) | 0x80, name.length >> 7];
  return Uint8Array.of(0x0a, ...length, ...name);
}

function judged(service: string, response: ResponseReader): Health {
  const name = service === '' ? 'the server' : printable(service);
  if (response.status !== 200)
    return { is: 'down', reason: `HTTP status ${response.line} instead of an answer of gRPC's` };
  const type = response.header('content-type')[0] ?? '';
  if (!type.startsWith('application/grpc')) {
    return { is: 'down', reason: `no answer of gRPC's: content-type is "${printable(type)}"` };
  }
  if (response.bodyBytes > MAX_BODY_BYTES)
    return { is: 'down', reason: `the answer is longer than ${MAX_BODY_BYTES} bytes` };
  const code = response.header('grpc-status').at(-1);
  if (code === undefined) return { is: 'down', reason: 'the answer has no grpc-status' };
  if (code !== '0') return { is: 'down', reason: refusal(name, code, response.header('grpc-message').at(-1) ?? '') };
  const status = decodeResponse(response.body());
  if (status === SERVING) return { is: 'up', detail: 'SERVING' };
  return {
    is: 'down',
    reason: status === null ? 'the answer is no HealthCheckResponse' : `${name} is ${nameOf(status)}`,
  };
}

function nameOf(status: number): string {
  return STATUSES[status] ?? `of status ${status}`;
}

function refusal(name: string, code: string, message: string): string {
  const status = /^\d{1,2}$/.test(code) ? (CODES[Number(code)] ?? code) : printable(code, 20);
  const said = message === '' ? '' : ` (${printable(unescaped(message))})`;
  if (status === 'NOT_FOUND') return `the server knows nothing of ${name}: NOT_FOUND${said}`;
  if (status === 'UNIMPLEMENTED') return `the server has no health service: UNIMPLEMENTED${said}`;
  return `${status}${said}`;
}

/** grpc-message has octets that are not printable as %XX. */
function unescaped(message: string): string {
  return message
    .slice(0, 1000)
    .replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/**
 * The status in one framed HealthCheckResponse (field 1, a varint; 0 when it is left out). Null: it is something else. Fields
 * that are not known are skipped, as protobuf wants it.
 */
export function decodeResponse(body: Uint8Array): number | null {
  const [compressed, a = 0, b = 0, c = 0, d = 0] = body;
  if (compressed !== 0 || ((a << 24) | (b << 16) | (c << 8) | d) !== body.length - 5) return null;
  let status = 0;
  let at = 5;
  const varint = (): number | null => {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const octet = body[at++];
      if (octet === undefined) return null;
      value += (octet & 0x7f) * 2 ** (7 * i);
      if (octet < 0x80) return value;
    }
    return null;
  };
  while (at < body.length) {
    const tag = varint();
    if (tag === null) return null;
    const [field, wire] = [Math.floor(tag / 8), tag % 8];
    if (wire === 0) {
      const value = varint();
      if (value === null) return null;
      if (field === 1) status = value;
    } else if (wire === 1 || wire === 5) {
      at += wire === 1 ? 8 : 4;
    } else if (wire === 2) {
      const length = varint();
      if (length === null) return null;
      at += length;
    } else {
      return null;
    }
    if (at > body.length) return null;
  }
  return status;
}
