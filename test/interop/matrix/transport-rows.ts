// Rows of the matrix: what the TCP connection below a session has beyond the usual. Which of it the kernel drops reaches
// nobody, so that what ought to fail is seen as silence, and as what our status blames for it.

import { expect } from 'chai';
import { setTimeout } from 'node:timers/promises';
import { route } from '../../support/bgp-net.ts';
import type { Cell } from './cell.ts';
import { announced, type Feature, four, isUp, once, otherFour, six } from './steps.ts';

const EXTENDED_NEXT_HOP = 'IPv4 routes with IPv6 next hops';
const PASSWORD = 'sesame';
/** How long a session is given that must not come up: routers and we dial once a second or two. */
const SILENCE_MS = 4_000;

const isDown = (cell: Cell) => cell.sees('no session', ({ established }) => (established ? null : true));

const blamed = (cell: Cell, cause: RegExp) =>
  cell.says(String(cause), () => cause.test(cell.ours.speaker.status()[0]?.lastError ?? ''));

/** More than the buffers of both kernels hold, each route in an UPDATE of its own. */
const tooMuch = ({ lane }: Cell) =>
  Array.from({ length: 5_000 }, (_, i) =>
    route(`100.${lane.host}.${i >> 8}.${i & 255}`, {
      med: i,
      communities: Array.from({ length: 60 }, (_, j) => j + 1),
    }),
  );

export const transportRows: readonly Feature[] = [
  {
    name: 'TCP-MD5',
    reference: 'RFC 2385',
    compared: 'state, routes of both families',
    theirs: { password: PASSWORD },
    run: async (cell) => {
      await cell.speak({}, PASSWORD);
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'TCP-MD5, the router opens',
    reference: 'RFC 2385',
    compared: 'the same, and which side dialled',
    theirs: { password: PASSWORD, dials: true },
    run: async (cell) => {
      await cell.speak({}, PASSWORD);
      await announced(cell);
      expect(cell.ours.speaker.status()[0]?.side).to.equal('passive');
    },
  },
  {
    name: 'TCP-MD5, another password',
    reference: 'RFC 2385',
    compared: 'no session, and our status blames the password; the right one, set at run time, brings the session up',
    theirs: { password: PASSWORD },
    run: async (cell) => {
      await cell.speak({ connectTimeoutSeconds: 2 }, 'open');
      await blamed(cell, /password/);
      await setTimeout(SILENCE_MS);
      expect(cell.ours.states, cell.ours.story()).to.deep.equal([]);
      await isDown(cell);
      await cell.speak({ connectTimeoutSeconds: 2 }, PASSWORD);
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'GTSM',
    reference: 'RFC 5082',
    compared: 'routes of both families with ttl-security on both sides; with a TTL of 64 there is no session any more',
    theirs: { ttlSecurity: true, dials: true },
    run: async (cell) => {
      await cell.speak({ ttlSecurityHops: 1 });
      await announced(cell);
      once(cell);
      await cell.speak({ ttl: 64 });
      await setTimeout(SILENCE_MS);
      expect(cell.ours.states, cell.ours.story()).to.deep.equal(['router up', 'router down']);
      await isDown(cell);
    },
  },
  {
    name: 'TTL over several hops',
    reference: 'RFC 4271 §3',
    compared: 'TTL 2 and nothing else, which a filter before the router demands; routes of both families',
    theirs: { multihop: true },
    run: async (cell) => {
      await cell.filter('meta', 'l4proto', 'tcp', 'ip', 'ttl', '!=', '2');
      await cell.speak({ ttl: 2 });
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'link-local session',
    reference: 'RFC 4007, 2545, 8950',
    compared:
      'fe80::…%interface on both sides; the next hop of an IPv6 route, and of an IPv4 one where RFC 8950 is known',
    theirs: { transport: 6, linkLocal: true },
    run: async (cell) => {
      const { lane } = cell;
      const linkLocal = `fe80::${lane.host.toString(16)}`;
      await cell.speak();
      cell.announce(route(four(lane)), route(six(lane), { nextHop: lane.ours[6] }));
      // RFC 2545 §3: the global next hop comes with the link-local one, and routers show one of them or both.
      const shown = [linkLocal, lane.ours[6], `${lane.ours[6]} ${linkLocal}`];
      await cell.sees('the IPv6 route', ({ routes }) =>
        shown.includes(routes.get(`${six(lane)}/128`)?.nextHop ?? '') ? true : null,
      );
      if (!(EXTENDED_NEXT_HOP in cell.router.lacks)) await cell.seesRoute(`${four(lane)}/32`, { nextHop: linkLocal });
      once(cell);
    },
  },
  {
    name: 'maximum prefixes',
    reference: 'RFC 4486',
    compared: 'two of four routes on a session that lives, and our alarm; with all four the router ends it (6/1)',
    theirs: { maximumPrefixes: 2 },
    run: async (cell) => {
      const { lane } = cell;
      const more = [`198.51.100.${lane.host}`, `198.51.100.${100 + lane.host}`];
      await cell.speak({ maximumPrefixes: 2 });
      cell.announce(...[four(lane), otherFour(lane), ...more].map((address) => route(address)));
      await isUp(cell);
      await cell.sees('two routes', ({ routes }) => (routes.size === 2 ? true : null));
      expect(cell.ours.story()).to.include('2 route(s) not announced');
      await setTimeout(1_000);
      once(cell);
      // FRR 8.4 takes one more than it was told.
      await cell.speak({ maximumPrefixes: 4 });
      await cell.says('the end', () => /\(6\/1\)/.test(cell.ours.story()));
    },
  },
  {
    name: 'send hold timer',
    reference: 'RFC 9687',
    compared: 'a router that reads nothing (SIGSTOP) is left after 3 s, and takes us back when it goes on',
    theirs: { holdTimeSeconds: 90 },
    last: true,
    run: async (cell) => {
      await cell.speak({ holdTimeSeconds: 90, sendHoldSeconds: 3 });
      await announced(cell);
      await cell.alone;
      await cell.freeze();
      try {
        cell.announce(...tooMuch(cell));
        await cell.says('the end', () => cell.ours.states.length === 2);
        expect(cell.ours.story()).to.include('Send Hold Timer Expired (8/0)');
        // What waits for the router no longer counts: it is another session that it will see.
        cell.announce();
      } finally {
        await cell.thaw();
      }
      await cell.says('another session', () => cell.ours.states.at(-1) === 'router up');
      await announced(cell);
    },
  },
];
