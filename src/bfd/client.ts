// The daemon's side of BFD: gives the signs of life, says which sessions are wanted, logs what becomes of them, and tells BGP
// when a path is gone. The sessions themselves run elsewhere (Bfd in world.ts).

import type { PeerConfig } from '../config/types.ts';
import type { Log } from '../log/record.ts';
import type { Bfd, Clock } from '../world/world.ts';
import { type BfdChange, type BfdSessionConfig, type BfdStatus, HEARTBEAT_MS } from './types.ts';

export interface ClientWorld {
  readonly clock: Clock;
  readonly bfd: Bfd;
  readonly log: Log;
}

export class BfdClient {
  readonly #world: ClientWorld;
  readonly #onDown: (peer: string, watched: boolean) => void;
  #beat: (() => void) | null = null;

  /**
   * `onDown`: the path to this peer is gone, and what BGP learned of it must go too (RFC 5882 §4.2). `watched` is false when its
   * administrator took BFD down: nobody watches the path any more, which says nothing about it (§3.2).
   * deliberate: no BGP session waits for BFD to come up (§4.1 would have it where both sides want BFD): of a router that
   * wants it no longer we hear nothing, and it would be lost.
   */
  constructor(world: ClientWorld, onDown: (peer: string, watched: boolean) => void) {
    this.#world = world;
    this.#onDown = onDown;
  }

  /** `keys`: of peers whose packets are signed, by their names. */
  configure(peers: readonly PeerConfig[], wedgedSeconds: number, keys: ReadonlyMap<string, string>): void {
    const sessions = peers.flatMap((peer) => sessionOf(peer, keys.get(peer.name) ?? null) ?? []);
    this.#world.bfd.configure({ sessions, wedgedMs: wedgedSeconds * 1000 }, (change) => this.#changed(change));
    if (this.#beat === null) this.#live();
  }

  status(): readonly BfdStatus[] {
    return this.#world.bfd.status();
  }

  /** After BGP has withdrawn everything and closed: a session that goes down first would take the routes the hard way. */
  async stop(): Promise<void> {
    await this.#world.bfd.stop();
    this.#beat?.();
    this.#beat = null;
  }

  #live(): void {
    this.#world.bfd.alive();
    this.#beat = this.#world.clock.at(HEARTBEAT_MS, () => this.#live());
  }

  #changed({ name, state, was, diagnostic, remoteDiagnostic, remoteAdminDown }: BfdChange): void {
    const say = (level: 'info' | 'warn', text: string, event: string): void =>
      this.#world.log({ level, system: 'bfd', text, data: { event, peer: name, diagnostic, remoteDiagnostic } });
    if (state === 'Up') return say('info', `BFD session with peer ${name} is up`, 'bfd-up');
    if (was !== 'Up') return;
    if (remoteAdminDown) {
      say('info', `BFD session with peer ${name} was taken down by its administrator`, 'bfd-admin-down');
      return this.#onDown(name, false);
    }
    say(
      'warn',
      `BFD session with peer ${name} is down: ${diagnostic} (the peer says: ${remoteDiagnostic})`,
      'bfd-down',
    );
    this.#onDown(name, true);
  }
}

/** null: no session is wanted, or none is possible because its key is not known. */
function sessionOf({ name, address, localAddress, bfd }: PeerConfig, key: string | null): BfdSessionConfig | null {
  if (bfd === null || (bfd.auth !== null && key === null)) return null;
  const auth = bfd.auth === null || key === null ? null : { ...bfd.auth, key };
  return { name, address, localAddress, ...bfd, auth };
}
