// The log lines of a decision: PyBal's words, once per change, with the cause.

import { expect } from 'chai';
import { eventsOf, newlyHeld } from '../../../src/decision/events.ts';
import { checked, configWith, Scene, WITHDRAW_WAIT_MS } from '../../support/decision-scene.ts';

/** The lines of the last decision: `level [system] text`. */
function lines({ previous, decision }: Scene): readonly string[] {
  return eventsOf(previous, decision).map(({ level, system, text }) => `${level} [${system}] ${text}`);
}

function running(): Scene {
  const scene = new Scene(configWith([checked()]));
  scene.list(['cp1', 'cp2']);
  scene.up('cp1', 'cp2');
  scene.settle();
  return scene;
}

describe('decision/events', () => {
  it('says that a service was made, who is pooled, and that the VIP is announced', () => {
    const scene = new Scene(configWith([checked()]));
    expect(eventsOf(null, scene.decision)).to.deep.equal([]);
    scene.list(['cp1', 'cp2']);
    expect(lines(scene)).to.deep.equal(["info [pybal] Created LVS service 'text'"]);
    scene.up('cp1', 'cp2');
    expect(lines(scene)).to.deep.equal([
      'info [text] Pooled server cp1, weight 10',
      'info [text] Pooled server cp2, weight 10',
    ]);
    scene.program();
    scene.read();
    expect(lines(scene)).to.deep.equal([
      'info [bgp] Announcing 10.0.0.1: text: 2 destination(s) of weight > 0 in the kernel',
    ]);
  });

  it('says nothing when nothing changed', () => {
    const scene = running();
    scene.pass(10);
    expect(lines(scene)).to.deep.equal([]);
    scene.list(['cp1', 'cp2']);
    expect(lines(scene)).to.deep.equal([]);
  });

  it("depools with the reason, and holds in PyBal's words, once", () => {
    const scene = running();
    scene.down('cp1');
    expect(lines(scene)).to.deep.equal(['info [text] Depooled server cp1: down: 503']);
    const before = scene.service();
    scene.down('cp2');
    expect(lines(scene)).to.deep.equal(['error [text] Could not depool server cp2 because of too many down!']);
    expect(newlyHeld(before, scene.service())).to.deep.equal(['cp2']);
    const held = scene.service();
    scene.down('cp2');
    expect(lines(scene)).to.deep.equal([]);
    expect(newlyHeld(held, scene.service())).to.deep.equal([]);
    scene.up('cp2');
    expect(lines(scene)).to.deep.equal(['info [text] Leaving previously pooled server cp2 pooled']);
  });

  it('forces who was depooled back to meet the threshold, and is critical when it cannot', () => {
    const scene = running();
    scene.down('cp1');
    scene.down('cp2');
    scene.list(['cp1', 'cp2 disabled']);
    expect(lines(scene)).to.deep.equal([
      'warn [coordinator] [text] Forcing cp1 to be pooled to meet depool threshold',
      'info [text] Depooled server cp2: disabled in the pool list',
    ]);
    scene.list(['cp1 disabled', 'cp2 disabled']);
    expect(lines(scene)).to.include(
      'critical [coordinator] [text] Could not ensure depool threshold; insufficient enabled & ready servers.',
    );
    scene.pass(WITHDRAW_WAIT_MS);
    expect(lines(scene).join()).to.not.contain('Could not ensure');
  });

  it('says why a VIP is withdrawn, also when its section is gone', () => {
    const scene = running();
    scene.list([]);
    expect(lines(scene)).to.include('warn [bgp] Withdrawing 10.0.0.1: text: no destination of weight > 0');
    const gone = running();
    gone.configure(configWith([]));
    expect(lines(gone)).to.deep.equal(['warn [bgp] Withdrawing 10.0.0.1: no longer in the configuration']);
  });
});
