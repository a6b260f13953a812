// One session as a pure machine: `step(config, state, event)` gives the next state and what is to be done. RFC 5880 §6.2 and
// §6.8, asynchronous mode, active role; of demand mode it honours what the other side asks for, of echo it offers none.
// session.ts owns sockets and timers, turns what happens into events and performs the actions.

import { DIAGNOSTIC, type Packet } from './packet.ts';
import type { StateName } from './types.ts';

export interface FsmConfig {
  /** bfd.LocalDiscr */
  readonly discriminator: number;
  /** What we want once the session is up; until then §6.8.3 wants at least a second. */
  readonly desiredMinTxUs: number;
  readonly requiredMinRxUs: number;
  readonly multiplier: number;
}

/** What the other side last said of itself. */
export interface Remote {
  readonly state: StateName;
  readonly discriminator: number;
  readonly diagnostic: number;
  readonly demand: boolean;
  readonly minRxUs: number;
  readonly desiredMinTxUs: number;
  readonly multiplier: number;
}

/**
 * §6.5, §6.8.3. `again`: something changed after the poll began. `waiting`: that poll is answered, and the next one may begin
 * when a packet without the Final bit has come, so that no late answer is taken for its own.
 */
export type Poll = 'none' | 'polling' | 'again' | 'waiting';

/** An interval as it is advertised, and as it is in force (§6.8.3 lets them differ while a poll is not answered). */
interface Interval {
  readonly advertisedUs: number;
  readonly inForceUs: number;
}

export interface State {
  readonly is: StateName;
  /** bfd.LocalDiag */
  readonly diagnostic: number;
  /** Kept down whatever the other side says: with this diagnostic. */
  readonly held: number | null;
  /** null: nothing valid came for a detection time. */
  readonly remote: Remote | null;
  readonly tx: Interval;
  readonly rx: Interval;
  readonly poll: Poll;
  /** bfd.XmitAuthSeq */
  readonly transmitSequence: number;
  /** bfd.RcvAuthSeq; null: bfd.AuthSeqKnown is 0. */
  readonly receiveSequence: number | null;
  /** Packets that told of a change since the last periodic one. */
  readonly early: number;
}

export type Event =
  /** Passed packet.ts and auth.ts; `sequence` is to be remembered. */
  | { readonly on: 'packet'; readonly packet: Packet; readonly sequence: number | null }
  | { readonly on: 'transmit-due' }
  | { readonly on: 'detection-expires' }
  /** As long again without a packet. */
  | { readonly on: 'sequence-expires' }
  /** `config` has new intervals or a new multiplier. */
  | { readonly on: 'reconfigured' }
  /** §6.8.16: to AdminDown, and out of it. */
  | { readonly on: 'disable' }
  | { readonly on: 'enable' }
  /** To Down, and stay there without a word more until released. */
  | { readonly on: 'hold'; readonly diagnostic: number }
  | { readonly on: 'release' };

export type Timer = 'transmit' | 'detection' | 'sequence';

export type Action =
  | { readonly do: 'send'; readonly packet: Packet; readonly sequence: number }
  /** Start, or start again, to end after between `least` × and 1 × `us`, or `most` × it: §6.8.7's jitter. */
  | { readonly do: 'arm'; readonly timer: Timer; readonly us: number; readonly least: number; readonly most: number }
  | { readonly do: 'disarm'; readonly timer: Timer }
  | { readonly do: 'changed'; readonly from: StateName; readonly to: StateName };

export type Step = readonly [State, readonly Action[]];

/** §6.8.3: not less than this while not up. */
export const SLOW_TX_US = 1_000_000;
/**
 * Two sides that tell each other of every change at once, with packets of both under way, can go up and down for ever, as fast as
 * packets travel. A handshake with its polls takes half of this; what comes after it waits for the next period, which jitter sets.
 */
export const MAX_EARLY = 8;

/** `transmitSequence`: random (§6.8.1). */
export function initialState(config: FsmConfig, transmitSequence: number): State {
  return {
    is: 'Down',
    diagnostic: DIAGNOSTIC.none,
    held: null,
    remote: null,
    tx: steady(slow(config.desiredMinTxUs)),
    rx: steady(config.requiredMinRxUs),
    poll: 'none',
    transmitSequence,
    receiveSequence: null,
    early: 0,
  };
}

/** Between two periodic packets, before jitter; null: none are sent (§6.8.7). */
export function transmitIntervalUs({ is, remote, tx, poll }: State): number | null {
  // §6.8.1: bfd.RemoteMinRxInterval is 1 until it is known.
  if (remote === null) return tx.inForceUs;
  if (remote.minRxUs === 0) return null;
  const remoteDemands = remote.demand && is === 'Up' && remote.state === 'Up';
  if (remoteDemands && !isPolling(poll)) return null;
  return Math.max(tx.inForceUs, remote.minRxUs);
}

/** §6.8.4; null before anything is known. */
export function detectionUs({ remote, rx }: State): number | null {
  return remote === null ? null : remote.multiplier * Math.max(rx.inForceUs, remote.desiredMinTxUs);
}

