// What an Adj-RIB-Out says to peers that have more than RFC 4271: one test or more for each extension, on the octets.

import { expect } from 'chai';
import { Reader } from '../../../src/lib/bytes.ts';
import type { Route } from '../../../src/decision/decision.ts';
import { type Capability, decodeCapabilities, encodeCapability } from '../../../src/bgp/capability.ts';
import { linkBandwidth } from '../../../src/bgp/community.ts';
import { MESSAGE } from '../../../src/bgp/constants.ts';
import { refreshOf } from '../../../src/bgp/message.ts';
import { describeNotification, hardReset, notification } from '../../../src/bgp/notification.ts';
import { type LocalOpen, localOpen, negotiate } from '../../../src/bgp/open.ts';
import { AdjRibOut, NO_LIMITS, type RibOptions } from '../../../src/bgp/rib.ts';
import type { SessionFacts } from '../../../src/bgp/route.ts';
import { learnRoutes, type ReceivedRoute } from '../../../src/bgp/table.ts';
import { decodeUpdate, endOfRibFamily } from '../../../src/bgp/update.ts';
import { Writer } from '../../../src/lib/bytes.ts';
import { route } from '../../support/bgp-net.ts';

const session: SessionFacts = {
  localAs: 64600,
  localAddress: '192.0.2.9',
  peerAddress: '192.0.2.1',
  internal: false,
  as4: true,
  families: [4, 6],
};

/** What the peer has, and the kinds of messages in their order. */
class PeerSide {
  readonly table = new Map<string, ReceivedRoute>();
  readonly heard: string[] = [];
  largest = 0;
  /** The most prefixes that the peer ever had. */
  most = 0;
  readonly attributes: ReturnType<typeof decodeUpdate>['attributes'][] = [];

  drain(rib: AdjRibOut, facts: SessionFacts): this {
    for (let message = rib.next(); message !== null; message = rib.next()) {
      this.largest = Math.max(this.largest, message.length);
      const body = message.subarray(19);
      if (message[18] === MESSAGE.routeRefresh) {
        const refresh = refreshOf({ type: MESSAGE.routeRefresh, body });
        this.heard.push(`${refresh?.subtype} ${refresh?.family}`);
        continue;
      }
      const update = decodeUpdate(new Reader(body), facts);
      expect(update.problems).to.deep.equal([]);
      const end = endOfRibFamily(update);
      this.heard.push(end === null ? 'update' : `end ${end}`);
      if (end === null) this.attributes.push(update.attributes);
      learnRoutes(this.table, 'us', update);
      this.most = Math.max(this.most, this.table.size);
      if (this.heard.length > 10_000) throw new Error('no end');
    }
    return this;
  }
}

function sent(routes: readonly Route[], facts: Partial<SessionFacts> = {}, options: RibOptions = {}) {
  const all = { ...session, ...facts };
  const rib = new AdjRibOut(all, options);
  const refused = rib.want(routes);
  return { rib, all, refused, peer: new PeerSide().drain(rib, all) };
}

const many = (count: number, changes: Partial<Route> = {}) =>
  Array.from({ length: count }, (_, i) => route(`10.0.${100 + (i >> 8)}.${100 + (i & 127)}`, changes));

describe('bgp: communities of every kind', () => {
  it('sends large and extended ones sorted and once each', () => {
    const { peer } = sent([
      route('203.0.113.1', {
        largeCommunities: [
          [64600, 2, 1],
          [64600, 1, 1],
          [64600, 2, 1],
        ],
        extendedCommunities: [
          [0x0002fc58, 7],
          [0x0002fc58, 3],
        ],
      }),
    ]);
    expect(peer.attributes[0]).to.deep.include({
      largeCommunities: [
        [64600, 1, 1],
        [64600, 2, 1],
      ],
      extendedCommunities: [
        [0x0002fc58, 3],
        [0x0002fc58, 7],
      ],
    });
  });

  it('says a bandwidth as a non-transitive community with our AS, AS_TRANS if that is too long', () => {
    // 1.25e9 octets a second are 0x4e9502f9 as IEEE 754.
    expect(linkBandwidth(64600, 1.25e9)).to.deep.equal([0x4004fc58, 0x4e9502f9]);
    expect(linkBandwidth(4_200_000_001, 1)).to.deep.equal([0x40045ba0, 0x3f800000]);
    const { peer } = sent([route('203.0.113.1', { linkBandwidth: 1.25e9 })]);
    expect(peer.attributes[0]?.extendedCommunities).to.deep.equal([[0x4004fc58, 0x4e9502f9]]);
  });

  it('asks for no keeping where routes of the dead are kept for hours, and only there', () => {
    const { peer } = sent([route('203.0.113.1', { communities: [7] })], { longLived: true });
    expect(peer.attributes[0]?.communities).to.deep.equal([7, 0xffff0007]);
    expect(sent([route('203.0.113.1')]).peer.attributes[0]).to.not.have.property('communities');
  });

  it('prepends on the way to another AS only', () => {
    const wanted = [route('203.0.113.1', { asPath: [64600], prepends: 2 })];
    expect(sent(wanted).peer.attributes[0]?.asPath).to.deep.equal([{ is: 'sequence', as: [64600, 64600, 64600] }]);
    expect(sent(wanted, { internal: true }).peer.attributes[0]?.asPath).to.deep.equal([]);
  });
});

