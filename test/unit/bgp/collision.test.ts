// Two connections between two speakers: both must choose the same one.

import { expect } from 'chai';
import fc from 'fast-check';
import { collide, type Meeting, survivor } from '../../../src/bgp/collision.ts';
import { encodeMessage } from '../../../src/bgp/message.ts';
import { notification } from '../../../src/bgp/notification.ts';
import { localOpen } from '../../../src/bgp/open.ts';
import { Splitter } from '../../../src/bgp/splitter.ts';
import { Knife } from '../../../src/lib/cut.ts';
import type { Stream } from '../../../src/world/world.ts';
import { BgpNet, peerConfig, Script } from '../../support/bgp-net.ts';

const [OPEN, NOTIFICATION, KEEPALIVE] = [1, 3, 4];

describe('bgp/collision', () => {
  const low = { routerId: '9.255.255.255', as: 64500 };
  const high = { routerId: '10.0.0.1', as: 64500 };

  it('keeps the connection that the speaker with the higher identifier opened, compared as a number', () => {
    expect(survivor(high, low)).to.equal('outgoing');
    expect(survivor(low, high)).to.equal('incoming');
  });

  it('compares identifiers without sign', () => {
    expect(survivor({ routerId: '200.0.0.1', as: 1 }, { routerId: '100.0.0.1', as: 1 })).to.equal('outgoing');
  });

  it('lets the larger AS number win between equal identifiers', () => {
    expect(survivor({ ...low, as: 64501 }, low)).to.equal('outgoing');
    expect(survivor(low, { ...low, as: 4_200_000_000 })).to.equal('incoming');
  });
});

describe('bgp/collision: what is believed of one connection beside another', () => {
  const STATES = ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established'] as const;
  /** For each state of the other one. */
  const verdicts = (meeting: Omit<Meeting, 'other'>) => STATES.map((other) => collide({ ...meeting, other })).join(' ');
  const OPEN_ON = { on: 'open', patient: true } as const;
  const KEEPALIVE_ON = { on: 'keepalive', patient: true } as const;

  it('of ours, which stays', () => {
    expect(verdicts({ ...OPEN_ON, side: 'active', kept: 'outgoing' })).to.equal('none wins none wins wins none');
    expect(verdicts({ ...KEEPALIVE_ON, side: 'active', kept: 'outgoing' })).to.equal('none wins none none none none');
  });
  it('of the peer’s, which stays: once ours is answered, the peer decides', () => {
    expect(verdicts({ ...OPEN_ON, side: 'passive', kept: 'incoming' })).to.equal('none wins none wins undecided none');
    expect(verdicts({ ...KEEPALIVE_ON, side: 'passive', kept: 'incoming' })).to.equal('none wins none none none none');
  });
  for (const [side, kept] of [
    ['active', 'incoming'],
    ['passive', 'outgoing'],
  ] as const) {
    it(`of the ${side} one, which goes: it waits for one that has not spoken yet`, () => {
      expect(verdicts({ ...OPEN_ON, side, kept })).to.equal('none wins none undecided lost none');
      expect(verdicts({ ...KEEPALIVE_ON, side, kept })).to.equal('none wins none undecided none none');
    });
  }
  it('after waiting in vain: RFC 4271 §6.8 to the letter', () => {
    for (const side of ['active', 'passive'] as const) {
      for (const kept of ['outgoing', 'incoming'] as const) {
        expect(verdicts({ on: 'open', side, kept, patient: false })).to.not.include('undecided');
        expect(verdicts({ on: 'keepalive', side, kept, patient: false })).to.equal('none wins none none none none');
      }
    }
    expect(collide({ on: 'open', side: 'passive', other: 'OpenConfirm', kept: 'incoming', patient: false })).to.equal(
      'wins',
    );
    expect(collide({ on: 'open', side: 'active', other: 'OpenConfirm', kept: 'incoming', patient: false })).to.equal(
      'lost',
    );
  });
});

const LOW = '192.0.2.1';
const HIGH = '192.0.2.9';

