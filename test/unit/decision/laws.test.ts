// The laws that the decision alone can break, over random lives of a director: servers that come and go, lists, sections,
// a kernel that is programmed late, by half or by somebody else, refusals, and time.

import { expect } from 'chai';
import fc from 'fast-check';
import type { ServiceConfig } from '../../../src/config/types.ts';
import { decide } from '../../../src/decision/decide.ts';
import type { Decision } from '../../../src/decision/decision.ts';
import { floorOf } from '../../../src/decision/floor.ts';
import { isServed } from '../../../src/decision/service.ts';
import { sameEntry } from '../../../src/ipvs/table.ts';
import type { Mono } from '../../../src/world/world.ts';
import {
  checked,
  configWith,
  onLo,
  RECONCILE_LIMIT_MS,
  Scene,
  WITHDRAW_WAIT_MS,
} from '../../support/decision-scene.ts';

const HOSTS = ['cp1', 'cp2', 'cp3', 'cp4'];
const SERVICES = ['text', 'tls', 'dns'] as const;
const VIPS = ['10.0.0.1', '10.0.0.2'];
type Name = (typeof SERVICES)[number];

type Step =
  | { readonly do: 'health'; readonly service: Name; readonly host: string; readonly is: 'up' | 'down' | 'unknown' }
  | { readonly do: 'weigh'; readonly service: Name; readonly host: string; readonly percent: number }
  | { readonly do: 'list'; readonly service: Name; readonly hosts: readonly string[]; readonly lost: readonly string[] }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'program' | 'read' | 'refuse' | 'program addresses' | 'reload' }
  | { readonly do: 'vandalize'; readonly what: number }
  | { readonly do: 'configure'; readonly services: readonly Name[]; readonly over: Partial<ServiceConfig> };

const service = fc.constantFrom(...SERVICES);
const over = fc.record({
  announce: fc.constantFrom('served', 'healthy', 'quorum', 'always'),
  depoolThreshold: fc.constantFrom(0, 0.25, 0.5, 1),
  vipPolicy: fc.constantFrom('any', 'all'),
  depoolAction: fc.constantFrom('delete', 'drain'),
  drainSeconds: fc.constantFrom(3, 20),
  freezeLimitSeconds: fc.constantFrom(4, 60),
  slowStartSeconds: fc.constantFrom(0, 0, 9, 30),
  announceQuorum: fc.constant(0.75),
  announceQuorumLow: fc.constant(0.5),
});
const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('health' as const),
      service,
      host: fc.constantFrom(...HOSTS),
      is: fc.constantFrom('up', 'up', 'down', 'unknown'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('weigh' as const),
      service,
      host: fc.constantFrom(...HOSTS),
      percent: fc.constantFrom(0, 0, 20, 100),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('list' as const),
      service,
      hosts: fc
        .subarray(HOSTS)
        .chain((hosts) =>
          fc.tuple(...hosts.map((host) => fc.constantFrom(host, host, `${host} disabled`, `${host} weight 0`))),
        ),
      lost: fc.subarray(HOSTS, { maxLength: 1 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 100, 2500, 5000, 11_000) }),
  },
  { weight: 9, arbitrary: fc.record({ do: fc.constantFrom('program', 'read', 'read', 'program addresses') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('refuse', 'reload') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('vandalize' as const), what: fc.nat(5) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('configure' as const), services: fc.subarray([...SERVICES]), over }),
  },
);

const arbitraryLife = fc.record({
  over,
  adopted: fc.subarray([...SERVICES]),
  steps: fc.array(arbitraryStep, { minLength: 20, maxLength: 60 }),
});

function sections(names: readonly Name[], is: Partial<ServiceConfig>): readonly ServiceConfig[] {
  const all: Readonly<Record<Name, ServiceConfig>> = {
    text: checked({ ...is, name: 'text', vip: VIPS[0] ?? '', port: 80 }),
    tls: checked({ ...is, name: 'tls', vip: VIPS[0] ?? '', port: 443, realPort: 443 }),
    dns: checked({ ...is, name: 'dns', vip: VIPS[1] ?? '', port: 53, realPort: 53, protocol: 'udp' }),
  };
  return names.map((name) => all[name]);
}

