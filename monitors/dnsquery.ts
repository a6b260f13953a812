// DNSQuery: PyBal's DNS monitor. A host name at random, A or AAAA at random, is up when the server answers at all and does not
// call it an error. Options, meaning and words are PyBal's, with two repairs: only the real server is asked, never the
// resolvers of this host, and it is asked again while there is no answer. The monitor DNS can do more.

import type { OptionRow, Poll, Sample, Target, Tools } from 'anybal/monitor';
import { ask, type Outcome, printQuestion } from './lib/dns-exchange.ts';
import { nameComplaint, type Question } from './lib/dns-message.ts';
import { dnsReply } from './lib/samples.ts';

const options = [
  {
    name: 'hostnames',
    kind: 'strings',
    example: "[ 'www.example.org' ]",
    pybal: '1.04',
    doc: 'Names to ask for; one of them, and A or AAAA, chosen at random, per check.',
  },
  {
    name: 'interval',
    kind: 'seconds',
    min: 0.1,
    max: 86_400,
    default: 10,
    pybal: '1.04',
    doc: 'Seconds between checks.',
  },
  {
    name: 'timeout',
    kind: 'seconds',
    min: 0.01,
    max: 3600,
    default: 5,
    pybal: '1.04',
    doc: 'Seconds for the whole check.',
  },
  {
    name: 'fail-on-nxdomain',
    kind: 'bool',
    default: false,
    pybal: '1.04',
    doc: 'Whether the answer that there is no such name means down.',
  },
] as const satisfies readonly OptionRow[];

const TRIES = 3;

export default {
  apiVersion: 1,
  name: 'DNSQuery',
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse(o) {
    const complaints = o.hostnames.map(nameComplaint).filter((why) => why !== null);
    return complaints.map((why) => ({ option: 'hostnames', why }));
  },
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout }),
  create: (o, tools) => ({
    async check(target, cut) {
      const name = o.hostnames[Math.floor(tools.random() * o.hostnames.length)] ?? '.';
      const type = tools.random() < 0.5 ? 'A' : 'AAAA';
      const question = { name, type, recursion: true, ednsSize: 0 } as const;
      const exchange = { question, transport: 'udp', tries: TRIES, timeoutSeconds: o.timeout } as const;
      const start = tools.clock.now();
      const outcome = await ask(tools, target, exchange, cut);
      const reason = reasonOf(outcome, question, o['fail-on-nxdomain'], tools, target);
      const seconds = (tools.clock.now() - start) / 1000;
      const result = reason === null ? 'successful' : 'failed';
      tools.log(
        reason === null ? 'debug' : 'warn',
        target,
        `DNS query ${result} (${printQuestion(question)}), ${seconds.toFixed(3)} s`,
      );
      tools.observe(target, 'request_duration_seconds', seconds, { result });
      return reason === null ? { is: 'up' } : { is: 'down', reason };
    },
  }),
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { options: { hostnames: "[ 'www.example.org' ]" }, datagram: dnsReply };

/** Null when it is up. */
function reasonOf(
  outcome: Outcome,
  question: Question,
  failOnNxdomain: boolean,
  tools: Tools,
  target: Target,
): string | null {
  const query = `query: ${printQuestion(question)}`;
  if (outcome.is === 'timeout') return `DNS query timeout, ${query}`;
  if (outcome.is === 'failed') return `DNS query failed: ${outcome.reason}, ${query}`;
  switch (outcome.message.rcode) {
    case 'NOERROR':
      return null;
    case 'NXDOMAIN':
      tools.log('info', target, `${question.name} NXDOMAIN`);
      return failOnNxdomain ? `DNS query answered NXDOMAIN, ${query}` : null;
    case 'REFUSED':
      return `DNS query refused, ${query}`;
    case 'SERVFAIL':
      return `DNS server error, ${query}`;
    default:
      return `DNS query answered ${outcome.message.rcode}, ${query}`;
  }
}
