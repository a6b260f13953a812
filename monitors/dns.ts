// DNS: ask the real server one question, and nobody else, and compare the answer. Over UDP, asked again while there is no
// answer, and over TCP when the answer was cut short; or over TCP alone.

import type { OptionRow, OptionsOf, Poll, Sample } from 'anybal/monitor';
import { ask, canonicalName, printQuestion } from './lib/dns-exchange.ts';
import {
  canonicalData,
  dataComplaint,
  type Message,
  nameComplaint,
  RCODES,
  type TypeName,
  TYPES,
} from './lib/dns-message.ts';
import { idle } from './lib/doubt.ts';
import { dnsReply } from './lib/samples.ts';
import { printable } from './lib/text.ts';

const options = [
  {
    name: 'name',
    kind: 'string',
    example: 'www.example.org',
    doc: 'Whom to ask for. A dot alone is the root.',
  },
  { name: 'type', kind: 'choice', choices: Object.keys(TYPES), default: 'A', doc: 'Type of the records to ask for.' },
  {
    name: 'rcode',
    kind: 'words',
    choices: RCODES,
    default: ['NOERROR'],
    doc: 'Which response codes are up.',
  },
  {
    name: 'answers',
    kind: 'strings',
    default: [],
    example: "[ '192.0.2.1', '192.0.2.2' ]",
    doc:
      "Records of this type that must be in the answer, as in a zone file: '10 mx1.example.org'. Others may be there too. " +
      "NAPTR, DS, DNSKEY and HTTPS are written octet by octet: '\\\\# 4 c0000201' (RFC 3597).",
  },
  {
    name: 'min-answers',
    kind: 'int',
    min: 0,
    max: 500,
    default: 1,
    doc: 'How many records of this type there must be at least when the response code is NOERROR.',
  },
  {
    name: 'authoritative',
    kind: 'bool',
    default: false,
    doc: 'The answer must be authoritative (AA): not from a cache, and from a zone that did not expire.',
  },
  {
    name: 'recursion',
    kind: 'bool',
    default: true,
    doc: 'Ask the server to find out what it does not know (RD). No is right for servers that are authoritative only.',
  },
  {
    name: 'transport',
    kind: 'choice',
    choices: ['udp', 'tcp'],
    default: 'udp',
    doc: 'udp asks over TCP too when the answer was cut short. tcp asks over TCP only.',
  },
  {
    name: 'tries',
    kind: 'int',
    min: 1,
    max: 20,
    default: 3,
    doc: 'How often to ask over UDP while there is no answer, spread evenly over the timeout.',
  },
  {
    name: 'edns-size',
    kind: 'int',
    min: 0,
    max: 65_535,
    default: 1232,
    doc: 'Longest answer over UDP that we offer to take (EDNS). 0: ask without EDNS, as an old client would.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86_400, default: 10, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.01, max: 3600, default: 5, doc: 'Seconds for the whole check.' },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

const MOST_QUOTED = 200;

export default {
  apiVersion: 1,
  name: 'DNS',
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse(o) {
    const name = nameComplaint(o.name);
    const answers = o.answers.map((text) => dataComplaint(o.type as TypeName, text)).filter((why) => why !== null);
    return [
      ...(name === null ? [] : [{ option: 'name' as const, why: name }]),
      ...answers.map((why) => ({ option: 'answers' as const, why })),
    ];
  },
  doubt: (o) => [
    ...idle(!o.rcode.includes('NOERROR'), ['answers', 'min-answers'], 'they are looked at with NOERROR only'),
    ...idle(o.transport === 'tcp', ['tries'], 'over TCP it is asked once'),
  ],
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => {
    const type = o.type as TypeName;
    const exchange = {
      question: { name: o.name, type, recursion: o.recursion, ednsSize: o['edns-size'] },
      transport: o.transport === 'tcp' ? 'tcp' : 'udp',
      tries: o.tries,
      timeoutSeconds: o.timeout,
    } as const;
    const wanted = o.answers.map((text) => canonicalData(type, text));
    return {
      async check(target, cut) {
        const start = tools.clock.now();
        const outcome = await ask(tools, target, exchange, cut);
        const reason = outcome.is === 'answer' ? complaintOf(outcome.message, o, wanted) : outcome.reason;
        const seconds = (tools.clock.now() - start) / 1000;
        tools.observe(target, 'request_duration_seconds', seconds, {
          result: reason === null ? 'successful' : 'failed',
        });
        if (reason !== null) return { is: 'down', reason };
        return { is: 'up', detail: outcome.is === 'answer' ? summary(outcome.message, o.name, type) : '' };
      },
    };
  },
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { options: { name: 'www.example.org' }, datagram: dnsReply };

/** What is wrong with the answer, or null. */
function complaintOf(message: Message, o: Options, wanted: readonly string[]): string | null {
  const question = printQuestion({ name: o.name, type: o.type as TypeName });
  if (!o.rcode.includes(message.rcode)) return `answered ${message.rcode} to ${question}, not ${o.rcode.join(' or ')}`;
  if (o.authoritative && !message.authoritative) return `the answer to ${question} is not authoritative`;
  if (message.rcode !== 'NOERROR') return null;
  const found = dataOf(message, o.name, o.type);
  if (found.length < o['min-answers']) {
    const records = found.length === 1 ? '1 record' : `${found.length} records`;
    return `answered ${records} to ${question}, not ${o['min-answers']} or more${quoted(found)}`;
  }
  const missing = wanted.filter((data) => !found.includes(data));
  return missing.length === 0 ? null : `the answer to ${question} lacks ${missing.join(', ')}${quoted(found)}`;
}

/** Records of the name, or of the one that its aliases lead to (RFC 1034 §4.3.2); others are no answer. */
function dataOf({ answers }: Message, asked: string, type: string): readonly string[] {
  const names = new Set([canonicalName(asked)]);
  for (const name of names) {
    const alias = answers.find((record) => record.type === 'CNAME' && record.name === name);
    if (alias !== undefined && type !== 'CNAME' && type !== 'ANY') names.add(alias.data);
  }
  const isAnswer = (record: Message['answers'][number]) =>
    names.has(record.name) && (type === 'ANY' || record.type === type);
  return answers.flatMap((record) => (isAnswer(record) ? record.data : []));
}

function summary(message: Message, asked: string, type: string): string {
  const found = dataOf(message, asked, type);
  return `${message.rcode}${quoted(found)}`;
}

function quoted(found: readonly string[]): string {
  if (found.length === 0) return '';
  const text = found.join(', ');
  return `: ${printable(text, MOST_QUOTED)}${text.length > MOST_QUOTED ? '…' : ''}`;
}