class Life {
  readonly scene: Scene;
  refused = false;
  /** When each VIP was last announced, and what served then. */
  readonly lastAnnounced = new Map<string, { readonly at: number; readonly keys: readonly string[] }>();
  #over: Partial<ServiceConfig>;

  constructor(is: Partial<ServiceConfig>, adopted: readonly Name[]) {
    this.#over = is;
    this.scene = new Scene(configWith(sections(SERVICES, is)), (scene) => {
      for (const config of sections(adopted, is)) scene.leave(config, ['cp1', 'cp2']);
    });
  }

  take(step: Step): void {
    const { scene } = this;
    const names = new Set(scene.config.services.map(({ name }) => name));
    switch (step.do) {
      case 'health':
        scene.tell(scene.health(step.is, step.host, step.service));
        return;
      case 'weigh': {
        const weighting = { weight: null, percent: step.percent, drain: false, reason: 'Agent' };
        const health = { is: 'up', since: scene.now, reason: '', partial: true, weighting } as const;
        scene.tell({ is: 'health', service: step.service, host: step.host, health });
        return;
      }
      case 'list':
        if (names.has(step.service)) scene.list(step.hosts, step.service, step.lost);
        return;
      case 'pass':
        scene.pass(step.ms);
        return;
      case 'program':
        scene.program();
        return;
      case 'program addresses':
        for (const vip of scene.decision.desired.vips) scene.addresses.set(vip, onLo(vip));
        return;
      case 'read':
        this.refused = false;
        scene.read();
        return;
      case 'refuse': {
        this.refused = true;
        const { vips } = scene.facts.kernel;
        const fact = {
          is: 'kernel',
          at: scene.now,
          whole: false,
          ipvs: new Map(),
          vips,
          error: 'EPERM',
          denied: true,
        } as const;
        scene.tell(fact);
        return;
      }
      case 'reload':
        scene.configure(
          configWith(
            sections(
              scene.config.services.map(({ name }) => name as Name),
              this.#over,
            ),
          ),
        );
        return;
      case 'vandalize':
        this.#vandalize(step.what);
        return;
      case 'configure':
        this.#over = step.over;
        scene.configure(configWith(sections(step.services, step.over)));
        return;
      default:
        step satisfies never;
    }
  }

