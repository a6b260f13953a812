// Our speaker against BIRD 2 over a veth pair: what BIRD says that it has, compared with what was meant.

import { expect } from 'chai';
import type { PeerConfig } from '../../src/config/types.ts';
import type { Route } from '../../src/decision/decision.ts';
import { Speaker } from '../../src/bgp/speaker.ts';
import { createClock } from '../../src/world/real/clock.ts';
import { createStreams } from '../../src/world/real/streams.ts';
import type { LogRecord } from '../../src/log/record.ts';
import { Bird } from '../support/bird.ts';
import { eventually, Namespace, requireTools } from '../support/namespace.ts';

const BIRD4 = '198.18.179.1';

const config = `
log stderr all;
router id ${BIRD4};
ipv4 table master4;
ipv6 table master6;
protocol device {}
protocol bgp active4 {
  local ${BIRD4} as 64500;
  neighbor 198.18.179.11 as 64600;
  passive on;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`;

describe('interop: BIRD', function () {
  this.timeout(30_000);
  let namespace: Namespace;
  let bird: Bird;
  const speakers: Speaker[] = [];
  const records: LogRecord[] = [];

  before(async () => {
    requireTools({ '/usr/sbin/bird': 'bird2', '/usr/sbin/ip': 'iproute2' });
    namespace = await Namespace.create('anybal-bird', ['198.18.179.11/24'], [`${BIRD4}/24`]);
    bird = new Bird(namespace, config);
  });
  afterEach(async () => {
    for (const speaker of speakers.splice(0)) await speaker.stop();
  });
  after(async () => {
    await bird?.stop();
    await namespace?.destroy();
  });

  function newSpeaker(): Speaker {
    const streams = createStreams(() => {
      throw new Error('no TLS here');
    }, null);
    const speaker = new Speaker(
      { clock: createClock(), random: Math.random, streams, log: (record) => void records.push(record) },
      { onPeerState: () => {} },
    );
    speakers.push(speaker);
    return speaker;
  }

  const peer = (changes: Partial<PeerConfig>): PeerConfig => ({
    name: 'bird',
    place: null,
    address: BIRD4,
    port: 179,
    localAddress: '198.18.179.11',
    passive: false,
    localAs: 64600,
    peerAs: null,
    holdTimeSeconds: 9,
    connectRetrySeconds: 5,
    asPath: [64600],
    med: 0,
    communities: [],
    localPref: null,
    nextHopIpv4: null,
    nextHopIpv6: null,
    ...changes,
  });
  const route = (address: string, changes: Partial<Route> = {}): Route => ({
    address,
    nextHop: null,
    asPath: [64600],
    med: 0,
    localPref: null,
    communities: [],
    ...changes,
  });

  it('dials, announces and withdraws an IPv4 route', async () => {
    const speaker = newSpeaker();
    await speaker.configure({ routerId: '198.18.179.11', listen: [], peers: [peer({})], families: [4, 6] });
    speaker.set('bird', [route('203.0.113.1', { med: 10 })]);
    const complain = () => JSON.stringify([records, speaker.status()]);
    await eventually('the route', async () => (await bird.routes('active4')).get('203.0.113.1/32') ?? null, complain);
    const seen = (await bird.routes('active4')).get('203.0.113.1/32');
    expect(seen?.attributes).to.include({
      'BGP.origin': 'IGP',
      'BGP.as_path': '64600',
      'BGP.next_hop': '198.18.179.11',
      'BGP.med': '10',
    });
    speaker.set('bird', []);
    await eventually('the withdrawal', async () => (await bird.routes('active4')).size === 0, complain);
    expect(await bird.state('active4')).to.equal('Established');
  });
});
