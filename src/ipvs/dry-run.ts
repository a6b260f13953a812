// The dry-run backend: starts from what a real one lists, or from nothing, and changes only memory. Each change is logged as
// the ipvsadm line that would make it. For `--dryrun` and plans.

import type { Log } from '../log/record.ts';
import type { Kernel } from '../world/world.ts';
import { ipvsadmLine } from './ipvsadm.ts';
import { applyToMemory, copyOf, type MemoryTable } from './memory.ts';
import type { IpvsOp, IpvsTable, ServiceKey } from './table.ts';

/** `real` is only ever listed, once, before anything else is answered. */
export function dryRunIpvs(
  real: Pick<Kernel<IpvsTable, IpvsOp, ServiceKey>, 'list'> | null,
  log: Log,
): Kernel<IpvsTable, IpvsOp, ServiceKey> {
  let table: Promise<MemoryTable> | null = null;
  const start = async (): Promise<MemoryTable> => new Map(real === null ? [] : await real.list());
  const loaded = async (): Promise<MemoryTable> => {
    table ??= start();
    try {
      return await table;
    } catch (error) {
      table = null; // Ask again next time.
      throw error;
    }
  };
  return {
    list: async (keys) => copyOf(await loaded(), keys),
    apply: async (ops) => {
      const memory = await loaded();
      return ops.map((op) => {
        const text = ipvsadmLine(op);
        log({ level: 'info', system: 'dry-run', text: `ipvsadm ${text}`, data: { event: 'dry-run', op: op.do } });
        return applyToMemory(memory, op);
      });
    },
  };
}
