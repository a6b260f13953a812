// All sessions of a director: which are wanted, whose packet this is, through which sockets, and whether the daemon whose life
// they vouch for lives at all. Runs in a worker beside the daemon (world/real/bfd-worker.ts) or in the simulator's process;
// client.ts is the daemon's end. RFC 5880, 5881, 5883; RFC 5882 for what the states mean to BGP.

import { familyOf, printEndpoint } from '../lib/address.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import type { Log } from '../log/record.ts';
import type { Datagrams, DatagramSocket, Endpoint } from '../world/world.ts';
import { decodePacket, DIAGNOSTIC, type Discard, DISCARDS, MAX_BYTES } from './packet.ts';
import { Session, type SessionWorld } from './session.ts';
import type { BfdChange, BfdConfig, BfdSessionConfig, BfdStatus } from './types.ts';
import { Watch } from './watch.ts';

export interface EngineWorld extends SessionWorld {
  readonly datagrams: Datagrams;
  readonly log: Log;
}

export interface EngineHandlers {
  changed(change: BfdChange): void;
  /** Grows with each sign of life that the daemon gives. */
  heartbeat(): number;
}

/** RFC 5881 §4, RFC 5883 §5 */
const PORT = { single: 3784, multi: 4784 } as const;
/** RFC 5881 §4, RFC 5883 §5: where source ports come from. */
const SOURCE_PORTS = { first: 49_152, last: 65_535, attempts: 32 } as const;
/** RFC 5881 §5: sent with, and received with nothing less. Over several hops it is only sent. */
const TTL = 255;
/** A socket that could not be opened (its address is not there yet, its port is taken) is tried again. */
const REOPEN_MS = 1_000;
/** RFC 5882 §8: AdminDown is said for a detection time when a session is no longer wanted, and not for less than this. */
const FAREWELL_MS = 3_500;

const STALE: ReadonlySet<string> = new Set(['ENODEV', 'ENXIO', 'EINVAL', 'EADDRNOTAVAIL']);
/** One log line per this time about packets for nobody. */
const STRANGER_LOG_MS = 60_000;

interface Held {
  readonly session: Session;
  readonly identity: string;
  socket: DatagramSocket | null;
  /** Ends the farewell of one that is no longer wanted. */
  leaving: (() => void) | null;
}

/** What came to whom, and from where it was sent. */
interface Reception {
  readonly multihop: boolean;
  readonly local: string;
}

export class Engine {
  readonly #world: EngineWorld;
  readonly #handlers: EngineHandlers;
  readonly #watch: Watch;
  /** By who they are with: a name may come back with another peer. */
  readonly #sessions = new Map<string, Held>();
  readonly #byDiscriminator = new Map<number, Session>();
  readonly #receivers = new Map<string, DatagramSocket>();
  #reopen: (() => void) | null = null;
  readonly #said = new Set<string>();
  readonly #strangers = { quietUntil: 0, count: 0 };
  #stopped = false;

