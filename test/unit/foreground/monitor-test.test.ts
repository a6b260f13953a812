// `anybal monitor test` on monitors that never return, and all that loads monitors on one that is never loaded: each in a
// process of its own and all at once, since to see that takes 10 s.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const MAIN = fileURLToPath(new URL('../../../src/main.js', import.meta.url));

/** It asks nobody, and burns no processor. Line 4 is where it hangs. */
const HANG = `
const cell = new Int32Array(new SharedArrayBuffer(4));
function hang() {
  for (;;) Atomics.wait(cell, 0, 0, 50);
}
`;

const monitor = (create: string, check: string) => `${HANG}
export const sample = { stream: () => 'hello' };
export default {
  apiVersion: 1, name: 'Bad', kind: 'poll', options: [],
  timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 }),
  create(options, tools) {
    ${create}
    return {
      async check(target, cut) {
        ${check}
        return { is: 'up' };
      },
    };
  },
};
`;

const CASES = [
  {
    where: 'while it is loaded',
    text: () => `${HANG}hang();\n`,
    says: [/FAILS {2}loading it {2}BLOCKS THE EVENT LOOP: it had not returned after 10 s, line 4\n1 of 1 against/],
  },
  {
    where: 'in create()',
    text: () => monitor('hang();', ''),
    says: [
      /FAILS {2}a healthy server {2}BLOCKS THE EVENT LOOP: create\(\) had not returned after 10 s, line 4\n1 of 1/,
    ],
  },
  {
    where: 'in check(), of servers that refuse',
    text: () => monitor('', "(await tools.connect(target, cut).catch(hang)).close('rst');"),
    says: [
      /ok {5}a healthy server +up/,
      /FAILS {2}refused \(ECONNREFUSED\) +BLOCKS THE EVENT LOOP: hang\(\) had not returned after 10 s, line 4\n1 of /,
    ],
  },
  {
    where: 'in a promise that never lets go of the loop',
    text: () => monitor('', 'for (;;) { await null; Atomics.wait(cell, 0, 0, 50); }'),
    says: [
      /FAILS {2}a healthy server {2}BLOCKS THE EVENT LOOP: check\(\) had not returned after 10 s, line 15\n1 of 1/,
    ],
  },
  {
    where: 'in the kernel, where no debugger stops it',
    text: (pipe: string) =>
      `import { readFileSync } from 'node:fs';\n${monitor(`readFileSync(${JSON.stringify(pipe)});`, '')}`,
    says: [/FAILS {2}a healthy server {2}BLOCKS THE EVENT LOOP: it had not returned after 10 s\n1 of 1 against/],
  },
] as const;

/** Not loaded ever, though nothing is left to do: to Node that is the end of the process. */
const NEVER = 'await new Promise(() => {}); export default {};\n';
const NEVER_LOADED = /never\.mjs: an await at its top level has not ended after 10 s/;
const SERVICE = `[text]
protocol = tcp
ip = 192.0.2.1
port = 80
scheduler = wrr
config = file:///nowhere/pool
monitors = [ 'Never' ]
`;
const COMMANDS = [
  { args: ['monitor', 'test', 'never.mjs'], says: NEVER_LOADED },
  { args: ['check', '--config', 'pybal.conf'], says: NEVER_LOADED },
  { args: ['check-now', 'text', '--config', 'pybal.conf'], says: NEVER_LOADED },
] as const;

describe('The conformance kit', function () {
  this.timeout(60_000);
  let folder: string;
  type Run = { readonly child: ReturnType<typeof spawn>; readonly ended: Promise<readonly unknown[]>; out: string };
  const runs: Run[] = [];
  const commands: Run[] = [];

  function start(args: readonly string[]): Run {
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const run = { child, ended: once(child, 'close'), out: '' };
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => (run.out += bytes.toString()));
    return run;
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-hang-'));
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const [i, { text }] of CASES.entries()) {
      await mkdir(join(folder, String(i)));
      const file = join(folder, String(i), 'bad.mjs');
      await writeFile(file, text(pipe));
      runs.push(start(['monitor', 'test', file]));
    }
    await writeFile(join(folder, 'never.mjs'), NEVER);
    await writeFile(join(folder, 'pybal.conf'), `[global]\nbgp = no\nmonitor-directories = ["${folder}"]\n${SERVICE}`);
    for (const { args } of COMMANDS) commands.push(start(args));
  });
  after(async () => {
    for (const { child } of [...runs, ...commands]) child.kill('SIGKILL');
    await rm(folder, { recursive: true });
  });

  for (const [i, { where, says }] of CASES.entries()) {
    it(`ends when a monitor hangs ${where}, and says what was found until then`, async () => {
      const run = runs[i];
      expect(await run?.ended, run?.out).to.deep.equal([1, null]);
      for (const expected of says) expect(run?.out).to.match(expected);
    });
  }

  for (const [i, { args, says }] of COMMANDS.entries()) {
    it(`is not alone in waiting for no module for ever: anybal ${args.slice(0, 2).join(' ')} says so and exits with 2`, async () => {
      const run = commands[i];
      expect(await run?.ended, run?.out).to.deep.equal([2, null]);
      expect(run?.out).to.match(says);
    });
  }
});
