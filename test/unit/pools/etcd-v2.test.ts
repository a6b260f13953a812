import { expect } from 'chai';
import fc from 'fast-check';
import { type ActionV2, FakeEtcdV2 } from '../../support/fake-etcd-v2.ts';
import { response } from '../../support/fake-world.ts';
import { expectPlayedOut, FaultyPool, PATH_FAULTS } from '../../support/faulty-pool.ts';
import { serviceConfig } from '../../support/service-config.ts';

const { sourceAccess: ACCESS } = serviceConfig();
const FOLDER = '/conftool/v1/pools/dc/text/nginx/';
const value = (pooled: string, weight = 10): string => JSON.stringify({ pooled, weight });
const CHANGES: readonly ActionV2[] = ['set', 'create', 'update', 'compareAndSwap'];
const DELETIONS: readonly ActionV2[] = ['delete', 'compareAndDelete', 'expire'];

type Act = (play: EtcdV2Pool) => unknown;

/** A pool in a fake etcd, read by its v2 API. */
class EtcdV2Pool extends FaultyPool {
  readonly etcd: FakeEtcdV2;

  constructor(hosts: readonly string[] = ['cp1', 'cp2', 'cp3']) {
    const etcd = new FakeEtcdV2();
    for (const host of hosts) etcd.put(`${FOLDER}${host}`, value('yes'));
    const service = { source: `etcd://etcd${FOLDER}`, sourceAccess: { ...ACCESS, etcdApi: 'v2' as const } };
    super(service, ({ url }) => {
      const answer = etcd.answer(url);
      if (!('open' in answer)) return response(answer.status, answer.body, answer.headers);
      return { open: (push, end) => answer.open(push, () => end(null)) };
    });
    this.etcd = etcd;
  }

  /** How often the folder was read whole. */
  get readings(): number {
    return this.fake.requests.filter(({ url }) => !url.includes('wait=true')).length;
  }
}

