// Addresses of the host as data: which VIPs are present, on which interface, and which of them we put there. Pure.

import type { Family } from '../lib/address.ts';

/** IFA_PROTO value that marks an address as put there by anybal (kernel >= 5.18; others ignore it). */
export const ADDRESS_PROTOCOL = 0xa7;

export interface HostAddress {
  readonly address: string;
  readonly prefixLength: number;
  readonly interface: string;
  /** IFA_PROTO, 0 where unset or where the kernel has none. */
  readonly protocol: number;
}

/** By address. An address on several interfaces appears once, `lo` preferred. */
export type AddressTable = ReadonlyMap<string, HostAddress>;

/** Put a VIP (a /32 or /128) on lo, or take it away. */
export type AddressOp =
  | { readonly do: 'add-address'; readonly address: string; readonly family: Family }
  | { readonly do: 'delete-address'; readonly address: string; readonly family: Family };
