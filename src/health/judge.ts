// What the end of a check says: something about the server, or only about ourselves (law 5: unknown is not down). And what a failure is
// called. Used by tools.ts, poll.ts and watch.ts.

import type { Cut } from '../lib/cut.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import type { Self } from '../world/world.ts';
import type { CheckCut } from './check-cut.ts';
import { bugText } from './fence.ts';
import type { Health } from './monitor.ts';

const MAX_REASON = 1000;

/** Why a check that never got its turn knows nothing. */
export const TOO_MANY = 'too many checks at once';

/** Errors of connect() and epoll(7) that are about this host: limits, addresses, zones and routes, packet filter, what it was told. */
const OWN_FAULTS: ReadonlySet<string> = new Set(
  'EMFILE ENFILE ENOBUFS ENOMEM ENOSYS ENOTSUP EAGAIN EADDRNOTAVAIL EADDRINUSE EAFNOSUPPORT ENETUNREACH ENETDOWN EACCES EPERM EINVAL ENODEV ENOSPC'.split(
    ' ',
  ),
);

export function faultOfConnecting(error: unknown, cut: Cut): string | null {
  if (!(error instanceof SystemError)) return null;
  if (error.code === 'ECANCELED') return cut.aborted ? null : error.message;
  return OWN_FAULTS.has(error.code) ? error.message : null;
}

/** Names are looked up by us: that we got no answer, or the wrong name, is no word of the server. */
const NAME_FAULTS: ReadonlySet<string> = new Set(['EINVAL', 'ENOTFOUND', 'ETIMEOUT', 'EAI_AGAIN']);

export function faultOfFetching(error: unknown, cut: Cut): string | null {
  const named = error instanceof SystemError && NAME_FAULTS.has(error.code);
  return named ? error.message : faultOfConnecting(error, cut);
}

/** A program that could not even be started (missing, not executable, no more processes) has not asked the server anything. */
export function faultOfRunning(error: unknown, cut: Cut): string | null {
  if (!(error instanceof SystemError)) return null;
  return error.code === 'ECANCELED' && cut.aborted ? null : error.message;
}

/** A file of ours that cannot be read says nothing about a server. */
export class ReadFailed extends SystemError {
  constructor({ code, call, message }: SystemError) {
    super(code, call);
    this.message = message;
  }
}

/** The same error. That a connect failed it says in the words of PyBal's logs (Twisted's error messages) from now on. */
export function inWords(error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  const words = CONNECT_WORDS.get(error.code);
  if (words !== undefined) error.message = error.detail === '' ? words : `${words} (${error.detail})`;
  return error;
}

const CONNECT_WORDS: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'Connection was refused by other side: 111: Connection refused.'],
  ['ETIMEDOUT', 'TCP connection timed out: 110: Connection timed out.'],
  ['EHOSTUNREACH', 'No route to host: 113: No route to host.'],
  ['ENETUNREACH', 'An error occurred while connecting: 101: Network is unreachable.'],
  ['ECONNRESET', 'Connection to the other side was lost in a non-clean fashion: Connection lost.'],
  ['EPIPE', 'Connection to the other side was lost in a non-clean fashion: Connection lost.'],
  ['ECANCELED', 'User timeout caused connection failure.'],
]);

/** How a check ended: with what it returned or threw, and whether its deadline had passed. */
export interface Ending {
  readonly returned?: unknown;
  readonly threw?: unknown;
  readonly timedOut: boolean;
}

