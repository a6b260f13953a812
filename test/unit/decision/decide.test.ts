// The decision on VIPs and tables: who is announced and why, what leaves in which order, and what time alone changes. Sentence
// by sentence what "Announcing", "Decision" and "Restart, quarantine" of the semantics say.

import { expect } from 'chai';
import type { ServiceConfig } from '../../../src/config/types.ts';
import { decide } from '../../../src/decision/decide.ts';
import type { Fact } from '../../../src/decision/facts.ts';
import { nothingKnown } from '../../../src/decision/learn.ts';
import type { Mono } from '../../../src/world/world.ts';
import {
  onLo,
  checked,
  type ConfigOver,
  configWith,
  PEER,
  RECONCILE_LIMIT_MS,
  Scene,
  WITHDRAW_WAIT_MS,
} from '../../support/decision-scene.ts';

const VIP = '10.0.0.1';
const KEY = `tcp ${VIP}:80`;

/** `text` with cp1 and cp2 up, in the kernel, announced. */
function announced(
  over: Partial<ServiceConfig> = {},
  more: readonly ServiceConfig[] = [],
  rest: ConfigOver = {},
): Scene {
  const scene = new Scene(configWith([checked(over), ...more], rest));
  scene.list(['cp1', 'cp2']);
  scene.up('cp1', 'cp2');
  scene.settle();
  return scene;
}

function denied(scene: Scene): Fact {
  const vips = scene.facts.kernel.vips;
  return { is: 'kernel', at: scene.now, whole: false, ipvs: new Map(), vips, error: 'write: EPERM', denied: true };
}

