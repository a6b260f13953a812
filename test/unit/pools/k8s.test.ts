import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import type { ServiceConfig } from '../../../src/config/types.ts';
import { CERTIFICATE, KEY } from '../../support/certificate.ts';
import { FakeK8s, type NodePlan } from '../../support/fake-k8s.ts';
import { response } from '../../support/fake-world.ts';
import { expectPlayedOut, FaultyPool, PATH_FAULTS } from '../../support/faulty-pool.ts';
import { listenSomewhere } from '../../support/listen.ts';
import { serviceConfig } from '../../support/service-config.ts';
import { WatchedPool } from '../../support/watched-pool.ts';
import { createNames, NAMES_DEFAULTS } from '../../../src/world/real/names.ts';
import { createHttp } from '../../../src/world/real/http.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';

const { sourceAccess: ACCESS } = serviceConfig();

/** The nodes of a fake cluster as a pool. */
class NodePool extends FaultyPool {
  readonly k8s: FakeK8s;

  constructor(nodes: Readonly<Record<string, NodePlan>>, service: Partial<ServiceConfig> = {}) {
    const k8s = new FakeK8s();
    for (const [name, plan] of Object.entries(nodes)) k8s.set(name, plan);
    super({ source: 'k8s://right@api:6443', ...service }, ({ url, headers = {} }) => {
      const answer = k8s.answer(url, headers['authorization']);
      if (!('open' in answer)) return response(answer.status, answer.body);
      return { open: (push, end) => answer.open(push, () => end(null)) };
    });
    this.k8s = k8s;
  }
}

