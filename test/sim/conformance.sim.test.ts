// The simulated world does what every World must do: the same cases that the operating system's world and the real kernel
// are run on, in virtual time.

import type { World } from '../../src/world/world.ts';
import { ipvsCases, vipCases } from '../support/kernel-conformance.ts';
import {
  type Case,
  clockCases,
  filesCases,
  httpCases,
  icmpCases,
  streamsCases,
  udpCases,
} from '../support/world-conformance.ts';
import { Machine } from './machine.ts';
import { makeSite } from './site.ts';

/** Longer than any case may take, ms of virtual time. */
const LIMIT_MS = 600_000;

/** Runs a case as the process of a machine until it ends. */
async function inVirtualTime(run: (world: World) => Promise<void>): Promise<void> {
  const site = makeSite(7);
  const machine = new Machine(site, {
    name: 'bench',
    addresses: ['10.0.0.1'],
    programs: new Map(),
    monitors: new Map(),
    watcher: { wrote: () => {}, read: () => {} },
  });
  let ended: { readonly error: unknown } | null = null;
  machine.start((world) => {
    run(world).then(
      () => (ended = { error: null }),
      (error: unknown) => (ended = { error }),
    );
  });
  await site.scheduler.run(LIMIT_MS, () => ended !== null);
  const { error } = ended ?? { error: new Error(`not done after ${LIMIT_MS} ms of virtual time`) };
  if (error !== null) throw error instanceof Error ? error : new Error(String(error));
}

const PORTS: readonly (readonly [string, readonly Case[]])[] = [
  ['clock', clockCases],
  ['files', filesCases],
  ['streams', streamsCases],
  ['UDP', udpCases],
  ['ICMP', icmpCases],
  ['http', httpCases],
];

for (const [port, cases] of PORTS) {
  describe(`The simulated ${port}`, () => {
    for (const { title, run } of cases) {
      it(title, () => inVirtualTime((world) => run({ world, address: '10.0.0.1', port: 8080, folder: '/bench' })));
    }
  });
}

describe('The simulated kernel', () => {
  for (const { title, run } of [...ipvsCases, ...vipCases]) {
    it(title, () =>
      // Here the tables themselves are the witness: `list` hands out what is in them.
      inVirtualTime(({ ipvs, vips }) => run({ ipvs, vips, witness: () => Promise.resolve() })),
    );
  }
});
