// OPEN (RFC 4271 §4.2) with its optional parameters in both forms (RFC 9072), and what two OPENs agree on. Pure.

import { addressBytes, type Family, printAddress } from '../lib/address.ts';
import { type Reader, Truncated, Writer } from '../lib/bytes.ts';
import { type Capability, decodeCapabilities, encodeCapability, nameCapability } from './capability.ts';
import { AS_TRANS, afiOf, familyOfAfi, SAFI_UNICAST, VERSION } from './constants.ts';
import { masked, notification, type Notification, ProtocolError } from './notification.ts';

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
  /** What is not in it is as in OFFERS. */
  readonly offers?: Partial<Offers>;
}

/** Capabilities that can be chosen. */
export interface Offers {
  /** RFC 5492 §3: none at all, for a peer that refuses an OPEN that has any. */
  readonly none: boolean;
  readonly extendedMessages: boolean;
  readonly extendedNextHop: boolean;
  readonly enhancedRefresh: boolean;
  readonly gracefulRestart: RestartOffer | null;
  /** Host name, a point, domain. */
  readonly hostname: string | null;
  readonly softwareVersion: string | null;
}

/** RFC 4724 §3: for how long the peer is to keep the routes of ours after our death. */
export interface RestartOffer {
  /** 0: not at all. It is told only that we know of graceful restart, as §4 recommends. */
  readonly seconds: number;
  /** We have died and come back since the last session. */
  readonly restarted: boolean;
  /** Whoever followed our routes meanwhile was served. */
  readonly forwarding: boolean;
}

export const OFFERS: Offers = {
  none: false,
  extendedMessages: true,
  extendedNextHop: true,
  enhancedRefresh: true,
  // A dead director is not to be kept unless somebody asks for it.
  gracefulRestart: { seconds: 0, restarted: false, forwarding: false },
  hostname: null,
  // The draft §3: off unless somebody wants it.
  softwareVersion: null,
};

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
  /** Messages may have 65535 octets (RFC 8654). */
  readonly extendedMessages: boolean;
  /** IPv4 routes may have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop: boolean;
  /** RFC 7313 */
  readonly enhancedRefresh: boolean;
  /** Seconds for which the peer keeps our routes after a lost connection (RFC 4724); 0: not at all. */
  readonly restartSeconds: number;
  /** The peer keeps them after a NOTIFICATION too, but for a hard reset (RFC 8538). */
  readonly hardReset: boolean;
  /** The peer itself may restart: a second connection from it means that it has (RFC 4724 §4.2). */
  readonly peerRestarts: boolean;
  /** The peer's network keeps routes of the dead for hours (RFC 9494). */
  readonly longLived: boolean;
  readonly peerHostname: string | null;
  readonly peerSoftware: string | null;
  /** Names of all that the peer offered. */
  readonly peerCapabilities: readonly string[];
}

export function localOpen(local: LocalOpen): Open {
  // RFC 6793 §4.2.2
  const as = local.as > 0xffff ? AS_TRANS : local.as;
  const { holdTimeSeconds, routerId } = local;
  return { as, holdTimeSeconds, routerId, capabilities: offersOf(local).none ? [] : capabilitiesOf(local) };
}

function capabilitiesOf(local: LocalOpen): readonly Capability[] {
  const offers = offersOf(local);
  const { gracefulRestart: restart, hostname, softwareVersion } = offers;
  const families = local.families.map((family) => ({ afi: afiOf(family), safi: SAFI_UNICAST }));
  const capabilities: Capability[] = families.map((family) => ({ is: 'multiprotocol', ...family }));
  capabilities.push({ is: 'route-refresh' });
  if (offers.extendedNextHop && local.families.includes(4)) {
    const ipv4 = { afi: afiOf(4), safi: SAFI_UNICAST, nextHopAfi: afiOf(6) };
    capabilities.push({ is: 'extended-next-hop', families: [ipv4] });
  }
  if (offers.extendedMessages) capabilities.push({ is: 'extended-message' });
  if (restart !== null) {
    const keeps = restart.seconds > 0;
    capabilities.push({
      is: 'graceful-restart',
      restarted: keeps && restart.restarted,
      notification: keeps,
      seconds: restart.seconds,
      families: keeps ? families.map((family) => ({ ...family, forwarding: restart.forwarding })) : [],
    });
  }
  capabilities.push({ is: 'as4', as: local.as });
  if (offers.enhancedRefresh) capabilities.push({ is: 'enhanced-refresh' });
  if (hostname !== null) {
    const [host = '', ...domain] = hostname.split('.');
    capabilities.push({ is: 'hostname', host, domain: domain.join('.') });
  }
  if (softwareVersion !== null) capabilities.push({ is: 'software-version', version: softwareVersion });
  return capabilities;
}

