// One connection to a peer, from dialling or accepting to its end: a stream, the machine of fsm.ts, its timers, and the
// Adj-RIB-Out while it is established. Turns what happens on the stream into events and performs the machine's actions.
// peer.ts owns one for each direction and is told through hooks.

import type { Route } from '../decision/decision.ts';
import { joined } from '../lib/bytes.ts';
import { Knife } from '../lib/cut.ts';
import { SystemError, errorText } from '../lib/errors.ts';
import type { Clock, ConnectOptions, Stream, Streams } from '../world/world.ts';
import { MAX_EXTENDED_MESSAGE_BYTES, MAX_MESSAGE_BYTES, MESSAGE } from './constants.ts';
import type { Counters } from './counters.ts';
import { eventOf } from './frame-event.ts';
import { type Action, type Cause, type Event, type FsmConfig, IDLE, type State, step, type Timer } from './fsm.ts';
import { encodeMessage, type Frame, refreshOf, updateOf } from './message.ts';
import { type Notification, ProtocolError } from './notification.ts';
import { type LocalOpen, localOpen, type Negotiated, offersOf } from './open.ts';
import { AdjRibOut, type PrefixLimits, type Prepared } from './rib.ts';
import { Splitter } from './splitter.ts';
import { Timers } from './timers.ts';
import type { ReceivedUpdate } from './update.ts';

/** What a session needs of the world. */
export interface SessionWorld {
  readonly clock: Clock;
  random(): number;
  readonly streams: Streams;
}

export interface SessionConfig {
  /** As it is now: timers that run keep their time. */
  fsm(): FsmConfig;
  /** For each attempt. Throws a SystemError: there is no way to dial as wanted. */
  connect(): ConnectOptions;
  /** How many of our prefixes the peer takes. */
  limits(): PrefixLimits;
  /** End-of-RIB waits for `complete`. */
  deferred(): boolean;
}

/** RFC 4271 §6.8. `lost`: this connection is given up for the other one. `undecided`: the peer will soon give up one of them. */
export type Collision = 'none' | 'lost' | 'undecided';

export interface SessionHooks {
  /** What our OPEN says; the router id may depend on the local address of the first connection. */
  localOpen(localAddress: string): LocalOpen;
  /** What is about to be believed, about the other connection to the same peer? Not `undecided` without `patient`. */
  collision(agreed: Negotiated, on: 'open' | 'keepalive', patient: boolean): Collision;
  stateChanged(from: State, to: State): void;
  up(agreed: Negotiated): void;
  down(cause: Cause): void;
  /** An attempt to connect was given up: neither yes nor no came. */
  unanswered(): void;
  received(update: ReceivedUpdate): void;
  /** All of the received bytes at hand were looked at. */
  receivedAll(): void;
  /** Routes of ours that cannot go to this peer, and why. */
  refused(reasons: readonly string[]): void;
}

/** How long a collision may be undecided. A round trip is enough between peers that live. */
const UNDECIDED_MS = 2_000;
/** Nobody who waits for an OPEN or a KEEPALIVE of ours has so much to say. */
const PUT_OFF_MESSAGES = 16;
/** How long what we said last may be on its way after a connection was closed; then it is cut: a few at a time at most. */
const LINGER_MS = 3_600_000;

const EXPIRES = {
  connectRetry: 'connect-retry-expires',
  hold: 'hold-expires',
  keepalive: 'keepalive-expires',
  sendHold: 'send-hold-expires',
} as const satisfies Record<Timer, Event['on']>;

/** UPDATEs are handed over in pieces of about this size. */
const PIECE_BYTES = 65_536;

/** A message that is not believed before a collision is decided, and what came after it. */
interface PutOff {
  readonly event: Greeting;
  readonly later: Frame[];
  readonly cancel: () => void;
}
type Greeting = Event & { readonly on: 'open' | 'keepalive' };

export class Session {
  readonly #world: SessionWorld;
  readonly #config: SessionConfig;
  readonly #hooks: SessionHooks;
  readonly #counters: Counters;
  #state: State = IDLE;
  readonly #timers: Timers;
  readonly #events: Event[] = [];
  #draining = false;
  #dialling: Knife | null = null;
  #stream: Stream | null = null;
  #splitter = new Splitter();
  #local: LocalOpen | null = null;
  #rib: AdjRibOut | null = null;
  #blocked = false;
  #putOff: PutOff | null = null;
  /** This connection has not waited in vain yet. */
  #patient = true;
  /** Streams that we closed and that still have something to send. */
  readonly #closing = new Map<Stream, () => void>();
  /** Closed before we asked for it: they will never say so again. */
  readonly #dead = new WeakSet<Stream>();

