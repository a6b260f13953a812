// 1,000 route changes for one peer and 100 changes to the settings of others, as seen by real routers: the peer for which
// nothing changed has heard nothing, and neither it nor the busy one has lost its session.

import { expect } from 'chai';
import { setTimeout } from 'node:timers/promises';
import type { PeerConfig } from '../../src/config/types.ts';
import type { Route } from '../../src/decision/decision.ts';
import { Bird } from '../support/bird.ts';
import { peerConfig, route } from '../support/bgp-net.ts';
import { Frr } from '../support/frr.ts';
import { openSocketOptions } from '../../src/world/real/socket-options.ts';
import { eventually, Namespace, requireTools } from '../support/namespace.ts';
import { type RealSpeaker, realSpeaker } from '../support/real-speaker.ts';

const ROUTE_CHANGES = 1_000;
const SETTING_CHANGES = 100;
/** Each change is on the wire before the next one. */
const APART_MS = 5;
const STEADY = 11;
const BUSY = 12;
const OTHERS = [13, 14, 15];
/** TCP-MD5, of the others' sessions. With another key for less than a retransmission nothing is lost. */
const KEY = 'sesame';
const OTHER_KEY = 'open';

/** One router that all of our peers are sessions with, told apart by our address. */
interface Router {
  /** Of the session with us at this address: all that it counts but keepalives and timers, or null before it is up. */
  view(host: number): Promise<unknown>;
  /** Prefix → MED, from the session with us at this address. */
  heard(host: number): Promise<ReadonlyMap<string, number>>;
  stop(): Promise<void>;
}

function birdAt(namespace: Namespace, net: string): Router {
  const hosts = [STEADY, BUSY, ...OTHERS];
  const bird = new Bird(
    namespace,
    `
log stderr { error, fatal, bug };
router id ${net}.1;
protocol device {}
template bgp ours { local ${net}.1 as 64500; passive on; hold time 9; error wait time 1, 1; ipv4 { import all; export none; }; }
${hosts.map((host) => `protocol bgp p${host} from ours { neighbor ${net}.${host} as 64600; ${OTHERS.includes(host) ? `password "${KEY}";` : ''} }`).join('\n')}
`,
  );
  return {
    async view(host) {
      const text = await bird.ask(`show protocols all p${host}`).catch(() => '');
      // What it might have sent to us, were there not `export none`, is its own affair.
      return text.includes('Established') ? text.replace(/^.*(timer:|Export (updates|withdraws):).*$/gm, '') : null;
    },
    async heard(host) {
      const routes = await bird.routes(`p${host}`);
      return new Map(Array.from(routes, ([prefix, { attributes }]) => [prefix, Number(attributes['BGP.med'])]));
    },
    stop: () => bird.stop(),
  };
}

function frrAt(namespace: Namespace, net: string): Router {
  const hosts = [STEADY, BUSY, ...OTHERS];
  const neighbor = (host: number) =>
    ['remote-as 64600', 'timers 3 9', 'passive', ...(OTHERS.includes(host) ? [`password ${KEY}`] : [])]
      .map((line) => ` neighbor ${net}.${host} ${line}`)
      .join('\n');
  const frr = Frr.bgpd(
    namespace,
    `router bgp 64500
 bgp router-id ${net}.1
 no bgp ebgp-requires-policy
${hosts.map(neighbor).join('\n')}
 address-family ipv4 unicast
${hosts.map((host) => `  neighbor ${net}.${host} soft-reconfiguration inbound`).join('\n')}
 exit-address-family
`,
  );
  return {
    async view(host) {
      const neighbor = await frr.neighbor(`${net}.${host}`);
      if (neighbor?.['bgpState'] !== 'Established') return null;
      const { messageStats, connectionsEstablished, connectionsDropped } = neighbor;
      const counts = Object.entries(messageStats as Record<string, number>);
      // What FRR sends to us is its own affair, and keepalives come and go.
      const received = counts.filter(([name]) => /Recv$/.test(name) && !/^(keepalives|total)/.test(name));
      return [received, connectionsEstablished, connectionsDropped];
    },
    async heard(host) {
      const answer = await frr.json(`show bgp ipv4 unicast neighbors ${net}.${host} received-routes`);
      const routes = (answer?.['receivedRoutes'] ?? {}) as Record<string, { readonly metric?: number }>;
      return new Map(Object.entries(routes).map(([prefix, { metric }]) => [prefix, Number(metric)]));
    },
    stop: () => frr.stop(),
  };
}

const routers = { BIRD: { net: '198.18.187', start: birdAt }, FRR: { net: '198.18.188', start: frrAt } } as const;

