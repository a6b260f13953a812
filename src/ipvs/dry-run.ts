// The dry-run backend: starts from what a real one lists, or from nothing, and changes only memory. Each change is logged as
// the ipvsadm line that would make it. For `--dryrun`; vip/dry-run.ts is its companion.

import type { Log } from '../log/record.ts';
import type { Kernel } from '../world/world.ts';
import { ipvsadmLine } from './ipvsadm.ts';
import { applyToMemory, type MemoryTable, pick, type Unseen } from './memory.ts';
import type { IpvsOp, IpvsTable, ServiceKey } from './table.ts';

type IpvsKernel = Kernel<IpvsTable, IpvsOp, ServiceKey>;

/** `real` is only ever listed, and only until that succeeded once; null: there is none, and the table starts empty. */
export function dryRunIpvs(real: Pick<IpvsKernel, 'list'> | null, log: Log): IpvsKernel {
  let table: MemoryTable | null = null;
  const load = async (): Promise<MemoryTable> => {
    const listed: IpvsTable = table ?? (await real?.list()) ?? new Map();
    table ??= new Map(listed);
    return table;
  };
  return {
    list: async (keys) => pick(await load(), keys),
    apply: async (ops) => {
      const memory = await load();
      const unseen: Unseen = new Map();
      return ops.map((op) => {
        const text = `ipvsadm ${ipvsadmLine(op)}`;
        log({ level: 'info', system: 'dry-run', text, data: { event: 'dry-run', op: op.do } });
        return applyToMemory(memory, op, unseen);
      });
    },
  };
}
