// Pools in a real etcd, by both of its APIs, while it is edited, stopped, compacted, frozen, emptied and filled with garbage.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'chai';
import { Etcd } from '../support/etcd.ts';
import { requireTools } from '../support/namespace.ts';
import { serviceConfig } from '../support/service-config.ts';
import { WatchedPool } from '../support/watched-pool.ts';

const { sourceAccess: ACCESS } = serviceConfig();
const PLAIN = { ...ACCESS, tls: 'off' } as const;
const FOLDER = '/conftool/v1/pools/dc/cluster/service';
const THREE = '10.0.0.1=10 10.0.0.2=10 10.0.0.3=10';
const value = (pooled: string, weight = 10) => JSON.stringify({ pooled, weight });
const YES = value('yes');
const key = (host: number) => `${FOLDER}/10.0.0.${host}`;
const TOOLS = { '/usr/bin/etcd': 'etcd-server', '/usr/bin/etcdctl': 'etcd-client', '/usr/bin/openssl': 'openssl' };

type Api = 'v2' | 'v3';

/** An etcd with three servers in our folder and one in a neighbour's whose name begins as ours, and the pool of ours. */
class Stage {
  readonly etcd: Etcd;
  readonly pool: WatchedPool;
  readonly #api: Api;

  private constructor(etcd: Etcd, api: Api) {
    this.etcd = etcd;
    this.#api = api;
    this.pool = new WatchedPool({ source: `etcd://${etcd.at}${FOLDER}`, sourceAccess: PLAIN });
  }

  static async play(api: Api, scene: (stage: Stage) => Promise<void>): Promise<void> {
    const etcd = await Etcd.start(api === 'v3' ? '127.84.1.1' : '127.84.1.2', { v2: true });
    const keys = [key(1), key(2), key(3), `${FOLDER}2/10.0.0.9`];
    for (const each of keys) await (api === 'v3' ? etcd.ctl('put', each, YES) : etcd.ctl2('set', each, YES));
    const stage = new Stage(etcd, api);
    try {
      await stage.pool.becomes(THREE);
      await scene(stage);
    } finally {
      await stage.pool.stop();
      await etcd.destroy();
    }
  }

  put(host: number, text: string): Promise<string> {
    return this.#api === 'v3' ? this.etcd.ctl('put', key(host), text) : this.etcd.ctl2('set', key(host), text);
  }

  remove(host: number): Promise<string> {
    return this.#api === 'v3' ? this.etcd.ctl('del', key(host)) : this.etcd.ctl2('rm', key(host));
  }

  removeAll(): Promise<string> {
    return this.#api === 'v3' ? this.etcd.ctl('del', '--prefix', FOLDER) : this.etcd.ctl2('rm', '--recursive', FOLDER);
  }
}

