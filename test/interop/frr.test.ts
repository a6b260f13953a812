// Our speaker against FRR's bgpd: what `vtysh … json` says, compared with what was meant.

import { expect } from 'chai';
import { peerConfig, route } from '../support/bgp-net.ts';
import { Frr } from '../support/frr.ts';
import { eventually, Namespace, requireTools } from '../support/namespace.ts';
import { type RealSpeaker, realSpeaker } from '../support/real-speaker.ts';

const FRR4 = '198.18.180.1';
const FRR6 = 'fd00:180::1';
const US = (host: number) => `198.18.180.${host}`;
const US6 = (host: number) => `fd00:180::${host}`;

const neighbors: readonly [string, string][] = [
  [US(11), '64600'],
  [US(12), '64600'],
  [US(13), '64500'],
  [US6(14), '4200000001'],
  [US(15), '64999'],
];
const waiting = [US(11), US(13), US6(14), US(15)];

const config = `
hostname frr
router bgp 64500
 bgp router-id ${FRR4}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp disable-ebgp-connected-route-check
${neighbors.map(([address, as]) => ` neighbor ${address} remote-as ${as}\n neighbor ${address} timers 3 9\n neighbor ${address} timers connect 1`).join('\n')}
${waiting.map((address) => ` neighbor ${address} passive`).join('\n')}
 address-family ipv4 unicast
${neighbors.map(([address]) => `  neighbor ${address} activate\n  neighbor ${address} soft-reconfiguration inbound`).join('\n')}
 exit-address-family
 address-family ipv6 unicast
${neighbors.map(([address]) => `  neighbor ${address} activate\n  neighbor ${address} soft-reconfiguration inbound`).join('\n')}
 exit-address-family
`;

