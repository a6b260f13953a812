// What a store could do to whoever follows it, with feeds that no store is behind. The stores are in etcd.test.ts and k8s.test.ts.

import { expect } from 'chai';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { MAX_HOSTS, type Entry } from '../../../src/pools/parse.ts';
import type { Answer } from '../../../src/pools/source.ts';
import { type Feed, WatchedSource } from '../../../src/pools/watched.ts';
import { FakeWorld } from '../../support/fake-world.ts';

const server = (host: string): Entry => ({ is: 'server', host, weight: 1, enabled: true });

describe('A source that is watched', () => {
  let fake: FakeWorld;
  beforeEach(() => {
    fake = new FakeWorld();
  });

  const source = (feed: Partial<Feed>) =>
    new WatchedSource(fake.world, {
      verifyMs: 10_000,
      rereadMs: 3_600_000,
      list: async () => ({ entries: new Map([['cp1', server('cp1')]]), at: '1' }),
      watch: (_at, _onChange, cut) => new Promise((resolve) => void cut.onAbort(() => resolve('on'))),
      verify: async () => true,
      turn: () => 1,
      ...feed,
    });
  const within = async (ms: number, asked: Promise<Answer>): Promise<Answer | null> => {
    let answer: Answer | null = null;
    void asked.then((value) => (answer = value));
    await fake.clock.advance(ms);
    return answer;
  };

  it('fails when its list never comes to an end', async () => {
    let pages = 0;
    const endless = source({
      async list(cut) {
        for (; !cut.aborted; pages++) await fake.world.clock.sleep(1000, cut);
        throw new SystemError('ECANCELED', 'GET');
      },
    });
    const answer = await within(121_000, endless.ask(false, new Knife()));
    expect(answer).to.deep.equal({ is: 'failed', reason: 'not listed within 120 s' });
    const then = pages;
    await fake.clock.advance(60_000);
    expect(pages).to.equal(then);
  });

  it('does not keep more than a pool may have, however much the store tells: it reads again', async () => {
    let lists = 0;
    /** Since the last list. */
    let told = 0;
    const flood = source({
      async list() {
        lists++;
        told = 0;
        return { entries: new Map(), at: '1' };
      },
      async watch(_at, onChange, cut) {
        for (; told < 3 * MAX_HOSTS && !cut.aborted; told++) onChange([[`${told}`, server(`cp${told}`)]], `${told}`);
        return new Promise((resolve) => void cut.onAbort(() => resolve('on')));
      },
    });
    const life = new Knife();
    await within(0, flood.ask(false, life));
    await within(60_000, flood.ask(false, life));
    expect(told)
      .to.be.at.least(MAX_HOSTS)
      .and.below(MAX_HOSTS + 10);
    await within(60_000, flood.ask(false, life));
    expect(lists).to.be.at.least(2);
    life.abort();
  });

  it('believes a watch, while its list is doubted, only what the store confirms', async () => {
    let tell = (_host: string): void => {};
    let verify: Feed['verify'] = async () => true;
    const filled = source({
      list: async () => ({ entries: new Map(), at: '1' }),
      watch(_at, onChange, cut) {
        tell = (host) => onChange([[host, server(host)]], '2');
        return new Promise((resolve) => void cut.onAbort(() => resolve('on')));
      },
      verify: (...asked) => verify(...asked),
    });
    const life = new Knife();
    expect(await within(0, filled.ask(false, life))).to.deep.equal({ is: 'entries', entries: [] });
    const asked = filled.ask(true, life);
    verify = async () => {
      throw new SystemError('ETIMEDOUT', 'GET');
    };
    tell('cp1');
    expect(await within(5000, asked)).to.include({ is: 'failed' });
    await within(0, filled.ask(true, life));
    verify = async () => true;
    tell('cp1');
    expect(await within(5000, filled.ask(true, life))).to.deep.equal({ is: 'entries', entries: [server('cp1')] });
    life.abort();
  });
});
