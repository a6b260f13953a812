// One cell of the matrix: a speaker of ours, set up for one session of one router, and what that router says of it.

import { expect } from 'chai';
import type { PeerConfig } from '../../../src/config/types.ts';
import type { Route } from '../../../src/decision/decision.ts';
import { peerConfig } from '../../support/bgp-net.ts';
import { eventually } from '../../support/namespace.ts';
import { type RealSpeaker, realSpeaker } from '../../support/real-speaker.ts';
import { type Lane, NOTHING, ourEnd, type Router, type RouteView, type SessionView, theirEnd } from './router.ts';

/** Generous: many cells and five daemons share the machine. */
const PATIENCE_MS = 60_000;

export class Cell {
  readonly router: Router;
  readonly lane: Lane;
  readonly ours: RealSpeaker = realSpeaker();
  /** Our side is there. */
  readonly ready: Promise<void>;
  #readied = () => {};

  constructor(router: Router, lane: Lane) {
    this.router = router;
    this.lane = lane;
    this.ready = new Promise((resolve) => {
      this.#readied = resolve;
    });
  }

  /** Our side of the session. It listens when the router is to dial. */
  async speak(changes: Partial<PeerConfig> = {}): Promise<void> {
    const local = ourEnd(this.lane);
    const peer = peerConfig({
      address: theirEnd(this.lane),
      localAddress: local,
      localAs: this.lane.as,
      connectRetrySeconds: 2,
      passive: this.lane.dials,
      ...changes,
      name: 'router',
    });
    const listen = this.lane.dials ? [{ address: local, port: 179 }] : [];
    await this.ours.speaker.configure({ routerId: null, listen, peers: [peer], families: [4, 6] });
    this.#readied();
  }

  announce(...routes: readonly Route[]): void {
    this.ours.speaker.set('router', routes);
  }

  /** Wait until the router's view of the session is as `look` wants it. */
  sees<T>(what: string, look: (session: SessionView) => T | null): Promise<T> {
    let last = NOTHING;
    const ask = async () => {
      last = (await this.router.view()).get(ourEnd(this.lane)) ?? NOTHING;
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
    const shown = (await this.router.view()).get(ourEnd(this.lane))?.routes.get(prefix);
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