describe("pools in etcd's v2 store", () => {
  let pool: EtcdV2Pool;
  beforeEach(async () => {
    pool = new EtcdV2Pool();
    await pool.fake.clock.advance(100);
    expect(pool.list).to.equal('cp1=10 cp2=10 cp3=10');
  });
  afterEach(async () => {
    await pool.stop();
    expect(pool.fake.clock.pending, 'timers left after stop').to.equal(0);
    expect(pool.etcd.watchers, 'polls left after stop').to.equal(0);
  });

  it('are told of every edit, whatever the store calls it, without being read again.', async () => {
    const { readings } = pool;
    for (const [i, action] of CHANGES.entries()) pool.etcd.put(`${FOLDER}cp${i + 1}`, value('yes', i + 1), action);
    pool.etcd.put('/conftool/v1/pools/dc/text/nginx-old/cp9', value('yes'));
    await pool.fake.clock.advance(500);
    expect(pool.list).to.equal('cp1=1 cp2=2 cp3=3 cp4=4');
    for (const [i, action] of DELETIONS.entries()) pool.etcd.remove([`${FOLDER}cp${i + 1}`], action);
    await pool.fake.clock.advance(500);
    expect(pool.list).to.equal('cp4=4');
    expect(pool.readings).to.equal(readings);
  });

  it('of which more was told than the store remembers are read again.', async () => {
    pool.etcd.clearHistory();
    pool.etcd.endPolls();
    pool.etcd.remove([`${FOLDER}cp1`]);
    pool.etcd.clearHistory();
    const { readings } = pool;
    await pool.fake.clock.advance(1500);
    expect(pool.list).to.equal('cp2=10 cp3=10');
    expect(pool.readings).to.be.above(readings);
  });

  for (const path of [FOLDER.slice(0, -1), '/conftool']) {
    it(`stay as they were when ${path} is deleted, and are right when it is filled again.`, async () => {
      pool.etcd.removeFolder(path);
      await pool.fake.clock.advance(5000);
      expect(pool.list).to.equal('cp1=10 cp2=10 cp3=10');
      expect(pool.status).to.include({ state: 'suspect', note: 'the list is empty, 3 servers in the last one' });
      for (const host of ['cp1', 'cp4']) pool.etcd.put(`${FOLDER}${host}`, value('yes', 5));
      await pool.fake.clock.advance(5000);
      expect(pool.list).to.equal('cp1=5 cp4=5');
    });
  }

  it('whose polls have fallen silent, or were not told of something, are right again within seconds.', async () => {
    pool.etcd.deafen();
    pool.etcd.remove([`${FOLDER}cp1`]);
    await pool.fake.clock.advance(11_000);
    expect(pool.list).to.equal('cp2=10 cp3=10');
    pool.etcd.loseNext();
    pool.etcd.put(`${FOLDER}cp2`, value('no'));
    await pool.fake.clock.advance(11_000);
    expect(pool.list).to.equal('cp2=10! cp3=10');
  });

  it('that come back from a backup are read again, although the store counts from a lower index.', async () => {
    for (let i = 0; i < 20; i++) pool.etcd.put('/other', `${i}`);
    pool.etcd.put(`${FOLDER}cp1`, value('no'));
    await pool.fake.clock.advance(150);
    pool.etcd.restore(new Map([[`${FOLDER}cp2`, value('yes', 7)]]));
    await pool.fake.clock.advance(11_000);
    expect(pool.list).to.equal('cp2=7');
  });

  it('equal the store after whatever happened to it, to the polls and to the path, and are never emptied by a fault.', async function () {
    this.timeout(20_000);
    const key = fc.integer({ min: 1, max: 5 }).map((n) => `${FOLDER}cp${n}`);
    const text = fc.tuple(fc.constantFrom('yes', 'no', 'inactive'), fc.nat(100)).map(([p, w]) => value(p, w));
    const waited = fc.integer({ min: 1, max: 20_000 });
    const upheavals: readonly Act[] = [
      ({ etcd }) => etcd.clearHistory(),
      ({ etcd }) => etcd.endPolls(),
      ({ etcd }) => etcd.deafen(),
      (play) => play.reset(),
      async (play) => {
        // Meanwhile it is away, for those, too, who are between two polls.
        const { fault } = play;
        play.fault = 'refuses';
        play.reset();
        play.etcd.restore(play.etcd.keys('/'));
        await play.fake.clock.advance(1000);
        play.fault = fault;
      },
      ({ etcd }) => {
        const keys = etcd.keys(FOLDER);
        etcd.removeFolder(FOLDER.slice(0, -1));
        for (const [each, said] of keys) etcd.put(each, said);
      },
    ];
    const puts = fc.tuple(key, text, fc.constantFrom(...CHANGES)).map(
      (put): Act =>
        ({ etcd }) =>
          etcd.put(...put),
    );
    const removals = fc.tuple(fc.array(key, { maxLength: 3 }), fc.constantFrom(...DELETIONS)).map(
      (gone): Act =>
        ({ etcd }) =>
          etcd.remove(...gone),
    );
    const faults = fc.constantFrom('none' as const, ...PATH_FAULTS).map(
      (fault): Act =>
        (play) => {
          play.fault = fault;
          if (fault !== 'none') play.reset();
        },
    );
    const waits = waited.map(
      (ms): Act =>
        ({ fake }) =>
          fake.clock.advance(ms),
    );
    const acts = fc.oneof(puts, puts, removals, faults, waits, waits, fc.constantFrom(...upheavals));
    await fc.assert(
      fc.asyncProperty(fc.array(acts, { maxLength: 25 }), async (played) => {
        // cp9 stays, so that the store is never empty.
        const play = new EtcdV2Pool(['cp1', 'cp9']);
        const acting = async () => {
          for (const act of played) await act(play);
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
});

/** What the pool should be, by the keys. */
function expected(etcd: FakeEtcdV2): string {
  const words = [...etcd.keys(FOLDER)].flatMap(([key, text]) => {
    const { pooled, weight } = JSON.parse(text) as { pooled: string; weight: number };
    return pooled === 'inactive' ? [] : [`${key.slice(FOLDER.length)}=${weight}${pooled === 'yes' ? '' : '!'}`];
  });
  return words.sort().join(' ');
}
