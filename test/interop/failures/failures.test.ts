// Every monitor before a real server of Debian, and before all that can become of one: what it says is docs/checks.md. A run that
// hears anything else fails, and UPDATE_GOLDEN=1 writes it anew.

import { expect } from 'chai';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireTools } from '../../support/namespace.ts';
import { type Failure, failuresOf } from './cells.ts';
import { document, rowOf } from './document.ts';
import { Servers, TOOLS } from './servers.ts';
import { type Subject, subjects } from './subjects.ts';

const FILE = join(import.meta.dirname, '../../../../docs/checks.md');

const APART_MS = 150;
const AGAIN_TIMES = 2;
/** More of them are another truth. */
const AGAIN_MOST = 40;

/** What an operator must be able to tell apart. */
const DIFFERENT: readonly (readonly [string, string])[] = [
  ['a black hole', 'a process that stands still'],
  ['a black hole', 'nobody listens'],
  ['nobody listens', 'a firewall says no'],
  ['accepted, and closed at once', 'accepted, then a reset'],
  ['accepted, and closed at once', 'an answer that is cut short, then closed'],
  ['a slow drip', 'a process that stands still'],
  ['a slow drip', 'an answer without end'],
  ['a certificate that has expired', 'a certificate for another name'],
  ['a certificate that has expired', 'a certificate of an authority that nobody knows'],
  ['TLS, and a black hole once connected', 'TLS where none is spoken'],
];

function verdictOn({ module, bears = [], ours = [] }: Subject, { title }: Failure): 'up' | 'down' | 'unknown' {
  if (/all is well$/.test(title) || bears.includes(title)) return 'up';
  // A document that cannot be read says nothing of anybody.
  return module.name === 'File' || ours.includes(title) ? 'unknown' : 'down';
}

const unconnected = ({ title }: Subject): boolean => ['DNS', 'DNSQuery', 'UDP'].includes(title);

describe('monitors, real servers, and what can become of them', function () {
  this.timeout(180_000);
  let servers: Servers | null = null;
  /** By subject, then by failure. All are asked at the same time: most of them wait. */
  let heard = new Map<Subject, Map<string, Promise<string>>>();

  before(async () => {
    requireTools(TOOLS);
    servers = await Servers.start();
    heard = new Map(subjects.map((subject) => [subject, new Map<string, Promise<string>>()]));
    await hear(servers, false);
    await hearAgain(servers, false);
    await servers.freeze();
    await hear(servers, true);
    await hearAgain(servers, true);
    await servers.thaw();
  });
  after(() => servers?.destroy());

  /** One subject after the other is started, not all in the same moment: what is to be slow here is not this machine. */
  async function hear(from: Servers, frozen: boolean): Promise<void> {
    const started: Promise<string>[] = [];
    for (const subject of subjects) {
      for (const failure of failuresOf(subject).filter((each) => each.frozen === frozen)) {
        const words = failure.say(from);
        heard.get(subject)?.set(failure.title, words);
        started.push(words);
      }
      await sleep(APART_MS);
    }
    await Promise.allSettled(started);
  }

  /** Heard among hundreds of others, what is not written may be this machine's doing, who was slow: now it is asked with few others. */
  async function hearAgain(from: Servers, frozen: boolean): Promise<void> {
    const written = new Set(existsSync(FILE) ? readFileSync(FILE, 'utf8').split('\n') : []);
    for (let time = 1; time <= AGAIN_TIMES; time++) {
      const strange: (readonly [Subject, Failure])[] = [];
      for (const subject of subjects) {
        for (const failure of failuresOf(subject).filter((each) => each.frozen === frozen)) {
          const words = await said(subject, failure).catch(() => '');
          if (!written.has(rowOf(failure.title, words))) strange.push([subject, failure]);
        }
      }
      if (strange.length > AGAIN_MOST) return;
      const again = strange.map(([subject, failure]) => {
        const words = failure.say(from);
        heard.get(subject)?.set(failure.title, words);
        return words;
      });
      await Promise.allSettled(again);
    }
  }

  async function said(subject: Subject, { title }: Pick<Failure, 'title'>): Promise<string> {
    const words = heard.get(subject)?.get(title);
    if (words === undefined) throw new Error(`${subject.title} was not asked: ${title}`);
    return words;
  }

  for (const subject of subjects) {
    describe(`${subject.title}, before ${subject.server}`, () => {
      const failures = failuresOf(subject);
      const has = (title: string) => failures.some((failure) => failure.title === title);

      for (const failure of failures) {
        const verdict = verdictOn(subject, failure);
        it(`${failure.title}: ${verdict}`, async () => {
          expect(await said(subject, failure)).to.match(verdict === 'up' ? /^up:/ : new RegExp(`^${verdict}: .`));
        });
      }

      it('has words of its own for what is not the same', async () => {
        // Without a connection there is nothing to tell silence by.
        const pairs = DIFFERENT.filter(
          (pair) => pair.every(has) && !(unconnected(subject) && pair[0] === 'a black hole'),
        );
        for (const [one, other] of pairs) {
          const words = await Promise.all([one, other].map((title) => said(subject, { title })));
          if (words.every((each) => each.startsWith('up'))) continue;
          const blurred = subject.blurs?.some((pair) => pair[0] === one && pair[1] === other) === true;
          expect(words[0] === words[1], `${one}, ${other}: ${words.join(' and ')}`).to.equal(blurred);
        }
      });
    });
  }

  it('found what docs/checks.md says', async () => {
    const all = new Map<string, ReadonlyMap<string, string>>();
    for (const subject of subjects) {
      const words = new Map<string, string>();
      for (const failure of failuresOf(subject)) {
        words.set(failure.title, await said(subject, failure));
      }
      all.set(subject.title, words);
    }
    const found = document(subjects, all);
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(FILE, found);
    expect(existsSync(FILE), `${FILE} is missing: run with UPDATE_GOLDEN=1`).to.equal(true);
    const written = readFileSync(FILE, 'utf8');
    const lines = new Set(written.split('\n'));
    const others = found.split('\n').filter((line) => !lines.has(line));
    expect(others, 'run with UPDATE_GOLDEN=1 and read the difference').to.deep.equal([]);
    expect(found, 'run with UPDATE_GOLDEN=1 and read the difference').to.equal(written);
  });
});
