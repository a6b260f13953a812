import { expect } from 'chai';
import fc from 'fast-check';
import { Knife } from '../../../src/lib/cut.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { readValue } from '../../../src/pools/etcd-cluster.ts';
import { openSource } from '../../../src/pools/open.ts';
import type { PoolHost } from '../../../src/decision/facts.ts';
import { FakeEtcd } from '../../support/fake-etcd.ts';
import { FakeWorld, response } from '../../support/fake-world.ts';
import { expectPlayedOut, FaultyPool, PATH_FAULTS } from '../../support/faulty-pool.ts';
import { serviceConfig } from '../../support/service-config.ts';
import { show } from '../../support/watched-pool.ts';

const { sourceAccess: ACCESS } = serviceConfig();
const FOLDER = '/conftool/v1/pools/dc/text/nginx/';
const value = (pooled: string, weight = 10): string => JSON.stringify({ pooled, weight });

/** A pool in a fake etcd. */
class EtcdPool extends FaultyPool {
  readonly etcd: FakeEtcd;

  constructor(url = `etcd://me:secret@etcd${FOLDER}`, hosts: readonly string[] = ['cp1', 'cp2', 'cp3']) {
    const etcd = new FakeEtcd();
    for (const host of hosts) etcd.put(`${FOLDER}${host}`, value('yes'));
    super({ source: url }, ({ url, body = '' }) => {
      if (url.endsWith('/v3/auth/authenticate')) return response(200, '{"token":"t.1"}');
      if (url.endsWith('/v3/kv/range')) {
        const { status, body: text } = etcd.range(body);
        return response(status, text);
      }
      if (!url.endsWith('/v3/watch')) return response(404, '404 page not found');
      return { open: (push) => etcd.watch(body, push) };
    });
    this.etcd = etcd;
  }
}

