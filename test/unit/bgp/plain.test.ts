// A router that answers our capabilities with 2/4 (RFC 5492 §3): it is tried without, and then they are offered again.

import { expect } from 'chai';
import type { PeerConfig } from '../../../src/config/types.ts';
import { notification } from '../../../src/bgp/notification.ts';
import type { LocalOpen } from '../../../src/bgp/open.ts';
import { BgpNet, peerConfig, Script } from '../../support/bgp-net.ts';

const DIRECTOR = '192.0.2.9';
const ROUTER = '192.0.2.1';
const OPEN = 1;
/** Where the length of its optional parameters stands in an OPEN. */
const PARAMETERS_AT = 9;

/** Of one call of ours: what its OPEN had. */
type Call = 'full' | 'plain';

/** A router that answers each OPEN with what `answer` does to it. */
async function answering(answer: (peer: Script, call: Call, count: number) => void, config: Partial<PeerConfig> = {}) {
  const net = new BgpNet();
  const director = net.node('director', [DIRECTOR]);
  const router = net.network.host('router', [ROUTER]);
  const calls: Call[] = [];
  let current: Script | null = null;
  net.network.listen(router, director.life, { address: ROUTER, port: 179 }, (stream) => {
    const peer = new Script(stream);
    current = peer;
    const look = () => {
      const open = peer.got.find(({ type }) => type === OPEN);
      if (open === undefined) return void director.life.after(1, look);
      const call = open.body[PARAMETERS_AT] === 0 ? 'plain' : 'full';
      calls.push(call);
      answer(peer, call, calls.length);
    };
    director.life.after(1, look);
  });
  await director.configure({ peers: [peerConfig({ name: 'cr1', address: ROUTER, ...config })] });
  const status = () => {
    const [only] = director.speaker.status();
    if (only === undefined) throw new Error('no peer');
    return only;
  };
  const last = () => {
    if (current === null) throw new Error('nobody has called');
    return current;
  };
  return { net, director, calls, status, last };
}

const refuse = (peer: Script) => {
  peer.say({ is: 'notification', notification: notification('openBadParameter') });
  peer.stream.close('fin');
};
const greet = (peer: Script, changes: Partial<LocalOpen> = {}) => {
  peer.open({ holdTimeSeconds: 0, ...changes });
  peer.say({ is: 'keepalive' });
};
const lose = (peer: Script) => peer.stream.close('rst');

describe('bgp/plain: a router that refuses capabilities', () => {
  it('has a session without, and is offered them again after it, at the cost of one attempt', async () => {
    const { net, director, calls, status, last } = await answering((peer, call) =>
      call === 'full' ? refuse(peer) : greet(peer, { offers: { none: true } }),
    );
    await net.until(() => status().established, 5);
    lose(last());
    await net.until(() => !status().established, 5);
    expect(await net.until(() => status().established, 20)).to.be.below(6);
    expect(calls).to.deep.equal(['full', 'plain', 'full', 'plain']);
    expect(director.states).to.deep.equal(['cr1 up', 'cr1 down', 'cr1 up']);
  });

  it('has all of them again after one that it had refused by mistake', async () => {
    const { net, director, calls, status, last } = await answering((peer, _call, count) =>
      (count === 1 ? refuse : greet)(peer),
    );
    await net.until(() => status().established, 5);
    expect(status()).to.deep.include({ families: [4], withoutCapabilities: true });
    expect(director.lines().join('\n'))
      .to.include('The peer has refused all capabilities, and with them IPv6 unicast')
      .and.not.include('did not offer');
    lose(last());
    await net.until(() => !status().established, 5);
    await net.until(() => status().established, 5);
    expect(calls).to.deep.equal(['full', 'plain', 'full']);
    expect(status()).to.deep.include({ families: [4, 6], withoutCapabilities: false });
  });

  for (const [how, end] of [
    ['lost', lose],
    [
      'refused for its AS number',
      (peer: Script) => {
        peer.say({ is: 'notification', notification: notification('openBadPeerAs') });
        peer.stream.close('fin');
      },
    ],
    ['refused as the one before it', refuse],
  ] as const) {
    it(`is offered them again after an attempt without that was ${how}`, async () => {
      const { net, director, calls, status } = await answering(
        (peer, call, count) => (count === 1 ? refuse : call === 'plain' ? end : greet)(peer),
        { localAs: 4_200_000_001 },
      );
      await net.until(() => status().established, 30);
      expect(calls).to.deep.equal(['full', 'plain', 'full']);
      expect(director.lines().filter((line) => line.endsWith('(our OPEN was without capabilities)'))).to.have.length(1);
    });
  }

  it('is not called more and more often when it refuses either', async () => {
    const { net, calls } = await answering(refuse);
    await net.run(600);
    expect(calls.slice(0, 4)).to.deep.equal(['full', 'plain', 'full', 'plain']);
    expect(calls.length).to.be.below(25);
  });

  it('is offered them always where there is nothing but IPv6', async () => {
    const { net, calls } = await answering(refuse, { families: [6] });
    await net.run(60);
    expect(new Set(calls)).to.deep.equal(new Set(['full']));
  });
});
