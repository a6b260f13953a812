import { expect } from 'chai';
import { MonitorBugs } from '../../../src/health/bugs.ts';
import { culpritOf, givenTo, type Origin, strayText } from '../../../src/health/stray.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const ROOT = 'file:///usr/lib/anybal/';
const MINE = 'file:///usr/local/lib/anybal/monitors/mine.mjs';
const OURS = `${ROOT}dist/src/bgp/session.js`;

/** An error that was thrown in the first of these files, called from the next one … */
function error(files: readonly string[], message = 'boom'): Error {
  const made = new Error(message);
  made.stack = [`Error: ${message}`, ...files.map((file, i) => `    at f${i} (${file}:${i + 1}:7)`)].join('\n');
  return made;
}

function culprit(thrown: unknown, origin: Origin = 'rejection', strangers = true): string | null {
  return culpritOf(thrown, origin, { root: ROOT, strangers });
}

describe('culpritOf', () => {
  it('finds the monitor whose file stands in the stack of a rejection, wherever it was thrown', () => {
    expect(culprit(error([MINE, OURS]))).to.equal(MINE);
    expect(culprit(error([OURS, MINE]))).to.equal(MINE);
    expect(culprit(error(['node:internal/fs', MINE]))).to.equal(MINE);
    expect(culprit(error([`${ROOT}dist/monitors/http.js`, OURS]))).to.equal(`${ROOT}dist/monitors/http.js`);
  });

  it('calls an exception the monitor’s only if nothing of ours was left half done', () => {
    expect(culprit(error([MINE, 'node:internal/timers']), 'exception')).to.equal(MINE);
    expect(culprit(error([MINE, OURS]), 'exception')).to.equal(null);
  });

  it('calls ours what only we took part in, libraries included', () => {
    expect(culprit(error([OURS]))).to.equal(null);
    expect(culprit(error([`${ROOT}node_modules/undici/index.js`, OURS]))).to.equal(null);
    expect(culprit(error([OURS]), 'exception')).to.equal(null);
  });

  it('blames an unknown monitor for what has no stack, if there is a monitor that we do not know', () => {
    for (const thrown of ['no error', undefined, null, {}, error([]), error(['node:net'])]) {
      expect(culprit(thrown)).to.equal('a monitor, not known which');
      expect(culprit(thrown, 'rejection', false)).to.equal(null);
    }
  });

  it('knows an error again that a monitor was given by its tools', () => {
    const given = new SystemError('ECONNREFUSED', 'connect');
    givenTo('Mine', given);
    expect(culprit(given)).to.equal('monitor Mine');
    expect(culprit(given, 'exception')).to.equal('monitor Mine');
    expect(Object.keys(given)).to.not.contain('given');
  });

  it('calls a failed call ours that no monitor was given, though nothing tells where it was thrown', () => {
    for (const origin of ['exception', 'rejection'] as const)
      expect(culprit(new SystemError('EINVAL', 'setsockopt'), origin), origin).to.equal(null);
  });

  it('is not brought down by what throws when somebody looks at it', () => {
    const no = (): never => {
      throw new Error('no');
    };
    const odd = [
      Object.defineProperty(new Error('a stack'), 'stack', { get: no }),
      Object.defineProperty(error([MINE]), 'message', { get: no }),
      new Proxy(new Error('a proxy'), { get: no, has: no, getPrototypeOf: no, defineProperty: no }),
      Object.freeze(new Error('frozen')),
      { toString: no },
    ];
    for (const [i, thrown] of odd.entries()) {
      givenTo('Mine', thrown);
      expect(strayText(thrown), String(i)).to.be.a('string');
      expect(culprit(thrown), String(i)).to.be.a('string');
      if (i !== 3) expect(culprit(thrown, 'rejection', false), String(i)).to.be.oneOf([null, 'monitor Mine']);
    }
  });

  it('is not led astray by a message that looks like a stack', () => {
    const forged = `x\n    at f (${OURS}:1:1)\n    at g (${OURS}:2:2)`;
    expect(culprit(error([], forged))).to.equal('a monitor, not known which');
    expect(culprit(error([OURS], `x\n    at f (${MINE}:1:1)`))).to.equal(null);
  });

  it('reads real stacks', () => {
    const here = culpritOf(new Error('here'), 'rejection', { root: ROOT, strangers: false });
    expect(here).to.match(/^file:\/\/.*stray\.test\.[jt]s$/);
  });
});

describe('MonitorBugs', () => {
  it('counts all of them, and says a few each minute', async () => {
    const fake = new FakeWorld();
    const said: LogRecord[] = [];
    const bugs = new MonitorBugs(fake.world.clock, (record) => said.push(record));
    for (let i = 0; i < 100; i++) bugs.note('monitor Mine', `boom ${i}`, `boom ${i} at …`);
    expect(said).to.have.length(5);
    await fake.clock.advance(60_000);
    bugs.note('monitor Mine', 'again', 'again at …');
    expect(said.at(-1)?.text).to.equal('A bug in monitor Mine (101 so far): again at …');
    expect(bugs.status()).to.deep.equal([
      { monitor: 'monitor Mine', count: 101, last: 'again', lastAt: fake.world.clock.now() },
    ]);
  });

  it('is bounded however many files take part', () => {
    const fake = new FakeWorld();
    const bugs = new MonitorBugs(fake.world.clock, () => {});
    for (let i = 0; i < 1000; i++) bugs.note(`file ${i}`, '', '');
    expect(bugs.status()).to.have.length(100);
  });
});
