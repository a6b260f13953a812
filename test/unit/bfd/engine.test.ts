// Two engines at the ends of a wire: coming up, detection, polls at work, authentication, whose packet it is, reconfiguration,
// the daemon that stands still, and the end. In virtual time.

import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { type Digest, sign } from '../../../src/bfd/auth.ts';
import type { Packet } from '../../../src/bfd/packet.ts';
import type { AuthType, BfdSessionConfig } from '../../../src/bfd/types.ts';
import { A, A6, B, B6, BfdNet, type BfdNode, isUp, PACKET, sessionTo } from '../../support/bfd-net.ts';

const PORT = 3784;

const packet = (changes: Partial<Packet>): Packet => ({
  ...PACKET,
  myDiscriminator: 77,
  desiredMinTxUs: 1_000_000,
  requiredMinRxUs: 50_000,
  ...changes,
});

describe('BFD engine', () => {
  it('brings a session up on both sides and speeds it up to what both want', async () => {
    const net = new BfdNet();
    const [a, b] = await net.pair();
    for (const [node, other] of [
      [a, B],
      [b, A],
    ] as const) {
      const { transmitMs, detectionMs, remote, localDiscriminator, counters } = node.status(other);
      expect({ transmitMs, detectionMs }).to.deep.equal({ transmitMs: 50, detectionMs: 150 });
      expect(remote).to.include({ state: 'Up', desiredTxMs: 50, minRxMs: 50, multiplier: 3 });
      expect(localDiscriminator).to.be.greaterThan(0);
      expect(counters).to.include({ discarded: 0, sendErrors: 0, downs: 0 });
    }
    expect(a.status(B).remote?.discriminator).to.equal(b.status(A).localDiscriminator);
  });

  it('takes the slower of what one sends and the other can receive', async () => {
    const net = new BfdNet();
    const a = net.node('a', [A]);
    const b = net.node('b', [B]);
    a.configure(sessionTo(B, { intervalMs: 50, multiplier: 4 }));
    b.configure(sessionTo(A, { intervalMs: 200, multiplier: 3 }));
    await net.until(() => isUp(a, B) && isUp(b, A));
    await net.run(2);
    expect(a.status(B)).to.include({ transmitMs: 200, detectionMs: 600 });
    expect(b.status(A)).to.include({ transmitMs: 200, detectionMs: 800 });
  });

  it('keeps its packets between 75 and 100 % of the interval, and never goes down for an hour', async () => {
    const net = new BfdNet();
    const [a, b] = await net.pair();
    const before = a.status(B).counters.packetsOut;
    await net.run(600);
    const perSecond = (a.status(B).counters.packetsOut - before) / 600;
    expect(perSecond).to.be.within(20, 26.7);
    expect([a.status(B).counters.downs, b.status(A).counters.downs]).to.deep.equal([0, 0]);
  });

  it('survives what the multiplier allows: one packet in ten lost', async () => {
    const net = new BfdNet(3);
    const [a, b] = await net.pair({ multiplier: 6 });
    net.udp.loss = 0.1;
    await net.run(120);
    expect([a.story(), b.story()].join(' ')).to.not.match(/Up>/);
  });

  it('sees a silent path within the detection time, and says so to whoever still hears it', async () => {
    const net = new BfdNet();
    const [a, b] = await net.pair();
    net.network.cutPath(b.host, a.host, true);
    const took = await net.until(() => !isUp(a, B));
    expect(took).to.be.within(100, 152);
    await net.run(0.001);
    expect(a.changes.at(-1)).to.include({ was: 'Up', state: 'Down', diagnostic: 'Control Detection Time Expired' });
    await net.until(() => !isUp(b, A), 0.01);
    await net.run(0.001);
    expect(b.changes.at(-1)).to.include({
      was: 'Up',
      state: 'Down',
      diagnostic: 'Neighbor Signaled Session Down',
      remoteDiagnostic: 'Control Detection Time Expired',
      remoteAdminDown: false,
    });
    net.network.healPath(a.host, b.host);
    await net.until(() => isUp(a, B) && isUp(b, A), 5);
  });

  for (const multihop of [false, true]) {
    it(`works over IPv6${multihop ? ', over several hops' : ''}`, async () => {
      const net = new BfdNet();
      if (multihop) net.udp.hops = () => 5;
      const a = net.node('a', [A6]);
      const b = net.node('b', [B6]);
      a.configure(sessionTo(B6, { multihop, localAddress: A6 }));
      b.configure(sessionTo(A6, { multihop }));
      await net.until(() => isUp(a, B6) && isUp(b, A6));
    });
  }

  it('over one hop hears nothing that a router forwarded (TTL below 255)', async () => {
    const net = new BfdNet();
    net.udp.hops = () => 1;
    const a = net.node('a', [A]);
    const b = net.node('b', [B]);
    a.configure(sessionTo(B));
    b.configure(sessionTo(A));
    await net.run(5);
    expect([a.status(B).state, b.status(A).state]).to.deep.equal(['Down', 'Down']);
  });

  describe('finds whose packet it is', () => {
    it('by the discriminator once that is known, wherever the packet comes from', async () => {
      const net = new BfdNet();
      const [a] = await net.pair();
      const { localDiscriminator, counters } = a.status(B);
      net.inject(
        '203.0.113.9',
        { address: A, port: PORT },
        packet({ state: 'Down', yourDiscriminator: localDiscriminator }),
      );
      expect(a.status(B).state).to.equal('Down');
      expect(a.status(B).counters.packetsIn).to.equal(counters.packetsIn + 1);
    });
    it('by the address before; a stranger has no session', async () => {
      const net = new BfdNet();
      const a = net.node('a', [A]);
      a.configure(sessionTo(B));
      await net.run(0.1);
      net.inject('203.0.113.9', { address: A, port: PORT }, packet({}));
      expect(a.status(B).state).to.equal('Down');
      net.inject(B, { address: A, port: PORT }, packet({}));
      expect(a.status(B).state).to.equal('Init');
    });
    it('not through the multihop port, where TTLs are not looked at', async () => {
      const net = new BfdNet();
      const [a] = await net.pair();
      a.configure(sessionTo(B), sessionTo('192.0.2.9', { multihop: true }));
      await net.run(0.1);
      const yourDiscriminator = a.status(B).localDiscriminator;
      net.inject(B, { address: A, port: 4784 }, packet({ yourDiscriminator }), 250);
      net.inject(B, { address: A, port: 4784 }, packet({}), 250);
      expect(a.status(B).state).to.equal('Up');
    });
    it('and ignores a discriminator that it never gave', async () => {
      const net = new BfdNet();
      const [a] = await net.pair();
      const other = (a.status(B).localDiscriminator + 1) >>> 0 || 1;
      net.inject(B, { address: A, port: PORT }, packet({ yourDiscriminator: other }));
      expect(a.status(B).state).to.equal('Up');
    });
    it('and says now and then that packets are for nobody, not each time', async () => {
      const net = new BfdNet();
      const a = net.node('a', [A]);
      a.configure(sessionTo(B));
      await net.run(0.1);
      for (let i = 0; i < 500; i++) {
        net.inject('203.0.113.9', { address: A, port: PORT }, packet({}));
        await net.run(0.2);
      }
      const lines = a.log.map(({ text }) => text);
      expect(lines).to.deep.equal([
        'Packet from 203.0.113.9 discarded: no session is meant',
        'Packet from 203.0.113.9 discarded: no session is meant, and 299 like it',
      ]);
    });
    it('and counts what a peer sends wrongly, with the reason', async () => {
      const net = new BfdNet();
      const [a] = await net.pair();
      net.inject(B, { address: A, port: PORT }, packet({ myDiscriminator: 0 }));
      expect(a.status(B).counters.discarded).to.equal(1);
      expect(a.status(B).lastError).to.equal('packet discarded: My Discriminator is zero');
      expect(a.status(B).state).to.equal('Up');
      // The next one is right.
      await net.run(1);
      expect(a.status(B).lastError).to.equal(null);
    });
  });

  const TYPES: readonly AuthType[] = ['simple', 'md5', 'meticulous-md5', 'sha1', 'meticulous-sha1'];
  for (const type of TYPES) {
    it(`authenticates with ${type}: up with one key, never with two`, async () => {
      const net = new BfdNet();
      const auth = { type, keyId: 3, key: 'one' };
      const [a, b] = await net.pair({ auth });
      await net.run(60);
      expect(a.status(B).counters.discarded).to.equal(0);
      expect(a.status(B).counters.downs + b.status(A).counters.downs).to.equal(0);
      b.configure(sessionTo(A, { auth: { ...auth, key: 'two' } }));
      await net.run(10);
      expect(isUp(a, B) || isUp(b, A)).to.equal(false);
      expect(a.status(B).lastError).to.match(/wrong password or digest/);
    });
    it(`goes on with ${type} after the other side has started afresh`, async () => {
      const net = new BfdNet();
      const auth = { type, keyId: 3, key: 'one' };
      const [a, b] = await net.pair({ auth });
      b.worker.kill();
      await net.until(() => !isUp(a, B));
      const again = net.node('b again', [B]);
      again.configure(sessionTo(A, { auth }));
      await net.until(() => isUp(a, B) && isUp(again, A), 10);
    });
  }

  it('lets nothing forged, replayed or broken take an authenticated session down', async () => {
    const net = new BfdNet();
    const auth = { type: 'meticulous-sha1', keyId: 3, key: 'one' } as const;
    const [a, b] = await net.pair({ auth });
    const { localDiscriminator, remote } = a.status(B);
    const digest: Digest = (hash, bytes) => createHash(hash).update(bytes).digest();
    const { random } = net;
    const about = { myDiscriminator: remote?.discriminator ?? 1, yourDiscriminator: localDiscriminator };
    for (let i = 0; i < 4_000; i++) {
      const state = random.pick(['AdminDown', 'Down', 'Init', 'Up'] as const);
      const key = random.pick([
        null,
        { ...auth, key: 'two' },
        { ...auth, keyId: 4 },
        { ...auth, type: 'md5' as const },
      ]);
      const bytes = sign(
        packet({ ...about, state, poll: i % 2 === 0 }),
        key,
        Math.floor(random.unit() * 2 ** 32),
        digest,
      );
      for (let change = Math.floor(random.unit() * 3); change > 0; change--) {
        bytes[Math.floor(random.unit() * bytes.length)] = Math.floor(random.unit() * 256);
      }
      net.udp.inject({ address: B, port: 50_000 }, { address: A, port: PORT }, bytes, 255);
      await net.run(0.005);
    }
    expect(a.status(B).counters.discarded).to.be.greaterThan(3_500);
    expect([a.status(B).counters.downs, b.status(A).counters.downs]).to.deep.equal([0, 0]);
    expect(isUp(a, B) && isUp(b, A)).to.equal(true);
  });

  describe('reconfigured', () => {
    const change = async (changes: Partial<BfdSessionConfig>): Promise<readonly [BfdNet, BfdNode, BfdNode]> => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      a.configure(sessionTo(B, changes));
      await net.run(2);
      return [net, a, b];
    };
    it('with the same, does nothing', async () => {
      const [, a, b] = await change({});
      expect(b.changes).to.have.length(b.changes.filter(({ was }) => was !== 'Up').length);
      expect(a.status(B).counters.downs).to.equal(0);
    });
    it('with another interval, polls and stays up', async () => {
      const [, a, b] = await change({ intervalMs: 400 });
      expect(a.status(B)).to.include({ state: 'Up', transmitMs: 400, detectionMs: 1200 });
      expect(b.status(A)).to.include({ state: 'Up', transmitMs: 400, detectionMs: 1200 });
      expect(b.status(A).counters.downs).to.equal(0);
    });
    it('with another multiplier, stays up', async () => {
      const [, , b] = await change({ multiplier: 7 });
      expect(b.status(A)).to.include({ state: 'Up', detectionMs: 350 });
    });
    it('without the session, says AdminDown, which is no failure of the path, and is silent then', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      a.configure();
      await net.run(1);
      expect(b.changes.at(-1)).to.include({ was: 'Up', state: 'Down', remoteAdminDown: true });
      expect(a.bfd.status()).to.deep.equal([]);
      await net.run(10);
      expect(b.status(A).remote).to.equal(null);
      a.configure(sessionTo(B));
      await net.until(() => isUp(a, B) && isUp(b, A), 10);
    });
    it('without the session, says so for a detection time, so that one lost packet is not the end of the path', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair({ multiplier: 8 });
      a.configure();
      await net.run(5);
      expect(b.status(A).remote).to.include({ state: 'AdminDown', desiredTxMs: 1000 });
      await net.run(12);
      expect(b.status(A).remote).to.equal(null);
    });
    it('with the session again before it has left, takes it up where it was', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      const before = a.status(B).localDiscriminator;
      a.configure();
      await net.run(0.2);
      a.configure(sessionTo(B));
      await net.until(() => isUp(a, B) && isUp(b, A), 10);
      expect(a.status(B).localDiscriminator).to.equal(before);
    });
  });

  describe('beside a daemon that stands still', () => {
    it('goes on for as long as the daemon may, and not longer', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      for (let i = 0; i < 5; i++) {
        a.daemon.stop();
        await net.run(1.7);
        a.daemon.go();
        await net.run(0.3);
      }
      expect(isUp(b, A)).to.equal(true);
      expect(b.status(A).counters.downs).to.equal(0);
      a.daemon.stop();
      expect(await net.until(() => !isUp(b, A))).to.be.within(1_900, 2_250);
      await net.run(0.1);
      expect(b.changes.at(-1)).to.include({ remoteDiagnostic: 'Forwarding Plane Reset', remoteAdminDown: false });
      expect(b.status(A).remote).to.include({ state: 'Down' });
    });
    it('stays down for as long as that lasts, and comes up only when the daemon lives for good', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      a.daemon.stop();
      await net.run(60);
      expect(b.story().match(/>Up/g)).to.have.length(1);
      // A short breath is not yet life.
      a.daemon.go();
      await net.run(0.5);
      a.daemon.stop();
      await net.run(30);
      expect(b.story().match(/>Up/g)).to.have.length(1);
      a.daemon.go();
      const took = await net.until(() => isUp(a, B) && isUp(b, A), 10);
      expect(took).to.be.within(1_800, 5_000);
      expect(a.log.map(({ text }) => text).join('\n')).to.match(/No sign of life .* 2\d\d\d ms[^]*lives again/);
    });
    it('holds a session down that is configured meanwhile', async () => {
      const net = new BfdNet();
      const [a] = await net.pair();
      const c = net.node('c', ['192.0.2.3']);
      c.configure(sessionTo(A));
      a.daemon.stop();
      await net.run(4);
      a.configure(sessionTo(B), sessionTo('192.0.2.3'));
      await net.run(5);
      expect(isUp(c, A)).to.equal(false);
      a.daemon.go();
      await net.until(() => isUp(c, A), 10);
    });
    it('does not blame the daemon when the whole machine stood still', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      a.daemon.stop();
      a.worker.stop();
      await net.run(20);
      a.worker.go();
      a.daemon.go();
      await net.until(() => isUp(a, B) && isUp(b, A), 5);
      expect(a.log.map(({ text }) => text).join('\n')).to.not.match(/No sign of life/);
    });
  });

  describe('at its end', () => {
    it('says Down once, never AdminDown, and nothing after it', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      void a.bfd.stop();
      const took = await net.until(() => !isUp(b, A));
      expect(took).to.be.lessThan(3);
      await net.run(0.01);
      expect(b.changes.at(-1)).to.include({ remoteDiagnostic: 'Administratively Down', remoteAdminDown: false });
      const { packetsIn } = b.status(A).counters;
      await net.run(5);
      expect(b.status(A).counters.packetsIn).to.equal(packetsIn);
    });
    it('tells its own daemon nothing of it', async () => {
      const net = new BfdNet();
      const [a] = await net.pair();
      const told = a.changes.length;
      void a.bfd.stop();
      await net.run(1);
      expect(a.changes).to.have.length(told);
    });
  });

  describe('without a socket', () => {
    it('says so once, tries again, and says when it works', async () => {
      const net = new BfdNet();
      const a = net.node('a', []);
      const b = net.node('b', [B]);
      a.configure(sessionTo(B, { localAddress: A }));
      b.configure(sessionTo(A));
      await net.run(10);
      const warned = a.log.filter(({ level }) => level === 'warn').map(({ text }) => text);
      expect(warned).to.have.length(2);
      expect(warned[0]).to.match(/^Cannot send from 192\.0\.2\.1 .*EADDRNOTAVAIL.*again every 1 s/);
      expect(a.status(B)).to.include({ state: 'Down', lastError: 'no socket to send from' });
      net.network.give(a.host, A);
      await net.until(() => isUp(a, B) && isUp(b, A), 5);
      expect(a.log.filter(({ level }) => level === 'info')).to.have.length(2);
    });
    it('takes nothing away from the sessions that have one', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair();
      // The simulated sendto(2) answers EINVAL to an address that is none.
      a.configure(sessionTo(B), sessionTo('no address'));
      await net.run(60);
      expect(a.status('no address').counters.sendErrors).to.be.greaterThan(10);
      expect([a.status(B).counters.downs, b.status(A).counters.downs]).to.deep.equal([0, 0]);
    });
    it('that was bound to an address which went away, opens another when it is back', async () => {
      const net = new BfdNet();
      const [a, b] = await net.pair({ localAddress: null });
      a.configure(sessionTo(B, { localAddress: A }));
      await net.until(() => isUp(a, B) && isUp(b, A), 10);
      a.host.addresses.delete(A);
      await net.until(() => !isUp(b, A), 5);
      await net.run(10);
      expect(a.status(B).counters.sendErrors).to.be.greaterThan(0);
      a.host.addresses.add(A);
      await net.until(() => isUp(a, B) && isUp(b, A), 10);
    });
  });
});
