// TCP-MD5, GTSM and DSCP over a veth pair, against BIRD and on the wire: a key that is right, wrong, missing and changed while
// the session is up; and what is told of a router that the kernel silently drops.

import { expect } from 'chai';
import { Speaker } from '../../src/bgp/speaker.ts';
import { readDrops } from '../../src/bgp/drops.ts';
import { readFileSync } from 'node:fs';
import { createClock } from '../../src/world/real/clock.ts';
import { openSocketOptions } from '../../src/world/real/socket-options.ts';
import { createStreams } from '../../src/world/real/streams.ts';
import type { PeerConfig } from '../../src/config/types.ts';
import type { AoKey } from '../../src/world/world.ts';
import { Bird } from '../support/bird.ts';
import { eventually, Namespace, output, requireTools } from '../support/namespace.ts';
import { peerConfig } from '../support/peer-config.ts';

const BIRD = '198.18.186.1';
const US = (host: number) => `198.18.186.${host}`;
const KEYED = { password: { from: 'text', text: '(given)' } } as const;

const config = `
log stderr { warning, error, fatal, bug };
router id ${BIRD};
protocol device {}
template bgp outside {
  local ${BIRD} as 64500;
  hold time 9; error wait time 1, 2; connect delay time 1; connect retry time 1;
  ipv4 { import all; export none; };
}
protocol bgp signed from outside { neighbor ${US(11)} as 64600; passive on; password "correct horse"; }
protocol bgp dials from outside { neighbor ${US(12)} as 64600; password "correct horse"; }
protocol bgp gtsm from outside { neighbor ${US(13)} as 64600; passive on; ttl security on; }
protocol bgp far from outside { neighbor ${US(14)} as 64600; passive on; }
`;

describe('interop: the transport', function () {
  this.timeout(60_000);
  let namespace: Namespace;
  let bird: Bird;
  const speakers: Speaker[] = [];

  before(async () => {
    requireTools({
      '/usr/sbin/bird': 'bird2',
      '/usr/sbin/birdc': 'bird2',
      '/usr/sbin/ip': 'iproute2',
      '/usr/bin/ss': 'iproute2',
    });
    const ours = [11, 12, 13, 14].map((host) => `${US(host)}/24`);
    namespace = await Namespace.create('anybal-peers', ours, [`${BIRD}/24`]);
    bird = new Bird(namespace, config);
    await eventually('BIRD', async () => ((await bird.state('signed')) === '' ? null : true));
  });
  afterEach(async () => {
    await Promise.all(speakers.splice(0).map((speaker) => speaker.stop()));
  });
  after(async () => {
    await bird?.stop();
    await namespace?.destroy();
  });

  /** A speaker at one of our addresses, and how to give it another key. */
  async function speak(host: number, changes: Partial<PeerConfig>, firstKey?: string, aoKeys?: readonly AoKey[]) {
    const streams = createStreams(() => {
      throw new Error('BGP needs no certificates');
    }, openSocketOptions());
    const states: string[] = [];
    const speaker = new Speaker(
      { clock: createClock(), random: Math.random, streams, log: () => {} },
      {
        onPeerState: (_, { established }) => void states.push(established ? 'up' : 'down'),
        drops: () => readDrops(readFileSync('/proc/net/netstat', 'utf8')),
      },
    );
    speakers.push(speaker);
    const peer = peerConfig({
      ...{ name: 'bird', address: BIRD, localAddress: US(host), connectRetrySeconds: 1, connectTimeoutSeconds: 2 },
      ...changes,
    });
    const configure = (key?: string) =>
      speaker.configure({
        routerId: US(host),
        listen: peer.passive ? [{ address: US(host), port: 179 }] : [],
        peers: [peer],
        keys: new Map(key === undefined ? [] : [['bird', key]]),
        aoKeys: new Map(aoKeys === undefined ? [] : [['bird', aoKeys]]),
      });
    await configure(firstKey);
    const up = () =>
      eventually(
        'up',
        async () => (states.at(-1) === 'up' ? true : null),
        () => JSON.stringify(speaker.status()),
      );
    const blames = (cause: RegExp) =>
      eventually(
        String(cause),
        async () => (cause.test(speaker.status()[0]?.lastError ?? '') ? true : null),
        () => JSON.stringify(speaker.status()),
      );
    return { speaker, states, configure, up, blames };
  }

  it('a key that is right brings the session up, whoever calls', async () => {
    await (await speak(11, KEYED, 'correct horse')).up();
    await (await speak(12, { ...KEYED, passive: true }, 'correct horse')).up();
  });

  it('a wrong key is silence, blamed on the key; the right one ends it without a restart', async () => {
    const { configure, up, blames, states } = await speak(11, KEYED, 'wrong');
    await blames(/No answer from .*another password/);
    expect(states).to.deep.equal([]);
    await configure('correct horse');
    await up();
  });

  it('a key that both sides change leaves the session up', async () => {
    // Two of ours: BIRD restarts its session for a new password.
    const one = await speak(13, { ...KEYED, passive: true, address: US(14), localAs: 64500 }, 'first');
    const two = await speak(14, { ...KEYED, address: US(13) }, 'first');
    await Promise.all([one.up(), two.up()]);
    await Promise.all([one.configure('second'), two.configure('second')]);
    // Longer than the hold time: keepalives went with the new key.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect([one.states, two.states]).to.deep.equal([['up'], ['up']]);
  });

  it('GTSM comes up with a router that has it too, and a router without it is blamed', async () => {
    await (await speak(13, { ttlSecurityHops: 1 })).up();
    // What the kernel drops is missed after a hold time.
    const { blames, states } = await speak(14, { ttlSecurityHops: 1, holdTimeSeconds: 3 });
    await blames(/probable cause: .*ttl-security.*TCPMinTTLDrop/);
    expect(states).to.deep.equal([]);
  });

  it('is sent with DSCP CS6, or what is asked for', async () => {
    const tosOf = async (host: number) =>
      /\btos:(0x[0-9a-f]+)/.exec(await output('/usr/bin/ss', '-Htnei', '--tos', 'src', US(host)))?.[1];
    await (await speak(11, KEYED, 'correct horse')).up();
    expect(await tosOf(11)).to.equal('0xc0');
    await (await speak(13, { ttlSecurityHops: 1, dscp: 46 })).up();
    expect(await tosOf(13)).to.equal('0xb8');
  });

  it('TCP-AO that a kernel has not, or BIRD has not, is told, and nothing goes out unprotected', async () => {
    const unknown = await speak(13, { ttlSecurityHops: 1, tcpAoFile: '/etc/ao' });
    await unknown.blames(/TCP-AO: ENOKEY: its keys are not known/);
    const { blames, states } = await speak(14, { tcpAoFile: '/etc/ao' }, undefined, [
      { sendId: 1, receiveId: 1, algorithm: 'hmac-sha1', macLength: 12, key: 'correct horse' },
    ]);
    await blames(/TCP-AO: ENOTSUP: this kernel has none|No answer .*TCP-AO/);
    expect([...unknown.states, ...states]).to.deep.equal([]);
  });
});
