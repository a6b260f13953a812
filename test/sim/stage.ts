// One director, one router and three servers of one service, for tests that try a fault by itself. Called by faults.sim.test.ts
// and sources.sim.test.ts.

import { expect } from 'chai';
import type { ServiceView, View } from '../../src/control/types.ts';
import { MONITORS } from './monitors.ts';
import { PROGRAM } from './program.ts';
import { Random } from './random.ts';
import { Scene } from './scene.ts';
import type { ServerState } from './server.ts';
import { makeSite } from './site.ts';
import { type ServicePlan, drawService, serviceKeyOf, type Topology } from './topology.ts';
import { noticeMs } from './truth.ts';

export const HOSTS = ['cp1', 'cp2', 'cp3'] as const;
/** A decision and its writes, read back. */
export const SLACK_MS = 10_000;

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

export class Stage {
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

  /** What `anybal status` is told of the service. */
  async view(): Promise<ServiceView> {
    const asked = { method: 'GET', url: '/v1/status', headers: {} };
    const answer = await this.director.machine.served.ask('/run/anybal/control.sock', asked);
    const [service] = (JSON.parse(answer?.body ?? '') as View).services;
    if (service === undefined) throw new Error('no service');
    return service;
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