  constructor(world: SessionWorld, config: SessionConfig, hooks: SessionHooks, counters: Counters) {
    this.#world = world;
    this.#config = config;
    this.#hooks = hooks;
    this.#counters = counters;
    this.#timers = new Timers(world, (timer) => this.#expired(timer));
  }

  get state(): State {
    return this.#state;
  }
  /** The connection, while there is one. */
  get stream(): Stream | null {
    return this.#stream;
  }
  /** What we said of ourselves on this connection. */
  get local(): LocalOpen | null {
    return this.#local;
  }
  get prefixesSent(): number {
    return this.#rib?.sentCount ?? 0;
  }
  /** Their addresses. */
  sent(): Iterable<string> {
    return this.#rib?.sent() ?? [];
  }
  /** Wanted routes that the peer's limit keeps back. */
  get prefixesKeptBack(): number {
    return this.#rib?.excessCount ?? 0;
  }
  /** Nothing of ours waits on this side of the socket. True without a session: the peer has nothing of ours then. */
  get flushed(): boolean {
    return this.#rib === null || (this.#rib.settled && !this.#blocked);
  }

  /** No connection, nor the rest of one. */
  get closed(): boolean {
    return this.#stream === null && this.#closing.size === 0;
  }

  start(): void {
    this.#feed({ on: 'start' });
  }

  /** The peer's own connection, for a machine that waits in Active. */
  accept(stream: Stream): void {
    this.#attach(stream);
  }

  stop(notification: Notification): void {
    this.#feed({ on: 'stop', notification });
  }

  /** Lost against the peer's other connection (RFC 4271 §6.8). */
  dump(): void {
    this.#feed({ on: 'collision-dump' });
  }

