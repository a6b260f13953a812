import { expect } from 'chai';
import fc from 'fast-check';
import type { ServiceConfig, Via } from '../../../src/config/types.ts';
import type { Marks, PathMark } from '../../../src/decision/marks.ts';
import { pathTo } from '../../../src/decision/marks.ts';
import { destinationKey, fwmarkKey, type IpvsEntry } from '../../../src/ipvs/table.ts';
import { checked, configWith, type ConfigOver, Scene } from '../../support/decision-scene.ts';
import { AS_ALWAYS } from '../../support/service-config.ts';

const HOLD_MS = 900_000;
/** Room for 40 servers, as the scene's configuration has it. */
const PATH = { firstMark: 1000, firstPort: 10_000, lastPort: 10_319, portsPerServer: 8, holdSeconds: 900, sources: [] };

function asked(via: Via, over: Partial<ServiceConfig> = {}): ServiceConfig {
  return checked({ monitors: [{ name: 'ProxyFetch', options: {}, pace: AS_ALWAYS, via }], ...over });
}

function sceneOf(services: readonly ServiceConfig[], over: ConfigOver = {}, prepare?: (scene: Scene) => void): Scene {
  return new Scene(configWith(services, over), prepare);
}

const marksOf = (scene: Scene): Marks => scene.decision.marks;
const markOf = (scene: Scene, target: string): PathMark => {
  const mark = marksOf(scene).inUse.get(target);
  if (mark === undefined) throw new Error(`no mark for ${target}: ${[...marksOf(scene).inUse.keys()].join()}`);
  return mark;
};

/** A service of a mark as ours are, or somebody else's. */
function marked(mark: number, address: string, scheduler = 'rr'): IpvsEntry {
  const key = destinationKey(address, 0);
  const service = { address: '0.0.0.0', port: 0, fwmark: mark, flags: 0, persistenceSeconds: 0, persistencePrefix: 32 };
  return {
    service: { ...service, key: fwmarkKey(mark, 4), protocol: 'fwmark', scheduler },
    destinations: new Map([
      [key, { key, address, port: 0, forward: 'dr', weight: 1, upperThreshold: 0, lowerThreshold: 0 }],
    ]),
  };
}

