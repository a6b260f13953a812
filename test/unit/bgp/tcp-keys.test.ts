// What protects a peer's connections: what is refused, what a change of keys tells a running session, and what the kernel's counters
// say of a router that does not answer.

import { expect } from 'chai';
import { readDrops, suspicion } from '../../../src/bgp/drops.ts';
import { keyOptions, newKeyOptions, replacedInPlace, type TcpKeys } from '../../../src/bgp/tcp-keys.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import type { AoKey } from '../../../src/world/world.ts';
import { BgpNet } from '../../support/bgp-net.ts';
import { peerConfig } from '../../support/peer-config.ts';

const key = (id: number, secret = `secret ${id}`): AoKey => ({
  ...{ sendId: id, receiveId: id, algorithm: 'hmac-sha1', macLength: 12, key: secret },
});
const md5 = (text: string): TcpKeys => ({ md5: text, ao: null });
const ao = (...keys: readonly AoKey[]): TcpKeys => ({ md5: null, ao: keys });
const NONE: TcpKeys = { md5: null, ao: null };

describe('bgp/tcp-keys', () => {
  it('a peer whose keys are not known is not talked to at all', () => {
    const withPassword = peerConfig({ address: '192.0.2.1', password: { from: 'text', text: '(given)' } });
    const withAo = peerConfig({ address: '192.0.2.1', tcpAoFile: '/ao' });
    expect(() => keyOptions(withPassword, NONE)).to.throw('TCP-MD5: ENOKEY: its password is not known');
    expect(() => keyOptions(withAo, NONE)).to.throw('TCP-AO: ENOKEY: its keys are not known');
    expect(keyOptions(withPassword, md5('x'))).to.deep.equal({ md5Key: 'x' });
    expect(keyOptions(withAo, ao(key(1)))).to.deep.equal({ aoKeys: [key(1)] });
    expect(keyOptions(peerConfig({ address: '192.0.2.1' }), NONE)).to.deep.equal({});
  });

  it('a session is told of new keys, of another order too, but is neither given protection nor deprived of it', () => {
    expect(newKeyOptions(ao(key(1)), ao(key(1), key(2)))).to.deep.equal({ aoKeys: [key(1), key(2)] });
    expect(newKeyOptions(ao(key(1), key(2)), ao(key(2), key(1)))).to.deep.equal({ aoKeys: [key(2), key(1)] });
    expect(newKeyOptions(md5('x'), md5('y'))).to.deep.equal({ md5Key: 'y' });
    for (const [before, after] of [
      [ao(key(1)), ao(key(1))],
      [ao(key(1)), NONE],
      [NONE, ao(key(1))],
      [md5('x'), ao(key(1))],
      [md5('x'), md5('x')],
    ] as const)
      expect(newKeyOptions(before, after)).to.equal(null);
  });

  it('another secret under the same ids is named, by the ids only', () => {
    expect(replacedInPlace(ao(key(1), key(2)), ao(key(2, 'other'), key(1), key(3)))).to.deep.equal(['2/2']);
    expect(replacedInPlace(NONE, ao(key(1)))).to.deep.equal([]);
  });
});

describe('bgp/drops', () => {
  const netstat = (counts: Readonly<Record<string, number>>) =>
    readDrops(
      [
        'TcpExt: SyncookiesSent TCPAOBad TCPAOKeyNotFound TCPAORequired TCPMD5Unexpected',
        `TcpExt: 7 ${['TCPAOBad', 'TCPAOKeyNotFound', 'TCPAORequired', 'TCPMD5Unexpected'].map((name) => counts[name] ?? 5).join(' ')}`,
        'IpExt: InNoRoutes',
        'IpExt: 0',
      ].join('\n'),
    );
  const blame = (rising: string, protection: 'TCP-MD5' | 'TCP-AO' | null) =>
    suspicion(netstat({}), netstat({ [rising]: 8 }), { protection, gtsm: false });

  it('blames the counter that rose, if it fits to what the peer was promised', () => {
    expect(blame('TCPAOBad', 'TCP-AO')).to.match(/key differs .*; the kernel dropped 3 packet\(s\), TCPAOBad$/);
    expect(blame('TCPAOKeyNotFound', 'TCP-AO')).to.match(/whose id is not in the file .*TCPAOKeyNotFound$/);
    expect(blame('TCPAOKeyNotFound', null)).to.match(/no keys for it are configured here.*TCPAOKeyNotFound$/);
    expect(blame('TCPAORequired', 'TCP-AO')).to.match(/router does not sign with TCP-AO.*TCPAORequired$/);
    expect(blame('TCPMD5Unexpected', 'TCP-AO')).to.match(/router signs with TCP-MD5/);
    expect([blame('TCPAOBad', null), blame('TCPAORequired', 'TCP-MD5'), blame('', 'TCP-AO')]).to.deep.equal([
      ...[null, null, null],
    ]);
  });
});