export function step(config: FsmConfig, state: State, event: Event): Step {
  switch (event.on) {
    case 'packet':
      return received(config, state, event.packet, event.sequence);
    case 'transmit-due':
      return transmit(config, state, 'periodic');
    case 'detection-expires':
      return silence(config, state);
    case 'sequence-expires':
      // §6.8.1: the other side may have started afresh.
      return [{ ...state, receiveSequence: null }, []];
    case 'reconfigured':
      return transmit(config, advertise(config, state), 'change');
    case 'disable':
      return state.is === 'AdminDown'
        ? [state, []]
        : finish(config, state, to(config, state, 'AdminDown', DIAGNOSTIC.administrativelyDown));
    case 'enable':
      return state.is === 'AdminDown'
        ? finish(config, state, to(config, state, 'Down', state.diagnostic))
        : [state, []];
    case 'hold':
      return hold(config, state, event.diagnostic);
    case 'release':
      return [{ ...state, held: null }, []];
    default:
      return event satisfies never;
  }
}

/** §6.8.6, from where the packet is known to be this session's and authentic. */
function received(config: FsmConfig, before: State, packet: Packet, sequence: number | null): Step {
  let state: State = {
    ...before,
    receiveSequence: sequence,
    poll: pollAfter(before.poll, packet.final),
    remote: {
      state: packet.state,
      discriminator: packet.myDiscriminator,
      diagnostic: packet.diagnostic,
      demand: packet.demand,
      minRxUs: packet.requiredMinRxUs,
      desiredMinTxUs: packet.desiredMinTxUs,
      multiplier: packet.multiplier,
    },
  };
  if (before.poll === 'polling' && packet.final) state = { ...state, ...settled(state) };
  if (state.is === 'AdminDown') return [state, [...repace(config, before, state), ...listen(state)]];
  state = shaken(config, state, packet.state);
  const waits = state.early >= MAX_EARLY && transmitIntervalUs(state) !== null;
  const [next, actions] = waits ? wait(config, before, state) : finish(config, before, state);
  // §6.5: answered at once, whatever the timer says.
  const [answered, answer] = packet.poll ? transmit(config, next, 'final') : [next, []];
  return [answered, [...actions, ...answer, ...listen(answered)]];
}

/** The three-way handshake of §6.2, and both ways down. */
function shaken(config: FsmConfig, state: State, remote: StateName): State {
  const lost = () => to(config, state, 'Down', DIAGNOSTIC.neighborSignaledDown);
  if (remote === 'AdminDown') return state.is === 'Down' ? state : lost();
  switch (state.is) {
    case 'Down':
      if (state.held !== null || remote === 'Up') return state;
      return to(config, state, remote === 'Down' ? 'Init' : 'Up', state.diagnostic);
    case 'Init':
      return remote === 'Down' ? state : to(config, state, 'Up', state.diagnostic);
    case 'Up':
      return remote === 'Down' ? lost() : state;
    case 'AdminDown':
      return state;
    default:
      return state.is satisfies never;
  }
}

/** §6.8.4, and §6.8.1 and §6.8.18 for what is forgotten with it. */
function silence(config: FsmConfig, before: State): Step {
  const us = detectionUs(before);
  const forgotten: State = { ...before, remote: null, poll: 'none', ...settled(before) };
  const wasAlive = before.is === 'Init' || before.is === 'Up';
  const state = wasAlive ? to(config, forgotten, 'Down', DIAGNOSTIC.detectionTimeExpired) : forgotten;
  const [next, actions] = finish(config, before, state);
  const again: Action[] = us === null ? [] : [{ do: 'arm', timer: 'sequence', us, least: 1, most: 1 }];
  return [next, [...actions, ...again]];
}

/**
 * §6.8.15: the other side can no longer rely on us. Said once, then silence, which §6.8.18 knows of: where that one packet is lost,
 * its detection time ends. A second Down, as in answer to a poll, would take it on to Init; and where states follow each other too
 * quickly BIRD tells BGP the last one only, which then is no failure.
 */
function hold(config: FsmConfig, before: State, diagnostic: number): Step {
  if (before.is === 'AdminDown') return [before, []];
  const down = { ...to(config, before, 'Down', diagnostic), diagnostic, held: null };
  const [state, actions] = finish(config, before, down);
  return [{ ...state, held: diagnostic }, actions];
}

/** Into another state, with the intervals that go with it. */
function to(config: FsmConfig, state: State, is: StateName, diagnostic: number): State {
  return advertise(config, { ...state, is, diagnostic });
}

