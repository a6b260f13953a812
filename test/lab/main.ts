// `npm run test:lab [-- MOCHA-OPTIONS]`: boots the VM and runs every case of the lab in it, in one boot. LAB_FULL=1 runs
// the long repetitions. Raw logs come back to `.cache/lab/out`.

import { join } from 'node:path';
import { rmSync } from 'node:fs';
import { checkout, requireTools } from './vm/artefacts.ts';
import { exitAs, runSuite } from './vm/suite.ts';
import { labTools } from './topology/lab.ts';

/** So that a guest that hangs comes to an end; they say nothing of how long it takes. */
const ciSeconds = 2700;
const fullSeconds = 7200;

await exitAs(() => {
  requireTools(labTools);
  const full = process.env['LAB_FULL'] === '1';
  const outDirectory = join(checkout, '.cache/lab/out');
  rmSync(outDirectory, { recursive: true, force: true });
  return runSuite({
    cases: 'dist/test/lab/*.lab.test.js',
    options: ['--timeout', '360000', '--slow', '1000'],
    env: full ? { LAB_FULL: '1' } : {},
    timeoutSeconds: full ? fullSeconds : ciSeconds,
    outDirectory,
  });
});
