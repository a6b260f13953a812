// The BGP speaker: listeners, peers by name, and the interface that the rest of the daemon uses: `configure` and `set`,
// both with the whole wish, of which only the difference is done. Supported: RFC 1997, 2545, 2918, 4271, 4360, 4486, 4724,
// 4760, 5492, 6286, 6608, 6793, 7313, 7606, 7607, 8092, 8326, 8538, 8654, 8950, 9003, 9072, 9384, 9494 (NO_LLGR only),
// 9687. It installs nothing: received routes are checked, counted and dropped, unless `onRoutes` asks for them.

import type { PeerConfig } from '../config/types.ts';
import type { Route } from '../decision/decision.ts';
import type { PeerState } from '../decision/facts.ts';
import { printEndpoint } from '../lib/address.ts';
import { errorText } from '../lib/errors.ts';
import type { Endpoint, Listener, Stream } from '../world/world.ts';
import type { Drops } from './drops.ts';
import { type Keys, NO_KEYS, type PeerKeys } from './keys.ts';
import { ceaseWithText, type Notification, notification } from './notification.ts';
import { Peer, type PeerContext, type PeerStatus, type SpeakerWorld } from './peer.ts';
import { routerIdFrom } from './router-id.ts';
import type { RouteTable } from './table.ts';
import type { TcpKeys } from './tcp-keys.ts';

export interface SpeakerOptions {
  /** Called when a session comes up or goes down. */
  onPeerState(name: string, state: PeerState): void;
  /** Received routes of a peer after each change. Only given by router stand-ins; without it nothing is kept. */
  onRoutes?(peer: string, table: RouteTable): void;
  /** Somebody who followed our routes while we were away was served. Not given: no. */
  forwarded?(): boolean;
  /** What the kernel has dropped so far. Not given: nobody counts. */
  drops?(): Drops;
  /** What our OPEN says of this host and this program; not given: nothing. */
  readonly hostname?: string | null;
  readonly softwareVersion?: string | null;
}

export interface SpeakerConfig {
  /** null: the local IPv4 address of the first connection. */
  readonly routerId: string | null;
  readonly listen: readonly Endpoint[];
  readonly peers: readonly PeerConfig[];
  /** TCP-MD5 keys by peer name; not given: none. */
  readonly keys?: Keys;
  /** The same of TCP-AO. */
  readonly aoKeys?: PeerKeys['ao'];
}

/** How long stop() waits for withdrawals to leave, and then for connections to close. */
const STOP = { flushMs: 2_000, closeMs: 2_000, pollMs: 20 } as const;
/** No TTL, no keys. */
const UNTUNED = JSON.stringify([null, [], []]);
/** Something failed, and some of it may be done: whatever is wished next is a change. */
const HALF_TUNED = '';
/** One log line per this time about strangers at the door. */
const STRANGER_LOG_MS = 10_000;

export class Speaker {
  readonly #world: SpeakerWorld;
  readonly #options: SpeakerOptions;
  readonly #listeners = new Map<string, Listener>();
  readonly #tuned = new WeakMap<Listener, string>();
  #keys: Pick<PeerKeys, 'md5' | 'ao'> = NO_KEYS;
  readonly #peers = new Map<string, { readonly peer: Peer; readonly identity: string }>();
  /** Removed or restarted ones whose last words may still be on their way. */
  readonly #leaving = new Set<Peer>();
  #routerId: string | null = null;
  /** One after the other; never rejects. */
  #configuring: Promise<void> = Promise.resolve();
  #complete = false;
  #stopped = false;
  #strangers = { quietUntil: 0, count: 0 };

  constructor(world: SpeakerWorld, options: SpeakerOptions) {
    this.#world = world;
    this.#options = options;
  }

  /**
   * Make the speaker what `config` says. A peer for which nothing changed is not touched; a changed one is restarted
   * (Cease 6/6) and keeps its routes, a removed one is told so (6/3). A listener that cannot be opened is a warning.
   */
  configure(config: SpeakerConfig): Promise<void> {
    const done = this.#configuring.then(() => this.#configure(config));
    this.#configuring = done.catch(() => {});
    return done;
  }

  /** All routes that a peer should have. Remembered for every reconnect; unknown peers are ignored. */
  set(peer: string, routes: readonly Route[]): void {
    this.#peers.get(peer)?.peer.set(routes);
  }

