// Whole messages: the header (RFC 4271 §4.1) around the bodies of open.ts, update.ts and notification.ts, KEEPALIVE,
// and ROUTE-REFRESH (RFC 2918, RFC 7313). `splitter.ts` cuts the stream into the frames that these decoders take.

import { type Family } from '../lib/address.ts';
import { Reader, Writer } from '../lib/bytes.ts';
import type { AttributeContext } from './attribute.ts';
import { afiOf, familyOfAfi, HEADER_BYTES, MESSAGE, SAFI_UNICAST } from './constants.ts';
import { decodeNotification, encodeNotification, type Notification, ProtocolError } from './notification.ts';
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
  | { readonly is: 'route-refresh'; readonly family: Family; readonly subtype?: RefreshSubtype };

/** RFC 7313 §3.2; without one it is a request. */
export type RefreshSubtype = 'request' | 'begin' | 'end';

const TYPE = {
  open: MESSAGE.open,
  update: MESSAGE.update,
  notification: MESSAGE.notification,
  keepalive: MESSAGE.keepalive,
  'route-refresh': MESSAGE.routeRefresh,
} as const;

const SUBTYPES: readonly RefreshSubtype[] = ['request', 'begin', 'end'];

/** RFC 2918 §3 */
const REFRESH_BYTES = 4;

const PLAIN: AttributeContext = { as4: true, internal: false, families: [4, 6] };

/** `context` matters to UPDATE only. */
export function encodeMessage(message: Message, context: AttributeContext = PLAIN): Uint8Array {
  const writer = header(new Writer(128), TYPE[message.is]);
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
      writer
        .u16(afiOf(message.family))
        .u8(SUBTYPES.indexOf(message.subtype ?? 'request'))
        .u8(SAFI_UNICAST);
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

/**
 * A request for our routes, or a marker around the answer to one of ours; null for a family that we do not have, or a
 * subtype that nobody knows, which is ignored (RFC 7313 §5). Throws ProtocolError 7/1 and 1/2.
 */
export function refreshOf(frame: Frame): { readonly family: Family; readonly subtype: RefreshSubtype } | null {
  const { body } = frame;
  const subtype = SUBTYPES[body[2] ?? 0];
  if (subtype === undefined) return null;
  if (body.length !== REFRESH_BYTES) {
    const whole = wholeMessage(frame);
    // RFC 7313 §5: for the markers with the whole message; RFC 2918 has no error of its own.
    if (subtype !== 'request') throw new ProtocolError('refreshBadLength', `${whole.length} octets`, whole);
    throw new ProtocolError('headerBadLength', `${whole.length} octets for a ROUTE-REFRESH`, whole.slice(16, 18));
  }
  const reader = new Reader(body);
  const afi = reader.u16('AFI');
  reader.u8('subtype');
  const family = familyOfAfi(afi, reader.u8('SAFI'));
  return family === null ? null : { family, subtype };
}

function wholeMessage({ type, body }: Frame): Uint8Array {
  return header(new Writer(HEADER_BYTES + body.length), type)
    .bytes(body)
    .patchU16(HEADER_BYTES - 3, HEADER_BYTES + body.length)
    .finish();
}

/** Its length is not known yet. */
function header(writer: Writer, type: number): Writer {
  for (let i = 0; i < 4; i++) writer.u32(0xffffffff);
  return writer.u16(0).u8(type);
}
