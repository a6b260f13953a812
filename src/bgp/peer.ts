// One configured peer: a session that dials and one that waits for the peer's call, which of them survives (RFC 4271
// §6.8), and the routes that the peer should have, replayed whenever a session comes up. When to try again is in retry.ts, with
// or without capabilities in plain.ts, what silence may mean in silence.ts, new keys in rekey.ts, what the log is told in
// peer-log.ts. speaker.ts owns it.

import type { PeerConfig } from '../config/types.ts';
import type { Route } from '../decision/decision.ts';
import type { PeerState } from '../decision/facts.ts';
import { type Family, printEndpoint } from '../lib/address.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../log/record.ts';
import type { Mono, Stream, TcpOptions } from '../world/world.ts';
import { describeCause, isProtocolError } from './cause.ts';
import { collide, type Side, survivor } from './collision.ts';
import { type Counters, newCounters } from './counters.ts';
import type { Drops, Protection } from './drops.ts';
import type { Cause, FsmConfig, State, StateName } from './fsm.ts';
import { encodeMessage } from './message.ts';
import { hardReset, isLasting, type Notification, notification } from './notification.ts';
import type { Negotiated, Offers } from './open.ts';
import { PeerLog } from './peer-log.ts';
import { Plain } from './plain.ts';
import { Rekey } from './rekey.ts';
import { Retry } from './retry.ts';
import { type PrefixLimits, type Prepared, prepare } from './rib.ts';
import { type Collision, Session, type SessionWorld } from './session.ts';
import { Silence } from './silence.ts';
import { LearnedTable, type RouteTable } from './table.ts';
import { keyOptions, newKeyOptions, replacedInPlace, type TcpKeys } from './tcp-keys.ts';
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
  /** Their addresses, as they are when it is called. */
  sent(): Iterable<string>;
  /** Wanted, and kept back because the peer takes no more. */
  readonly prefixesKeptBack: number;
  /** Our OPEN on this connection had none, because the peer has refused them. */
  readonly withoutCapabilities: boolean;
  /** What the peer's OPEN offered, and who it says it is; empty and null before. */
  readonly peerCapabilities: readonly string[];
  readonly peerHostname: string | null;
  readonly peerSoftware: string | null;
  readonly counters: Readonly<Counters>;
  /** The last error or NOTIFICATION, for people. */
  readonly lastError: string | null;
}

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
  readonly #log: PeerLog;
  readonly #retry: Retry;
  readonly #silence: Silence;
  /** What the peer has told us; null: nobody wants to know. */
  readonly #table: LearnedTable | null;
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
  /** The last attempt to connect was left out for a call of the peer's. */
  #yielded = false;
  readonly #plain: Plain;
  #keys: TcpKeys;
  readonly #rekey: Rekey;

  /** `before`: the same peer with other settings, which this one takes the place of. */
  constructor(context: PeerContext, config: PeerConfig, keys: TcpKeys, before: Peer | null = null) {
    this.#context = context;
    this.#config = config;
    this.#keys = keys;
    const { world, onRoutes } = context;
    this.#log = new PeerLog(world.log, config);
    this.#rekey = new Rekey(world, {
      streams: () => this.#all.flatMap(({ stream }) => stream ?? []),
      log: (level, text) => this.#log.say(level, text, this.#leadingSide()),
    });
    this.#plain = new Plain(config.families);
    this.#retry = new Retry(world, () => this.#again());
    this.#silence = new Silence(world.clock, context.drops, () => ({
      protection: this.#protection,
      gtsm: this.#config.ttlSecurityHops !== null,
    }));
    this.#table = onRoutes === null ? null : new LearnedTable(config.name, (table) => onRoutes(config.name, table));
    this.#since = world.clock.now();
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
    const same = before.dscp === config.dscp && before.sendHoldSeconds === config.sendHoldSeconds;
    if (!same && this.#upSide !== null) this.#tuneSession(this.#upSide);
    if (before.maximumPrefixes === config.maximumPrefixes) return;
    for (const session of this.#all) session.limit();
    this.#sayKeptBack();
  }

  start(): void {
    this.#watchSilence();
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
    if (this.#stopped || this.#retry.damped) return refuse(stream, notification('ceaseRejected'));
    try {
      stream.tune?.(this.#tcpOptions());
    } catch (error) {
      this.#log.say('error', `A call is refused: ${errorText(error)}`, 'passive');
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
    if (watched) this.#log.blame(describeCause({ is: 'stopped', notification: reason }));
  }

  /** For good. The peer is told why. */
  stop(reason: Notification): void {
    this.#stopped = true;
    this.#silence.stop();
    this.#rekey.stop();
    this.#retry.cancel();
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
      sent: () => session.sent(),
      prefixesKeptBack: session.prefixesKeptBack,
      withoutCapabilities: this.#plain.said(side),
      peerCapabilities: agreed?.peerCapabilities ?? [],
      peerHostname: agreed?.peerHostname ?? null,
      peerSoftware: agreed?.peerSoftware ?? null,
      counters: { ...this.#counters },
      lastError: this.#log.lastError,
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
    return new Session(
      world,
      {
        fsm: () => this.#fsmConfig(side),
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
          offers: { ...this.#offers(), none: this.#plain.open(side) },
        }),
        collision: (agreed, on, patient) => this.#collision(side, agreed, on, patient),
        stateChanged: (from, to) => this.#stateChanged(side, from, to),
        up: (agreed) => this.#up(side, agreed),
        down: (cause) => this.#ended(side, cause),
        unanswered: () => this.#unanswered(side),
        received: (update) => this.#received(update),
        receivedAll: () => this.#table?.tell(),
        refused: (reasons) => this.#log.refused(reasons, this.#leadingSide()),
      },
      this.#counters,
    );
  }

  #fsmConfig(side: Side): FsmConfig {
    const { connectTimeoutSeconds, keepaliveSeconds, sendHoldSeconds } = this.#config;
    // With TCP-MD5 or a dropped SYN nobody says no (RFC 4271 §8, ConnectRetryTime).
    return {
      passive: side === 'passive',
      connectRetrySeconds: connectTimeoutSeconds,
      keepaliveSeconds,
      sendHoldSeconds,
    };
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
      this.#log.say(
        'warn',
        `TCP-AO: other keys under the same ids (${replaced}) are for the next session`,
        this.#leadingSide(),
      );
    const options = newKeyOptions(before, keys);
    if (options !== null) this.#rekey.change(options);
  }

  #unanswered(side: Side): void {
    const { address, port } = this.#config;
    // What the router's kernel drops is counted there: a wrong key is silence here.
    const text = `No answer from ${printEndpoint(address, port)}${this.#silence.causeOfNoAnswer}`;
    this.#log.complain(text, side);
  }

  #watchSilence(): void {
    this.#silence.watch(() => {
      if (this.#stopped || this.#established) return 'enough';
      const { cause } = this.#silence;
      if (cause !== '' && this.#log.lastError === null) this.#log.complain(`No session${cause}`, this.#leadingSide());
      return 'again';
    });
  }

  #offers(): Partial<Offers> {
    const { gracefulRestart: mode, gracefulRestartSeconds } = this.#config;
    const { hostname, softwareVersion } = this.#context;
    const restart = {
      seconds: mode === 'restart' ? gracefulRestartSeconds : 0,
      restarted: !this.served,
      forwarding: this.served || this.#context.forwarded(),
    };
    return { gracefulRestart: mode === 'off' ? null : restart, hostname, softwareVersion };
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
    const level = !matters && (waits || this.#retry.failures > 0) ? 'debug' : 'info';
    this.#log.say(level, `State is now: ${to.is.toUpperCase()}`, side);
    if (from.is === 'OpenSent' || from.is === 'OpenConfirm')
      this.#sessions[side === 'active' ? 'passive' : 'active'].proceed();
  }

  #up(side: Side, agreed: Negotiated): void {
    this.#retry.succeeded();
    this.#log.sessionUp();
    this.#upSide = side;
    this.#since = this.#context.world.clock.now();
    this.#log.tell(`BGP session established for ASN ${this.#config.localAs} peer ${this.#config.address}`, {
      event: 'bgp-up',
      remoteAs: agreed.peerAs,
      holdTimeSeconds: agreed.holdTimeSeconds,
    });
    for (const family of this.#config.families) {
      if (agreed.families.includes(family)) continue;
      const why = this.#plain.said(side)
        ? 'The peer has refused all capabilities, and with them'
        : 'The peer did not offer';
      this.#log.say('warn', `${why} IPv${family} unicast`, side);
    }
    // With BFD somebody else watches; without it a router would follow the routes of a dead director for long.
    const unwatched = agreed.holdTimeSeconds === 0 && this.#config.holdTimeSeconds !== 0 && this.#config.bfd === null;
    if (unwatched)
      this.#log.say('warn', 'The peer wants no hold time: it would not notice when this director dies', side);
    this.#sessions[side === 'active' ? 'passive' : 'active'].dump();
    this.#tuneSession(side);
    // They may have changed while the connection was made.
    if (this.#keys.ao !== null) this.#rekey.set(this.#keys.ao);
    this.#context.onPeerState(this.name, { established: true, since: this.#since });
    if (this.#routes !== null) this.#sessions[side].want(this.#routes, this.#prepared);
    this.#prepared = null;
    this.#sayKeptBack();
  }

  /**
   * What a connection that is up has as it is configured now. The kernel also counts the time for which the peer does not read; on
   * that RFC 9687 has the last word. 0: the system's.
   */
  #tuneSession(side: Side): void {
    const { holdTimeSeconds, sendHoldSeconds, dscp } = this.#config;
    const seconds = sendHoldSeconds === 0 ? 0 : Math.max(holdTimeSeconds, sendHoldSeconds);
    try {
      this.#sessions[side].stream?.tune?.({ userTimeoutMs: seconds * 1000, dscp });
    } catch (error) {
      this.#log.say('warn', `The connection keeps its time limit and DSCP: ${errorText(error)}`, side);
    }
  }

  /** A connection ended. The machine is in Idle, or in Active if there was no OPEN yet. */
  #ended(side: Side, cause: Cause): void {
    const upForMs = this.#upSide === side ? this.#context.world.clock.now() - this.#since : null;
    if (upForMs !== null) this.#gone(cause);
    const plain = this.#plain.said(side);
    const refused = this.#plain.ended(side, cause);
    if (cause.is !== 'stopped') {
      // A call may be answered by another TTL than what follows it.
      const text = `${describeCause(cause)}${upForMs === null ? this.#silence.cause : ''}`;
      this.#log.complain(plain ? `${text} (our OPEN was without capabilities)` : text, side);
      this.#retry.failed();
      if (refused) this.#log.warnOnce('The peer takes no capabilities: trying once without', side);
      else if (isProtocolError(cause)) this.#retry.damp(upForMs);
    }
    if (this.#stopped) return;
    if (side === 'passive' && !this.#retry.damped) this.#sessions.passive.start();
    this.#scheduleRetry();
    this.#watchSilence();
  }

  #gone(cause: Cause): void {
    this.#upSide = null;
    this.#silence.begin();
    this.#since = this.#context.world.clock.now();
    this.#log.sessionGone();
    if (this.#routes !== null) this.#prepared = prepare(this.#routes, null);
    const why = describeCause(cause);
    this.#log.tell(`BGP session gone for ASN ${this.#config.localAs} peer ${this.#config.address}`, {
      event: 'bgp-down',
      cause: why,
    });
    this.#table?.clear();
    this.#context.onPeerState(this.name, { established: false, since: this.#since });
  }

  #scheduleRetry(): void {
    const idle = this.#sessions.active.state.is === 'Idle' && !this.#config.passive;
    if (this.#established || !(idle || this.#retry.damped)) return;
    this.#retry.schedule(this.#config.connectRetrySeconds);
  }

  #again(): void {
    // RFC 4271 §8.2.2, Active: whoever is called does not call as well. Once: a call may lead nowhere.
    this.#yielded = !this.#retry.damped && !this.#yielded && RANK[this.#sessions.passive.state.is] >= RANK.OpenSent;
    if (this.#yielded) return this.#scheduleRetry();
    this.#retry.cancel();
    this.start();
  }

  #received(update: ReceivedUpdate): void {
    const [problem] = update.problems;
    if (problem !== undefined) this.#log.malformed(problem.treatment, problem.text, this.#leadingSide());
    this.#table?.learn(update);
  }

  /** More than the peer takes is never sent: the session would not survive it. */
  #sayKeptBack(): void {
    const count = Math.max(...this.#all.map(({ prefixesKeptBack }) => prefixesKeptBack));
    this.#log.keptBack(count, this.#config.maximumPrefixes, this.#leadingSide());
  }
}

function limitsOf({ maximumPrefixes }: PeerConfig): PrefixLimits {
  return { total: null, 4: maximumPrefixes, 6: maximumPrefixes };
}

/** Turn away a connection with a reason, without ever becoming a session. */
export function refuse(stream: Stream, reason: Notification): void {
  stream.on({ onData: () => {}, onEnd: () => {}, onDrain: () => {}, onClose: () => {} });
  stream.write(encodeMessage({ is: 'notification', notification: reason }));
  stream.close('fin');
}
