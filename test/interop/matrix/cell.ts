// One cell of the matrix: a speaker of ours, set up for one session of one router, and what that router says of it.

import { expect } from 'chai';
import type { BfdAuth, BfdStatus } from '../../../src/bfd/types.ts';
import type { PeerConfig } from '../../../src/config/types.ts';
import type { Route } from '../../../src/decision/decision.ts';
import { peerConfig } from '../../support/bgp-net.ts';
import { openSocketOptions } from '../../../src/world/real/socket-options.ts';
import { eventually, type Namespace, output } from '../../support/namespace.ts';
import { type RealSpeaker, realSpeaker, type RealSpeakerOptions } from '../../support/real-speaker.ts';
import type { Paths } from './paths.ts';
import {
  BFD_INTERVAL_MS,
  type Lane,
  NOTHING,
  ourEnd,
  type Router,
  type RouteView,
  type SessionView,
  theirEnd,
} from './router.ts';

/** Generous: many cells and five daemons share the machine. */
const PATIENCE_MS = 60_000;

export const HOSTNAME = 'lb1.example.net';
export const SOFTWARE = 'anybal/1.2.3';
const SOCKETS = openSocketOptions();
const speakerOf = (changes: RealSpeakerOptions): RealSpeaker =>
  realSpeaker({ sockets: SOCKETS, hostname: HOSTNAME, softwareVersion: SOFTWARE, ...changes });

export class Cell {
  readonly router: Router;
  readonly lane: Lane;
  readonly alone: Promise<void>;
  ours: RealSpeaker = speakerOf({});
  /** Our side is there. */
  readonly ready: Promise<void>;
  #readied = () => {};
  readonly #before: RealSpeaker[] = [];

  readonly #paths: Paths;
  readonly #namespace: Namespace;

  /** `alone`: the cells that are not the last ones are over. */
  constructor(router: Router, lane: Lane, paths: Paths, namespace: Namespace, alone: Promise<void>) {
    this.alone = alone;
    this.router = router;
    this.lane = lane;
    this.#paths = paths;
    this.#namespace = namespace;
    this.ready = new Promise((resolve) => {
      this.#readied = resolve;
    });
  }

  /** Another speaker of ours takes the place of the last one, which is dead. */
  renew(options: RealSpeakerOptions = {}): void {
    this.ours.die();
    this.#before.push(this.ours);
    this.ours = speakerOf(options);
  }

  /** Our side of the session. It listens when the router is to dial. `key`: for TCP-MD5. */
  async speak(changes: Partial<PeerConfig> = {}, key: string | null = null): Promise<void> {
    const zone = this.lane.linkLocal ? `%${this.#namespace.outer}` : '';
    const local = `${ourEnd(this.lane)}${zone}`;
    const peer = peerConfig({
      address: `${theirEnd(this.lane)}${zone}`,
      localAddress: local,
      localAs: this.lane.as,
      connectRetrySeconds: 2,
      passive: this.lane.dials,
      password: key === null ? null : { from: 'text', text: key },
      ...changes,
      name: 'router',
    });
    const listen = this.lane.dials ? [{ address: local, port: 179 }] : [];
    const keys = new Map(key === null ? [] : [['router', key]]);
    const routerId = this.lane.linkLocal ? this.lane.ours[4] : null;
    await this.ours.speaker.configure({ routerId, listen, peers: [peer], keys });
    this.#readied();
  }

  /** BFD, on which the session depends. */
  watch(auth: BfdAuth | null = null): void {
    const name = ourEnd(this.lane);
    const { multihop } = this.lane;
    const timing = { intervalMs: BFD_INTERVAL_MS, multiplier: 3 };
    const session = { name, address: theirEnd(this.lane), localAddress: name, multihop, auth, ...timing };
    this.#paths.watch(session, () => this.ours.speaker.pathDown('router'));
  }

  get bfd(): BfdStatus | null {
    return this.#paths.status(ourEnd(this.lane));
  }

  /** From now on the router hears no BFD from us. */
  silence(): Promise<void> {
    return this.filter('udp', 'dport', '{3784,4784}');
  }

  /** The router hears nothing from us that matches this. */
  async filter(...what: readonly string[]): Promise<void> {
    const match = [this.lane.transport === 4 ? 'ip' : 'ip6', 'saddr', ourEnd(this.lane), ...what];
    const nft = (...args: readonly string[]) => output('ip', 'netns', 'exec', this.#namespace.name, 'nft', ...args);
    await nft('add', 'table', 'inet', 'matrix');
    await nft('add', 'chain', 'inet', 'matrix', 'in', '{ type filter hook input priority 0; }');
    await nft('add', 'rule', 'inet', 'matrix', 'in', ...match, 'drop');
  }

  /** The router gets no time, with all of its sessions, or goes on. */
  freeze(): Promise<void> {
    return this.#namespace.signal('SIGSTOP');
  }
  thaw(): Promise<void> {
    return this.#namespace.signal('SIGCONT');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#before, this.ours].map(({ speaker }) => speaker.stop()));
  }

  announce(...routes: readonly Route[]): void {
    this.ours.speaker.set('router', routes);
  }

  /** What the router says of the session now. */
  async look(): Promise<SessionView> {
    return (await this.router.view()).get(ourEnd(this.lane)) ?? NOTHING;
  }

  /** Wait until the router's view of the session is as `look` wants it. */
  sees<T>(what: string, look: (session: SessionView) => T | null): Promise<T> {
    let last = NOTHING;
    const ask = async () => {
      last = await this.look();
      return look(last);
    };
    const story = () => `${this.router.name} saw ${print(last)}\n${this.ours.story()}`;
    return eventually(what, ask, story, PATIENCE_MS);
  }

  /** Wait for a route, and hold some of what the router says of it against what was meant. */
  async seesRoute(prefix: string, meant: Partial<RouteView>): Promise<void> {
    const seen = await this.sees(`${prefix} as meant`, ({ routes }) => {
      const route = routes.get(prefix);
      // An earlier state of the route may still be on show.
      return route !== undefined && same(pick(route, meant), meant) ? route : null;
    }).catch((error: unknown) => error as Error);
    if (!(seen instanceof Error)) return;
    const shown = (await this.look()).routes.get(prefix);
    if (shown !== undefined) expect(pick(shown, meant), `${this.router.name}: ${prefix}`).to.deep.equal(meant);
    throw seen;
  }

  /** Wait for something on our side. */
  says(what: string, look: () => boolean): Promise<boolean> {
    return eventually(what, () => (look() ? true : null), this.ours.story, PATIENCE_MS);
  }
}

function pick(route: RouteView, like: Partial<RouteView>): Partial<RouteView> {
  return Object.fromEntries(Object.entries(route).filter(([key]) => key in like));
}

const same = (a: unknown, b: unknown): boolean => {
  try {
    expect(a).to.deep.equal(b);
    return true;
  } catch {
    return false;
  }
};

function print(session: SessionView): string {
  return JSON.stringify({
    ...session,
    capabilities: [...session.capabilities],
    routes: Object.fromEntries(session.routes),
  });
}