describe('pools in etcd', () => {
  let pool: EtcdPool;
  beforeEach(() => {
    pool = new EtcdPool();
  });
  afterEach(async () => {
    await pool.stop();
    expect(pool.fake.clock.pending, 'timers left after stop').to.equal(0);
    expect(pool.etcd.watchers, 'watches left after stop').to.equal(0);
  });

  it('are read once and then told of every edit, without being asked.', async () => {
    await pool.fake.clock.advance(100);
    expect(pool.list).to.equal('cp1=10 cp2=10 cp3=10');
    pool.fake.requests.length = 0;
    pool.etcd.put(`${FOLDER}cp2`, value('no', 5));
    pool.etcd.remove([`${FOLDER}cp1`]);
    pool.etcd.put(`${FOLDER}cp3`, value('inactive'));
    pool.etcd.put(`${FOLDER}cp4`, value('yes', 0));
    pool.etcd.put('/conftool/v1/pools/dc/text/nginx-old/cp9', value('yes'));
    await pool.fake.clock.advance(150);
    expect(pool.list).to.equal('cp2=5! cp4=0');
    expect(pool.fake.requests).to.have.length(0);
  });

  it('that are edited key by key are taken when that is done: a folder that is filled again is never half of one.', async () => {
    await pool.fake.clock.advance(100);
    const lists: string[] = [];
    const note = () => lists.at(-1) === pool.list || lists.push(pool.list);
    const keys = ['cp1', 'cp2', 'cp3'].map((host) => `${FOLDER}${host}`);
    pool.etcd.remove(keys);
    await pool.fake.clock.advance(3000);
    note();
    for (const key of keys) {
      pool.etcd.put(key, value('yes', 7));
      await pool.fake.clock.advance(300);
      note();
    }
    await pool.fake.clock.advance(2000);
    note();
    expect(lists).to.deep.equal(['cp1=10 cp2=10 cp3=10', 'cp1=7 cp2=7 cp3=7']);
    // Somebody who never stops is heard all the same.
    for (let i = 0; i < 30; i++) {
      pool.etcd.put(keys[0] ?? '', value('yes', i));
      await pool.fake.clock.advance(50);
      note();
    }
    expect(lists.length).to.be.within(3, 5);
  });

  it('are asked every few seconds whether the copy is right, by a question that costs little.', async () => {
    await pool.fake.clock.advance(100);
    pool.fake.requests.length = 0;
    await pool.fake.clock.advance(60_000);
    expect(pool.fake.requests.length).to.be.within(5, 8);
    for (const { body = '' } of pool.fake.requests) expect(JSON.parse(body)).to.include({ limit: 1, keys_only: true });
    expect(pool.status?.ageSeconds).to.be.lessThan(11);
  });

  it('whose watch has fallen silent are right again within seconds, also when only a deletion was missed.', async () => {
    await pool.fake.clock.advance(100);
    pool.etcd.deafen();
    pool.etcd.remove([`${FOLDER}cp1`]);
    await pool.fake.clock.advance(11_000);
    expect(pool.list).to.equal('cp2=10 cp3=10');
    pool.etcd.put(`${FOLDER}cp4`, value('yes'));
    await pool.fake.clock.advance(150);
    expect(pool.list).to.equal('cp2=10 cp3=10 cp4=10');
  });

  it('that never stop changing are looked through for what was missed all the same.', async () => {
    await pool.fake.clock.advance(100);
    pool.etcd.loseNext();
    pool.etcd.remove([`${FOLDER}cp1`]);
    for (let i = 0; i < 100; i++) {
      pool.etcd.put(`${FOLDER}cp2`, value('yes', i));
      await pool.fake.clock.advance(400);
    }
    expect(pool.list).to.equal('cp2=99 cp3=10');
  });

  it('with users whose names are no proper escapes are asked all the same.', async () => {
    const odd = new EtcdPool(`etcd://100%:50%25@etcd${FOLDER}`);
    await odd.fake.clock.advance(100);
    expect(JSON.parse(odd.fake.requests[0]?.body ?? '')).to.deep.equal({ name: '100%', password: '50%' });
    expect(odd.list).to.equal('cp1=10 cp2=10 cp3=10');
    await odd.stop();
  });

  it('whose history was compacted under a watch are read again.', async () => {
    await pool.fake.clock.advance(100);
    pool.etcd.remove([`${FOLDER}cp1`]);
    pool.etcd.compact();
    pool.etcd.cancelCompacted();
    pool.etcd.remove([`${FOLDER}cp2`]);
    await pool.fake.clock.advance(1500);
    expect(pool.list).to.equal('cp3=10');
  });

  it('that go on as they were in a younger store are read again, although its history is shorter.', async () => {
    for (let i = 0; i < 20; i++) pool.etcd.put('/other', `${i}`);
    await pool.fake.clock.advance(100);
    pool.etcd.restore(new Map([[`${FOLDER}cp1`, value('yes')]]));
    await pool.fake.clock.advance(11_000);
    expect(pool.list).to.equal('cp1=10');
  });

  it('are asked with the token that the password was exchanged for; neither is ever shown.', async () => {
    await pool.fake.clock.advance(100);
    const [login, range] = pool.fake.requests;
    expect(JSON.parse(login?.body ?? '')).to.deep.equal({ name: 'me', password: 'secret' });
    expect(range?.headers).to.include({ authorization: 't.1' });
    pool.fault = 'refuses';
    pool.reset();
    await pool.fake.clock.advance(60_000);
    const shown = JSON.stringify([pool.fake.lines, pool.status]);
    expect(shown)
      .to.match(/ECONNREFUSED/)
      .and.not.match(/secret|t\.1/);
  });

  for (const fault of PATH_FAULTS) {
    it(`leave the list as it is while the store ${fault}, say so, and are right within 35 s of its end.`, async () => {
      await pool.fake.clock.advance(100);
      pool.fault = fault;
      pool.reset();
      await pool.fake.clock.advance(120_000);
      expect(pool.list).to.equal('cp1=10 cp2=10 cp3=10');
      expect(pool.status).to.include({ state: 'stale', servers: 3 });
      expect(pool.fake.requests.length).to.be.lessThan(40);
      pool.fault = 'none';
      pool.etcd.remove([`${FOLDER}cp3`]);
      await pool.fake.clock.advance(35_000);
      expect(pool.list).to.equal('cp1=10 cp2=10');
      expect(pool.status).to.include({ state: 'current' });
    });
  }

  it('equal the store after whatever happened to it, to the watch and to the path, and are never emptied by a fault.', async function () {
    this.timeout(20_000);
    const host = fc.integer({ min: 1, max: 5 }).map((n) => `${FOLDER}cp${n}`);
    const texts = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.tuple(fc.constantFrom('yes', 'no', 'inactive'), fc.nat(100)).map(([p, w]) => value(p, w)),
      },
      { weight: 1, arbitrary: fc.string() },
      { weight: 1, arbitrary: fc.json() },
    );
    const step = fc.oneof(
      fc.record({ do: fc.constant('put' as const), key: host, text: texts }),
      fc.record({ do: fc.constant('remove' as const), keys: fc.array(host, { maxLength: 3 }) }),
      fc.record({
        do: fc.constantFrom('compact', 'compact the watch', 'deafen', 'reset', 'progress', 'restore'),
      }),
      fc.record({
        do: fc.constant('fault' as const),
        fault: fc.constantFrom('none', ...PATH_FAULTS),
      }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        // cp9 stays, so that the store is never empty.
        const play = new EtcdPool(undefined, ['cp1', 'cp9']);
        const acting = async () => {
          for (const each of steps) {
            switch (each.do) {
              case 'put':
                play.etcd.put(each.key, each.text);
                break;
              case 'remove':
                play.etcd.remove(each.keys);
                break;
              case 'compact':
                play.etcd.compact();
                break;
              case 'compact the watch':
                play.etcd.compact();
                play.etcd.cancelCompacted();
                break;
              case 'deafen':
                play.etcd.deafen();
                break;
              case 'reset':
                play.reset();
                break;
              case 'progress':
                play.etcd.progress();
                break;
              case 'restore':
                play.etcd.restore(play.etcd.keys(FOLDER));
                play.reset();
                break;
              case 'fault':
                play.fault = each.fault;
                if (each.fault !== 'none') play.reset();
                break;
              case 'wait':
                await play.fake.clock.advance(each.ms);
                break;
              default:
                each satisfies never;
            }
          }
          play.fault = 'none';
          // No key says nothing at the end: what it would say depends on what was said before.
          for (const [key, text] of play.etcd.keys(FOLDER))
            if (readValue('x', text).is === 'bad') play.etcd.put(key, value('no', 1));
        };
        await expectPlayedOut(play, acting, {
          settleMs: 40_000,
          expected: () => expected(play.etcd),
          watchers: () => play.etcd.watchers,
        });
      }),
      { numRuns: 150 },
    );
  });

  it('stay as they were where a value is too deep to be written down.', async () => {
    await pool.fake.clock.advance(100);
    pool.etcd.put(`${FOLDER}cp1`, value('yes', 7));
    pool.etcd.put(`${FOLDER}cp2`, `{"pooled":${'['.repeat(30_000)}${']'.repeat(30_000)}}`);
    await pool.fake.clock.advance(15_000);
    expect(pool.list).to.equal('cp1=7 cp2=10 cp3=10');
    expect(pool.status?.unreadable).to.deep.equal([`cp2: pooled is ${'['.repeat(80)}…, not yes, no or inactive`]);
  });

  it('are made of any text without failing.', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.string().map((text) => value(text)),
        ),
        (text) => {
          const entry = readValue('cp1', text);
          expect(entry.is).to.be.oneOf(['server', 'out', 'bad']);
        },
      ),
    );
  });
});

