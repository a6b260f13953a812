// BFD control packets (RFC 5880 §4): a row for each field and for each kind of authentication, decode beside encode, and
// those rules of §6.8.6 that a packet breaks by itself. What depends on a session is in auth.ts and engine.ts. Pure.

import { Reader, Writer } from '../lib/bytes.ts';
import type { AuthType, StateName } from './types.ts';

const VERSION = 1;
export const MANDATORY_BYTES = 24;
/** No packet is longer: the mandatory section and the longest authentication, or what its length field can say. */
export const MAX_BYTES = 255;

/** RFC 5880 §4.1; the place is the number. */
export const STATES: readonly StateName[] = ['AdminDown', 'Down', 'Init', 'Up'];

/** RFC 5880 §4.1 */
export const DIAGNOSTIC = {
  none: 0,
  detectionTimeExpired: 1,
  echoFailed: 2,
  neighborSignaledDown: 3,
  forwardingPlaneReset: 4,
  pathDown: 5,
  concatenatedPathDown: 6,
  administrativelyDown: 7,
  reverseConcatenatedPathDown: 8,
} as const;

const DIAGNOSTICS: readonly string[] = [
  'No Diagnostic',
  'Control Detection Time Expired',
  'Echo Function Failed',
  'Neighbor Signaled Session Down',
  'Forwarding Plane Reset',
  'Path Down',
  'Concatenated Path Down',
  'Administratively Down',
  'Reverse Concatenated Path Down',
];

export function diagnosticText(diagnostic: number): string {
  return DIAGNOSTICS[diagnostic] ?? `Diagnostic ${diagnostic}`;
}

/** The authentication section as it is on the wire. */
export interface AuthSection {
  readonly type: AuthType;
  readonly keyId: number;
  /** null: simple password, which has none. */
  readonly sequence: number | null;
  /** The password, or the digest. */
  readonly data: Uint8Array;
}

export interface Packet {
  readonly diagnostic: number;
  readonly state: StateName;
  readonly poll: boolean;
  readonly final: boolean;
  readonly controlPlaneIndependent: boolean;
  readonly demand: boolean;
  readonly multiplier: number;
  readonly myDiscriminator: number;
  /** 0: not known. */
  readonly yourDiscriminator: number;
  readonly desiredMinTxUs: number;
  readonly requiredMinRxUs: number;
  readonly requiredMinEchoRxUs: number;
  readonly auth: AuthSection | null;
}

/** Why a packet is thrown away, in the order of RFC 5880 §6.8.6. */
export const DISCARDS = {
  version: 'version is not 1',
  length: 'length field is too small',
  truncated: 'length field exceeds the datagram',
  multiplier: 'Detect Mult is zero',
  multipoint: 'Multipoint bit is set',
  'my-discriminator': 'My Discriminator is zero',
  'your-discriminator': 'Your Discriminator is zero in a state that knows it',
  'poll-and-final': 'Poll and Final are both set',
  'no-session': 'no session is meant',
  'auth-unexpected': 'authenticated, and we are not configured for it',
  'auth-missing': 'not authenticated',
  'auth-malformed': 'malformed authentication section',
  'auth-type': 'another type of authentication',
  'auth-key-id': 'unknown key',
  'auth-digest': 'wrong password or digest',
  'auth-sequence': 'sequence number was used before, or is too far ahead',
} as const;

export type Discard = keyof typeof DISCARDS;

const FLAG = { poll: 0x20, final: 0x10, independent: 0x08, auth: 0x04, demand: 0x02, multipoint: 0x01 } as const;

interface AuthRow {
  readonly code: number;
  /** Octets of password or digest: exactly, or from … to. */
  readonly data: readonly [least: number, most: number];
  /** Has a reserved octet and a sequence number. */
  readonly sequenced: boolean;
}

/** RFC 5880 §4.2 (simple), §4.3 (MD5), §4.4 (SHA1) */
export const AUTH_ROWS: { readonly [T in AuthType]: AuthRow } = {
  simple: { code: 1, data: [1, 16], sequenced: false },
  md5: { code: 2, data: [16, 16], sequenced: true },
  'meticulous-md5': { code: 3, data: [16, 16], sequenced: true },
  sha1: { code: 4, data: [20, 20], sequenced: true },
  'meticulous-sha1': { code: 5, data: [20, 20], sequenced: true },
};

const authTypes: ReadonlyMap<number, AuthType> = new Map(
  (Object.keys(AUTH_ROWS) as AuthType[]).map((type) => [AUTH_ROWS[type].code, type]),
);

