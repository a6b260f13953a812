// Each known bug is found: the simulator's own test. A law that nothing can break in here would prove nothing out there.

import { expect } from 'chai';
import { MONITORS } from './monitors.ts';
import { MUTANTS } from './mutants.ts';
import { PROGRAM } from './program.ts';
import { simulate } from './simulation.ts';
import type { Violation } from './laws.ts';

const MAX_SEEDS = 200;
const HOURS = 0.5;

async function hunt(
  program: typeof PROGRAM,
  from: number,
): Promise<{ readonly seed: number; readonly violation: Violation } | null> {
  for (let seed = from; seed < from + MAX_SEEDS; seed++) {
    const { violations } = await simulate({ seed, hours: HOURS, program, monitors: MONITORS });
    Reflect.deleteProperty(globalThis, 'anybalRanPoolData');
    const [violation] = violations;
    if (violation !== undefined) return { seed, violation };
  }
  return null;
}

describe('A planted bug is found', function () {
  this.timeout(120_000);

  it('for each of the twelve laws', () => {
    const laws = new Set(MUTANTS.map(({ law }) => law));
    expect([...laws].sort((a, b) => a - b)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  for (const { law, bug, finds, from = 1, plant } of MUTANTS) {
    it(`law ${law}: ${bug}`, async () => {
      const found = await hunt(plant(PROGRAM), from);
      expect(found, `not found in ${MAX_SEEDS} seeds`).not.to.equal(null);
      expect(finds, found?.violation.text).to.include(found?.violation.law);
    });
  }
});
