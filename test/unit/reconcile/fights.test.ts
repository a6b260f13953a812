// When another writer keeps undoing our work: how much is taken, and how long is waited.

import { expect } from 'chai';
import { type Fights, paused, repaired } from '../../../src/reconcile/fights.ts';
import type { Mono } from '../../../src/world/world.ts';

const at = (seconds: number): Mono => (seconds * 1000) as Mono;
const NONE: Fights = new Map();

/** A repair every `every` seconds whenever the key is not paused; the times at which a pause began, and how long it was. */
function fight(every: number, until: number): readonly (readonly [at: number, seconds: number])[] {
  let fights = NONE;
  const pauses: [number, number][] = [];
  for (let second = 0; second < until; second += every) {
    if (paused(fights, at(second)).has('x')) continue;
    fights = repaired(fights, ['x'], at(second));
    if (!paused(fights, at(second)).has('x')) continue;
    let seconds = 0;
    while (paused(fights, at(second + seconds)).has('x')) seconds++;
    pauses.push([second, seconds]);
  }
  return pauses;
}

describe('reconcile/fights', () => {
  it('takes five repairs of a key within a minute, and pauses at the sixth', () => {
    let fights = NONE;
    for (let i = 0; i < 5; i++) fights = repaired(fights, ['x', `other ${i}`], at(i));
    expect([...paused(fights, at(5))]).to.deep.equal([]);
    fights = repaired(fights, ['x'], at(5));
    expect([...paused(fights, at(5))]).to.deep.equal(['x']);
    expect([...paused(fights, at(14.999))]).to.deep.equal(['x']);
    expect([...paused(fights, at(15))]).to.deep.equal([]);
  });

  it('never pauses for repairs that are rare', () => {
    expect(fight(13, 3600)).to.deep.equal([]);
  });

  it('pauses longer each time, up to a minute', () => {
    const lengths = fight(1, 600).map(([, seconds]) => seconds);
    expect(lengths.slice(0, 6)).to.deep.equal([10, 20, 40, 60, 60, 60]);
  });

  it('forgets a key that was quiet, and leaves what it was given as it was', () => {
    const before = repaired(NONE, ['x'], at(0));
    const after = repaired(before, ['y'], at(61));
    expect([...after.keys()]).to.deep.equal(['y']);
    expect([...before.keys()]).to.deep.equal(['x']);
  });
});
