// Fault injection for the lab: makes the kernel's tables fail on request, so that what only a broken machine shows can be
// tested on a whole one. Does nothing unless ANYBAL_FAULT_FILE names a file when the daemon starts.
//
//   {"ipvs": "EPERM"}       every list and apply of IPVS fails with this code
//   {"reconcile": "hang"}   listing addresses does not settle while this stands, as if the reconciler were stuck
//   {"wedge": 3000}         the daemon's thread stands still, once, for so many milliseconds
//   {}, or no file          no fault

import { readFile } from 'node:fs/promises';
import { SystemError } from '../../lib/errors.ts';
import type { Log } from '../../log/record.ts';
import type { Kernel } from '../world.ts';

const POLL_MS = 100;

interface Faults {
  readonly ipvs: string | null;
  readonly hang: boolean;
  readonly wedgeMs: number;
}

const NONE: Faults = { ipvs: null, hang: false, wedgeMs: 0 };

export interface FaultHook {
  ipvs<T, O, K>(kernel: Kernel<T, O, K>): Kernel<T, O, K>;
  vips<T, O, K>(kernel: Kernel<T, O, K>): Kernel<T, O, K>;
  close(): void;
}

export function createFaultHook(path: string, log: Log): FaultHook {
  let faults = NONE;
  log({ level: 'critical', system: 'pybal', text: `FAULT INJECTION IS ON: ${path} (ANYBAL_FAULT_FILE is set)` });
  const hanging: (() => void)[] = [];
  let reading = false;
  const timer = setInterval(() => {
    if (reading) return;
    reading = true;
    void read(path).then((now) => {
      reading = false;
      if (now.ipvs === faults.ipvs && now.hang === faults.hang && now.wedgeMs === faults.wedgeMs) return;
      faults = now;
      if (!now.hang) for (const go of hanging.splice(0)) go();
      log({ level: 'critical', system: 'pybal', text: `Faults injected from now on: ${JSON.stringify(now)}` });
      if (now.wedgeMs > 0) standStill(now.wedgeMs);
    });
  }, POLL_MS);
  timer.unref();

  return {
    ipvs: (kernel) => ({
      async list(keys) {
        if (faults.ipvs !== null) throw new SystemError(faults.ipvs, 'ipvs', 'injected fault');
        return keys === undefined ? kernel.list() : kernel.list(keys);
      },
      async apply(ops) {
        const code = faults.ipvs;
        if (code === null) return kernel.apply(ops);
        return ops.map(() => new SystemError(code, 'ipvs', 'injected fault'));
      },
    }),
    vips: (kernel) => ({
      async list(keys) {
        if (faults.hang) await new Promise<void>((resolve) => hanging.push(resolve));
        return keys === undefined ? kernel.list() : kernel.list(keys);
      },
      apply: (ops) => kernel.apply(ops),
    }),
    close: () => clearInterval(timer),
  };
}

async function read(path: string): Promise<Faults> {
  try {
    const given: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof given !== 'object' || given === null) return NONE;
    const ipvs: unknown = Reflect.get(given, 'ipvs');
    const wedge: unknown = Reflect.get(given, 'wedge');
    return {
      ipvs: typeof ipvs === 'string' ? ipvs : null,
      hang: Reflect.get(given, 'reconcile') === 'hang',
      wedgeMs: typeof wedge === 'number' && wedge > 0 ? wedge : 0,
    };
  } catch {
    return NONE;
  }
}

/** As a loop that never ends would, without its heat. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