  #vandalize(what: number): void {
    const { kernel, addresses } = this.scene;
    const key = [...kernel.keys()][what % 3];
    const entry = key === undefined ? undefined : kernel.get(key);
    if (what === 5) addresses.clear();
    else if (key === undefined || entry === undefined) return;
    else if (what > 2) kernel.delete(key);
    else kernel.set(key, { ...entry, destinations: new Map([...entry.destinations].slice(1)) });
  }

  /** What must hold after each step. */
  check(step: Step, before: Decision): void {
    this.#floor();
    this.#routesUp(before);
    this.#failSafe();
    this.#routesDown();
    this.#onlyWhatChanged(step, before);
    if (step.do === 'health' && step.is === 'unknown') this.#unknownIsNotDown(before);
  }

  /** Law 1. */
  #floor(): void {
    const { decision, facts } = this.scene;
    for (const verdict of decision.services.values()) {
      const list = facts.services.get(verdict.name)?.list;
      if (verdict.desired === null || list == null) continue;
      expect(verdict.servers.map(({ host }) => host)).to.deep.equal(list.hosts.map(({ host }) => host));
      expect(verdict.floor).to.equal(floorOf(verdict.basis.config.depoolThreshold, list.hosts.length));
      const pooled = verdict.servers.filter((server) => server.pooled);
      for (const { enabled, address, held, stands, host, drains, weight, listedWeight } of pooled) {
        expect(enabled && address !== null, `${host} is pooled`).to.equal(true);
        if (!drains) expect(held, `${host} is held`).to.equal(stands !== 'up' && stands !== 'adopted');
        if (held) expect(weight, `${host} is held with its weight`).to.equal(listedWeight);
      }
      const taking = pooled.filter(({ drains, held }) => held || !drains);
      const someAwaited =
        !verdict.firstRound ||
        verdict.servers.some(
          ({ host, enabled, address }) => enabled && address !== null && !verdict.basis.health.has(host),
        );
      const could = verdict.servers.filter(
        ({ enabled, address, stands, holdable, pooled: isPooled }) =>
          enabled &&
          address !== null &&
          (stands === 'up' || stands === 'adopted' || (holdable && (isPooled || !someAwaited))),
      );
      expect(taking.length).to.be.at.least(Math.min(verdict.floor, could.length));
      for (const { address } of pooled) {
        expect(verdict.desired.destinations.has(`${address}:${verdict.basis.config.realPort}`)).to.equal(true);
      }
    }
  }

  /** Law 2, up: whoever comes was read back as it is wanted, and serves. */
  #routesUp(before: Decision): void {
    const { decision, facts } = this.scene;
    for (const { vip, announced, services } of decision.vips.values()) {
      if (!announced || before.vips.get(vip)?.announced === true) continue;
      expect(facts.kernel.vips.has(vip), `${vip} is announced and on the host`).to.equal(true);
      const good = services.some((name) => {
        const verdict = decision.services.get(name);
        if (verdict === undefined || verdict.desired === null) return false;
        const read = facts.kernel.ipvs.get(verdict.key);
        const serves = verdict.basis.config.announce === 'always' || isServed(verdict.desired);
        return verdict.vote.is === 'yes' && serves && read !== undefined && sameEntry(read, verdict.desired);
      });
      expect(good, `${vip} is announced by a service that was read back`).to.equal(true);
    }
  }

  /** Law 10. */
  #failSafe(): void {
    const { decision, facts, now } = this.scene;
    const { verifiedAt } = facts.kernel;
    for (const { vip, announced, missingSince } of decision.vips.values()) {
      if (!announced) continue;
      expect(this.refused, `${vip} is announced though we are refused`).to.equal(false);
      expect(now - (verifiedAt ?? 0)).to.be.below(RECONCILE_LIMIT_MS);
      expect(missingSince === null || now - missingSince < RECONCILE_LIMIT_MS).to.equal(true);
      const voters = [...decision.services.values()].filter((one) => one.vip === vip && one.vote.is === 'yes');
      expect(
        voters.some(({ differsSince }) => differsSince === null || now - differsSince < RECONCILE_LIMIT_MS),
      ).to.equal(true);
    }
    for (const [peer, routes] of decision.desired.routes) {
      expect(routes.map(({ address }) => address).sort(), peer).to.deep.equal([...this.scene.announced].sort());
    }
  }

  /** Law 2, down: what served an announced VIP stays until the route has been gone for withdraw-wait. */
  #routesDown(): void {
    const { decision, now, facts } = this.scene;
    const { ipvs, keep, vips, keepVips } = decision.desired;
    const serves = (key: string): boolean => {
      const entry = ipvs.get(key);
      return entry !== undefined && isServed(entry);
    };
    for (const vip of this.scene.announced) {
      const keys = [...ipvs.values()]
        .filter(({ service: { address } }) => address === vip)
        .map((one) => one.service.key);
      this.lastAnnounced.set(vip, { at: now, keys: keys.filter(serves) });
    }
    for (const [vip, { at, keys }] of this.lastAnnounced) {
      if (now - at >= WITHDRAW_WAIT_MS) continue;
      expect(vips.has(vip) || keepVips.has(vip), `${vip} stays`).to.equal(true);
      for (const key of keys) {
        expect(serves(key) || keep.has(key) || !facts.kernel.ipvs.has(key), `${key} still serves`).to.equal(true);
      }
    }
  }

  /** Laws 3 and 4. */
  #onlyWhatChanged(step: Step, before: Decision): void {
    const { scene } = this;
    const { decision } = scene;
    if (step.do === 'reload') {
      expect(decision.desired.ipvs).to.equal(before.desired.ipvs);
      expect(decision.desired.routes).to.equal(before.desired.routes);
    }
    if (step.do === 'health' || step.do === 'weigh' || step.do === 'list') {
      const elsewhere = [...decision.services.values()].filter(
        ({ name, vip }) => name !== step.service && vip !== decision.services.get(step.service)?.vip,
      );
      for (const verdict of elsewhere) expect(verdict).to.equal(before.services.get(verdict.name));
    }
    const again = decide(scene.facts, decision);
    for (const part of ['ipvs', 'vips', 'keep', 'keepVips', 'routes'] as const) {
      expect(again.desired[part], part).to.equal(decision.desired[part]);
    }
    for (const [name, verdict] of decision.services) expect(again.services.get(name), name).to.equal(verdict);
  }

  /** Law 5. */
  #unknownIsNotDown(before: Decision): void {
    for (const verdict of this.scene.decision.services.values()) {
      const was = before.services.get(verdict.name);
      const pooled = (servers: typeof verdict.servers) => servers.filter((one) => one.pooled).map(({ host }) => host);
      expect(pooled(verdict.servers)).to.deep.equal(pooled(was?.servers ?? []));
    }
    const lost = [...before.vips.values()].filter(
      ({ vip, announced }) => announced && !this.scene.announced.includes(vip),
    );
    expect(lost.map(({ vip }) => vip)).to.deep.equal([]);
  }
}

