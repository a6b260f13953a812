// Numbers of the protocol, by their names in the IANA registries. Nothing here decides anything.

import type { Family } from '../lib/address.ts';

/** RFC 4271 §4.1, RFC 2918 §3 */
export const MESSAGE = { open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 } as const;

export const HEADER_BYTES = 19;
/** RFC 4271 §4.1: of any message, unless RFC 8654 was negotiated. */
export const MAX_MESSAGE_BYTES = 4096;
/** RFC 8654 §4 */
export const MAX_EXTENDED_MESSAGE_BYTES = 65_535;
/**
 * Smallest and largest whole message of each type: RFC 4271 §6.1; null: as large as any may be (RFC 8654 §4). What is
 * wrong with the length of a ROUTE-REFRESH depends on its subtype (RFC 7313 §5) and is judged with its body.
 */
export const MESSAGE_BYTES: Readonly<Record<number, { readonly min: number; readonly max: number | null }>> = {
  [MESSAGE.open]: { min: 29, max: MAX_MESSAGE_BYTES },
  [MESSAGE.update]: { min: 23, max: null },
  [MESSAGE.notification]: { min: 21, max: null },
  [MESSAGE.keepalive]: { min: 19, max: 19 },
  [MESSAGE.routeRefresh]: { min: 19, max: null },
};

export const VERSION = 4;
/** RFC 6793 §9: stands for every AS number that does not fit into two octets. */
export const AS_TRANS = 23456;
/** RFC 4271 §8.2.2: "a large value", four minutes suggested, until the peer's OPEN has told the real one. */
export const OPEN_HOLD_SECONDS = 240;

/** RFC 4271 §4.3 */
export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 } as const;

const AFI: Readonly<Record<Family, number>> = { 4: 1, 6: 2 };
export const SAFI_UNICAST = 1;

export function afiOf(family: Family): number {
  return AFI[family];
}

/** The family that an (AFI, SAFI) pair names, or null for one that this speaker does not have. */
export function familyOfAfi(afi: number, safi: number): Family | null {
  if (safi !== SAFI_UNICAST) return null;
  return afi === AFI[4] ? 4 : afi === AFI[6] ? 6 : null;
}

export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}
