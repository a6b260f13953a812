// The simulated world does what every World must do: the same cases that the operating system's world is run on, in virtual
// time.

import type { World } from '../../src/world/world.ts';
import { type Case, clockCases, filesCases, httpCases, streamsCases } from '../support/world-conformance.ts';
import { Machine } from './machine.ts';
import { makeSite } from './site.ts';

/** Longer than any case may take, ms of virtual time. */
const LIMIT_MS = 600_000;

async function inVirtualTime(one: Case): Promise<void> {
  const site = makeSite(7);
  const machine = new Machine(site, {
    name: 'bench',
    addresses: ['10.0.0.1'],
    programs: new Map(),
    monitors: new Map(),
    watcher: { wrote: () => {}, read: () => {} },
  });
  let ended: { readonly error: unknown } | null = null;
  machine.start((world: World) => {
    one.run({ world, address: '10.0.0.1', port: 8080, folder: '/bench' }).then(
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
  ['http', httpCases],
];

for (const [port, cases] of PORTS) {
  describe(`The simulated ${port}`, () => {
    for (const one of cases) it(one.title, () => inVirtualTime(one));
  });
}
