// Rows of the matrix: sessions and routes as RFC 4271 and 4760 have them.

import { expect } from 'chai';
import { setTimeout } from 'node:timers/promises';
import { route } from '../../support/bgp-net.ts';
import { ROUTER_AS, SHUTDOWN_TEXT } from './router.ts';
import { announced, type Feature, four, gone, isUp, once, otherFour, own, six } from './steps.ts';

const FOUR_OCTETS = 4_200_000_001;

export const sessionRows: readonly Feature[] = [
  {
    name: 'session that we open',
    reference: 'RFC 4271 §8',
    compared: 'state, routes of both families',
    run: async (cell) => {
      await cell.speak();
      await isUp(cell);
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'session that the router opens',
    reference: 'RFC 4271 §8',
    compared: 'state, routes of both families, which side dialled',
    theirs: { dials: true },
    run: async (cell) => {
      await cell.speak();
      await announced(cell);
      expect(cell.ours.speaker.status()[0]?.side).to.equal('passive');
    },
  },
  {
    name: 'collision: both open',
    reference: 'RFC 4271 §6.8',
    compared: 'state and routes, still there 3 s later',
    theirs: { dials: true },
    run: async (cell) => {
      await cell.speak({ passive: false });
      await announced(cell);
      await setTimeout(3_000);
      await isUp(cell);
      await announced(cell);
    },
  },
  {
    name: 'session over IPv6',
    reference: 'RFC 4760',
    compared: 'state, routes of both families',
    theirs: { transport: 6 },
    run: async (cell) => {
      await cell.speak();
      const { lane } = cell;
      cell.announce(route(four(lane), { nextHop: lane.ours[4] }), route(six(lane)));
      await cell.seesRoute(`${four(lane)}/32`, { nextHop: lane.ours[4], path: `${lane.as}` });
      await cell.seesRoute(`${six(lane)}/128`, { nextHop: lane.ours[6], path: `${lane.as}` });
    },
  },
  {
    name: 'capabilities',
    reference: 'RFC 5492, 4760, 2918, 6793',
    compared: 'what the router says that we offered',
    run: async (cell) => {
      await cell.speak();
      await isUp(cell);
      const seen = await cell.sees('capabilities', ({ capabilities }) => (capabilities.size > 0 ? capabilities : null));
      expect([...seen]).to.include.members(['IPv4 unicast', 'IPv6 unicast', 'route refresh', '4-octet AS']);
    },
  },
  {
    name: 'one family only',
    reference: 'RFC 4760 §8',
    compared: 'the IPv4 route is there, the IPv6 one was not sent',
    theirs: { families: [4] },
    run: async (cell) => {
      await cell.speak();
      cell.announce(...own(cell.lane));
      await cell.seesRoute(`${four(cell.lane)}/32`, { path: `${cell.lane.as}` });
      expect(cell.ours.speaker.status()[0]).to.deep.include({ families: [4], prefixesSent: 1, established: true });
      await cell.sees('one route', ({ routes }) => (routes.size === 1 ? true : null));
      once(cell);
    },
  },
  {
    name: 'hold time',
    reference: 'RFC 4271 §4.2',
    compared: 'the smaller of ours (12 s) and the router’s (30 s)',
    theirs: { holdTimeSeconds: 30 },
    run: async (cell) => {
      await cell.speak({ holdTimeSeconds: 12 });
      await isUp(cell);
      await cell.sees('12 s', ({ holdTimeSeconds }) => (holdTimeSeconds === 12 ? true : null));
      expect(cell.ours.speaker.status()[0]?.holdTimeSeconds).to.equal(12);
    },
  },
  {
    name: 'hold time, changed at run time',
    reference: 'RFC 4271 §4.2',
    compared: '12 s, then 6 s on a new session after Cease 6/6; routes of both families on it',
    theirs: { holdTimeSeconds: 30 },
    run: async (cell) => {
      await cell.speak({ holdTimeSeconds: 12 });
      await cell.sees('12 s', ({ holdTimeSeconds }) => (holdTimeSeconds === 12 ? true : null));
      await cell.speak({ holdTimeSeconds: 6 });
      await cell.sees('6 s', ({ holdTimeSeconds }) => (holdTimeSeconds === 6 ? true : null));
      await announced(cell);
      expect(cell.ours.states, cell.ours.story()).to.deep.equal(['router up', 'router down', 'router up']);
    },
  },
  {
    name: 'no hold time',
    reference: 'RFC 4271 §4.2, §4.4',
    compared: 'ours is 0, and so is what is negotiated; the session outlives the router’s 3 s without a KEEPALIVE',
    theirs: { holdTimeSeconds: 3 },
    run: async (cell) => {
      await cell.speak({ holdTimeSeconds: 0 });
      await announced(cell);
      await cell.sees('0 s', ({ holdTimeSeconds }) => (holdTimeSeconds === 0 ? true : null));
      const sent = () => cell.ours.speaker.status()[0]?.counters.messagesOut;
      const before = sent();
      await setTimeout(5_000);
      expect(sent()).to.equal(before);
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'wrong AS refused',
    reference: 'RFC 4271 §6.2',
    compared: 'no session; the router’s refusal in our log',
    theirs: { as: 64999 },
    run: async (cell) => {
      await cell.speak({ localAs: 64600 });
      await cell.says('the refusal', () => cell.ours.story().includes('Bad Peer AS (2/2)'));
      expect(cell.ours.states).to.deep.equal([]);
      await cell.sees('no session', ({ established }) => (established ? null : true));
    },
  },
  {
    name: '4-octet AS',
    reference: 'RFC 6793',
    compared: 'AS path 4200000001',
    theirs: { as: FOUR_OCTETS },
    run: async (cell) => {
      await cell.speak();
      cell.announce(route(four(cell.lane)));
      await cell.seesRoute(`${four(cell.lane)}/32`, { path: `${FOUR_OCTETS}` });
    },
  },
  {
    name: 'iBGP: LOCAL_PREF, empty path',
    reference: 'RFC 4271 §5.1.5',
    compared: 'local preference 250, no AS in the path',
    theirs: { as: ROUTER_AS },
    run: async (cell) => {
      await cell.speak();
      cell.announce(route(four(cell.lane), { localPref: 250, asPath: [ROUTER_AS] }));
      await cell.seesRoute(`${four(cell.lane)}/32`, { path: '', localPref: 250 });
    },
  },
  {
    name: 'MED',
    reference: 'RFC 4271 §5.1.4',
    compared: 'MED 100, then 200 on the same session',
    run: async (cell) => {
      await cell.speak();
      cell.announce(route(four(cell.lane), { med: 100 }));
      await cell.seesRoute(`${four(cell.lane)}/32`, { med: 100 });
      cell.announce(route(four(cell.lane), { med: 200 }));
      await cell.seesRoute(`${four(cell.lane)}/32`, { med: 200 });
      once(cell);
    },
  },
  {
    name: 'AS path with prepends',
    reference: 'RFC 4271 §5.1.2',
    compared: 'path 64600 64600 64700',
    run: async (cell) => {
      await cell.speak();
      cell.announce(route(four(cell.lane), { asPath: [64600, 64600, 64700] }));
      await cell.seesRoute(`${four(cell.lane)}/32`, { path: '64600 64600 64700' });
    },
  },
  {
    name: 'communities',
    reference: 'RFC 1997',
    compared: '64600:7, NO_LLGR and NO_EXPORT, in both families',
    run: async (cell) => {
      await cell.speak();
      // NO_LLGR is among them because it is added for a router that offers long-lived graceful restart.
      const communities = [((64600 << 16) | 7) >>> 0, 0xffff0007, 0xffffff01];
      cell.announce(
        route(four(cell.lane), { communities }),
        route(six(cell.lane), { communities, nextHop: cell.lane.ours[6] }),
      );
      const meant = { communities: ['64600:7', '65535:7', '65535:65281'] };
      await cell.seesRoute(`${four(cell.lane)}/32`, meant);
      await cell.seesRoute(`${six(cell.lane)}/128`, meant);
    },
  },
  {
    name: 'next hop of each family',
    reference: 'RFC 4271 §5.1.3, 4760 §3',
    compared: 'next hops that are not the session’s address',
    run: async (cell) => {
      await cell.speak();
      const [v4, v6] = [cell.lane.ours[4].replace(/\d+$/, '251'), cell.lane.ours[6].replace(/\w+$/, 'fb')];
      cell.announce(route(four(cell.lane), { nextHop: v4 }), route(six(cell.lane), { nextHop: v6 }));
      await cell.seesRoute(`${four(cell.lane)}/32`, { nextHop: v4 });
      await cell.seesRoute(`${six(cell.lane)}/128`, { nextHop: v6 });
    },
  },
  {
    name: 'End-of-RIB',
    reference: 'RFC 4724 §2',
    compared: 'one marker for each family',
    run: async (cell) => {
      await cell.speak();
      cell.announce(...own(cell.lane));
      await cell.sees('both markers', ({ endsOfRib }) => (endsOfRib === 2 ? true : null));
    },
  },
  {
    name: 'withdrawal',
    reference: 'RFC 4271 §4.3, 4760 §4',
    compared: 'one of two routes goes, then each family’s last one; the session stays',
    run: async (cell) => {
      await cell.speak();
      const { lane } = cell;
      cell.announce(...own(lane), route(otherFour(lane)));
      const holds = (...prefixes: readonly string[]) =>
        cell.sees(`only ${prefixes.join(' ')}`, ({ routes }) =>
          routes.size === prefixes.length && prefixes.every((prefix) => routes.has(prefix)) ? true : null,
        );
      await holds(`${four(lane)}/32`, `${otherFour(lane)}/32`, `${six(lane)}/128`);
      cell.announce(...own(lane));
      await holds(`${four(lane)}/32`, `${six(lane)}/128`);
      cell.announce();
      await holds();
      await isUp(cell);
      once(cell);
    },
  },
  {
    name: 'route refresh',
    reference: 'RFC 2918',
    compared: 'everything is sent again when the router asks, on the same session',
    run: async (cell) => {
      await cell.speak();
      await announced(cell);
      const sent = () => cell.ours.speaker.status()[0]?.counters.updatesOut ?? 0;
      const before = sent();
      await cell.router.do(cell.lane, 'refresh');
      await cell.says('both families again', () => sent() >= before + 2);
      await announced(cell);
      once(cell);
    },
  },
  {
    name: 'shutdown text',
    reference: 'RFC 9003',
    compared: 'what the router’s operator wrote, in our log',
    run: async (cell) => {
      await cell.speak();
      await announced(cell);
      await cell.router.do(cell.lane, 'shutdown');
      const text = `Administrative Shutdown (6/2): "${SHUTDOWN_TEXT}"`;
      await cell.says('the text', () => cell.ours.story().includes(text));
    },
  },
  {
    name: 'clean stop',
    reference: 'RFC 4486',
    compared: 'no route left, and our Cease 6/2 as the router words it',
    run: async (cell) => {
      await cell.speak();
      await announced(cell);
      await cell.ours.speaker.stop();
      await gone(cell);
      await cell.sees('the reason', ({ received }) =>
        /^6\/2$|administrative shutdown|administratively down/i.test(received) ? true : null,
      );
    },
  },
];