for (const [name, { net, start }] of Object.entries(routers)) {
  describe(`interop: ${name} through 1,000 route changes and 100 changes to the settings of other peers`, function () {
    this.timeout(60_000);
    let namespace: Namespace;
    let router: Router;
    let ours: RealSpeaker;

    before(async () => {
      requireTools({ '/usr/sbin/bird': 'bird2', '/usr/lib/frr/bgpd': 'frr', '/usr/sbin/ip': 'iproute2' });
      const addresses = [STEADY, BUSY, ...OTHERS].map((host) => `${net}.${host}/24`);
      namespace = await Namespace.create(`anybal-chg-${name[0]}`, addresses, [`${net}.1/24`]);
      router = start(namespace, net);
    });
    after(async () => {
      await ours?.speaker.stop();
      await router?.stop();
      await namespace?.destroy();
    });

    const keys = new Map(OTHERS.map((host) => [`p${host}`, KEY]));
    const peer = (host: number): PeerConfig =>
      peerConfig({
        name: `p${host}`,
        address: `${net}.1`,
        localAddress: `${net}.${host}`,
        connectRetrySeconds: 1,
        password: OTHERS.includes(host) ? { from: 'text', text: '(given)' } : null,
      });
    const configure = (peers: Iterable<PeerConfig>) =>
      ours.speaker.configure({ routerId: `${net}.200`, listen: [], peers: [...peers], keys: new Map(keys) });
    const ups = (host: number) => ours.states.filter((state) => state.startsWith(`p${host} `));

    /** One that needs a new session, the end of one, another one, or another key. Answers whose key is another one now. */
    function changeSetting(peers: Map<number, PeerConfig>, i: number): string | null {
      const host = OTHERS[i % OTHERS.length] ?? 0;
      const name = `p${host}`;
      const up = ours.states.filter((state) => state.startsWith(`${name} `)).at(-1) === `${name} up`;
      if (!peers.has(host)) peers.set(host, peer(host));
      else if (i % 7 === 0) peers.delete(host);
      else if (up && i % 10 !== 0) {
        keys.set(name, keys.get(name) === KEY ? OTHER_KEY : KEY);
        return name;
      } else {
        keys.set(name, KEY);
        peers.set(host, { ...peer(host), holdTimeSeconds: 30 + i });
      }
      return null;
    }

    it('resets no session of theirs, and says nothing to the one for which nothing changed', async () => {
      ours = realSpeaker({ sockets: openSocketOptions() });
      const peers = new Map([STEADY, BUSY, ...OTHERS].map((host) => [host, peer(host)]));
      await configure(peers.values());
      const steadyRoutes = () => [route('203.0.113.1', { med: 1 }), route('203.0.113.2', { med: 2 })];
      const busyRoutes = new Map<string, Route>();
      ours.speaker.set(`p${STEADY}`, steadyRoutes());
      ours.speaker.set(`p${BUSY}`, []);
      await eventually('the sessions', () => ours.speaker.status().every((each) => each.established), ours.story);
      await eventually('the routes', async () => (await router.heard(STEADY)).size === 2, ours.story);
      const before = await router.view(STEADY);
      expect(before).to.not.equal(null);
      const sent = () => ours.speaker.status().find((each) => each.name === `p${BUSY}`)?.counters.updatesOut ?? 0;
      const sentBefore = sent();
      let keyChanges = 0;

      for (let i = 0; i < ROUTE_CHANGES; i++) {
        if (i % (ROUTE_CHANGES / SETTING_CHANGES) === 0) {
          const rekeyed = changeSetting(peers, i / 10);
          const statesBefore = ours.states.length;
          // As after a reload: everything is made anew from the file.
          await configure(structuredClone([...peers.values()]));
          if (rekeyed !== null) {
            const changes = ours.states.slice(statesBefore).filter((state) => state.startsWith(`${rekeyed} `));
            expect(changes, `another key for ${rekeyed}`).to.deep.equal([]);
            keyChanges++;
          }
        }
        const address = `198.51.100.${(i * 7) % 100}`;
        if (busyRoutes.has(address) && i % 3 === 0) busyRoutes.delete(address);
        else busyRoutes.set(address, route(address, { med: i }));
        ours.speaker.set(`p${BUSY}`, [...busyRoutes.values()]);
        ours.speaker.set(`p${STEADY}`, steadyRoutes());
        await setTimeout(APART_MS);
      }

      const wanted = new Map(Array.from(busyRoutes.values(), ({ address, med }) => [`${address}/32`, med ?? 0]));
      const sorted = (routes: ReadonlyMap<string, number>) => JSON.stringify([...routes].sort());
      const converged = async () => sorted(await router.heard(BUSY)) === sorted(wanted);
      await eventually('every change', converged, async () => sorted(await router.heard(BUSY)));
      expect(sent() - sentBefore).to.equal(ROUTE_CHANGES);
      expect(await router.view(STEADY)).to.deep.equal(before);
      expect(ups(STEADY)).to.deep.equal([`p${STEADY} up`]);
      expect(ups(BUSY)).to.deep.equal([`p${BUSY} up`]);
      expect(keyChanges).to.be.above(5);
      // The others did go through it, or nothing is proven above.
      for (const host of OTHERS) expect(ups(host)).to.include(`p${host} down`);
    });
  });
}
