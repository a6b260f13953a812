// Verdicts on the servers of one service: PyBal's cases by the number that they have in its reference, and every row of the
// health table.

import { expect } from 'chai';
import { FLAG } from '../../../src/ipvs/table.ts';
import { checked, configWith, Scene, WITHDRAW_WAIT_MS } from '../../support/decision-scene.ts';

/** All of `hosts` up, programmed, read back. */
function running(hosts: readonly string[], over: Parameters<typeof checked>[0] = {}): Scene {
  const scene = new Scene(configWith([checked(over)]));
  scene.list(hosts);
  scene.up(...hosts.filter((text) => !text.includes('disabled')).map((text) => text.split(' ')[0] ?? ''));
  scene.settle();
  return scene;
}

describe('decision: the pool of a service', () => {
  describe("does as PyBal's tests want", () => {
    it('10: of 2 servers with 2, 1 and 0 up at .5, depooling is possible, possible, not possible', () => {
      const scene = running(['cp1', 'cp2']);
      expect(scene.service().canDepool).to.equal(true);
      scene.down('cp1');
      expect(scene.service().canDepool).to.equal(true);
      scene.down('cp2');
      expect(scene.service().canDepool).to.equal(false);
    });

    it('11: of 4 servers with 1 disabled, one may fail, two are too many', () => {
      const scene = running(['cp1', 'cp2', 'cp3', 'cp4 disabled']);
      expect(scene.service().canDepool).to.equal(true);
      scene.down('cp1');
      expect(scene.service().canDepool).to.equal(true);
      expect(scene.pooled()).to.deep.equal(['cp2', 'cp3']);
      scene.down('cp2');
      expect(scene.service().canDepool).to.equal(false);
      expect(scene.pooled()).to.deep.equal(['cp2', 'cp3']);
      expect(scene.held()).to.deep.equal(['cp2']);
    });

    it('12: the first of 2 that fails is removed, the second stays and is named', () => {
      const scene = running(['cp1', 'cp2']);
      scene.down('cp1');
      expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 10']);
      scene.down('cp2');
      expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 10']);
      expect(scene.held()).to.deep.equal(['cp2']);
      expect(scene.server('cp2').cause).to.deep.equal({
        code: 'held',
        text: 'not up (down: 503), held to keep the depool threshold',
      });
    });

    it('13: a server that recovers is added, a held one that recovers stays, and then nobody is held', () => {
      const scene = running(['cp1', 'cp2']);
      scene.down('cp1');
      scene.down('cp2');
      scene.up('cp2');
      expect(scene.pooled()).to.deep.equal(['cp2']);
      expect(scene.held()).to.deep.equal([]);
      scene.down('cp2');
      scene.up('cp1');
      expect(scene.pooled()).to.deep.equal(['cp1']);
      expect(scene.held()).to.deep.equal([]);
    });

    it('14: a server that is not pooled and fails again changes nothing in the kernel', () => {
      const scene = running(['cp1', 'cp2', 'cp3']);
      scene.down('cp1');
      const { desired } = scene.decision;
      scene.down('cp1');
      expect(scene.decision.desired.ipvs).to.equal(desired.ipvs);
    });

    it('15: a disabled server that is up is not pooled', () => {
      const scene = running(['cp1', 'cp2 disabled']);
      scene.up('cp2');
      expect(scene.pooled()).to.deep.equal(['cp1']);
      expect(scene.server('cp2')).to.include({ stands: 'up', pooled: false, held: false });
      expect(scene.server('cp2').cause.code).to.equal('disabled');
    });

    it('17: of a changed list the gone host is gone, the kept one keeps its verdict, the new one waits', () => {
      const scene = running(['cp1', 'cp2']);
      const before = scene.server('cp2');
      scene.pass(1000);
      scene.list(['cp2 weight 20', 'cp3']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 20']);
      expect(scene.server('cp2').upSince).to.equal(before.upSince);
      expect(scene.server('cp3')).to.include({ stands: 'unknown', pooled: false });
    });

    it('18: a held server survives a change of the list, a disabled one does not', () => {
      const scene = running(['cp1', 'cp2']);
      scene.down('cp1');
      scene.down('cp2');
      scene.list(['cp1', 'cp2 weight 7']);
      expect(scene.held()).to.deep.equal(['cp2']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 7']);
      scene.list(['cp1', 'cp2 disabled']);
      expect(scene.held()).to.deep.equal(['cp1']);
    });

    it('19: with all disabled the floor cannot be met; enabled but down, enough are forced', () => {
      const scene = running(['cp1 disabled', 'cp2 disabled']);
      expect(scene.service()).to.include({ floorMet: false });
      expect(scene.pooled()).to.deep.equal([]);
      const forced = new Scene(configWith([checked()]));
      forced.list(['cp1', 'cp2', 'cp3']);
      forced.down('cp1', 'cp2', 'cp3');
      expect(forced.held()).to.deep.equal(['cp1', 'cp2']);
      expect(forced.service().floorMet).to.equal(true);
    });

    it('20: of 3 servers that all fail 2 remain at .5, all at 1, none at 0', () => {
      for (const [depoolThreshold, left] of [
        [0.5, 2],
        [1, 3],
        [0, 0],
      ] as const) {
        const scene = running(['cp1', 'cp2', 'cp3'], { depoolThreshold });
        for (const name of ['cp1', 'cp2', 'cp3']) scene.down(name);
        expect(scene.pooled(), `threshold ${depoolThreshold}`).to.have.length(left);
      }
    });

    it('21: a change of weight while all have failed keeps those that are held', () => {
      const scene = running(['cp1', 'cp2', 'cp3', 'cp4']);
      for (const name of ['cp3', 'cp1', 'cp4', 'cp2']) scene.down(name);
      const held = scene.held();
      expect(held).to.deep.equal(['cp2', 'cp4']);
      scene.list(['cp1 weight 1', 'cp2 weight 1', 'cp3 weight 1', 'cp4 weight 1']);
      expect(scene.held()).to.deep.equal(held);
    });

    it('22: a held host leaves the list, then another recovers: nobody is held any more', () => {
      const scene = running(['cp1', 'cp2']);
      scene.down('cp1');
      scene.down('cp2');
      scene.list(['cp1']);
      expect(scene.held()).to.deep.equal(['cp1']);
      scene.up('cp1');
      expect(scene.held()).to.deep.equal([]);
      expect(scene.pooled()).to.deep.equal(['cp1']);
    });

    it('23: a disabled server that is up and becomes enabled is pooled at once', () => {
      const scene = running(['cp1', 'cp2 disabled']);
      scene.up('cp2');
      scene.list(['cp1', 'cp2']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
    });

    it('24: an accepted empty list is an empty pool with its floor met', () => {
      const scene = running(['cp1']);
      scene.list([]);
      expect(scene.service()).to.include({ floor: 0, floorMet: true });
      expect(scene.pooled()).to.deep.equal([]);
      // The route leaves first.
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10']);
      scene.pass(WITHDRAW_WAIT_MS);
      expect(scene.wanted()).to.deep.equal([]);
    });
  });

  it('counts disabled and unresolved servers in N', () => {
    const scene = new Scene(configWith([checked()]));
    scene.list(['cp1', 'cp2', 'cp3 disabled', 'cp4', 'cp5'], 'text', ['cp4', 'cp5']);
    scene.up('cp1', 'cp2');
    expect(scene.service()).to.include({ floor: 3, floorMet: false });
    expect(scene.pooled()).to.deep.equal(['cp1', 'cp2']);
    expect(scene.server('cp4').cause.code).to.equal('unresolved');
  });

  it('holds the one that was up longest when several fail together', () => {
    const scene = new Scene(configWith([checked({ depoolThreshold: 0.3 })]));
    scene.list(['cp1', 'cp2', 'cp3']);
    scene.down('cp1');
    scene.up('cp2', 'cp3');
    scene.pass(60_000);
    scene.up('cp1');
    scene.down('cp2');
    scene.pass(10_000);
    scene.up('cp2');
    scene.pass(1000);
    scene.down('cp1', 'cp2', 'cp3');
    expect(scene.held()).to.deep.equal(['cp3']);
  });

  it('gives destinations of weight 0 weight 0, one canonical order, the real port and the forwarding method', () => {
    const scene = running(['cp10 weight 0', 'cp2', 'cp9'], {
      forward: 'nat',
      realPort: 8080,
      scheduler: 'mh',
      flags: FLAG.sched1,
    });
    expect(scene.wanted()).to.deep.equal(['10.9.0.10:8080 0', '10.9.0.2:8080 10', '10.9.0.9:8080 10']);
    const entry = scene.service().desired;
    expect(entry?.service).to.include({ scheduler: 'mh', flags: FLAG.sched1, port: 80 });
    expect([...(entry?.destinations.values() ?? [])].map(({ forward }) => forward)).to.deep.equal([
      'nat',
      'nat',
      'nat',
    ]);
  });

  describe('of a service that is new to the kernel', () => {
    it('pools nobody who is unknown', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1', 'cp2']);
      expect(scene.wanted()).to.deep.equal([]);
      expect(scene.server('cp1').cause).to.include({ code: 'awaited' });
      scene.unknown('cp1');
      expect(scene.wanted()).to.deep.equal([]);
    });

    it('pools who is up, and may hold who is down when the first round has not brought enough', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1', 'cp2', 'cp3', 'cp4']);
      scene.up('cp1');
      expect(scene.pooled()).to.deep.equal(['cp1']);
      scene.down('cp2', 'cp3');
      expect(scene.pooled(), 'cp4 may be up yet').to.deep.equal(['cp1']);
      scene.down('cp4');
      expect(scene.pooled()).to.deep.equal(['cp1', 'cp2']);
      expect(scene.held()).to.deep.equal(['cp2']);
    });

    it('holds one of which a check is up and no other can tell, rather than one that is down', () => {
      const scene = new Scene(configWith([checked()]));
      const partial = { is: 'unknown', since: scene.now, reason: 'EMFILE', partial: true } as const;
      scene.list(['cp1', 'cp2', 'cp3', 'cp4', 'cp5']);
      scene.down('cp1', 'cp2', 'cp4');
      scene.unknown('cp3');
      scene.tell({ is: 'health', service: 'text', host: 'cp5', health: partial });
      expect(scene.pooled(), 'there may be results yet').to.deep.equal([]);
      scene.pass(60_000);
      expect(scene.held(), 'nothing was ever known of cp3').to.deep.equal(['cp1', 'cp2', 'cp5']);
      scene.up('cp4');
      expect(scene.held()).to.deep.equal(['cp1', 'cp5']);
      scene.up('cp1');
      expect(scene.held()).to.deep.equal(['cp5']);
    });

    it('brings in nobody dead for the higher floor of a new server that may be up', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1', 'cp2', 'cp3']);
      scene.up('cp1', 'cp2', 'cp3');
      scene.down('cp1');
      scene.list(['cp1', 'cp2', 'cp3', 'cp4', 'cp5']);
      expect(scene.pooled(), '2 of 5 for now').to.deep.equal(['cp2', 'cp3']);
      scene.up('cp4');
      expect(scene.pooled()).to.deep.equal(['cp2', 'cp3', 'cp4']);
      scene.down('cp5');
      expect(scene.pooled()).to.deep.equal(['cp2', 'cp3', 'cp4']);
      scene.down('cp4', 'cp2');
      expect(scene.held(), 'nobody who was pooled goes').to.deep.equal(['cp2', 'cp4']);
    });

    it('holds at once whom the first round has seen up', () => {
      const scene = new Scene(configWith([checked()]));
      scene.list(['cp1', 'cp2']);
      scene.up('cp1');
      scene.down('cp1');
      expect(scene.held()).to.deep.equal(['cp1']);
    });
  });

  describe('of a service that was found in the kernel', () => {
    const adopted = (names: readonly string[], config = checked()) =>
      new Scene(configWith([config]), (scene) => scene.leave(config, names));

    it('keeps an entry until the first result of its check', () => {
      const scene = adopted(['cp1', 'cp2', 'cp3', 'cp4']);
      const { ipvs } = scene.facts.kernel;
      scene.list(['cp1', 'cp2', 'cp3', 'cp4']);
      expect(scene.decision.desired.ipvs).to.deep.equal(ipvs);
      expect(scene.server('cp1')).to.include({ stands: 'adopted', pooled: true });
      scene.unknown('cp1');
      expect(scene.pooled()).to.have.length(4);
      scene.down('cp1');
      expect(scene.pooled()).to.deep.equal(['cp2', 'cp3', 'cp4']);
      scene.up('cp2');
      expect(scene.server('cp2').stands).to.equal('up');
    });

    it('depools under the floor', () => {
      const scene = adopted(['cp1', 'cp2']);
      scene.list(['cp1', 'cp2']);
      scene.down('cp1', 'cp2');
      expect(scene.held()).to.have.length(1);
    });

    it('takes out what no list names, once every host has its address', () => {
      const scene = adopted(['cp1', 'cp9']);
      scene.list(['cp1', 'cp2'], 'text', [], ['cp2']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.9:80 10']);
      scene.tell(scene.address('cp2', '10.9.0.9'));
      expect(scene.server('cp2')).to.include({ stands: 'adopted', pooled: true });
      const other = adopted(['cp1', 'cp9']);
      other.list(['cp1', 'cp2'], 'text', [], ['cp2']);
      other.tell(other.address('cp2', '10.9.0.2'));
      other.up('cp1', 'cp2');
      expect(other.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
    });

    it('keeps the weight too until the first result, unless the list says 0', () => {
      const scene = adopted(['cp1', 'cp2']);
      scene.list(['cp1 weight 3', 'cp2 weight 0']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 0']);
      scene.settle();
      scene.up('cp1', 'cp2');
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 3', '10.9.0.2:80 0']);
    });

    it('leaves all alone before there is a list', () => {
      const scene = adopted(['cp1']);
      expect(scene.service().desired).to.equal(null);
      expect([...scene.decision.desired.keep]).to.deep.equal(['tcp 10.0.0.1:80']);
      expect([...scene.decision.desired.keepVips]).to.deep.equal(['10.0.0.1']);
      expect(scene.decision.desired.ipvs.size).to.equal(0);
    });
  });

  describe('with a host that is new in a running pool', () => {
    it('does not pool it until it is up, and counts it in N', () => {
      const scene = running(['cp1', 'cp2']);
      scene.list(['cp1', 'cp2', 'cp3']);
      expect(scene.pooled()).to.deep.equal(['cp1', 'cp2']);
      expect(scene.service().floor).to.equal(2);
      scene.down('cp3');
      expect(scene.pooled()).to.deep.equal(['cp1', 'cp2']);
      scene.up('cp3');
      expect(scene.pooled()).to.deep.equal(['cp1', 'cp2', 'cp3']);
    });

    it('does not hold it before it was ever up', () => {
      const scene = running(['cp1']);
      scene.list(['cp2']);
      scene.down('cp2');
      expect(scene.pooled()).to.deep.equal([]);
      expect(scene.service().floorMet).to.equal(false);
    });

    it('treats a host that left and came back as new, also where its entry was adopted once', () => {
      const config = checked();
      const scene = new Scene(configWith([config]), (before) => before.leave(config, ['cp1', 'cp2']));
      scene.list(['cp1', 'cp2']);
      scene.up('cp1', 'cp2');
      scene.list(['cp1']);
      scene.settle();
      scene.list(['cp1', 'cp2']);
      expect(scene.pooled()).to.deep.equal(['cp1']);
    });
  });

  it('takes servers as up where there are no monitors, and says so', () => {
    const scene = new Scene(configWith([checked({ monitors: [] })]));
    scene.list(['cp1', 'cp2 disabled']);
    expect(scene.pooled()).to.deep.equal(['cp1']);
    expect(scene.server('cp1').cause.code).to.equal('unmonitored');
    expect(scene.service().firstRound).to.equal(true);
  });

  describe('while its results are unknown by our own fault', () => {
    it('lets the verdict from before stand for freeze-limit, not a moment longer', () => {
      const scene = running(['cp1', 'cp2', 'cp3', 'cp4'], { freezeLimitSeconds: 60 });
      scene.down('cp4');
      scene.unknown('cp1', 'cp2', 'cp3', 'cp4');
      expect(scene.pooled()).to.deep.equal(['cp1', 'cp2', 'cp3']);
      expect(scene.server('cp1')).to.include({ stands: 'up', health: 'unknown' });
      expect(scene.server('cp1').cause).to.deep.equal({
        code: 'frozen',
        text: 'result unknown (EMFILE), verdict from before stands',
      });
      scene.pass(59_999);
      expect(scene.held()).to.deep.equal([]);
      scene.pass(1);
      expect(scene.server('cp1').stands).to.equal('unknown');
      expect(scene.held()).to.deep.equal(['cp1', 'cp2']);
    });

    it('does not start the limit again for each unknown result, but does after a known one', () => {
      const scene = running(['cp1', 'cp2'], { freezeLimitSeconds: 60 });
      scene.unknown('cp1');
      scene.pass(40_000);
      scene.unknown('cp1');
      scene.pass(20_000);
      expect(scene.server('cp1').stands).to.equal('unknown');
      scene.up('cp1');
      scene.unknown('cp1');
      scene.pass(59_000);
      expect(scene.server('cp1').stands).to.equal('up');
    });

    it('does not take a server for up at an address where nothing is known of it', () => {
      const nothing = { is: 'health', service: 'text', host: 'cp1', health: null } as const;
      for (const between of [true, false]) {
        const scene = running(['cp1', 'cp2', 'cp3']);
        const lost = [scene.address('cp1', null), nothing];
        if (between) expect(scene.tell(...lost) && scene.pooled()).to.deep.equal(['cp2', 'cp3']);
        scene.tell(...lost, scene.address('cp1', '10.9.0.99'));
        expect(scene.server('cp1').stands).to.equal('unknown');
        expect(scene.pooled()).to.deep.equal(['cp2', 'cp3']);
        scene.up('cp1');
        expect(scene.pooled()).to.deep.equal(['cp1', 'cp2', 'cp3']);
      }
    });

    it('still believes results that it has', () => {
      const scene = running(['cp1', 'cp2', 'cp3']);
      scene.unknown('cp1', 'cp2');
      scene.down('cp3');
      expect(scene.pooled()).to.deep.equal(['cp1', 'cp2']);
    });
  });

  describe('when a server is taken away by the list', () => {
    it('deletes it at once with depool-action = delete', () => {
      const scene = running(['cp1', 'cp2']);
      scene.list(['cp1']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10']);
    });

    for (const [how, list] of [
      ['removed', ['cp1']],
      ['disabled', ['cp1', 'cp2 disabled']],
    ] as const) {
      it(`drains a ${how} one with weight 0 for drain seconds with depool-action = drain`, () => {
        const scene = running(['cp1', 'cp2'], { depoolAction: 'drain', drainSeconds: 30 });
        scene.list(list);
        expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 0']);
        scene.settle();
        scene.pass(29_999);
        expect(scene.wanted()).to.have.length(2);
        scene.pass(1);
        expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10']);
      });
    }

    it('takes a draining server back at once when it is listed again', () => {
      const scene = running(['cp1', 'cp2'], { depoolAction: 'drain', drainSeconds: 30 });
      scene.list(['cp1', 'cp2 disabled']);
      scene.list(['cp1', 'cp2']);
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
      expect(scene.service().draining.size).to.equal(0);
    });

    it('deletes who failed, also with depool-action = drain', () => {
      const scene = running(['cp1', 'cp2'], { depoolAction: 'drain', drainSeconds: 30 });
      scene.down('cp2');
      expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10']);
    });

    it('obeys an edit that takes the eligible ones below the floor', () => {
      const scene = running(['cp1', 'cp2', 'cp3', 'cp4']);
      scene.list(['cp1', 'cp2 disabled', 'cp3 disabled', 'cp4 disabled']);
      expect(scene.pooled()).to.deep.equal(['cp1']);
      expect(scene.service()).to.include({ floor: 2, floorMet: false });
    });
  });

  it('follows a server to another address', () => {
    const scene = running(['cp1', 'cp2']);
    scene.tell(scene.address('cp1', '10.9.1.1'));
    expect(scene.wanted()).to.deep.equal(['10.9.0.2:80 10', '10.9.1.1:80 10']);
    expect(scene.server('cp1')).to.include({ stands: 'up', pooled: true });
  });

  it('never mixes families: a VIP of the other family waits for its own addresses', () => {
    const scene = running(['cp1']);
    scene.configure(configWith([checked({ vip: '2001:db8::1', family: 6 })]));
    expect(scene.wanted()).to.deep.equal([]);
    scene.tell(scene.address('cp1', '2001:db8:9::1'));
    scene.up('cp1');
    expect(scene.wanted()).to.deep.equal(['[2001:db8:9::1]:80 10']);
  });
});