describe('decision: announcing', () => {
  it('needs a configuration', () => {
    expect(() => decide(nothingKnown(0 as Mono), null)).to.throw('needs a configuration');
  });

  describe('on the way up', () => {
    it('announces only after address, service and destinations were read back', () => {
      const scene = new Scene(configWith([checked()]));
      expect(scene.announced).to.deep.equal([]);
      scene.list(['cp1', 'cp2']);
      scene.settle();
      scene.up('cp1', 'cp2');
      expect(scene.vip()).to.include({ announced: false });
      scene.program();
      expect(scene.again().vips.get(VIP)).to.include({ announced: false });
      scene.addresses.delete(VIP);
      scene.read();
      expect(scene.vip().cause).to.include({ code: 'vip-missing' });
      scene.settle();
      expect(scene.vip()).to.include({ announced: true });
      expect(scene.vip().cause.text).to.equal('text: 2 destination(s) of weight > 0 in the kernel');
    });

    it('does not announce by a service that lacks a destination in the kernel', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1']);
      scene.up('cp1');
      scene.program();
      scene.kernel.set(KEY, { service: entryOf(scene).service, destinations: new Map() });
      scene.read();
      expect(scene.announced).to.deep.equal([]);
    });

    it('does not announce by a reading that is older than a write on its way', () => {
      for (const doubt of [
        { services: new Set([KEY]), vips: new Set<string>() },
        { services: new Set<string>(), vips: new Set([VIP]) },
      ] as const) {
        const scene = announced({ announce: 'healthy', depoolThreshold: 0 });
        scene.down('cp1', 'cp2');
        scene.pass(WITHDRAW_WAIT_MS);
        expect(scene.announced).to.deep.equal([]);
        // The servers return before the kernel is read again: what was read last is just what is wanted now.
        scene.tell({ is: 'writing', ...doubt });
        scene.up('cp1', 'cp2');
        expect(scene.announced).to.deep.equal([]);
        scene.tell({ ...denied(scene), denied: false } as Fact);
        expect(scene.announced, 'a write that failed leaves it in doubt').to.deep.equal([]);
        scene.settle();
        expect(scene.announced).to.deep.equal([VIP]);
      }
    });

    it('keeps what is announced while it is written to', () => {
      const scene = announced();
      scene.tell({ is: 'writing', services: new Set([KEY]), vips: new Set() });
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('does not announce a new service before its first round is complete', () => {
      const scene = new Scene(configWith([checked({ startGraceSeconds: 10 })]));
      scene.list(['cp1', 'cp2']);
      scene.up('cp1');
      scene.settle();
      expect(scene.service().vote.cause.code).to.equal('first-round');
      expect(scene.announced).to.deep.equal([]);
      scene.down('cp2');
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('does not wait longer than start-grace', () => {
      const scene = new Scene(configWith([checked({ startGraceSeconds: 10 })]));
      scene.list(['cp1', 'cp2', 'cp3'], 'text', [], ['cp3']);
      scene.up('cp1');
      scene.settle();
      scene.pass(9_999);
      expect(scene.announced).to.deep.equal([]);
      scene.pass(1);
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('does not wait for disabled servers, nor for such as have no address', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1', 'cp2 disabled', 'cp3'], 'text', ['cp3']);
      scene.up('cp1');
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('announces a table that was found, with the first server that is known to be up', () => {
      const config = checked();
      const scene = new Scene(configWith([config]), (before) => before.leave(config, ['cp1', 'cp2']));
      expect(scene.announced).to.deep.equal([]);
      scene.list(['cp1', 'cp2']);
      expect(scene.announced).to.deep.equal([]);
      scene.up('cp1');
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('a cold start with dead servers never announces, held ones or not', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1', 'cp2']);
      scene.down('cp1', 'cp2');
      scene.settle();
      scene.pass(60_000);
      scene.read();
      expect(scene.held()).to.have.length(1);
      expect(scene.service().vote.cause.code).to.equal('unproven');
      expect(scene.announced).to.deep.equal([]);
    });
  });

  describe('served, the default', () => {
    it('counts held servers, so checks that are all wrong do not take the site off the air', () => {
      const scene = announced();
      scene.down('cp1');
      scene.down('cp2');
      scene.settle();
      expect(scene.held()).to.deep.equal(['cp2']);
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('keeps one that has a weight when all checks are wrong, though others have none', () => {
      const scene = announced();
      scene.list(['cp1', 'cp2 weight 0']);
      scene.up('cp1', 'cp2');
      scene.settle();
      scene.down('cp1');
      scene.settle();
      expect(scene.held()).to.deep.equal(['cp1']);
      scene.down('cp2');
      scene.settle();
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10']);
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('does not count destinations of weight 0', () => {
      const scene = announced();
      scene.list(['cp1 weight 0', 'cp2 weight 0']);
      expect(scene.service().vote.cause.code).to.equal('unserved');
      expect(scene.announced).to.deep.equal([]);
    });

    it('never attracts traffic with an empty pool', () => {
      const scene = announced();
      scene.list([]);
      expect(scene.announced).to.deep.equal([]);
    });
  });

  it('always: as PyBal, with nobody up, once the service is in the kernel', () => {
    const scene = new Scene(configWith([checked({ announce: 'always', depoolThreshold: 0 })]));
    scene.list(['cp1']);
    expect(scene.announced).to.deep.equal([]);
    scene.settle();
    expect(scene.announced).to.deep.equal([VIP]);
    scene.down('cp1');
    expect(scene.announced).to.deep.equal([VIP]);
  });

  it('healthy: leaves with the last server that is up, though held ones serve', () => {
    const scene = announced({ announce: 'healthy' });
    scene.down('cp1');
    expect(scene.announced).to.deep.equal([VIP]);
    scene.down('cp2');
    expect(scene.held()).to.deep.equal(['cp2']);
    expect(scene.announced).to.deep.equal([]);
    scene.settle();
    scene.up('cp1');
    scene.settle();
    expect(scene.announced).to.deep.equal([VIP]);
  });

  describe('quorum', () => {
    const quorum = { announce: 'quorum', announceQuorum: 0.75, announceQuorumLow: 0.5, depoolThreshold: 0.25 } as const;
    const four = ['cp1', 'cp2', 'cp3', 'cp4'];

    it('comes at one share of N and leaves below another', () => {
      const scene = new Scene(configWith([checked(quorum)]));
      scene.list(four);
      scene.up('cp1', 'cp2');
      scene.down('cp3', 'cp4');
      scene.settle();
      expect(scene.announced).to.deep.equal([]);
      expect(scene.service().vote.cause.text).to.equal('2 of 4 up, 75 % needed');
      scene.up('cp3');
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.down('cp3');
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.down('cp2');
      expect(scene.announced).to.deep.equal([]);
      scene.up('cp2');
      scene.settle();
      expect(scene.announced).to.deep.equal([]);
    });
  });

  describe('"is it me?"', () => {
    const frozen = { announce: 'healthy', freezeLimitSeconds: 30 } as const;

    it('never withdraws the last known announcer, not even after freeze-limit', () => {
      const scene = announced(frozen);
      scene.unknown('cp1', 'cp2');
      for (let minute = 0; minute < 10; minute++) {
        scene.pass(60_000);
        scene.settle();
        expect(scene.announced).to.deep.equal([VIP]);
      }
      expect(scene.service().vote.cause.code).to.equal('is-it-me');
    });

    it('withdraws when those that are known to be down are enough to lose the policy', () => {
      const scene = announced({
        announce: 'quorum',
        announceQuorum: 0.5,
        announceQuorumLow: 0.5,
        freezeLimitSeconds: 30,
      });
      scene.list(['cp1', 'cp2', 'cp3', 'cp4']);
      scene.up('cp3', 'cp4');
      scene.settle();
      scene.unknown('cp1');
      scene.pass(60_000);
      scene.settle();
      scene.down('cp2', 'cp3');
      expect(scene.service().vote.cause.code).to.equal('is-it-me');
      scene.down('cp4');
      expect(scene.announced).to.deep.equal([]);
    });

    it('does not take a result that is only awaited for a fault of ours', () => {
      const scene = announced(frozen);
      scene.list(['cp1', 'cp2', 'cp3']);
      scene.down('cp1', 'cp2');
      expect(scene.announced).to.deep.equal([]);
    });

    it('does not bring up what was not announced', () => {
      const scene = new Scene(configWith([checked(frozen)]));
      scene.list(['cp1']);
      scene.unknown('cp1');
      scene.settle();
      scene.pass(60_000);
      scene.settle();
      expect(scene.announced).to.deep.equal([]);
      expect(scene.service().servers[0]?.cause.text).to.match(/^no check could tell so far \(/);
    });

    it('calls a result unknown for too long only if there was one', () => {
      const scene = announced(frozen);
      scene.unknown('cp1');
      expect(scene.service().servers[0]?.cause.code).to.equal('frozen');
      scene.pass(60_000);
      scene.settle();
      expect(scene.service().servers[0]?.cause.text).to.match(/^result unknown for too long \(/);
    });
  });

  describe('of a VIP with several services', () => {
    const second = (over: Partial<ServiceConfig> = {}) => checked({ name: 'tls', port: 443, realPort: 443, ...over });

    function both(first: Partial<ServiceConfig>, other: Partial<ServiceConfig>): Scene {
      const scene = new Scene(configWith([checked(first), second(other)]));
      scene.list(['cp1', 'cp2']);
      scene.list(['cp1', 'cp2'], 'tls');
      scene.up('cp1', 'cp2');
      scene.tell(scene.health('up', 'cp1', 'tls'), scene.health('up', 'cp2', 'tls'));
      scene.settle();
      return scene;
    }
    const lose = (scene: Scene, service: string) => scene.list([], service);

    it('any, the default: one that votes yes is enough', () => {
      const scene = both({}, {});
      lose(scene, 'tls');
      expect(scene.announced).to.deep.equal([VIP]);
      lose(scene, 'text');
      expect(scene.announced).to.deep.equal([]);
      expect(scene.vip().cause.text).to.equal('text: no destination of weight > 0; tls: no destination of weight > 0');
    });

    it('all: one that votes no is enough', () => {
      const scene = both({ vipPolicy: 'all' }, {});
      expect(scene.announced).to.deep.equal([VIP]);
      lose(scene, 'tls');
      expect(scene.announced).to.deep.equal([]);
    });

    it('gives a service with bgp = no no vote, for or against', () => {
      const scene = both({ vipPolicy: 'all' }, { bgp: false });
      lose(scene, 'tls');
      expect(scene.announced).to.deep.equal([VIP]);
      const other = both({}, { bgp: false });
      lose(other, 'text');
      expect(other.announced).to.deep.equal([]);
      const none = announced({ bgp: false });
      expect(none.announced).to.deep.equal([]);
      expect(none.vip().cause.code).to.equal('no-voters');
    });

    it('does not take a vote against it from a service that joins and has not come up yet', () => {
      const scene = announced({ vipPolicy: 'all' });
      scene.configure(configWith([checked({ vipPolicy: 'all' }), second()]));
      expect(scene.announced).to.deep.equal([VIP]);
      scene.list(['cp1'], 'tls');
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.tell(scene.health('down', 'cp1', 'tls'));
      scene.settle();
      expect(scene.announced).to.deep.equal([]);
    });

    it('does not let a quarantined section vote', () => {
      const place = { file: 'pybal.conf', line: 9 };
      const frozen = { protocol: 'tcp', vip: VIP, port: 443 } as const;
      const scene = announced({ vipPolicy: 'all' }, [], {
        quarantined: [{ name: 'tls', place, complaints: [], running: null, frozen }],
      });
      expect(scene.announced).to.deep.equal([VIP]);
    });
  });

  describe('fail safe', () => {
    it('withdraws when the kernel was not verified for reconcile-limit, and not before', () => {
      const scene = announced();
      scene.pass(RECONCILE_LIMIT_MS - 1);
      expect(scene.announced).to.deep.equal([VIP]);
      scene.pass(1);
      expect(scene.announced).to.deep.equal([]);
      expect(scene.vip().cause.code).to.equal('kernel-stale');
      scene.read();
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('does not count a reading that failed as a verified one', () => {
      const scene = announced();
      scene.pass(RECONCILE_LIMIT_MS / 2);
      scene.tell({ ...denied(scene), denied: false } as Fact);
      scene.pass(RECONCILE_LIMIT_MS / 2);
      expect(scene.announced).to.deep.equal([]);
    });

    it('withdraws at once when the kernel refuses us, and comes back when it does not', () => {
      const scene = announced();
      scene.tell(denied(scene));
      expect(scene.announced).to.deep.equal([]);
      expect(scene.vip().cause).to.deep.equal({ code: 'kernel-denied', text: 'the kernel refuses us: write: EPERM' });
      scene.read();
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('withdraws when the kernel differs from what is wanted for reconcile-limit', () => {
      const scene = announced();
      scene.kernel.delete(KEY);
      scene.read();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.pass(RECONCILE_LIMIT_MS - 1);
      scene.read();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.pass(1);
      scene.read();
      expect(scene.announced).to.deep.equal([]);
      expect(scene.service().vote.cause.code).to.equal('differs');
      scene.settle();
      expect(scene.announced).to.deep.equal([VIP]);
    });

    it('stays while the kernel follows wishes that change faster than it is written', () => {
      const scene = announced();
      const reads = (ofWishAt: Mono) =>
        scene.tell({
          is: 'kernel',
          at: scene.now,
          whole: false,
          ipvs: new Map(scene.kernel),
          vips: new Map(scene.addresses),
          error: null,
          denied: false,
          met: { at: ofWishAt, services: new Set([KEY]) },
        });
      for (let round = 0; round < 10; round++) {
        const begun = scene.now;
        const { ipvs } = scene.decision.desired;
        scene.list(['cp1', `cp${3 + (round % 3)}`]);
        scene.up('cp1', `cp${3 + (round % 3)}`);
        scene.pass(RECONCILE_LIMIT_MS / 3);
        // Of what was wanted when the pass began.
        for (const [key, entry] of ipvs) scene.kernel.set(key, entry);
        reads(begun);
        expect(scene.service().differsSince).to.equal(begun);
        expect(scene.announced, `round ${round}`).to.deep.equal([VIP]);
      }
      const last = scene.service().differsSince ?? scene.now;
      scene.pass(RECONCILE_LIMIT_MS - (scene.now - last) - 1);
      scene.read();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.pass(1);
      scene.read();
      expect(scene.announced).to.deep.equal([]);
    });

    it('withdraws when the address is missing for reconcile-limit', () => {
      const scene = announced();
      scene.addresses.delete(VIP);
      scene.read();
      expect(scene.announced).to.deep.equal([VIP]);
      scene.pass(RECONCILE_LIMIT_MS);
      scene.read();
      expect(scene.announced).to.deep.equal([]);
      expect(scene.vip().cause.code).to.equal('vip-missing');
    });

    it('announces nothing with bgp = no, and keeps the tables', () => {
      const scene = announced({}, [], { global: { bgp: false }, peers: [] });
      expect(scene.announced).to.deep.equal([]);
      expect(scene.wanted()).to.have.length(2);
    });
  });
});

describe('decision: leaving', () => {
  it('keeps the last served destinations until the route has been gone for withdraw-wait', () => {
    const scene = announced({ depoolThreshold: 0 });
    scene.down('cp1', 'cp2');
    expect(scene.announced).to.deep.equal([]);
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
    scene.pass(WITHDRAW_WAIT_MS - 1);
    expect(scene.wanted()).to.have.length(2);
    scene.pass(1);
    expect(scene.wanted()).to.deep.equal([]);
  });

  it('keeps them also when they go after the route', () => {
    const scene = announced({ depoolThreshold: 0 });
    scene.tell(denied(scene));
    scene.pass(1000);
    scene.down('cp1', 'cp2');
    expect(scene.wanted()).to.have.length(2);
    scene.pass(WITHDRAW_WAIT_MS - 1001);
    expect(scene.wanted()).to.have.length(2);
    scene.pass(1);
    expect(scene.wanted()).to.deep.equal([]);
  });

  it('keeps nobody in place when the route stays', () => {
    const scene = announced();
    scene.down('cp1');
    expect(scene.announced).to.deep.equal([VIP]);
    expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 10']);
  });

  it('takes a new server at once while the old ones linger', () => {
    const scene = announced({ depoolThreshold: 0 });
    scene.down('cp1', 'cp2');
    scene.up('cp2');
    expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 10']);
  });

  it('counts a VIP by route as present when its route and the rules of all uplinks are there', () => {
    const global = { uplinks: ['eth0', 'eth1'] };
    const scene = new Scene(configWith([checked({ vipPresence: 'route' })], { global }));
    scene.list(['cp1', 'cp2']);
    scene.up('cp1', 'cp2');
    expect(scene.decision.desired.vips.size).to.equal(0);
    expect([...scene.decision.desired.routedVips]).to.deep.equal([[VIP, ['eth0', 'eth1']]]);
    scene.settle();
    expect(scene.announced).to.deep.equal([VIP]);
    const without = { ...onLo(VIP), interface: null, routed: { route: true, uplinks: ['eth0'] } };
    scene.addresses.set(VIP, without);
    scene.read();
    scene.pass(RECONCILE_LIMIT_MS - 1);
    scene.read();
    expect(scene.announced, 'not at once').to.deep.equal([VIP]);
    scene.pass(1);
    scene.read();
    expect(scene.announced).to.deep.equal([]);
    expect(scene.vip().cause.code).to.equal('vip-missing');
    // An address on an interface is none by route.
    scene.addresses.set(VIP, onLo(VIP));
    scene.read();
    expect(scene.announced).to.deep.equal([]);
  });

  it('keeps the presence by route of a section that is gone until the route has been gone for withdraw-wait', () => {
    const scene = new Scene(configWith([checked({ vipPresence: 'route' })], { global: { uplinks: ['eth0'] } }));
    scene.list(['cp1']);
    scene.up('cp1');
    scene.settle();
    scene.configure(configWith([]));
    expect([...scene.decision.desired.keepVips]).to.deep.equal([VIP]);
    scene.pass(WITHDRAW_WAIT_MS);
    expect([...scene.decision.desired.keepVips]).to.deep.equal([]);
  });

  it('keeps service and address of a section that is gone until the route has been gone for withdraw-wait', () => {
    const scene = announced();
    scene.configure(configWith([]));
    expect([...(scene.decision.desired.routes.get(PEER.name) ?? [])]).to.deep.equal([]);
    expect(scene.decision.desired.ipvs.has(KEY)).to.equal(true);
    expect([...scene.decision.desired.keepVips]).to.deep.equal([VIP]);
    scene.pass(WITHDRAW_WAIT_MS - 1);
    expect(scene.decision.desired.ipvs.has(KEY)).to.equal(true);
    scene.pass(1);
    expect(scene.decision.desired.ipvs.has(KEY)).to.equal(false);
    expect([...scene.decision.desired.keepVips]).to.deep.equal([]);
    expect(scene.decision.wakeAt).to.equal((scene.facts.kernel.verifiedAt ?? 0) + RECONCILE_LIMIT_MS);
  });

  it('does so also when the section goes while the route has just left', () => {
    const scene = announced({ depoolThreshold: 0 });
    scene.down('cp1', 'cp2');
    scene.pass(1000);
    scene.configure(configWith([]));
    expect([...(scene.decision.desired.ipvs.get(KEY)?.destinations.keys() ?? [])]).to.have.length(2);
    expect([...scene.decision.desired.keepVips]).to.deep.equal([VIP]);
    scene.pass(WITHDRAW_WAIT_MS - 1000);
    expect(scene.decision.desired.ipvs.has(KEY)).to.equal(false);
    expect([...scene.decision.desired.keepVips]).to.deep.equal([]);
  });

  it('takes a section at once that was never announced for long', () => {
    const scene = announced({ bgp: false });
    scene.pass(WITHDRAW_WAIT_MS);
    scene.configure(configWith([]));
    expect(scene.decision.desired.ipvs.size).to.equal(0);
    expect(scene.decision.leavingVips.size).to.equal(0);
  });

  it('takes one of two services away at once while the other keeps the VIP announced', () => {
    const scene = announced({}, [checked({ name: 'tls', port: 443, realPort: 443 })]);
    scene.list(['cp1'], 'tls');
    scene.tell(scene.health('up', 'cp1', 'tls'));
    scene.settle();
    scene.configure(configWith([checked()]));
    expect([...scene.decision.desired.ipvs.keys()]).to.deep.equal([KEY]);
    expect(scene.announced).to.deep.equal([VIP]);
  });

  it('a section that comes back while it leaves is wanted again', () => {
    const scene = announced();
    scene.configure(configWith([]));
    scene.configure(configWith([checked()]));
    expect(scene.decision.leaving.size).to.equal(0);
    expect(scene.decision.leavingVips.size).to.equal(0);
    expect([...scene.decision.desired.keep]).to.deep.equal([KEY]);
  });
});

describe('decision: tables and routes', () => {
  it('wants VIPs on lo by default, and leaves those alone that are external', () => {
    const scene = announced({ vipPresence: 'external' });
    expect([...scene.decision.desired.vips]).to.deep.equal([]);
    expect([...scene.decision.desired.keepVips]).to.deep.equal([VIP]);
    expect(scene.vip().cause.code).to.equal('vip-missing');
    const lo = announced();
    expect([...lo.decision.desired.vips]).to.deep.equal([VIP]);
  });

  it('freezes the kernel objects of a quarantined section that has no last good text', () => {
    const place = { file: 'pybal.conf', line: 9 };
    const frozen = { protocol: 'udp', vip: '10.0.0.9', port: 53 } as const;
    const scene = new Scene(
      configWith([], { quarantined: [{ name: 'dns', place, complaints: [], running: null, frozen }] }),
    );
    expect([...scene.decision.desired.keep]).to.deep.equal(['udp 10.0.0.9:53']);
    expect([...scene.decision.desired.keepVips]).to.deep.equal(['10.0.0.9']);
    expect(scene.decision.desired.keepAll).to.equal(false);
    const blind = new Scene(
      configWith([], { quarantined: [{ name: 'dns', place, complaints: [], running: null, frozen: null }] }),
    );
    expect(blind.decision.desired.keepAll).to.equal(true);
  });

  it('runs a quarantined section that has a last good text as any other', () => {
    const running = checked();
    const place = { file: 'pybal.conf', line: 9 };
    const frozen = { protocol: 'tcp', vip: VIP, port: 80 } as const;
    const scene = announced({}, [], { quarantined: [{ name: 'text', place, complaints: [], running, frozen }] });
    expect(scene.announced).to.deep.equal([VIP]);
    expect([...scene.decision.desired.keep]).to.deep.equal([]);
  });

  it('gives each peer its attributes, and a service its own MED', () => {
    const other = {
      ...PEER,
      name: 'two',
      med: 20,
      asPath: [1, 2],
      communities: [7],
      localPref: 200,
      nextHopIpv4: '192.0.2.20',
    };
    const scene = announced({}, [], { peers: [PEER, other] });
    const { routes } = scene.decision.desired;
    const plain = { prepends: 0, largeCommunities: [], extendedCommunities: [], linkBandwidth: null };
    const attributes = { address: VIP, localPref: null, communities: [], ...plain };
    expect(routes.get(PEER.name)).to.deep.equal([{ ...attributes, nextHop: '192.0.2.10', asPath: [64600], med: 10 }]);
    expect(routes.get('two')).to.deep.equal([
      { address: VIP, nextHop: '192.0.2.20', asPath: [1, 2], med: 20, localPref: 200, communities: [7], ...plain },
    ]);
    const own = announced({ bgpMed: 0 });
    expect(own.decision.desired.routes.get(PEER.name)?.[0]?.med).to.equal(0);
  });

  it('keeps the routes that did not change as the objects that they were', () => {
    const more = checked({ name: 'dns', vip: '10.0.0.2', port: 53 });
    const scene = announced({}, [more]);
    const [before] = scene.decision.desired.routes.get(PEER.name) ?? [];
    scene.list(['cp3'], 'dns');
    scene.tell(scene.health('up', 'cp3', 'dns'));
    scene.settle();
    const routes = scene.decision.desired.routes.get(PEER.name) ?? [];
    expect(routes.map(({ address }) => address)).to.deep.equal([VIP, '10.0.0.2']);
    expect(routes[0]).to.equal(before);
  });

  it('uses the next hop of the family of the VIP', () => {
    const scene = announced({ vip: '2001:db8::1', family: 6 });
    expect(scene.decision.desired.routes.get(PEER.name)?.[0]?.nextHop).to.equal('2001:db8::10');
  });
});

describe('decision: time and identity', () => {
  const later = (scene: Scene, at: number) => ({ ...scene.facts, now: at as Mono });

  /** Deciding again just before wakeAt gives the same; at wakeAt it gives something else. */
  function expectWake(scene: Scene, expectedMs: number): void {
    const { decision, now } = scene;
    expect(decision.wakeAt - now, 'wakeAt').to.equal(expectedMs);
    const just = decide(later(scene, decision.wakeAt - 1), decision);
    expect({ ...just, at: 0 }).to.deep.equal({ ...decision, at: 0 });
    const then = decide(later(scene, decision.wakeAt), decision);
    const shape = ({ services, vips, desired }: typeof then) => ({
      services: [...services.values()].map(({ servers, firstRound, lingering, draining, vote }) => [
        servers,
        firstRound,
        lingering,
        draining,
        vote,
      ]),
      vips: [...vips.values()].map(({ announced: is, cause }) => [is, cause]),
      desired,
    });
    expect(shape(then)).to.not.deep.equal(shape(decision));
  }

  it('wakes when the kernel gets stale', () => expectWake(announced(), RECONCILE_LIMIT_MS));

  it('wakes at the end of start-grace', () => {
    const scene = new Scene(configWith([checked({ startGraceSeconds: 7 })]));
    scene.list(['cp1', 'cp2']);
    scene.up('cp1');
    scene.settle();
    expectWake(scene, 7000);
  });

  it('wakes at the end of a freeze', () => {
    const scene = announced({ freezeLimitSeconds: 4 });
    scene.unknown('cp1');
    expectWake(scene, 4000);
  });

  it('wakes at the end of a drain', () => {
    const scene = announced({ depoolAction: 'drain', drainSeconds: 3 });
    scene.list(['cp1']);
    scene.settle();
    expectWake(scene, 3000);
  });

  it('wakes when withdraw-wait is over', () => {
    const scene = announced({ depoolThreshold: 0 });
    scene.down('cp1', 'cp2');
    expectWake(scene, WITHDRAW_WAIT_MS);
    const gone = announced();
    gone.configure(configWith([]));
    expectWake(gone, WITHDRAW_WAIT_MS);
  });

  it('wakes when the kernel has differed, or an address has been missing, for too long', () => {
    for (const what of ['service', 'address'] as const) {
      const scene = announced();
      if (what === 'service') scene.kernel.delete(KEY);
      else scene.addresses.delete(VIP);
      scene.read();
      scene.pass(6000);
      // Readings go on, and show the same.
      scene.read();
      expectWake(scene, RECONCILE_LIMIT_MS - 6000);
    }
  });

  it('gives the same for the same facts, and the identical objects for what did not change', () => {
    const scene = announced({}, [checked({ name: 'tls', vip: '10.0.0.2', port: 443 })]);
    scene.list(['cp1'], 'tls');
    scene.settle();
    const before = scene.decision;
    scene.pass(10);
    expect({ ...scene.decision, at: 0 }).to.deep.equal({ ...before, at: 0 });
    for (const part of ['ipvs', 'vips', 'keep', 'keepVips', 'routes'] as const) {
      expect(scene.decision.desired[part], part).to.equal(before.desired[part]);
    }
    for (const [name, verdict] of scene.decision.services) expect(verdict, name).to.equal(before.services.get(name));
    scene.down('cp1');
    expect(scene.service('tls')).to.equal(before.services.get('tls'));
    expect(scene.service('text')).to.not.equal(before.services.get('text'));
    expect(scene.decision.desired.ipvs.get('tcp 10.0.0.2:443')).to.equal(before.desired.ipvs.get('tcp 10.0.0.2:443'));
    expect(scene.decision.desired.routes).to.equal(before.desired.routes);
    expect(scene.decision.desired.vips).to.equal(before.desired.vips);
  });

  it('a reload of the same configuration changes nothing at all', () => {
    const scene = announced();
    const before = scene.decision;
    scene.configure(configWith([checked()]));
    expect(scene.service()).to.equal(before.services.get('text'));
    expect(scene.decision.desired.ipvs).to.equal(before.desired.ipvs);
    expect(scene.decision.desired.routes).to.equal(before.desired.routes);
  });

  it('a reload that changes a scheduler keeps every verdict on a server', () => {
    const scene = announced();
    scene.pass(5000);
    const before = scene.service().servers;
    scene.configure(configWith([checked({ scheduler: 'sh' })]));
    expect(scene.service().servers).to.deep.equal(before);
    expect(scene.announced).to.deep.equal([VIP]);
    expect(scene.service().desired?.service.scheduler).to.equal('sh');
  });
});

function entryOf(scene: Scene) {
  const { desired } = scene.service();
  if (desired === null) throw new Error('nothing is wanted');
  return desired;
}
