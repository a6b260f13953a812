import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemAuthorities } from '../../../src/world/real/authorities.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { openSocketOptions } from '../../../src/world/real/socket-options.ts';
import { createStreams } from '../../../src/world/real/streams.ts';
import { createRealWorld, type RealWorld } from '../../../src/world/real/world.ts';
import type { World } from '../../../src/world/world.ts';
import {
  type Case,
  clockCases,
  filesCases,
  httpCases,
  streamsCases,
  udpCases,
} from '../../support/world-conformance.ts';

const suites: Readonly<Record<string, readonly Case[]>> = {
  clock: clockCases,
  files: filesCases,
  streams: streamsCases,
  UDP: udpCases,
  HTTP: httpCases,
};

describe("Node's own streams, where checks can have no quicker ones", () => {
  for (const { title, run } of streamsCases) {
    it(title, async () => {
      const streams = createStreams(systemAuthorities(), openSocketOptions());
      const world = { clock: createClock(), streams } as unknown as World;
      const listener = await streams.listen({ address: '127.0.0.1', port: 0 }, () => {});
      const { port } = listener.local;
      await listener.close();
      await run({ world, address: '127.0.0.1', port, folder: '' });
    });
  }
});

for (const [port, cases] of Object.entries(suites)) {
  describe(`The operating system's ${port}`, () => {
    let world: RealWorld;
    let folder: string;
    let free: number;
    before(async () => {
      world = await createRealWorld({ backend: 'userspace', log: () => {}, loadMonitor: async () => null });
      const listener = await world.streams.listen({ address: '127.0.0.1', port: 0 }, () => {});
      free = listener.local.port;
      await listener.close();
    });
    after(() => world.close());
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'anybal-world-'));
    });
    afterEach(() => rm(folder, { recursive: true }));
    for (const { title, run } of cases) it(title, () => run({ world, address: '127.0.0.1', port: free, folder }));
  });
}
