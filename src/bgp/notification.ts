// NOTIFICATION: the protocol's errors as data, one row each, and the one error type that decoders throw. RFC 4271 §4.5
// and §6, RFC 4486 (Cease), RFC 6608 (FSM), RFC 9003 (shutdown text). Used by codecs, FSM and shells alike.

import { Writer, type Reader } from '../lib/bytes.ts';

export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

const rows = {
  headerNotSynchronized: [1, 1, 'Message Header Error: Connection Not Synchronized'],
  headerBadLength: [1, 2, 'Message Header Error: Bad Message Length'],
  headerBadType: [1, 3, 'Message Header Error: Bad Message Type'],
  openUnspecific: [2, 0, 'OPEN Message Error'],
  openBadVersion: [2, 1, 'OPEN Message Error: Unsupported Version Number'],
  openBadPeerAs: [2, 2, 'OPEN Message Error: Bad Peer AS'],
  openBadRouterId: [2, 3, 'OPEN Message Error: Bad BGP Identifier'],
  openBadParameter: [2, 4, 'OPEN Message Error: Unsupported Optional Parameter'],
  openBadHoldTime: [2, 6, 'OPEN Message Error: Unacceptable Hold Time'],
  openBadCapability: [2, 7, 'OPEN Message Error: Unsupported Capability'],
  openRoleMismatch: [2, 11, 'OPEN Message Error: Role Mismatch'],
  updateBadAttributeList: [3, 1, 'UPDATE Message Error: Malformed Attribute List'],
  updateUnknownWellKnown: [3, 2, 'UPDATE Message Error: Unrecognized Well-known Attribute'],
  updateMissingWellKnown: [3, 3, 'UPDATE Message Error: Missing Well-known Attribute'],
  updateBadFlags: [3, 4, 'UPDATE Message Error: Attribute Flags Error'],
  updateBadLength: [3, 5, 'UPDATE Message Error: Attribute Length Error'],
  updateBadOrigin: [3, 6, 'UPDATE Message Error: Invalid ORIGIN Attribute'],
  updateBadNextHop: [3, 8, 'UPDATE Message Error: Invalid NEXT_HOP Attribute'],
  updateBadOptional: [3, 9, 'UPDATE Message Error: Optional Attribute Error'],
  updateBadNlri: [3, 10, 'UPDATE Message Error: Invalid Network Field'],
  updateBadAsPath: [3, 11, 'UPDATE Message Error: Malformed AS_PATH'],
  holdTimerExpired: [4, 0, 'Hold Timer Expired'],
  fsmUnspecific: [5, 0, 'Finite State Machine Error'],
  fsmOpenSent: [5, 1, 'Finite State Machine Error: Unexpected Message in OpenSent State'],
  fsmOpenConfirm: [5, 2, 'Finite State Machine Error: Unexpected Message in OpenConfirm State'],
  fsmEstablished: [5, 3, 'Finite State Machine Error: Unexpected Message in Established State'],
  cease: [6, 0, 'Cease'],
  ceaseMaxPrefixes: [6, 1, 'Cease: Maximum Number of Prefixes Reached'],
  ceaseShutdown: [6, 2, 'Cease: Administrative Shutdown'],
  ceaseDeconfigured: [6, 3, 'Cease: Peer De-configured'],
  ceaseReset: [6, 4, 'Cease: Administrative Reset'],
  ceaseRejected: [6, 5, 'Cease: Connection Rejected'],
  ceaseConfigChange: [6, 6, 'Cease: Other Configuration Change'],
  ceaseCollision: [6, 7, 'Cease: Connection Collision Resolution'],
  ceaseOutOfResources: [6, 8, 'Cease: Out of Resources'],
  ceaseHardReset: [6, 9, 'Cease: Hard Reset'],
  ceaseBfdDown: [6, 10, 'Cease: BFD Down'],
  refreshBadLength: [7, 1, 'ROUTE-REFRESH Message Error: Invalid Message Length'],
  sendHoldTimerExpired: [8, 0, 'Send Hold Timer Expired'],
} as const satisfies Record<string, readonly [code: number, subcode: number, name: string]>;

export type ErrorName = keyof typeof rows;