describe('bgp: graceful shutdown (RFC 8326)', () => {
  it('announces every route again with the community', () => {
    const { rib, all, peer } = sent([route('203.0.113.1', { communities: [7] })]);
    rib.leave();
    peer.drain(rib, all);
    expect(peer.attributes.at(-1)).to.deep.include({ communities: [7, 0xffff0000] });
    expect(peer.table.size).to.equal(1);
  });

  it('lowers the preference itself within the AS', () => {
    const { rib, all, peer } = sent([route('203.0.113.1')], { internal: true });
    rib.leave();
    expect(peer.drain(rib, all).attributes.at(-1)).to.deep.include({ localPref: 0, communities: [0xffff0000] });
  });
});

describe('bgp: next hops of another kind', () => {
  const overV6 = { localAddress: '2001:db8::9', peerAddress: '2001:db8::1' };

  it('gives IPv4 routes an IPv6 next hop to a peer that can (RFC 8950), and refuses them to another', () => {
    const wanted = [route('203.0.113.1')];
    const { peer } = sent(wanted, { ...overV6, extendedNextHop: true });
    expect(peer.table.get('203.0.113.1')?.nextHop).to.equal('2001:db8::9');
    expect(peer.attributes[0]).to.not.have.property('nextHop');
    expect(sent(wanted, overV6).refused).to.deep.equal(['no IPv4 next hop is known on an IPv6 session']);
  });

  it('takes both addresses along where the session is link-local (RFC 2545)', () => {
    const link = { localAddress: 'fe80::9%eth0', peerAddress: 'fe80::1%eth0' };
    const both = sent([route('2001:db8:1::1', { nextHop: '2001:db8::9' })], link).peer.attributes[0]?.mpReach;
    expect(both).to.include({ nextHop: '2001:db8::9', linkLocal: 'fe80::9' });
    const alone = sent([route('203.0.113.1')], { ...link, extendedNextHop: true }).peer.attributes[0]?.mpReach;
    expect(alone).to.include({ nextHop: 'fe80::9', linkLocal: null });
  });
});

describe('bgp: extended messages (RFC 8654)', () => {
  it('fill 65535 octets where both sides take them', () => {
    const { peer } = sent(many(20_000), {}, { maxMessageBytes: 65_535 });
    expect(peer.largest).to.be.within(65_530, 65_535);
    expect(sent(many(20_000)).peer.largest).to.be.at.most(4096);
  });
});

describe('bgp: enhanced route refresh (RFC 7313)', () => {
  it('marks the beginning and the end of the answer, of one family', () => {
    const { rib, all, peer } = sent(
      [...many(3), route('2001:db8::1', { nextHop: '2001:db8::9' })],
      {},
      {
        enhancedRefresh: true,
      },
    );
    peer.heard.length = 0;
    rib.refresh(4);
    expect(rib.settled).to.equal(false);
    expect(peer.drain(rib, all).heard).to.deep.equal(['begin 4', 'update', 'end 4']);
    expect(rib.settled).to.equal(true);
  });

  it('does not begin before the End-of-RIB of the first time', () => {
    const rib = new AdjRibOut(session, { enhancedRefresh: true });
    rib.refresh(6);
    rib.want(many(2));
    const { heard } = new PeerSide().drain(rib, session);
    expect(heard).to.deep.equal(['update', 'end 4', 'end 6', 'begin 6', 'end 6']);
  });

  it('answers a flood of requests by one answer more than the one that runs', () => {
    const { rib, all, peer } = sent(many(3), {}, { enhancedRefresh: true });
    peer.heard.length = 0;
    rib.refresh(4);
    rib.next();
    for (let i = 0; i < 1000; i++) rib.refresh(4);
    peer.drain(rib, all);
    expect(peer.heard).to.deep.equal(['update', 'end 4', 'begin 4', 'update', 'end 4']);
  });
});

