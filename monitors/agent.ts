// Agent: ask a program on the real server how it is, in the words of HAProxy's agent-check, over TCP or HTTP. It may take
// itself out (down, maint), let its connections end (drain), and say how much of its weight it wants (75%).

import type { Cut, Health, OptionRow, OptionsOf, Poll, Sample, Target, Template, Tools } from 'anybal/monitor';
import { jsonText, parseObject } from './lib/json.ts';
import { linesOf } from './lib/lines.ts';
import { endpoint, keyOf, noConnection, printable, quote, textOf } from './lib/text.ts';

const MAX_LINE_BYTES = 1024;
const MAX_BODY_BYTES = 16 * 1024;
/** The cut ends a request that takes too long. This comes so late that a loop which stood still has the cut first, too. */
const AFTER_THE_CUT_MS = 60_000;
/** HAProxy's limit. */
const MAX_PERCENT = 25_600;

const options = [
  {
    name: 'port',
    kind: 'port',
    default: null,
    example: '9999',
    doc: 'Port on which the agent listens on the real server. Without it, the port that the server has in the service.',
  },
  {
    name: 'send',
    kind: 'template',
    default: [''],
    example: "[ 'lb ', server.host, '\\n' ]",
    doc: 'What is sent first: strings, and attributes of the server such as server.host.',
  },
  {
    name: 'url',
    kind: 'url',
    schemes: ['http', 'https'],
    default: null,
    example: 'http://agent.example.org/state',
    doc:
      'Ask with HTTP instead. The request goes to the real server and `port`; the URL gives scheme, Host and path. The answer ' +
      'is one line as over TCP, or JSON: {"state": "drain", "weight": "50%", "reason": "deploying"}.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86400, default: 5, doc: 'Seconds between checks.' },
  { name: 'timeout', kind: 'seconds', min: 0.01, max: 3600, default: 3, doc: 'Seconds for the whole check.' },
  {
    name: 'unreachable',
    kind: 'choice',
    choices: ['down', 'unchanged'],
    default: 'down',
    doc:
      'What it means when the agent cannot be asked or understood. `unchanged` is what HAProxy does: what the agent said last ' +
      'stands, and another monitor has to notice that the server is gone. Until it was heard once, ' +
      'nothing is known of the server.',
  },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;
type Attribute = Exclude<Template[number], string>['server'];

/** What an agent has said so far. It only says what changes, and only it can take back what it said. */
interface Said {
  readonly admin: 'ready' | 'drain' | 'maint';
  /** Why it is down; null: it is up. */
  readonly down: string | null;
  readonly percent: number;
  /** In the place of the pool list's weight. */
  readonly weight: number | null;
  readonly reason: string;
}

const NOTHING: Said = { admin: 'ready', down: null, percent: 100, weight: null, reason: '' };

export default {
  apiVersion: 1,
  name: 'Agent',
  viaPath: () => false,
  kind: 'poll',
  options,
  refuse(o) {
    if (o.url === null) return [];
    const { username, password } = new URL(o.url);
    return [
      ...(fill(o.send, null) === ''
        ? []
        : [{ option: 'send', why: 'is sent over TCP only, and there is a url' } as const]),
      ...(username + password === ''
        ? []
        : [{ option: 'url', why: 'a name and password in it are not sent' } as const]),
    ];
  },
  // With `unchanged` the check ends by itself, in time.
  timing: (o) => ({
    intervalSeconds: o.interval,
    timeoutSeconds: o.unreachable === 'down' ? o.timeout : o.timeout + 1,
  }),
  create: (o, tools) => {
    const known = new Map<string, Said>();
    return {
      async check(target, cut) {
        const key = keyOf(target);
        const heard = known.get(key);
        const before = heard ?? NOTHING;
        const said = o.unreachable === 'down' ? await ask(o, tools, target, before, cut) : await patiently();
        if (typeof said === 'string') {
          if (o.unreachable === 'down') return { is: 'down', reason: said };
          if (heard === undefined) return { is: 'unknown', reason: `the agent was never heard: ${said}` };
          tools.log('debug', target, `The agent is not heard (${said}): what it said before stands`);
          return healthOf(before, `not heard: ${said}`);
        }
        known.set(key, said);
        tools.observe(target, 'weight_percent', said.admin === 'ready' ? said.percent : 0);
        return healthOf(said, '');

        async function patiently(): Promise<Said | string> {
          const part = tools.deadline(cut, o.timeout * 1000);
          try {
            return await ask(o, tools, target, before, part.cut);
          } finally {
            part.release();
          }
        }
      },
      forget: (target) => void known.delete(keyOf(target)),
    };
  },
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { stream: () => 'up 75%\n' };

/** What it has said including this time, or why this time it said nothing. */
async function ask(o: Options, tools: Tools, target: Target, before: Said, cut: Cut): Promise<Said | string> {
  try {
    return o.url === null
      ? learn(before, await line(o, tools, target, cut))
      : await document(o.url, o, tools, target, before, cut);
  } catch (error) {
    return textOf(error);
  }
}

async function line(o: Options, tools: Tools, target: Target, cut: Cut): Promise<string> {
  const at = { address: target.address, port: o.port ?? target.port };
  const stream = await tools.connect(at, cut).catch((error: unknown) => {
    throw new Error(noConnection(error, cut, o.timeout));
  });
  try {
    // HAProxy's agents may end their line by CR or LF, or by closing the connection.
    const lines = linesOf(stream, cut, MAX_LINE_BYTES, true);
    const request = fill(o.send, target);
    if (request !== '') stream.write(new TextEncoder().encode(request));
    return await lines.next();
  } finally {
    stream.close('rst');
  }
}

/** Without a target, with the attributes' names. */
function fill(template: Template, target: Target | null): string {
  const part = (name: Attribute) => (name === 'ip' ? target?.address : target?.[name]) ?? name;
  return template.map((text) => (typeof text === 'string' ? text : String(part(text.server)))).join('');
}

async function document(text: string, o: Options, tools: Tools, target: Target, before: Said, cut: Cut) {
  const url = new URL(text);
  const at = endpoint({ address: target.address, port: o.port ?? target.port });
  const request = {
    url: `${url.protocol}//${at}${url.pathname}${url.search}`,
    headers: { host: url.host, accept: 'application/json, text/plain' },
    timeoutMs: o.timeout * 1000 + AFTER_THE_CUT_MS,
    maxBytes: MAX_BODY_BYTES,
  };
  const { status, body } = await tools.fetch(request, cut).catch((error: unknown) => {
    throw cut.aborted ? new Error(`no whole answer in ${o.timeout} seconds`) : error;
  });
  const answer = new TextDecoder().decode(body).trim();
  const said = answer.startsWith('{') ? learnJson(answer) : learn(before, answer.split(/[\r\n]/, 1)[0] ?? '');
  if (status >= 200 && status < 300) return said;
  if (typeof said === 'string') return `HTTP status ${status}, and ${said}`;
  // A page that tells people of an error may have any word in it: it can take a server out, and is no reason to send it anything.
  const { is } = healthOf(said, '');
  return is === 'up' && said.admin === 'ready' ? `HTTP status ${status}, though the agent says ${quote(answer)}` : said;
}

/**
 * One line of HAProxy's: words in any order and case, separated by blanks or commas, `#` and all that follows is for people.
 * Words that nobody knows are skipped, as long as there is one that is known.
 */
export function learn(before: Said, text: string): Said | string {
  const [, commands = '', comment = ''] = /^([^#]*)#?(.*)$/s.exec(text) ?? [];
  const reason = printable(comment.trim());
  let said: Said = { ...before, reason };
  let understood = false;
  for (const word of commands.toLowerCase().split(/[\s,]+/)) {
    const next = learnWord(said, word, reason);
    understood ||= next !== null;
    said = next ?? said;
  }
  return understood ? said : `the agent says ${quote(text)}, which has no word of an agent's`;
}

/** Null: no such word. */
function learnWord(said: Said, word: string, reason: string): Said | null {
  switch (word) {
    case 'up':
      return { ...said, down: null };
    case 'down':
    case 'fail':
    case 'stopped':
      return { ...said, down: reason === '' ? word : `${word}: ${reason}` };
    case 'ready':
    case 'drain':
    case 'maint':
      return { ...said, admin: word };
    case 'draining':
      return { ...said, admin: 'drain' };
    case 'maintenance':
      return { ...said, admin: 'maint' };
    default:
      if (word.startsWith('maxconn:')) return said;
      return /^\d{1,9}%$/.test(word) ? { ...said, percent: Math.min(Number.parseInt(word, 10), MAX_PERCENT) } : null;
  }
}

/** A document says all there is to say: nothing of earlier ones stands. */
export function learnJson(text: string): Said | string {
  const parsed = parseObject(text);
  if (parsed === null) return `the agent's answer is no JSON object: ${quote(text)}`;
  const { state = parsed.status, weight, reason: why = parsed.message } = parsed;
  const reason = typeof why === 'string' ? printable(why) : '';
  if (typeof state !== 'string') return `the agent's answer has no state: ${quote(text)}`;
  const said = learnWord({ ...NOTHING, reason }, state.toLowerCase(), reason);
  if (said === null || /%|:/.test(state)) return `the agent's state is ${quote(state)}, which is none of an agent's`;
  if (weight === undefined || weight === null) return said;
  if (typeof weight === 'number' && Number.isFinite(weight) && weight >= 0) return { ...said, weight };
  const weighed = typeof weight === 'string' ? learnWord(said, weight, reason) : null;
  if (weighed === null || typeof weight !== 'string' || !weight.endsWith('%')) {
    return `the agent's weight is ${quote(jsonText(weight))}, neither a number nor a percentage`;
  }
  return weighed;
}

export function healthOf({ admin, down, percent, weight, reason }: Said, note: string): Health {
  if (admin === 'maint') return { is: 'down', reason: `the agent says maint${reason === '' ? '' : `: ${reason}`}` };
  if (down !== null) return { is: 'down', reason: `the agent says ${down}` };
  const words = [
    ...(admin === 'drain' ? ['drain'] : []),
    ...(percent === 100 ? [] : [`${percent}%`]),
    ...(weight === null ? [] : [`weight ${weight}`]),
    ...(reason === '' ? [] : [`# ${reason}`]),
    ...(note === '' ? [] : [`(${note})`]),
  ];
  return {
    is: 'up',
    ...(words.length === 0 ? {} : { detail: words.join(' ') }),
    ...(percent === 100 ? {} : { percent }),
    ...(weight === null ? {} : { weight }),
    ...(admin === 'drain' ? { drain: true } : {}),
  };
}
