// A kernel for the reconciler's tests: a table in memory that refuses what the real one refuses, addresses on lo, and what a
// test wants to happen to the next calls. Every call is written down in order, beside the writes to the disk.

import { SystemError } from '../../src/lib/errors.ts';
import { applyToMemory, type MemoryTable, pick } from '../../src/ipvs/memory.ts';
import type { IpvsOp, IpvsTable, ServiceKey } from '../../src/ipvs/table.ts';
import { type AddressOp, type AddressTable, applyToAddresses, type HostAddress } from '../../src/vip/addresses.ts';
import type { Kernel, World } from '../../src/world/world.ts';
import { FakeWorld } from './fake-world.ts';
import { fakeSelf } from './fake-self.ts';

/** What becomes of an operation: done, refused with an error, claimed to be done and not done, or never answered. */
type Fate = 'done' | 'lost' | 'hang' | SystemError;

export class FakeKernel {
  readonly fake = new FakeWorld();
  readonly table: MemoryTable = new Map();
  readonly addresses = new Map<string, HostAddress>();
  /** `list`, `list tcp 10.0.0.1:80`, `list addresses`, `claim`, `add-service tcp 10.0.0.1:80`, `add-address 10.0.0.1` … */
  readonly calls: string[] = [];
  fate: (op: IpvsOp | AddressOp) => Fate = () => 'done';
  /** What becomes of a reading. 'done' gives the table as it stands. */
  reading: () => 'done' | 'hang' | SystemError = () => 'done';
  /** Called before each whole reading: somebody else changes something in between. */
  onList: () => void = () => {};
  /** Lets the operations that hang go on, after all. */
  release: () => void = () => {};
  kernelId = 'boot 1';

  get writes(): readonly string[] {
    return this.calls.filter((call) => !call.startsWith('list') && !call.startsWith('about'));
  }

  readonly ipvs: Kernel<IpvsTable, IpvsOp, ServiceKey> = {
    list: async (keys) => {
      this.calls.push(['list', ...(keys ?? [])].join(' '));
      if (keys === undefined) this.onList();
      await this.#read();
      return pick(this.table, keys);
    },
    apply: (ops) => this.#apply(ops, (op) => applyToMemory(this.table, op)),
  };

  readonly vips: Kernel<AddressTable, AddressOp, string> = {
    list: async () => {
      this.calls.push('list addresses');
      await this.#read();
      return new Map(this.addresses);
    },
    apply: (ops) =>
      this.#apply(ops, (op) => {
        const code = applyToAddresses(this.addresses, op);
        return code === null ? null : new SystemError(code, op.do);
      }),
  };

  async #read(): Promise<void> {
    const fate = this.reading();
    if (fate === 'hang') await new Promise(() => {});
    if (fate instanceof SystemError) throw fate;
  }

  async #apply<Op extends IpvsOp | AddressOp>(
    ops: readonly Op[],
    act: (op: Op) => SystemError | null,
  ): Promise<(SystemError | null)[]> {
    const results: (SystemError | null)[] = [];
    for (const op of ops) {
      this.calls.push(callOf(op));
      const fate = this.fate(op);
      if (fate === 'hang') {
        await new Promise<void>((resolve) => {
          this.release = resolve;
        });
      }
      results.push(fate === 'done' || fate === 'hang' ? act(op) : fate instanceof SystemError ? fate : null);
    }
    return results;
  }

  get world(): World {
    const { world } = this.fake;
    const files = {
      ...world.files,
      replace: (path: string, bytes: Uint8Array) => {
        if (path.endsWith('/ownership.json')) this.calls.push('claim');
        return world.files.replace(path, bytes);
      },
    };
    const self = () => fakeSelf(0, this.kernelId);
    return { ...world, files, ipvs: this.ipvs, vips: this.vips, self };
  }
}

function callOf(op: IpvsOp | AddressOp): string {
  if ('uplink' in op) return `${op.do} ${op.address} from ${op.uplink}`;
  if ('address' in op) return `${op.do} ${op.address}`;
  if ('destination' in op) return `${op.do} ${op.destination.key} ${op.destination.weight}`;
  return `${op.do} ${op.service.key}`;
}
