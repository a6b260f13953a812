// Whole speakers against each other and against scripted peers, on a simulated network in virtual time.

import { expect } from 'chai';
import type { PeerConfig } from '../../../src/config/types.ts';
import { Knife } from '../../../src/lib/cut.ts';
import { notification } from '../../../src/bgp/notification.ts';
import type { Stream, TcpOptions } from '../../../src/world/world.ts';
import type { Host } from '../../sim/network.ts';
import { BgpNet, type Node, peerConfig, route, Script } from '../../support/bgp-net.ts';

const DIRECTOR = '192.0.2.9';
const ROUTER = '192.0.2.1';

const routerPeer = (changes: Partial<PeerConfig> = {}) => peerConfig({ name: 'cr1', address: ROUTER, ...changes });
const directorPeer = (changes: Partial<PeerConfig> = {}) =>
  peerConfig({ name: 'd1', address: DIRECTOR, localAs: 64500, passive: true, ...changes });

interface Pair {
  readonly net: BgpNet;
  readonly director: Node;
  readonly router: Node;
}

/** A director that dials, and a router stand-in that waits and keeps what it hears. */
async function pair(director: Partial<PeerConfig> = {}, router: Partial<PeerConfig> = {}, seed = 1): Promise<Pair> {
  const net = new BgpNet(seed);
  const both = {
    net,
    director: net.node('director', [DIRECTOR, '2001:db8::9']),
    router: net.node('router', [ROUTER, '2001:db8::1'], true),
  };
  await both.router.configure({ peers: [directorPeer(router)] });
  await both.director.configure({ peers: [routerPeer(director)] });
  return both;
}

const up = ({ speaker }: Node) => speaker.status().every(({ established }) => established);
const status = ({ speaker }: Node) => {
  const [only] = speaker.status();
  if (only === undefined) throw new Error('no peer');
  return only;
};
const heard = ({ tables }: Node) => [...(tables.get('d1')?.keys() ?? [])].sort();

