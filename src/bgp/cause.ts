// Why a connection ended: for people, and for whoever decides when to try again. Pure.

import type { Cause } from './fsm.ts';
import { describeNotification } from './notification.ts';

/** Hold Timer Expired, Cease, Send Hold Timer Expired: these heal by themselves, as a lost connection does. */
const HEALING_CODES: readonly number[] = [4, 6, 8];

/** Does this error come back whenever the same two speakers meet? */
export function isProtocolError(cause: Cause): boolean {
  if (cause.is !== 'sent' && cause.is !== 'received') return false;
  return !HEALING_CODES.includes(cause.notification.code);
}

/** For people, on one line; text from the wire is harmless. */
export function describeCause(cause: Cause): string {
  switch (cause.is) {
    case 'stopped':
      return `Stopped: ${describeNotification(cause.notification)}`;
    case 'sent':
      return `Sent notification: ${describeNotification(cause.notification)}${cause.why === undefined ? '' : `, ${cause.why}`}`;
    case 'received':
      return `Received notification: ${describeNotification(cause.notification)}`;
    case 'connection':
      return `Connection failed: ${cause.reason}`;
    default:
      return cause satisfies never;
  }
}
