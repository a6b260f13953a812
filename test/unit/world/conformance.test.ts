import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClock } from '../../../src/world/real/clock.ts';
import { createFiles } from '../../../src/world/real/files.ts';
import { createStreams } from '../../../src/world/real/streams.ts';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import type { World } from '../../../src/world/world.ts';
import { type Case, clockCases, filesCases, streamsCases } from '../../support/world-conformance.ts';

const real: Pick<World, 'clock' | 'files' | 'streams'> = {
  clock: createClock(),
  files: createFiles(),
  streams: createStreams(systemAuthorities(), null),
};
const world = real as World;

const suites: Readonly<Record<string, readonly Case[]>> = {
  clock: clockCases,
  files: filesCases,
  streams: streamsCases,
};

for (const [port, cases] of Object.entries(suites)) {
  describe(`The operating system's ${port}`, () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'anybal-world-'));
    });
    afterEach(() => rm(folder, { recursive: true }));
    for (const { title, run } of cases) it(title, () => run({ world, address: '127.0.0.1', folder }));
  });
}
