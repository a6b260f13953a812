// A router of the simulated site: waits for directors to connect, keeps what they announce, and forwards each VIP to the
// director with the lowest MED. Passive, host routes, no policy: a witness, not a product.

import type { Stream } from '../../src/world/world.ts';
import { encodeNotification, encodeOpen, KEEPALIVE, type WireMessage, WireReader, type WireRoute } from './bgp-wire.ts';
import type { BfdChange } from '../../src/bfd/types.ts';
import type { Bfd, Clock, Mono, Wall } from '../../src/world/world.ts';
import { simBfd } from './bfd.ts';
import { Life } from './life.ts';
import type { Host } from './network.ts';
import type { Site } from './site.ts';
import { BGP_PORT, type RouterPlan } from './topology.ts';

interface Session {
  readonly stream: Stream;
  readonly peer: string;
  readonly reader: WireReader;
  readonly routes: Map<string, WireRoute>;
  is: 'waiting for OPEN' | 'waiting for KEEPALIVE' | 'established' | 'over';
  holdMs: number;
  cancelHold: () => void;
  cancelKeepalive: () => void;
}

export interface RouterEvents {
  /** The director that this router now sends a VIP's packets to, by its address; null: none. */
  forwards(router: Router, vip: string, to: string | null): void;
  /** BFD with this director failed. */
  lost?(router: Router, director: string): void;
}

interface Watched {
  readonly directors: readonly string[];
  readonly intervalMs: number;
}

export class Router {
  readonly plan: RouterPlan;
  readonly host: Host;
  readonly #site: Site;
  readonly #holdTimeSeconds: number;
  readonly #events: RouterEvents;
  readonly #sessions = new Map<string, Session>();
  readonly #fib = new Map<string, string>();
  #life: Life;
  #watched: Watched | null = null;
  #bfd: Bfd | null = null;
  #troubledAt = Number.NEGATIVE_INFINITY;

  constructor(site: Site, plan: RouterPlan, holdTimeSeconds: number, events: RouterEvents) {
    this.#site = site;
    this.plan = plan;
    this.#holdTimeSeconds = holdTimeSeconds;
    this.#events = events;
    this.host = site.network.host(plan.name, [plan.address]);
    this.#life = new Life(site.scheduler);
    this.#listen();
  }

  get running(): boolean {
    return this.#life.alive;
  }

  get stopped(): boolean {
    return this.#life.alive && !this.#life.running;
  }

  /** Where packets for this VIP go. */
  nextHop(vip: string): string | null {
    return this.#fib.get(vip) ?? null;
  }

  /** Has it been itself, without a break, since then? */
  wellSince(time: number): boolean {
    return this.running && !this.stopped && this.#troubledAt < time;
  }

  /**
   * Watch the paths to these directors with BFD, × 3. A path that is gone takes the session with it (RFC 9384), unless the
   * director only took BFD down by hand (RFC 5882 §3.2). Goes on after a restart.
   */
  watch(directors: readonly string[], intervalMs = 50): Bfd {
    this.#watched = { directors, intervalMs };
    this.#bfd = this.#beginToWatch(this.#watched);
    return this.#bfd;
  }

  /** Its BFD session with this director is up. */
  sees(director: string): boolean {
    return this.#bfd?.status().some(({ address, state }) => address === director && state === 'Up') ?? false;
  }

