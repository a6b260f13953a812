// Rows of the matrix: what the router keeps of us when a session ends, and what it is told beforehand.

import { expect } from 'chai';
import { setTimeout } from 'node:timers/promises';
import { route } from '../../support/bgp-net.ts';
import type { Cell } from './cell.ts';
import { announced, type Feature, four, gone, isUp, otherFour, own, six } from './steps.ts';

const RESTARTS = { gracefulRestart: 'restart', gracefulRestartSeconds: 30 } as const;
const FORWARDED = { forwarded: () => true };
const GRACEFUL_SHUTDOWN = '65535:0';

/** The router is asked again and again meanwhile, and has our routes each time. */
async function keepsRoutes(cell: Cell, meanwhile: () => Promise<void>): Promise<void> {
  const prefixes = [`${four(cell.lane)}/32`, `${six(cell.lane)}/128`];
  const missing: string[] = [];
  let over = false;
  const done = meanwhile().finally(() => {
    over = true;
  });
  while (!over) {
    const { routes } = await cell.look();
    missing.push(...prefixes.filter((prefix) => !routes.has(prefix)));
    await setTimeout(50);
  }
  await done;
  expect(missing, `${cell.router.name}\n${cell.ours.story()}`).to.deep.equal([]);
}

const sees = (cell: Cell, count: number) =>
  cell.sees(`${count} routes`, ({ routes }) => (routes.size === count ? true : null));

export const restartRows: readonly Feature[] = [
  {
    name: 'graceful restart, as a helper',
    reference: 'RFC 4724 §4',
    compared: 'the capability; no route is kept of a director that dies without a word',
    run: async (cell) => {
      await cell.speak();
      await announced(cell);
      const { capabilities } = await cell.look();
      expect([...capabilities]).to.include('graceful restart');
      cell.ours.die();
      await gone(cell);
    },
  },
  {
    name: 'graceful restart, restarting',
    reference: 'RFC 4724 §3, §4.1',
    compared: 'all routes stay while we are dead and come back; then those go that did not come back until End-of-RIB',
    theirs: { offersAll: true },
    run: async (cell) => {
      cell.renew(FORWARDED);
      await cell.speak(RESTARTS);
      cell.announce(...own(cell.lane), route(otherFour(cell.lane)));
      cell.ours.speaker.complete();
      await sees(cell, 3);
      await cell.sees('both markers', ({ endsOfRib }) => (endsOfRib === 2 ? true : null));
      await keepsRoutes(cell, async () => {
        cell.renew(FORWARDED);
        await cell.sees('a session that is gone', ({ established }) => (established ? null : true));
        await sees(cell, 3);
        await cell.speak(RESTARTS);
        cell.announce(...own(cell.lane));
        await isUp(cell);
        await sees(cell, 3);
        cell.ours.speaker.complete();
        await sees(cell, 2);
      });
      expect(cell.ours.states).to.deep.equal(['router up']);
    },
  },
  {
    name: 'graceful restart after NOTIFICATION',
    reference: 'RFC 8538',
    compared: 'the N bit; all routes stay over Cease 6/6 (another hold time); none after our hard reset (6/9)',
    theirs: { offersAll: true },
    run: async (cell) => {
      cell.renew(FORWARDED);
      await cell.speak(RESTARTS);
      cell.ours.speaker.complete();
      await announced(cell);
      await cell.sees('the N bit', ({ capabilities }) =>
        capabilities.has('restart after NOTIFICATION') ? true : null,
      );
      await keepsRoutes(cell, async () => {
        await cell.speak({ ...RESTARTS, holdTimeSeconds: 6 });
        await cell.sees('6 s', ({ holdTimeSeconds }) => (holdTimeSeconds === 6 ? true : null));
        await announced(cell);
      });
      expect(cell.ours.states).to.deep.equal(['router up', 'router down', 'router up']);
      await cell.ours.speaker.stop();
      await gone(cell);
      await cell.sees('the reason', ({ received }) => (/^6\/9$|hard reset/i.test(received) ? true : null));
    },
  },
  {
    name: 'graceful shutdown',
    reference: 'RFC 8326',
    compared: 'the community on the routes of both families for 2 s, then no route and no session',
    run: async (cell) => {
      await cell.speak({ gracefulShutdownSeconds: 2 });
      await announced(cell);
      const left = cell.ours.speaker.leave();
      await cell.sees('routes that leave', ({ routes }) =>
        routes.size === 2 && [...routes.values()].every(({ communities }) => communities.includes(GRACEFUL_SHUTDOWN))
          ? true
          : null,
      );
      await left;
      await cell.ours.speaker.stop();
      await gone(cell);
    },
  },
];
