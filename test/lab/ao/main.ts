// TCP-AO on a kernel that has it: boots Debian's newest kernel (the one of bookworm has none) and runs the cases of this folder in it,
// against BIRD of a later Debian. Run by `npm run test:ao` and `npm test`.

import { join } from 'node:path';
import { checkout, requireTools, tcpAoKernel } from '../vm/artefacts.ts';
import { guestDied, runInVm, timedOut } from '../vm/vm.ts';
import { prepareNewerBird } from './newer-bird.ts';

async function main(): Promise<number> {
  requireTools({ ip: 'iproute2' });
  console.log(`BIRD ${prepareNewerBird()}`);
  const result = await runInVm({
    kernel: tcpAoKernel,
    command: [
      process.execPath,
      join(checkout, 'node_modules/mocha/bin/mocha.js'),
      ...['--timeout', '60000', '--slow', '5000', '--exit'],
      ...process.argv.slice(2),
      join(checkout, 'dist/test/lab/ao/*.ao.test.js'),
    ],
    cwd: checkout,
    timeoutSeconds: 600,
    memoryMiB: 1024,
    outDirectory: join(checkout, '.cache/lab/out-ao'),
    onOutput: (bytes) => process.stdout.write(bytes),
  });
  if (result.exitCode === timedOut) console.error(`lab: time is up after ${result.seconds.toFixed(0)} s`);
  if (result.exitCode === guestDied) console.error(`lab: the guest died; its last words:\n${result.consoleTail}`);
  console.log(`lab: ${result.seconds.toFixed(0)} s`);
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