const names: ReadonlyMap<string, string> = new Map(Object.values(rows).map((row) => [`${row[0]}/${row[1]}`, row[2]]));
const majorNames: ReadonlyMap<number, string> = new Map(
  Object.values(rows).map(([code, , name]) => [code, name.split(':')[0] ?? name]),
);

/** RFC 9003 §2: the text is at most 255 octets of UTF-8. */
const MAX_TEXT_BYTES = 255;

export function notification(name: ErrorName, data: Uint8Array = new Uint8Array()): Notification {
  const [code, subcode] = rows[name];
  return { code, subcode, data };
}

/** Cease 6/2 or 6/4 with a text for the operator at the other end; cut to what the message carries, at a character. */
export function ceaseWithText(name: 'ceaseShutdown' | 'ceaseReset', text: string): Notification {
  let cut = '';
  let length = 0;
  for (const character of text) {
    length += new TextEncoder().encode(character).length;
    if (length > MAX_TEXT_BYTES) break;
    cut += character;
  }
  const bytes = new TextEncoder().encode(cut);
  return notification(name, new Writer(1 + bytes.length).u8(bytes.length).bytes(bytes).finish());
}

/** RFC 8538 §5.1, RFC 9384 §4: the Ceases after which routes must not be kept. The others are over soon: 6/6, 6/7, 6/8 … */
const LASTING: readonly ErrorName[] = ['ceaseMaxPrefixes', 'ceaseShutdown', 'ceaseDeconfigured', 'ceaseBfdDown'];

export function isLasting({ code, subcode }: Notification): boolean {
  return LASTING.some((name) => rows[name][0] === code && rows[name][1] === subcode);
}

/** RFC 8538 §3.1: the same goodbye, and nothing of ours is to be kept. What it stands for goes along. */
export function hardReset({ code, subcode, data }: Notification): Notification {
  return notification('ceaseHardReset', new Writer(2 + data.length).u8(code).u8(subcode).bytes(data).finish());
}

/** `Cease: Administrative Shutdown (6/2): "maintenance"`. Safe to print: text from the wire is sanitised. */
export function describeNotification(n: Notification): string {
  const key = `${n.code}/${n.subcode}`;
  const name = names.get(key) ?? majorNames.get(n.code) ?? 'Unknown Error';
  const text = shutdownText(n);
  const [code, subcode] = n.data;
  // RFC 8538 §3.1; a hard reset inside another is nobody's.
  if (key === '6/9' && code !== undefined && subcode !== undefined && !(code === 6 && subcode === 9)) {
    return `${name} (${key}): ${describeNotification({ code, subcode, data: n.data.subarray(2) })}`;
  }
  const hex = () => Array.from(n.data.subarray(0, 32), (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (text !== null) return text === '' ? `${name} (${key})` : `${name} (${key}): "${text}"`;
  return n.data.length === 0 ? `${name} (${key})` : `${name} (${key}), data ${hex()}`;
}

/** RFC 9003 §2: the operator's text in Cease 6/2 or 6/4; null when there is none or its length lies. */
function shutdownText(n: Notification): string | null {
  if (n.code !== 6 || (n.subcode !== 2 && n.subcode !== 4)) return null;
  const length = n.data[0];
  if (length === undefined || length > n.data.length - 1) return null;
  return masked(new TextDecoder('utf-8').decode(n.data.subarray(1, 1 + length)));
}

/**
 * Text from the wire with dots in the place of control and formatting characters, which could forge log lines or drive a terminal.
 * Its double quotes become single ones: a double one ends it where we show it.
 */
export function masked(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '.').replaceAll('"', "'");
}

/** What decoders throw: an error that closes the session, together with what is to be said to the peer. */
export class ProtocolError extends Error {
  readonly notification: Notification;
  constructor(name: ErrorName, detail: string, data?: Uint8Array) {
    super(`${rows[name][2]}: ${detail}`);
    this.name = 'ProtocolError';
    this.notification = notification(name, data);
  }
}

export function decodeNotification(reader: Reader): Notification {
  const code = reader.u8('error code');
  const subcode = reader.u8('error subcode');
  return { code, subcode, data: reader.bytes(reader.left).slice() };
}

export function encodeNotification(writer: Writer, n: Notification): void {
  writer.u8(n.code).u8(n.subcode).bytes(n.data);
}
