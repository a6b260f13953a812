// VIPs without privileges: an address of 127/8 is on lo whether or not anybody adds it, so putting one there succeeds and
// changes nothing. Every other VIP must be on the host already. The companion of the userspace backend.

import { pick } from '../ipvs/memory.ts';
import { SystemError } from '../lib/errors.ts';
import type { Kernel } from '../world/world.ts';
import { type AddressOp, type AddressTable, applyToAddresses, type HostAddress, ipCommand } from './addresses.ts';

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
    const call = ipCommand(op);
    const present = list().get(address);
    if (op.do === 'delete-address' && present !== undefined && !added.has(address))
      return new SystemError('EPERM', call);
    if (op.do === 'add-address' && present !== undefined && present.interface !== null)
      return new SystemError('EEXIST', call);
    if (!op.do.startsWith('delete-') && !address.startsWith('127.'))
      return new SystemError('EPERM', call, 'without privileges a VIP must be in 127.0.0.0/8');
    const code = applyToAddresses(added, op);
    return code === null ? null : new SystemError(code, call);
  }

  return { list: async (keys) => pick(list(), keys), apply: async (ops) => ops.map(apply) };
}