describe('interop: etcd, v3 and v2', function () {
  this.timeout(60_000);
  const both = (title: string, scene: (stage: Stage) => Promise<void>) =>
    it(title, async () => {
      await Promise.all((['v3', 'v2'] as const).map((api) => Stage.play(api, scene)));
    });

  before(() => requireTools(TOOLS));

  both('Edits, deletions and new servers are there within a second.', async (stage) => {
    const { pool } = stage;
    const becomes = async (list: string, done: Promise<unknown>) => {
      await done;
      await pool.becomes(list, 1000);
    };
    await becomes('10.0.0.1=10 10.0.0.2=10! 10.0.0.3=10', stage.put(2, value('no')));
    await becomes('10.0.0.1=10 10.0.0.2=10!', stage.remove(3));
    await becomes('10.0.0.1=10 10.0.0.2=10! 10.0.0.4=7', stage.put(4, value('yes', 7)));
    await becomes('10.0.0.1=10 10.0.0.2=10!', stage.put(4, value('inactive', 7)));
    await becomes('10.0.0.1=3 10.0.0.2=10!', stage.put(1, value('yes', 3)));
    expect(pool.status).to.include({ state: 'current', lastError: null });
    expect(pool.status.ageSeconds).to.be.lessThan(15);
  });

  both('A quick series of edits ends where the store does.', async (stage) => {
    for (let i = 1; i <= 30; i++) await stage.put(1 + (i % 3), value(i % 2 === 0 ? 'yes' : 'no', i));
    await stage.pool.becomes('10.0.0.1=30 10.0.0.2=28 10.0.0.3=29!', 2000);
  });

  both('Stopped, it leaves the list as it is; restarted, what happened meanwhile is seen.', async (stage) => {
    const { etcd, pool } = stage;
    await etcd.stop();
    await pool.fails(/ECONNREFUSED/);
    await etcd.start();
    await stage.remove(3);
    await stage.put(2, value('no'));
    await pool.becomes('10.0.0.1=10 10.0.0.2=10!', 35_000);
    await pool.state('current');
    expect(pool.lists).not.to.include('');
    await stage.put(2, value('yes'));
    await pool.becomes('10.0.0.1=10 10.0.0.2=10', 1500);
  });

  both('Frozen, it is noticed although its connections stand, and believed again when it goes on.', async (stage) => {
    const { etcd, pool } = stage;
    etcd.freeze();
    await pool.fails(/ETIMEDOUT/, 20_000);
    etcd.thaw();
    await stage.put(1, value('no'));
    await pool.becomes('10.0.0.1=10! 10.0.0.2=10 10.0.0.3=10', 35_000);
    expect(pool.lists).to.have.length(2);
  });

  both('Emptied, it is suspect, and the pool stays.', async (stage) => {
    const { pool } = stage;
    await stage.removeAll();
    await pool.state('suspect');
    expect(pool.list).to.equal(THREE);
    for (const host of [1, 2, 3]) await stage.put(host, YES);
    await pool.becomes(THREE);
    await pool.state('current');
    expect(pool.lists).not.to.include('');
  });

  both('Born again without history, as after a restore, it is read afresh.', async (stage) => {
    const { etcd, pool } = stage;
    await etcd.stop();
    etcd.forget();
    await etcd.start();
    for (const host of [1, 2]) await stage.put(host, YES);
    await pool.becomes('10.0.0.1=10 10.0.0.2=10', 35_000);
    await stage.put(4, YES);
    await pool.becomes('10.0.0.1=10 10.0.0.2=10 10.0.0.4=10', 1500);
  });

  both('Filled with garbage, it is named key by key; servers stay as they were, the rest is obeyed.', async (stage) => {
    const { pool } = stage;
    await stage.put(1, '{"pooled": "maybe"}');
    await stage.put(2, 'no JSON');
    await stage.put(3, value('yes', -7));
    await stage.put(4, 'x'.repeat(100_000));
    await stage.put(5, value('no', 5));
    await pool.becomes(`${THREE} 10.0.0.5=5!`, 5000);
    const complaints = pool.status.complaints.join('\n');
    expect(complaints).to.match(/10\.0\.0\.1: pooled is "maybe", not yes, no or inactive/);
    expect(complaints).to.match(/10\.0\.0\.2: not JSON: no JSON/);
    expect(complaints).to.match(/10\.0\.0\.3: weight -7 is negative/);
    expect(complaints).to.match(/10\.0\.0\.4: longer than/);
    for (const host of [1, 2, 3]) await stage.put(host, value('yes', 2));
    await pool.becomes('10.0.0.1=2 10.0.0.2=2 10.0.0.3=2 10.0.0.5=5!', 5000);
  });
});

