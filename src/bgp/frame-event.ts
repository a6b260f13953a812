// What a frame from the peer is to the machine of fsm.ts. Bodies of UPDATEs and ROUTE-REFRESHes are read later, when the machine
// wants them. Pure; called by session.ts.

import { MESSAGE } from './constants.ts';
import type { Event } from './fsm.ts';
import { type Frame, notificationOf, openOf } from './message.ts';
import { ProtocolError } from './notification.ts';
import { type LocalOpen, negotiate } from './open.ts';

/**
 * `local`: our OPEN on this connection; null: not sent yet. Throws ProtocolError where the frame's header does not fit
 * its type.
 */
export function eventOf(frame: Frame, local: LocalOpen | null): Event {
  switch (frame.type) {
    case MESSAGE.open:
      return openEvent(frame, local);
    case MESSAGE.update:
      return { on: 'update', body: frame.body };
    case MESSAGE.notification: {
      const notification = notificationOf(frame);
      const version = notification.code === 2 && notification.subcode === 1;
      return { on: version ? 'version-notification' : 'notification', notification };
    }
    case MESSAGE.keepalive:
      return { on: 'keepalive' };
    default:
      return { on: 'route-refresh', body: frame.body };
  }
}

function openEvent(frame: Frame, local: LocalOpen | null): Event {
  try {
    const open = openOf(frame);
    if (local === null) return { on: 'connection-fails', reason: 'OPEN before ours' };
    const result = negotiate(local, open);
    if ('refusal' in result) return { on: 'open-error', notification: result.refusal, why: result.why };
    return { on: 'open', agreed: result };
  } catch (thrown) {
    if (!(thrown instanceof ProtocolError)) throw thrown;
    return { on: 'open-error', notification: thrown.notification };
  }
}
