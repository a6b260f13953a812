// Kinds of communities, and the extended one that an announcer makes itself. Pure; route.ts puts it on routes.

import { AS_TRANS } from './constants.ts';

/** Eight octets as two numbers of 32 bits. */
export type ExtendedCommunity = readonly [high: number, low: number];
export type LargeCommunity = readonly [number, number, number];

/** Non-transitive, two-octet AS specific (RFC 4360 §3.1), sub-type link bandwidth. */
const LINK_BANDWIDTH = 0x4004_0000;

/** draft-ietf-idr-link-bandwidth §2: non-transitive, the AS in two octets, IEEE 754 octets per second. */
export function linkBandwidth(as: number, octetsPerSecond: number): ExtendedCommunity {
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, octetsPerSecond);
  const high = (LINK_BANDWIDTH | (as > 0xffff ? AS_TRANS : as)) >>> 0;
  return [high, bits.getUint32(0)];
}
