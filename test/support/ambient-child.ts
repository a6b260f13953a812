// A process with ambient capabilities that starts a command as the daemon does, and prints what that one may do.

import { readFileSync } from 'node:fs';
import { openLibc } from '../../src/ffi/libc.ts';
import { Knife } from '../../src/lib/cut.ts';
import { createProcesses } from '../../src/world/real/processes.ts';

if (process.argv[2] === 'cleared') openLibc().clearAmbient();
const command = { path: '/bin/cat', args: ['/proc/self/status'], env: {}, timeoutMs: 5000, maxOutputBytes: 10_000 };
const { output } = await createProcesses().run(command, new Knife());
const own = /^CapEff:\s*0*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
process.stdout.write(`${output}\nself CapEff ${own?.[1] ?? ''}\n`);
