// Sources of pools behind a wire that takes nothing, in both directions, while they are followed: connections that stand, and die of
// nothing. What changes meanwhile is history when the wire is whole again, and a part of that history is gone.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { createNames, NAMES_DEFAULTS } from '../../src/world/real/names.ts';
import { Etcd } from '../support/etcd.ts';
import type { K8sOrder } from '../support/k8s-child.ts';
import { eventually, kill, Namespace, output, requireTools } from '../support/namespace.ts';
import { serviceConfig } from '../support/service-config.ts';
import { WatchedPool } from '../support/watched-pool.ts';

const NAME = 'anybal-part';
const AT = '10.88.0.2';
const K8S_PORT = 6443;
const FOLDER = '/conftool/v1/pools/dc/cluster/service';
/** What README.md says of watches: a question every 10 s at the latest, and 5 s for its answer. The rest is this machine's. */
const NOTICED_MS = 15_000 + 2_000;
/** Attempts come 30 s apart at most, and one takes 5 s. */
const HEALED_MS = 35_000 + 2_000;
const { sourceAccess: ACCESS } = serviceConfig();
const PLAIN = { ...ACCESS, tls: 'off' } as const;
const CHILD = fileURLToPath(new URL('../support/k8s-child.js', import.meta.url));

/** What is behind the wire, as a pool; each makes servers of these in its own way. */
interface Behind {
  readonly name: string;
  /** Becomes this list. */
  edit(hosts: readonly number[]): Promise<void>;
  /** Lets nobody who was away read what happened before now. */
  compact(): Promise<void>;
  /** How its pool shows these. */
  shown(hosts: readonly number[]): string;
  /** How its silence is named. */
  readonly silence: RegExp;
  open(): WatchedPool;
}

type Followed = Behind & { readonly pool: WatchedPool };