/** Two that call each other at nearly the same time, over a wire on which the messages of two connections overtake each other. */
async function crossing(seed: number, apartMs: number, slowestMs: number) {
  const net = new BgpNet(seed);
  net.network.latency = () => net.network.random.between(0.1, slowestMs);
  const [low, high] = [net.node('low', [LOW]), net.node('high', [HIGH])];
  // Listening, before anybody calls.
  await low.configure({});
  await high.configure({});
  await high.configure({ peers: [peerConfig({ name: 'low', address: LOW, localAs: 64500 })] });
  await net.run(apartMs / 1000);
  await low.configure({ peers: [peerConfig({ name: 'high', address: HIGH, localAs: 64600 })] });
  await net.run(10);
  return { net, low, high };
}

interface PlainConnection {
  readonly stream: Stream;
  readonly outgoing: boolean;
  state: 'OpenSent' | 'OpenConfirm' | 'Established' | 'closed';
}

/** A router that does what RFC 4271 §6.8 says and no more: an OPEN meets a connection in OpenConfirm, or an established one. */
class PlainRouter {
  readonly #connections: PlainConnection[] = [];
  readonly #routerId: string;
  readonly #dominant: boolean;
  ups = 0;
  downs = 0;

  constructor(routerId: string, dominant: boolean) {
    this.#routerId = routerId;
    this.#dominant = dominant;
  }

  take(stream: Stream, outgoing: boolean): void {
    const mine: PlainConnection = { stream, outgoing, state: 'OpenSent' };
    this.#connections.push(mine);
    const splitter = new Splitter();
    const gone = () => {
      if (mine.state === 'Established') this.downs++;
      mine.state = 'closed';
    };
    const onData = (bytes: Uint8Array) => {
      for (const { type } of splitter.push(bytes)) {
        if (mine.state === 'closed') return;
        if (type === OPEN) this.#open(mine);
        else if (type === NOTIFICATION) gone();
        else if (type === KEEPALIVE && mine.state === 'OpenConfirm') {
          mine.state = 'Established';
          this.ups++;
        }
      }
    };
    stream.on({ onData, onEnd: gone, onDrain: () => {}, onClose: gone });
    const local = { as: 64500, routerId: this.#routerId, holdTimeSeconds: 90, families: [4] as const, peerAs: null };
    stream.write(encodeMessage({ is: 'open', open: localOpen(local) }));
  }

  #open(mine: PlainConnection): void {
    const others = this.#connections.filter((other) => other !== mine && other.state !== 'closed');
    if (others.some(({ state }) => state === 'Established')) return this.#close(mine);
    for (const other of others) {
      if (other.state !== 'OpenConfirm') continue;
      if (mine.outgoing !== this.#dominant) return this.#close(mine);
      this.#close(other);
    }
    mine.state = 'OpenConfirm';
    mine.stream.write(encodeMessage({ is: 'keepalive' }));
  }

  #close(connection: PlainConnection): void {
    connection.state = 'closed';
    connection.stream.write(encodeMessage({ is: 'notification', notification: notification('ceaseCollision') }));
    connection.stream.close('fin');
  }
}