describe('bgp/speaker: a session', () => {
  it('comes up, brings routes with their attributes, and takes them away', async () => {
    const { net, director, router } = await pair();
    director.speaker.set('cr1', [
      route('203.0.113.1', { med: 100, communities: [0xfc580001] }),
      route('2001:db8:1::1', { nextHop: '2001:db8::9' }),
    ]);
    await net.run(1);
    expect(Object.fromEntries(router.tables.get('d1') ?? [])).to.deep.equal({
      '203.0.113.1': {
        peer: 'd1',
        nextHop: DIRECTOR,
        asPath: [64600],
        med: 100,
        localPref: null,
        communities: [0xfc580001],
      },
      '2001:db8:1::1': {
        peer: 'd1',
        nextHop: '2001:db8::9',
        asPath: [64600],
        med: 0,
        localPref: null,
        communities: [],
      },
    });
    director.speaker.set('cr1', [route('2001:db8:1::1', { nextHop: '2001:db8::9' })]);
    await net.run(1);
    expect(heard(router)).to.deep.equal(['2001:db8:1::1']);
    expect(director.states).to.deep.equal(['cr1 up']);
  });

  it('tells both sides the same of itself', async () => {
    const { net, director, router } = await pair(
      { localAs: 4_200_000_001, holdTimeSeconds: 30 },
      { holdTimeSeconds: 90 },
    );
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(1);
    expect(status(director)).to.deep.include({
      state: 'Established',
      side: 'active',
      localAs: 4_200_000_001,
      remoteAs: 64500,
      localId: DIRECTOR,
      remoteId: ROUTER,
      localAddress: DIRECTOR,
      holdTimeSeconds: 30,
      families: [4, 6],
      prefixesSent: 1,
      lastError: null,
    });
    expect(status(router)).to.deep.include({ side: 'passive', remoteAs: 4_200_000_001, holdTimeSeconds: 30 });
    expect(status(router).counters).to.include({ prefixesIn: 1, updatesIn: 3, established: 1 });
  });

  it('lives on keepalives: four a hold time at most, three at least, and none lost', async () => {
    const { net, director } = await pair();
    await net.run(1);
    const before = status(director).counters.messagesOut;
    await net.run(90);
    // Hold time 9: one every 2.25 to 3 seconds.
    expect(status(director).counters.messagesOut - before).to.be.within(29, 41);
    expect(director.states).to.deep.equal(['cr1 up']);
  });

  it("writes the lines that PyBal's operators look for", async () => {
    const { net, director, router } = await pair();
    await net.run(1);
    await net.settled(router.speaker.stop());
    await net.run(0.5);
    expect(director.lines()).to.include.members([
      '[pybal] Starting BGP session with peer 192.0.2.1',
      '[bgp.FSM@active peer 192.0.2.1:179] State is now: CONNECT',
      '[bgp.FSM@active peer 192.0.2.1:179] State is now: OPENSENT',
      '[bgp.FSM@active peer 192.0.2.1:179] State is now: OPENCONFIRM',
      '[bgp.FSM@active peer 192.0.2.1:179] State is now: ESTABLISHED',
      '[bgp.BGPFactory@cr1] BGP session established for ASN 64600 peer 192.0.2.1',
      '[bgp.FSM@active peer 192.0.2.1:179] State is now: IDLE',
      '[bgp.BGPFactory@cr1] BGP session gone for ASN 64600 peer 192.0.2.1',
      '[bgp.FSM@active peer 192.0.2.1:179] Received notification: Cease: Administrative Shutdown (6/2)',
    ]);
  });

  it('announces what can go, and names once what can not', async () => {
    const { net, director, router } = await pair();
    for (let i = 0; i < 3; i++) {
      director.speaker.set('cr1', [route('203.0.113.1'), route('2001:db8:1::1'), route('2001:db8:1::2')]);
      await net.run(1);
    }
    expect(heard(router)).to.deep.equal(['203.0.113.1']);
    expect(director.lines().filter((line) => line.includes('not announced'))).to.deep.equal([
      '[bgp.FSM@active peer 192.0.2.1:179] Routes not announced: no IPv6 next hop is known on an IPv4 session',
    ]);
  });

  it('takes its router id from the configuration, else from the first connection, and keeps it', async () => {
    const { net, director, router } = await pair();
    await net.run(1);
    expect(status(router).remoteId).to.equal(DIRECTOR);
    await director.configure({ peers: [routerPeer()], routerId: '10.9.9.9' });
    await net.run(10);
    expect(status(router).remoteId).to.equal('10.9.9.9');
  });

  it('is dead to the other side within the hold time when its host is cut off', async () => {
    const { net, director, router } = await pair();
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(20);
    net.network.silence(director.host, true);
    const seconds = await net.until(() => router.states.includes('d1 down'), 10);
    expect(seconds).to.be.within(5.5, 9.1);
    expect(heard(router)).to.deep.equal([]);
    expect(router.lines().join()).to.include('Sent notification: Hold Timer Expired (4/0)');
  });
});

