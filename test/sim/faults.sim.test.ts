// Every monitor of the random scenario by itself: each fault of a server takes it out in time, each end of one brings it back,
// and what is our own fault moves nobody. In this way a fault that is drawn at random is known to do what it is for.

import { expect } from 'chai';
import { SSH_FILES } from './conf.ts';
import { feedFaultsOf } from './feeds.ts';
import { MONITORS } from './monitors.ts';
import { BROKEN } from './server.ts';
import { HOSTS, SLACK_MS, Stage } from './stage.ts';
import { type MonitorName, NOT_ON_PATH, type ServicePlan } from './topology.ts';
import { failureMs, noticeMs } from './truth.ts';

const NAMES: readonly MonitorName[] = [
  'Agent',
  'DNS',
  'DNSQuery',
  'File',
  'GRPC',
  'HTTP',
  'IdleConnection',
  'Ping',
  'ProxyFetch',
  'RunCommand',
  'SMTP',
  'SSH',
  'TCP',
  'UDP',
];

describe('Each fault of a simulated server', function () {
  this.timeout(60_000);

  it('is tried with every monitor that there is', () => {
    const known = new Set([...MONITORS.values()].map(({ name }) => name));
    expect([...known].sort()).to.deep.equal([...NAMES].sort());
  });

  for (const name of NAMES) {
    const plans: Partial<ServicePlan>[] = [
      { monitors: [name] },
      ...(NOT_ON_PATH.includes(name) ? [] : [{ monitors: [name], via: 'path' as const, sshMode: 'banner' as const }]),
    ];
    for (const plan of plans) {
      it(`is noticed by ${name}${plan.via === 'path' ? ' through the path' : ''}, and so is its end`, async () => {
        const stage = new Stage(plan);
        await stage.start();
        for (const state of BROKEN) {
          const noticed = !stage.scene.servers.get('cp1')?.isUpFor(name);
          expect(noticed, 'before').to.equal(false);
          stage.set(state);
          const up = stage.scene.servers.get('cp1')?.isUpFor(name) === true;
          await stage.pass(failureMs(stage.service) + SLACK_MS);
          expect(stage.pooled, state).to.deep.equal(up ? HOSTS : ['cp2', 'cp3']);
          stage.set('serving');
          await stage.pass(noticeMs(stage.service) + SLACK_MS);
          expect(stage.pooled, `after ${state}`).to.deep.equal(HOSTS);
        }
        expect(stage.violations).to.deep.equal([]);
      });
    }
  }

  for (const sshMode of ['banner', 'login'] as const) {
    it(`is noticed by SSH, ${sshMode}; that its files are not there is nobody's fault`, async () => {
      const stage = new Stage({ monitors: ['SSH'], sshMode });
      await stage.start();
      const { disk } = stage.director.machine;
      for (const path of SSH_FILES) disk.remove(path);
      await stage.pass(60_000);
      expect(stage.pooled).to.deep.equal(HOSTS);
      stage.set('erring');
      await stage.pass(failureMs(stage.service) + SLACK_MS);
      expect(stage.pooled).to.deep.equal(sshMode === 'login' ? HOSTS : ['cp2', 'cp3']);
    });
  }
});

describe('A simulated fault of our own', function () {
  this.timeout(60_000);

  for (const name of NAMES) {
    it(`moves nobody whom ${name} asks`, async () => {
      const stage = new Stage({ monitors: [name] });
      await stage.start();
      const { host, commands } = stage.director.machine;
      for (const error of ['EMFILE', 'ENETUNREACH', 'EADDRNOTAVAIL']) {
        host.connectError = error;
        commands.startError = 'EMFILE';
        await stage.pass(60_000);
        expect(stage.pooled, error).to.deep.equal(HOSTS);
        host.connectError = null;
        commands.startError = null;
        await stage.pass(10_000);
      }
    });
  }
});

describe('A simulated document that is not what it should be', function () {
  this.timeout(60_000);

  for (const feed of ['path', 'url'] as const) {
    it(`moves nobody, whatever it is that is wrong (${feed})`, async () => {
      const stage = new Stage({ monitors: ['File'], feed, feedJson: feed === 'url' });
      await stage.start();
      const { feeds } = stage.scene;
      for (const fault of feedFaultsOf(stage.service)) {
        feeds.setFault(stage.service, fault);
        stage.set('refusing');
        await stage.pass(90_000);
        expect(stage.pooled, fault).to.deep.equal(HOSTS);
        stage.set('serving');
        feeds.setFault(stage.service, null);
        await stage.pass(noticeMs(stage.service) + SLACK_MS);
        expect(stage.pooled, `after ${fault}`).to.deep.equal(HOSTS);
      }
      stage.director.machine.wallSkewMs += 3_600_000;
      stage.set('refusing');
      await stage.pass(60_000);
      expect(stage.pooled, 'our clock is wrong').to.deep.equal(HOSTS);
    });
  }
});
