// Every kind of pool source of the random scenario by itself: no fault of one empties the pool, each is told with the age of the
// list, and when it is over the list is current again and edits are seen. In this way a fault that is drawn at random is known
// to do what it is for.

import { expect } from 'chai';
import { faultsOf, isShortList } from './pool-store.ts';
import { UPHEAVALS } from './pool-watched.ts';
import { HOSTS, SLACK_MS, Stage } from './stage.ts';
import type { PoolEntry, ServicePlan } from './topology.ts';
import { noticeMs } from './truth.ts';

const SOURCES: readonly ServicePlan['source'][] = ['file', 'http', 'etcd', 'etcd v2', 'k8s', 'srv', 'dns'];
const WATCHED: readonly ServicePlan['source'][] = ['etcd', 'etcd v2', 'k8s'];
/** Longest back-off, an answer that is late, and what a resolver remembers. */
const BACK_MS = 50_000;
const CONFIRM_SECONDS = 120;

const entries = (...hosts: readonly string[]): readonly PoolEntry[] =>
  hosts.map((host) => ({ host, weight: 10, enabled: true }));

async function stageOf(source: ServicePlan['source'], over: Partial<ServicePlan> = {}): Promise<Stage> {
  const stage = new Stage({ monitors: ['TCP'], source, shrinkConfirmSeconds: CONFIRM_SECONDS, ...over });
  await stage.start();
  return stage;
}

/** An edit is seen, and its opposite. */
async function follows(stage: Stage, withinMs: number, when: string): Promise<void> {
  const { scene, service } = stage;
  scene.store.publish(service, entries('cp1', 'cp2'));
  await stage.pass(withinMs);
  expect(stage.pooled, `an edit ${when}`).to.deep.equal(['cp1', 'cp2']);
  scene.store.publish(service, entries(...HOSTS));
  await stage.pass(withinMs + noticeMs(service));
  expect(stage.pooled, `another edit ${when}`).to.deep.equal(HOSTS);
}

describe('A simulated pool source that is not what it should be', function () {
  this.timeout(60_000);

  for (const source of SOURCES) {
    it(`empties no pool, is named with the age of its list, and is heard again (${source})`, async () => {
      const stage = await stageOf(source);
      const { scene, service } = stage;
      for (const fault of faultsOf(service)) {
        scene.store.setFault(service, fault);
        await stage.pass(60_000);
        expect(stage.pooled, fault).to.deep.equal(HOSTS);
        const { source: during } = await stage.view();
        expect(during?.servers, fault).to.equal(HOSTS.length);
        if (fault === 'late') expect(during?.state, fault).to.equal('current');
        else {
          expect(during?.state, fault).to.be.oneOf(
            isShortList(service, fault) ? ['suspect', 'stale', 'unparsable'] : ['stale', 'unparsable'],
          );
          expect(during?.note, fault).to.be.a('string').that.has.length.above(5);
          expect(during?.ageSeconds, fault).to.be.within(20, 75);
        }
        scene.store.setFault(service, null);
        await stage.pass(BACK_MS);
        const { source: after } = await stage.view();
        expect(after, `after ${fault}`).to.include({ state: 'current', note: null });
        expect(after?.ageSeconds, `after ${fault}`).to.be.below(35);
        await follows(stage, BACK_MS, `after ${fault}`);
      }
      expect(stage.violations).to.deep.equal([]);
    });
  }

  for (const source of ['srv', 'dns'] as const) {
    it(`is heard when names can be looked up again on this machine (${source})`, async () => {
      const stage = await stageOf(source);
      const { resolver } = stage.director.machine;
      for (const state of ['failing', 'silent'] as const) {
        resolver.state = state;
        await stage.pass(60_000);
        expect(stage.pooled, state).to.deep.equal(HOSTS);
        expect((await stage.view()).source?.state, state).to.equal('stale');
        resolver.state = 'answers';
        await stage.pass(BACK_MS);
        await follows(stage, 20_000, `after ${state}`);
      }
    });
  }

  it('is followed when the addresses that it consists of move (dns)', async () => {
    const stage = await stageOf('dns');
    const { truth, site } = stage.scene;
    const server = stage.scene.servers.get('cp1');
    if (server === undefined) throw new Error('no cp1');
    for (const address of ['10.0.3.1', '10.0.4.1']) {
      site.network.give(server.host, address);
      truth.setAddresses('cp1', [address, '2001:db8:2::1']);
      await stage.pass(20_000 + noticeMs(stage.service) + SLACK_MS);
      expect(stage.pooled, address).to.deep.equal(HOSTS);
    }
    expect(stage.violations).to.deep.equal([]);
  });
});

describe('A simulated store', function () {
  this.timeout(60_000);

  for (const source of WATCHED) {
    for (const apiNamed of source === 'k8s' ? [true] : [true, false]) {
      it(`is followed within seconds whatever becomes of its history (${source}${apiNamed ? '' : ', found out'})`, async () => {
        const stage = await stageOf(source, { apiNamed });
        const { store } = stage.scene;
        await follows(stage, 5_000, 'at first');
        for (const upheaval of [...UPHEAVALS, ...UPHEAVALS]) {
          expect(store.upset(stage.service, upheaval)).to.equal(true);
          await follows(stage, 15_000, `after it ${upheaval}`);
          expect((await stage.view()).source?.state, upheaval).to.equal('current');
        }
        expect(stage.violations).to.deep.equal([]);
      });
    }
  }
});