describe('bgp/speaker: reconnecting', () => {
  it('replays its routes after every loss', async () => {
    const { net, director, router } = await pair();
    director.speaker.set('cr1', [route('203.0.113.1'), route('203.0.113.2')]);
    for (let round = 0; round < 3; round++) {
      await net.until(() => heard(router).length === 2, 20);
      net.network.silence(director.host, true);
      await net.until(() => heard(router).length === 0, 20);
      net.network.silence(director.host, false);
    }
    await net.until(() => heard(router).length === 2, 60);
    expect(status(director).counters.established).to.equal(4);
  });

  it('brings what was set last, however often that was while there was no session', async () => {
    const { net, director, router } = await pair();
    const [a, b, c] = [route('203.0.113.1'), route('203.0.113.2'), route('203.0.113.3')];
    const wishes = [[a, b], [], [c], [b, c], [a, { ...c, med: 7 }]];
    for (const wish of wishes) director.speaker.set('cr1', wish);
    await net.until(() => heard(router).length === 2, 20);
    expect(heard(router)).to.deep.equal(['203.0.113.1', '203.0.113.3']);
    expect(router.tables.get('d1')?.get('203.0.113.3')?.med).to.equal(7);
    director.speaker.set('cr1', [b]);
    net.network.silence(director.host, true);
    await net.until(() => heard(router).length === 0, 20);
    await net.until(() => !up(director), 20);
    director.speaker.set('cr1', [a, b]);
    director.speaker.set('cr1', [a]);
    net.network.silence(director.host, false);
    await net.until(() => heard(router).length === 1, 60);
    expect(heard(router)).to.deep.equal(['203.0.113.1']);
    expect(status(director).prefixesSent).to.equal(1);
    director.speaker.set('cr1', []);
    await net.until(() => heard(router).length === 0, 20);
  });

  it('tries a router that refuses again within one to five seconds, and says so once', async () => {
    const net = new BgpNet();
    const director = net.node('director', [DIRECTOR]);
    net.network.host('router', [ROUTER]);
    await director.configure({ peers: [routerPeer()] });
    const tries: number[] = [];
    await net.until(() => {
      const count = director.log.filter(({ text }) => text === 'State is now: CONNECT').length;
      if (count > tries.length) tries.push(net.scheduler.now / 1000);
      return count === 12;
    }, 100);
    const gaps = tries.slice(1).map((at, i) => at - (tries[i] ?? 0));
    for (const gap of gaps) expect(gap).to.be.within(1, 5.1);
    expect(gaps[0]).to.be.below(1.6);
    expect(gaps.at(-1)).to.be.above(3.7);
    expect(director.lines().filter((line) => line.includes('ECONNREFUSED'))).to.have.length(1);
    expect(director.lines()).to.have.length.below(8);
  });

  it('says once of each way in which a router fails that it fails so, until a session comes up', async () => {
    const net = new BgpNet();
    const director = net.node('director', [DIRECTOR]);
    const router = net.network.host('router', [ROUTER]);
    let calls = 0;
    let works = false;
    net.network.listen(router, director.life, { address: ROUTER, port: 179 }, (stream: Stream) => {
      calls++;
      const script = new Script(stream);
      if (!works) return stream.close(calls % 2 === 0 ? 'rst' : 'fin');
      script.open({ holdTimeSeconds: 0 });
      script.say({ is: 'keepalive' });
      director.life.after(1000, () => stream.close('rst'));
    });
    const warnings = () => director.log.filter(({ level }) => level === 'warn').map(({ text }) => text);
    await director.configure({ peers: [routerPeer()] });
    await net.run(60);
    expect(calls).to.be.above(5);
    const both = ['Connection failed: closed by the peer', 'Connection failed: ECONNRESET'];
    expect(warnings()).to.deep.equal(both);
    expect(both).to.include(status(director).lastError);
    works = true;
    await net.until(() => up(director), 10);
    works = false;
    await net.run(60);
    expect(warnings().filter((text) => text === both[0])).to.have.length(2);
  });

  it('waits no longer than it is told to between tries', async () => {
    const net = new BgpNet();
    const director = net.node('director', [DIRECTOR]);
    net.network.host('router', [ROUTER]);
    await director.configure({ peers: [routerPeer({ connectRetrySeconds: 60 })] });
    await net.run(300);
    await director.configure({ peers: [routerPeer({ connectRetrySeconds: 2 })] });
    await net.run(61);
    const calls = () => director.log.filter(({ text }) => text === 'State is now: CONNECT').length;
    const before = calls();
    await net.run(60);
    expect(calls() - before).to.be.within(30, 41);
  });

  it('gives up an attempt that nobody answers, and tries again', async () => {
    const net = new BgpNet();
    const [director, router] = [net.node('director', [DIRECTOR]), net.node('router', [ROUTER], true)];
    net.network.silence(router.host, true);
    await router.configure({ peers: [directorPeer()] });
    await director.configure({ peers: [routerPeer()] });
    await net.run(300);
    net.network.silence(router.host, false);
    // Without an end to the attempt the kernel's SYN would be minutes apart by now.
    expect(await net.until(() => up(director), 20)).to.be.below(6);
  });

  it('waits longer and longer after protocol errors, and turns the peer away meanwhile', async () => {
    const { net, director, router } = await pair({}, { peerAs: 64999 });
    const seen: number[] = [];
    await net.until(() => {
      const { messagesOut } = status(router).counters;
      if (messagesOut > seen.length * 2) seen.push(net.scheduler.now / 1000);
      return seen.length === 6;
    }, 600);
    const gaps = seen.slice(1).map((at, i) => Math.round(at - (seen[i] ?? 0)));
    expect(gaps[0]).to.be.within(7, 11);
    expect(gaps.at(-1)).to.be.within(88, 121);
    expect(director.lines().join('\n')).to.include('Received notification: OPEN Message Error: Bad Peer AS (2/2)');
    expect(director.states).to.deep.equal([]);
    // While it is damped, the other side's calls are refused too.
    await net.run(1);
    const call = net.network.connect(router.host, router.life, { address: DIRECTOR, port: 179 }, new Knife());
    const caller = new Script(await net.settled(call));
    await net.run(1);
    expect(caller.notifications).to.deep.equal(['6/5']);
    expect(caller.closed).to.equal(true);
  });

  it('does not wait longer after a Cease: a router that was rebooted gets its routes at once', async () => {
    const { net, director, router } = await pair();
    director.speaker.set('cr1', [route('203.0.113.1')]);
    for (let round = 0; round < 4; round++) {
      expect(await net.until(() => up(director) && up(router), 10)).to.be.below(3);
      await router.configure({ peers: [] });
      await net.run(0.5);
      await router.configure({ peers: [directorPeer()] });
    }
  });
});

