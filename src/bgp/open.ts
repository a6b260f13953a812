// OPEN (RFC 4271 §4.2) with its optional parameters in both forms (RFC 9072), and what two OPENs agree on. Pure.

import { addressBytes, type Family, printAddress } from '../lib/address.ts';
import { type Reader, Truncated, Writer } from '../lib/bytes.ts';
import { type Capability, decodeCapabilities, encodeCapability } from './capability.ts';
import { AS_TRANS, afiOf, familyOfAfi, SAFI_UNICAST, VERSION } from './constants.ts';
import { notification, type Notification, ProtocolError } from './notification.ts';

export interface Open {
  /** The two-octet field: AS_TRANS when the real number needs the as4 capability. */
  readonly as: number;
  readonly holdTimeSeconds: number;
  readonly routerId: string;
  readonly capabilities: readonly Capability[];
}

const PARAMETER_CAPABILITIES = 2;
/** RFC 9072 §2: as the type of the first parameter it says that lengths have two octets. */
const EXTENDED = 255;

/** Body of an OPEN. Throws ProtocolError 2/x. */
export function decodeOpen(reader: Reader): Open {
  try {
    const version = reader.u8('version');
    // RFC 4271 §6.2: the data field tells the largest version that we have.
    if (version !== VERSION) throw new ProtocolError('openBadVersion', `${version}`, new Uint8Array([0, VERSION]));
    const as = reader.u16('AS number');
    const holdTimeSeconds = reader.u16('hold time');
    const routerId = printAddress(reader.bytes(4, 'BGP identifier'));
    return { as, holdTimeSeconds, routerId, capabilities: decodeParameters(reader) };
  } catch (thrown) {
    if (!(thrown instanceof Truncated)) throw thrown;
    throw new ProtocolError('openUnspecific', thrown.message);
  }
}

function decodeParameters(reader: Reader): Capability[] {
  const length = reader.u8('optional parameters length');
  if (length === 0 && reader.left === 0) return [];
  const firstType = reader.u8('parameter type');
  const extended = firstType === EXTENDED;
  // RFC 9072 §2: the one-octet length is not looked at once the extended form is recognised.
  const expected = extended ? reader.u16('extended optional parameters length') : length - 1;
  if (expected !== reader.left) throw new ProtocolError('openUnspecific', 'optional parameters length does not fit');
  const capabilities: Capability[] = [];
  for (let type = extended ? null : firstType; type !== null || reader.left > 0; type = null) {
    type ??= reader.u8('parameter type');
    const value = reader.take(extended ? reader.u16('parameter length') : reader.u8('parameter length'), 'parameter');
    // RFC 4271 §6.2: an unrecognised parameter is refused; capabilities are the only ones left (RFC 5492 §4).
    if (type !== PARAMETER_CAPABILITIES) throw new ProtocolError('openBadParameter', `type ${type}`);
    capabilities.push(...decodeCapabilities(value));
  }
  return capabilities;
}

/** All capabilities in one parameter, as PyBal and BIRD do; the extended form only when it must be (RFC 9072 §2). */
export function encodeOpen(writer: Writer, open: Open): void {
  writer.u8(VERSION).u16(open.as).u16(open.holdTimeSeconds).bytes(addressBytes(open.routerId));
  const value = new Writer(64);
  for (const capability of open.capabilities) encodeCapability(value, capability);
  const { length } = value;
  if (length === 0) {
    writer.u8(0);
    return;
  }
  if (length + 2 <= EXTENDED)
    writer
      .u8(length + 2)
      .u8(PARAMETER_CAPABILITIES)
      .u8(length);
  else
    writer
      .u8(EXTENDED)
      .u8(EXTENDED)
      .u16(length + 3)
      .u8(PARAMETER_CAPABILITIES)
      .u16(length);
  writer.bytes(value.finish());
}

/** What this side brings to a session. */
export interface LocalOpen {
  readonly as: number;
  readonly routerId: string;
  readonly holdTimeSeconds: number;
  readonly families: readonly Family[];
  /** null: any. */
  readonly peerAs: number | null;
}

/** What both sides agreed on. */
export interface Negotiated {
  readonly peerAs: number;
  readonly peerId: string;
  readonly holdTimeSeconds: number;
  /** Offered by both. */
  readonly families: readonly Family[];
  /** AS numbers have four octets in UPDATEs (RFC 6793 §4.1). */
  readonly as4: boolean;
  /** iBGP. */
  readonly internal: boolean;
}

export function localOpen(local: LocalOpen): Open {
  const capabilities: Capability[] = [
    ...local.families.map((family): Capability => ({ is: 'multiprotocol', afi: afiOf(family), safi: SAFI_UNICAST })),
    { is: 'route-refresh' },
    { is: 'as4', as: local.as },
  ];
  // RFC 6793 §4.2.2
  const as = local.as > 0xffff ? AS_TRANS : local.as;
  return { as, holdTimeSeconds: local.holdTimeSeconds, routerId: local.routerId, capabilities };
}

/** Judge the peer's OPEN. A Notification is the refusal. */
export function negotiate(local: LocalOpen, open: Open): Negotiated | { readonly refusal: Notification } {
  let as4: number | null = null;
  const offered = new Set<Family>();
  let multiprotocol = false;
  for (const capability of open.capabilities) {
    if (capability.is === 'as4') as4 = capability.as;
    if (capability.is !== 'multiprotocol') continue;
    multiprotocol = true;
    const family = familyOfAfi(capability.afi, capability.safi);
    if (family !== null) offered.add(family);
  }
  // RFC 4760 §8: who says nothing speaks IPv4 unicast.
  if (!multiprotocol) offered.add(4);

  const peerAs = as4 ?? open.as;
  // RFC 7607 §2: AS 0 is never a peer.
  if (peerAs === 0 || (local.peerAs !== null && peerAs !== local.peerAs)) {
    return { refusal: notification('openBadPeerAs') };
  }
  const internal = peerAs === local.as;
  // RFC 6286 §2.1: any identifier but 0, and not ours within one AS.
  if (open.routerId === '0.0.0.0' || (internal && open.routerId === local.routerId)) {
    return { refusal: notification('openBadRouterId') };
  }
  // RFC 4271 §6.2
  if (open.holdTimeSeconds === 1 || open.holdTimeSeconds === 2) return { refusal: notification('openBadHoldTime') };
  return {
    peerAs,
    peerId: open.routerId,
    holdTimeSeconds: Math.min(local.holdTimeSeconds, open.holdTimeSeconds),
    families: local.families.filter((family) => offered.has(family)),
    as4: as4 !== null,
    internal,
  };
}
