// One configured peer: a session that dials and one that waits for the peer's call, which of them survives (RFC 4271
// §6.8), when to try again, and the routes that the peer should have, replayed whenever a session comes up. speaker.ts
// owns it.

import type { PeerConfig } from '../config/types.ts';
import type { Route } from '../decision/decision.ts';
import type { PeerState } from '../decision/facts.ts';
import { type Family, printEndpoint } from '../lib/address.ts';
import type { Log, LogLevel } from '../log/record.ts';
import { SystemError, errorText } from '../lib/errors.ts';
import type { Mono, Stream, TcpOptions } from '../world/world.ts';
import { type Drops, type Protection, suspicion } from './drops.ts';
import { describeCause, isProtocolError } from './cause.ts';
import { collide, survivor } from './collision.ts';
import { type Counters, newCounters } from './counters.ts';
import type { Cause, State, StateName } from './fsm.ts';
import { encodeMessage } from './message.ts';
import { hardReset, isLasting, type Notification, notification } from './notification.ts';
import type { Negotiated, Offers } from './open.ts';
import { type PrefixLimits, type Prepared, prepare } from './rib.ts';
import { type Collision, Session, type SessionWorld } from './session.ts';
import { type KeyOptions, keyOptions, newKeyOptions, replacedInPlace, type TcpKeys } from './tcp-keys.ts';
import { learnRoutes, type ReceivedRoute, type RouteTable } from './table.ts';
import type { ReceivedUpdate } from './update.ts';

export interface SpeakerWorld extends SessionWorld {
  readonly log: Log;
}

/** What all peers have in common. */
export interface PeerContext {
  readonly world: SpeakerWorld;
  /** Whose kernel went on forwarding while it was away may say so (RFC 4724 §3). */
  forwarded(): boolean;
  /** All routes are decided: nobody waits for more. */
  complete(): boolean;
  /** What the kernel has dropped so far. */
  drops(): Drops;
  readonly hostname: string | null;
  readonly softwareVersion: string | null;
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
  /** Wanted, and kept back because the peer takes no more. */
  readonly prefixesKeptBack: number;
  /** What the peer's OPEN offered, and who it says it is; empty and null before. */
  readonly peerCapabilities: readonly string[];
  readonly peerHostname: string | null;
  readonly peerSoftware: string | null;
  readonly counters: Readonly<Counters>;
  /** The last error or NOTIFICATION, for people. */
  readonly lastError: string | null;
}

/** IdleHoldTime (RFC 4271 §8.1.1) after the first loss; it doubles up to the configured pause. */
const FIRST_PAUSE_SECONDS = 1.5;
/** After protocol errors, which do not heal by trying; while it lasts the peer's calls are refused too. */
const DAMPING = { first: 10, last: 120, forgottenAfterMs: 300_000 } as const;

/** How often a peer without a session looks for what the kernel has dropped. */
const DROPS_MS = 5_000;
/** How often an old key of TCP-AO is tried to be taken away. */
const LINGERING_MS = 5_000;