describe('interop: etcd, v3 only', function () {
  this.timeout(60_000);
  let etcd: Etcd;
  let pool: WatchedPool | null = null;
  const open = (access: Partial<typeof ACCESS>, at = etcd.at) =>
    new WatchedPool({ source: `etcd://${at}${FOLDER}`, sourceAccess: { ...ACCESS, ...access } });
  const fill = async (...hosts: readonly number[]) => {
    for (const host of hosts) await etcd.ctl('put', key(host), value('yes'));
  };

  before(() => requireTools(TOOLS));
  afterEach(async () => {
    await pool?.stop();
    pool = null;
    await etcd.destroy();
  });

  it('Compacted while it is followed, and while it was away, it loses no change.', async () => {
    etcd = await Etcd.start('127.84.1.9');
    await fill(1, 2, 3);
    pool = open(PLAIN);
    await pool.becomes(THREE);
    const compact = async () => {
      const { header } = JSON.parse(await etcd.ctl('get', 'x', '-w', 'json')) as { header: { revision: number } };
      await etcd.ctl('compact', '--physical', String(header.revision));
    };
    for (let i = 0; i < 20; i++) await etcd.ctl('put', '/other', String(i));
    await compact();
    await etcd.ctl('del', key(3));
    await pool.becomes('10.0.0.1=10 10.0.0.2=10', 1500);
    await etcd.stop();
    await etcd.start();
    await etcd.ctl('del', key(2));
    await fill(4);
    await compact();
    await pool.becomes('10.0.0.1=10 10.0.0.4=10', 35_000);
  });

  it('Two thousand servers come in pages, and huge values make the pages smaller.', async () => {
    etcd = await Etcd.start('127.84.1.3');
    const lines = Array.from({ length: 2000 }, (_, i) => `put ${FOLDER}/10.1.${i >> 8}.${i & 255} ${value('yes')}`);
    // A transaction has 128 operations.
    for (let i = 0; i < lines.length; i += 100) await etcd.txn(lines.slice(i, i + 100));
    const folder = mkdtempSync(join(tmpdir(), 'anybal-etcd-long-'));
    const long = join(folder, 'value');
    writeFileSync(long, 'x'.repeat(1_200_000));
    for (const host of [1, 2, 3, 4, 5]) await etcd.put(`${FOLDER}/10.1.0.${host}`, long);
    rmSync(folder, { recursive: true });
    pool = open(PLAIN);
    await pool.state('current');
    expect(pool.list.split(' ')).to.have.length(1995);
    expect(pool.status.unreadable).to.have.length(5);
  });

  it('With users, a password is a token, and a token that was forgotten is another one.', async () => {
    etcd = await Etcd.start('127.84.1.4', { ctl: ['--user', 'root:pw'] });
    await etcd.secure('pybal', 'secret', FOLDER);
    await fill(1, 2, 3);
    const folder = mkdtempSync(join(tmpdir(), 'anybal-etcd-auth-'));
    const passwordFile = join(folder, 'password');
    writeFileSync(passwordFile, 'wrong\n');
    pool = open({ ...PLAIN, user: 'pybal', passwordFile });
    await pool.fails(/authentication failed/);
    writeFileSync(passwordFile, 'secret\n');
    await pool.becomes(THREE, 35_000);
    // Simple tokens live in the memory of one process.
    await etcd.stop();
    await etcd.start();
    await etcd.ctl('del', key(3));
    await pool.becomes('10.0.0.1=10 10.0.0.2=10', 35_000);
    // Any change of users makes older tokens void.
    await etcd.ctl('user', 'add', 'somebody:else');
    await etcd.ctl('put', key(2), value('no'));
    await pool.becomes('10.0.0.1=10 10.0.0.2=10!', 10_000);
    await setTimeout(11_000);
    expect(pool.status).to.include({ state: 'current', lastError: null });
    expect(pool.log.join('\n')).not.to.match(/secret|wrong/);
    rmSync(folder, { recursive: true });
  });

  it('With TLS and certificates of clients, both sides are who they must be.', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'anybal-etcd-tls-'));
    const pki = makePki(folder, '127.84.1.5');
    const tls = { cert: pki.server.cert, key: pki.server.key, clientCa: pki.ca };
    etcd = await Etcd.start('127.84.1.5', {
      tls,
      ctl: ['--cacert', pki.ca, '--cert', pki.client.cert, '--key', pki.client.key],
    });
    await fill(1, 2, 3);
    const trusting = { caFile: pki.ca, certificateFile: pki.client.cert, keyFile: pki.client.key };
    const refusal = async (access: Partial<typeof ACCESS>) => {
      const refused = open(access);
      try {
        return await refused.fails(/./);
      } finally {
        await refused.stop();
      }
    };
    const [stranger, nobody, plain] = await Promise.all([
      refusal({ certificateFile: pki.client.cert, keyFile: pki.client.key }),
      refusal({ caFile: pki.ca }),
      refusal({ tls: 'off' }),
    ]);
    expect(stranger).to.match(/EPROTO.*certificate/);
    expect(nobody).to.match(/EPROTO|ECONNRESET/);
    expect(plain).to.match(/HTTP 400|ECONNRESET/);
    pool = open(trusting);
    await pool.becomes(THREE);
    await etcd.ctl('del', key(3));
    await pool.becomes('10.0.0.1=10 10.0.0.2=10', 1500);
    await pool.stop();
    pool = open({ ...trusting, caFile: null, tls: 'insecure' });
    await pool.becomes('10.0.0.1=10 10.0.0.2=10');
    rmSync(folder, { recursive: true });
  });

  it('Of several members the first that answers is asked, and the next one when it goes.', async () => {
    etcd = await Etcd.start('127.84.1.6');
    await fill(1, 2, 3);
    const twin = await Etcd.start('127.84.1.7');
    try {
      for (const host of [1, 2, 3]) await twin.ctl('put', key(host), value('yes'));
      pool = open(PLAIN, `127.84.1.8:9,${etcd.at},${twin.at}`);
      await pool.becomes(THREE, 5000);
      await etcd.stop();
      await twin.ctl('del', key(3));
      await pool.becomes('10.0.0.1=10 10.0.0.2=10', 10_000);
      expect(pool.status.state).to.equal('current');
    } finally {
      await twin.destroy();
    }
  });
});

interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** An authority, a server's certificate for this address, and a client's. */
function makePki(
  folder: string,
  address: string,
): { readonly ca: string; readonly server: Pair; readonly client: Pair } {
  const openssl = (...args: readonly string[]) =>
    execFileSync('/usr/bin/openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=authority');
  const issue = (name: string, extension: string): Pair => {
    openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    writeFileSync(join(folder, `${name}.ext`), extension);
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...by);
    return { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
  };
  return {
    ca: join(folder, 'ca.pem'),
    server: issue('server', `subjectAltName=IP:${address}\nextendedKeyUsage=serverAuth,clientAuth\n`),
    client: issue('client', 'extendedKeyUsage=clientAuth\n'),
  };
}
