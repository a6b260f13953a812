// The finite state machine of one connection: `step(config, state, event)` gives the next state and what is to be done.
// RFC 4271 §8, all mandatory events and timers, each cell as §8.2.2 has it; RFC 6608 for the subcodes, RFC 9687 for the
// send hold timer. Pure: session.ts turns what happens on a socket into events and performs the actions, peer.ts counts
// failures and decides when to start again (IdleHoldTimer and ConnectRetryCounter live there: two machines of one peer
// share them).

import { MESSAGE, OPEN_HOLD_SECONDS } from './constants.ts';
import { type ErrorName, type Notification, notification } from './notification.ts';
import type { Negotiated } from './open.ts';

export interface FsmConfig {
  /** ConnectRetryTime: how long one attempt to connect may take. */
  readonly connectRetrySeconds: number;
  /** Never dials: waits in Active for the peer's connection. */
  readonly passive: boolean;
  /** Between our KEEPALIVEs; null: a third of the negotiated hold time, which is also the most. */
  readonly keepaliveSeconds: number | null;
  /** RFC 9687 §6; null: eight minutes, or twice the negotiated hold time if that is more; 0: never. */
  readonly sendHoldSeconds: number | null;
}

export type State =
  | { readonly is: 'Idle' }
  | { readonly is: 'Connect' }
  | { readonly is: 'Active' }
  | { readonly is: 'OpenSent' }
  | { readonly is: 'OpenConfirm'; readonly agreed: Negotiated }
  | { readonly is: 'Established'; readonly agreed: Negotiated };

export type StateName = State['is'];

/** Numbers are the events' numbers in RFC 4271 §8.1. */
export type Event =
  /** 1, 3, 4, 5: passive or not is configuration. */
  | { readonly on: 'start' }
  /** 2, 8: with what the peer is told. */
  | { readonly on: 'stop'; readonly notification: Notification }
  /** 9, 10, 11 */
  | { readonly on: 'connect-retry-expires' }
  | { readonly on: 'hold-expires' }
  | { readonly on: 'keepalive-expires' }
  /** 16, 17 */
  | { readonly on: 'connected' }
  /** 18 */
  | { readonly on: 'connection-fails'; readonly reason: string }
  /** 19: already judged by `negotiate`. */
  | { readonly on: 'open'; readonly agreed: Negotiated }
  /** 21, 22 */
  | { readonly on: 'header-error'; readonly notification: Notification }
  /** `why`: what the peer does not need to be told, for the log. */
  | { readonly on: 'open-error'; readonly notification: Notification; readonly why?: string | undefined }
  /** 23 */
  | { readonly on: 'collision-dump' }
  /** 24 and 25 */
  | { readonly on: 'version-notification'; readonly notification: Notification }
  | { readonly on: 'notification'; readonly notification: Notification }
  /** 26 */
  | { readonly on: 'keepalive' }
  /** 27: the body is decoded only when it is delivered. */
  | { readonly on: 'update'; readonly body: Uint8Array }
  /** 28 */
  | { readonly on: 'update-error'; readonly notification: Notification }
  /** RFC 2918 §4 */
  | { readonly on: 'route-refresh'; readonly body: Uint8Array }
  /** RFC 7313 §5 */
  | { readonly on: 'refresh-error'; readonly notification: Notification }
  /** RFC 9687 §3: the stream takes no more, takes more again, has taken nothing for too long. */
  | { readonly on: 'write-blocked' }
  | { readonly on: 'write-drained' }
  | { readonly on: 'send-hold-expires' }
  /** UPDATEs were written: they count as a sign of life (RFC 4271 §8.2.2, Established, event 27 ff.). */
  | { readonly on: 'updates-sent' };

export type Timer = 'connectRetry' | 'hold' | 'keepalive' | 'sendHold';

/** Why a connection ended. */
export type Cause =
  /** We were told to. */
  | { readonly is: 'stopped'; readonly notification: Notification }
  /** We found an error and said so. */
  | { readonly is: 'sent'; readonly notification: Notification; readonly why?: string | undefined }
  | { readonly is: 'received'; readonly notification: Notification }
  /** TCP: refused, reset, closed, never answered. */
  | { readonly is: 'connection'; readonly reason: string };

export type Action =
  | { readonly do: 'connect' }
  | { readonly do: 'send'; readonly message: 'open' | 'keepalive' }
  | { readonly do: 'notify'; readonly notification: Notification }
  /** Drop the TCP connection, or the attempt at one. */
  | { readonly do: 'close' }
  /** Start, or start again. With jitter: RFC 4271 §10. */
  | { readonly do: 'arm'; readonly timer: Timer; readonly seconds: number; readonly jitter: boolean }
  | { readonly do: 'disarm'; readonly timer: Timer }
  | { readonly do: 'up'; readonly agreed: Negotiated }
  /** Back in Idle, or in Active without a connection. */
  | { readonly do: 'down'; readonly cause: Cause }
  | { readonly do: 'deliver'; readonly body: Uint8Array }
  | { readonly do: 'refresh'; readonly body: Uint8Array };

