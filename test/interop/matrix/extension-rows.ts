// Rows of the matrix: capabilities and attributes beyond RFC 4271.

import { expect } from 'chai';
import type { Route } from '../../../src/decision/decision.ts';
import { route } from '../../support/bgp-net.ts';
import { encodeMessage } from '../../../src/bgp/message.ts';
import { decodeOpen } from '../../../src/bgp/open.ts';
import { Reader } from '../../../src/lib/bytes.ts';
import { type Cell, HOSTNAME, SOFTWARE } from './cell.ts';
import { type CapabilityName, ROUTER_AS, type RouteView } from './router.ts';
import { announced, type Feature, four, isUp, once, six } from './steps.ts';

/** 1 Gbit/s in octets per second. */
const GIGABIT = 125_000_000;
/** Route target 64600:7. */
const ROUTE_TARGET = [(0x0002 << 16) | 64600, 7] as const;
const NO_LLGR = 0xffff0007;
/** More /32s than one message of 4096 octets holds. */
const MANY = 1500;

const SHOWN_AS: readonly string[] = [HOSTNAME, HOSTNAME.split('.')[0] ?? ''];
const OPEN = 1;
const HEADER_BYTES = 19;

/** An OPEN with capabilities that nobody knows, so that all of them together need the extended form. */
function lengthened(bytes: Uint8Array): Uint8Array {
  if (bytes[HEADER_BYTES - 1] !== OPEN) return bytes;
  const open = decodeOpen(new Reader(bytes.subarray(HEADER_BYTES)));
  const unknown = [240, 241, 242, 243].map((code) => ({ is: 'unknown', code, data: new Uint8Array(64) }) as const);
  return encodeMessage({ is: 'open', open: { ...open, capabilities: [...open.capabilities, ...unknown] } });
}

async function offers(cell: Cell, capability: CapabilityName): Promise<void> {
  await cell.speak();
  await cell.sees(capability, ({ capabilities }) => (capabilities.has(capability) ? true : null));
}

/** The same attributes on routes of both families. */
async function carries(cell: Cell, changes: Partial<Route>, meant: Partial<RouteView>): Promise<void> {
  const { lane } = cell;
  await cell.speak();
  cell.announce(route(four(lane), changes), route(six(lane), { ...changes, nextHop: lane.ours[6] }));
  await cell.seesRoute(`${four(lane)}/32`, meant);
  await cell.seesRoute(`${six(lane)}/128`, meant);
}

export const extensionRows: readonly Feature[] = [
  {
    name: 'extended messages',
    reference: 'RFC 8654',
    compared: `the capability; ${MANY} routes in one UPDATE`,
    theirs: { offersAll: true },
    run: async (cell) => {
      await offers(cell, 'extended messages');
      await isUp(cell);
      const table = Array.from({ length: MANY }, (_, i) => route(`100.${cell.lane.host}.${i >> 8}.${i & 255}`));
      cell.announce(...table);
      await cell.sees(`${MANY} routes`, ({ routes }) => (routes.size === MANY ? true : null));
      // One for the routes, two for End-of-RIB.
      expect(cell.ours.speaker.status()[0]?.counters.updatesOut).to.equal(3);
      once(cell);
    },
  },
  {
    name: 'enhanced route refresh',
    reference: 'RFC 7313',
    compared: 'the capability; a begin and an end mark for each family when the router asks',
    theirs: { offersAll: true },
    run: async (cell) => {
      await offers(cell, 'enhanced refresh');
      await announced(cell);
      await cell.router.do(cell.lane, 'refresh');
      await cell.sees('four marks', ({ refreshMarks }) => (refreshMarks === 4 ? true : null));
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'IPv4 routes with IPv6 next hops',
    reference: 'RFC 8950',
    compared: 'the capability; the next hop, on a session over IPv6',
    theirs: { offersAll: true, transport: 6 },
    run: async (cell) => {
      await offers(cell, 'extended next hop');
      cell.announce(route(four(cell.lane)));
      await cell.seesRoute(`${four(cell.lane)}/32`, { nextHop: cell.lane.ours[6] });
      once(cell);
    },
  },
  {
    name: 'extended optional parameters',
    reference: 'RFC 9072',
    compared: 'capabilities from an OPEN with more than 255 octets of them; FRR sends its own in that form too',
    theirs: { longOpen: true },
    run: async (cell) => {
      cell.renew({ rewrite: lengthened });
      await cell.speak();
      await announced(cell);
      const { capabilities } = await cell.look();
      expect([...capabilities]).to.include.members(['IPv4 unicast', 'IPv6 unicast', 'route refresh', '4-octet AS']);
      once(cell);
    },
  },
  {
    name: 'hostname',
    reference: 'draft-walton-bgp-hostname-capability',
    compared: `${HOSTNAME}; BIRD shows the host without its domain`,
    theirs: { offersAll: true },
    run: async (cell) => {
      await cell.speak();
      await cell.sees(HOSTNAME, ({ hostname }) => (SHOWN_AS.includes(hostname) ? true : null));
    },
  },
  {
    name: 'software version',
    reference: 'draft-abraitis-bgp-version-capability',
    compared: `${SOFTWARE}, from the octets of a capability that the router has no name for`,
    run: async (cell) => {
      await cell.speak();
      await cell.sees(SOFTWARE, ({ software }) => (software === SOFTWARE ? true : null));
    },
  },
  {
    name: 'large communities',
    reference: 'RFC 8092',
    compared: '64600:1:2 and 4200000001:3:4, in both families',
    run: (cell) =>
      carries(
        cell,
        {
          largeCommunities: [
            [64600, 1, 2],
            [4_200_000_001, 3, 4],
          ],
        },
        { largeCommunities: ['64600:1:2', '4200000001:3:4'] },
      ),
  },
  {
    name: 'extended communities',
    reference: 'RFC 4360',
    compared: 'route target 64600:7, in both families',
    run: (cell) => carries(cell, { extendedCommunities: [ROUTE_TARGET] }, { extendedCommunities: ['rt 64600:7'] }),
  },
  {
    name: 'link bandwidth',
    reference: 'draft-ietf-idr-link-bandwidth',
    compared: '1 Gbit/s from AS 64600, in both families',
    run: (cell) => carries(cell, { linkBandwidth: GIGABIT }, { extendedCommunities: [`lb 64600:${GIGABIT}`] }),
  },
  {
    name: 'link bandwidth, iBGP',
    reference: 'draft-ietf-idr-link-bandwidth',
    compared: 'the same within one AS',
    theirs: { as: ROUTER_AS },
    run: (cell) => carries(cell, { linkBandwidth: GIGABIT }, { extendedCommunities: [`lb ${ROUTER_AS}:${GIGABIT}`] }),
  },
  {
    name: 'NO_LLGR',
    reference: 'RFC 9494 §3.3',
    compared: 'community 65535:7, on a session that offers long-lived graceful restart where the router can',
    theirs: { offersAll: true },
    run: (cell) => carries(cell, { communities: [NO_LLGR] }, { communities: ['65535:7'] }),
  },
  {
    name: 'prepends',
    reference: 'RFC 4271 §5.1.2',
    compared: 'our AS twice more before the path',
    run: (cell) => carries(cell, { prepends: 2 }, { path: '64600 64600 64600' }),
  },
];
