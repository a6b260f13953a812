// A mocha suite that runs in the VM, and how a program ends that ran something there. Used by ../main.ts, ../ao/main.ts and main.ts.

import { join } from 'node:path';
import { checkout } from './artefacts.ts';
import { guestDied, runInVm, timedOut, type VmOptions, type VmResult } from './vm.ts';

export interface Suite extends Omit<VmOptions, 'command' | 'cwd' | 'onOutput'> {
  /** Pattern of its files. */
  readonly cases: string;
  /** For mocha; what was said on the command line comes after them. */
  readonly options: readonly string[];
  readonly outDirectory: string;
}

/** The exit code. */
export async function runSuite({ cases, options, ...vm }: Suite): Promise<number> {
  const mocha = join(checkout, 'node_modules/mocha/bin/mocha.js');
  const result = await runInVm({
    ...vm,
    command: [process.execPath, mocha, ...options, '--exit', ...process.argv.slice(2), join(checkout, cases)],
    cwd: checkout,
    onOutput: (bytes) => process.stdout.write(bytes),
  });
  tellOfEnd(result, 'lab: ');
  console.log(`lab: ${result.seconds.toFixed(0)} s, raw logs in ${vm.outDirectory}`);
  return result.exitCode;
}

export function tellOfEnd({ exitCode, seconds, consoleTail }: VmResult, who = ''): void {
  if (exitCode === timedOut) console.error(`${who}time is up after ${seconds.toFixed(0)} s`);
  if (exitCode === guestDied) console.error(`${who}the guest died; its last words:\n${consoleTail}`);
}

/** Ends the program with the code of `main`, or `failed` if that throws. */
export async function exitAs(main: () => Promise<number>, failed = 1): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = failed;
  }
}
