// The command line of the VM runner: node dist/test/lab/vm/main.js [options] -- CMD [ARG]...

import { parseArgs } from 'node:util';
import { ipvsKernel, tcpAoKernel } from './artefacts.ts';
import { exitAs, tellOfEnd } from './suite.ts';
import { runInVm } from './vm.ts';

const usage = `usage: main.js [-t SECONDS] [-m MIB] [-s CPUS] [-o DIR] [-e NAME=VALUE]... [-k ipvs|tcp-ao] -- CMD [ARG]...
Runs CMD as root in a VM with this host's files (writes stay in the VM) and the current folder. Exit code: CMD's own,
124 time is up, 125 the guest died. Files that CMD writes to $VM_OUT come back to DIR, with the kernel's console.log.`;

const KERNELS = new Map([
  ['ipvs', ipvsKernel],
  ['tcp-ao', tcpAoKernel],
]);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      timeout: { type: 'string', short: 't', default: '600' },
      memory: { type: 'string', short: 'm', default: '2048' },
      cpus: { type: 'string', short: 's', default: '2' },
      out: { type: 'string', short: 'o' },
      kernel: { type: 'string', short: 'k', default: 'ipvs' },
      env: { type: 'string', short: 'e', multiple: true, default: [] },
    },
  });
  const kernel = KERNELS.get(values.kernel);
  if (positionals.length === 0 || kernel === undefined) throw new Error(usage);
  const result = await runInVm({
    kernel,
    command: positionals,
    cwd: process.cwd(),
    env: Object.fromEntries(values.env.map((assignment) => splitOnce(assignment))),
    timeoutSeconds: Number(values.timeout),
    memoryMiB: Number(values.memory),
    cpus: Number(values.cpus),
    ...(values.out === undefined ? {} : { outDirectory: values.out }),
    onOutput: (bytes) => process.stdout.write(bytes),
  });
  tellOfEnd(result);
  return result.exitCode;
}

function splitOnce(assignment: string): [string, string] {
  const at = assignment.indexOf('=');
  if (at < 1) throw new Error(`-e ${assignment}: not NAME=VALUE`);
  return [assignment.slice(0, at), assignment.slice(at + 1)];
}

await exitAs(main, 2);
