// File: one document says how many servers are: a cluster's membership, or what a deployment writes. It is a file or comes from a
// URL, and is read once per interval for all servers, or as often as one of them is asked. One that is missing, stale or garbled says
// nothing of anybody.

import type { Cut, Health, OptionRow, OptionsOf, Poll, Sample, Target, Tools } from 'anybal/monitor';
import { type Feed, readFeed } from './lib/feed.ts';
import { keyOf, textOf } from './lib/text.ts';

const MAX_BYTES = 4 << 20;
/** The cut ends a request that takes too long. This comes so late that a loop which stood still has the cut first, too. */
const AFTER_THE_CUT_MS = 60_000;
/** A clock that is ahead of ours by no more than this is right. */
const AHEAD_MS = 60_000;

const options = [
  {
    name: 'path',
    kind: 'path',
    default: null,
    example: '/run/cluster/members',
    doc:
      'The document: lines such as `cp1 up`, `cp2 up 50%`, `cp3 drain`, `cp4 down disk full`, `cp5 unknown`, by name or address, ' +
      'or JSON: {"time": 1790000000, "servers": {"cp1": "up", "cp2": {"state": "up", "weight": 5, "reason": ""}}}.',
  },
  {
    name: 'url',
    kind: 'url',
    schemes: ['http', 'https'],
    default: null,
    example: 'https://cluster.example.org/members',
    doc: 'Where the document is, instead of path. https is verified.',
  },
  {
    name: 'max-age',
    kind: 'seconds',
    min: 1,
    max: 31_536_000,
    default: null,
    example: '300',
    doc:
      'An older document says nothing. Its age is what it says itself, by `time` or a line `@1790000000` or ' +
      "`@2026-11-21T08:00:00Z`, or else the file's time. Not set: a document is never too old.",
  },
  {
    name: 'absent',
    kind: 'choice',
    choices: ['unknown', 'down', 'up'],
    default: 'unknown',
    doc: 'What a server is that the document does not name.',
  },
  { name: 'interval', kind: 'seconds', min: 0.1, max: 86400, default: 5, doc: 'Seconds between two readings.' },
  { name: 'timeout', kind: 'seconds', min: 0.1, max: 3600, default: 5, doc: 'Seconds for one reading.' },
] as const satisfies readonly OptionRow[];

type Options = OptionsOf<typeof options>;

/** A document under way or read, for all who ask in the meantime. */
interface Reading {
  readonly at: number;
  /** Of the check that reads it. */
  readonly cut: Cut;
  readonly feed: Promise<Feed | string>;
  /** The servers that it was told of: one that comes again, sooner than usual, is to hear something newer. */
  readonly told: Set<string>;
}

export default {
  apiVersion: 1,
  name: 'File',
  viaPath: () => false,
  kind: 'poll',
  asks: 'endpoint',
  options,
  refuse: (o) => {
    if ((o.path === null) !== (o.url === null)) {
      const { username, password } = new URL(o.url ?? 'file:///');
      return username + password === '' ? [] : [{ option: 'url', why: 'a name and password in it are not sent' }];
    }
    return [{ option: 'path', why: o.path === null ? 'and url are missing: one is needed' : 'and url are both there' }];
  },
  // A reading ends by itself, in time: that it does not come says nothing about a server.
  timing: (o) => ({ intervalSeconds: o.interval, timeoutSeconds: o.timeout + 1 }),
  create: (o, tools) => {
    let last: Reading | null = null;

    /** Checks are spread over the interval; whoever comes first after it, or for the second time, reads. */
    async function current(target: Target, cut: Cut): Promise<Feed | string> {
      const server = keyOf(target);
      for (;;) {
        const now = tools.clock.now();
        if (last === null || now - last.at >= o.interval * 950 || last.told.has(server))
          last = { at: now, cut, feed: read(o, tools, cut), told: new Set() };
        const reading: Reading = last;
        reading.told.add(server);
        const feed = await reading.feed;
        // Who read it was stopped in the middle: somebody else has to.
        if (!reading.cut.aborted || cut.aborted || typeof feed !== 'string') return feed;
        if (last === reading) last = null;
      }
    }

    return {
      async check(target, cut) {
        const feed = await current(target, cut);
        const where = o.path ?? o.url ?? '';
        if (typeof feed === 'string') return { is: 'unknown', reason: `${where}: ${feed}` };
        return (
          feed.servers.get(target.host.toLowerCase()) ?? feed.servers.get(target.address) ?? absent(o, target, where)
        );
      },
    };
  },
} satisfies Poll<typeof options>;

/** How a healthy server answers: for `anybal monitor test`. */
export const sample: Sample = { options: { path: '/run/members' }, files: { '/run/members': 'cp1.example.org up\n' } };

function absent(o: Options, { host }: Target, where: string): Health {
  if (o.absent === 'up') return { is: 'up' };
  return { is: o.absent === 'down' ? 'down' : 'unknown', reason: `${host} is not in ${where}` };
}

/** The document, or why there is none that counts. Never rejects. */
async function read(o: Options, tools: Tools, cut: Cut): Promise<Feed | string> {
  const part = tools.deadline(cut, o.timeout * 1000);
  try {
    const { bytes, writtenAt } = await (o.url === null
      ? fromFile(o.path ?? '', tools, part.cut)
      : fromUrl(o.url, o, tools, part.cut));
    const feed = readFeed(bytes);
    if (typeof feed === 'string' || o['max-age'] === null) return feed;
    return staleness(feed.time ?? writtenAt, o['max-age'], tools.clock.wall()) ?? feed;
  } catch (error) {
    if (part.cut.aborted) return `not read in ${o.timeout} seconds`;
    return textOf(error);
  } finally {
    part.release();
  }
}

interface Document {
  readonly bytes: Uint8Array;
  /** Unix ms; null: nobody knows. */
  readonly writtenAt: number | null;
}

async function fromFile(path: string, tools: Tools, cut: Cut): Promise<Document> {
  const { mtimeMs } = await tools.stat(path, cut);
  return { bytes: await tools.read(path, MAX_BYTES, cut), writtenAt: mtimeMs };
}

async function fromUrl(url: string, o: Options, tools: Tools, cut: Cut): Promise<Document> {
  const request = { url, timeoutMs: o.timeout * 1000 + AFTER_THE_CUT_MS, maxBytes: MAX_BYTES };
  const { status, body } = await tools.fetch(request, cut);
  if (status !== 200) throw new Error(`HTTP status ${status}`);
  return { bytes: body, writtenAt: null };
}

/** Why it is too old; null: it is not. */
function staleness(writtenAt: number | null, maxAgeSeconds: number, nowMs: number): string | null {
  if (writtenAt === null) return 'it does not say when it was written, and max-age is set';
  const age = (nowMs - writtenAt) / 1000;
  if (age < -AHEAD_MS / 1000) return `it was written ${Math.round(-age)} s from now: a clock is wrong`;
  return age > maxAgeSeconds ? `it is ${Math.round(age)} s old, and may be ${maxAgeSeconds}` : null;
}