/** Advertise what configuration and state ask for; what cannot be in force before the other side knows it stays (§6.8.3). */
function advertise(config: FsmConfig, state: State): State {
  const up = state.is === 'Up';
  const txUs = up ? config.desiredMinTxUs : slow(config.desiredMinTxUs);
  const rxUs = config.requiredMinRxUs;
  if (txUs === state.tx.advertisedUs && rxUs === state.rx.advertisedUs) return state;
  return {
    ...state,
    tx: { advertisedUs: txUs, inForceUs: up && txUs > state.tx.inForceUs ? state.tx.inForceUs : txUs },
    rx: { advertisedUs: rxUs, inForceUs: up && rxUs < state.rx.inForceUs ? state.rx.inForceUs : rxUs },
    poll: state.poll === 'none' ? 'polling' : state.poll === 'polling' ? 'again' : state.poll,
  };
}

function pollAfter(poll: Poll, final: boolean): Poll {
  switch (poll) {
    case 'none':
      return 'none';
    case 'polling':
      return final ? 'none' : 'polling';
    case 'again':
      return final ? 'waiting' : 'again';
    case 'waiting':
      return final ? 'waiting' : 'polling';
    default:
      return poll satisfies never;
  }
}

function isPolling(poll: Poll): boolean {
  return poll === 'polling' || poll === 'again';
}

function settled({ tx, rx }: State): Pick<State, 'tx' | 'rx'> {
  return { tx: steady(tx.advertisedUs), rx: steady(rx.advertisedUs) };
}

function steady(us: number): Interval {
  return { advertisedUs: us, inForceUs: us };
}

function slow(us: number): number {
  return Math.max(us, SLOW_TX_US);
}

/** What follows from any change: tell our own side, tell the other side at once, keep the transmit timer at its interval. */
function finish(config: FsmConfig, before: State, state: State): Step {
  const changed = changeOf(before, state);
  if (!saysTheSame(before, state)) {
    // §6.8.7: changed contents are not kept until the next period.
    const [sent, actions] = transmit(config, state, 'change');
    return [sent, [...changed, ...actions]];
  }
  return [state, [...changed, ...repace(config, before, state)]];
}

/** As `finish`, but the other side is told with the next period, which is under way. */
function wait(config: FsmConfig, before: State, state: State): Step {
  const pacing = transmitIntervalUs(before) === null ? repace(config, before, state) : [];
  return [state, [...changeOf(before, state), ...pacing]];
}

function changeOf(before: State, state: State): readonly Action[] {
  return before.is === state.is ? [] : [{ do: 'changed', from: before.is, to: state.is }];
}

/** §6.8.7: a new interval counts from now on. */
function repace(config: FsmConfig, before: State, state: State): readonly Action[] {
  const us = transmitIntervalUs(state);
  return us === transmitIntervalUs(before) ? [] : [pace(config, us)];
}

/** Would the next packet have other contents than the last, P and F aside? */
function saysTheSame(a: State, b: State): boolean {
  return (
    a.is === b.is &&
    a.diagnostic === b.diagnostic &&
    a.tx.advertisedUs === b.tx.advertisedUs &&
    a.rx.advertisedUs === b.rx.advertisedUs &&
    a.remote?.discriminator === b.remote?.discriminator
  );
}

/** One packet now, and unless it is only an answer (§6.5) the next one an interval later, if the other side wants any. */
function transmit(config: FsmConfig, state: State, why: 'periodic' | 'change' | 'final'): Step {
  const us = transmitIntervalUs(state);
  const final = why === 'final';
  const silent = state.held !== null && state.is === 'Down';
  if (silent || (us === null && why === 'periodic')) return [state, final ? [] : [pace(config, us)]];
  // §6.7.3: meticulous ones must grow with each packet, the others may.
  const transmitSequence = (state.transmitSequence + 1) >>> 0;
  const packet: Packet = {
    diagnostic: state.diagnostic,
    state: state.is,
    poll: !final && isPolling(state.poll),
    final,
    // RFC 5882 §4.3.2: we end with the daemon, so a graceful restart must not outlive us.
    controlPlaneIndependent: false,
    demand: false,
    multiplier: config.multiplier,
    myDiscriminator: config.discriminator,
    yourDiscriminator: state.remote?.discriminator ?? 0,
    desiredMinTxUs: state.tx.advertisedUs,
    requiredMinRxUs: state.rx.advertisedUs,
    requiredMinEchoRxUs: 0,
    auth: null,
  };
  const send: Action = { do: 'send', packet, sequence: state.transmitSequence };
  if (final) return [{ ...state, transmitSequence }, [send]];
  const early = why === 'periodic' ? 0 : state.early + 1;
  return [{ ...state, transmitSequence, early }, [send, pace(config, us)]];
}

/** §6.8.7: 75 to 100 % of the interval; to 90 % where the other side counts to one. */
function pace({ multiplier }: FsmConfig, us: number | null): Action {
  if (us === null) return { do: 'disarm', timer: 'transmit' };
  return { do: 'arm', timer: 'transmit', us, least: 0.75, most: multiplier === 1 ? 0.9 : 1 };
}

function listen(state: State): readonly Action[] {
  const us = detectionUs(state);
  if (us === null) return [];
  return [
    { do: 'arm', timer: 'detection', us, least: 1, most: 1 },
    { do: 'disarm', timer: 'sequence' },
  ];
}
