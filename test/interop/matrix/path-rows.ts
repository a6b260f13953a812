// Rows of the matrix: the path between the router and us, and what watches it.

import { expect } from 'chai';
import type { BfdAuth } from '../../../src/bfd/types.ts';
import type { Cell } from './cell.ts';
import { BFD_AUTH, BFD_INTERVAL_MS } from './router.ts';
import type { Feature } from './steps.ts';

/** BFD is up on both sides; then the router hears nothing more, and the BGP session goes at once. */
async function followsBfd(cell: Cell, auth: BfdAuth | null = null): Promise<void> {
  await cell.speak({ holdTimeSeconds: 90 });
  cell.watch(auth);
  // FRR makes the BFD session anew while it reads its configuration, which costs the first one.
  await cell.says('both up for a second', () => {
    const { state, detectionMs, since } = cell.bfd ?? {};
    const paced = state === 'Up' && detectionMs === 3 * BFD_INTERVAL_MS;
    return paced && performance.now() - (since ?? 0) > 1000 && cell.ours.states.at(-1) === 'router up';
  });
  expect(cell.bfd?.auth).to.equal(auth?.type ?? null);
  const downs = await cell.sees('BFD up', ({ bfd, bfdDowns, established }) =>
    /^up$/i.test(bfd) && established ? bfdDowns : null,
  );
  const before = cell.ours.states.length;
  await cell.silence();
  const start = performance.now();
  await cell.says('the end of the session', () => cell.ours.states.length > before);
  // Far below the hold time; how fast it is, bench/failover.ts measures.
  expect(performance.now() - start).to.be.below(10_000);
  await cell.sees('BFD down', ({ bfd, bfdDowns }) => (!/^up$/i.test(bfd) && bfdDowns > downs ? true : null));
}

export const pathRows: readonly Feature[] = [
  {
    name: 'BFD',
    reference: 'RFC 5880, 5881, 5882',
    compared: `up at ${BFD_INTERVAL_MS} ms × 3; when the router hears no more of it, the session ends, and the router says why`,
    theirs: { bfd: true },
    run: (cell) => followsBfd(cell),
  },
  {
    name: 'BFD over IPv6',
    reference: 'RFC 5881',
    compared: 'the same',
    theirs: { bfd: true, transport: 6 },
    run: (cell) => followsBfd(cell),
  },
  {
    name: 'BFD, multihop',
    reference: 'RFC 5883',
    compared: 'the same; with BIRD under meticulous SHA1',
    theirs: { bfd: true, multihop: true },
    run: (cell) => followsBfd(cell, cell.router.bfdAuth ? BFD_AUTH : null),
  },
];
