// The routes that each director has told each router, read from the bytes that it wrote: the law of announcing is judged at
// what was sent, whatever arrives and whatever the router makes of it.

import { type WireMessage, WireReader, type WireRoute } from './bgp-wire.ts';
import type { Host } from './network.ts';
import type { End } from './tcp.ts';

export interface SentSession {
  readonly director: string;
  readonly router: string;
  readonly end: End;
  readonly reader: WireReader;
  readonly routes: Map<string, WireRoute>;
}

export class SentRoutes {
  readonly #directors: ReadonlySet<string>;
  readonly #routers: ReadonlySet<string>;
  readonly #sent: (session: SentSession, message: WireMessage) => void;
  #sessions: SentSession[] = [];

  /** `sent` is called with each message before it changes the session's routes. */
  constructor(
    directors: ReadonlySet<string>,
    routers: ReadonlySet<string>,
    sent: (session: SentSession, message: WireMessage) => void,
  ) {
    this.#directors = directors;
    this.#routers = routers;
    this.#sent = sent;
  }

  /** For Network.tap. */
  tap(from: Host, to: Host, end: End, bytes: Uint8Array): void {
    if (!this.#directors.has(from.name) || !this.#routers.has(to.name)) return;
    let session = this.#sessions.find((candidate) => candidate.end === end);
    if (session === undefined) {
      session = { director: from.name, router: to.name, end, reader: new WireReader(), routes: new Map() };
      this.#sessions = [...this.#sessions.filter((other) => other.end.held), session];
    }
    for (const message of session.reader.push(bytes)) {
      this.#sent(session, message);
      if (message.is !== 'update') continue;
      for (const address of message.withdrawn) session.routes.delete(address);
      for (const [address, route] of message.announced) session.routes.set(address, route);
    }
  }

  /** Sessions of this director that it has not closed. */
  sessions(director: string): readonly SentSession[] {
    return this.#sessions.filter((session) => session.director === director && session.end.held);
  }

  announces(director: string, vip: string): boolean {
    return this.sessions(director).some(({ routes }) => routes.has(vip));
  }
}