function decodeAuth(reader: Reader): AuthSection | Discard {
  const type = authTypes.get(reader.u8('auth type'));
  const length = reader.u8('auth length');
  if (type === undefined) return 'auth-type';
  const { data, sequenced } = AUTH_ROWS[type];
  const before = sequenced ? 8 : 3;
  // The section is the rest of the packet (§4.1), and has its type's length (§6.7.2 to 6.7.4).
  if (length !== reader.left + 2 || length < before + data[0] || length > before + data[1]) return 'auth-malformed';
  const keyId = reader.u8('auth key id');
  if (sequenced) reader.u8('reserved');
  const sequence = sequenced ? reader.u32('sequence number') : null;
  return { type, keyId, sequence, data: Uint8Array.from(reader.bytes(reader.left)) };
}

function encodeAuth(writer: Writer, { type, keyId, sequence, data }: AuthSection): void {
  const { code, sequenced } = AUTH_ROWS[type];
  writer
    .u8(code)
    .u8((sequenced ? 8 : 3) + data.length)
    .u8(keyId);
  if (sequenced) writer.u8(0).u32(sequence ?? 0);
  writer.bytes(data);
}

/** A datagram's payload. What follows the packet's own length is ignored. */
export function decodePacket(bytes: Uint8Array): Packet | Discard {
  if (bytes.length < MANDATORY_BYTES) return 'truncated';
  const reader = new Reader(bytes);
  const first = reader.u8('version, diagnostic');
  const second = reader.u8('state, flags');
  const has = (flag: number): boolean => (second & flag) !== 0;
  const multiplier = reader.u8('detect mult');
  const length = reader.u8('length');
  if (first >> 5 !== VERSION) return 'version';
  if (length < (has(FLAG.auth) ? MANDATORY_BYTES + 2 : MANDATORY_BYTES)) return 'length';
  if (length > bytes.length) return 'truncated';
  if (multiplier === 0) return 'multiplier';
  if (has(FLAG.multipoint)) return 'multipoint';
  const myDiscriminator = reader.u32('my discriminator');
  const yourDiscriminator = reader.u32('your discriminator');
  const state = STATES[second >> 6] ?? 'AdminDown';
  if (myDiscriminator === 0) return 'my-discriminator';
  if (yourDiscriminator === 0 && state !== 'Down' && state !== 'AdminDown') return 'your-discriminator';
  // §6.5: both at once answer nothing.
  if (has(FLAG.poll) && has(FLAG.final)) return 'poll-and-final';
  const desiredMinTxUs = reader.u32('desired min tx');
  const requiredMinRxUs = reader.u32('required min rx');
  const requiredMinEchoRxUs = reader.u32('required min echo rx');
  const auth = has(FLAG.auth) ? decodeAuth(new Reader(bytes, MANDATORY_BYTES, length)) : null;
  if (typeof auth === 'string') return auth;
  return {
    diagnostic: first & 0x1f,
    state,
    poll: has(FLAG.poll),
    final: has(FLAG.final),
    controlPlaneIndependent: has(FLAG.independent),
    demand: has(FLAG.demand),
    multiplier,
    myDiscriminator,
    yourDiscriminator,
    desiredMinTxUs,
    requiredMinRxUs,
    requiredMinEchoRxUs,
    auth,
  };
}

export function encodePacket(packet: Packet): Uint8Array {
  const { auth } = packet;
  const authBytes = auth === null ? 0 : (AUTH_ROWS[auth.type].sequenced ? 8 : 3) + auth.data.length;
  const flags =
    (packet.poll ? FLAG.poll : 0) |
    (packet.final ? FLAG.final : 0) |
    (packet.controlPlaneIndependent ? FLAG.independent : 0) |
    (auth === null ? 0 : FLAG.auth) |
    (packet.demand ? FLAG.demand : 0);
  const writer = new Writer(MANDATORY_BYTES + authBytes)
    .u8((VERSION << 5) | packet.diagnostic)
    .u8((STATES.indexOf(packet.state) << 6) | flags)
    .u8(packet.multiplier)
    .u8(MANDATORY_BYTES + authBytes)
    .u32(packet.myDiscriminator)
    .u32(packet.yourDiscriminator)
    .u32(packet.desiredMinTxUs)
    .u32(packet.requiredMinRxUs)
    .u32(packet.requiredMinEchoRxUs);
  if (auth !== null) encodeAuth(writer, auth);
  return writer.finish();
}