describe('bgp: the prefixes that a peer accepts', () => {
  it('are never exceeded, not for a moment, and the choice stays', () => {
    const limits = { ...NO_LIMITS, 4: 10 };
    const { rib, all, peer } = sent(many(15), {}, { limits, maxMessageBytes: 60 });
    expect([peer.table.size, rib.excessCount]).to.deep.equal([10, 5]);
    const chosen = [...peer.table.keys()];
    // One more, and one of the first gone: who waited longest comes in, nobody who is in goes.
    rib.want([...many(16)].slice(1));
    peer.drain(rib, all);
    expect(peer.most).to.equal(10);
    expect([...peer.table.keys()]).to.include.members(chosen.slice(1));
    expect([peer.table.size, rib.excessCount]).to.deep.equal([10, 5]);
  });

  it('may change while the session is up', () => {
    const { rib, all, peer } = sent(many(15));
    rib.limit({ ...NO_LIMITS, 4: 4 });
    expect([peer.drain(rib, all).table.size, rib.excessCount]).to.deep.equal([4, 11]);
    rib.limit(NO_LIMITS);
    expect([peer.drain(rib, all).table.size, rib.excessCount]).to.deep.equal([15, 0]);
  });

  it('are counted for each family, and together where that is wanted', () => {
    const six = ['2001:db8::1', '2001:db8::2'].map((address) => route(address, { nextHop: '2001:db8::9' }));
    const limited = (limits: Partial<typeof NO_LIMITS>) =>
      sent([...many(2), ...six], {}, { limits: { ...NO_LIMITS, ...limits } }).peer.table.size;
    expect([limited({ 6: 1 }), limited({ total: 1 }), limited({})]).to.deep.equal([3, 1, 4]);
  });
});

describe('bgp: one change among many', () => {
  it('is one short UPDATE', () => {
    const wanted = many(3000);
    const { rib } = sent(wanted);
    const after = [...wanted];
    after[1500] = { ...(wanted[1500] as Route), med: 5 };
    rib.want(after);
    expect(rib.next()?.length).to.be.below(80);
    expect(rib.next()).to.equal(null);
  });
});

describe('bgp: capabilities of the drafts and of graceful restart', () => {
  const local: LocalOpen = { as: 64600, routerId: '192.0.2.9', holdTimeSeconds: 9, families: [4], peerAs: null };
  const peer: LocalOpen = { ...local, as: 64500, routerId: '192.0.2.1' };
  const octets = (capability: Capability) => {
    const writer = new Writer();
    encodeCapability(writer, capability);
    return [...writer.finish()];
  };

  it('are written octet by octet as their texts say', () => {
    expect(octets({ is: 'hostname', host: 'lb1', domain: 'x' })).to.deep.equal([73, 6, 3, 108, 98, 49, 1, 120]);
    expect(octets({ is: 'software-version', version: 'a/1' })).to.deep.equal([75, 4, 3, 97, 47, 49]);
    expect(octets({ is: 'extended-message' })).to.deep.equal([6, 0]);
    expect(octets({ is: 'enhanced-refresh' })).to.deep.equal([70, 0]);
    expect(octets({ is: 'extended-next-hop', families: [{ afi: 1, safi: 1, nextHopAfi: 2 }] })).to.deep.equal([
      5, 6, 0, 1, 0, 1, 0, 2,
    ]);
    const restart = { restarted: true, notification: true, seconds: 120 };
    const families = [{ afi: 1, safi: 1, forwarding: true }];
    expect(octets({ is: 'graceful-restart', ...restart, families })).to.deep.equal([64, 6, 0xc0, 120, 0, 1, 1, 0x80]);
  });

  it('are ignored where they are malformed, for no session depends on them', () => {
    for (const bytes of [
      [73, 1, 9],
      [64, 3, 0, 0, 0],
      [75, 0],
      [5, 3, 0, 1, 0],
      [71, 1, 0],
      [6, 1, 0],
    ]) {
      expect(decodeCapabilities(new Reader(Uint8Array.from(bytes)))).to.deep.equal([
        { is: 'unknown', code: bytes[0], data: Uint8Array.from(bytes.slice(2)) },
      ]);
    }
  });

  it('ask nobody to keep the routes of a dead director unless told to', () => {
    const restart = (open: LocalOpen) => localOpen(open).capabilities.find(({ is }) => is === 'graceful-restart');
    const none = { restarted: false, notification: false, seconds: 0, families: [] };
    expect(restart(local)).to.deep.equal({ is: 'graceful-restart', ...none });
    const offers = { gracefulRestart: { seconds: 30, restarted: true, forwarding: true } };
    expect(restart({ ...local, offers })).to.deep.include({ restarted: true, notification: true, seconds: 30 });
    expect(negotiate({ ...local, offers }, localOpen({ ...peer, offers }))).to.include({ hardReset: true });
    expect(negotiate(local, localOpen({ ...peer, offers }))).to.include({ hardReset: false, peerRestarts: true });
  });

  it('make a real end of a goodbye (RFC 8538), which reads as what it holds', () => {
    const end = hardReset(notification('ceaseShutdown', Uint8Array.from([0])));
    expect([end.code, end.subcode, ...end.data]).to.deep.equal([6, 9, 6, 2, 0]);
    expect(describeNotification(end)).to.equal('Cease: Hard Reset (6/9): Cease: Administrative Shutdown (6/2)');
  });

  it('tell a peer whose network keeps the dead for hours, if it restarts gracefully at all', () => {
    const llgr: Capability = { is: 'long-lived-graceful-restart', families: [] };
    const open = localOpen(peer);
    const agreed = (capabilities: readonly Capability[]) => negotiate(local, { ...open, capabilities });
    expect(agreed([...open.capabilities, llgr])).to.include({ longLived: true });
    expect(agreed([llgr])).to.include({ longLived: false });
  });
});
