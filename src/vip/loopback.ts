// VIPs without privileges: an address of 127/8 is on lo whether or not anybody adds it, so putting one there succeeds and
// changes nothing. Every other VIP must be on the host already. The companion of the userspace backend.

import { pick } from '../ipvs/memory.ts';
import { SystemError } from '../lib/errors.ts';
import type { Kernel } from '../world/world.ts';
import { ADDRESS_PROTOCOL, type AddressOp, type AddressTable, type HostAddress } from './addresses.ts';

/** `hostAddresses` are those of the interfaces. Remembers what was added, writes nothing. */
export function loopbackVips(hostAddresses: () => readonly HostAddress[]): Kernel<AddressTable, AddressOp, string> {
  const added = new Map<string, HostAddress>();

  function list(): Map<string, HostAddress> {
    const all = new Map<string, HostAddress>();
    for (const host of hostAddresses()) {
      if (!all.has(host.address) || host.interface === 'lo') all.set(host.address, host);
    }
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
    if (!address.startsWith('127.')) {
      return new SystemError('EPERM', `put ${address} on lo`, 'without privileges a VIP must be in 127.0.0.0/8');
    }
    added.set(address, { address, prefixLength: 32, interface: 'lo', protocol: ADDRESS_PROTOCOL });
    return null;
  }

  return { list: async (keys) => pick(list(), keys), apply: async (ops) => ops.map(apply) };
}