  /** What was set is all that there will be for now. Peers that keep our routes over a restart wait for that. */
  complete(): void {
    if (this.#complete) return;
    this.#complete = true;
    for (const { peer } of this.#peers.values()) peer.complete();
  }

  /** BFD lost the path to this peer, or no longer watches it. */
  pathDown(peer: string, watched = true): void {
    this.#peers.get(peer)?.peer.pathDown(watched);
  }

  status(): readonly PeerStatus[] {
    return Array.from(this.#peers.values(), ({ peer }) => peer.status());
  }

  /**
   * Everything set has been handed to the kernel's socket, and nothing waits. Also true without a session: such a peer has
   * nothing of ours.
   */
  flushed(peer: string): boolean {
    return this.#peers.get(peer)?.peer.flushed ?? true;
  }

  /**
   * RFC 8326 §4: announce everything as about to leave, to the peers that want that, and wait as long as they were promised.
   * Nothing to wait for by default.
   */
  async leave(): Promise<void> {
    const seconds = Math.max(0, ...Array.from(this.#peers.values(), ({ peer }) => peer.leave()));
    if (seconds > 0) await this.#world.clock.sleep(seconds * 1000);
  }

  /** Withdraw everything, say goodbye (Cease 6/2), close. Takes four seconds at most. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#configuring;
    await this.#closeListeners(new Set());
    const peers = Array.from(this.#peers.values(), ({ peer }) => peer);
    for (const peer of peers) peer.set([]);
    await this.#until(STOP.flushMs, () => peers.every((peer) => peer.flushed));
    for (const peer of peers) this.#dismiss(peer, ceaseWithText('ceaseShutdown', ''));
    this.#peers.clear();
    await this.#until(STOP.closeMs, () => [...this.#leaving].every((peer) => peer.closed));
    for (const peer of this.#leaving) peer.reset();
    this.#leaving.clear();
  }

  async #configure(config: SpeakerConfig): Promise<void> {
    if (this.#stopped) return;
    for (const peer of this.#leaving) if (peer.closed) this.#leaving.delete(peer);
    if (config.routerId !== null) this.#routerId = config.routerId;
    this.#keys = { md5: config.keys ?? NO_KEYS.md5, ao: config.aoKeys ?? NO_KEYS.ao };
    this.#configurePeers(config);
    await this.#closeListeners(new Set(config.listen.map(endpointKey)));
    for (const at of config.listen) await this.#listen(at);
    this.#tuneListeners(config.peers);
  }

  #configurePeers(config: SpeakerConfig): void {
    const wanted = new Map(config.peers.map((peer) => [peer.name, peer]));
    for (const [name, { peer }] of this.#peers) {
      if (wanted.has(name)) continue;
      this.#peers.delete(name);
      this.#pybal(`Clearing session to ${name}`);
      this.#dismiss(peer, notification('ceaseDeconfigured'));
    }
    const context = this.#context();
    for (const [name, peerConfig] of wanted) {
      const identity = sessionIdentity(peerConfig, config);
      const present = this.#peers.get(name);
      if (present?.identity === identity) {
        present.peer.reconfigure(peerConfig);
        present.peer.setKeys(this.#keysOf(name));
        continue;
      }
      const peer = new Peer(context, peerConfig, this.#keysOf(name), present?.peer ?? null);
      const routes = present?.peer.routes ?? null;
      if (present !== undefined) this.#dismiss(present.peer, notification('ceaseConfigChange'));
      this.#peers.set(name, { peer, identity });
      if (routes !== null) peer.set(routes);
      this.#pybal(`Starting BGP session with peer ${peerConfig.address}`);
      peer.start();
    }
  }

  #keysOf(name: string): TcpKeys {
    return { md5: this.#keys.md5.get(name) ?? null, ao: this.#keys.ao.get(name) ?? null };
  }

  #dismiss(peer: Peer, reason: Notification): void {
    this.#leaving.add(peer);
    peer.stop(reason);
  }

  #context(): PeerContext {
    return {
      world: this.#world,
      hostname: this.#options.hostname ?? null,
      softwareVersion: this.#options.softwareVersion ?? null,
      drops: () => this.#options.drops?.() ?? new Map(),
      forwarded: () => this.#options.forwarded?.() ?? false,
      complete: () => this.#complete,
      routerId: (localAddress) => this.#routerIdFor(localAddress),
      onPeerState: (name, state) => this.#options.onPeerState(name, state),
      onRoutes: this.#options.onRoutes === undefined ? null : (name, table) => this.#options.onRoutes?.(name, table),
    };
  }

  /** Chosen once, and then kept for all peers: an identifier that changes would look like another speaker. */
  #routerIdFor(localAddress: string): string {
    this.#routerId ??= routerIdFrom(localAddress);
    return this.#routerId;
  }

  async #listen(at: Endpoint): Promise<void> {
    const key = endpointKey(at);
    if (this.#listeners.has(key)) return;
    try {
      this.#listeners.set(key, await this.#world.streams.listen(at, (stream) => this.#accept(stream)));
    } catch (thrown) {
      const text = `Cannot listen on ${key} (${errorText(thrown)}): peers there must wait for our calls`;
      this.#world.log({ level: 'warn', system: 'bgp', text });
    }
  }

  /** A caller's first packet is judged before there is a connection: its key and our TTL are the listener's. */
  #tuneListeners(peers: readonly PeerConfig[]): void {
    const ttl = peers.some(({ ttlSecurityHops }) => ttlSecurityHops !== null) ? 255 : null;
    const byAddress = <Key>(keys: ReadonlyMap<string, Key>) =>
      peers.flatMap(({ name, address }) => {
        const key = keys.get(name);
        return key === undefined ? [] : [[address, key] as const];
      });
    const md5 = byAddress(this.#keys.md5);
    const ao = byAddress(this.#keys.ao);
    const wish = JSON.stringify([ttl, md5, ao]);
    for (const [at, listener] of this.#listeners) {
      // Nothing to change: not even a question to the kernel.
      if ((this.#tuned.get(listener) ?? UNTUNED) === wish) continue;
      try {
        listener.tune?.({ ttl, md5Keys: new Map(md5), aoKeys: new Map(ao) });
        this.#tuned.set(listener, wish);
      } catch (error) {
        this.#tuned.set(listener, HALF_TUNED);
        const text = `${at} cannot check all callers as promised (${errorText(error)}): theirs are refused`;
        this.#world.log({ level: 'error', system: 'bgp', text });
      }
    }
  }

  async #closeListeners(keep: ReadonlySet<string>): Promise<void> {
    for (const [key, listener] of this.#listeners) {
      if (keep.has(key)) continue;
      this.#listeners.delete(key);
      await listener.close();
    }
  }

  #accept(stream: Stream): void {
    for (const { peer } of this.#peers.values()) {
      if (!peer.expects(stream)) continue;
      peer.accept(stream);
      return;
    }
    // Nobody's: not even worth an answer.
    stream.close('rst');
    this.#strangers.count++;
    const now = this.#world.clock.now();
    if (now < this.#strangers.quietUntil) return;
    const others = this.#strangers.count > 1 ? ` (and ${this.#strangers.count - 1} more)` : '';
    this.#strangers = { quietUntil: now + STRANGER_LOG_MS, count: 0 };
    this.#info(`Refused connection from ${stream.remote.address}, which is no peer${others}`);
  }

  /** Lines that PyBal's operators know. */
  #pybal(text: string): void {
    this.#world.log({ level: 'info', system: 'pybal', text });
  }

  #info(text: string): void {
    this.#world.log({ level: 'info', system: 'bgp', text });
  }

  async #until(limitMs: number, done: () => boolean): Promise<void> {
    const { clock } = this.#world;
    const end = clock.now() + limitMs;
    while (!done() && clock.now() < end) await clock.sleep(STOP.pollMs);
  }
}

function endpointKey({ address, port }: Endpoint): string {
  return printEndpoint(address, port);
}

/** What cannot change without a new session. */
function sessionIdentity(peer: PeerConfig, { routerId }: SpeakerConfig): string {
  // Everything but what reconfigure() takes over, and what is in the routes anyway.
  const { place, connectRetrySeconds, password, maximumPrefixes, gracefulShutdownSeconds, bfd, ...session } = peer;
  const { asPath, prepends, med, localPref, communities, largeCommunities, extendedCommunities, ...fixed } = session;
  const { linkBandwidth, nextHopIpv4, nextHopIpv6, tcpAoFile, dscp, ...timed } = fixed;
  const { connectTimeoutSeconds, keepaliveSeconds, sendHoldSeconds, gracefulRestartSeconds, ...identity } = timed;
  // Only with `restart` our OPEN says it.
  const restart = identity.gracefulRestart === 'restart' ? gracefulRestartSeconds : null;
  // A key can be changed in a session, but not given to one, nor taken away.
  return JSON.stringify([identity, restart, routerId, password === null, tcpAoFile === null]);
}
