// What a command that a check starts may do: seen in /proc by the command itself, with the kernel's own capabilities.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import runcommand from '../../monitors/runcommand.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { createProcesses } from '../../src/world/real/processes.ts';
import { Knife } from '../../src/lib/cut.ts';
import { runMonitor } from '../support/monitor-bench.ts';
import { requireTools } from '../support/namespace.ts';

const CHILD = fileURLToPath(new URL('../support/ambient-child.js', import.meta.url));
const NET_ADMIN = 1n << 12n;

/** `CapEff` → its bits, of what `cat /proc/self/status` printed. */
function capabilities(status: string): Readonly<Record<string, bigint>> {
  const found = [...status.matchAll(/^(Cap\w+):\s*([0-9a-f]+)$/gm)];
  return Object.fromEntries(found.map(([, name = '', bits = '']) => [name, BigInt(`0x${bits}`)]));
}

describe('Privileges of commands', () => {
  before(() => requireTools({ '/usr/bin/setpriv': 'util-linux', '/bin/cat': 'coreutils' }));

  it('a command of a user of its own has no capability and no other group', async () => {
    const status = { path: '/bin/cat', args: ['/proc/self/status'], env: {}, timeoutMs: 5000, maxOutputBytes: 10_000 };
    const { run } = createProcesses();
    const root = await run(status, new Knife());
    expect((capabilities(root.output)['CapEff'] ?? 0n) & NET_ADMIN, 'root has it').to.equal(NET_ADMIN);
    const { output } = await run({ ...status, user: { uid: 65_534, gid: 65_533 } }, new Knife());
    expect(output).to.match(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
    expect(output).to.match(/^Gid:\s+65533\s+65533\s+65533\s+65533$/m);
    expect(output).to.match(/^Groups:\s*$/m);
    const { CapInh, CapPrm, CapEff, CapAmb } = capabilities(output);
    expect({ CapInh, CapPrm, CapEff, CapAmb }).to.deep.equal({ CapInh: 0n, CapPrm: 0n, CapEff: 0n, CapAmb: 0n });
  });

  it('so has a RunCommand with a user, by name', async () => {
    const bench = runMonitor(
      runcommand,
      {
        command: '/bin/sh',
        arguments: ['-c', 'grep -q "^CapEff:.0*$" /proc/self/status && test "$(id -un)" = nobody'],
        user: 'nobody',
      },
      {},
      { files: createFiles() },
    );
    try {
      expect(await bench.result(1, 10_000)).to.deep.equal({ is: 'up' });
    } finally {
      await bench.stop();
    }
  });

  it('without root, what the director was given as ambient capabilities ends with it', () => {
    const caps = [
      '--inh-caps',
      '-all,+net_admin',
      '--ambient-caps',
      '-all,+net_admin',
      '--bounding-set',
      '-all,+net_admin',
    ];
    const child = (what: string) =>
      execFileSync(
        '/usr/bin/setpriv',
        ['--reuid', '65534', '--regid', '65534', '--clear-groups', ...caps, process.execPath, CHILD, what],
        { encoding: 'utf8', timeout: 30_000 },
      );
    const before = capabilities(child('as it is'));
    expect(before).to.include({ CapEff: NET_ADMIN, CapAmb: NET_ADMIN });
    const after = child('cleared');
    expect(capabilities(after)).to.include({ CapEff: 0n, CapPrm: 0n, CapAmb: 0n });
    // The director itself keeps what it needs.
    expect(after).to.match(/^self CapEff 1000$/m);
  });
});