describe('bgp: two that call each other', () => {
  for (const [rank, routerId] of [
    ['higher', '192.0.2.200'],
    ['lower', '192.0.2.0'],
  ] as const) {
    it(`come up once and stay up, also where the other does no more than the RFC says and has the ${rank} identifier`, async () => {
      const scenes = fc.record({ seed: fc.nat(), apartMs: fc.double({ min: -60, max: 60, noNaN: true }) });
      await fc.assert(
        fc.asyncProperty(scenes, async ({ seed, apartMs }) => {
          const net = new BgpNet(seed);
          net.network.latency = () => net.network.random.between(0.1, 30);
          const us = net.node('us', [LOW]);
          await us.configure({});
          const host = net.network.host('router', [HIGH]);
          const router = new PlainRouter(routerId, rank === 'higher');
          net.network.listen(host, us.life, { address: HIGH, port: 179 }, (stream) => router.take(stream, false));
          const peer = peerConfig({ name: 'router', address: HIGH, holdTimeSeconds: 90 });
          const start = () => us.configure({ peers: [peer] });
          const call = () => {
            net.network.connect(host, us.life, { address: LOW, port: 179 }, new Knife()).then(
              (stream) => router.take(stream, true),
              () => {},
            );
          };
          if (apartMs < 0) call();
          else await start();
          await net.run(Math.abs(apartMs) / 1000);
          if (apartMs < 0) await start();
          else call();
          await net.run(10);
          expect(us.states).to.deep.equal(['router up']);
          expect([router.ups, router.downs]).to.deep.equal([1, 0]);
        }),
        { numRuns: 200 },
      );
    });
  }

  it('come up once and stay up, on the same connection, whatever overtakes what', async () => {
    const scenes = fc.record({
      seed: fc.nat(),
      apartMs: fc.double({ min: 0, max: 60, noNaN: true }),
      slowestMs: fc.constantFrom(0.9, 20, 60),
    });
    let collisions = 0;
    await fc.assert(
      fc.asyncProperty(scenes, async ({ seed, apartMs, slowestMs }) => {
        const { low, high } = await crossing(seed, apartMs, slowestMs);
        expect([low.states, high.states]).to.deep.equal([['high up'], ['low up']]);
        const [here, there] = [low.speaker.status()[0], high.speaker.status()[0]];
        expect([here?.side, there?.side].sort()).to.deep.equal(['active', 'passive']);
        const told = (here?.counters.notificationsOut ?? 0) + (there?.counters.notificationsOut ?? 0);
        if (told > 0) collisions++;
      }),
      { numRuns: 300 },
    );
    // Or nothing is proven.
    expect(collisions).to.be.above(100);
  });

  /** We call, and are called; both connections belong to the script. */
  async function called(routerId: string) {
    const net = new BgpNet(1);
    const us = net.node('us', [LOW]);
    const router = net.network.host('router', [HIGH]);
    const scripts: Script[] = [];
    net.network.listen(
      router,
      us.life,
      { address: HIGH, port: 179 },
      (stream) => void scripts.push(new Script(stream)),
    );
    await us.configure({ peers: [peerConfig({ name: 'router', address: HIGH })] });
    const dial = net.network.connect(router, us.life, { address: LOW, port: 179 }, new Knife());
    const theirs = new Script(await net.settled(dial));
    await net.run(0.1);
    const [ours] = scripts;
    if (ours === undefined) throw new Error('nobody has called');
    return { net, us, ours, theirs, confirm: (on: Script) => (on.open({ routerId }), on.say({ is: 'keepalive' })) };
  }

  it('answer no OPEN on a connection that the other will close, once it speaks on its own', async () => {
    const { net, us, ours, theirs, confirm } = await called('192.0.2.200');
    confirm(ours);
    await net.run(0.5);
    expect(ours.count(KEEPALIVE)).to.equal(0);
    expect(us.states).to.deep.equal([]);
    confirm(theirs);
    await net.run(0.5);
    expect([ours.notifications, theirs.notifications]).to.deep.equal([['6/7'], []]);
    expect(us.states).to.deep.equal(['router up']);
    expect(us.speaker.status()[0]?.side).to.equal('passive');
  });

  it('do not wait for long for one that never speaks, nor for one that ends', async () => {
    const silent = await called('192.0.2.200');
    silent.confirm(silent.ours);
    await silent.net.run(3);
    expect(silent.us.states).to.deep.equal(['router up']);
    expect(silent.theirs.notifications).to.deep.equal(['6/7']);
    const ended = await called('192.0.2.200');
    ended.confirm(ended.ours);
    await ended.net.run(0.5);
    ended.theirs.stream.close('fin');
    await ended.net.run(0.5);
    expect(ended.us.states).to.deep.equal(['router up']);
    expect(ended.ours.notifications).to.deep.equal([]);
  });

  it('close the connection of the other at once when theirs is the one that stays', async () => {
    const { net, us, ours, theirs, confirm } = await called('192.0.2.0');
    confirm(ours);
    await net.run(0.1);
    expect([ours.notifications, theirs.notifications]).to.deep.equal([[], ['6/7']]);
    expect(us.states).to.deep.equal(['router up']);
  });

  it('leave out a call while they are called themselves, but only one', async () => {
    const net = new BgpNet(1);
    const us = net.node('us', [LOW]);
    const router = net.network.host('router', [HIGH]);
    await us.configure({ peers: [peerConfig({ name: 'router', address: HIGH })] });
    // Refused: the next call would come within 1.5 s, and the one after it within 3 s more.
    await net.run(0.5);
    let calls = 0;
    net.network.listen(router, us.life, { address: HIGH, port: 179 }, () => void calls++);
    await net.settled(net.network.connect(router, us.life, { address: LOW, port: 179 }, new Knife()));
    await net.run(1.2);
    expect(calls).to.equal(0);
    await net.run(3.5);
    expect(calls).to.equal(1);
  });
});
