// Addresses of this host, and VIPs on lo, over rtnetlink. A world's `vips` where CAP_NET_ADMIN exists.

import { openLibc } from '../ffi/libc.ts';
import type { SystemError } from '../lib/errors.ts';
import { NETLINK_ROUTE, NetlinkSocket } from '../netlink/socket.ts';
import type { Kernel } from '../world/world.ts';
import type { AddressOp, AddressTable, HostAddress } from './addresses.ts';
import { decodeAddress, encodeAddressOp, encodeListAddresses, type InterfaceAddress } from './rtnetlink-messages.ts';

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
      return tabulate(found, (index) => libc.interfaceName(index), keys);
    },
    apply: async (ops) => {
      const results: (null | SystemError)[] = [];
      for (let at = 0; at < ops.length; ) {
        if (at > 0) await breathe();
        at = socket.batch(ops, at, encodeAddressOp, describe, results);
      }
      return results;
    },
    close: () => socket.close(),
  };
}

function tabulate(
  found: readonly InterfaceAddress[],
  nameOf: (index: number) => string | null,
  keys?: readonly string[],
): AddressTable {
  const only = keys === undefined ? null : new Set(keys);
  const names = new Map<number, string | null>();
  const table = new Map<string, HostAddress>();
  for (const { address, prefixLength, interfaceIndex, protocol } of found) {
    if (only !== null && !only.has(address)) continue;
    if (!names.has(interfaceIndex)) names.set(interfaceIndex, nameOf(interfaceIndex));
    const name = names.get(interfaceIndex) ?? null;
    if (name === null) continue; // The interface went away meanwhile, and its addresses with it.
    if (table.has(address) && name !== 'lo') continue;
    table.set(address, { address, prefixLength, interface: name, protocol });
  }
  return table;
}

function describe(op: AddressOp): string {
  const prefix = op.family === 4 ? 32 : 128;
  return `ip address ${op.do === 'add-address' ? 'add' : 'delete'} ${op.address}/${prefix} dev lo`;
}
