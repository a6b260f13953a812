// One session with its timers and counters around the machine of fsm.ts. engine.ts owns it, hands it the packets that are
// meant for it, and sends what it makes.

import { errorText } from '../lib/errors.ts';
import type { Clock, Mono } from '../world/world.ts';
import { type Digest, sign, verify } from './auth.ts';
import {
  type Action,
  detectionUs,
  type Event,
  type FsmConfig,
  initialState,
  type State,
  step,
  type Timer,
  transmitIntervalUs,
} from './fsm.ts';
import { DIAGNOSTIC, diagnosticText, type Discard, DISCARDS, type Packet } from './packet.ts';
import type { BfdChange, BfdCounters, BfdSessionConfig, BfdStatus } from './types.ts';

export interface SessionWorld {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  random(): number;
  readonly digest: Digest;
}

export interface SessionHandlers {
  /** Throws a SystemError when the kernel refuses. */
  send(bytes: Uint8Array): void;
  changed(change: BfdChange): void;
}

export class Session {
  readonly discriminator: number;
  readonly counters: BfdCounters = { packetsIn: 0, packetsOut: 0, sendErrors: 0, discarded: 0, downs: 0 };
  readonly #world: SessionWorld;
  readonly #handlers: SessionHandlers;
  #config: BfdSessionConfig;
  #state: State;
  #since: Mono;
  /** Of what comes or of what is sent, until that works again. */
  #lastError: { readonly of: 'receive' | 'send'; readonly text: string } | null = null;
  readonly #timers = new Map<Timer, () => void>();

  constructor(world: SessionWorld, config: BfdSessionConfig, discriminator: number, handlers: SessionHandlers) {
    this.#world = world;
    this.#config = config;
    this.discriminator = discriminator;
    this.#handlers = handlers;
    this.#state = initialState(this.#fsmConfig(), Math.floor(world.random() * 2 ** 32));
    this.#since = world.clock.now();
  }

  get config(): BfdSessionConfig {
    return this.#config;
  }
  get state(): State {
    return this.#state;
  }

  /** The first packet, and all others after it. */
  start(): void {
    this.#do({ on: 'transmit-due' });
  }

  /** Other intervals or another multiplier; what else differs needs a new session. */
  reconfigure(config: BfdSessionConfig): void {
    const same = config.intervalMs === this.#config.intervalMs && config.multiplier === this.#config.multiplier;
    this.#config = config;
    if (!same) this.#do({ on: 'reconfigured' });
  }

  /** A packet that was found to be for this session; authentication is still to be judged. */
  receive(packet: Packet, bytes: Uint8Array): void {
    const judged = verify(packet, bytes, this.#config.auth, this.#state.receiveSequence, this.#world.digest);
    if (typeof judged === 'string') return this.discard(judged);
    this.counters.packetsIn++;
    if (this.#lastError?.of === 'receive') this.#lastError = null;
    this.#do({ on: 'packet', packet, sequence: judged.sequence });
  }

  discard(reason: Discard): void {
    this.counters.discarded++;
    this.#lastError = { of: 'receive', text: `packet discarded: ${DISCARDS[reason]}` };
  }

  /** RFC 5880 §6.8.15: the other side must not rely on us, whatever it says, until `release`. */
  hold(diagnostic: number): void {
    this.#do({ on: 'hold', diagnostic });
  }
  release(): void {
    this.#do({ on: 'release' });
  }

  /** RFC 5880 §6.8.16 */
  disable(): void {
    this.#do({ on: 'disable' });
  }
  enable(): void {
    this.#do({ on: 'enable' });
  }

  /** Not a word more. */
  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  status(): BfdStatus {
    const state = this.#state;
    const { name, address, localAddress, multihop, auth } = this.#config;
    const us = detectionUs(state);
    const txUs = transmitIntervalUs(state);
    const { remote } = state;
    return {
      name,
      address,
      localAddress,
      multihop,
      state: state.is,
      since: this.#since,
      diagnostic: diagnosticText(state.diagnostic),
      localDiscriminator: this.discriminator,
      remote:
        remote === null
          ? null
          : {
              state: remote.state,
              discriminator: remote.discriminator,
              diagnostic: diagnosticText(remote.diagnostic),
              minRxMs: remote.minRxUs / 1000,
              desiredTxMs: remote.desiredMinTxUs / 1000,
              multiplier: remote.multiplier,
            },
      transmitMs: txUs === null ? null : txUs / 1000,
      detectionMs: us === null ? null : us / 1000,
      auth: auth?.type ?? null,
      counters: { ...this.counters },
      lastError: this.#lastError?.text ?? null,
    };
  }

  #fsmConfig(): FsmConfig {
    const us = this.#config.intervalMs * 1000;
    const { multiplier } = this.#config;
    return { discriminator: this.discriminator, desiredMinTxUs: us, requiredMinRxUs: us, multiplier };
  }

  #do(event: Event): void {
    const [state, actions] = step(this.#fsmConfig(), this.#state, event);
    this.#state = state;
    for (const action of actions) this.#perform(action);
  }

  #perform(action: Action): void {
    switch (action.do) {
      case 'send':
        return this.#send(action.packet, action.sequence);
      case 'arm': {
        const { timer, us, least, most } = action;
        const share = least + (most - least) * this.#world.random();
        this.#timers.get(timer)?.();
        this.#timers.set(
          timer,
          this.#world.clock.at((us * share) / 1000, () => this.#expired(timer)),
        );
        return;
      }
      case 'disarm':
        this.#timers.get(action.timer)?.();
        this.#timers.delete(action.timer);
        return;
      case 'changed':
        return this.#changed(action.from, action.to);
      default:
        action satisfies never;
    }
  }

  #expired(timer: Timer): void {
    this.#timers.delete(timer);
    switch (timer) {
      case 'transmit':
        return this.#do({ on: 'transmit-due' });
      case 'detection':
        return this.#do({ on: 'detection-expires' });
      case 'sequence':
        return this.#do({ on: 'sequence-expires' });
      default:
        timer satisfies never;
    }
  }

  #send(packet: Packet, sequence: number): void {
    try {
      this.#handlers.send(sign(packet, this.#config.auth, sequence, this.#world.digest));
      this.counters.packetsOut++;
      if (this.#lastError?.of === 'send') this.#lastError = null;
    } catch (error) {
      this.counters.sendErrors++;
      this.#lastError = { of: 'send', text: errorText(error) };
    }
  }

  #changed(was: BfdChange['was'], now: BfdChange['state']): void {
    this.#since = this.#world.clock.now();
    if (was === 'Up') this.counters.downs++;
    if (now === 'Up') this.#lastError = null;
    const { diagnostic, remote, held } = this.#state;
    this.#handlers.changed({
      name: this.#config.name,
      state: now,
      was,
      diagnostic: diagnosticText(diagnostic),
      remoteDiagnostic: diagnosticText(remote?.diagnostic ?? DIAGNOSTIC.none),
      remoteAdminDown: held === null && remote?.state === 'AdminDown',
    });
  }
}
