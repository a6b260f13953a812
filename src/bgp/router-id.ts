// The BGP Identifier of a director that was given none: RFC 6286 §2.1, any number but 0, its own within the AS. Called by the
// daemon, which knows the host's addresses, and by speaker.ts when there is nothing to choose from. Pure.

import { addressBytes, familyOf, printAddress } from '../lib/address.ts';

export interface HostFacts {
  /** Addresses that the configuration calls ours, the one that counts most first: next hops and source addresses. */
  readonly configured: readonly string[];
  /** On this host's interfaces, but not on its loopback. */
  readonly addresses: readonly string[];
  readonly vips: ReadonlySet<string>;
}

/**
 * An IPv4 address of this host that stays and that no other director has; null if there is none. What the configuration calls
 * ours comes first, because a bridge for containers has the same address on every host. A virtual IP moves, and is never one.
 */
export function defaultRouterId({ configured, addresses, vips }: HostFacts): string | null {
  const own = addresses.filter((address) => usable(address) && !vips.has(address));
  const named = configured.find((address) => own.includes(address));
  return named ?? own.toSorted((a, b) => value(b) - value(a))[0] ?? null;
}

/** Of a host without an IPv4 address: made of all octets, since the last four are the same wherever hosts are called ::1. */
export function routerIdFrom(localAddress: string): string {
  if (familyOf(localAddress) === 4) return localAddress;
  // FNV-1a
  const hash = addressBytes(localAddress).reduce((sum, octet) => Math.imul(sum ^ octet, 0x01000193), 0x811c9dc5) >>> 0;
  return printAddress(Uint8Array.of(hash >>> 24, hash >>> 16, hash >>> 8, hash === 0 ? 1 : hash));
}

/** Not of this host alone: loopback, link-local (RFC 3927), multicast and above, 0.0.0.0/8. */
function usable(address: string): boolean {
  if (familyOf(address) === 6 || address.startsWith('169.254.')) return false;
  const first = Number(address.split('.')[0]);
  return first > 0 && first < 224 && first !== 127;
}

function value(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}
