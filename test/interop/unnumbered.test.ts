// An FRR that is told an interface instead of an address ("unnumbered"): it learns ours from a router advertisement, as any
// host may send it, and takes IPv4 routes with our link-local next hop (RFC 8950), also over a restart of ours (RFC 4724).

import { type ChildProcess, spawn } from 'node:child_process';
import { expect } from 'chai';
import { openSocketOptions } from '../../src/world/real/socket-options.ts';
import { Frr } from '../support/frr.ts';
import { eventually, kill, Namespace, requireTools } from '../support/namespace.ts';
import { peerConfig, route } from '../support/bgp-net.ts';
import { type RealSpeaker, realSpeaker } from '../support/real-speaker.ts';

const OURS = 'fe80::a';
const THEIRS = 'fe80::1';
const VIP = '203.0.113.1';

const config = `
hostname frr
router bgp 64500
 bgp router-id 198.18.189.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor wire interface remote-as external
 neighbor wire passive
 address-family ipv4 unicast
  neighbor wire activate
 exit-address-family
`;

/** RFC 4861 §4.2, from argv: interface and source. A lifetime of 0: nobody's default router. */
const ADVERTISE = `
import socket, struct, sys, time
interface = socket.if_nametoindex(sys.argv[1])
wire = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
for option, value in ((socket.IPV6_MULTICAST_HOPS, 255), (socket.IPV6_MULTICAST_IF, interface), (socket.IPV6_MULTICAST_LOOP, 0)):
    wire.setsockopt(socket.IPPROTO_IPV6, option, value)
wire.bind((sys.argv[2], 0, 0, interface))
while True:
    wire.sendto(struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 0, 0, 0), ('ff02::1', 0, 0, interface))
    time.sleep(0.5)
`;

describe('interop: FRR with an unnumbered neighbour', function () {
  this.timeout(60_000);
  let namespace: Namespace;
  let frr: Frr;
  let advertiser: ChildProcess;
  const speakers: RealSpeaker[] = [];

  before(async () => {
    requireTools({
      '/usr/lib/frr/bgpd': 'frr',
      '/usr/bin/vtysh': 'frr',
      '/usr/sbin/ip': 'iproute2',
      '/usr/bin/python3': 'python3',
    });
    namespace = await Namespace.create('anybal-unnum', [`${OURS}/64`], [`${THEIRS}/64`]);
    advertiser = spawn('/usr/bin/python3', ['-c', ADVERTISE, namespace.outer, OURS], { stdio: 'ignore' });
    frr = await Frr.suite(namespace, config, 'bgp neighbor-events', '');
  });
  after(async () => {
    await Promise.all(speakers.map(({ speaker }) => speaker.stop()));
    await frr?.stop();
    if (advertiser !== undefined) await kill(advertiser);
    await namespace?.destroy();
  });

  async function speak(): Promise<RealSpeaker> {
    const ours = realSpeaker({ sockets: openSocketOptions(), forwarded: () => true });
    speakers.push(ours);
    const zone = `%${namespace.outer}`;
    const ends = { address: `${THEIRS}${zone}`, localAddress: `${OURS}${zone}` };
    const restart = { gracefulRestart: 'restart', gracefulRestartSeconds: 30 } as const;
    const peer = peerConfig({ name: 'frr', ...ends, ...restart, connectRetrySeconds: 1, families: [4] });
    await ours.speaker.configure({ routerId: '198.18.189.10', listen: [], peers: [peer] });
    ours.speaker.set('frr', [route(VIP)]);
    ours.speaker.complete();
    return ours;
  }

  interface Path {
    readonly stale?: boolean;
    readonly nexthops: readonly { readonly ip: string }[];
  }
  const path = async (): Promise<Path | null> => {
    const answer = await frr.json(`show bgp ipv4 unicast ${VIP}/32`);
    return (answer?.['paths'] as readonly Path[] | undefined)?.[0] ?? null;
  };

  it('takes our routes with our link-local address as next hop, and keeps them while we restart', async () => {
    const first = await speak();
    const seen = await eventually('the route', path, first.story, 30_000);
    expect(seen.nexthops.map(({ ip }) => ip)).to.include(OURS);
    first.die();
    await eventually('a stale route', async () => ((await path())?.stale === true ? true : null), first.story);
    const second = await speak();
    const fresh = async () => {
      const now = await path();
      // It was never without it.
      expect(now).to.not.equal(null);
      return now?.stale === true ? null : true;
    };
    await eventually('a fresh route', fresh, second.story, 30_000);
    expect(second.states).to.deep.equal(['frr up']);
  });
});