/** What the router's kernel says nothing to. */
const SILENT_ANSWER: Readonly<Record<Protection, string>> = {
  'TCP-MD5': ' (with TCP-MD5 that is also how a router answers another password)',
  'TCP-AO': ' (with TCP-AO that is also how a router answers a key that it does not have)',
};

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
  readonly #counters = newCounters();
  readonly #served: boolean;
  readonly #sessions: Readonly<Record<Side, Session>>;
  #routes: readonly Route[] | null = null;
  /** The same for the next session; null while one has it. */
  #prepared: Prepared | null = null;
  /** Which session is up, and since when it is, or none is. */
  #upSide: Side | null = null;
  #since: Mono;
  #stopped = false;
  #retry: (() => void) | null = null;
  /** The last attempt to connect was left out for a call of the peer's. */
  #yielded = false;
  #failures = 0;
  #protocolErrors = 0;
  #damped = false;
  #lastError: string | null = null;
  /** Said once for each session. */
  readonly #refused = new Set<string>();
  #malformedSeen = false;
  /** The peer refuses an OPEN with capabilities (RFC 5492 §3). */
  #plain = false;
  #keys: TcpKeys;
  /** A key that should go is still asked for. */
  #lingering: (() => void) | null = null;
  #dropsBefore: Drops;
  #drops: (() => void) | null = null;
  #keptBackSaid = 0;
  readonly #table = new Map<string, ReceivedRoute>();
  #tableChanged = false;

  /** `before`: the same peer with other settings, which this one takes the place of. */
  constructor(context: PeerContext, config: PeerConfig, keys: TcpKeys, before: Peer | null = null) {
    this.#context = context;
    this.#config = config;
    this.#keys = keys;
    this.#dropsBefore = context.drops();
    this.#since = context.world.clock.now();
    this.#served = before?.served ?? false;
    this.#sessions = { active: this.#newSession('active'), passive: this.#newSession('passive') };
  }

  get name(): string {
    return this.#config.name;
  }
  /** null: nobody has said yet what this peer should have. */
  get routes(): readonly Route[] | null {
    return this.#routes;
  }
  /** It had a session since this daemon began. */
  get served(): boolean {
    return this.#served || this.#counters.established > 0;
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
  get #protection(): Protection | null {
    const { md5, ao } = this.#keys;
    return ao === null ? (md5 === null ? null : 'TCP-MD5') : 'TCP-AO';
  }
  get #established(): boolean {
    return this.#all.some(({ state }) => state.is === 'Established');
  }

  /** Take over what a running session does not depend on. */
  reconfigure(config: PeerConfig): void {
    const before = this.#config;
    this.#config = config;
    if (before.maximumPrefixes === config.maximumPrefixes) return;
    for (const session of this.#all) session.limit();
    this.#sayKeptBack();
  }

  start(): void {
    this.#listenForDrops();
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
    try {
      stream.tune?.(this.#tcpOptions());
    } catch (error) {
      this.#log('error', `A call is refused: ${errorText(error)}`, 'passive');
      return stream.close('rst');
    }
    // RFC 4724 §4.2: a router that keeps its routes over a restart calls again because it has restarted.
    for (const session of this.#all) {
      const { state } = session;
      if (state.is === 'Established' && state.agreed.peerRestarts) session.abandon('the peer has restarted');
    }
    // RFC 4271 §6.8: what is established stays; so does what is about to be.
    if (this.#established || passive.state.is === 'OpenConfirm') return refuse(stream, notification('ceaseCollision'));
    // The peer calls again before it has said who it is: it has forgotten the first call, and so do we.
    if (passive.state.is === 'OpenSent') passive.dump();
    passive.accept(stream);
  }

  /** The routes that this peer should have, all of them. */
  set(routes: readonly Route[]): void {
    this.#routes = routes;
    this.#prepared = this.#established ? null : prepare(routes, this.#prepared);
    for (const session of this.#all) session.want(routes);
    this.#sayKeptBack();
  }

  /** What was set is all that there will be for now. */
  complete(): void {
    for (const session of this.#all) session.complete();
  }

  /** Announce everything as about to leave (RFC 8326). Answers for how many seconds that should stand before it leaves. */
  leave(): number {
    const seconds = this.#config.gracefulShutdownSeconds;
    if (seconds === 0 || !this.#established) return 0;
    for (const session of this.#all) session.leave();
    return seconds;
  }

  /**
   * RFC 9384 §3: BFD says that the path is gone; the session goes with it, and is tried again as after any loss. A path that BFD no
   * longer watches is lost too where nothing else would notice (RFC 5882 §3.2): without a hold time.
   */
  pathDown(watched: boolean): void {
    const reason = notification('ceaseBfdDown');
    for (const session of this.#all) {
      const { state } = session;
      if (state.is === 'Established' && (watched || state.agreed.holdTimeSeconds === 0)) this.#end(session, reason);
    }
    if (watched) this.#lastError ??= describeCause({ is: 'stopped', notification: reason });
  }

  /** For good. The peer is told why. */
  stop(reason: Notification): void {
    this.#stopped = true;
    this.#drops?.();
    this.#lingering?.();
    this.#cancelRetry();
    for (const session of this.#all) this.#end(session, reason);
  }

  /** RFC 8538 §5.1: a real end must not be taken for a restart, after which the peer would keep our routes. */
  #end(session: Session, reason: Notification): void {
    const { state } = session;
    const kept = state.is === 'Established' && state.agreed.hardReset;
    session.stop(kept && isLasting(reason) ? hardReset(reason) : reason);
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
      prefixesKeptBack: session.prefixesKeptBack,
      peerCapabilities: agreed?.peerCapabilities ?? [],
      peerHostname: agreed?.peerHostname ?? null,
      peerSoftware: agreed?.peerSoftware ?? null,
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
    const { world } = this.#context;
    const { address, port, localAddress, localAs, peerAs, holdTimeSeconds, families } = this.#config;
    const { connectTimeoutSeconds, keepaliveSeconds, sendHoldSeconds } = this.#config;
    return new Session(
      world,
      {
        passive: side === 'passive',
        // With TCP-MD5 or a dropped SYN nobody says no (RFC 4271 §8, ConnectRetryTime).
        connectRetrySeconds: connectTimeoutSeconds,
        keepaliveSeconds,
        sendHoldSeconds,
        limits: () => limitsOf(this.#config),
        deferred: () => this.#config.gracefulRestart === 'restart' && !this.#context.complete(),
        connect: () => ({
          address,
          port,
          ...(localAddress === null ? {} : { localAddress }),
          tcp: this.#tcpOptions(),
        }),
      },
      {
        localOpen: (local) => ({
          as: localAs,
          routerId: this.#context.routerId(local),
          holdTimeSeconds,
          families,
          peerAs,
          offers: this.#offers(),
        }),
        collision: (agreed, on, patient) => this.#collision(side, agreed, on, patient),
        stateChanged: (from, to) => this.#stateChanged(side, from, to),
        up: (agreed) => this.#up(side, agreed),
        down: (cause) => this.#ended(side, cause),
        unanswered: () => this.#unanswered(side),
        received: (update) => this.#received(update),
        receivedAll: () => this.#tellTable(),
        refused: (reasons) => this.#logRefused(reasons),
      },
      this.#counters,
    );
  }

  /** Throws ENOKEY: without its key nothing may be said to this peer. */
  #tcpOptions(): TcpOptions {
    const { ttlSecurityHops, ttl, dscp, holdTimeSeconds } = this.#config;
    return {
      // RFC 5082 §3: 255 where we are, and one less for each hop that the peer may be away.
      ...(ttlSecurityHops === null ? (ttl === null ? {} : { ttl }) : { ttl: 255, minTtl: 256 - ttlSecurityHops }),
      dscp,
      // Until the session is up: a router whose answers the kernel drops would be waited for four minutes (RFC 4271 §8.2.2).
      ...(holdTimeSeconds === 0 ? {} : { userTimeoutMs: holdTimeSeconds * 1000 }),
      ...keyOptions(this.#config, this.#keys),
    };
  }

  /** Changed at run time the session stays: with TCP-AO in any case, with TCP-MD5 if the peer changes its own too. */
  setKeys(keys: TcpKeys): void {
    const before = this.#keys;
    this.#keys = keys;
    const replaced = replacedInPlace(before, keys).join(', ');
    if (replaced !== '' && this.#established)
      this.#log(
        'warn',
        `TCP-AO: other keys under the same ids (${replaced}) are for the next session`,
        this.#leadingSide(),
      );
    const options = newKeyOptions(before, keys);
    if (options !== null) this.#rekey(options);
  }

  /** RFC 5925 §7.3: a key that should go stays as long as the peer asks for it, and its time is tried again. */
  #rekey(options: KeyOptions): void {
    const waited = this.#lingering !== null;
    this.#lingering?.();
    this.#lingering = null;
    for (const { stream } of this.#all) {
      try {
        stream?.tune?.(options);
      } catch (error) {
        const busy = error instanceof SystemError && error.code === 'EBUSY';
        const what = busy ? 'An old key stays for now' : 'New keys cannot be used';
        if (!waited || !busy) this.#log(busy ? 'warn' : 'error', `${what}: ${errorText(error)}`, this.#leadingSide());
        if (busy) this.#lingering ??= this.#context.world.clock.at(LINGERING_MS, () => this.#rekey(options));
      }
    }
    if (waited && this.#lingering === null) this.#log('info', 'No old key is left', this.#leadingSide());
  }

  #unanswered(side: Side): void {
    const { address, port } = this.#config;
    // What the router's kernel drops is counted there: a wrong key is silence here.
    const hint = this.#protection === null ? '' : SILENT_ANSWER[this.#protection];
    const text = `No answer from ${printEndpoint(address, port)}${this.#suspicion() || hint}`;
    this.#complain(text, side);
  }

  /** Said once, however often it comes again. */
  #complain(text: string, side: Side): void {
    if (text !== this.#lastError) this.#log('warn', text, side);
    this.#lastError = text;
  }

  /**
   * Of a router that calls in vain nothing is heard at all, and of one whose answers are dropped for four minutes (RFC 4271
   * §8.2.2): look at what the kernel has dropped from time to time, until there is a session.
   */
  #listenForDrops(): void {
    this.#drops ??= this.#context.world.clock.at(DROPS_MS, () => {
      this.#drops = null;
      if (this.#stopped || this.#established) return;
      const why = this.#suspicion();
      if (why !== '' && this.#lastError === null) this.#complain(`No session${why}`, this.#leadingSide());
      this.#listenForDrops();
    });
  }

  /** What the kernel dropped since the last session ended, if that explains why there is none. */
  #suspicion(): string {
    const suspect = { protection: this.#protection, gtsm: this.#config.ttlSecurityHops !== null };
    const why = suspicion(this.#dropsBefore, this.#context.drops(), suspect);
    return why === null ? '' : ` (probable cause: ${why})`;
  }

  #offers(): Partial<Offers> {
    const { gracefulRestart: mode, gracefulRestartSeconds } = this.#config;
    const { hostname, softwareVersion } = this.#context;
    const restart = {
      seconds: mode === 'restart' ? gracefulRestartSeconds : 0,
      restarted: !this.served,
      forwarding: this.served || this.#context.forwarded(),
    };
    return { none: this.#plain, gracefulRestart: mode === 'off' ? null : restart, hostname, softwareVersion };
  }

  #collision(side: Side, agreed: Negotiated, on: 'open' | 'keepalive', patient: boolean): Collision {
    const other = this.#sessions[side === 'active' ? 'passive' : 'active'];
    const routerId = other.local?.routerId ?? '0.0.0.0';
    const kept = survivor({ routerId, as: this.#config.localAs }, { routerId: agreed.peerId, as: agreed.peerAs });
    const verdict = collide({ on, side, other: other.state.is, kept, patient });
    if (verdict !== 'wins') return verdict;
    other.dump();
    return 'none';
  }

  #stateChanged(side: Side, from: State, to: State): void {
    // What repeats every few seconds while a peer is away, and the listening side's waiting, is for debugging only.
    const matters = from.is === 'Established' || to.is === 'Established';
    const waits = side === 'passive' && RANK[to.is] < RANK.OpenSent;
    const level = !matters && (waits || this.#failures > 0) ? 'debug' : 'info';
    this.#log(level, `State is now: ${to.is.toUpperCase()}`, side);
    if (from.is === 'OpenSent' || from.is === 'OpenConfirm')
      this.#sessions[side === 'active' ? 'passive' : 'active'].proceed();
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
    for (const family of this.#config.families) {
      if (!agreed.families.includes(family)) this.#log('warn', `The peer did not offer IPv${family} unicast`, side);
    }
    // With BFD somebody else watches; without it a router would follow the routes of a dead director for long.
    const unwatched = agreed.holdTimeSeconds === 0 && this.#config.holdTimeSeconds !== 0 && this.#config.bfd === null;
    if (unwatched) this.#log('warn', 'The peer wants no hold time: it would not notice when this director dies', side);
    this.#sessions[side === 'active' ? 'passive' : 'active'].dump();
    this.#givePatience(side);
    // They may have changed while the connection was made.
    if (this.#keys.ao !== null) this.#rekey({ aoKeys: this.#keys.ao });
    this.#context.onPeerState(this.name, { established: true, since: this.#since });
    if (this.#routes !== null) this.#sessions[side].want(this.#routes, this.#prepared);
    this.#prepared = null;
    this.#sayKeptBack();
  }

  /** The kernel also counts the time for which the peer does not read; on that RFC 9687 has the last word. 0: the system's. */
  #givePatience(side: Side): void {
    const { holdTimeSeconds, sendHoldSeconds } = this.#config;
    const seconds = sendHoldSeconds === 0 ? 0 : Math.max(holdTimeSeconds, sendHoldSeconds);
    try {
      this.#sessions[side].stream?.tune?.({ userTimeoutMs: seconds * 1000 });
    } catch (error) {
      this.#log('warn', `The connection keeps its time limit: ${errorText(error)}`, side);
    }
  }

  /** A connection ended. The machine is in Idle, or in Active if there was no OPEN yet. */
  #ended(side: Side, cause: Cause): void {
    const upForMs = this.#upSide === side ? this.#context.world.clock.now() - this.#since : null;
    if (upForMs !== null) this.#gone(cause);
    if (cause.is !== 'stopped') {
      // A call may be answered by another TTL than what follows it.
      const text = `${describeCause(cause)}${upForMs === null ? this.#suspicion() : ''}`;
      this.#complain(text, side);
      this.#failures++;
      if (refusesCapabilities(cause) && !this.#plain) {
        this.#plain = true;
        this.#log('warn', 'The peer takes no capabilities: trying without', side);
      } else if (isProtocolError(cause)) this.#damp(upForMs);
    }
    if (this.#stopped) return;
    if (side === 'passive' && !this.#damped) this.#sessions.passive.start();
    this.#scheduleRetry();
    this.#listenForDrops();
  }

  #gone(cause: Cause): void {
    this.#upSide = null;
    this.#dropsBefore = this.#context.drops();
    this.#since = this.#context.world.clock.now();
    this.#refused.clear();
    if (this.#routes !== null) this.#prepared = prepare(this.#routes, null);
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
      // RFC 4271 §8.2.2, Active: whoever is called does not call as well. Once: a call may lead nowhere.
      this.#yielded = !this.#damped && !this.#yielded && RANK[this.#sessions.passive.state.is] >= RANK.OpenSent;
      if (this.#yielded) return this.#scheduleRetry();
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

  /** More than the peer takes is never sent: the session would not survive it. */
  #sayKeptBack(): void {
    const count = Math.max(...this.#all.map(({ prefixesKeptBack }) => prefixesKeptBack));
    if (count === this.#keptBackSaid) return;
    this.#keptBackSaid = count;
    const side = this.#leadingSide();
    if (count === 0) this.#log('info', 'All routes are within maximum-prefixes again', side);
    else {
      const limit = this.#config.maximumPrefixes;
      this.#log(
        'error',
        `${count} route(s) not announced: the peer takes ${limit} of a family (maximum-prefixes)`,
        side,
      );
    }
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

function limitsOf({ maximumPrefixes }: PeerConfig): PrefixLimits {
  return { total: null, 4: maximumPrefixes, 6: maximumPrefixes };
}

/** RFC 5492 §3: 2/4 from a speaker that knows no capabilities. */
function refusesCapabilities(cause: Cause): boolean {
  return cause.is === 'received' && cause.notification.code === 2 && cause.notification.subcode === 4;
}

/** Turn away a connection with a reason, without ever becoming a session. */
export function refuse(stream: Stream, reason: Notification): void {
  stream.on({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
  stream.write(encodeMessage({ is: 'notification', notification: reason }));
  stream.close('fin');
}
