// Every monitor of the random scenario by itself: each fault of a server takes it out in time, each end of one brings it back,
// and what is our own fault moves nobody. In this way a fault that is drawn at random is known to do what it is for.

import { expect } from 'chai';
import { feedFaultsOf } from './feeds.ts';
import { SSH_FILES } from './conf.ts';
import { MONITORS } from './monitors.ts';
import { PROGRAM } from './program.ts';
import { Random } from './random.ts';
import { Scene } from './scene.ts';
import { BROKEN, type ServerState } from './server.ts';
import { makeSite } from './site.ts';
import {
  type MonitorName,
  NOT_ON_PATH,
  type ServicePlan,
  drawService,
  serviceKeyOf,
  type Topology,
} from './topology.ts';
import { failureMs, noticeMs } from './truth.ts';

const HOSTS = ['cp1', 'cp2', 'cp3'] as const;
/** A decision and its writes, read back. */
const SLACK_MS = 10_000;

const PLAIN: ServicePlan = {
  ...drawService(new Random(1), 0),
  vip: '192.0.2.1',
  scheduler: 'wrr',
  threshold: 0,
  announce: 'served',
  forward: 'dr',
  realPort: 8000,
  rise: 1,
  fall: 1,
  drainSeconds: 0,
  presence: 'route',
  via: 'server',
  needed: 1,
  fastSeconds: null,
  slowSeconds: null,
  slowStartSeconds: 0,
  intervalSeconds: 5,
  timeoutSeconds: 3,
  maxDelaySeconds: 5,
  source: 'file',
  json: false,
  bgp: true,
};

class Stage {
  readonly scene: Scene;
  readonly service: ServicePlan;

  constructor(over: Partial<ServicePlan>) {
    const monitors = over.monitors ?? PLAIN.monitors;
    const datagrams = monitors.some((name) => name === 'DNS' || name === 'DNSQuery' || name === 'UDP');
    this.service = { ...PLAIN, protocol: datagrams ? 'udp' : 'tcp', needed: monitors.length, ...over };
    this.scene = new Scene(makeSite(1), topologyOf(this.service), PROGRAM, MONITORS);
  }

  async start(): Promise<void> {
    for (const director of this.scene.directors.values()) this.scene.start(director);
    await this.pass(noticeMs(this.service) + SLACK_MS);
    expect(this.pooled, 'at first').to.deep.equal(HOSTS);
  }

  pass(ms: number): Promise<void> {
    const { scheduler } = this.scene.site;
    return scheduler.run(scheduler.now + ms, () => this.scene.laws.broken);
  }

  /** Who is in the kernel, with a weight. */
  get pooled(): readonly string[] {
    const entry = this.director.machine.kernel.table.get(serviceKeyOf(this.service));
    const there = new Set([...(entry?.destinations.values() ?? [])].map(({ address }) => address));
    return HOSTS.filter((host) => this.scene.truth.addresses(host, this.service.vip).some((one) => there.has(one)));
  }

  get director() {
    const [director] = this.scene.directors.values();
    if (director === undefined) throw new Error('no director');
    return director;
  }

  set(state: ServerState): void {
    this.scene.servers.get('cp1')?.set(state);
    this.scene.look();
  }

  get violations(): readonly string[] {
    return this.scene.laws.violations.map(({ law, text }) => `${law}: ${text}`);
  }
}

function topologyOf(service: ServicePlan): Topology {
  const servers = HOSTS.map((host, i) => ({ host, address: `10.0.2.${i + 1}`, address6: `2001:db8:2::${i + 1}` }));
  return {
    directors: [{ name: 'd1', address: '10.0.0.11', address6: '2001:db8::11', med: 0 }],
    routers: [{ name: 'r1', address: '10.0.0.1', asn: 64_700 }],
    servers,
    services: [service],
    pools: new Map([[service.name, HOSTS.map((host) => ({ host, weight: 10, enabled: true }))]]),
    holdTimeSeconds: 9,
    reconcilePeriodSeconds: 2,
    reconcileLimitSeconds: 10,
    withdrawWaitSeconds: 1,
    resolveIntervalSeconds: 30,
    ttlSeconds: 5,
    bfd: false,
    timeouts: { tcp: 900, tcpFin: 120, udp: 300 },
  };
}

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