  #beginToWatch({ directors, intervalMs }: Watched): Bfd {
    const life = this.#life;
    const random = this.#site.random.fork(`bfd of ${this.plan.name}`);
    const { scheduler, udp } = this.#site;
    const clock: Clock = {
      now: () => scheduler.now as Mono,
      wall: () => scheduler.now as Wall,
      at: (delayMs, fn) => life.after(delayMs, fn),
      sleep: (ms) => new Promise((resolve) => void life.after(ms, () => resolve())),
    };
    const datagrams = udp.of(this.host, life);
    const bfd = simBfd({ life, clock, random: () => random.unit(), datagrams, log: () => {} });
    const common = { localAddress: this.plan.address, multihop: false, intervalMs, multiplier: 3, auth: null };
    const sessions = directors.map((address) => ({ name: address, address, ...common }));
    const changed = ({ name, was, remoteAdminDown }: BfdChange): void => {
      if (was !== 'Up' || remoteAdminDown) return;
      this.#site.tally.hit('BFD down', 'router');
      this.#events.lost?.(this, name);
      const session = this.#sessions.get(name);
      if (session !== undefined) this.#end(session, 6, 10);
    };
    bfd.configure({ sessions, wedgedMs: Number.POSITIVE_INFINITY }, changed);
    return bfd;
  }

  established(peer: string): boolean {
    return this.#sessions.get(peer)?.is === 'established';
  }

  routesOf(peer: string): ReadonlyMap<string, WireRoute> {
    return this.#sessions.get(peer)?.routes ?? new Map();
  }

  /** The BGP process dies; its sockets are closed by the kernel. */
  crash(): void {
    this.#troubledAt = this.#site.scheduler.now;
    const life = this.#life;
    life.kill();
    this.#site.network.processGone(this.host, life);
    for (const session of [...this.#sessions.values()]) this.#forget(session);
  }

  /** It gets no time: its sockets take what comes, and nobody reads it. */
  stop(): void {
    this.#troubledAt = Number.POSITIVE_INFINITY;
    this.#life.stop();
  }

  go(): void {
    this.#troubledAt = this.#site.scheduler.now;
    this.#life.go();
  }

  restart(): void {
    if (this.#life.alive) this.crash();
    this.#life = new Life(this.#site.scheduler);
    this.#listen();
    if (this.#watched !== null) this.#bfd = this.#beginToWatch(this.#watched);
  }

  /** As `clear bgp`: Cease, administrative reset (RFC 4486). */
  clear(): void {
    for (const session of [...this.#sessions.values()]) this.#end(session, 6, 4);
  }

  #listen(): void {
    this.#site.network.listen(this.host, this.#life, { address: '0.0.0.0', port: BGP_PORT }, (stream) =>
      this.#accept(stream),
    );
  }

  #accept(stream: Stream): void {
    const peer = stream.remote.address;
    const session: Session = {
      stream,
      peer,
      reader: new WireReader(),
      routes: new Map(),
      is: 'waiting for OPEN',
      holdMs: 0,
      cancelHold: () => {},
      cancelKeepalive: () => {},
    };
    const present = this.#sessions.get(peer);
    if (present !== undefined) {
      // RFC 4271 §6.8: an established session stays; otherwise the newer connection is as good.
      if (present.is === 'established') {
        stream.write(encodeNotification(6, 7));
        stream.close('fin');
        return;
      }
      this.#end(present, 6, 7);
    }
    this.#sessions.set(peer, session);
    session.cancelHold = this.#life.after(30_000, () => this.#end(session, 4, 0));
    stream.on({
      onData: (bytes) => {
        if (session.is === 'over') return;
        for (const message of session.reader.push(bytes)) this.#receive(session, message);
      },
      onEnd: () => {
        stream.close('fin');
        this.#forget(session);
      },
      onDrain: () => {},
      onClose: () => this.#forget(session),
    });
    stream.write(encodeOpen(this.plan.asn, this.#holdTimeSeconds, this.plan.address));
  }

  #receive(session: Session, message: WireMessage): void {
    switch (message.is) {
      case 'open':
        if (session.is !== 'waiting for OPEN') return this.#end(session, 5, 0);
        session.is = 'waiting for KEEPALIVE';
        session.holdMs = Math.min(this.#holdTimeSeconds, message.holdTimeSeconds) * 1000;
        session.stream.write(KEEPALIVE);
        this.#keepAlive(session);
        break;
      case 'keepalive':
        if (session.is === 'waiting for KEEPALIVE') session.is = 'established';
        break;
      case 'update':
        if (session.is !== 'established') return this.#end(session, 5, 0);
        for (const address of message.withdrawn) session.routes.delete(address);
        for (const [address, route] of message.announced) session.routes.set(address, route);
        this.#select([...message.withdrawn, ...message.announced.map(([address]) => address)]);
        break;
      case 'notification':
        session.stream.close('fin');
        return this.#forget(session);
      case 'other':
        break;
      default:
        message satisfies never;
    }
    this.#hold(session);
  }

  #hold(session: Session): void {
    session.cancelHold();
    if (session.holdMs === 0 || session.is === 'over') return;
    session.cancelHold = this.#life.after(session.holdMs, () => {
      this.#site.tally.hit('hold timer expired', 'router');
      this.#end(session, 4, 0);
    });
  }

  #keepAlive(session: Session): void {
    if (session.holdMs === 0 || session.is === 'over') return;
    session.cancelKeepalive = this.#life.after(session.holdMs / 3, () => {
      session.stream.write(KEEPALIVE);
      this.#keepAlive(session);
    });
  }

  #end(session: Session, code: number, subcode: number): void {
    if (session.is === 'over') return;
    session.stream.write(encodeNotification(code, subcode));
    session.stream.close('fin');
    this.#forget(session);
  }

  #forget(session: Session): void {
    if (session.is === 'over') return;
    session.is = 'over';
    session.cancelHold();
    session.cancelKeepalive();
    if (this.#sessions.get(session.peer) === session) this.#sessions.delete(session.peer);
    this.#select([...session.routes.keys()]);
  }

  /** RFC 4271 §9.1.2.2, as far as it goes here: lowest MED, then lowest peer address. */
  #select(addresses: readonly string[]): void {
    for (const vip of addresses) {
      let best: { readonly peer: string; readonly med: number } | null = null;
      for (const session of this.#sessions.values()) {
        const route = session.is === 'established' ? session.routes.get(vip) : undefined;
        if (route === undefined) continue;
        const med = route.med ?? 0;
        if (best === null || med < best.med || (med === best.med && session.peer < best.peer)) {
          best = { peer: session.peer, med };
        }
      }
      const to = best?.peer ?? null;
      if (to === this.nextHop(vip)) continue;
      if (to === null) this.#fib.delete(vip);
      else this.#fib.set(vip, to);
      this.#events.forwards(this, vip, to);
    }
  }
}
