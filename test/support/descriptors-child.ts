// A process that has used up its descriptors: run by processes.test.ts below a small limit. Prints how two commands ended,
// whether the addresses of before are still known, and how late the loop is in whole minutes.

import { openSync } from 'node:fs';
import { Knife } from '../../src/lib/cut.ts';
import { createProcesses } from '../../src/world/real/processes.ts';
import { createSelf } from '../../src/world/real/self.ts';
import { codeOf } from './world-conformance.ts';

const { run } = createProcesses();
const { self } = createSelf();
const before = self().addresses;
const command = { path: '/bin/true', args: [], env: {}, timeoutMs: 1000, maxOutputBytes: 100 };
await new Promise((resolve) => setTimeout(resolve, 1100));
try {
  for (let i = 0; i < 1000; i++) openSync('/dev/null', 'r');
} catch {
  // That was the last one.
}
const first = await codeOf(run(command, new Knife()));
const second = await codeOf(run(command, new Knife()));
const { addresses, loopLateMs } = self();
const kept = addresses.length > 0 && addresses.join() === before.join();
process.stdout.write(`${first} ${second} ${kept} ${Math.floor(loopLateMs / 60_000)}\n`);
process.exit(0);
