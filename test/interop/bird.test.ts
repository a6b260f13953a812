// Our speaker against BIRD 2 over a veth pair: what BIRD says that it has, compared with what was meant.

import { expect } from 'chai';
import { fileURLToPath } from 'node:url';
import { Bird, type BirdRoute } from '../support/bird.ts';
import { peerConfig, route } from '../support/bgp-net.ts';
import { eventually, Namespace, output, requireTools } from '../support/namespace.ts';
import { type RealSpeaker, realSpeaker } from '../support/real-speaker.ts';

const BIRD4 = '198.18.179.1';
const BIRD6 = 'fd00:179::1';
const US = (host: number) => `198.18.179.${host}`;
const US6 = (host: number) => `fd00:179::${host}`;

const channels = `
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };`;

/** One protocol of BIRD's for each scenario, told apart by our address. */
const config = `
log stderr { warning, error, fatal, bug };
router id ${BIRD4};
protocol device {}
template bgp outside {
  local ${BIRD4} as 64500;
  hold time 9;
  error wait time 1, 2;
  connect delay time 1;
  connect retry time 1;
  allow local as 2;${channels}
}
protocol bgp waits from outside { neighbor ${US(11)} as 64600; passive on; }
protocol bgp dials from outside { neighbor ${US(12)} as 64600; }
protocol bgp within from outside { local ${BIRD4} as 64600; neighbor ${US(13)} as 64600; passive on; }
protocol bgp six { local ${BIRD6} as 64500; neighbor ${US6(14)} as 4200000001; passive on; hold time 9;${channels} }
protocol bgp old from outside { neighbor ${US(15)} as 64600; passive on; enable as4 off; }
protocol bgp wrong from outside { neighbor ${US(16)} as 64999; passive on; }
protocol bgp both from outside { neighbor ${US(17)} as 64600; }
protocol bgp plain { local ${BIRD4} as 64500; neighbor ${US(18)} as 64600; passive on; ipv4 { import all; export none; }; }
protocol bgp six_dials { local ${BIRD6} as 64500; neighbor ${US6(19)} as 64600; connect delay time 1; connect retry time 1;${channels} }
`;

