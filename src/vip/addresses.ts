// Addresses of the host as data: which VIPs are present, how, and which of them we put there. Pure.
//
// A VIP is present on lo, or by route: then it is on no interface, and packets for it that come in by an uplink are delivered
// here by a local route in a table of our own, which a rule for each uplink leads to. What this host itself sends to the VIP
// then goes out (see decision/marks.ts), and answers from the VIP may come in.

import type { Family } from '../lib/address.ts';

/** IFA_PROTO value that marks an address as put there by anybal (kernel >= 5.18; others ignore it). Also of routes and rules. */
export const ADDRESS_PROTOCOL = 0xa7;

export interface HostAddress {
  readonly address: string;
  readonly prefixLength: number;
  /** null: on none, only by route. */
  readonly interface: string | null;
  /** IFA_PROTO, 0 where unset or where the kernel has none. */
  readonly protocol: number;
  /** What is there of a presence by route: ours only. Absent: nothing. */
  readonly routed?: Routed;
}

export interface Routed {
  /** The local route. */
  readonly route: boolean;
  /** Interfaces with a rule, sorted. */
  readonly uplinks: readonly string[];
}

/** By address. An address on several interfaces appears once, `lo` preferred. */
export type AddressTable = ReadonlyMap<string, HostAddress>;

/** Put a VIP (a /32 or /128) on lo, or a route or rule for it in place, or take them away. */
export type AddressOp =
  | { readonly do: 'add-address'; readonly address: string; readonly family: Family }
  | { readonly do: 'delete-address'; readonly address: string; readonly family: Family }
  | { readonly do: 'add-route'; readonly address: string; readonly family: Family }
  | { readonly do: 'delete-route'; readonly address: string; readonly family: Family }
  | { readonly do: 'add-rule'; readonly address: string; readonly family: Family; readonly uplink: string }
  | { readonly do: 'delete-rule'; readonly address: string; readonly family: Family; readonly uplink: string };

const NOT_ROUTED: Routed = { route: false, uplinks: [] };

export function routedOf(host: HostAddress | undefined): Routed {
  return host?.routed ?? NOT_ROUTED;
}

/** `host` with another presence by route; undefined when nothing of it is left. */
export function withRouted(host: HostAddress | undefined, address: string, routed: Routed): HostAddress | undefined {
  const { routed: _, ...own } = host ?? { address, prefixLength: prefixOf(address), interface: null, protocol: 0 };
  if (routed.route || routed.uplinks.length > 0) return { ...own, routed };
  return own.interface === null ? undefined : own;
}

/** Do `op` to a table in memory: null, or the error that the kernel gives. */
export function applyToAddresses(table: Map<string, HostAddress>, op: AddressOp): string | null {
  const { address } = op;
  const host = table.get(address);
  const routed = routedOf(host);
  const become = (after: HostAddress | undefined): null => {
    if (after === undefined) table.delete(address);
    else table.set(address, after);
    return null;
  };
  switch (op.do) {
    case 'add-address': {
      if (host !== undefined && host.interface !== null) return 'EEXIST';
      const onLo = { address, prefixLength: prefixOf(address), interface: 'lo', protocol: ADDRESS_PROTOCOL };
      return become(withRouted(onLo, address, routed));
    }
    case 'delete-address':
      if (host === undefined || host.interface === null) return 'EADDRNOTAVAIL';
      return become(withRouted({ ...host, interface: null, protocol: 0 }, address, routed));
    case 'add-route':
      return routed.route ? 'EEXIST' : become(withRouted(host, address, { ...routed, route: true }));
    case 'delete-route':
      return routed.route ? become(withRouted(host, address, { ...routed, route: false })) : 'ESRCH';
    case 'add-rule': {
      if (routed.uplinks.includes(op.uplink)) return 'EEXIST';
      return become(withRouted(host, address, { ...routed, uplinks: [...routed.uplinks, op.uplink].sort() }));
    }
    case 'delete-rule': {
      if (!routed.uplinks.includes(op.uplink)) return 'ENOENT';
      const uplinks = routed.uplinks.filter((uplink) => uplink !== op.uplink);
      return become(withRouted(host, address, { ...routed, uplinks }));
    }
    default:
      return op satisfies never;
  }
}

/** `ip rule add …`: what a person would type, for logs and errors. */
export function ipCommand(op: AddressOp): string {
  const prefix = `${op.address}/${prefixOf(op.address)}`;
  const ip = op.family === 4 ? 'ip' : 'ip -6';
  switch (op.do) {
    case 'add-address':
    case 'delete-address':
      return `ip addr ${op.do === 'add-address' ? 'add' : 'del'} ${prefix} dev lo`;
    case 'add-route':
    case 'delete-route':
      return `${ip} route ${op.do === 'add-route' ? 'add' : 'del'} local ${prefix} dev lo table ${ROUTE_TABLE}`;
    case 'add-rule':
    case 'delete-rule': {
      const verb = op.do === 'add-rule' ? 'add' : 'del';
      return `${ip} rule ${verb} pref ${RULE_PRIORITY} iif ${op.uplink} to ${prefix} lookup ${ROUTE_TABLE}`;
    }
    default:
      return op satisfies never;
  }
}

/** The routing table of presence by route, and the place of its rules: behind the kernel's table of local addresses. */
export const ROUTE_TABLE = 167;
export const RULE_PRIORITY = 167;

function prefixOf(address: string): 32 | 128 {
  return address.includes(':') ? 128 : 32;
}
