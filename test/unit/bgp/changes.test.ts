// What a day of reloads does to the wire: 1,000 route changes for one peer and 100 changes to the settings of others, while
// a third peer has nothing to hear.

import { expect } from 'chai';
import type { PeerConfig } from '../../../src/config/types.ts';
import type { Route } from '../../../src/decision/decision.ts';
import { BgpNet, type Node, peerConfig, route } from '../../support/bgp-net.ts';

const DIRECTOR = '192.0.2.9';
const STEADY = '192.0.2.1';
const BUSY = '192.0.2.2';
const OTHERS = ['192.0.2.3', '192.0.2.4', '192.0.2.5'];
const ROUTE_CHANGES = 1_000;
const SETTING_CHANGES = 100;
const NOTIFICATION = 3;
const UPDATE = 2;
const KEEPALIVE = 4;

/** One change to one of the others: the first six need a new session or end one, the others and another key need none. */
const HARD = 6;
const KEYED = { from: 'file', path: '/etc/pybal/bgp-password' } as const;
const SETTINGS: readonly ((peer: PeerConfig, i: number) => PeerConfig | null)[] = [
  (peer, i) => ({ ...peer, holdTimeSeconds: 30 + i }),
  (peer) => ({ ...peer, localAddress: peer.localAddress === null ? DIRECTOR : null }),
  () => null,
  (peer, i) => ({ ...peer, localAs: 64_600 + i }),
  (peer) => ({ ...peer, families: peer.families.length === 2 ? [4] : [4, 6] }),
  (peer, i) => ({ ...peer, gracefulRestart: 'restart', gracefulRestartSeconds: 1 + i }),
  (peer, i) => ({ ...peer, connectRetrySeconds: 1 + (i % 5), connectTimeoutSeconds: 1 + i, keepaliveSeconds: 1 + i }),
  (peer, i) => ({ ...peer, med: i, communities: [i], prepends: i % 3, maximumPrefixes: 1_000 + i }),
  (peer, i) => ({ ...peer, gracefulShutdownSeconds: i % 5, sendHoldSeconds: 480 + i, dscp: i % 64 }),
  // Its password is another one, which readKeys() finds in its file.
  (peer) => ({ ...peer }),
];