/** All that this side offers. */
export function offersOf({ offers }: LocalOpen): Offers {
  return { ...OFFERS, ...offers };
}

/** Judge the peer's OPEN. A Notification is the refusal, `why` it is for the log. */
export function negotiate(
  local: LocalOpen,
  open: Open,
): Negotiated | { readonly refusal: Notification; readonly why?: string } {
  const peer = offeredBy(open);
  const offers = offersOf(local);
  const peerAs = peer.as4 ?? open.as;
  // RFC 7607 §2: AS 0 is never a peer.
  if (peerAs === 0 || (local.peerAs !== null && peerAs !== local.peerAs)) {
    return { refusal: notification('openBadPeerAs'), why: `it says AS ${peerAs}` };
  }
  const internal = peerAs === local.as;
  // RFC 6286 §2.1: any identifier but 0, and not ours within one AS.
  if (open.routerId === '0.0.0.0' || (internal && open.routerId === local.routerId)) {
    return { refusal: notification('openBadRouterId'), why: `it says ${open.routerId}` };
  }
  // RFC 4271 §6.2
  if (open.holdTimeSeconds === 1 || open.holdTimeSeconds === 2) {
    return { refusal: notification('openBadHoldTime'), why: `it says ${open.holdTimeSeconds} s` };
  }
  const both = (ours: boolean, theirs: boolean) => !offers.none && ours && theirs;
  const keeps = (offers.gracefulRestart?.seconds ?? 0) > 0;
  return {
    peerAs,
    peerId: open.routerId,
    holdTimeSeconds: Math.min(local.holdTimeSeconds, open.holdTimeSeconds),
    // RFC 4760 §8: who says nothing speaks IPv4 unicast.
    families: local.families.filter((family) => peer.families.has(family) && (!offers.none || family === 4)),
    as4: both(true, peer.as4 !== null),
    internal,
    extendedMessages: both(offers.extendedMessages, peer.extendedMessages),
    extendedNextHop: both(offers.extendedNextHop, peer.extendedNextHop),
    enhancedRefresh: both(offers.enhancedRefresh, peer.enhancedRefresh),
    restartSeconds: both(keeps, peer.restart !== null) ? (offers.gracefulRestart?.seconds ?? 0) : 0,
    hardReset: both(keeps, peer.restart?.notification ?? false),
    peerRestarts: (peer.restart?.families.length ?? 0) > 0,
    // RFC 9494 §4.1: nothing without its elder.
    longLived: peer.longLived && peer.restart !== null,
    peerHostname: peer.hostname,
    peerSoftware: peer.software,
    peerCapabilities: [...new Set(open.capabilities.map(nameCapability))],
  };
}

interface Offered {
  as4: number | null;
  readonly families: Set<Family>;
  extendedMessages: boolean;
  extendedNextHop: boolean;
  enhancedRefresh: boolean;
  restart: Extract<Capability, { is: 'graceful-restart' }> | null;
  longLived: boolean;
  hostname: string | null;
  software: string | null;
}

function offeredBy(open: Open): Offered {
  const offered: Offered = {
    as4: null,
    families: new Set(),
    extendedMessages: false,
    extendedNextHop: false,
    enhancedRefresh: false,
    restart: null,
    longLived: false,
    hostname: null,
    software: null,
  };
  let multiprotocol = false;
  for (const capability of open.capabilities) {
    if (capability.is === 'multiprotocol') {
      multiprotocol = true;
      const family = familyOfAfi(capability.afi, capability.safi);
      if (family !== null) offered.families.add(family);
    } else take(offered, capability);
  }
  if (!multiprotocol) offered.families.add(4);
  return offered;
}

function take(offered: Offered, capability: Capability): void {
  switch (capability.is) {
    case 'as4':
      offered.as4 = capability.as;
      break;
    case 'extended-message':
      offered.extendedMessages = true;
      break;
    case 'extended-next-hop':
      offered.extendedNextHop ||= capability.families.some(
        ({ afi, safi, nextHopAfi }) => familyOfAfi(afi, safi) === 4 && nextHopAfi === afiOf(6),
      );
      break;
    case 'enhanced-refresh':
      offered.enhancedRefresh = true;
      break;
    case 'graceful-restart':
      // RFC 4724 §3: the last one counts.
      offered.restart = capability;
      break;
    case 'long-lived-graceful-restart':
      offered.longLived = true;
      break;
    case 'hostname':
      offered.hostname = masked([capability.host, capability.domain].filter((part) => part !== '').join('.'));
      break;
    case 'software-version':
      if (capability.version !== '') offered.software = masked(capability.version);
      break;
    case 'multiprotocol':
    case 'route-refresh':
    case 'unknown':
      break;
    default:
      capability satisfies never;
  }
}