/** What the end of a check says. `givenMs`: the time that the server was given, without what the check waited for here. */
export function judge(ending: Ending, cut: CheckCut, host: { self(): Self }, givenMs: number): Health {
  if (cut.spoilt !== null) return { is: 'unknown', reason: bounded(cut.spoilt) };
  if (ending.threw instanceof ReadFailed) return { is: 'unknown', reason: bounded(ending.threw.message) };
  const health: Health =
    'threw' in ending ? { is: 'down', reason: bounded(errorText(ending.threw)) } : asHealth(ending.returned);
  if (health.is === 'down' && cut.ownFault !== null) return { is: 'unknown', reason: bounded(cut.ownFault) };
  const slowByMs = health.is === 'down' ? slownessOf(ending.returned) : 0;
  if (cut.ownFault !== null || (!ending.timedOut && slowByMs === 0)) return health;
  const self = host.self();
  // Whoever stays silent for as long as it was listened to is heard in no turn of the loop: many short stalls excuse nobody.
  const lateMs = self.lateSince(cut.startedAt);
  if (ending.timedOut && lateMs > givenMs / 2) return { is: 'unknown', reason: lateText(lateMs) };
  const stalledMs = self.stalledSince(cut.startedAt);
  if (health.is === 'down' && slowByMs > 0 && cut.waitedMs + stalledMs >= slowByMs) {
    const waited = cut.waitedMs > 0 ? ` and the check waited ${Math.round(cut.waitedMs)} ms for its turn` : '';
    return { is: 'unknown', reason: bounded(`${health.reason}, but ${lateText(stalledMs)}${waited}`) };
  }
  return ending.timedOut && (health.is !== 'down' || 'threw' in ending) ? TIMED_OUT : health;
}

/** By how much the server was too slow, if that is all there is against it; otherwise 0. */
function slownessOf(returned: unknown): number {
  try {
    if (typeof returned !== 'object' || returned === null || !('slowByMs' in returned)) return 0;
    const { slowByMs } = returned;
    return typeof slowByMs === 'number' && slowByMs > 0 ? slowByMs : 0;
  } catch {
    // An attribute that throws when somebody looks.
    return 0;
  }
}

export const TIMED_OUT: Health = { is: 'down', reason: 'timed out' };

export function lateText(lateMs: number): string {
  return `the event loop was ${Math.round(lateMs)} ms late`;
}

/**
 * What a monitor returned, if it keeps to the contract, as an object of our own: that of the monitor may be changed afterwards, and may
 * say something else each time that somebody looks. A monitor's bug says nothing about the server.
 */
export function asHealth(value: unknown): Health {
  try {
    return healthOf(value);
  } catch (error) {
    // An attribute that throws when somebody looks.
    return { is: 'unknown', reason: bounded(bugText(error)) };
  }
}

/** Most servers, most of the time. */
const UP: Health = { is: 'up' };

/** As it may really be. Each attribute is read once. */
type Returned = Readonly<Partial<Record<'is' | 'reason' | 'detail' | 'weight' | 'percent' | 'drain', unknown>>>;

function healthOf(value: unknown): Health {
  if (typeof value !== 'object' || value === null) return wrong('no health');
  const { is } = value as Returned;
  if (is === 'up') return asUp(value);
  if (is !== 'down' && is !== 'unknown') return wrong('no health');
  const { reason = '(reason unknown)' } = value as Returned;
  // Without a word of why it is down all the same.
  return { is, reason: typeof reason === 'string' ? bounded(reason) : wrong('a reason that is no text').reason };
}

function asUp(value: Returned): Health {
  const { detail, weight, percent, drain } = value;
  if (detail != null && typeof detail !== 'string') return wrong('a detail that is no text');
  if (!isShare(weight)) return wrong(`weight ${String(weight)}`);
  if (!isShare(percent)) return wrong(`percent ${String(percent)}`);
  if (drain !== undefined && typeof drain !== 'boolean') return wrong('a drain that is neither true nor false');
  if (detail == null && weight === undefined && percent === undefined && drain === undefined) return UP;
  return {
    is: 'up',
    ...(detail == null ? {} : { detail: bounded(detail) }),
    ...(weight === undefined ? {} : { weight }),
    ...(percent === undefined ? {} : { percent }),
    ...(drain === undefined ? {} : { drain }),
  };
}

function wrong(what: string): Health & { is: 'unknown' } {
  return { is: 'unknown', reason: bounded(bugText(new TypeError(`it returned ${what}`))) };
}

function isShare(given: unknown): given is number | undefined {
  return given === undefined || (typeof given === 'number' && Number.isFinite(given) && given >= 0);
}

function bounded(text: string): string {
  return text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text;
}
