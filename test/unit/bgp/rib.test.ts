// Adj-RIB-Out: packing, grouping, order, and the law that a peer ends with what was wanted.

import { expect } from 'chai';
import fc from 'fast-check';
import type { Route } from '../../../src/decision/decision.ts';
import { Reader } from '../../../src/lib/bytes.ts';
import type { SessionFacts } from '../../../src/bgp/route.ts';
import { AdjRibOut } from '../../../src/bgp/rib.ts';
import { learnRoutes, type ReceivedRoute } from '../../../src/bgp/table.ts';
import { decodeUpdate, endOfRibFamily, reachability } from '../../../src/bgp/update.ts';
import { route } from '../../support/bgp-net.ts';

const session: SessionFacts = {
  localAs: 64600,
  localAddress: '192.0.2.9',
  peerAddress: '192.0.2.1',
  internal: false,
  as4: true,
  families: [4, 6],
};

/** Every message that is due, with what it brings and takes. */
function drain(rib: AdjRibOut, facts = session) {
  const messages = [];
  for (let message = rib.next(); message !== null; message = rib.next()) {
    const update = decodeUpdate(new Reader(message.subarray(19)), facts);
    const { announced, withdrawn } = reachability(update);
    const count = (nlris: readonly { readonly count: number }[]) => nlris.reduce((sum, nlri) => sum + nlri.count, 0);
    messages.push({
      size: message.length,
      update,
      announced: count(announced.map(({ nlri }) => nlri)),
      withdrawn: count(withdrawn),
      endOfRib: endOfRibFamily(update),
    });
    if (messages.length > 10_000) throw new Error('no end');
  }
  return messages;
}

/** The attributes of the only announcement of one route on a session. */
function sentAs(wanted: Route, facts: Partial<SessionFacts> = {}) {
  const all = { ...session, ...facts };
  const rib = new AdjRibOut(all);
  const refused = rib.want([wanted]);
  const [first] = drain(rib, all).filter(({ announced }) => announced > 0);
  const { mpReach, ...attributes } = first?.update.attributes ?? {};
  return { refused, attributes: mpReach === undefined ? attributes : { ...attributes, mpNextHop: mpReach.nextHop } };
}

const many = (count: number, changes: Partial<Route> = {}) =>
  Array.from({ length: count }, (_, i) => route(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, changes));