/** What the pool should be, by the keys. */
function expected(etcd: FakeEtcd): string {
  const hosts: PoolHost[] = [];
  for (const [key, text] of etcd.keys(FOLDER)) {
    const { pooled, weight } = JSON.parse(text) as { pooled: string; weight: number };
    if (pooled !== 'inactive') hosts.push({ host: key.slice(FOLDER.length), weight, enabled: pooled === 'yes' });
  }
  return show(hosts);
}

describe('an etcd source', () => {
  const lineOf = (result: object) => `${JSON.stringify({ result })}\n`;
  const range = (count: number, pairs: readonly object[], more = false) =>
    response(200, JSON.stringify({ header: { revision: '7' }, kvs: pairs, count: `${count}`, more }));
  const pair = (host: string, text: string) => ({ key: btoa(`/p/${host}`), value: btoa(text) });
  const ask = async (fake: FakeWorld, url = 'etcd://a/p', access: Partial<typeof ACCESS> = {}) => {
    const source = openSource(fake.world, serviceConfig({ source: url, sourceAccess: { ...ACCESS, ...access } }));
    if (typeof source === 'string') throw new Error(source);
    const knife = new Knife();
    const answer = await source.ask(false, knife);
    knife.abort();
    return answer;
  };

  it('takes a page at a time, all of one revision, and smaller pages where values are long.', async () => {
    const fake = new FakeWorld();
    fake.reply = ({ url, body = '' }) => {
      if (url.endsWith('/watch')) return 'hang';
      const { key, limit, revision } = JSON.parse(body) as { key: string; limit: number; revision?: string };
      if (limit > 2) return new SystemError('EFBIG', 'post');
      if (atob(key) === '/p/') return range(3, [pair('cp1', value('yes')), pair('cp2', value('yes'))], true);
      expect([atob(key), revision]).to.deep.equal(['/p/cp2\0', '7']);
      return range(3, [pair('cp3', value('yes'))]);
    };
    const answer = await ask(fake);
    expect(answer.is === 'entries' && answer.entries.length).to.equal(3);
  });

  const broken: readonly (readonly [string, () => ReturnType<FakeWorld['reply']>, RegExp])[] = [
    ['that is no JSON', () => response(200, 'hello'), /no JSON object/],
    ['without a revision', () => response(200, '{}'), /without a revision/],
    ['with a revision that is none', () => response(200, '{"header":{"revision":"-1"}}'), /without a revision/],
    ['with keys that are not Base64', () => range(1, [{ key: '%%', value: '' }]), /not Base64/],
    [
      'with keys that were not asked for',
      () => range(1, [{ key: btoa('/other/cp1'), value: btoa(value('yes')) }]),
      /not in \/p\/: \/other\/cp1/,
    ],
    ['that is the first page each time', () => range(2, [pair('cp1', value('yes'))], true), /nothing new/],
    ['of an empty page with more to come', () => range(2, [], true), /nothing new/],
    ['of more keys than a pool may have', () => range(10_001, []), /more than 10000/],
    [
      'from an etcd that wants a user',
      () => response(400, '{"message":"etcdserver: user name is empty"}'),
      /user name is empty/,
    ],
    ['too large even key by key', () => new SystemError('EFBIG', 'POST x'), /EFBIG/],
  ];
  for (const [what, reply, reason] of broken) {
    it(`fails for an answer ${what}.`, async () => {
      const fake = new FakeWorld();
      fake.reply = reply;
      const answer = await ask(fake);
      expect(answer.is === 'failed' ? answer.reason : answer.is).to.match(reason);
    });
  }

  it('tries every member at once when one fails, and then waits longer and longer.', async () => {
    const fake = new FakeWorld();
    const source = openSource(fake.world, serviceConfig({ source: 'etcd://a,b:1,[::1]:2/p' }));
    if (typeof source === 'string') throw new Error(source);
    const delays: number[] = [];
    for (let failures = 1; failures <= 8; failures++) {
      expect((await source.ask(false, new Knife())).is).to.equal('failed');
      delays.push(source.delayMs(failures, 0.5));
    }
    const members = fake.requests.slice(0, 3).map(({ url }) => new URL(url).host);
    expect([...members].sort()).to.deep.equal(['[::1]:2', 'a:2379', 'b:1']);
    expect(delays).to.deep.equal([500, 500, 1500, 3000, 6000, 12_000, 22_500, 22_500]);
  });

  it('looks into v2 where v3 has nothing or is not there, and stays with what it found.', async () => {
    for (const v3 of [range(0, []), response(404, '404 page not found')]) {
      const fake = new FakeWorld();
      fake.reply = ({ url }) => {
        if (url.includes('/v3/')) return v3;
        if (url.includes('wait=true')) return 'hang';
        const nodes = [{ key: '/p/cp1', value: value('yes', 7), modifiedIndex: 5 }];
        return response(200, JSON.stringify({ node: { key: '/p', dir: true, nodes } }), { 'x-etcd-index': '9' });
      };
      expect(await ask(fake)).to.deep.equal({
        is: 'entries',
        entries: [{ is: 'server', host: 'cp1', weight: 7, enabled: true }],
      });
    }
  });

  it('that has nothing by either API has failed: nobody knows which one it was.', async () => {
    const fake = new FakeWorld();
    fake.reply = ({ url }) => (url.includes('/v3/') ? range(0, []) : response(404, '404 page not found'));
    const answer = await ask(fake);
    expect(answer).to.deep.equal({ is: 'failed', reason: 'nothing there, neither by v3 nor by v2' });
    expect((await ask(fake, 'etcd://a/p', { etcdApi: 'v3' })).is).to.equal('entries');
  });

  it('whose watch says things that no watch says reads again, and goes on asking a few times a minute at most.', async () => {
    for (const garbage of [
      'x\n',
      '{}\n'.repeat(3),
      lineOf({ canceled: true, cancel_reason: 'no' }),
      'y'.repeat(1000),
    ]) {
      const fake = new FakeWorld();
      fake.reply = ({ url }) => {
        if (!url.endsWith('/watch')) return range(1, [pair('cp1', value('yes'))]);
        return {
          open: (push, end) => {
            push(garbage);
            end(null);
            return () => {};
          },
        };
      };
      const source = openSource(fake.world, serviceConfig({ source: 'etcd://a/p' }));
      if (typeof source === 'string') throw new Error(source);
      const knife = new Knife();
      const answers: string[] = [];
      const loop = async () => {
        while (!knife.aborted) answers.push((await source.ask(false, knife)).is);
      };
      const running = loop();
      await fake.clock.advance(60_000);
      knife.abort();
      await running;
      expect(answers[0]).to.equal('entries');
      expect(fake.requests.length, garbage.slice(0, 9)).to.be.within(10, 300);
    }
  });
});