describe('interop: sources of pools and a partition', function () {
  this.timeout(120_000);
  let namespace: Namespace;
  let folder: string;
  let etcd: Etcd;
  let k8s: ChildProcess;
  let nsd: ChildProcess;
  let serial = 1;
  const all: Followed[] = [];

  const inside = (...command: readonly string[]) => output('ip', 'netns', 'exec', NAME, ...command);
  const etcdShown = (hosts: readonly number[]) => hosts.map((host) => `10.0.0.${host}=10`).join(' ');

  before(async () => {
    requireTools({
      '/usr/bin/etcd': 'etcd-server',
      '/usr/bin/etcdctl': 'etcd-client',
      '/usr/bin/socat': 'socat',
      '/usr/sbin/nsd': 'nsd',
      '/usr/sbin/nginx': 'nginx-light',
      '/usr/sbin/nft': 'nftables',
      '/usr/sbin/ip': 'iproute2',
    });
    folder = mkdtempSync(join(tmpdir(), 'anybal-part-'));
    namespace = await Namespace.create(NAME, ['10.88.0.1/24'], [`${AT}/24`]);
    etcd = await Etcd.start(AT, { v2: true, within: NAME });
    const behind = [etcdV3(), etcdV2(), await nodes(), zone(), page()];
    for (const { edit } of behind) await edit([1, 2, 3]);
    all.push(...behind.map((each) => ({ ...each, pool: each.open() })));
    // A server that was not there yet is asked again after a while.
    await Promise.all(all.map((each) => named(each, each.pool.becomes(each.shown([1, 2, 3]), HEALED_MS))));
  });
  afterEach(() => inside('nft', 'flush', 'ruleset'));
  after(async () => {
    await Promise.all(all.map(({ pool }) => pool.stop()));
    await etcd?.destroy();
    if (k8s !== undefined) await kill(k8s);
    await namespace?.destroy();
    rmSync(folder, { recursive: true, force: true });
  });

  function etcdV3(): Behind {
    return {
      name: 'etcd, v3',
      open: () => new WatchedPool({ source: `etcd://${AT}:2379${FOLDER}`, sourceAccess: PLAIN }),
      silence: /ETIMEDOUT/,
      shown: etcdShown,
      async edit(hosts) {
        for (const host of [1, 2, 3, 4]) {
          const key = `${FOLDER}/10.0.0.${host}`;
          await (hosts.includes(host) ? etcd.ctl('put', key, '{"pooled": "yes", "weight": 10}') : etcd.ctl('del', key));
        }
      },
      async compact() {
        const { header } = JSON.parse(await etcd.ctl('get', 'x', '-w', 'json')) as { header: { revision: number } };
        await etcd.ctl('compact', '--physical', String(header.revision));
      },
    };
  }

  function etcdV2(): Behind {
    const v2 = `${FOLDER}/v2`;
    return {
      name: 'etcd, v2',
      open: () => new WatchedPool({ source: `etcd://${AT}:2379${v2}`, sourceAccess: PLAIN }),
      silence: /ETIMEDOUT/,
      shown: etcdShown,
      async edit(hosts) {
        for (const host of [1, 2, 3, 4]) {
          const key = `${v2}/10.0.0.${host}`;
          await (hosts.includes(host)
            ? etcd.ctl2('set', key, '{"pooled": "yes", "weight": 10}')
            : etcd.ctl2('rm', key).catch(() => {}));
        }
      },
      /** Of all keys, the last thousand events are kept. */
      async compact() {
        const again = `for i in $(seq 1050); do printf 'PUT /v2/keys/other?value=%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' $i; done`;
        await inside('sh', '-c', `(${again}; sleep 1) | socat -t 5 - TCP:${AT}:2379 > /dev/null`);
        expect((await etcd.ctl2('get', '/other')).trim()).to.equal('1050');
      },
    };
  }

  async function nodes(): Promise<Behind> {
    const child = spawn('ip', ['netns', 'exec', NAME, process.execPath, CHILD, AT, `${K8S_PORT}`], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    k8s = child;
    const answered = () => new Promise((resolve) => child.once('message', resolve));
    await answered();
    const tell = async (order: K8sOrder) => {
      const answer = answered();
      child.send(order);
      await answer;
    };
    return {
      name: 'nodes of Kubernetes',
      open: () => new WatchedPool({ source: `k8s://right@${AT}:${K8S_PORT}`, sourceAccess: PLAIN }),
      silence: /ETIMEDOUT/,
      shown: (hosts) => hosts.map((host) => `n${host}=1`).join(' '),
      async edit(hosts) {
        for (const host of [1, 2, 3, 4]) {
          const name = `n${host}`;
          await tell(hosts.includes(host) ? { do: 'set', name, plan: {} } : { do: 'remove', name });
        }
      },
      compact: () => tell({ do: 'compact' }),
    };
  }

  function zone(): Behind {
    const config = [
      'server:',
      ` ip-address: ${AT}`,
      ' username: ""',
      ' database: ""',
      ' xfrdfile: ""',
      ` zonesdir: "${folder}"`,
      ` zonelistfile: "${join(folder, 'zones')}"`,
      ' pidfile: ""',
      ' server-count: 1',
      'remote-control:',
      ' control-enable: no',
      'zone:',
      ' name: example',
      ' zonefile: zone',
    ];
    writeFileSync(join(folder, 'nsd.conf'), `${config.join('\n')}\n`);
    const names = createNames({ ...NAMES_DEFAULTS, resolvFile: '/dev/null', timeoutMs: 500, tries: 2, servers: [AT] });
    const edit = async (hosts: readonly number[]) => {
      const soa = `@ SOA ns host ${++serial} 60 60 60 1`;
      const records = hosts.map((host) => `pool A 10.0.0.${host}`);
      writeFileSync(join(folder, 'zone'), ['$TTL 1', soa, '@ NS ns', 'ns A 127.0.0.1', ...records, ''].join('\n'));
      // It reads a zone again only when its own tools say so, which want keys.
      if (nsd !== undefined) await kill(nsd);
      nsd = namespace.spawn('/usr/sbin/nsd', '-d', '-c', join(folder, 'nsd.conf'));
    };
    return {
      name: 'DNS',
      open: () => new WatchedPool({ source: 'dns://pool.example' }, { names }),
      silence: /ETIMEOUT|no answer/,
      shown: etcdShown,
      edit,
      compact: async () => {},
    };
  }

  function page(): Behind {
    const file = join(folder, 'text');
    const config = [
      `daemon off; master_process off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;`,
      `events {} http { access_log off; client_body_temp_path ${folder}/1; proxy_temp_path ${folder}/2;`,
      `fastcgi_temp_path ${folder}/3; uwsgi_temp_path ${folder}/4; scgi_temp_path ${folder}/5;`,
      `server { listen ${AT}:80; root ${folder}; } }`,
    ];
    writeFileSync(join(folder, 'nginx.conf'), config.join('\n'));
    namespace.spawn('/usr/sbin/nginx', '-c', join(folder, 'nginx.conf'), '-p', folder);
    return {
      name: 'a page',
      open: () => new WatchedPool({ source: `http://${AT}/text` }),
      silence: /ETIMEDOUT/,
      shown: etcdShown,
      edit: async (hosts) => {
        const line = (host: number) => `{ 'host': '10.0.0.${host}', 'weight': 10, 'enabled': True }\n`;
        writeFileSync(file, hosts.map(line).join(''));
      },
      compact: async () => {},
    };
  }

  /** `both`: nothing passes; `theirs`: what they say does not, and what we say is heard. */
  async function part(which: 'both' | 'theirs'): Promise<void> {
    const chain = (hook: string, rule: string) =>
      `chain ${hook} { type filter hook ${hook} priority 0; ${rule} "wire" drop; };`;
    const input = which === 'both' ? chain('input', 'iifname') : '';
    writeFileSync(join(folder, 'part.nft'), `table inet part { ${input} ${chain('output', 'oifname')} };`);
    await inside('nft', '-f', join(folder, 'part.nft'));
  }

  const heal = () => inside('nft', 'flush', 'ruleset');
  const named = async <T>(each: Followed, done: Promise<T>): Promise<T> =>
    done.catch((error: unknown) => {
      throw new Error(`${each.name}: ${String(error)}`);
    });

  for (const which of ['both', 'theirs'] as const) {
    const title = which === 'both' ? 'a wire that takes nothing' : 'a wire that brings nothing back';
    it(`${title} is noticed and named in time, leaves the pools as they are, and after it they are right again`, async () => {
      const was = all.map(({ pool }) => [pool.list, pool.lists.length] as const);
      await part(which);
      const start = Date.now();
      for (const { edit, compact } of all) {
        await edit([2, 3, 4]);
        await compact();
      }
      await Promise.all(
        all.map((each) => named(each, each.pool.fails(each.silence, NOTICED_MS - (Date.now() - start)))),
      );
      for (const [i, { name, pool }] of all.entries())
        expect([pool.list, pool.lists.length], name).to.deep.equal(was[i]);
      await heal();
      await Promise.all(
        all.map(async (each) => {
          await named(each, each.pool.becomes(each.shown([2, 3, 4]), HEALED_MS));
          await named(each, each.pool.state('current'));
          expect(each.pool.lists.length, each.name).to.equal((was[all.indexOf(each)]?.[1] ?? 0) + 1);
        }),
      );
      // And are followed as before.
      for (const each of all) {
        await each.edit([1, 2, 3]);
        await named(each, each.pool.becomes(each.shown([1, 2, 3]), 10_000));
      }
    });
  }

  it('what happened in a short one is there soon after', async () => {
    await part('both');
    for (const { edit, compact } of all) {
      await edit([1, 3]);
      await compact();
    }
    await sleep(2_000);
    await heal();
    await Promise.all(all.map((each) => named(each, each.pool.becomes(each.shown([1, 3]), NOTICED_MS))));
  });
});
