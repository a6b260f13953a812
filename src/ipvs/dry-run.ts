// The dry-run backend: starts from what a real one lists, or from nothing, and changes only memory. Each change is logged as
// the line that would make it. For `--dryrun`.

import { SystemError } from '../lib/errors.ts';
import type { Log } from '../log/record.ts';
import { ADDRESS_PROTOCOL, type AddressOp, type AddressTable, type HostAddress } from '../vip/addresses.ts';
import type { Kernel } from '../world/world.ts';
import { ipvsadmLine } from './ipvsadm.ts';
import { applyToMemory, pick } from './memory.ts';
import type { IpvsEntry, IpvsOp, IpvsTable, ServiceKey } from './table.ts';

/** Only the list of a real backend is ever used; null: there is none, and the table is empty. */
type Lister<Table, Key> = { list(keys?: readonly Key[]): Promise<Table> } | null;

/** Logs `ipvsadm -a -t …` for each change. */
export function dryRunIpvs(real: Lister<IpvsTable, ServiceKey>, log: Log): Kernel<IpvsTable, IpvsOp, ServiceKey> {
  return dryRun<ServiceKey, IpvsEntry, IpvsOp>(real, log, (op) => `ipvsadm ${ipvsadmLine(op)}`, applyToMemory);
}

/** Logs `ip address add … dev lo` for each change. */
export function dryRunVips(real: Lister<AddressTable, string>, log: Log): Kernel<AddressTable, AddressOp, string> {
  return dryRun<string, HostAddress, AddressOp>(real, log, ipAddressLine, (table, op) => {
    const there = table.has(op.address);
    if (op.do === 'delete-address') {
      return table.delete(op.address) ? null : new SystemError('EADDRNOTAVAIL', ipAddressLine(op));
    }
    if (there) return new SystemError('EEXIST', ipAddressLine(op));
    const prefixLength = op.family === 4 ? 32 : 128;
    table.set(op.address, { address: op.address, prefixLength, interface: 'lo', protocol: ADDRESS_PROTOCOL });
    return null;
  });
}

function ipAddressLine(op: AddressOp): string {
  const verb = op.do === 'add-address' ? 'add' : 'del';
  return `ip address ${verb} ${op.address}/${op.family === 4 ? 32 : 128} dev lo`;
}

/** The real table is listed until that succeeds once; from then on only memory counts. */
function dryRun<Key, Value, Op extends { readonly do: string }>(
  real: Lister<ReadonlyMap<Key, Value>, Key>,
  log: Log,
  print: (op: Op) => string,
  change: (table: Map<Key, Value>, op: Op) => null | SystemError,
): Kernel<ReadonlyMap<Key, Value>, Op, Key> {
  let table: Map<Key, Value> | null = null;
  const load = async (): Promise<Map<Key, Value>> => {
    table ??= new Map(real === null ? [] : await real.list());
    return table;
  };
  return {
    list: async (keys) => {
      const all = await load();
      return pick(all, keys);
    },
    apply: async (ops) => {
      const all = await load();
      return ops.map((op) => {
        log({ level: 'info', system: 'dry-run', text: print(op), data: { event: 'dry-run', op: op.do } });
        return change(all, op);
      });
    },
  };
}