describe('bgp/speaker: 1,000 route changes and 100 changes to the settings of others', () => {
  const messages = new Map<string, number[]>();
  let net: BgpNet;
  let director: Node;
  let busy: Node;
  let steadyRoutes: () => readonly Route[];
  let busyRoutes: Map<string, Route>;
  let updatesPerChange: number[];
  const keys = new Map(OTHERS.map((address) => [address, 'first']));
  let keyChanges: { readonly key: string; readonly established: boolean }[];
  let softChanges: { readonly established: boolean; readonly told: number }[];

  before(async () => {
    net = new BgpNet(5);
    director = net.node('director', [DIRECTOR]);
    for (const [i, address] of [STEADY, BUSY, ...OTHERS].entries()) {
      const router = net.node(address, [address], true);
      if (address === BUSY) busy = router;
      const peer = peerConfig({ name: 'd1', address: DIRECTOR, localAs: 64_500 + i, passive: true });
      await router.configure({ peers: [peer] });
    }
    const peers = new Map([STEADY, BUSY, ...OTHERS].map((address) => [address, newPeer(address)]));
    await director.configure({ peers: [...peers.values()], keys });
    steadyRoutes = () => [route('203.0.113.1', { med: 5 }), route('203.0.113.2', { communities: [1] })];
    busyRoutes = new Map();
    director.speaker.set(STEADY, steadyRoutes());
    director.speaker.set(BUSY, []);
    await net.until(() => director.speaker.status().every(({ established }) => established), 10);
    await net.run(1);

    net.network.tap = (from, to, _end, bytes) => {
      const wire = `${from.name}>${to.name}`;
      messages.set(wire, [...(messages.get(wire) ?? []), ...typesOf(bytes)]);
    };
    updatesPerChange = [];
    softChanges = [];
    keyChanges = [];
    for (let i = 0; i < ROUTE_CHANGES; i++) {
      if (i % (ROUTE_CHANGES / SETTING_CHANGES) === 0) await changeSetting(peers, i / 10);
      changeRoute(i);
      director.speaker.set(STEADY, steadyRoutes());
      const before = count(`director>${BUSY}`, UPDATE);
      director.speaker.set(BUSY, [...busyRoutes.values()]);
      await net.run(0.5);
      updatesPerChange.push(count(`director>${BUSY}`, UPDATE) - before);
    }
    await net.run(30);
  });

  const newPeer = (address: string) => peerConfig({ address, password: OTHERS.includes(address) ? KEYED : null });

  async function changeSetting(peers: Map<string, PeerConfig>, i: number): Promise<void> {
    const address = OTHERS[i % OTHERS.length] ?? '';
    const present = peers.get(address);
    const change = SETTINGS[i % SETTINGS.length];
    const changed = present === undefined ? newPeer(address) : (change?.(present, i) ?? null);
    if (changed === null) peers.delete(address);
    else peers.set(address, changed);
    const established = director.speaker.status().some((each) => each.name === address && each.established);
    const told = count(`director>${address}`, NOTIFICATION);
    if (present !== undefined && i % SETTINGS.length === SETTINGS.length - 1) {
      const key = `key ${i}`;
      keys.set(address, key);
      keyChanges.push({ key: `${address} ${key}`, established });
    }
    // As after a reload: everything is made anew from the file.
    await director.configure({ peers: structuredClone([...peers.values()]), keys: new Map(keys) });
    if (present === undefined || i % SETTINGS.length < HARD) return;
    softChanges.push({ established, told: count(`director>${address}`, NOTIFICATION) - told });
  }

  /** Add one, take one away, or change one. */
  function changeRoute(i: number): void {
    const address = `198.51.100.${net.random.int(0, 99)}`;
    if (busyRoutes.has(address) && i % 2 === 0) busyRoutes.delete(address);
    else busyRoutes.set(address, route(address, { med: i }));
  }

  const count = (wire: string, type: number) => (messages.get(wire) ?? []).filter((each) => each === type).length;
  const kinds = (wire: string) => [...new Set(messages.get(wire))];

  it('says nothing but keepalives to the peer for which nothing changed, and hears nothing else', () => {
    expect(kinds(`director>${STEADY}`)).to.deep.equal([KEEPALIVE]);
    expect(kinds(`${STEADY}>director`)).to.deep.equal([KEEPALIVE]);
  });

  it('sends one UPDATE for each route that changed, to the peer that should have it', () => {
    expect(new Set(updatesPerChange)).to.deep.equal(new Set([1]));
    expect(kinds(`director>${BUSY}`)).to.have.members([UPDATE, KEEPALIVE]);
    const heard = new Map(Array.from(busy.tables.get('d1') ?? [], ([address, { med }]) => [address, med]));
    expect(heard).to.deep.equal(new Map(Array.from(busyRoutes, ([address, { med }]) => [address, med])));
  });

  it('resets no session but those whose settings changed', () => {
    const changes = (name: string) => director.states.filter((state) => state.startsWith(`${name} `));
    expect(changes(STEADY)).to.deep.equal([`${STEADY} up`]);
    expect(changes(BUSY)).to.deep.equal([`${BUSY} up`]);
    // Each change was one that a session can not survive, and the peer was told: or nothing is proven above.
    const told = OTHERS.map((address) => count(`director>${address}`, NOTIFICATION));
    expect(told.reduce((sum, each) => sum + each)).to.be.at.least(SETTING_CHANGES / 2);
    for (const address of OTHERS) expect(changes(address).length).to.be.above(20);
  });

  it('resets no session for a setting that needs no new one', () => {
    expect(softChanges.filter(({ established }) => established).length).to.be.above(10);
    expect(new Set(softChanges.map(({ told }) => told))).to.deep.equal(new Set([0]));
  });

  it('gives another password to the session that is up, and to nobody else', () => {
    const ofSessions = keyChanges.filter(({ established }) => established).map(({ key }) => key);
    expect(ofSessions.length).to.be.above(5);
    expect(director.keyed).to.include.members(ofSessions);
    expect(new Set(director.keyed.map((key) => key.split(' ')[0]))).to.deep.equal(new Set(OTHERS));
    expect(director.lines().filter((line) => line.includes('key '))).to.deep.equal([]);
  });
});

/** The type of each message in what was written at once. */
function typesOf(bytes: Uint8Array): number[] {
  const types: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 19 <= bytes.length; at += view.getUint16(at + 16)) types.push(view.getUint8(at + 18));
  return types;
}
