import { expect } from 'chai';
import fc from 'fast-check';
import type { ServiceConfig } from '../../../src/config/types.ts';
import { checked, configWith, Scene } from '../../support/decision-scene.ts';

const HOSTS = ['cp1', 'cp2', 'cp3', 'cp4'];

/** A service that runs: cp1 to cp4 are up and in the kernel, but for cp4, which is down. */
function running(over: Partial<ServiceConfig> = {}): Scene {
  const scene = new Scene(configWith([checked({ slowStartSeconds: 90, depoolThreshold: 0, ...over })]));
  scene.list(HOSTS);
  scene.up('cp1', 'cp2', 'cp3');
  scene.down('cp4');
  scene.settle();
  return scene;
}

const weightOf = (scene: Scene, host: string) =>
  Number(
    scene
      .wanted()
      .find((it) => it.startsWith(host))
      ?.split(' ')[1],
  );

describe('slow start', () => {
  it('begins with a tenth of the weight and comes to all of it in nine steps, each a write of its own', () => {
    const scene = running();
    scene.up('cp4');
    const weights = [weightOf(scene, '10.9.0.4')];
    expect(scene.server('cp4').cause).to.deep.equal({ code: 'slow-start', text: 'up, slow start: weight 1 of 10' });
    scene.settle();
    for (let step = 0; step < 9; step++) {
      expect(scene.decision.wakeAt - scene.now).to.be.at.most(10_000);
      scene.pass(9_999);
      expect(weightOf(scene, '10.9.0.4')).to.equal(weights.at(-1));
      scene.pass(1);
      weights.push(weightOf(scene, '10.9.0.4'));
      scene.settle();
    }
    expect(weights).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(scene.server('cp4')).to.deep.include({ startsSince: null, cause: { code: 'up', text: 'up' } });
    expect(scene.wanted().map((it) => it.split(' ')[1])).to.deep.equal(['10', '10', '10', '10']);
  });

  it('does not begin for servers that are up in the first round, or were in the kernel before', () => {
    expect(running().wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10', '10.9.0.3:80 10']);
    const config = checked({ slowStartSeconds: 90, depoolThreshold: 0 });
    const scene = new Scene(configWith([config]), (it) => it.leave(config, HOSTS));
    scene.list(HOSTS);
    scene.up('cp1');
    scene.pass(60_000);
    expect(scene.service().firstRound).to.equal(true);
    scene.up('cp2', 'cp3', 'cp4');
    expect(scene.wanted().map((it) => it.split(' ')[1])).to.deep.equal(['10', '10', '10', '10']);
  });

  it('begins for a host that is new on the list, and for one that is enabled again', () => {
    const scene = running();
    scene.list(['cp1', 'cp2 disabled', 'cp3', 'cp4', 'cp5']);
    scene.settle();
    scene.up('cp5');
    expect(weightOf(scene, '10.9.0.5')).to.equal(1);
    scene.list(['cp1', 'cp2', 'cp3', 'cp4', 'cp5']);
    expect(weightOf(scene, '10.9.0.2')).to.equal(1);
  });

  it('begins anew each time that the server comes back, so that one which flaps stays small', () => {
    const scene = running();
    for (let i = 0; i < 5; i++) {
      scene.up('cp4');
      expect(weightOf(scene, '10.9.0.4')).to.equal(1);
      scene.settle();
      scene.pass(15_000);
      expect(weightOf(scene, '10.9.0.4')).to.equal(2);
      scene.settle();
      scene.down('cp4');
      scene.settle();
      expect(scene.pooled()).not.to.include('cp4');
    }
  });

  it('leaves who is held at its weight, and does not begin when it is up again', () => {
    const scene = running({ depoolThreshold: 1 });
    expect(scene.held()).to.deep.equal(['cp4']);
    expect(weightOf(scene, '10.9.0.4')).to.equal(10);
    scene.up('cp4');
    expect([scene.held(), weightOf(scene, '10.9.0.4')]).to.deep.equal([[], 10]);
  });

  it('does not begin, and ends, beside one that is held: who is up is needed', () => {
    const scene = running({ depoolThreshold: 0.5 });
    scene.down('cp1', 'cp2', 'cp3');
    scene.settle();
    expect(scene.held()).to.have.length(2);
    scene.up('cp4');
    expect(scene.held()).to.have.length(1);
    expect(weightOf(scene, '10.9.0.4')).to.equal(10);
    scene.settle();
    scene.up('cp1', 'cp2', 'cp3');
    expect(scene.held()).to.deep.equal([]);
    expect(weightOf(scene, '10.9.0.4')).to.equal(10);
    const other = running({ depoolThreshold: 0.5 });
    other.up('cp4');
    expect(weightOf(other, '10.9.0.4')).to.equal(1);
    other.settle();
    other.down('cp1', 'cp2', 'cp3');
    other.settle();
    expect([other.held().length, weightOf(other, '10.9.0.4')]).to.deep.equal([1, 10]);
  });

  it('goes on by its time while the server is held or cannot be judged: no weight goes down on the way up', () => {
    const scene = running({ depoolThreshold: 0.75 });
    scene.up('cp4');
    scene.settle();
    scene.pass(20_000);
    scene.list(['cp1', 'cp2 disabled', 'cp3 disabled', 'cp4']);
    scene.down('cp4');
    expect(scene.held()).to.deep.equal(['cp4']);
    expect(weightOf(scene, '10.9.0.4')).to.equal(3);
    scene.settle();
    scene.pass(10_000);
    expect(weightOf(scene, '10.9.0.4')).to.equal(4);
    scene.unknown('cp4');
    scene.pass(60_000);
    expect(weightOf(scene, '10.9.0.4')).to.equal(10);
  });

  it('rounds up, so that a weight of 1 is 1 at once, and 0 stays 0', () => {
    const scene = running();
    scene.list(['cp1', 'cp2', 'cp3', 'cp4 weight 1', 'cp5 weight 0', 'cp6 weight 3']);
    scene.up('cp4', 'cp5', 'cp6');
    expect(['4', '5', '6'].map((n) => weightOf(scene, `10.9.0.${n}`))).to.deep.equal([1, 0, 1]);
    scene.settle();
    scene.pass(40_000);
    expect(['4', '5', '6'].map((n) => weightOf(scene, `10.9.0.${n}`))).to.deep.equal([1, 0, 2]);
  });

  it('ends at once when it is switched off', () => {
    const scene = running();
    scene.up('cp4');
    scene.configure(configWith([checked({ slowStartSeconds: 0, depoolThreshold: 0 })]));
    expect(weightOf(scene, '10.9.0.4')).to.equal(10);
    expect(scene.server('cp4').startsSince).to.equal(null);
  });

  it('changes a weight at most nine times on the way, never downwards, whenever somebody looks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 20_000 }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 120 }),
        (pauses, weight, seconds) => {
          const scene = running({ slowStartSeconds: seconds });
          scene.list(['cp1', 'cp2', 'cp3', `cp4 weight ${weight}`]);
          scene.up('cp4');
          const seen = [weightOf(scene, '10.9.0.4')];
          for (const pause of pauses) {
            const { wakeAt } = scene.decision;
            const due = wakeAt <= scene.now + pause;
            scene.program();
            scene.pass(pause);
            const now = weightOf(scene, '10.9.0.4');
            if (!due) expect(now).to.equal(seen.at(-1));
            if (now !== seen.at(-1)) seen.push(now);
          }
          expect(seen).to.deep.equal(seen.toSorted((a, b) => a - b));
          expect(seen.length).to.be.at.most(Math.min(10, weight));
          scene.pass(seconds * 1000 + 10);
          expect(weightOf(scene, '10.9.0.4')).to.equal(weight);
        },
      ),
      { numRuns: 100 },
    );
  });
});
