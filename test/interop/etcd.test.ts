// Pools in a real etcd, while it is edited, stopped, compacted, frozen, emptied and filled with garbage.

import { expect } from 'chai';
import { Etcd } from '../support/etcd.ts';
import { requireTools } from '../support/namespace.ts';
import { serviceConfig } from '../support/service-config.ts';
import { WatchedPool } from '../support/watched-pool.ts';

const { sourceAccess: ACCESS } = serviceConfig();
const PLAIN = { ...ACCESS, tls: 'off' } as const;
const value = (pooled: string, weight = 10) => JSON.stringify({ pooled, weight });
const FOLDER = '/conftool/v1/pools/dc/cluster/service';
const key = (host: number) => `${FOLDER}/10.0.0.${host}`;

describe('interop: etcd, v3', function () {
  this.timeout(60_000);
  let etcd: Etcd;
  let pool: WatchedPool;

  before(() => requireTools({ '/usr/bin/etcd': 'etcd-server', '/usr/bin/etcdctl': 'etcd-client' }));
  beforeEach(async () => {
    etcd = await Etcd.start('127.84.1.1');
    for (const host of [1, 2, 3]) await etcd.ctl('put', key(host), value('yes'));
    await etcd.ctl('put', `${FOLDER}2/10.0.0.9`, value('yes'));
    pool = new WatchedPool({ source: `etcd://${etcd.at}${FOLDER}`, sourceAccess: PLAIN });
    await pool.becomes('10.0.0.1=10 10.0.0.2=10 10.0.0.3=10');
  });
  afterEach(async () => {
    await pool.stop();
    await etcd.destroy();
  });

  it('Edits, deletions and new servers are there within a second.', async () => {
    const edit = async (list: string, ...args: readonly string[]) => {
      await etcd.ctl(...args);
      await pool.becomes(list, 1000);
    };
    await edit('10.0.0.1=10 10.0.0.2=10! 10.0.0.3=10', 'put', key(2), value('no'));
    await edit('10.0.0.1=10 10.0.0.2=10!', 'del', key(3));
    await edit('10.0.0.1=10 10.0.0.2=10! 10.0.0.4=7', 'put', key(4), value('yes', 7));
    await edit('10.0.0.1=10 10.0.0.2=10!', 'put', key(4), value('inactive', 7));
    expect(pool.status).to.include({ state: 'current', lastError: null });
  });
});
