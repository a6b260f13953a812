// What the rows of the matrix have in common: their shape, prefixes of a session's own, and the first things that are seen.

import { expect } from 'chai';
import { route } from '../../support/bgp-net.ts';
import type { Cell } from './cell.ts';
import type { Lane, Settings } from './router.ts';

export interface Feature {
  /** A row of the document; also what a router's `lacks` are called by. */
  readonly name: string;
  readonly reference: string;
  /** What is held against what: a column of the document. */
  readonly compared: string;
  /** What the router is told beside the usual. */
  readonly theirs?: Partial<Settings>;
  /** Disturbs all sessions of the router: none of the others' may still be needed. */
  readonly last?: boolean;
  run(cell: Cell): Promise<void>;
}

/** Prefixes of a lane's own, so that no two sessions of one router compete. */
export const four = ({ host }: Lane) => `203.0.113.${host}`;
export const otherFour = ({ host }: Lane) => `192.0.2.${host}`;
export const six = ({ host }: Lane) => `2001:db8:1::${host.toString(16)}`;
export const own = (lane: Lane) => [route(four(lane)), route(six(lane), { nextHop: lane.ours[6] })];

export const isUp = (cell: Cell) => cell.sees('the session up', ({ established }) => (established ? true : null));
export const gone = (cell: Cell) =>
  cell.sees('no route and no session', ({ routes, established }) => (routes.size === 0 && !established ? true : null));
/** One session, from the first moment to this one. */
export const once = ({ ours }: Cell) => expect(ours.states, ours.story()).to.deep.equal(['router up']);

export async function announced(cell: Cell): Promise<void> {
  cell.announce(...own(cell.lane));
  await cell.seesRoute(`${four(cell.lane)}/32`, { nextHop: cell.lane.ours[4], origin: 'IGP' });
  await cell.seesRoute(`${six(cell.lane)}/128`, { nextHop: cell.lane.ours[6], origin: 'IGP' });
}
