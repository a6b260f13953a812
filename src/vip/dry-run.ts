// VIPs of the dry-run backend: starts from what a real one lists and changes only memory. Each change is logged as the ip
// command that would make it. The companion of ipvs/dry-run.ts.

import { SystemError } from '../lib/errors.ts';
import { pick } from '../ipvs/memory.ts';
import type { Log } from '../log/record.ts';
import type { Kernel } from '../world/world.ts';
import { type AddressOp, type AddressTable, applyToAddresses, type HostAddress, ipCommand } from './addresses.ts';

type VipKernel = Kernel<AddressTable, AddressOp, string>;

/** `real` is only ever listed, and only until that succeeded once. */
export function dryRunVips(real: Pick<VipKernel, 'list'>, log: Log): VipKernel {
  let table: Map<string, HostAddress> | null = null;
  const load = async (): Promise<Map<string, HostAddress>> => {
    const listed = table ?? (await real.list());
    table ??= new Map(listed);
    return table;
  };
  return {
    list: async (keys) => pick(await load(), keys),
    apply: async (ops) => {
      const memory = await load();
      return ops.map((op) => {
        const text = ipCommand(op);
        log({ level: 'info', system: 'dry-run', text, data: { event: 'dry-run', op: op.do } });
        const code = applyToAddresses(memory, op);
        return code === null ? null : new SystemError(code, text);
      });
    },
  };
}
