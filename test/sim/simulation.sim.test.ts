// The slice of the simulator that runs in CI: seeds that once found something, a few fixed ones, a fresh one, and the same
// seed in two processes. `npm run sim` runs as many as one likes.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { stamp } from './journal.ts';
import { MONITORS } from './monitors.ts';
import { PROGRAM } from './program.ts';
import { FINDINGS } from './seeds.ts';
import { simulate } from './simulation.ts';

const MAIN = fileURLToPath(new URL('main.js', import.meta.url));
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FIXED = { from: 1001, to: 1020 };
const HOURS = 0.5;

/** Fails with what was broken and how to see it again. */
async function keepsTheLaws(seed: number, hours: number): Promise<void> {
  const { violations } = await simulate({ seed, hours, program: PROGRAM, monitors: MONITORS });
  const broken = violations.map(({ law, at, director, text }) => `${stamp(at)} law ${law} (${director}): ${text}`);
  const again = `npm run sim -- --seed ${seed} --hours ${hours} --log`;
  expect(broken, `again, with everything that happened: ${again}`).to.deep.equal([]);
}

/** Another one with every change of the daemon, and the same for the same code: it is judged alike wherever it is tested. */
function seedOfTheCode(): number {
  const hash = createHash('sha256');
  for (const folder of ['src', 'monitors']) {
    const files = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.ts'),
    );
    for (const name of files.sort()) hash.update(readFileSync(join(ROOT, folder, name)));
  }
  return 1_000_000 + hash.digest().readUIntBE(0, 3);
}

async function output(...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [MAIN, ...args], { maxBuffer: 1 << 30 })).stdout;
}

describe('The simulator', function () {
  this.timeout(300_000);

  it('gives the same log for the same seed in two processes, byte for byte, and another one for another seed', async () => {
    const log = async (seed: string): Promise<string> => {
      const printed = await output('--seed', seed, '--hours', '0.2', '--log');
      return printed.slice(0, printed.indexOf('\nseed '));
    };
    const [first, second, other] = await Promise.all([log('42'), log('42'), log('43')]);
    expect(first).to.have.length.above(10_000);
    expect(second === first, 'the logs differ').to.equal(true);
    expect(other).not.to.equal(first);
  });

  for (const { seed, hours, found } of FINDINGS) {
    it(`keeps the laws in seed ${seed}, which found that ${found}`, () => keepsTheLaws(seed, hours));
  }

  it(`keeps the laws in seeds ${FIXED.from} to ${FIXED.to}`, async () => {
    for (let seed = FIXED.from; seed <= FIXED.to; seed++) await keepsTheLaws(seed, HOURS);
  });

  const fresh = seedOfTheCode();
  it(`keeps the laws in a seed that nobody has seen: ${fresh}`, () => keepsTheLaws(fresh, 2));
});