describe('bgp/speaker: two connections at once', () => {
  /** A director whose call was refused and that waits for the next try, and the router's own call to it. */
  async function calledWhileWaiting() {
    const net = new BgpNet();
    const director = net.node('director', [DIRECTOR]);
    const router = net.network.host('router', [ROUTER]);
    await director.configure({ peers: [routerPeer()] });
    await net.run(0.1);
    expect(status(director).state).to.equal('Idle');
    let calls = 0;
    net.network.listen(router, director.life, { address: ROUTER, port: 179 }, () => calls++);
    const call = async () => {
      const dial = net.network.connect(router, director.life, { address: DIRECTOR, port: 179 }, new Knife());
      return new Script(await net.settled(dial));
    };
    return { net, director, call, calls: () => calls };
  }

  it('do not come about when the peer calls while we wait to try again', async () => {
    const { net, director, call, calls } = await calledWhileWaiting();
    const theirs = await call();
    theirs.open({ holdTimeSeconds: 0 });
    theirs.say({ is: 'keepalive' });
    await net.run(60);
    expect(status(director)).to.include({ established: true, side: 'passive' });
    expect(calls()).to.equal(0);
  });

  it('nor does a call that was due earlier escape the damping of an error on the other connection', async () => {
    const { net, call, calls } = await calledWhileWaiting();
    (await call()).open({ holdTimeSeconds: 2 });
    await net.run(7);
    expect(calls()).to.equal(0);
    await net.run(4);
    expect(calls()).to.equal(1);
  });

  it('nor does a removed peer get another call', async () => {
    const { net, director, calls } = await calledWhileWaiting();
    await director.configure({ peers: [] });
    await net.run(60);
    expect(calls()).to.equal(0);
  });

  it('end as one that both sides keep, whoever has the higher identifier and whatever comes first', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const net = new BgpNet(seed);
      const ids = seed % 2 === 0 ? ['10.0.0.1', '10.0.0.2'] : ['10.0.0.2', '10.0.0.1'];
      const a = net.node('a', [DIRECTOR]);
      const b = net.node('b', [ROUTER], true);
      // Both open their listener before either dials, and dial within a millisecond.
      await a.configure({});
      await b.configure({});
      const both = [
        a.speaker.configure({
          routerId: ids[0] ?? null,
          listen: [{ address: DIRECTOR, port: 179 }],
          peers: [routerPeer()],
        }),
        b.speaker.configure({
          routerId: ids[1] ?? null,
          listen: [{ address: ROUTER, port: 179 }],
          peers: [directorPeer({ passive: false })],
        }),
      ];
      a.speaker.set('cr1', []);
      await net.settled(Promise.all(both));
      await net.run(30);
      const sides = [status(a).side, status(b).side];
      expect([up(a), up(b), ...sides.sort()], `seed ${seed}`).to.deep.equal([true, true, 'active', 'passive']);
      expect([a.states, b.states], `seed ${seed}`).to.deep.equal([['cr1 up'], ['d1 up']]);
      expect([a.host.ends.size, b.host.ends.size], `seed ${seed}`).to.deep.equal([1, 1]);
    }
  });

  for (const [routerId, kept] of [
    ['192.0.2.1', 'ours'],
    ['192.0.2.200', "the peer's"],
  ] as const) {
    it(`are told apart when the second OPEN comes: with ${routerId} against ${DIRECTOR}, ${kept} stays`, async () => {
      const { net, director, router, script } = await scripted();
      const ours = script();
      ours.open({ routerId, holdTimeSeconds: 0 });
      await net.run(0.1);
      expect(status(director).state).to.equal('OpenConfirm');
      const call = net.network.connect(router, director.life, { address: DIRECTOR, port: 179 }, new Knife());
      const theirs = new Script(await net.settled(call));
      await net.run(0.1);
      expect([ours.notifications, theirs.notifications]).to.deep.equal([[], []]);
      theirs.open({ routerId, holdTimeSeconds: 0 });
      // A router with the higher identifier is given the time to decide.
      await net.run(kept === 'ours' ? 0.1 : 2.5);
      expect([ours.notifications, theirs.notifications]).to.deep.equal(kept === 'ours' ? [[], ['6/7']] : [['6/7'], []]);
      (kept === 'ours' ? ours : theirs).say({ is: 'keepalive' });
      await net.run(0.1);
      expect(status(director)).to.include({ established: true, side: kept === 'ours' ? 'active' : 'passive' });
    });
  }

  it('a second call to an established session is turned away with 6/7', async () => {
    const { net, director, router } = await pair();
    await net.run(1);
    const call = net.network.connect(router.host, router.life, { address: DIRECTOR, port: 179 }, new Knife());
    const caller = new Script(await net.settled(call));
    await net.run(1);
    expect(caller.notifications).to.deep.equal(['6/7']);
    expect(director.states).to.deep.equal(['cr1 up']);
  });
});