describe('interop: FRR', function () {
  this.timeout(40_000);
  let namespace: Namespace;
  let frr: Frr;
  const speakers: RealSpeaker[] = [];

  before(async () => {
    requireTools({ '/usr/lib/frr/bgpd': 'frr', '/usr/bin/vtysh': 'frr', '/usr/sbin/ip': 'iproute2' });
    const ours = [11, 12, 13, 14, 15].flatMap((host) => [`${US(host)}/24`, `${US6(host)}/64`]);
    namespace = await Namespace.create('anybal-frr', ours, [`${FRR4}/24`, `${FRR6}/64`]);
    frr = Frr.bgpd(namespace, config);
    await eventually('bgpd', async () => await frr.json('show bgp summary'));
  });
  afterEach(async () => {
    await Promise.all(speakers.splice(0).map(({ speaker }) => speaker.stop()));
  });
  after(async () => {
    await frr?.stop();
    await namespace?.destroy();
  });

  async function speak(local: string, changes: Partial<Parameters<typeof peerConfig>[0]> = {}): Promise<RealSpeaker> {
    const ours = realSpeaker();
    speakers.push(ours);
    const address = local.includes(':') ? FRR6 : FRR4;
    const peer = peerConfig({ address, localAddress: local, connectRetrySeconds: 2, ...changes, name: 'frr' });
    const listen = peer.passive ? [{ address: local, port: 179 }] : [];
    await ours.speaker.configure({ routerId: null, listen, peers: [peer] });
    return ours;
  }
  const has = (family: 'ipv4' | 'ipv6', prefix: string, ours: RealSpeaker) =>
    eventually(prefix, () => frr.path(family, prefix), ours.story);

  it('hears every attribute as it was meant, of both families, on a session that we open', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('frr', [
      route('203.0.113.1', { med: 100, communities: [(64600 << 16) | 7], asPath: [64600, 64700] }),
      route('2001:db8:1::1', { nextHop: US6(11), med: null }),
    ]);
    expect(await has('ipv4', '203.0.113.1/32', ours)).to.deep.equal({
      path: '64600 64700',
      origin: 'IGP',
      metric: 100,
      // NO_LLGR is ours: FRR offers long-lived graceful restart.
      communities: '64600:7 no-llgr',
      nextHops: [US(11)],
    });
    const six = await has('ipv6', '2001:db8:1::1/128', ours);
    expect(six).to.deep.include({ path: '64600', origin: 'IGP', communities: 'no-llgr', nextHops: [US6(11)] });
    ours.speaker.set('frr', []);
    await eventually('the withdrawal', async () => ((await frr.path('ipv4', '203.0.113.1/32')) === null ? true : null));
    expect(await frr.state(US(11))).to.equal('Established');
    const neighbor = await frr.neighbor(US(11));
    expect(neighbor).to.include({ bgpTimerHoldTimeMsecs: 9000 });
    expect(JSON.stringify(neighbor?.['neighborCapabilities'])).to.match(/4byteAs[\s\S]*advertisedAndReceived/);
    expect(JSON.stringify(neighbor?.['gracefulRestartInfo'])).to.include('endOfRibRecv');
  });

  it('hears us when it is FRR that dials', async () => {
    const ours = await speak(US(12), { passive: true });
    ours.speaker.set('frr', [route('203.0.113.12')]);
    expect((await has('ipv4', '203.0.113.12/32', ours)).nextHops).to.deep.equal([US(12)]);
  });

  it('hears LOCAL_PREF and an empty path within one AS', async () => {
    const ours = await speak(US(13), { localAs: 64500 });
    ours.speaker.set('frr', [route('203.0.113.13', { localPref: 250, asPath: [64500] })]);
    expect(await has('ipv4', '203.0.113.13/32', ours)).to.include({ locPrf: 250, path: 'Local' });
  });

  it('hears us over IPv6 from a four-octet AS', async () => {
    const ours = await speak(US6(14), { localAs: 4_200_000_001 });
    ours.speaker.set('frr', [route('2001:db8:1::14', { med: 5 })]);
    const six = await has('ipv6', '2001:db8:1::14/128', ours);
    expect(six).to.deep.include({ path: '4200000001', metric: 5, nextHops: [US6(14)] });
  });

  it('refuses a wrong AS, and we show why', async () => {
    const ours = await speak(US(15));
    await eventually('the refusal', () => (ours.story().includes('Bad Peer AS (2/2)') ? true : null), ours.story);
    expect(ours.states).to.deep.equal([]);
  });

  it('gets everything again after it has cleared the session, and when it asks for a refresh', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('frr', [route('203.0.113.1')]);
    await has('ipv4', '203.0.113.1/32', ours);
    await frr.command(`clear bgp ${US(11)}`);
    await eventually('down', () => (ours.states.includes('frr down') ? true : null), ours.story);
    expect(ours.story()).to.match(/Received notification: Cease: Administrative Reset \(6\/4\)/);
    await eventually('up again', () => (ours.states.length === 3 ? true : null), ours.story);
    await has('ipv4', '203.0.113.1/32', ours);
    const before = ours.speaker.status()[0]?.counters.updatesOut ?? 0;
    await frr.command(
      'configure terminal',
      'router bgp 64500',
      'address-family ipv4 unicast',
      `no neighbor ${US(11)} soft-reconfiguration inbound`,
    );
    await frr.command(`clear bgp ipv4 unicast ${US(11)} soft in`);
    await eventually(
      'the resend',
      () => ((ours.speaker.status()[0]?.counters.updatesOut ?? 0) > before ? true : null),
      ours.story,
    );
  });

  it("shows us the operator's text of a shutdown", async () => {
    const ours = await speak(US(11));
    await eventually('up', () => (ours.states.length === 1 ? true : null), ours.story);
    await frr.command('configure terminal', 'router bgp 64500', `neighbor ${US(11)} shutdown message new linecards`);
    await eventually('down', () => (ours.states.length === 2 ? true : null), ours.story);
    expect(ours.story()).to.include('Cease: Administrative Shutdown (6/2): "new linecards"');
    await frr.command('configure terminal', 'router bgp 64500', `no neighbor ${US(11)} shutdown`);
  });

  it('sees a clean stop as an administrative shutdown', async () => {
    const ours = await speak(US(11));
    await eventually('up', () => (ours.states.length === 1 ? true : null), ours.story);
    await ours.speaker.stop();
    await eventually(
      'the reason',
      async () => {
        const neighbor = await frr.neighbor(US(11));
        return String(neighbor?.['lastNotificationReason']).includes('Administrative Shutdown') ? true : null;
      },
      async () => JSON.stringify(await frr.neighbor(US(11))),
    );
  });
});