  /** Something became of the other connection: a collision may be decided now. */
  proceed(): void {
    const [stream, waiting] = [this.#stream, this.#putOff];
    if (stream === null || waiting === null) return;
    // To judge may end the other connection, which leads here again.
    this.#putOff = null;
    if (this.#judge(waiting.event) === 'undecided') {
      this.#putOff = waiting;
      return;
    }
    waiting.cancel();
    if (this.#stream !== stream) return;
    stream.resume();
    for (const frame of waiting.later) if (this.#stream === stream) this.#take(stream, frame);
    this.#hooks.receivedAll();
  }

  /** Drop the connection without a word: the peer has forgotten it. */
  abandon(reason: string): void {
    this.#feed({ on: 'connection-fails', reason });
  }

  /** Drop what still lingers of closed connections. */
  reset(): void {
    for (const stream of this.#closing.keys()) stream.close('rst');
  }

  /** The routes that this peer should have. Sent when, and as far as, the session is established. */
  want(routes: readonly Route[], prepared: Prepared | null = null): void {
    if (this.#rib === null) return;
    const refused = this.#rib.want(routes, prepared);
    if (refused.length > 0) this.#hooks.refused(refused);
    this.#pump();
  }

  /** The limits have changed; what the peer has too much is withdrawn. */
  limit(): void {
    this.#rib?.limit(this.#config.limits());
    this.#pump();
  }

  /** What is wanted is all that there will be for now: the peer may have End-of-RIB. */
  complete(): void {
    this.#rib?.complete();
    this.#pump();
  }

  /** Announce every route as about to leave (RFC 8326). */
  leave(): void {
    this.#rib?.leave();
    this.#pump();
  }

  /** Events that actions cause are taken after these actions, never in the middle of them. */
  #feed(event: Event): void {
    this.#events.push(event);
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const from = this.#state;
        const [to, actions] = step(this.#config.fsm(), from, next);
        this.#state = to;
        if (from.is !== to.is) this.#hooks.stateChanged(from, to);
        for (const action of actions) this.#perform(action);
      }
    } finally {
      this.#draining = false;
    }
  }

  #perform(action: Action): void {
    switch (action.do) {
      case 'connect':
        this.#connect();
        break;
      case 'send':
        if (action.message === 'open') this.#sendOpen();
        // A peer that does not read gets no keepalives on top of what waits for it already.
        else if (!this.#blocked) this.#write(encodeMessage({ is: 'keepalive' }));
        break;
      case 'notify':
        this.#counters.notificationsOut++;
        this.#write(encodeMessage({ is: 'notification', notification: action.notification }));
        break;
      case 'close':
        this.#close();
        break;
      case 'arm':
        this.#timers.arm(action.timer, action.seconds, action.jitter);
        break;
      case 'disarm':
        this.#timers.disarm(action.timer);
        break;
      case 'up':
        this.#up(action.agreed);
        break;
      case 'down':
        this.#hooks.down(action.cause);
        break;
      case 'deliver':
        this.#deliver(action.body);
        break;
      case 'refresh':
        this.#refresh(action.body);
        break;
      default:
        action satisfies never;
    }
  }

  #connect(): void {
    const knife = new Knife();
    this.#dialling = knife;
    const dial = async () => this.#world.streams.connect(this.#config.connect(), knife);
    dial().then(
      (stream) => {
        if (knife.aborted) return stream.close('rst');
        this.#dialling = null;
        this.#attach(stream);
      },
      (error: unknown) => {
        if (knife.aborted) return;
        this.#dialling = null;
        this.#feed({ on: 'connection-fails', reason: errorText(error) });
      },
    );
  }

  #attach(stream: Stream): void {
    this.#splitter = new Splitter();
    this.#stream = stream;
    this.#blocked = false;
    this.#patient = true;
    // A stream that was given up may still have something to say; nobody listens.
    const mine = () => this.#stream === stream;
    const lost = (reason: string) => this.#feed({ on: 'connection-fails', reason });
    stream.on({
      onData: (bytes) => {
        if (mine()) this.#read(stream, bytes);
      },
      onEnd: () => {
        if (mine()) lost('closed by the peer');
      },
      onDrain: () => {
        if (!mine()) return;
        this.#blocked = false;
        this.#feed({ on: 'write-drained' });
        this.#pump();
      },
      onClose: (error) => {
        this.#dead.add(stream);
        this.#closing.get(stream)?.();
        this.#closing.delete(stream);
        if (mine()) lost(error === null ? 'closed' : error instanceof SystemError ? error.code : errorText(error));
      },
    });
    this.#feed({ on: 'connected' });
  }

  #close(): void {
    this.#dialling?.abort();
    this.#dialling = null;
    this.#putOff?.cancel();
    this.#putOff = null;
    const stream = this.#stream;
    this.#stream = null;
    this.#rib = null;
    this.#local = null;
    this.#blocked = false;
    if (stream === null || this.#dead.has(stream)) return;
    // A peer that does not read would keep the rest of this connection, and its place in memory, for ever.
    this.#closing.set(
      stream,
      this.#world.clock.at(LINGER_MS, () => stream.close('rst')),
    );
    stream.close('fin');
  }

  #read(stream: Stream, bytes: Uint8Array): void {
    try {
      for (const frame of this.#splitter.push(bytes)) {
        this.#counters.messagesIn++;
        this.#take(stream, frame);
        if (this.#stream !== stream) break;
      }
    } catch (thrown) {
      if (!(thrown instanceof ProtocolError)) throw thrown;
      this.#feed({ on: 'header-error', notification: thrown.notification });
    }
    this.#hooks.receivedAll();
  }

