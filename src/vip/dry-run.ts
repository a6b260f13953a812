// VIPs of the dry-run backend: starts from what a real one lists and changes only memory. Each change is logged as the ip
// command that would make it. The companion of ipvs/dry-run.ts.

import { SystemError } from '../lib/errors.ts';
import type { Log } from '../log/record.ts';
import type { Kernel } from '../world/world.ts';
import { ADDRESS_PROTOCOL, type AddressOp, type AddressTable, type HostAddress } from './addresses.ts';

/** `real` is only ever listed. */
export function dryRunVips(
  real: Pick<Kernel<AddressTable, AddressOp, string>, 'list'>,
  log: Log,
): Kernel<AddressTable, AddressOp, string> {
  const added = new Map<string, HostAddress>();
  const deleted = new Set<string>();

  async function list(keys?: readonly string[]): Promise<AddressTable> {
    const table = new Map([...(await real.list(keys)), ...added]);
    for (const address of deleted) table.delete(address);
    return keys === undefined ? table : new Map([...table].filter(([address]) => keys.includes(address)));
  }

  function apply({ do: what, address, family }: AddressOp, present: boolean): null | SystemError {
    const prefixLength = family === 4 ? 32 : 128;
    const text = `ip addr ${what === 'add-address' ? 'add' : 'del'} ${address}/${prefixLength} dev lo`;
    log({ level: 'info', system: 'dry-run', text, data: { event: 'dry-run', op: what } });
    if (what === 'add-address') {
      if (present) return new SystemError('EEXIST', text);
      deleted.delete(address);
      added.set(address, { address, prefixLength, interface: 'lo', protocol: ADDRESS_PROTOCOL });
    } else {
      if (!present) return new SystemError('EADDRNOTAVAIL', text);
      added.delete(address);
      deleted.add(address);
    }
    return null;
  }

  return {
    list,
    async apply(ops) {
      const present = new Set((await list()).keys());
      return ops.map((op) => {
        const error = apply(op, present.has(op.address));
        if (error === null && op.do === 'add-address') present.add(op.address);
        if (error === null && op.do === 'delete-address') present.delete(op.address);
        return error;
      });
    },
  };
}