describe('bgp/speaker: configuration by difference', () => {
  it('touches only the peer that changed', async () => {
    const net = new BgpNet();
    const routers = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((address) => net.node(address, [address], true));
    const director = net.node('director', [DIRECTOR]);
    for (const [i, router] of routers.entries())
      await router.configure({ peers: [directorPeer({ localAs: 64500 + i })] });
    const peers = routers.map(({ host }) => peerConfig({ address: host.name }));
    await director.configure({ peers });
    for (const { name } of peers) director.speaker.set(name, [route('203.0.113.1')]);
    await net.until(() => up(director), 5);
    await net.run(1);

    const wire: string[] = [];
    net.network.tap = (from, to, _end, bytes) => {
      if (bytes[18] !== 4) wire.push(`${from.name}>${to.name} type ${bytes[18]} ${bytes[19] ?? ''}/${bytes[20] ?? ''}`);
    };
    await director.configure({ peers: [...peers].reverse() });
    for (let i = 0; i < 100; i++) {
      await director.configure({ peers: peers.map((peer) => ({ ...peer, med: i, connectRetrySeconds: 1 + i })) });
      director.speaker.set('192.0.2.1', [route('203.0.113.1')]);
    }
    await net.run(5);
    expect(wire, 'nothing that matters changed').to.deep.equal([]);
    expect(director.log.filter(({ level }) => level === 'warn')).to.deep.equal([]);

    const changed = peers.map((peer) => (peer.name === '192.0.2.2' ? { ...peer, holdTimeSeconds: 30 } : peer));
    await director.configure({ peers: changed });
    await net.run(10);
    expect(wire[0]).to.equal('director>192.0.2.2 type 3 6/6');
    expect(wire.every((line) => line.includes('192.0.2.2'))).to.equal(true);
    expect(
      director.speaker.status().map(({ established, counters }) => [established, counters.established]),
    ).to.deep.equal([
      [true, 1],
      [true, 1],
      [true, 1],
    ]);
    expect(heard(routers[1] as Node), 'its routes are replayed').to.deep.equal(['203.0.113.1']);

    wire.length = 0;
    await director.configure({ peers: changed.slice(1) });
    await net.run(10);
    expect(wire).to.deep.equal(['director>192.0.2.1 type 3 6/3']);
    expect(director.speaker.status()).to.have.length(2);
  });

  it('gives a session that is up what needs no new one', async () => {
    const net = new BgpNet();
    const router = net.node('router', [ROUTER], true);
    let tuned: TcpOptions = {};
    const director = net.node('director', [DIRECTOR], false, {
      stream: (options) => {
        tuned = { ...tuned, ...options };
      },
    });
    await router.configure({ peers: [directorPeer({ holdTimeSeconds: 90 })] });
    const before = routerPeer({
      holdTimeSeconds: 90,
      keepaliveSeconds: 30,
      sendHoldSeconds: 480,
      gracefulRestart: 'helper',
    });
    await director.configure({ peers: [before] });
    await net.until(() => up(director), 5);
    const sent = async (seconds: number) => {
      const { messagesOut } = status(director).counters;
      await net.run(seconds);
      return status(director).counters.messagesOut - messagesOut;
    };
    expect(await sent(60)).to.be.within(2, 3);
    expect(tuned).to.include({ dscp: before.dscp, userTimeoutMs: 480_000 });
    const changes = {
      keepaliveSeconds: 2,
      sendHoldSeconds: 600,
      dscp: 10,
      connectTimeoutSeconds: 9,
      gracefulRestartSeconds: 7,
    };
    await director.configure({ peers: [{ ...before, ...changes }] });
    expect(tuned).to.include({ dscp: 10, userTimeoutMs: 600_000 });
    await net.run(30);
    expect(await sent(60)).to.be.within(29, 41);
    // More than a third of the hold time is never waited.
    await director.configure({ peers: [{ ...before, keepaliveSeconds: 90 }] });
    await net.run(300);
    expect(director.states).to.deep.equal(['cr1 up']);
    expect(status(director).counters.established).to.equal(1);
  });

  it('ends one for the time of a graceful restart where the peer was told of it', async () => {
    const { net, director } = await pair({ gracefulRestart: 'restart' });
    await net.until(() => up(director), 5);
    await director.configure({ peers: [routerPeer({ gracefulRestart: 'restart', gracefulRestartSeconds: 7 })] });
    await net.until(() => up(director), 5);
    expect(director.states).to.deep.equal(['cr1 up', 'cr1 down', 'cr1 up']);
  });

  it('goes on without a listener whose port is taken, and says so', async () => {
    const net = new BgpNet();
    const [director, other] = [net.node('director', [DIRECTOR]), net.node('router', [ROUTER], true)];
    net.network.listen(director.host, director.life, { address: DIRECTOR, port: 179 }, () => {});
    await other.configure({ peers: [directorPeer()] });
    await director.configure({ peers: [routerPeer()] });
    await net.until(() => up(director), 5);
    expect(director.lines().filter((line) => line.includes('EADDRINUSE'))).to.have.length(1);
  });

  it('refuses strangers without a word, and without a log line for each', async () => {
    const { net, director } = await pair();
    const stranger = net.network.host('stranger', ['198.51.100.1']);
    const closed: string[] = [];
    for (let i = 0; i < 50; i++) {
      const stream = await net.settled(
        net.network.connect(stranger, director.life, { address: DIRECTOR, port: 179 }, new Knife()),
      );
      stream.on({
        onData: () => closed.push('data'),
        onEnd: () => closed.push('end'),
        onDrain: () => {},
        onClose: (error) => closed.push(error?.code ?? 'null'),
      });
    }
    await net.run(1);
    expect(closed).to.deep.equal(new Array<string>(50).fill('ECONNRESET'));
    expect(director.lines().filter((line) => line.includes('198.51.100.1'))).to.have.length(1);
  });
});