export type Step = readonly [State, readonly Action[]];

export const IDLE: State = { is: 'Idle' };

export function step(config: FsmConfig, state: State, event: Event): Step {
  switch (state.is) {
    case 'Idle':
      return idle(config, state, event);
    case 'Connect':
      return connect(config, state, event);
    case 'Active':
      return active(config, state, event);
    case 'OpenSent':
      return openSent(config, state, event);
    case 'OpenConfirm':
      return openConfirm(config, state, event);
    case 'Established':
      return established(config, state, event);
    default:
      return state satisfies never;
  }
}

function idle(config: FsmConfig, state: State, event: Event): Step {
  // Everything but a start is ignored in Idle; connections are refused by who owns the listener.
  if (event.on !== 'start') return [state, []];
  // deliberate: a passive machine arms no ConnectRetryTimer, or it would dial after all.
  if (config.passive) return [{ is: 'Active' }, []];
  return [{ is: 'Connect' }, [armRetry(config), { do: 'connect' }]];
}

function connect(config: FsmConfig, state: State, event: Event): Step {
  switch (event.on) {
    case 'start':
      return [state, []];
    case 'connect-retry-expires':
      return [state, [{ do: 'close' }, armRetry(config), { do: 'connect' }]];
    case 'connected':
      return [{ is: 'OpenSent' }, [{ do: 'disarm', timer: 'connectRetry' }, ...open()]];
    default:
      return fall(causeOf(event));
  }
}

function active(config: FsmConfig, state: State, event: Event): Step {
  switch (event.on) {
    case 'start':
      return [state, []];
    case 'connect-retry-expires':
      return [{ is: 'Connect' }, [armRetry(config), { do: 'connect' }]];
    case 'connected':
      return [{ is: 'OpenSent' }, [{ do: 'disarm', timer: 'connectRetry' }, ...open()]];
    default:
      // deliberate: RFC 4271 restarts the ConnectRetryTimer after event 18 here, but its expiry is ignored in Idle.
      return fall(causeOf(event));
  }
}

function openSent(config: FsmConfig, state: State, event: Event): Step {
  switch (event.on) {
    case 'start':
    case 'connected':
    case 'updates-sent':
    case 'write-blocked':
    case 'write-drained':
      return [state, []];
    case 'connection-fails': {
      const cause: Cause = { is: 'connection', reason: event.reason };
      const lost: Action[] = [{ do: 'disarm', timer: 'hold' }, { do: 'close' }];
      const retry = config.passive ? [] : [armRetry(config)];
      return [{ is: 'Active' }, [...lost, ...retry, { do: 'down', cause }]];
    }
    case 'open': {
      const { agreed } = event;
      // deliberate: RFC 4271 §8.2.2 has no HoldTimer here where the hold time is zero, and so no end for a peer that falls
      // silent before its KEEPALIVE. The one of our OPEN runs on until the session is up.
      const timers = [...armHold(agreed), ...armKeepalive(config, agreed)];
      return [{ is: 'OpenConfirm', agreed }, [{ do: 'send', message: 'keepalive' }, ...timers]];
    }
    default:
      return leave(event, 'fsmOpenSent');
  }
}

function openConfirm(config: FsmConfig, state: State & { is: 'OpenConfirm' }, event: Event): Step {
  switch (event.on) {
    case 'start':
    case 'connected':
    case 'updates-sent':
    case 'write-blocked':
    case 'write-drained':
      return [state, []];
    case 'keepalive-expires':
      return [state, [{ do: 'send', message: 'keepalive' }, ...armKeepalive(config, state.agreed)]];
    case 'keepalive':
      return [
        { is: 'Established', agreed: state.agreed },
        [...holdInSession(state.agreed), { do: 'up', agreed: state.agreed }],
      ];
    default:
      return leave(event, 'fsmOpenConfirm');
  }
}

function established(config: FsmConfig, state: State & { is: 'Established' }, event: Event): Step {
  switch (event.on) {
    case 'start':
    case 'connected':
      return [state, []];
    case 'keepalive-expires':
      return [state, [{ do: 'send', message: 'keepalive' }, ...armKeepalive(config, state.agreed)]];
    case 'updates-sent':
      return [state, armKeepalive(config, state.agreed)];
    case 'write-blocked':
      return [state, armSendHold(config, state.agreed)];
    case 'write-drained':
      return [state, [{ do: 'disarm', timer: 'sendHold' }]];
    case 'keepalive':
      return [state, armHold(state.agreed)];
    case 'update':
      return [state, [...armHold(state.agreed), { do: 'deliver', body: event.body }]];
    case 'route-refresh':
      return [state, [...armHold(state.agreed), { do: 'refresh', body: event.body }]];
    case 'update-error':
    case 'refresh-error':
      return fall({ is: 'sent', notification: event.notification }, event.notification);
    default:
      return leave(event, 'fsmEstablished');
  }
}

