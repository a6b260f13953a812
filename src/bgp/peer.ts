// One configured peer: a session that dials and one that waits for the peer's call, which of them survives (RFC 4271
// §6.8), when to try again, and the routes that the peer should have, replayed whenever a session comes up. speaker.ts
// owns it.

import type { PeerConfig } from '../config/types.ts';
import type { Route } from '../decision/decision.ts';
import type { PeerState } from '../decision/facts.ts';
import { type Family, printEndpoint } from '../lib/address.ts';
import type { Log, LogLevel } from '../log/record.ts';
import type { Mono, Stream } from '../world/world.ts';
import { describeCause, isProtocolError } from './cause.ts';
import { survivor } from './collision.ts';
import type { Cause, State, StateName } from './fsm.ts';
import { encodeMessage } from './message.ts';
import { type Notification, notification } from './notification.ts';
import type { Negotiated } from './open.ts';
import { type Counters, Session, type SessionWorld } from './session.ts';
import { learnRoutes, type ReceivedRoute, type RouteTable } from './table.ts';
import type { ReceivedUpdate } from './update.ts';

export interface SpeakerWorld extends SessionWorld {
  readonly log: Log;
}

/** What all peers have in common. */
export interface PeerContext {
  readonly world: SpeakerWorld;
  readonly families: readonly Family[];
  /** Ours, for a connection from this local address. */
  routerId(localAddress: string): string;
  onPeerState(name: string, state: PeerState): void;
  /** Asked for by stand-ins only: makes the peer keep what it receives. */
  readonly onRoutes: ((peer: string, table: RouteTable) => void) | null;
}

export type Side = 'active' | 'passive';

export interface PeerStatus {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly localAddress: string | null;
  readonly localAs: number;
  readonly localId: string | null;
  readonly remoteAs: number | null;
  readonly remoteId: string | null;
  readonly state: StateName;
  /** Of the connection that `state` speaks of. */
  readonly side: Side;
  readonly established: boolean;
  readonly since: Mono;
  /** Negotiated; null before. */
  readonly holdTimeSeconds: number | null;
  readonly families: readonly Family[];
  readonly prefixesSent: number;
  readonly counters: Readonly<Counters>;
  /** The last error or NOTIFICATION, for people. */
  readonly lastError: string | null;
}

/** ConnectRetryTime (RFC 4271 §8): how long one attempt may take; with TCP-MD5 or a dropped SYN nobody says no. */
const CONNECT_RETRY_SECONDS = 5;
/** IdleHoldTime (RFC 4271 §8.1.1) after the first loss; it doubles up to the configured pause. */
const FIRST_PAUSE_SECONDS = 1.5;
/** After protocol errors, which do not heal by trying; while it lasts the peer's calls are refused too. */
const DAMPING = { first: 10, last: 120, forgottenAfterMs: 300_000 } as const;

const RANK: Readonly<Record<StateName, number>> = {
  Idle: 0,
  Active: 1,
  Connect: 2,
  OpenSent: 3,
  OpenConfirm: 4,
  Established: 5,
};