describe('bgp/speaker: stopping', () => {
  it('withdraws everything before it says goodbye, then closes', async () => {
    const { net, director, router } = await pair();
    director.speaker.set('cr1', [route('203.0.113.1')]);
    await net.run(1);
    const wire: number[] = [];
    net.network.tap = (from, _to, _end, bytes) => {
      if (from === director.host) wire.push(bytes[18] ?? 0);
    };
    await net.settled(director.speaker.stop(), 5);
    await net.run(1);
    expect(wire).to.deep.equal([2, 3]);
    expect(router.lines().join('\n')).to.include('Received notification: Cease: Administrative Shutdown (6/2)');
    expect(director.host.ends.size).to.equal(0);
    expect(director.host.listeners.size).to.equal(0);
    await net.run(60);
    expect(router.states).to.deep.equal(['d1 up', 'd1 down']);
  });

  it('takes no longer than four seconds when the peer has stopped reading', async () => {
    const { net, director, router } = await pair();
    await net.run(1);
    net.network.silence(router.host, true);
    director.speaker.set(
      'cr1',
      Array.from({ length: 20_000 }, (_, i) => route(`10.0.${i >> 8}.${i & 255}`)),
    );
    await net.run(1);
    expect(director.speaker.flushed('cr1')).to.equal(false);
    const start = net.scheduler.now;
    await net.settled(director.speaker.stop(), 10);
    expect(net.scheduler.now - start).to.be.at.most(4100);
  });
});

