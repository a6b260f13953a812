// `npm run test:lab [-- MOCHA-OPTIONS]`: boots the VM and runs every case of the lab in it, in one boot. LAB_FULL=1 runs
// the long repetitions. Raw logs come back to `.cache/lab/out`.

import { join } from 'node:path';
import { rmSync } from 'node:fs';
import { checkout, requireTools } from './vm/artefacts.ts';
import { guestDied, runInVm, timedOut } from './vm/vm.ts';
import { labTools } from './topology/lab.ts';

const ciSeconds = 1200;
const fullSeconds = 3600;

async function main(): Promise<number> {
  requireTools(labTools);
  const full = process.env['LAB_FULL'] === '1';
  const outDirectory = join(checkout, '.cache/lab/out');
  rmSync(outDirectory, { recursive: true, force: true });
  const result = await runInVm({
    command: [
      process.execPath,
      join(checkout, 'node_modules/mocha/bin/mocha.js'),
      ...['--timeout', '120000', '--slow', '1000', '--exit'],
      ...process.argv.slice(2),
      join(checkout, 'dist/test/lab/*.lab.test.js'),
    ],
    cwd: checkout,
    env: full ? { LAB_FULL: '1' } : {},
    timeoutSeconds: full ? fullSeconds : ciSeconds,
    outDirectory,
    onOutput: (bytes) => process.stdout.write(bytes),
  });
  if (result.exitCode === timedOut) console.error(`lab: time is up after ${result.seconds.toFixed(0)} s`);
  if (result.exitCode === guestDied) console.error(`lab: the guest died; its last words:\n${result.consoleTail}`);
  console.log(`lab: ${result.seconds.toFixed(0)} s, raw logs in ${outDirectory}`);
  return result.exitCode;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  },
);