describe('nodes of Kubernetes', () => {
  let pool: NodePool;
  const start = async (...how: ConstructorParameters<typeof NodePool>): Promise<NodePool> => {
    pool = new NodePool(...how);
    await pool.fake.clock.advance(100);
    return pool;
  };
  afterEach(async () => {
    await pool.stop();
    expect(pool.fake.clock.pending, 'timers left after stop').to.equal(0);
    expect(pool.k8s.watchers, 'watches left after stop').to.equal(0);
  });

  it('serve when they are ready, neither cordoned nor being emptied; weight 1.', async () => {
    const taint = (key: string, effect: string) => ({ taints: [{ key, effect }] });
    const { list } = await start({
      n1: {},
      n2: { ready: 'False' },
      n3: { unschedulable: true },
      n4: taint('maintenance', 'NoExecute'),
      n5: taint('node-role.kubernetes.io/control-plane', 'NoSchedule'),
      n6: taint('ToBeDeletedByClusterAutoscaler', 'NoSchedule'),
      n7: { labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } },
      n8: { ready: 'Unknown' },
    });
    expect(list).to.equal('n1=1 n2=1! n3=1! n4=1! n5=1 n6=1!');
    expect(pool.status?.complaints.join()).to.match(/n8: Ready is Unknown/);
  });

  it('that the cluster hears nothing of stay as they were, all at once too: our own checks look at them.', async () => {
    await start({ n1: {}, n2: {}, n3: { ready: 'False' } });
    for (const name of ['n1', 'n2', 'n3'])
      pool.k8s.set(name, {
        ready: 'Unknown',
        taints: [{ key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' }],
      });
    await pool.fake.clock.advance(150);
    expect(pool.list).to.equal('n1=1 n2=1 n3=1!');
    expect(pool.status?.unreadable).to.have.length(3);
  });

  it('come in pages, and are selected by their labels; one that loses the label is gone.', async () => {
    const nodes = Array.from(
      { length: 250 },
      (_, i) => [`n${i}`, { labels: { role: i < 230 ? 'edge' : 'db' } }] as const,
    );
    await start(Object.fromEntries(nodes), { sourceAccess: { ...ACCESS, labelSelector: 'role=edge' } });
    expect(pool.hosts).to.have.length(230);
    expect(pool.fake.requests.filter(({ url }) => url.includes('continue='))).to.have.length(2);
    pool.k8s.set('n7', { labels: { role: 'db' } });
    pool.k8s.set('n240', { labels: { role: 'edge' } });
    await pool.fake.clock.advance(150);
    expect(pool.hosts.map(({ host }) => host))
      .to.include('n240')
      .and.not.include('n7');
  });

  it('can be taken by an address of the family of the service.', async () => {
    const addresses = [
      { type: 'InternalIP', address: '10.1.0.1' },
      { type: 'InternalIP', address: '2001:DB8::1' },
      { type: 'ExternalIP', address: '192.0.2.7' },
    ];
    const sourceAccess = { ...ACCESS, nodeAddress: 'internal-ip' } as const;
    const { list } = await start({ n1: { addresses }, n2: {} }, { sourceAccess, family: 6, vip: '2001:db8::100' });
    expect(list).to.equal('2001:db8::1=1');
    expect(pool.status?.complaints.join()).to.match(/n2: no internal-ip of IPv6/);
  });

  it('that have lost their address stay as they were, in the watch and in a new list, until they are gone.', async () => {
    const at = (address: string) => ({ addresses: [{ type: 'InternalIP', address }] });
    const sourceAccess = { ...ACCESS, nodeAddress: 'internal-ip' } as const;
    await start({ n1: at('10.1.0.1'), n2: at('10.1.0.2'), n3: at('10.1.0.3') }, { sourceAccess });
    pool.k8s.set('n2', { ready: 'False' });
    await pool.fake.clock.advance(150);
    expect(pool.list).to.equal('10.1.0.1=1 10.1.0.2=1 10.1.0.3=1');
    expect(pool.status?.unreadable).to.deep.equal(['10.1.0.2: node n2 has no internal-ip of IPv4']);
    pool.k8s.compact();
    pool.k8s.expireWatches();
    await pool.fake.clock.advance(5000);
    expect(pool.list).to.equal('10.1.0.1=1 10.1.0.2=1 10.1.0.3=1');
    pool.k8s.remove('n2');
    await pool.fake.clock.advance(150);
    pool.k8s.set('n2');
    await pool.fake.clock.advance(150);
    expect(pool.list).to.equal('10.1.0.1=1 10.1.0.3=1');
    pool.k8s.set('n2', at('10.1.0.7'));
    await pool.fake.clock.advance(150);
    expect(pool.list).to.equal('10.1.0.1=1 10.1.0.3=1 10.1.0.7=1');
  });

  it('are followed from where a watch ended in order, bookmarks counted, and listed again only after 410.', async () => {
    await start({ n1: {}, n2: {} });
    const lists = () => pool.fake.requests.filter(({ url }) => /limit=100\b/.test(url)).length;
    pool.k8s.bookmark();
    pool.k8s.endWatches();
    pool.k8s.set('n3');
    await pool.fake.clock.advance(3000);
    expect([pool.list, lists()]).to.deep.equal(['n1=1 n2=1 n3=1', 1]);
    expect(pool.fake.requests.at(-2)?.url ?? '').to.match(/resourceVersion=103&/);
    for (const gone of ['status', 'event'] as const) {
      pool.k8s.gone = gone;
      pool.k8s.endWatches();
      pool.k8s.remove(gone === 'status' ? 'n3' : 'n2');
      pool.k8s.bookmark();
      pool.k8s.compact();
      await pool.fake.clock.advance(3000);
    }
    expect([pool.list, lists()]).to.deep.equal(['n1=1', 3]);
    pool.k8s.expireWatches();
    pool.k8s.set('n4');
    await pool.fake.clock.advance(1500);
    expect([pool.list, lists()]).to.deep.equal(['n1=1 n4=1', 4]);
  });

  it('whose watch fell silent are right again when it should have ended.', async () => {
    await start({ n1: {}, n2: {} }, { sourceAccess: { ...ACCESS, labelSelector: 'a=' } });
    pool.k8s.set('n1', { labels: { a: '' } });
    pool.k8s.set('n2', { labels: { a: '' } });
    await pool.fake.clock.advance(150);
    pool.k8s.deafen();
    pool.k8s.set('n2', { ready: 'False', labels: { a: '' } });
    await pool.fake.clock.advance(45_000);
    expect(pool.list).to.equal('n1=1 n2=1!');
  });

  for (const [how, token] of [
    ['the same page again and again', () => 'next'],
    ['pages that are empty', (page: number) => `next-${page}`],
  ] as const) {
    it(`stay as they were while the cluster lists ${how}, and that is said.`, async () => {
      await start({ n1: {}, n2: {} });
      const answer = pool.fake.reply;
      let pages = 0;
      pool.fake.reply = ({ url }) => {
        if (url.includes('watch=true')) return response(410, '{}');
        const metadata = { resourceVersion: '9', continue: token(pages++) };
        return response(200, JSON.stringify({ metadata, items: [] }));
      };
      pool.k8s.expireWatches();
      await pool.fake.clock.advance(60_000);
      expect(pool.list).to.equal('n1=1 n2=1');
      expect(pool.status).to.include({ state: 'stale', lastError: 'a list that does not go on, and never ends' });
      expect(pages, 'back-off').to.be.below(1000);
      pool.fake.reply = answer;
      await pool.fake.clock.advance(31_000);
      expect(pool.status).to.include({ state: 'current' });
    });
  }

  it('may come with empty pages between the others.', async () => {
    pool = new NodePool({ n1: {}, n2: {} });
    const answer = pool.fake.reply;
    pool.fake.reply = (request) => {
      if (request.url.includes('watch=true')) return answer(request);
      if (request.url.includes('continue='))
        return answer({ ...request, url: request.url.replace(/&continue=[^&]*/, '') });
      return response(200, JSON.stringify({ metadata: { continue: 'next' }, items: [] }));
    };
    await pool.fake.clock.advance(100);
    expect(pool.list).to.equal('n1=1 n2=1');
  });

  it('are asked for with the token in the file, as it is now, and it is never shown.', async () => {
    pool = new NodePool({ n1: {} }, { source: 'k8s://old@api', sourceAccess: { ...ACCESS, tokenFile: '/token' } });
    pool.fake.write('/token', 'secret\n');
    await pool.fake.clock.advance(5000);
    expect(pool.status?.lastError).to.equal('HTTP 401: Unauthorized');
    pool.k8s.token = 'secret';
    await pool.fake.clock.advance(30_000);
    expect(pool.list).to.equal('n1=1');
    expect(JSON.stringify([pool.fake.lines, pool.status])).not.to.match(/secret|old/);
  });

  it('equal the cluster after whatever happened, and a fault never empties them.', async () => {
    const name = fc.integer({ min: 1, max: 4 }).map((n) => `n${n}`);
    const plan = fc.record({ ready: fc.constantFrom('True', 'False'), unschedulable: fc.boolean() });
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), name, plan }),
      fc.record({ do: fc.constant('remove' as const), name }),
      fc.record({ do: fc.constantFrom('compact', 'expireWatches', 'endWatches', 'deafen', 'bookmark') }),
      fc.record({ do: fc.constant('reset' as const) }),
      fc.record({ do: fc.constant('gone' as const), gone: fc.constantFrom('event', 'status') }),
      fc.record({
        do: fc.constant('fault' as const),
        fault: fc.constantFrom('none', ...PATH_FAULTS),
      }),
      fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 40_000 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const play = new NodePool({ n1: {}, n9: {} });
        const truth = new Map([
          ['n1', true],
          ['n9', true],
        ]);
        const acting = async () => {
          for (const each of steps) {
            switch (each.do) {
              case 'set':
                play.k8s.set(each.name, each.plan as NodePlan);
                truth.set(each.name, each.plan.ready === 'True' && !each.plan.unschedulable);
                break;
              case 'remove':
                play.k8s.remove(each.name);
                truth.delete(each.name);
                break;
              case 'gone':
                play.k8s.gone = each.gone as 'event' | 'status';
                break;
              case 'fault':
                play.fault = each.fault;
                if (each.fault !== 'none') play.reset();
                break;
              case 'wait':
                await play.fake.clock.advance(each.ms);
                break;
              case 'reset':
                play.reset();
                break;
              default:
                play.k8s[each.do as 'compact' | 'expireWatches' | 'endWatches' | 'deafen' | 'bookmark']();
            }
          }
        };
        await expectPlayedOut(play, acting, {
          settleMs: 90_000,
          expected: () =>
            [...truth]
              .map(([node, on]) => `${node}=1${on ? '' : '!'}`)
              .sort()
              .join(' '),
          watchers: () => play.k8s.watchers,
        });
      }),
      { numRuns: 100 },
    );
  });
});

