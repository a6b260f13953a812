// Addresses of this host, VIPs on lo, and the routes and rules of VIPs that are present by route, over rtnetlink. A world's
// `vips` where CAP_NET_ADMIN exists.

import { openLibc } from '../ffi/libc.ts';
import { SystemError } from '../lib/errors.ts';
import { NETLINK_ROUTE, NetlinkSocket } from '../netlink/socket.ts';
import type { Kernel } from '../world/world.ts';
import {
  type AddressOp,
  type AddressTable,
  type HostAddress,
  ipCommand,
  type Routed,
  withRouted,
} from './addresses.ts';
import { decodeRoute, decodeRule, encodeListRoutes, encodeListRules, type Rule } from './route-messages.ts';
import { decodeAddress, encodeListAddresses, encodeOp, type InterfaceAddress } from './rtnetlink-messages.ts';

export interface NetlinkVips extends Kernel<AddressTable, AddressOp, string> {
  close(): void;
}

/** `breathe` gives the event loop a turn between batches. Listing needs no privilege. Throws SystemError ENOSYS without koffi. */
export function openNetlinkVips(breathe: () => Promise<void>): NetlinkVips {
  const libc = openLibc();
  const socket = new NetlinkSocket(libc, NETLINK_ROUTE);
  return {
    list: async (keys) => {
      const found: InterfaceAddress[] = [];
      socket.dump(
        'list addresses',
        encodeListAddresses,
        () => void (found.length = 0),
        (message) => {
          const address = decodeAddress(message);
          if (address !== null) found.push(address);
        },
      );
      const table = tabulate(found, (index) => libc.interfaceName(index));
      for (const [address, routed] of listRouted(socket)) {
        const host = withRouted(table.get(address), address, routed);
        if (host !== undefined) table.set(address, host);
      }
      if (keys === undefined) return table;
      const only = new Set(keys);
      return new Map([...table].filter(([address]) => only.has(address)));
    },
    apply: async (ops) => {
      const results: (null | SystemError)[] = [];
      for (let at = 0; at < ops.length; ) {
        if (at > 0) await breathe();
        at = socket.batch(ops, at, encodeOp, ipCommand, results);
      }
      return results;
    },
    close: () => socket.close(),
  };
}

function tabulate(
  found: readonly InterfaceAddress[],
  nameOf: (index: number) => string | null,
): Map<string, HostAddress> {
  const names = new Map<number, string | null>();
  const table = new Map<string, HostAddress>();
  for (const { address, prefixLength, interfaceIndex, protocol } of found) {
    if (!names.has(interfaceIndex)) names.set(interfaceIndex, nameOf(interfaceIndex));
    const name = names.get(interfaceIndex) ?? null;
    if (name === null) continue; // The interface went away meanwhile, and its addresses with it.
    if (table.has(address) && name !== 'lo') continue;
    table.set(address, { address, prefixLength, interface: name, protocol });
  }
  return table;
}

/** What there is of ours, by VIP. */
function listRouted(socket: NetlinkSocket): ReadonlyMap<string, Routed> {
  const routes = new Set<string>();
  const rules = new Map<string, Set<string>>();
  for (const family of [4, 6] as const) {
    const foundRoutes: string[] = [];
    const foundRules: Rule[] = [];
    tableOrNone(() =>
      socket.dump(
        'list routes',
        (writer, flags, seq) => encodeListRoutes(writer, family, flags, seq),
        () => void (foundRoutes.length = 0),
        (message) => {
          const address = decodeRoute(message);
          if (address !== null) foundRoutes.push(address);
        },
      ),
    );
    socket.dump(
      'list rules',
      (writer, flags, seq) => encodeListRules(writer, family, flags, seq),
      () => void (foundRules.length = 0),
      (message) => {
        const rule = decodeRule(message);
        if (rule !== null) foundRules.push(rule);
      },
    );
    for (const address of foundRoutes) routes.add(address);
    for (const { address, uplink } of foundRules) rules.set(address, (rules.get(address) ?? new Set()).add(uplink));
  }
  const routed = new Map<string, Routed>();
  for (const address of new Set([...routes, ...rules.keys()])) {
    routed.set(address, { route: routes.has(address), uplinks: [...(rules.get(address) ?? [])].sort() });
  }
  return routed;
}

/** A table without a route does not exist. */
function tableOrNone(list: () => void): void {
  try {
    list();
  } catch (error) {
    if (!(error instanceof SystemError && error.code === 'ENOENT')) throw error;
  }
}