describe('interop: BIRD', function () {
  this.timeout(40_000);
  let namespace: Namespace;
  let bird: Bird;
  const speakers: RealSpeaker[] = [];

  before(async () => {
    requireTools({ '/usr/sbin/bird': 'bird2', '/usr/sbin/birdc': 'bird2', '/usr/sbin/ip': 'iproute2' });
    const ours = [11, 12, 13, 14, 15, 16, 17, 18, 19].flatMap((host) => [`${US(host)}/24`, `${US6(host)}/64`]);
    const hurlers = Array.from({ length: 40 }, (_, i) => `${US(100 + i)}/24`);
    namespace = await Namespace.create('anybal-bird', ours, [`${BIRD4}/24`, `${BIRD6}/64`, ...hurlers]);
    bird = new Bird(namespace, config);
    await eventually('BIRD', async () => ((await bird.state('waits')) === '' ? null : true));
  });
  afterEach(async () => {
    await Promise.all(speakers.splice(0).map(({ speaker }) => speaker.stop()));
  });
  after(async () => {
    await bird?.stop();
    await namespace?.destroy();
  });

  /** A speaker at one of our addresses, configured for the protocol of BIRD's that expects it. */
  async function speak(local: string, changes: Partial<Parameters<typeof peerConfig>[0]> = {}): Promise<RealSpeaker> {
    const ours = realSpeaker();
    speakers.push(ours);
    const address = local.includes(':') ? BIRD6 : BIRD4;
    const peer = peerConfig({ name: 'bird', address, localAddress: local, connectRetrySeconds: 2, ...changes });
    const listen = peer.passive || changes.name === 'both' ? [{ address: local, port: 179 }] : [];
    await ours.speaker.configure({ routerId: null, listen, peers: [{ ...peer, name: 'bird' }] });
    return ours;
  }

  const has = (protocol: string, prefix: string, ours: RealSpeaker): Promise<BirdRoute> =>
    eventually(`${prefix} from ${protocol}`, async () => (await bird.routes(protocol)).get(prefix) ?? null, ours.story);
  const hasNone = (protocol: string, ours: RealSpeaker) =>
    eventually(
      `no route from ${protocol}`,
      async () => ((await bird.routes(protocol)).size === 0 ? true : null),
      ours.story,
    );
  const isUp = (protocol: string, ours: RealSpeaker) =>
    eventually(
      `${protocol} up`,
      async () => ((await bird.state(protocol)) === 'Established' ? true : null),
      ours.story,
    );

  it('hears every attribute as it was meant, of both families, on a session that we open', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('bird', [
      route('203.0.113.1', { med: 100, communities: [(64600 << 16) | 7, 0xffffff01], asPath: [64600, 64700] }),
      route('203.0.113.2', { med: null, nextHop: US(99) }),
      route('2001:db8:1::1', { nextHop: US6(11), med: 0 }),
      route('2001:db8:1::2'),
    ]);
    const first = await has('waits', '203.0.113.1/32', ours);
    expect(first.attributes).to.deep.equal({
      'BGP.origin': 'IGP',
      'BGP.as_path': '64600 64700',
      'BGP.next_hop': US(11),
      'BGP.med': '100',
      'BGP.local_pref': '100',
      // NO_LLGR is ours: BIRD offers long-lived graceful restart.
      'BGP.community': '(64600,7) (65535,7) (65535,65281)',
    });
    const second = await has('waits', '203.0.113.2/32', ours);
    expect(second.attributes).to.deep.equal({
      'BGP.origin': 'IGP',
      'BGP.as_path': '64600',
      'BGP.next_hop': US(99),
      'BGP.local_pref': '100',
      'BGP.community': '(65535,7)',
    });
    const third = await has('waits', '2001:db8:1::1/128', ours);
    expect(third.attributes).to.include({ 'BGP.as_path': '64600', 'BGP.next_hop': US6(11), 'BGP.med': '0' });
    // Without a next hop this one cannot go over IPv4; it was named in the log and took nothing with it.
    expect([...(await bird.routes('waits')).keys()]).to.have.members([
      '203.0.113.1/32',
      '203.0.113.2/32',
      '2001:db8:1::1/128',
    ]);
    expect(ours.log.map(({ text }) => text)).to.include(
      'Routes not announced: no IPv6 next hop is known on an IPv4 session',
    );
    const session = await bird.ask('show protocols all waits');
    expect(session).to.match(/Hold timer:\s+[\d.]+\/9/);
    expect(session.split('Neighbor capabilities')[1]).to.match(
      /Multiprotocol[\s\S]*ipv4 ipv6[\s\S]*Route refresh[\s\S]*4-octet AS/,
    );
  });

  it('follows changes, withdraws one by one, and keeps the session', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('bird', [route('203.0.113.1', { med: 1 }), route('203.0.113.2', { med: 1 })]);
    await has('waits', '203.0.113.2/32', ours);
    ours.speaker.set('bird', [route('203.0.113.1', { med: 2 })]);
    await eventually('the change', async () => {
      const routes = await bird.routes('waits');
      return routes.size === 1 && routes.get('203.0.113.1/32')?.attributes['BGP.med'] === '2' ? true : null;
    });
    ours.speaker.set('bird', []);
    await hasNone('waits', ours);
    expect(await bird.state('waits')).to.equal('Established');
    expect(ours.states).to.deep.equal(['bird up']);
  });

  it('hears us when it is BIRD that dials', async () => {
    const ours = await speak(US(12), { passive: true });
    ours.speaker.set('bird', [route('203.0.113.12')]);
    const { nextHop } = await has('dials', '203.0.113.12/32', ours);
    expect(nextHop).to.equal(US(12));
    expect(ours.speaker.status()[0]?.side).to.equal('passive');
  });

  it('hears LOCAL_PREF and a path without ourselves within one AS', async () => {
    const ours = await speak(US(13));
    ours.speaker.set('bird', [route('203.0.113.13', { localPref: 250, asPath: [64600] }), route('203.0.113.14')]);
    const first = await has('within', '203.0.113.13/32', ours);
    expect(first.attributes).to.include({ 'BGP.local_pref': '250', 'BGP.as_path': '' });
    expect((await has('within', '203.0.113.14/32', ours)).attributes).to.include({ 'BGP.local_pref': '100' });
  });

  it('hears both families over IPv6, from a four-octet AS', async () => {
    const ours = await speak(US6(14), { localAs: 4_200_000_001, peerAs: 64500 });
    ours.speaker.set('bird', [route('2001:db8:1::14', { med: 5 }), route('203.0.113.14', { nextHop: US(14) })]);
    const six = await has('six', '2001:db8:1::14/128', ours);
    expect(six.attributes).to.include({ 'BGP.as_path': '4200000001', 'BGP.next_hop': US6(14), 'BGP.med': '5' });
    expect((await has('six', '203.0.113.14/32', ours)).nextHop).to.equal(US(14));
  });

  it('hears us over IPv6 when it is BIRD that dials', async () => {
    const ours = await speak(US6(19), { passive: true });
    ours.speaker.set('bird', [route('2001:db8:1::19')]);
    expect((await has('six_dials', '2001:db8:1::19/128', ours)).nextHop).to.equal(US6(19));
  });

  it('hears AS_TRANS and AS4_PATH as a two-octet speaker', async () => {
    const ours = await speak(US(15));
    ours.speaker.set('bird', [route('203.0.113.15', { asPath: [64600, 4_200_000_002] })]);
    const { attributes } = await has('old', '203.0.113.15/32', ours);
    // BIRD puts the two together as RFC 6793 §4.2.3 wants even when it does not offer four octets itself.
    expect(attributes['BGP.as_path']).to.be.oneOf(['64600 4200000002', '64600 23456']);
    expect(await bird.ask('show protocols all old')).to.not.match(
      /Local capabilities[\s\S]*4-octet AS[\s\S]*Neighbor capabilities/,
    );
  });

  it('is not sent a family that it did not offer', async () => {
    const ours = await speak(US(18));
    ours.speaker.set('bird', [route('2001:db8:1::18', { nextHop: US6(18) }), route('203.0.113.18')]);
    await has('plain', '203.0.113.18/32', ours);
    expect(ours.speaker.status()[0]).to.deep.include({ families: [4], prefixesSent: 1, established: true });
    expect(ours.log.map(({ text }) => text)).to.include('The peer did not offer IPv6 unicast');
  });

  it('keeps one of two connections when both of us dial', async () => {
    const ours = await speak(US(17), { name: 'both' });
    ours.speaker.set('bird', [route('203.0.113.17')]);
    await has('both', '203.0.113.17/32', ours);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await bird.state('both')).to.equal('Established');
    expect(ours.speaker.status()[0]).to.include({ established: true });
    expect(ours.states.length, ours.story()).to.be.oneOf([1, 3]);
  });

  it('refuses a wrong AS, and we refuse one too; both say which', async () => {
    const theirs = await speak(US(16));
    await eventually('their refusal', () => (theirs.story().includes('Bad Peer AS (2/2)') ? true : null), theirs.story);
    expect(theirs.states).to.deep.equal([]);
    const ours = await speak(US(11), { peerAs: 64111 });
    await eventually('our refusal', async () => {
      const text = await bird.ask('show protocols all waits');
      return /Received: Bad peer AS|Bad peer AS/i.test(text) ? true : null;
    });
    expect(ours.story()).to.include('Sent notification: OPEN Message Error: Bad Peer AS (2/2)');
  });

  it('gets everything again after its own restart', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('bird', [route('203.0.113.1'), route('203.0.113.2', { med: 3 })]);
    await has('waits', '203.0.113.2/32', ours);
    await bird.restart();
    const again = await has('waits', '203.0.113.2/32', ours);
    expect(again.attributes).to.include({ 'BGP.med': '3' });
    expect((await bird.routes('waits')).size).to.equal(2);
    expect(ours.states).to.deep.equal(['bird up', 'bird down', 'bird up']);
  });

  it('gets everything again when it asks for a refresh, without a new session', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('bird', [route('203.0.113.1')]);
    await has('waits', '203.0.113.1/32', ours);
    const before = ours.speaker.status()[0]?.counters.updatesOut ?? 0;
    await bird.command('reload in waits');
    await eventually(
      'the resend',
      () => ((ours.speaker.status()[0]?.counters.updatesOut ?? 0) > before ? true : null),
      ours.story,
    );
    expect(ours.states).to.deep.equal(['bird up']);
  });

  it('sees a clean stop: routes withdrawn, then an administrative shutdown', async () => {
    const ours = await speak(US(11));
    ours.speaker.set('bird', [route('203.0.113.1')]);
    await has('waits', '203.0.113.1/32', ours);
    const start = Date.now();
    await ours.speaker.stop();
    expect(Date.now() - start).to.be.below(1000);
    await hasNone('waits', ours);
    expect(await bird.ask('show protocols all waits')).to.match(/Received: Administrative shutdown/i);
  });

  it('takes 3000 routes in full messages, and their withdrawal', async () => {
    const ours = await speak(US(11));
    const table = Array.from({ length: 3000 }, (_, i) => route(`100.64.${i >> 8}.${i & 255}`));
    ours.speaker.set('bird', table);
    const count = async () => /(\d+) of \d+ routes/.exec(await bird.ask('show route protocol waits count'))?.[1];
    await eventually('3000 routes', async () => ((await count()) === '3000' ? true : null), ours.story);
    // 809 prefixes fit beside these attributes, and End-of-RIB of both families comes after them.
    expect(ours.speaker.status()[0]?.counters.updatesOut).to.equal(4 + 2);
    ours.speaker.set('bird', []);
    await hasNone('waits', ours);
  });

  it('keeps its session while 40 neighbours throw noise, broken and truncated messages at our port', async () => {
    const ours = realSpeaker();
    speakers.push(ours);
    const hurlers = Array.from({ length: 40 }, (_, i) => US(100 + i));
    const victims = hurlers.map((address) =>
      peerConfig({ address, passive: true, localAs: 64600, localAddress: US(12) }),
    );
    await ours.speaker.configure({
      routerId: null,
      listen: [{ address: US(12), port: 179 }],
      peers: [peerConfig({ name: 'bird', address: BIRD4, localAddress: US(12), passive: true }), ...victims],
    });
    ours.speaker.set('bird', [route('203.0.113.12')]);
    await has('dials', '203.0.113.12/32', ours);
    const program = fileURLToPath(new URL('../support/hurl-bytes.js', import.meta.url));
    for (const seed of ['1', '2']) {
      const received = await output(
        'ip',
        'netns',
        'exec',
        namespace.name,
        process.execPath,
        program,
        US(12),
        '179',
        seed,
        ...hurlers,
      );
      expect(JSON.parse(received)).to.have.length(40);
    }
    const status = new Map(ours.speaker.status().map((one) => [one.name, one]));
    expect(status.get('bird')).to.include({ established: true, lastError: null });
    expect(ours.states.filter((state) => state.startsWith('bird'))).to.deep.equal(['bird up']);
    // Every kind of damage met the code that it was meant for.
    const errors = hurlers.map((address) => status.get(address)?.lastError ?? '');
    for (const kind of ['Not Synchronized (1/1)', 'Bad Message Length (1/2)', 'closed by the peer']) {
      expect(
        errors.some((error) => error.includes(kind)),
        `${kind} in ${errors.join('; ')}`,
      ).to.equal(true);
    }
    const lingering = () => ours.speaker.status().filter(({ name, established }) => name !== 'bird' && established);
    await eventually('their end', () => (lingering().length === 0 ? true : null), ours.story);
    expect((await bird.routes('dials')).size).to.equal(1);
  });
});
