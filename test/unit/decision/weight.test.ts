// A weight that monitors give, and a server that drains: what reaches the kernel, under the floor, with its cause.

import { expect } from 'chai';
import fc from 'fast-check';
import type { Weighting } from '../../../src/decision/facts.ts';
import { eventsOf } from '../../../src/decision/events.ts';
import { weightOf } from '../../../src/decision/weight.ts';
import { checked, configWith, RECONCILE_LIMIT_MS, Scene } from '../../support/decision-scene.ts';

const says = (is: Partial<Weighting>): Weighting => ({
  weight: null,
  percent: 100,
  drain: false,
  reason: 'Agent: so',
  ...is,
});
const HALF = says({ percent: 50, reason: 'Agent: 50%' });
const DRAIN = says({ drain: true, reason: 'Agent: drain' });

function running(hosts: readonly string[], over: Parameters<typeof checked>[0] = {}): Scene {
  const scene = new Scene(configWith([checked(over)]));
  scene.list(hosts);
  scene.up(...hosts.map((text) => text.split(' ')[0] ?? ''));
  scene.settle();
  return scene;
}

function weigh(scene: Scene, weighting: Weighting | null, ...names: readonly string[]): void {
  const up = { is: 'up', since: scene.now, reason: '', partial: true } as const;
  const health = { ...up, ...(weighting === null ? {} : { weighting }) };
  scene.tell(...names.map((host) => ({ is: 'health', service: 'text', host, health }) as const));
}

const lines = ({ previous, decision }: Scene): readonly string[] =>
  eventsOf(previous, decision).map(({ level, text }) => `${level} ${text}`);

