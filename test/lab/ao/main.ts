// TCP-AO on a kernel that has it: boots Debian's newest kernel (the one of bookworm has none) and runs the cases of this folder in it,
// against BIRD of a later Debian. Run by `npm run test:ao` and `npm test`.

import { join } from 'node:path';
import { checkout, requireTools, tcpAoKernel } from '../vm/artefacts.ts';
import { exitAs, runSuite } from '../vm/suite.ts';
import { prepareNewerBird } from './newer-bird.ts';

await exitAs(() => {
  requireTools({ ip: 'iproute2' });
  console.log(`BIRD ${prepareNewerBird()}`);
  return runSuite({
    kernel: tcpAoKernel,
    cases: 'dist/test/lab/ao/*.ao.test.js',
    options: ['--timeout', '300000', '--slow', '5000'],
    timeoutSeconds: 1500,
    memoryMiB: 1024,
    outDirectory: join(checkout, '.cache/lab/out-ao'),
  });
});