describe('bgp/rib: packing', () => {
  it('sends one UPDATE for each attribute set, then End-of-RIB of each family', () => {
    const rib = new AdjRibOut(session);
    rib.want([route('203.0.113.1'), route('203.0.113.2', { med: 100 }), route('203.0.113.3')]);
    expect(drain(rib).map(({ announced, endOfRib }) => [announced, endOfRib])).to.deep.equal([
      [2, null],
      [1, null],
      [0, 4],
      [0, 6],
    ]);
  });

  it('fills messages to 4096 octets and loses nothing', () => {
    const rib = new AdjRibOut(session);
    rib.want(many(2000));
    const messages = drain(rib).filter(({ endOfRib }) => endOfRib === null);
    expect(messages.map(({ announced }) => announced)).to.deep.equal([809, 809, 382]);
    for (const { size } of messages) expect(size).to.be.at.most(4096);
    expect(4096 - (messages[0]?.size ?? 0)).to.be.below(5);
    rib.want([]);
    expect(drain(rib).map(({ withdrawn }) => withdrawn)).to.deep.equal([814, 814, 372]);
  });

  it('withdraws before it announces, never both in one message', () => {
    const rib = new AdjRibOut(session);
    rib.want([route('203.0.113.1'), route('2001:db8::1', { nextHop: '2001:db8::9' })]);
    drain(rib);
    rib.want([route('203.0.113.2')]);
    expect(drain(rib).map(({ withdrawn, announced }) => [withdrawn, announced])).to.deep.equal([
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
  });

  it('sends nothing for what is the same', () => {
    const rib = new AdjRibOut(session);
    const wanted = () => [route('203.0.113.1', { communities: [2, 1] }), route('203.0.113.2', { med: 100 })];
    rib.want(wanted());
    drain(rib);
    rib.want(wanted().reverse());
    expect(rib.settled).to.equal(true);
    expect(drain(rib)).to.deep.equal([]);
  });

  it('forgets a wish that was replaced before it was sent', () => {
    const rib = new AdjRibOut(session);
    rib.want([route('203.0.113.1', { med: 1 })]);
    drain(rib);
    rib.want([route('203.0.113.1', { med: 2 })]);
    rib.want([]);
    rib.want([route('203.0.113.1', { med: 1 })]);
    expect(drain(rib)).to.deep.equal([]);
  });

  it('says nothing at all, not even End-of-RIB, before somebody has said what is wanted', () => {
    const rib = new AdjRibOut(session);
    expect(rib.next()).to.equal(null);
    rib.want([]);
    expect(drain(rib).map(({ endOfRib }) => endOfRib)).to.deep.equal([4, 6]);
  });

  it('sends one family again on request, and nothing of the other', () => {
    const rib = new AdjRibOut(session);
    rib.want([...many(3), route('2001:db8::1', { nextHop: '2001:db8::9' })]);
    drain(rib);
    rib.refresh(4);
    expect(drain(rib).map(({ announced, endOfRib }) => [announced, endOfRib])).to.deep.equal([[3, null]]);
  });

  it('refuses a route whose attributes fill a message, and sends the others', () => {
    const rib = new AdjRibOut(session);
    const huge = Array.from({ length: 1100 }, (_, i) => i);
    expect(rib.want([route('203.0.113.1', { communities: huge }), route('203.0.113.2')])).to.deep.equal([
      'its attributes fill a whole message',
    ]);
    expect(drain(rib).map(({ announced }) => announced)).to.deep.equal([1, 0, 0]);
  });
});

describe('bgp/route: attributes by the kind of session', () => {
  const wanted = route('203.0.113.1', { asPath: [64600, 64700], med: 0, localPref: 200, communities: [7, 3, 7] });

  it('sends to another AS: the path, MED, communities, no LOCAL_PREF', () => {
    expect(sentAs(wanted).attributes).to.deep.equal({
      origin: 'igp',
      asPath: [{ is: 'sequence', as: [64600, 64700] }],
      nextHop: '192.0.2.9',
      med: 0,
      communities: [3, 7],
    });
  });

  it('puts at least our own AS into the path to another AS', () => {
    expect(sentAs(route('203.0.113.1')).attributes.asPath).to.deep.equal([{ is: 'sequence', as: [64600] }]);
  });

  it('sends within our AS: LOCAL_PREF, 100 unless said otherwise, and a path without us', () => {
    expect(sentAs(wanted, { internal: true }).attributes).to.deep.include({
      asPath: [{ is: 'sequence', as: [64700] }],
      localPref: 200,
    });
    const plain = sentAs(route('203.0.113.1', { asPath: [64600] }), { internal: true });
    expect(plain.attributes).to.deep.include({ asPath: [], localPref: 100 });
  });

  it('sends no MED when there is none', () => {
    expect(sentAs(route('203.0.113.1', { med: null })).attributes).to.not.have.property('med');
  });

  it('writes AS_TRANS and AS4_PATH to a two-octet peer', () => {
    const { attributes } = sentAs(route('203.0.113.1', { asPath: [70000, 64700] }), { as4: false });
    expect(attributes.asPath).to.deep.equal([{ is: 'sequence', as: [23456, 64700] }]);
    expect(attributes.as4Path).to.deep.equal([{ is: 'sequence', as: [70000, 64700] }]);
    expect(sentAs(wanted, { as4: false }).attributes).to.not.have.property('as4Path');
  });

  it('splits a path of more than 255 into segments', () => {
    const { attributes } = sentAs(route('203.0.113.1', { asPath: new Array<number>(300).fill(64600) }));
    expect(attributes.asPath?.map(({ as }) => as.length)).to.deep.equal([255, 45]);
  });

  it('gives an IPv6 route its next hop in MP_REACH_NLRI only', () => {
    const { attributes } = sentAs(route('2001:db8::1', { nextHop: '2001:db8::9' }));
    expect(attributes).to.include({ mpNextHop: '2001:db8::9' }).and.not.have.property('nextHop');
    expect(sentAs(route('2001:db8::1'), { localAddress: 'fe80::9%eth0' }).attributes).to.include({
      mpNextHop: 'fe80::9',
    });
  });

  it('lets two speakers on one address exchange routes', () => {
    const loopback = { localAddress: '127.0.0.1', peerAddress: '127.0.0.1' };
    expect(sentAs(route('127.80.0.1'), loopback).attributes).to.include({ nextHop: '127.0.0.1' });
  });

  const refusals: readonly [string, Route, Partial<SessionFacts>, string][] = [
    [
      'an IPv6 route on an IPv4 session without a next hop',
      route('2001:db8::1'),
      {},
      'no IPv6 next hop is known on an IPv4 session',
    ],
    ['a family that the peer did not offer', route('2001:db8::1'), { families: [4] }, 'the peer takes no IPv6 routes'],
    [
      'a next hop of the other family',
      route('203.0.113.1', { nextHop: '2001:db8::9' }),
      {},
      'next hop 2001:db8::9 is not IPv4',
    ],
    ['the next hop 0.0.0.0', route('203.0.113.1', { nextHop: '0.0.0.0' }), {}, 'next hop 0.0.0.0 is nobody'],
    [
      'a multicast next hop',
      route('203.0.113.1', { nextHop: '224.0.0.1' }),
      {},
      'next hop 224.0.0.1 is not a unicast address',
    ],
    [
      'a multicast next hop of IPv6',
      route('2001:db8::1', { nextHop: 'ff02::1' }),
      {},
      'next hop ff02::1 is not a unicast address',
    ],
    [
      "the peer's own address",
      route('203.0.113.1', { nextHop: '192.0.2.1' }),
      {},
      'next hop 192.0.2.1 is the peer itself',
    ],
  ];
  for (const [what, wrong, facts, reason] of refusals) {
    it(`refuses ${what}`, () => expect(sentAs(wrong, facts)).to.deep.equal({ refused: [reason], attributes: {} }));
  }
});

describe('bgp/rib: laws over random wishes', () => {
  const anyRoute = fc
    .record({
      n: fc.integer({ min: 0, max: 40 }),
      med: fc.constantFrom(null, 0, 100),
      communities: fc.constantFrom<readonly number[]>([], [1], [1, 2]),
    })
    .map(({ n, med, communities }) => {
      const six = n % 3 === 0;
      return route(six ? `2001:db8::${n + 1}` : `203.0.113.${n}`, {
        med,
        communities,
        nextHop: six ? '2001:db8::9' : null,
      });
    });
  const wish = fc.uniqueArray(anyRoute, { maxLength: 30, selector: ({ address }) => address });
  const deed = fc.oneof(
    wish.map((routes) => ({ do: 'want' as const, routes })),
    fc.integer({ min: 1, max: 6 }).map((messages) => ({ do: 'send' as const, messages })),
    fc.constantFrom(4 as const, 6 as const).map((family) => ({ do: 'refresh' as const, family })),
  );

  it('leaves the peer with what was wanted last, whatever was sent in between, and End-of-RIB once', () => {
    fc.assert(
      fc.property(fc.array(deed, { minLength: 1, maxLength: 25 }), wish, (deeds, last) => {
        // Small messages, so that wishes change in the middle of sending.
        const rib = new AdjRibOut(session, { maxMessageBytes: 140 });
        const table = new Map<string, ReceivedRoute>();
        const ended: number[] = [];
        let wanted = false;
        let current: readonly Route[] = [];
        const send = (message: Uint8Array) => {
          expect(message.length).to.be.at.most(140);
          const update = decodeUpdate(new Reader(message.subarray(19)), session);
          expect(update.problems).to.deep.equal([]);
          const { announced, withdrawn } = reachability(update);
          const [brings, takes] = [
            announced.some(({ nlri }) => nlri.count > 0),
            withdrawn.some(({ count }) => count > 0),
          ];
          expect(brings && takes, 'both in one message').to.equal(false);
          const family = endOfRibFamily(update);
          if (family !== null) ended.push(family);
          learnRoutes(table, 'p', update);
        };
        for (const deed of deeds) {
          if (deed.do === 'want') {
            rib.want(deed.routes);
            current = deed.routes;
            wanted = true;
          } else if (deed.do === 'refresh') rib.refresh(deed.family);
          else {
            for (let i = 0; i < deed.messages; i++) {
              const message = rib.next();
              if (message !== null) send(message);
            }
          }
          expect(rib.sentCount).to.equal(table.size);
          expect([...rib.sent()].sort()).to.deep.equal([...table.keys()].sort());
          if (!wanted) expect(table.size).to.equal(0);
        }
        rib.want(last);
        current = last;
        for (let message = rib.next(); message !== null; message = rib.next()) send(message);
        expect(rib.settled).to.equal(true);
        expect(ended.sort()).to.deep.equal([4, 6]);
        const told = [...table].map(([address, { med, communities }]) => ({ address, med, communities }));
        const meant = current.map(({ address, med, communities }) => ({ address, med, communities }));
        expect(told).to.have.deep.members(meant);
      }),
      { numRuns: 100 },
    );
  });
});