describe('decision/marks', () => {
  it('gives none to servers that nobody checks through the path', () => {
    const scene = sceneOf([asked('server')]);
    scene.list(['cp1', 'cp2']);
    expect(marksOf(scene).inUse.size).to.equal(0);
  });

  it('wants one service in the kernel for each server and way of forwarding, whatever the number of VIPs', () => {
    const nat = { forward: 'nat', realPort: 8080 } as const;
    const scene = sceneOf([
      asked('path'),
      asked('both', { name: 'tls', port: 443, realPort: 443 }),
      asked('path', { name: 'nat', vip: '10.0.0.2', ...nat }),
      asked('path', { name: 'six', vip: '2001:db8::1', family: 6, forward: 'tunnel' }),
    ]);
    for (const service of ['text', 'tls', 'nat', 'six']) scene.list(['cp1'], service);
    expect([...marksOf(scene).inUse.keys()].sort()).to.deep.equal([
      'dr 10.9.0.1:0',
      'nat 10.9.0.1:8080',
      'tunnel [2001:db8:9::1]:0',
    ]);
    const { entry, mark } = markOf(scene, 'nat 10.9.0.1:8080');
    expect(scene.decision.desired.ipvs.get(fwmarkKey(mark, 4))).to.equal(entry);
    expect([...entry.destinations.values()]).to.deep.equal([
      { ...[...entry.destinations.values()][0], address: '10.9.0.1', port: 8080, forward: 'nat', weight: 1 },
    ]);
    expect(markOf(scene, 'tunnel [2001:db8:9::1]:0').entry.service.key).to.match(/^fwmark \d+ inet6$/);
  });

  it('gives one to an address that is only tried out, as long as it is', () => {
    const scene = sceneOf([asked('path')]);
    scene.list(['cp1']);
    scene.tell({ is: 'candidate', service: 'text', host: 'cp1', address: '10.9.9.9' });
    expect([...marksOf(scene).inUse.keys()]).to.deep.equal(['dr 10.9.0.1:0', 'dr 10.9.9.9:0']);
    scene.tell({ is: 'candidate', service: 'text', host: 'cp1', address: null });
    expect([...marksOf(scene).inUse.keys()]).to.deep.equal(['dr 10.9.0.1:0']);
  });

  it('is the very same object while nothing changes', () => {
    const scene = sceneOf([asked('path')]);
    scene.list(['cp1', 'cp2']);
    const before = marksOf(scene);
    scene.up('cp1');
    scene.settle();
    scene.pass(1000);
    expect(marksOf(scene)).to.equal(before);
  });

  it('keeps mark, ports and the service in the kernel of a server that left until no old connection can be meant', () => {
    const scene = sceneOf([asked('path')]);
    scene.list(['cp1', 'cp2']);
    scene.settle();
    const { mark } = markOf(scene, 'dr 10.9.0.2:0');
    scene.list(['cp1']);
    expect(marksOf(scene).inUse.has('dr 10.9.0.2:0')).to.equal(false);
    expect([...scene.decision.desired.keep]).to.deep.equal([fwmarkKey(mark, 4)]);
    expect(scene.decision.wakeAt).to.be.at.most(scene.now + HOLD_MS);
    scene.pass(HOLD_MS - 1);
    expect(scene.decision.desired.keep.size).to.equal(1);
    scene.pass(1);
    expect(scene.decision.desired.keep.size).to.equal(0);
    expect(scene.decision.desired.ipvs.has(fwmarkKey(mark, 4))).to.equal(false);
  });

  it('takes over after a restart what the kernel has, before and after the pools are known', () => {
    const before = sceneOf([asked('path')]);
    before.list(['cp1', 'cp2']);
    before.settle();
    const [one, two] = [markOf(before, 'dr 10.9.0.1:0'), markOf(before, 'dr 10.9.0.2:0')];
    const after = sceneOf([asked('path')], {}, (scene) => {
      for (const [key, entry] of before.kernel) scene.kernel.set(key, entry);
    });
    expect([...after.decision.desired.keep]).to.include.members([one, two].map(({ mark }) => fwmarkKey(mark, 4)));
    after.list(['cp2', 'cp3']);
    expect(markOf(after, 'dr 10.9.0.2:0').mark).to.equal(two.mark);
    expect(markOf(after, 'dr 10.9.0.2:0').firstPort).to.equal(two.firstPort);
    expect(after.decision.desired.keep.has(fwmarkKey(one.mark, 4))).to.equal(true);
  });

  it('spares the ports of a mark that somebody had changed before a restart, and gives it to nobody', () => {
    const before = sceneOf([asked('path')]);
    before.list(['cp1', 'cp2']);
    before.settle();
    const [one, two] = [markOf(before, 'dr 10.9.0.1:0'), markOf(before, 'dr 10.9.0.2:0')];
    const [other] = two.entry.destinations.values();
    if (other === undefined) throw new Error('no destination');
    const changed = [
      { service: one.entry.service, destinations: new Map() },
      { service: two.entry.service, destinations: new Map([[other.key, { ...other, weight: 7 }]]) },
    ];
    const after = sceneOf([asked('path')], {}, ({ kernel }) => {
      for (const entry of changed) kernel.set(entry.service.key, entry);
    });
    const keys = changed.map(({ service }) => service.key);
    expect([...after.decision.desired.keep]).to.include.members(keys);
    after.list(['cp1', 'cp2']);
    const ports = portsOf([markOf(after, 'dr 10.9.0.1:0'), markOf(after, 'dr 10.9.0.2:0'), one, two]);
    expect(ports.size).to.equal(4 * 8);
    after.pass(HOLD_MS);
    expect([...after.decision.desired.keep]).not.to.include.members(keys);
  });

  it('leaves marks that somebody else uses to him', () => {
    const strangers = Array.from({ length: 38 }, (_, i) => marked(1000 + i, '192.0.2.1', 'wlc'));
    const scene = sceneOf([asked('path')], {}, ({ kernel }) => {
      for (const entry of strangers) kernel.set(entry.service.key, entry);
    });
    scene.list(['cp1', 'cp2', 'cp3']);
    const marks = [...marksOf(scene).inUse.values()].map(({ mark }) => mark);
    expect(marks.sort()).to.deep.equal([1038, 1039]);
    expect(marksOf(scene).without.size).to.equal(1);
    for (const { service } of strangers) {
      expect(scene.decision.desired.ipvs.has(service.key)).to.equal(false);
      expect(scene.decision.desired.keep.has(service.key)).to.equal(false);
    }
  });

  it('gives others when the configuration says other marks or ports, none of which an old entry can lead astray', () => {
    const scene = sceneOf([asked('path')]);
    scene.list(['cp1', 'cp2', 'cp3']);
    const before = [...marksOf(scene).inUse.values()];
    const path = { ...PATH, firstMark: 5000, firstPort: 10_004, lastPort: 10_600 };
    scene.configure(configWith([asked('path')], { global: { path } }));
    const after = [...marksOf(scene).inUse.values()];
    expect(after.every(({ mark }) => mark >= 5000)).to.equal(true);
    expect(portsOf([...before, ...after]).size).to.equal(6 * 8);
  });

  describe('a path to a server', () => {
    function scene(over: Partial<ServiceConfig> = {}, global: ConfigOver['global'] = {}) {
      const service = asked('path', over);
      const made = sceneOf([service], { global });
      made.list(['cp1', 'cp2'], service.name);
      return { made, to: (address: string) => pathTo(made.facts, marksOf(made), service, address) };
    }

    it('is there when its service was read back from the kernel, and gone with it', () => {
      const { made, to } = scene();
      expect(to('10.9.0.1')).to.match(/^the path's service \(fwmark \d+ inet\) is not in the kernel yet$/);
      made.settle();
      const { mark, firstPort } = markOf(made, 'dr 10.9.0.1:0');
      expect(to('10.9.0.1')).to.deep.equal({
        mark,
        found: made.facts.kernel.ipvs.get(fwmarkKey(mark, 4)),
        vip: '10.0.0.1',
        vipPort: 80,
        fixedPort: false,
        localAddress: null,
        firstPort,
        ports: 8,
      });
      expect(to('10.9.0.3')).to.equal('the path has no mark yet');
      made.kernel.delete(fwmarkKey(mark, 4));
      made.read();
      expect(to('10.9.0.1')).to.be.a('string').that.includes('is not in the kernel yet');
    });

    it('is none while somebody sends its packets elsewhere', () => {
      const { made, to } = scene();
      made.settle();
      const { mark } = markOf(made, 'dr 10.9.0.1:0');
      for (const entry of [marked(mark, '10.9.0.2'), marked(mark, '10.9.0.1', 'wrr')]) {
        made.kernel.set(fwmarkKey(mark, 4), entry);
        made.read();
        expect(to('10.9.0.1')).to.be.a('string').that.includes('was changed by somebody');
      }
      made.settle();
      expect(to('10.9.0.1')).to.be.an('object');
    });

    it('has the source of its family', () => {
      const path = { ...PATH, sources: ['192.0.2.10', '2001:db8::10'] };
      const { made, to } = scene({ vip: '2001:db8::1', family: 6 }, { path });
      made.settle();
      expect(to('2001:db8:9::1')).to.deep.include({ localAddress: '2001:db8::10', vip: '2001:db8::1' });
    });

    it('says so when there are more servers than marks', () => {
      const { to } = scene({}, { path: { ...PATH, lastPort: 10_007 } });
      const reasons = [to('10.9.0.1'), to('10.9.0.2')];
      expect(reasons).to.include('no mark is left for the path: path-ports has room for fewer servers');
    });
  });

  it('never gives mark or ports to another server within the hold, through any history with restarts', () => {
    const names = Array.from({ length: 12 }, (_, i) => `cp${i + 1}`);
    const event = fc.oneof(
      fc.record({ is: fc.constant('list' as const), hosts: fc.subarray(names, { minLength: 1 }) }),
      fc.record({ is: fc.constant('pass' as const), ms: fc.constantFrom(1000, HOLD_MS / 2, HOLD_MS) }),
      fc.record({ is: fc.constant('via' as const), via: fc.constantFrom<Via>('server', 'path', 'both') }),
      fc.record({ is: fc.constant('restart' as const) }),
    );
    // Ten servers fit at once: some must go without, and take over what others have left long enough ago.
    const path = { ...PATH, lastPort: PATH.firstPort + 8 * 10 - 1 };
    fc.assert(
      fc.property(fc.array(event, { maxLength: 20 }), (events) => {
        let via: Via = 'path';
        const config = () => configWith([asked(via)], { global: { path } });
        let scene = new Scene(config());
        let skew = 0;
        const lastUse = new Map<number, { readonly target: string; readonly at: number }>();
        for (const step of events) {
          if (step.is === 'list') scene.list(step.hosts);
          else if (step.is === 'pass') scene.pass(step.ms);
          else if (step.is === 'via') {
            via = step.via;
            scene.configure(config());
          } else {
            // The kernel stays, time goes on.
            const old = scene;
            skew += old.now - 1_000_000;
            scene = new Scene(config(), ({ kernel }) => {
              for (const [key, entry] of old.kernel) kernel.set(key, entry);
            });
          }
          scene.settle();
          const { inUse, retired, without } = marksOf(scene);
          const all = [...inUse.values(), ...retired.values()];
          expect(new Set(all.map(({ mark }) => mark)).size, 'distinct marks').to.equal(all.length);
          expect(portsOf(all).size, 'disjoint ports').to.equal(all.length * 8);
          if (without.size > 0) expect(all.length, 'nothing left').to.equal(10);
          const now = scene.now + skew;
          for (const [target, { mark }] of inUse) {
            const last = lastUse.get(mark);
            if (last !== undefined && last.target !== target)
              expect(now - last.at, `${mark} of ${last.target} for ${target}`).to.be.at.least(HOLD_MS);
            lastUse.set(mark, { target, at: now });
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});

function portsOf(marks: readonly PathMark[]): ReadonlySet<number> {
  return new Set(marks.flatMap(({ firstPort, ports }) => Array.from({ length: ports }, (_, i) => firstPort + i)));
}