/** A director and a scripted router that has accepted its call. */
async function scripted(): Promise<{ net: BgpNet; director: Node; router: Host; script: () => Script }> {
  const net = new BgpNet();
  const director = net.node('director', [DIRECTOR]);
  const router = net.network.host('router', [ROUTER]);
  let current: Script | null = null;
  net.network.listen(router, director.life, { address: ROUTER, port: 179 }, (stream: Stream) => {
    current = new Script(stream);
  });
  const script = () => {
    if (current === null) throw new Error('nobody has called');
    return current;
  };
  await director.configure({ peers: [routerPeer()] });
  await net.run(0.1);
  return { net, director, router, script };
}

async function established(): ReturnType<typeof scripted> {
  const all = await scripted();
  all.script().open({ holdTimeSeconds: 0 });
  all.script().say({ is: 'keepalive' });
  await all.net.until(() => up(all.director), 1);
  return all;
}

describe('bgp/speaker: a scripted peer', () => {
  it('is answered by the NOTIFICATION that its error calls for', async () => {
    const raw = (bytes: readonly number[]) => (script: Script) => void script.stream.write(Uint8Array.from(bytes));
    const header = (length: number, type: number, ...body: number[]) =>
      raw([...new Array<number>(16).fill(255), 0, length, type, ...body]);
    const cases: readonly [string, (script: Script) => void, string][] = [
      ['GET / HTTP/1.1', raw([...new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n12345')]), '1/1'],
      ['a message of type 9', header(19, 9), '1/3'],
      ['a KEEPALIVE instead of an OPEN', header(19, 4), '5/1'],
      ['an OPEN of version 3', header(29, 1, 3, 251, 244, 0, 90, 192, 0, 2, 1, 0), '2/1'],
      ['a hold time of two seconds', (script) => script.open({ holdTimeSeconds: 2 }), '2/6'],
    ];
    for (const [what, say, answer] of cases) {
      const { net, script } = await scripted();
      const peer = script();
      say(peer);
      await net.run(1);
      expect(peer.notifications, what).to.deep.equal([answer]);
      expect(peer.closed, what).to.equal(true);
    }
  });

  it('gets everything again, of one family, when it asks for a refresh', async () => {
    const { net, director, script } = await established();
    director.speaker.set('cr1', [route('203.0.113.1'), route('203.0.113.2', { med: 9 })]);
    await net.run(1);
    const before = script().count(2);
    script().say({ is: 'route-refresh', family: 4 });
    await net.run(1);
    expect(script().count(2) - before).to.equal(2);
    script().say({ is: 'route-refresh', family: 6 });
    await net.run(1);
    expect(script().count(2) - before).to.equal(2);
  });

  it('costs no memory when it does not read, and has the last word when it does', async () => {
    const { net, director, script } = await established();
    const peer = script();
    peer.stream.pause();
    let written = 0;
    net.network.tap = (from, _to, _end, bytes) => {
      if (from === director.host) written += bytes.length;
    };
    const table = (med: number) => Array.from({ length: 5000 }, (_, i) => route(`10.0.${i >> 8}.${i & 255}`, { med }));
    for (let round = 0; round < 60; round++) {
      director.speaker.set('cr1', table(round));
      await net.run(0.1);
    }
    director.speaker.set('cr1', [route('203.0.113.7')]);
    await net.run(60);
    expect(director.speaker.flushed('cr1')).to.equal(false);
    // 60 tables are 1.5 MB; the two socket buffers take what they take, and nothing waits behind them.
    expect(written).to.be.below(300_000);
    peer.stream.resume();
    await net.run(60);
    expect(director.states, 'a minute without reading is forgiven').to.deep.equal(['cr1 up']);
    expect(director.speaker.flushed('cr1')).to.equal(true);
    expect(status(director)).to.include({ established: true, prefixesSent: 1 });
    await net.run(1000);
    expect(director.states, 'what was late is forgotten').to.deep.equal(['cr1 up']);
  });

  it('gets no keepalives on top of what it does not read', async () => {
    const { net, director, script } = await scripted();
    script().open({ holdTimeSeconds: 9 });
    script().say({ is: 'keepalive' });
    await net.run(0.1);
    script().stream.pause();
    director.speaker.set(
      'cr1',
      Array.from({ length: 40_000 }, (_, i) => route(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)),
    );
    const { messagesOut } = status(director).counters;
    for (let i = 0; i < 20; i++) {
      script().say({ is: 'keepalive' });
      await net.run(3);
    }
    expect(status(director).counters.messagesOut).to.equal(messagesOut);
    expect(director.states).to.deep.equal(['cr1 up']);
  });

  it('is left when it has not read for eight minutes, however alive it seems', async () => {
    const { net, director, script } = await scripted();
    script().open({ holdTimeSeconds: 9 });
    const lives = async (seconds: number) => {
      for (let i = 0; i < seconds; i += 2) {
        script().say({ is: 'keepalive' });
        await net.run(2);
      }
    };
    await lives(2);
    script().stream.pause();
    director.speaker.set(
      'cr1',
      Array.from({ length: 40_000 }, (_, i) => route(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)),
    );
    await lives(470);
    expect(director.states).to.deep.equal(['cr1 up']);
    await lives(20);
    expect(director.states.slice(0, 2)).to.deep.equal(['cr1 up', 'cr1 down']);
    expect(director.lines().join('\n')).to.include('Send Hold Timer Expired (8/0)');
  });

  it('may leak a table to us: counted, and nothing kept', async () => {
    const { net, director, script } = await established();
    for (let i = 0; i < 200; i++) {
      const attributes = [64, 1, 1, 0, 64, 2, 6, 2, 1, 0, 0, 251, 244, 64, 3, 4, 192, 0, 2, 1];
      const prefix = [24, 10, i >> 8, i & 255];
      const body = [0, 0, 0, attributes.length, ...attributes, ...prefix];
      script().stream.write(Uint8Array.from([...new Array<number>(16).fill(255), 0, 19 + body.length, 2, ...body]));
    }
    await net.run(1);
    expect(status(director).counters).to.include({ updatesIn: 200, prefixesIn: 200, updatesForgiven: 0 });
    expect(director.tables.size).to.equal(0);
  });

  it('survives a malformed attribute, not a malformed prefix', async () => {
    const { net, director, script } = await established();
    const peer = script();
    const update = (attributes: readonly number[], prefix: readonly number[]) => {
      const body = [0, 0, 0, attributes.length, ...attributes, ...prefix];
      peer.stream.write(Uint8Array.from([...new Array<number>(16).fill(255), 0, 19 + body.length, 2, ...body]));
    };
    update([64, 1, 1, 9, 64, 2, 0, 64, 3, 4, 192, 0, 2, 1], [24, 10, 0, 0]);
    await net.run(1);
    expect(status(director).counters.updatesForgiven).to.equal(1);
    expect(director.states).to.deep.equal(['cr1 up']);
    update([], [33, 10, 0, 0, 0, 0]);
    await net.run(1);
    expect(peer.notifications).to.deep.equal(['3/10']);
    expect(director.states).to.deep.equal(['cr1 up', 'cr1 down']);
  });

  it('is not called again while it is up, nor does it hear of it twice when it calls again before its OPEN', async () => {
    const net = new BgpNet();
    const [director, router] = [net.node('director', [DIRECTOR]), net.node('router', [ROUTER])];
    await director.configure({ peers: [routerPeer({ passive: true })] });
    const call = async () =>
      new Script(
        await net.settled(net.network.connect(router.host, router.life, { address: DIRECTOR, port: 179 }, new Knife())),
      );
    const first = await call();
    await net.run(0.1);
    const second = await call();
    await net.run(0.1);
    expect([first.notifications, first.closed]).to.deep.equal([['6/7'], true]);
    second.open({ holdTimeSeconds: 0 });
    second.say({ is: 'keepalive' });
    await net.run(0.1);
    expect(status(director)).to.include({ established: true, side: 'passive' });
  });

  it('that wants no hold time and falls silent before its KEEPALIVE is not waited for for ever', async () => {
    const { net, director, script } = await scripted();
    const peer = script();
    peer.open({ holdTimeSeconds: 0 });
    await net.run(230);
    expect(status(director).state).to.equal('OpenConfirm');
    await net.run(11);
    expect(peer.notifications).to.deep.equal(['4/0']);
  });

  it('is left at once, silently, when it sends a NOTIFICATION', async () => {
    const { net, director, script } = await established();
    const peer = script();
    await net.run(0.5);
    const before = peer.got.length;
    peer.say({ is: 'notification', notification: notification('ceaseReset') });
    await net.run(0.5);
    expect(peer.got).to.have.length(before);
    expect(peer.closed).to.equal(true);
    expect(status(director).lastError).to.equal('Received notification: Cease: Administrative Reset (6/4)');
  });
});