  #take(stream: Stream, frame: Frame): void {
    if (this.#putOff !== null && frame.type !== MESSAGE.notification) {
      this.#putOff.later.push({ type: frame.type, body: frame.body.slice() });
      if (this.#putOff.later.length >= PUT_OFF_MESSAGES) stream.pause();
      return;
    }
    const event = eventOf(frame, this.#local);
    if (frame.type === MESSAGE.notification) this.#counters.notificationsIn++;
    if (event.on !== 'open' && event.on !== 'keepalive') this.#feed(event);
    else if (this.#judge(event) === 'undecided') this.#wait(event);
  }

  /** `undecided`: nothing was done. */
  #judge(event: Greeting): Collision {
    const { state } = this;
    const verdict =
      event.on === 'open' && state.is === 'OpenSent'
        ? this.#hooks.collision(event.agreed, 'open', this.#patient)
        : event.on === 'keepalive' && state.is === 'OpenConfirm'
          ? this.#hooks.collision(state.agreed, 'keepalive', this.#patient)
          : 'none';
    if (verdict !== 'undecided') this.#feed(verdict === 'lost' ? { on: 'collision-dump' } : event);
    return verdict;
  }

  #wait(event: Greeting): void {
    const cancel = this.#world.clock.at(UNDECIDED_MS, () => {
      this.#patient = false;
      this.proceed();
    });
    this.#putOff = { event, later: [], cancel };
  }

  #sendOpen(): void {
    if (this.#stream === null) return;
    this.#local = this.#hooks.localOpen(this.#stream.local.address);
    // RFC 8654 §4: whoever has heard that may send such messages, whatever it takes itself.
    if (offersOf(this.#local).extendedMessages) this.#splitter.takeExtended();
    this.#write(encodeMessage({ is: 'open', open: localOpen(this.#local) }));
  }

  #up(agreed: Negotiated): void {
    const stream = this.#stream;
    const local = this.#local;
    if (stream === null || local === null) return;
    this.#counters.established++;
    const { internal, as4, families, extendedNextHop, longLived, enhancedRefresh } = agreed;
    const facts = { internal, as4, families, extendedNextHop, longLived };
    this.#rib = new AdjRibOut(
      { ...facts, localAs: local.as, localAddress: stream.local.address, peerAddress: stream.remote.address },
      {
        maxMessageBytes: agreed.extendedMessages ? MAX_EXTENDED_MESSAGE_BYTES : MAX_MESSAGE_BYTES,
        enhancedRefresh,
        limits: this.#config.limits(),
        deferred: this.#config.deferred(),
      },
    );
    this.#hooks.up(agreed);
  }

  #deliver(body: Uint8Array): void {
    if (this.#state.is !== 'Established') return;
    this.#counters.updatesIn++;
    try {
      const update = updateOf({ type: MESSAGE.update, body }, this.#state.agreed);
      if (update.problems.length > 0) this.#counters.updatesForgiven++;
      this.#counters.prefixesIn += update.announced.count + (update.attributes.mpReach?.nlri.count ?? 0);
      this.#hooks.received(update);
    } catch (thrown) {
      if (!(thrown instanceof ProtocolError)) throw thrown;
      this.#feed({ on: 'update-error', notification: thrown.notification });
    }
  }

  #refresh(body: Uint8Array): void {
    if (this.#state.is !== 'Established') return;
    try {
      const refresh = refreshOf({ type: MESSAGE.routeRefresh, body });
      // RFC 7313 §4: the markers frame answers to requests, of which we make none. Without the capability that field is
      // reserved (RFC 2918 §3), and everything is a request.
      const asked = refresh?.subtype === 'request' || !this.#state.agreed.enhancedRefresh;
      if (refresh !== null && asked) {
        this.#counters.refreshesIn++;
        this.#rib?.refresh(refresh.family);
      }
      this.#pump();
    } catch (thrown) {
      if (!(thrown instanceof ProtocolError)) throw thrown;
      this.#feed({ on: 'refresh-error', notification: thrown.notification });
    }
  }

  /** Hand UPDATEs to the stream as long as it takes them: many in one piece, since each piece is a system call. */
  #pump(): void {
    let count = 0;
    while (this.#rib !== null && !this.#blocked) {
      const messages = this.#nextUpdates(this.#rib);
      if (messages.length === 0) break;
      this.#write(joined(messages), messages.length);
      count += messages.length;
    }
    this.#counters.updatesOut += count;
    if (count > 0) this.#feed({ on: 'updates-sent' });
  }

  #nextUpdates(rib: AdjRibOut): readonly Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (let bytes = 0; bytes < PIECE_BYTES; ) {
      const message = rib.next();
      if (message === null) break;
      messages.push(message);
      bytes += message.length;
    }
    return messages;
  }

  #write(bytes: Uint8Array, messages = 1): void {
    if (this.#stream === null) return;
    this.#counters.messagesOut += messages;
    if (this.#stream.write(bytes) || this.#blocked) return;
    this.#blocked = true;
    this.#feed({ on: 'write-blocked' });
  }

  #expired(timer: Timer): void {
    if (timer === 'connectRetry' && this.#state.is === 'Connect') this.#hooks.unanswered();
    this.#feed({ on: EXPIRES[timer] });
  }
}
