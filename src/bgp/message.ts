// Whole messages: the header (RFC 4271 §4.1) around the bodies of open.ts, update.ts and notification.ts, KEEPALIVE,
// and ROUTE-REFRESH (RFC 2918). `splitter.ts` cuts the stream into the frames that these decoders take.

import { type Family } from '../lib/address.ts';
import { Reader, Writer } from '../lib/bytes.ts';
import type { AttributeContext } from './attribute.ts';
import { afiOf, familyOfAfi, HEADER_BYTES, MESSAGE, SAFI_UNICAST } from './constants.ts';
import { decodeNotification, encodeNotification, type Notification } from './notification.ts';
import { decodeOpen, encodeOpen, type Open } from './open.ts';
import { decodeUpdate, encodeUpdate, type ReceivedUpdate, type Update } from './update.ts';

/** One message as it came: header checked, body still bytes (a view, good until the next read). */
export interface Frame {
  readonly type: number;
  readonly body: Uint8Array;
}

export type Message =
  | { readonly is: 'open'; readonly open: Open }
  | { readonly is: 'update'; readonly update: Update }
  | { readonly is: 'notification'; readonly notification: Notification }
  | { readonly is: 'keepalive' }
  | { readonly is: 'route-refresh'; readonly family: Family };

const TYPE = {
  open: MESSAGE.open,
  update: MESSAGE.update,
  notification: MESSAGE.notification,
  keepalive: MESSAGE.keepalive,
  'route-refresh': MESSAGE.routeRefresh,
} as const;

const PLAIN: AttributeContext = { as4: true, internal: false, families: [4, 6] };

/** `context` matters to UPDATE only. */
export function encodeMessage(message: Message, context: AttributeContext = PLAIN): Uint8Array {
  const writer = new Writer(128);
  for (let i = 0; i < 4; i++) writer.u32(0xffffffff);
  writer.u16(0).u8(TYPE[message.is]);
  switch (message.is) {
    case 'open':
      encodeOpen(writer, message.open);
      break;
    case 'update':
      encodeUpdate(writer, message.update, context);
      break;
    case 'notification':
      encodeNotification(writer, message.notification);
      break;
    case 'keepalive':
      break;
    case 'route-refresh':
      writer.u16(afiOf(message.family)).u8(0).u8(SAFI_UNICAST);
      break;
    default:
      message satisfies never;
  }
  return writer.patchU16(HEADER_BYTES - 3, writer.length).finish();
}

export function openOf(frame: Frame): Open {
  return decodeOpen(new Reader(frame.body));
}

export function updateOf(frame: Frame, context: AttributeContext): ReceivedUpdate {
  return decodeUpdate(new Reader(frame.body), context);
}

export function notificationOf(frame: Frame): Notification {
  return decodeNotification(new Reader(frame.body));
}

/** The family whose routes are asked for again; null for one that we do not have, or a subtype that is no request. */
export function refreshOf(frame: Frame): Family | null {
  const reader = new Reader(frame.body);
  const afi = reader.u16('AFI');
  const subtype = reader.u8('subtype');
  const safi = reader.u8('SAFI');
  // RFC 7313 §5: another subtype is a marker in the answer to somebody's request, or unknown.
  return subtype === 0 ? familyOfAfi(afi, safi) : null;
}