describe('decision: the laws, over random lives', () => {
  it('floor last; verify before announcing, withdraw before taking away; only what changed; unknown is not down; fail safe', () => {
    fc.assert(
      fc.property(arbitraryLife, (is) => {
        const life = new Life(is.over, is.adopted);
        for (const step of is.steps) {
          const before = life.scene.decision;
          life.take(step);
          life.check(step, before);
        }
      }),
      { numRuns: 50, seed: 7 },
    );
  });

  it('nothing changes before wakeAt, whatever happened', () => {
    fc.assert(
      fc.property(arbitraryLife, (is) => {
        const life = new Life(is.over, is.adopted);
        for (const step of is.steps) life.take(step);
        const { decision, facts, now } = life.scene;
        expect(decision.wakeAt).to.be.greaterThan(now);
        const until = Math.min(decision.wakeAt - 1, now + 3_600_000) as Mono;
        const later = decide({ ...facts, now: until }, decision);
        expect(later.desired).to.deep.equal(decision.desired);
        expect([...later.vips.values()].map(({ announced }) => announced)).to.deep.equal(
          [...decision.vips.values()].map(({ announced }) => announced),
        );
      }),
      { numRuns: 30, seed: 8 },
    );
  });

  it('whatever happened, a director that is left in peace serves and announces all that is up', () => {
    fc.assert(
      fc.property(arbitraryLife, (is) => {
        const life = new Life(is.over, is.adopted);
        for (const step of is.steps) life.take(step);
        const { scene } = life;
        scene.configure(configWith(sections(SERVICES, { ...is.over, vipPolicy: 'all' })));
        for (const name of SERVICES) {
          scene.list(HOSTS, name);
          scene.tell(...HOSTS.map((host) => scene.health('up', host, name)));
        }
        scene.pass(60_000);
        scene.settle();
        scene.pass(RECONCILE_LIMIT_MS);
        scene.settle();
        for (const name of SERVICES) {
          expect(scene.pooled(name)).to.deep.equal(HOSTS);
          expect(scene.wanted(name)).to.have.length(HOSTS.length);
        }
        expect([...scene.announced].sort()).to.deep.equal(VIPS);
        expect([...scene.kernel.keys()].sort()).to.deep.equal([
          'tcp 10.0.0.1:443',
          'tcp 10.0.0.1:80',
          'udp 10.0.0.2:53',
        ]);
      }),
      { numRuns: 20, seed: 9 },
    );
  });
});
