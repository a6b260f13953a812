// VIPs without privileges: an address of 127/8 is on lo whether or not anybody adds it, so putting one there succeeds and
// changes nothing. Every other VIP must be on the host already. The companion of the userspace backend.

import { pick } from '../ipvs/memory.ts';
import { familyOf } from '../lib/address.ts';
import { SystemError } from '../lib/errors.ts';
import type { Kernel } from '../world/world.ts';
import { ADDRESS_PROTOCOL, type AddressOp, type AddressTable, type HostAddress } from './addresses.ts';

/** `hostAddresses` are those of all interfaces (World.self). Remembers what was added, writes nothing. */
export function loopbackVips(hostAddresses: () => readonly string[]): Kernel<AddressTable, AddressOp, string> {
  const added = new Map<string, HostAddress>();

  function list(): Map<string, HostAddress> {
    const all = new Map<string, HostAddress>();
    for (const address of hostAddresses()) all.set(address, describe(address, 0));
    for (const [address, host] of added) all.set(address, host);
    return all;
  }

  function apply(op: AddressOp): null | SystemError {
    const { address } = op;
    const present = list().has(address);
    if (op.do === 'delete-address') {
      if (added.delete(address)) return null;
      return new SystemError(present ? 'EPERM' : 'EADDRNOTAVAIL', `take ${address} from lo`);
    }
    if (present) return new SystemError('EEXIST', `put ${address} on lo`);
    if (!isLoopback(address)) {
      return new SystemError('EPERM', `put ${address} on lo`, 'without privileges a VIP must be in 127.0.0.0/8');
    }
    added.set(address, describe(address, ADDRESS_PROTOCOL));
    return null;
  }

  return { list: async (keys) => pick(list(), keys), apply: async (ops) => ops.map(apply) };
}

const isLoopback = (address: string): boolean => address.startsWith('127.');

/** Which interface has an address of the host is not known here, nor its network: a VIP's is itself. */
function describe(address: string, protocol: number): HostAddress {
  const prefixLength = familyOf(address) === 4 ? 32 : 128;
  return { address, prefixLength, interface: isLoopback(address) ? 'lo' : '?', protocol };
}