type Leaving = Exclude<Event, { on: 'start' | 'connected' }>;

/** Where an OPEN was sent, everything that a state does not handle itself ends the session, in one of these ways. */
function leave(event: Leaving, unexpected: ErrorName): Step {
  const cause = causeOf(event, unexpected);
  // RFC 4271 §6.4: a NOTIFICATION is never answered by one. deliberate: also in OpenSent, where §8.2.2 would have 5/0.
  return fall(cause, 'notification' in cause && cause.is !== 'received' ? cause.notification : null);
}

function causeOf(event: Leaving, unexpected: ErrorName = 'fsmUnspecific'): Cause {
  switch (event.on) {
    case 'stop':
      return { is: 'stopped', notification: event.notification };
    case 'collision-dump':
      return { is: 'stopped', notification: notification('ceaseCollision') };
    case 'connection-fails':
      return { is: 'connection', reason: event.reason };
    case 'version-notification':
    case 'notification':
      return { is: 'received', notification: event.notification };
    case 'hold-expires':
      return { is: 'sent', notification: notification('holdTimerExpired') };
    case 'send-hold-expires':
      return { is: 'sent', notification: notification('sendHoldTimerExpired') };
    // deliberate: in Established too, where §8.2.2 has 5/0 for 21 and 22 and §6.1 the error's own code. Routers do the
    // latter.
    case 'open-error':
      return { is: 'sent', notification: event.notification, ...(event.why === undefined ? {} : { why: event.why }) };
    case 'header-error':
      return { is: 'sent', notification: event.notification };
    case 'open':
      return unexpectedMessage(unexpected, MESSAGE.open);
    case 'update':
    case 'update-error':
      return unexpectedMessage(unexpected, MESSAGE.update);
    case 'keepalive':
      return unexpectedMessage(unexpected, MESSAGE.keepalive);
    case 'route-refresh':
    case 'refresh-error':
      return unexpectedMessage(unexpected, MESSAGE.routeRefresh);
    case 'connect-retry-expires':
    case 'keepalive-expires':
    case 'updates-sent':
    case 'write-blocked':
    case 'write-drained':
      return { is: 'sent', notification: notification(unexpected) };
    default:
      return event satisfies never;
  }
}

/** RFC 6608 §4: the data field names the type of the message that was not expected. */
function unexpectedMessage(name: ErrorName, type: number): Cause {
  return { is: 'sent', notification: notification(name, new Uint8Array([type])) };
}

/** To Idle: say why if anybody may hear it, drop the connection, stop every timer. */
function fall(cause: Cause, say: Notification | null = null): Step {
  return [
    IDLE,
    [
      ...(say === null ? [] : [{ do: 'notify', notification: say } as const]),
      { do: 'disarm', timer: 'connectRetry' },
      { do: 'disarm', timer: 'hold' },
      { do: 'disarm', timer: 'keepalive' },
      { do: 'disarm', timer: 'sendHold' },
      { do: 'close' },
      { do: 'down', cause },
    ],
  ];
}

function armRetry(config: FsmConfig): Action {
  return { do: 'arm', timer: 'connectRetry', seconds: config.connectRetrySeconds, jitter: true };
}

function open(): Action[] {
  return [
    { do: 'send', message: 'open' },
    { do: 'arm', timer: 'hold', seconds: OPEN_HOLD_SECONDS, jitter: false },
  ];
}

/** RFC 4271 §4.2: a hold time of zero means that in a session nobody counts. */
function holdInSession(agreed: Negotiated): Action[] {
  return agreed.holdTimeSeconds === 0 ? [{ do: 'disarm', timer: 'hold' }] : armHold(agreed);
}

function armHold(agreed: Negotiated): Action[] {
  if (agreed.holdTimeSeconds === 0) return [];
  return [{ do: 'arm', timer: 'hold', seconds: agreed.holdTimeSeconds, jitter: false }];
}

/** RFC 4271 §4.4: a third of the hold time, and never more than one a second. */
function armKeepalive({ keepaliveSeconds }: FsmConfig, { holdTimeSeconds }: Negotiated): Action[] {
  if (holdTimeSeconds === 0) return [];
  const seconds = Math.max(1, Math.min(keepaliveSeconds ?? holdTimeSeconds, holdTimeSeconds / 3));
  return [{ do: 'arm', timer: 'keepalive', seconds, jitter: true }];
}

/**
 * RFC 9687 §4.3: none where nobody counts. deliberate: armed while something waits to be sent instead of with each message,
 * which times the same standstill with fewer timers.
 */
function armSendHold({ sendHoldSeconds }: FsmConfig, { holdTimeSeconds }: Negotiated): Action[] {
  const seconds = sendHoldSeconds ?? Math.max(480, 2 * holdTimeSeconds);
  return holdTimeSeconds === 0 || seconds === 0 ? [] : [{ do: 'arm', timer: 'sendHold', seconds, jitter: false }];
}