describe('decision: weights that monitors give', () => {
  it("takes an absolute weight for the list's, and a share of it", () => {
    expect(weightOf(10, undefined)).to.equal(10);
    expect(weightOf(10, HALF)).to.equal(5);
    expect(weightOf(10, says({ weight: 40 }))).to.equal(40);
    expect(weightOf(10, says({ weight: 40, percent: 50 }))).to.equal(20);
    expect(weightOf(10, says({ percent: 200 }))).to.equal(20);
    expect(weightOf(10, says({ percent: 0 }))).to.equal(0);
    expect(weightOf(10, says({ weight: 0 }))).to.equal(0);
    expect(weightOf(10, says({ percent: 300, drain: true }))).to.equal(0);
  });

  it("stays a weight of the kernel's, is 0 only if somebody said so, and 0 in the list is 0", () => {
    const weighting = fc.record({
      weight: fc.option(fc.double({ min: 0, max: 1e9, noNaN: true })),
      percent: fc.double({ min: 0, max: 1e9, noNaN: true }),
      drain: fc.boolean(),
      reason: fc.constant(''),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65_535 }), weighting, (listed, says) => {
        const weight = weightOf(listed, says);
        expect(Number.isInteger(weight) && weight >= 0 && weight <= 65_535).to.equal(true);
        const none = listed === 0 || says.drain || says.percent === 0 || says.weight === 0;
        // Two numbers above nothing can have a product of nothing: the smallest that there are.
        if (weight === 0) expect(none || (says.weight ?? listed) * says.percent < 1e-300).to.equal(true);
        if (none) expect(weight).to.equal(0);
      }),
      { numRuns: 200, seed: 4 },
    );
  });

  it('brings it to the kernel while the server is up, with its cause', () => {
    const scene = running(['cp1', 'cp2']);
    weigh(scene, HALF, 'cp1');
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 5', '10.9.0.2:80 10']);
    expect(scene.server('cp1')).to.deep.include({ weight: 5, listedWeight: 10, drains: false });
    expect(scene.server('cp1').cause.text).to.equal('up, weight 5 instead of 10 (Agent: 50%)');
    expect(lines(scene)).to.deep.equal([
      'debug Server cp1 has weight 5 now, and had 10: up, weight 5 instead of 10 (Agent: 50%)',
    ]);
    scene.settle();
    scene.list(['cp1 weight 20', 'cp2']);
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 10');
    scene.list(['cp1 weight 0', 'cp2']);
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 0');
    expect(scene.server('cp1')).to.deep.include({ drains: false });
    weigh(scene, null, 'cp1');
    scene.list(['cp1', 'cp2']);
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 10');
  });

  it('freezes it with the verdict, and forgets it when the server is down', () => {
    const scene = running(['cp1', 'cp2'], { depoolThreshold: 1 });
    weigh(scene, HALF, 'cp1');
    const health = { is: 'unknown', since: scene.now, reason: 'EMFILE', partial: true, weighting: HALF } as const;
    scene.tell({ is: 'health', service: 'text', host: 'cp1', health });
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 5');
    scene.settle();
    scene.down('cp1');
    expect(scene.held()).to.deep.equal(['cp1']);
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 10');
  });

  it('wants no other weight while one is on its way to the kernel, but for who comes, goes or drains', () => {
    const scene = running(['cp1', 'cp2', 'cp3']);
    weigh(scene, HALF, 'cp1');
    weigh(scene, HALF, 'cp2');
    weigh(scene, DRAIN, 'cp3');
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 5', '10.9.0.2:80 10', '10.9.0.3:80 0']);
    expect(scene.server('cp2').weight).to.equal(5);
    scene.program();
    scene.read();
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 5', '10.9.0.2:80 5', '10.9.0.3:80 0']);
    // A write that never comes to its end keeps nobody's weight for longer than the limit.
    weigh(scene, null, 'cp1');
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 5');
    scene.pass(RECONCILE_LIMIT_MS);
    expect(scene.wanted()[0]).to.equal('10.9.0.1:80 10');
  });

  it('keeps one that drains in the kernel with weight 0', () => {
    const scene = running(['cp1', 'cp2']);
    weigh(scene, DRAIN, 'cp1');
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 0', '10.9.0.2:80 10']);
    expect(scene.server('cp1')).to.deep.include({ pooled: true, held: false, drains: true });
    expect(scene.server('cp1').cause).to.deep.equal({
      code: 'draining',
      text: 'up, but gets no new connections (Agent: drain)',
    });
    expect(lines(scene)).to.deep.equal([
      'info Draining server cp1: up, but gets no new connections (Agent: drain), weight 0',
    ]);
    weigh(scene, null, 'cp1');
    expect(lines(scene)).to.deep.equal(['info Server cp1 gets new connections again, weight 10']);
  });

  it('never drains below the floor: the last to drain goes on, and is let go when another takes over', () => {
    const scene = running(['cp1', 'cp2']);
    weigh(scene, DRAIN, 'cp1');
    scene.settle();
    weigh(scene, DRAIN, 'cp2');
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 0', '10.9.0.2:80 10']);
    expect(scene.held()).to.deep.equal(['cp2']);
    expect(scene.server('cp2').cause.text).to.equal(
      'wants no new connections (Agent: drain), gets them to keep the depool threshold',
    );
    expect(lines(scene)).to.deep.equal([
      'warn [text] Server cp2 wants no new connections (Agent: drain), gets them to keep the depool threshold',
    ]);
    expect(scene.announced).to.deep.equal(['10.0.0.1']);
    scene.again();
    expect(scene.held()).to.deep.equal(['cp2']);
    weigh(scene, null, 'cp1');
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 0']);
    expect(lines(scene)).to.deep.equal([
      'info Server cp1 gets new connections again, weight 10',
      'info Draining server cp2: up, but gets no new connections (Agent: drain), weight 0',
    ]);
  });

  it('takes one that drains before one that is down, when the floor needs somebody', () => {
    const scene = running(['cp1', 'cp2']);
    weigh(scene, DRAIN, 'cp1');
    scene.down('cp2');
    expect(scene.pooled()).to.deep.equal(['cp1']);
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10']);
    expect(scene.server('cp1')).to.deep.include({ held: true, drains: true });
  });

  it('does not count one that drains as healthy, and leaves when all drain and no floor holds them', () => {
    const healthy = running(['cp1', 'cp2'], { announce: 'healthy' });
    weigh(healthy, DRAIN, 'cp1', 'cp2');
    expect(healthy.announced).to.deep.equal([]);
    const served = running(['cp1', 'cp2'], { depoolThreshold: 0 });
    weigh(served, says({ percent: 0 }), 'cp1', 'cp2');
    expect(served.announced).to.deep.equal([]);
    // The route leaves first: until it has, connections that come still find somebody.
    expect(served.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
    served.pass(60_000);
    expect(served.wanted()).to.deep.equal(['10.9.0.1:80 0', '10.9.0.2:80 0']);
  });

  it('adopts a server with weight 0 as draining, under the floor', () => {
    const config = checked();
    const one = new Scene(configWith([config]), (scene) => scene.leave(config, ['cp1'], 0));
    one.list(['cp1', 'cp2']);
    expect(one.wanted()).to.deep.equal(['10.9.0.1:80 10']);
    expect(one.server('cp1').cause.text).to.contain('weight 0 in the kernel');
    const two = new Scene(configWith([config]), (scene) => scene.leave(config, ['cp1', 'cp2'], 3));
    two.list(['cp1', 'cp2']);
    expect(two.wanted()).to.deep.equal(['10.9.0.1:80 3', '10.9.0.2:80 3']);
    weigh(two, DRAIN, 'cp1');
    expect(two.wanted()).to.deep.equal(['10.9.0.1:80 0', '10.9.0.2:80 3']);
  });

  it('gives an adopted server its listed weight back when somebody touches what was found', () => {
    const config = checked();
    const scene = new Scene(configWith([config]), (before) => before.leave(config, ['cp1', 'cp2'], 3));
    scene.list(['cp1', 'cp2']);
    scene.leave(config, ['cp1'], 7);
    scene.read();
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
    scene.program();
    scene.read();
    expect(scene.wanted()).to.deep.equal(['10.9.0.1:80 10', '10.9.0.2:80 10']);
  });
});