describe('bgp/speaker: on a kernel without TCP-AO', () => {
  it('says so at the start, of the listener and of the peer, and others have their sessions', async () => {
    const net = new BgpNet(1);
    const without = () => {
      throw new SystemError('ENOTSUP', 'TCP-AO', 'this kernel has none (CONFIG_TCP_AO, Linux 6.7)');
    };
    const addresses = ['192.0.2.1', '192.0.2.3', '192.0.2.4'] as const;
    const [plain, called, calling] = addresses;
    for (const address of addresses) {
      const director = peerConfig({ name: 'd1', address: '192.0.2.2', passive: address !== calling });
      await net.node(address, [address]).configure({ peers: [director] });
    }
    const director = net.node('d1', ['192.0.2.2'], false, {
      listener: without,
      stream: ({ aoKeys }) => (aoKeys === undefined ? undefined : without()),
    });
    const ao = (address: string) => [address, [key(1)]] as const;
    await director.configure({
      peers: [
        peerConfig({ address: plain }),
        peerConfig({ address: called, tcpAoFile: '/ao' }),
        peerConfig({ address: calling, tcpAoFile: '/ao', passive: true }),
      ],
      aoKeys: new Map([ao(called), ao(calling)]),
    });
    await net.run(30);
    const said = director.lines().join('\n');
    expect(said).to.match(
      /192\.0\.2\.2:179 cannot check all callers as promised \(TCP-AO: ENOTSUP: this kernel has none/,
    );
    expect(said).to.match(/192\.0\.2\.3.*TCP-AO: ENOTSUP: this kernel has none/);
    expect(said).to.match(/192\.0\.2\.4.*A call is refused: TCP-AO: ENOTSUP: this kernel has none/);
    expect(director.states).to.deep.equal([`${plain} up`]);
  });
});

describe('bgp/speaker: keys of a listener', () => {
  it('that could not all be set are set anew with the next configuration, also when it is the one before', async () => {
    const net = new BgpNet(1);
    const tunings: string[] = [];
    let broken = false;
    const director = net.node('d1', ['192.0.2.2'], false, {
      listener({ aoKeys }) {
        tunings.push(
          [...aoKeys.values()]
            .flat()
            .map(({ sendId }) => sendId)
            .join('+') || 'none',
        );
        if (broken) throw new SystemError('EIO', 'setsockopt');
      },
    });
    const peer = peerConfig({ name: 'r1', address: '192.0.2.1', tcpAoFile: '/ao' });
    const configure = (...keys: readonly AoKey[]) =>
      director.configure({ peers: [peer], aoKeys: new Map(keys.length === 0 ? [] : [['r1', keys]]) });
    await configure(key(1));
    await configure(key(1));
    broken = true;
    await configure(key(2));
    await configure();
    broken = false;
    await configure(key(1));
    expect(tunings).to.deep.equal(['1', '2', 'none', '1']);
    broken = true;
    await configure(key(3));
    broken = false;
    await configure();
    expect(tunings.slice(4)).to.deep.equal(['3', 'none']);
  });
});

describe('bgp/peer: TCP-AO keys in a session', () => {
  /** A session under key 1, in a kernel that refuses to let go of keys while it is busy. */
  async function established() {
    const net = new BgpNet(1);
    const router = net.node('r1', ['192.0.2.1']);
    const kernel = { busy: false };
    const director = net.node('d1', ['192.0.2.2'], false, {
      stream: ({ aoKeys }) => {
        if (kernel.busy && aoKeys !== undefined) throw new SystemError('EBUSY', 'TCP-AO');
      },
    });
    const peer = peerConfig({ name: 'r1', address: '192.0.2.1', tcpAoFile: '/ao' });
    const configure = (...keys: readonly AoKey[]) =>
      director.configure({ peers: [peer], aoKeys: new Map([['r1', keys]]) });
    await router.configure({ peers: [peerConfig({ name: 'd1', address: '192.0.2.2', passive: true })] });
    await configure(key(1));
    await net.until(() => director.states.at(-1) === 'r1 up', 30);
    return { net, router, director, kernel, peer, configure };
  }

  it('that ends while an old key is asked for: of that key nothing more is said', async () => {
    const { net, router, director, kernel, peer, configure } = await established();
    kernel.busy = true;
    await configure(key(2));
    await net.run(1);
    expect(director.lines().at(-1)).to.match(/An old key stays for now: .*EBUSY/);
    await router.configure({ peers: [] });
    await net.until(() => director.states.at(-1) !== 'r1 up', 30);
    await net.run(20);
    expect(director.lines().join('\n')).to.not.match(/No old key is left/);
  });

  it('change without its end, linger as long as the router asks for them, and warn when ids stay the same', async () => {
    const { net, router, director, kernel, peer, configure } = await established();
    kernel.busy = true;
    director.keyed.length = 0;
    await configure(key(2));
    await net.run(1);
    expect(director.keyed.at(-1)).to.equal('192.0.2.1 2');
    expect(director.lines().at(-1)).to.match(/An old key stays for now: .*EBUSY/);
    const lines = director.lines().length;
    await net.run(60);
    expect(director.keyed.length, 'tried again').to.be.within(10, 17);
    expect(director.lines().length, 'and said once').to.equal(lines);
    kernel.busy = false;
    await net.run(7);
    expect(director.lines().at(-1)).to.match(/No old key is left/);
    await configure(key(2, 'another'));
    expect(director.lines().at(-1)).to.match(/other keys under the same ids \(2\/2\) are for the next session/);
    await configure(key(2), key(3));
    expect(director.states).to.deep.equal(['r1 up']);
    expect(director.lines().join()).to.not.include('secret');
  });
});
