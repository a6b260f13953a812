// The options of the monitor HTTP, and what they come to: requests that are ready to be sent, and what is expected of an answer.
// Used by http.ts.

import type { OptionRow, OptionsOf } from 'anybal/monitor';
import { idle, idleLatency } from './doubt.ts';
import { expectDigest, expectJson, expectPattern, expectText, type Expectation, NoExpectation } from './expect.ts';
import type { Field } from './hpack.ts';
import { MAX_REQUEST_BODY_BYTES } from './http2.ts';
import { serverNameComplaint } from './tls.ts';

const days = { kind: 'int', min: 0, max: 3650 } as const;

export const options = [
  {
    name: 'url',
    kind: 'urls',
    schemes: ['http', 'https'],
    example: "[ 'https://www.example.org/health' ]",
    doc: 'What to ask for. The connection goes to the server whatever the URL says; scheme, Host and path come from it. Of several one at random, unless check-all.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86400, default: 10, doc: 'Seconds between checks.' },
  {
    name: 'timeout',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 5,
    doc: 'Seconds for the whole check, from connecting to the last byte, redirects included.',
  },
  { name: 'check-all', kind: 'bool', default: false, doc: 'Ask for all URLs in each check, four at the same time.' },
  {
    name: 'max-failures',
    kind: 'int',
    min: 0,
    default: 0,
    doc: 'With check-all: how many URLs may fail while the server still counts as up.',
  },
  {
    name: 'method',
    kind: 'choice',
    choices: ['GET', 'HEAD', 'POST'],
    default: 'GET',
    doc: 'The method of the request.',
  },
  {
    name: 'request-body',
    kind: 'string',
    example: 'a=b',
    default: null,
    doc: 'With POST: what to send. It is called application/x-www-form-urlencoded unless headers has a Content-Type.',
  },
  {
    name: 'request-bytes',
    kind: 'int',
    min: 1,
    max: MAX_REQUEST_BODY_BYTES,
    default: null,
    example: '15000',
    doc: 'With POST: send so many octets instead of request-body, to see that whole packets get through (docs/path-mtu.md).',
  },
  {
    name: 'headers',
    kind: 'strings',
    default: [],
    example: "[ 'Accept: text/html', 'X-Probe: 1' ]",
    doc: 'Further header fields of the request. One of the same name takes the place of ours.',
  },
  {
    name: 'host',
    kind: 'string',
    example: 'www.example.org',
    default: null,
    doc: 'Host (and :authority) in place of the one in the URL.',
  },
  {
    name: 'status',
    kind: 'string',
    default: '200-299',
    example: '200-299, 301',
    doc: 'Statuses that are up, and ranges of them.',
  },
  {
    name: 'redirects',
    kind: 'int',
    min: 0,
    max: 10,
    default: 0,
    doc: 'How many redirects are followed, if their status is not itself among those that are up. Always to the same server: one to another scheme, host or port (other than that on which the server was asked) is down.',
  },
  { name: 'expect-text', kind: 'string', example: 'OK', default: null, doc: 'A text that must be in the body.' },
  {
    name: 'expect-regex',
    kind: 'string',
    example: '^(OK|ready)',
    default: null,
    doc: 'A regular expression that must match in the body, as JavaScript has them, but without references back and looking around. One that would take long, as `a.{0,50}b` does, can only be had with a small max-body. Begins with (?i), (?m) or (?s) for flags.',
  },
  {
    name: 'expect-json',
    kind: 'strings',
    default: [],
    example: "[ 'status = ok', 'checks[0].up = true' ]",
    doc:
      'Places in a JSON body and the value of each: text, number, true, false or null. A key with a dot or a space in it stands in ' +
      'brackets and double quotes: `["a.b"].up = true`.',
  },
  {
    name: 'expect-sha256',
    kind: 'string',
    example: '2689367b205c16ce32ed4200942b8b8b1e262dfc70d9bc9fbc77c49699a4f1df',
    default: null,
    doc: 'SHA-256 of the whole body, in hexadecimal.',
  },
  {
    name: 'max-body',
    kind: 'int',
    min: 1,
    max: 1_048_576,
    default: 65_536,
    doc: 'Bytes of the body in which something is expected. What comes behind them is not looked at: with expect-json and expect-sha256 a longer body is down.',
  },
  {
    name: 'read-body',
    kind: 'bool',
    default: true,
    doc: 'Read the body to its end (16 MiB at most) even if nothing is expected in it: one that is cut short or too slow is down. Without it the status is enough, and the connection is closed while the server may still be writing, which some of them log as an error.',
  },
  {
    name: 'max-latency',
    kind: 'seconds',
    min: 0.001,
    max: 3600,
    example: '0.5',
    default: null,
    doc: 'An answer that takes longer than this is down, in seconds from connecting to the last byte that is needed.',
  },
  {
    name: 'keep-alive',
    kind: 'bool',
    default: false,
    doc: 'Keep the connection for the next check, which costs both sides less and does not notice when the server accepts nobody new. Otherwise each check has its own.',
  },
  {
    name: 'alpn',
    kind: 'words',
    choices: ['h2', 'http/1.1'],
    default: [],
    example: 'h2 http/1.1',
    doc: 'Versions of HTTP that TLS offers, the best first; none is HTTP/1.1 without saying so. h2 alone: everything else is down, and http:// URLs are asked in HTTP/2 from the first byte on.',
  },
  {
    name: 'proxy-protocol',
    kind: 'choice',
    choices: ['no', 'v1', 'v2'],
    default: 'no',
    doc: 'Send a header of the PROXY protocol first, as one who connects on his own behalf (UNKNOWN, LOCAL).',
  },
  {
    name: 'tls-verify',
    kind: 'bool',
    default: true,
    doc: 'A certificate that nobody trusted has signed, that is out of its time, or for another name is down.',
  },
  {
    name: 'tls-verify-name',
    kind: 'string',
    example: 'real.example.org',
    default: null,
    doc: 'Whom the certificate must be for, where that is neither sni nor the host of the URL.',
  },
  {
    name: 'sni',
    kind: 'string',
    example: 'www.example.org',
    default: null,
    doc: 'The name that TLS asks for, in place of the one in the URL.',
  },
  {
    name: 'tls-ca',
    kind: 'path',
    example: '/etc/ssl/our-ca.pem',
    default: null,
    doc: 'A PEM file of those who are trusted to sign, in place of the ones that the system trusts.',
  },
  {
    name: 'tls-certificate',
    kind: 'path',
    example: '/etc/anybal/director.pem',
    default: null,
    doc: 'A PEM file with a certificate of our own, for servers that ask for one.',
  },
  {
    name: 'tls-key',
    kind: 'path',
    example: '/etc/anybal/director.key',
    default: null,
    doc: 'The PEM file with its key, where that is another one.',
  },
  {
    name: 'certificate-warning-days',
    ...days,
    default: 14,
    doc: "Fewer days before the server's certificate ends are a warning in the log, once a day. Never a failure.",
  },
  {
    name: 'certificate-failure-days',
    ...days,
    example: '3',
    default: null,
    doc: "Fewer days before the server's certificate ends are down.",
  },
] as const satisfies readonly OptionRow[];

export type Options = OptionsOf<typeof options>;
type Refusal = { readonly option: (typeof options)[number]['name']; readonly why: string };

/** What is asked for, and how it is called. */
export interface Question {
  readonly url: URL;
  readonly origin: string;
  readonly secure: boolean;
  /** As configured: the label in metrics and reasons. */
  readonly label: string;
  /** Of metrics. */
  readonly successful: Readonly<Record<string, string>>;
  readonly failed: Readonly<Record<string, string>>;
  readonly method: string;
  readonly body: Uint8Array;
  /** `Host` or `:authority`. */
  readonly authority: string;
  /** In HTTP/1.1, and for HTTP/2 as fields. */
  readonly bytes: Uint8Array;
  readonly fields: readonly Field[];
}

export interface Statuses {
  /** As configured. */
  readonly text: string;
  readonly ranges: readonly (readonly [first: number, last: number])[];
}

const NOTHING = new Uint8Array(0);
const UTF8 = new TextEncoder();
/** RFC 9110 §5.6.2 */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Fields that say how the message is framed or where it goes: they are ours. */
const OURS: readonly string[] = [
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'te',
  'keep-alive',
];

export function readStatuses(text: string): Statuses | null {
  const ranges: [number, number][] = [];
  for (const word of text.split(/[\s,]+/).filter((each) => each !== '')) {
    const [, first, last = first] = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(word) ?? [];
    if (first === undefined || Number(last) < Number(first)) return null;
    ranges.push([Number(first), Number(last)]);
  }
  return ranges.length === 0 ? null : { text, ranges };
}

export function isWanted({ ranges }: Statuses, status: number): boolean {
  for (const [first, last] of ranges) if (status >= first && status <= last) return true;
  return false;
}

/** Throws NoExpectation. */
export function expectationsOf(o: Options): readonly Expectation[] {
  return [
    ...(o['expect-text'] === null ? [] : [expectText(o['expect-text'])]),
    ...(o['expect-regex'] === null ? [] : [expectPattern(o['expect-regex'], o['max-body'])]),
    ...(o['expect-json'].length === 0 ? [] : [expectJson(o['expect-json'])]),
    ...(o['expect-sha256'] === null ? [] : [expectDigest(o['expect-sha256'])]),
  ];
}

export function refuse(o: Options): readonly Refusal[] {
  const found: Refusal[] = [];
  const say = (option: Refusal['option'], why: string) => found.push({ option, why });
  if (readStatuses(o.status) === null) say('status', `“${o.status}” is not a list of statuses such as 200-299, 301`);
  for (const url of o.url) {
    const { username, password } = new URL(url);
    if (username + password !== '')
      say('url', 'a name and password in it are not sent: put Authorization among the headers');
  }
  for (const line of o.headers) {
    const field = readField(line);
    // What stands behind the name may be a password.
    if (field === null) say('headers', `“${line.replace(/:[^]*/, ': …')}” is not of the form Name: value`);
    else if (OURS.includes(field[0]))
      say('headers', `${field[0]} is not for you to set${field[0] === 'host' ? ', use host' : ''}`);
  }
  if (o.headers.join('').length > 8192) say('headers', 'more than 8192 characters');
  const sni = serverNameComplaint(o.sni);
  if (sni !== null) say('sni', sni);
  for (const name of ['host', 'tls-verify-name'] as const) {
    const value = o[name];
    if (value !== null && !/^[\x21-\x7e]{1,255}$/.test(value)) say(name, `“${value}” is not a name`);
  }
  if (o['check-all'] && o['max-failures'] >= o.url.length)
    say('max-failures', `of ${o.url.length} URLs ${o['max-failures']} may fail: a server would never be down`);
  const body = o['request-body'];
  if (body !== null && o.method !== 'POST') say('request-body', `is only sent with POST, not ${o.method}`);
  if (o['request-bytes'] !== null && (body !== null || o.method !== 'POST'))
    say('request-bytes', body === null ? `are only sent with POST, not ${o.method}` : 'and a request-body');
  if (body !== null && UTF8.encode(body).length > MAX_REQUEST_BODY_BYTES)
    say('request-body', `more than ${MAX_REQUEST_BODY_BYTES} bytes`);
  if (o['tls-key'] !== null && o['tls-certificate'] === null) say('tls-key', 'without a tls-certificate');
  for (const name of ['expect-text', 'expect-regex', 'expect-json', 'expect-sha256'] as const) {
    const only = { ...NO_EXPECTATIONS, [name]: o[name] };
    try {
      if (expectationsOf({ ...o, ...only }).length > 0 && o.method === 'HEAD')
        say(name, 'a response to HEAD has no body');
    } catch (error) {
      if (!(error instanceof NoExpectation)) throw error;
      say(name, error.message);
    }
  }
  return found;
}

export function doubt(o: Options): readonly Refusal[] {
  const tls = o.url.some((url) => /^https:/i.test(url));
  return [
    ...idle(!tls, OF_TLS, 'no URL is https://'),
    ...idle(!tls && !o.alpn.includes('h2'), ['alpn'], 'no URL is https://'),
    ...idle(tls && !o['tls-verify'], ['tls-ca', 'tls-verify-name'], 'nothing is verified'),
    ...idle(!o['check-all'] && o['max-failures'] > 0, ['max-failures'], 'only one URL is asked for in each check'),
    ...idleLatency(o),
  ];
}

const OF_TLS = [
  'sni',
  'tls-verify',
  'tls-verify-name',
  'tls-ca',
  'tls-certificate',
  'tls-key',
  'certificate-warning-days',
  'certificate-failure-days',
] as const;

const NO_EXPECTATIONS = {
  'expect-text': null,
  'expect-regex': null,
  'expect-json': [],
  'expect-sha256': null,
} as const;

/** Name in lower case; null: it is no field. */
function readField(line: string): Field | null {
  const colon = line.indexOf(':');
  const name = line.slice(0, colon);
  const value = line.slice(colon + 1).trim();
  return colon > 0 && TOKEN.test(name) && /^[\t\x20-\x7e]*$/.test(value) ? [name.toLowerCase(), value] : null;
}

const OWN_FIELDS: readonly Field[] = [
  ['user-agent', 'anybal'],
  ['accept', '*/*'],
];
const FORM: Field = ['content-type', 'application/x-www-form-urlencoded'];

/** The first request for a URL. */
export function questionOf(o: Options, label: string): Question {
  const filler = new Uint8Array(o['request-bytes'] ?? 0).fill(0x78);
  const body = o['request-body'] === null ? filler : UTF8.encode(o['request-body']);
  return question(o, label, new URL(label), o.method, body);
}

/** What a redirect leads to (RFC 9110 §15.4). */
export function redirected(o: Options, from: Question, status: number, url: URL): Question {
  const again = status === 307 || status === 308 || from.method === 'HEAD';
  return question(o, from.label, url, again ? from.method : 'GET', again ? from.body : NOTHING);
}

function question(o: Options, label: string, url: URL, method: string, body: Uint8Array): Question {
  const authority = o.host ?? url.host;
  const given = o.headers.map(readField).filter((field) => field !== null);
  const own = OWN_FIELDS.filter(([name]) => given.every((field) => field[0] !== name));
  const form = given.some(([name]) => name === 'content-type') ? [] : [FORM];
  const about: readonly Field[] = method === 'POST' ? [...form, ['content-length', String(body.length)]] : [];
  const more = [...own, ...given, ...about];
  const path = url.pathname + url.search;
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${authority}`,
    ...more.map(([name, value]) => `${name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())}: ${value}`),
    `Connection: ${o['keep-alive'] ? 'keep-alive' : 'close'}`,
    '',
    '',
  ];
  const head = UTF8.encode(lines.join('\r\n'));
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  const pseudo: readonly Field[] = [
    [':method', method],
    [':scheme', url.protocol.slice(0, -1)],
    [':authority', authority],
    [':path', path],
  ];
  return {
    url,
    origin: url.origin,
    secure: url.protocol === 'https:',
    label,
    successful: Object.freeze({ result: 'successful', url: label }),
    failed: Object.freeze({ result: 'failed', url: label }),
    method,
    body,
    authority,
    bytes,
    fields: [...pseudo, ...more],
  };
}