  constructor(world: EngineWorld, handlers: EngineHandlers) {
    this.#world = world;
    this.#handlers = handlers;
    this.#watch = new Watch(world.clock, () => handlers.heartbeat(), {
      wedged: (forMs) => this.#wedged(forMs),
      recovered: () => this.#recovered(),
    });
  }

  /** The whole wish. A session for which nothing changed hears nothing of it. */
  configure(config: BfdConfig): void {
    const wanted = new Map(config.sessions.map((session) => [peerKey(session), session]));
    for (const [key, held] of this.#sessions) if (!wanted.has(key)) this.#dismiss(key, held);
    for (const [key, session] of wanted) this.#want(key, session);
    if (wanted.size === 0) this.#watch.stop();
    else this.#watch.start(config.wedgedMs);
    this.#openSockets();
  }

  status(): readonly BfdStatus[] {
    return [...this.#sessions.values()]
      .filter(({ leaving }) => leaving === null)
      .map(({ session }) => session.status());
  }

  /**
   * The daemon ends, and BGP has said its goodbye. Down, not AdminDown: RFC 5882 §3.2 lets a router keep a path whose session is
   * AdminDown, and whatever else hangs on this one (a static route) must let go of us.
   */
  stop(): void {
    this.#stopped = true;
    this.#watch.stop();
    this.#reopen?.();
    this.#reopen = null;
    for (const { session } of this.#sessions.values()) session.hold(DIAGNOSTIC.administrativelyDown);
    for (const [key, held] of this.#sessions) this.#forget(key, held);
    for (const socket of this.#receivers.values()) socket.close();
    this.#receivers.clear();
  }

  // ── sessions ──

  #want(key: string, config: BfdSessionConfig): void {
    const present = this.#sessions.get(key);
    const identity = identityOf(config);
    if (present !== undefined && present.identity === identity) {
      present.session.reconfigure(config);
      if (present.leaving === null) return;
      present.leaving();
      present.leaving = null;
      present.session.enable();
      return;
    }
    if (present !== undefined) {
      // Said with the old key, so that the other side does not take the change for a failure.
      present.session.disable();
      this.#forget(key, present);
    }
    const session = new Session(this.#world, config, this.#newDiscriminator(), {
      send: (bytes) => this.#send(held, bytes),
      changed: (change) => {
        if (held.leaving === null && !this.#stopped) this.#handlers.changed(change);
      },
    });
    const held: Held = { session, identity, socket: null, leaving: null };
    this.#sessions.set(key, held);
    this.#byDiscriminator.set(session.discriminator, session);
    if (this.#watch.isWedged) session.hold(DIAGNOSTIC.forwardingPlaneReset);
    this.#openSender(held);
    session.start();
  }

  /** RFC 5880 §6.8.16, RFC 5882 §3.2: BFD is no longer wanted here, which says nothing about the path. */
  #dismiss(key: string, held: Held): void {
    if (held.leaving !== null) return;
    // Nobody is to be told of what comes now.
    held.leaving = () => {};
    held.session.disable();
    const { transmitMs } = held.session.status();
    const detectionMs = held.session.config.multiplier * (transmitMs ?? 0);
    held.leaving = this.#world.clock.at(Math.max(FAREWELL_MS, detectionMs), () => {
      this.#forget(key, held);
      this.#closeReceivers();
    });
  }

  #forget(key: string, held: Held): void {
    held.leaving?.();
    held.session.close();
    held.socket?.close();
    held.socket = null;
    this.#byDiscriminator.delete(held.session.discriminator);
    this.#sessions.delete(key);
  }

  /** RFC 5880 §6.8.1: unique, not zero, and hard to guess. */
  #newDiscriminator(): number {
    for (;;) {
      const found = Math.floor(this.#world.random() * 2 ** 32);
      if (found !== 0 && !this.#byDiscriminator.has(found)) return found;
    }
  }

  // ── the daemon's life ──

  /**
   * RFC 5880 §6.8.15, diagnostic 4: "the remote system can no longer rely on the local forwarding state". Never AdminDown, on which
   * routers keep the path (RFC 5882 §3.2).
   */
  #wedged(forMs: number): void {
    const text = `No sign of life from the daemon for ${forMs} ms: all sessions are held down`;
    this.#world.log({ level: 'critical', system: 'bfd', text, data: { event: 'bfd-wedged', forMs } });
    for (const { session } of this.#sessions.values()) session.hold(DIAGNOSTIC.forwardingPlaneReset);
  }

  #recovered(): void {
    this.#world.log({ level: 'warn', system: 'bfd', text: 'The daemon lives again: sessions may come up' });
    for (const { session } of this.#sessions.values()) session.release();
  }

  // ── packets ──

  #received(bytes: Uint8Array, from: Endpoint, to: Reception): void {
    // What follows the longest packet is not looked at.
    const packet = decodePacket(bytes.subarray(0, MAX_BYTES));
    if (typeof packet === 'string') return this.#discard(from, to, packet);
    // RFC 5880 §6.3: once the discriminators are known, nothing else tells sessions apart.
    const session =
      packet.yourDiscriminator !== 0
        ? this.#byDiscriminator.get(packet.yourDiscriminator)
        : this.#sessionWith(from, to);
    // A session over one hop must not be reached through the port where TTLs are not looked at.
    if (session === undefined || session.config.multihop !== to.multihop) return this.#stranger(from, 'no-session');
    session.receive(packet, bytes);
  }

  #sessionWith({ address }: Endpoint, { multihop, local }: Reception): Session | undefined {
    for (const { session } of this.#sessions.values()) {
      const { config } = session;
      if (config.address !== address || config.multihop !== multihop) continue;
      if (config.localAddress === null || local === config.localAddress || isAny(local)) return session;
    }
    return undefined;
  }

  /** Counted at the session that it came from the peer of, if there is one. */
  #discard(from: Endpoint, to: Reception, reason: Discard): void {
    const session = this.#sessionWith(from, to);
    if (session === undefined) this.#stranger(from, reason);
    else session.discard(reason);
  }

  /** Usually an address that differs from what one side was told. Now and then a line about it, never one for each packet. */
  #stranger({ address }: Endpoint, reason: Discard): void {
    const strangers = this.#strangers;
    strangers.count++;
    const now = this.#world.clock.now();
    if (now < strangers.quietUntil) return;
    const others = strangers.count > 1 ? `, and ${strangers.count - 1} like it` : '';
    strangers.quietUntil = now + STRANGER_LOG_MS;
    strangers.count = 0;
    const text = `Packet from ${address} discarded: ${DISCARDS[reason]}${others}`;
    this.#world.log({ level: 'info', system: 'bfd', text });
  }

  #send(held: Held, bytes: Uint8Array): void {
    const { address, multihop } = held.session.config;
    if (held.socket === null) throw new Error('no socket to send from');
    try {
      held.socket.send(bytes, { address, port: multihop ? PORT.multi : PORT.single });
    } catch (error) {
      if (isStale(error)) this.#abandonSockets(held);
      throw error;
    }
  }

  // ── sockets ──

  /** The interface or the address that they were bound to is gone; what is called the same later is another one. */
  #abandonSockets(held: Held): void {
    held.socket?.close();
    held.socket = null;
    const reception = receptionOf(held.session.config);
    const key = receptionKey(reception);
    // Only a link-local address belongs to an interface; all other sockets for receiving go on, and others may need them.
    if (reception.local.includes('%')) {
      this.#receivers.get(key)?.close();
      this.#receivers.delete(key);
    }
    this.#reopen ??= this.#world.clock.at(REOPEN_MS, () => this.#openSockets());
  }

  /** Those that are needed and missing; what fails is tried again. */
  #openSockets(): void {
    this.#reopen?.();
    this.#reopen = null;
    for (const held of this.#sessions.values()) if (held.socket === null) this.#openSender(held);
    for (const [key, { multihop, local }] of this.#wantedReceivers()) {
      if (!this.#receivers.has(key)) this.#openReceiver(key, multihop, local);
    }
    this.#closeReceivers();
    const missing =
      [...this.#sessions.values()].some(({ socket }) => socket === null) ||
      [...this.#wantedReceivers().keys()].some((key) => !this.#receivers.has(key));
    if (missing) this.#reopen = this.#world.clock.at(REOPEN_MS, () => this.#openSockets());
  }

  #wantedReceivers(): ReadonlyMap<string, Reception> {
    const wanted = new Map<string, Reception>();
    for (const { session } of this.#sessions.values()) {
      const reception = receptionOf(session.config);
      wanted.set(receptionKey(reception), reception);
    }
    return wanted;
  }

  #openReceiver(key: string, multihop: boolean, address: string): void {
    const port = multihop ? PORT.multi : PORT.single;
    this.#open(`Cannot receive at ${printEndpoint(address, port)}`, () => {
      const options = { address, port, ttl: TTL, ...(multihop ? {} : { minTtl: TTL }) };
      const socket = this.#world.datagrams.open(options, (bytes, from) =>
        this.#received(bytes, from, { multihop, local: address }),
      );
      this.#receivers.set(key, socket);
    });
  }

  #closeReceivers(): void {
    const wanted = this.#wantedReceivers();
    for (const [key, socket] of this.#receivers) {
      if (wanted.has(key)) continue;
      this.#receivers.delete(key);
      socket.close();
    }
  }

  /** RFC 5881 §4: one source port a session, which nobody else of us has. */
  #openSender(held: Held): void {
    const { config } = held.session;
    const address = config.localAddress ?? anyOf(config.address);
    const span = SOURCE_PORTS.last - SOURCE_PORTS.first + 1;
    this.#open(`Cannot send from ${address} to ${config.address}`, () => {
      for (let attempt = 1; ; attempt++) {
        const port = SOURCE_PORTS.first + Math.floor(this.#world.random() * span);
        try {
          // Nobody has anything to say to this port.
          held.socket = this.#world.datagrams.open({ address, port, ttl: TTL }, null);
          return;
        } catch (error) {
          if (!isTaken(error) || attempt === SOURCE_PORTS.attempts) throw error;
        }
      }
    });
  }

  /** A failure is told once, and once again when it is over. */
  #open(what: string, open: () => void): void {
    try {
      open();
      if (this.#said.delete(what)) this.#world.log({ level: 'info', system: 'bfd', text: `No longer: ${what}` });
    } catch (error) {
      if (this.#said.has(what)) return;
      this.#said.add(what);
      const text = `${what} (${errorText(error)}): trying again every ${REOPEN_MS / 1000} s`;
      this.#world.log({ level: 'warn', system: 'bfd', text });
    }
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof SystemError && error.code === 'EADDRINUSE';
}

/** What sendto(2) answers when a socket is bound to what is no longer there. */
function isStale(error: unknown): boolean {
  return error instanceof SystemError && STALE.has(error.code);
}

function receptionOf({ multihop, address, localAddress }: BfdSessionConfig): Reception {
  return { multihop, local: localAddress ?? anyOf(address) };
}

function receptionKey({ multihop, local }: Reception): string {
  return `${multihop ? 'multihop ' : ''}${local}`;
}

function anyOf(address: string): string {
  return familyOf(address) === 4 ? '0.0.0.0' : '::';
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** Two sessions with the same of this could not be told apart by a packet that knows no discriminator. */
function peerKey({ address, localAddress, multihop }: BfdSessionConfig): string {
  return `${address} ${localAddress ?? ''} ${multihop}`;
}

/** What cannot change without a new session. */
function identityOf({ name, auth }: BfdSessionConfig): string {
  return JSON.stringify([name, auth?.type, auth?.keyId, auth?.key]);
}