export class Peer {
  readonly #context: PeerContext;
  #config: PeerConfig;
  readonly #counters: Counters = {
    messagesIn: 0,
    messagesOut: 0,
    updatesIn: 0,
    updatesOut: 0,
    prefixesIn: 0,
    updatesForgiven: 0,
    established: 0,
  };
  readonly #sessions: Readonly<Record<Side, Session>>;
  #routes: readonly Route[] | null = null;
  /** Which session is up, and since when it is, or none is. */
  #upSide: Side | null = null;
  #since: Mono;
  #stopped = false;
  #retry: (() => void) | null = null;
  #failures = 0;
  #protocolErrors = 0;
  #damped = false;
  #lastError: string | null = null;
  /** Said once for each session. */
  readonly #refused = new Set<string>();
  #malformedSeen = false;
  readonly #table = new Map<string, ReceivedRoute>();
  #tableChanged = false;

  constructor(context: PeerContext, config: PeerConfig) {
    this.#context = context;
    this.#config = config;
    this.#since = context.world.clock.now();
    this.#sessions = { active: this.#newSession('active'), passive: this.#newSession('passive') };
  }

  get name(): string {
    return this.#config.name;
  }
  /** null: nobody has said yet what this peer should have. */
  get routes(): readonly Route[] | null {
    return this.#routes;
  }
  get flushed(): boolean {
    return this.#all.every((session) => session.flushed);
  }
  get closed(): boolean {
    return this.#all.every((session) => session.closed);
  }
  get #all(): readonly Session[] {
    return [this.#sessions.active, this.#sessions.passive];
  }
  get #established(): boolean {
    return this.#all.some(({ state }) => state.is === 'Established');
  }

  /** Take over what a running session does not depend on. */
  reconfigure(config: PeerConfig): void {
    this.#config = config;
  }

  start(): void {
    this.#sessions.passive.start();
    if (!this.#config.passive) this.#sessions.active.start();
  }

  /** Does a connection between these two addresses belong to this peer? */
  expects(stream: Stream): boolean {
    const { address, localAddress } = this.#config;
    return stream.remote.address === address && (localAddress === null || stream.local.address === localAddress);
  }

  /** The peer's own connection. */
  accept(stream: Stream): void {
    const { passive } = this.#sessions;
    if (this.#stopped || this.#damped) return refuse(stream, notification('ceaseRejected'));
    // RFC 4271 §6.8: what is established stays; so does what is about to be.
    if (this.#established || passive.state.is === 'OpenConfirm') return refuse(stream, notification('ceaseCollision'));
    // The peer calls again before it has said who it is: it has forgotten the first call, and so do we.
    if (passive.state.is === 'OpenSent') passive.dump();
    passive.accept(stream);
  }

  /** The routes that this peer should have, all of them. */
  set(routes: readonly Route[]): void {
    this.#routes = routes;
    for (const session of this.#all) session.want(routes);
  }

  /** RFC 9384 §3: BFD says that the path is gone; the session goes with it, and is tried again as after any loss. */
  pathDown(): void {
    const reason = notification('ceaseBfdDown');
    for (const session of this.#all) if (session.state.is === 'Established') session.stop(reason);
    this.#lastError ??= describeCause({ is: 'stopped', notification: reason });
  }

  /** For good. The peer is told why. */
  stop(reason: Notification): void {
    this.#stopped = true;
    this.#cancelRetry();
    for (const session of this.#all) session.stop(reason);
  }

  /** Give up on what stop() left behind. */
  reset(): void {
    for (const session of this.#all) session.reset();
  }

  status(): PeerStatus {
    const side = this.#leadingSide();
    const session = this.#sessions[side];
    const { state, local, stream } = session;
    const agreed = 'agreed' in state ? state.agreed : null;
    return {
      name: this.#config.name,
      address: this.#config.address,
      port: this.#config.port,
      localAddress: stream?.local.address ?? this.#config.localAddress,
      localAs: this.#config.localAs,
      localId: local?.routerId ?? null,
      remoteAs: agreed?.peerAs ?? this.#config.peerAs,
      remoteId: agreed?.peerId ?? null,
      state: state.is,
      side,
      established: state.is === 'Established',
      since: this.#since,
      holdTimeSeconds: agreed?.holdTimeSeconds ?? null,
      families: agreed?.families ?? [],
      prefixesSent: session.prefixesSent,
      counters: { ...this.#counters },
      lastError: this.#lastError,
    };
  }

  #leadingSide(): Side {
    if (this.#config.passive) return 'passive';
    const { active, passive } = this.#sessions;
    return RANK[passive.state.is] >= RANK.OpenSent && RANK[passive.state.is] > RANK[active.state.is]
      ? 'passive'
      : 'active';
  }

  #newSession(side: Side): Session {
    const { world, families } = this.#context;
    const { address, port, localAddress, localAs, peerAs, holdTimeSeconds } = this.#config;
    return new Session(
      world,
      {
        passive: side === 'passive',
        connectRetrySeconds: CONNECT_RETRY_SECONDS,
        connect: { address, port, ...(localAddress === null ? {} : { localAddress }) },
      },
      {
        localOpen: (local) => ({
          as: localAs,
          routerId: this.#context.routerId(local),
          holdTimeSeconds,
          families,
          peerAs,
        }),
        losesCollision: (agreed) => this.#losesCollision(side, agreed),
        stateChanged: (from, to) => this.#stateChanged(side, from, to),
        up: (agreed) => this.#up(side, agreed),
        down: (cause) => this.#ended(side, cause),
        received: (update) => this.#received(update),
        receivedAll: () => this.#tellTable(),
        refused: (reasons) => this.#logRefused(reasons),
      },
      this.#counters,
    );
  }

  #losesCollision(side: Side, agreed: Negotiated): boolean {
    const other = this.#sessions[side === 'active' ? 'passive' : 'active'];
    // An established one has no rival: nobody is let in, and the other session was given up when it came up.
    if (other.state.is !== 'OpenConfirm') return false;
    const routerId = other.local?.routerId ?? '0.0.0.0';
    const kept = survivor({ routerId, as: this.#config.localAs }, { routerId: agreed.peerId, as: agreed.peerAs });
    if ((kept === 'outgoing') !== (side === 'active')) return true;
    other.dump();
    return false;
  }

  #stateChanged(side: Side, from: State, to: State): void {
    // What repeats every few seconds while a peer is away, and the listening side's waiting, is for debugging only.
    const matters = from.is === 'Established' || to.is === 'Established';
    const waits = side === 'passive' && RANK[to.is] < RANK.OpenSent;
    const level = !matters && (waits || this.#failures > 0) ? 'debug' : 'info';
    this.#log(level, `State is now: ${to.is.toUpperCase()}`, side);
  }

  #up(side: Side, agreed: Negotiated): void {
    this.#cancelRetry();
    this.#failures = 0;
    this.#lastError = null;
    this.#upSide = side;
    this.#since = this.#context.world.clock.now();
    this.#malformedSeen = false;
    this.#logFactory(`BGP session established for ASN ${this.#config.localAs} peer ${this.#config.address}`, {
      event: 'bgp-up',
      remoteAs: agreed.peerAs,
      holdTimeSeconds: agreed.holdTimeSeconds,
    });
    for (const family of this.#context.families) {
      if (!agreed.families.includes(family)) this.#log('warn', `The peer did not offer IPv${family} unicast`, side);
    }
    this.#sessions[side === 'active' ? 'passive' : 'active'].dump();
    this.#context.onPeerState(this.name, { established: true, since: this.#since });
    if (this.#routes !== null) this.#sessions[side].want(this.#routes);
  }

  /** A connection ended. The machine is in Idle, or in Active if there was no OPEN yet. */
  #ended(side: Side, cause: Cause): void {
    const upForMs = this.#upSide === side ? this.#context.world.clock.now() - this.#since : null;
    if (upForMs !== null) this.#gone(cause);
    if (cause.is !== 'stopped') {
      const text = describeCause(cause);
      if (text !== this.#lastError) this.#log('warn', text, side);
      this.#lastError = text;
      this.#failures++;
      if (isProtocolError(cause)) this.#damp(upForMs);
    }
    if (this.#stopped) return;
    if (side === 'passive' && !this.#damped) this.#sessions.passive.start();
    this.#scheduleRetry();
  }

  #gone(cause: Cause): void {
    this.#upSide = null;
    this.#since = this.#context.world.clock.now();
    this.#refused.clear();
    const why = describeCause(cause);
    this.#logFactory(`BGP session gone for ASN ${this.#config.localAs} peer ${this.#config.address}`, {
      event: 'bgp-down',
      cause: why,
    });
    if (this.#table.size > 0) {
      this.#table.clear();
      this.#tableChanged = true;
      this.#tellTable();
    }
    this.#context.onPeerState(this.name, { established: false, since: this.#since });
  }

  #damp(upForMs: number | null): void {
    if (upForMs !== null && upForMs > DAMPING.forgottenAfterMs) this.#protocolErrors = 0;
    this.#protocolErrors++;
    // An attempt that was due earlier has to wait as well.
    this.#cancelRetry();
    this.#damped = true;
  }

  #scheduleRetry(): void {
    const idle = this.#sessions.active.state.is === 'Idle' && !this.#config.passive;
    if (this.#established || this.#retry !== null || !(idle || this.#damped)) return;
    const seconds = this.#damped
      ? Math.min(DAMPING.last, DAMPING.first * 2 ** (this.#protocolErrors - 1))
      : Math.min(this.#config.connectRetrySeconds, FIRST_PAUSE_SECONDS * 2 ** Math.max(0, this.#failures - 1));
    const { world } = this.#context;
    this.#retry = world.clock.at(seconds * (0.75 + 0.25 * world.random()) * 1000, () => {
      this.#retry = null;
      this.#damped = false;
      this.start();
    });
  }

  #cancelRetry(): void {
    this.#retry?.();
    this.#retry = null;
    this.#damped = false;
  }

  #received(update: ReceivedUpdate): void {
    const [problem] = update.problems;
    if (problem !== undefined && !this.#malformedSeen) {
      this.#malformedSeen = true;
      const text = `Malformed UPDATE (${problem.treatment}), further ones are only counted: ${problem.text}`;
      this.#log('warn', text, this.#leadingSide());
    }
    if (this.#context.onRoutes === null) return;
    this.#tableChanged = learnRoutes(this.#table, this.name, update) || this.#tableChanged;
  }

  #tellTable(): void {
    if (!this.#tableChanged) return;
    this.#tableChanged = false;
    this.#context.onRoutes?.(this.name, this.#table);
  }

  #logRefused(reasons: readonly string[]): void {
    for (const reason of reasons) {
      if (this.#refused.has(reason)) continue;
      this.#refused.add(reason);
      this.#log('warn', `Routes not announced: ${reason}`, this.#leadingSide());
    }
  }

  #log(level: LogLevel, text: string, side: Side): void {
    const system = `bgp.FSM@${side} peer ${printEndpoint(this.#config.address, this.#config.port)}`;
    this.#context.world.log({ level, system, text, data: { peer: this.name, side } });
  }

  #logFactory(text: string, data: Readonly<Record<string, string | number>>): void {
    const system = `bgp.BGPFactory@${this.name}`;
    this.#context.world.log({ level: 'info', system, text, data: { peer: this.name, ...data } });
  }
}

/** Turn away a connection with a reason, without ever becoming a session. */
export function refuse(stream: Stream, reason: Notification): void {
  stream.on({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
  stream.write(encodeMessage({ is: 'notification', notification: reason }));
  stream.close('fin');
}