describe('nodes of Kubernetes on a real socket', () => {
  it('are read over TLS, by the authority in the file, and followed.', async () => {
    const k8s = new FakeK8s();
    k8s.set('n1');
    k8s.set('n2', { unschedulable: true });
    const server = createServer({ cert: CERTIFICATE, key: KEY }, (request, reply) => {
      const answer = k8s.answer(request.url ?? '', request.headers.authorization);
      if (!('open' in answer)) return void reply.writeHead(answer.status).end(answer.body);
      reply.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      const close = answer.open(
        (text) => reply.write(text),
        () => reply.end(),
      );
      reply.on('close', close);
    });
    const port = await listenSomewhere(server);
    const folder = await mkdtemp(join(tmpdir(), 'anybal-k8s-'));
    const [caFile, tokenFile, hostsFile] = ['ca.pem', 'token', 'hosts'].map((name) => join(folder, name));
    if (caFile === undefined || tokenFile === undefined || hostsFile === undefined) throw new Error('no paths');
    await writeFile(caFile, CERTIFICATE);
    await writeFile(tokenFile, 'right\n');
    await writeFile(hostsFile, '127.0.0.1 real.example\n');
    const names = createNames({ ...NAMES_DEFAULTS, hostsFile });
    const pool = new WatchedPool(
      { source: `k8s://real.example:${port}`, sourceAccess: { ...ACCESS, caFile, tokenFile } },
      { names, http: createHttp(names, systemAuthorities(), () => {}) },
    );
    try {
      await pool.becomes('n1=1 n2=1!', 5000);
      k8s.set('n2');
      k8s.remove('n1');
      k8s.set('n3');
      await pool.becomes('n2=1 n3=1', 1000);
      k8s.endWatches();
      k8s.set('n4');
      await pool.becomes('n2=1 n3=1 n4=1', 3000);
    } finally {
      await pool.stop();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true });
    }
  });
});
