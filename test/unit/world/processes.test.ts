import { expect } from 'chai';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Knife } from '../../../src/lib/cut.ts';
import { createProcesses } from '../../../src/world/real/processes.ts';
import type { Command } from '../../../src/world/world.ts';
import { codeOf } from '../../support/world-conformance.ts';

const { run } = createProcesses();
const command = (path: string, args: readonly string[] = [], is: Partial<Command> = {}): Command => ({
  path,
  args,
  env: {},
  timeoutMs: 5000,
  maxOutputBytes: 1000,
  ...is,
});
/** What a test script does; the command under test is the shell itself. */
const script = (text: string, is: Partial<Command> = {}) => command('/bin/sh', ['-c', text], is);

/** Gone, or dead and only not reaped yet by the init of this machine. */
async function isGone(pid: number): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
    if (stat === null || /\) [ZX]/.test(stat)) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}

describe('A command', function () {
  this.timeout(10_000);

  it('gives its exit code and output of both descriptors', async () => {
    const result = await run(script('echo out; echo err >&2; exit 3'), new Knife());
    expect(result).to.include({ exitCode: 3, signal: null, timedOut: false, leftovers: 'none' });
    expect(result.output.split('\n').sort()).to.deep.equal(['', 'err', 'out']);
    expect(result.durationMs).to.be.within(0, 5000);
  });

  it('has the given environment and arguments, no standard input, and a session of its own', async () => {
    const text = 'echo "$A|$1|$HOME|$(cat)|"; ps -o pid=,pgid=,sid= -p $$';
    const is = { path: '/bin/sh', args: ['-c', text, 'sh', '$(id) ;x'], env: { A: 'b', PATH: '/usr/bin:/bin' } };
    const { output } = await run({ ...command('/bin/sh'), ...is }, new Knife());
    const [words = '', ids = ''] = output.split('\n');
    expect(words).to.equal('b|$(id) ;x|||');
    const [pid, group, session] = ids.trim().split(/\s+/);
    expect([group, session]).to.deep.equal([pid, pid]);
  });

  it('names the signal that ended it', async () => {
    const result = await run(script('kill -TERM $$'), new Knife());
    expect(result).to.include({ exitCode: null, signal: 'SIGTERM', timedOut: false });
  });

  it('is killed with all of its group when its time is over', async () => {
    const started = performance.now();
    const result = await run(script('sleep 60 & echo $!; sleep 60', { timeoutMs: 200 }), new Knife());
    expect(result).to.include({ exitCode: null, signal: 'SIGKILL', timedOut: true, leftovers: 'none' });
    expect(performance.now() - started).to.be.within(190, 3000);
    expect(await isGone(Number(result.output))).to.equal(true);
  });

  it('is killed with all of its group when the world is closed, after which there is no other', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-run-'));
    const pids = join(folder, 'pids');
    try {
      const world = createProcesses();
      const running = world.run(
        script(`sleep 60 & echo $$ $! > ${pids}.new; mv ${pids}.new ${pids}; wait`),
        new Knife(),
      );
      let text = '';
      for (let i = 0; i < 500 && text === ''; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        text = await readFile(pids, 'utf8').catch(() => '');
      }
      world.close();
      expect(await running).to.include({ exitCode: null, signal: 'SIGKILL', timedOut: false });
      const [leader = 0, child = 0] = text.split(' ').map(Number);
      expect([await isGone(leader), await isGone(child)]).to.deep.equal([true, true]);
      expect(await codeOf(world.run(command('/bin/true'), new Knife()))).to.equal('ECANCELED');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('that leaves a child behind has it killed, and says so', async () => {
    const result = await run(script('sleep 60 & echo $!'), new Knife());
    expect(result).to.include({ exitCode: 0, timedOut: false, leftovers: 'killed' });
    expect(await isGone(Number(result.output))).to.equal(true);
  });

  it('does not wait for a grandchild in another session that keeps the output open', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-run-'));
    const pidFile = join(folder, 'pid');
    const started = performance.now();
    try {
      const escape = `setsid sh -c 'echo $$ > ${pidFile}; exec sleep 5' & while ! [ -s ${pidFile} ]; do sleep 0.01; done; echo done`;
      const { exitCode, output } = await run(script(escape, { env: { PATH: '/usr/bin:/bin' } }), new Knife());
      expect([exitCode, output]).to.deep.equal([0, 'done\n']);
      expect(performance.now() - started).to.be.below(3000);
    } finally {
      process.kill(Number(await readFile(pidFile, 'utf8')), 'SIGKILL');
      await rm(folder, { recursive: true });
    }
  });

  it('has no more output kept than was asked for, and the rest does not stop it', async () => {
    const { exitCode, output } = await run(
      script('head -c 500000 /dev/zero | tr "\\0" x', { env: { PATH: '/usr/bin:/bin' } }),
      new Knife(),
    );
    expect([exitCode, output]).to.deep.equal([0, 'x'.repeat(1000)]);
  });

  it('is killed with its group when it is cut', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-run-'));
    const pidFile = join(folder, 'pid');
    try {
      const knife = new Knife();
      const running = run(script(`sleep 60 & echo $! > ${pidFile}; wait`), knife);
      let pid = 0;
      for (let i = 0; i < 300 && pid === 0; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'));
      }
      knife.abort();
      expect(await codeOf(running)).to.equal('ECANCELED');
      expect(pid).to.be.greaterThan(0);
      expect(await isGone(pid)).to.equal(true);
      expect(await codeOf(run(script('exit 0'), knife))).to.equal('ECANCELED');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('is started again, though it was cut when its time was over', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-run-'));
    const knife = new Knife();
    const processes = createProcesses((pid, signal) => {
      process.kill(pid, signal);
      setImmediate(() => knife.abort());
    });
    const hangsWithout = command('/bin/sh', ['-c', `[ -e ${folder}/mended ] || exec sleep 60`], { timeoutMs: 100 });
    try {
      // Which of both ends it first does not matter.
      await processes.run(hangsWithout, knife).catch(() => {});
      await writeFile(join(folder, 'mended'), '');
      await new Promise((resolve) => setTimeout(resolve, 1200));
      expect(await processes.run({ ...hangsWithout, timeoutMs: 10_000 }, new Knife())).to.include({ exitCode: 0 });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('that has ended in time is not said to have been killed, though we looked too late', async () => {
    const running = run(script('sleep 0.1; exit 3', { env: { PATH: '/usr/bin:/bin' }, timeoutMs: 400 }), new Knife());
    setTimeout(() => setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)), 20);
    expect(await running).to.include({ exitCode: 3, timedOut: false, leftovers: 'none' });
  });

  it('that can not be killed is left behind, and said to be, and has none beside it that would do the same', async () => {
    let mayKill = false;
    const processes = createProcesses((pid, signal) => {
      if (!mayKill) throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
      process.kill(pid, signal);
    });
    const stuck = command('/bin/sh', ['-c', 'echo $$; exec sleep 60'], { timeoutMs: 200 });
    const leftBehind = { exitCode: null, signal: 'SIGKILL', timedOut: true, leftovers: 'not all killed' };
    const started = performance.now();
    const result = await processes.run(stuck, new Knife());
    expect(result).to.include(leftBehind);
    expect(performance.now() - started).to.be.within(1190, 5000);
    const again = await processes.run(stuck, new Knife());
    expect(again).to.include({ ...leftBehind, output: '' });
    expect(again.durationMs).to.be.within(1190, 5000);
    const other = script('sleep 0.5; echo other', { env: { PATH: '/usr/bin:/bin' }, timeoutMs: 200 });
    const late = await processes.run(other, new Knife());
    expect(late).to.include({ exitCode: 0, timedOut: true, output: 'other\n' });
    expect(Number(result.output), 'its pid').to.be.greaterThan(0);
    process.kill(Number(result.output), 'SIGKILL');
    expect(await isGone(Number(result.output))).to.equal(true);
    mayKill = true;
    const afterwards = await processes.run(stuck, new Knife());
    expect(afterwards).to.include({ exitCode: null, signal: 'SIGKILL', timedOut: true, leftovers: 'none' });
    expect(Number(afterwards.output)).to.be.greaterThan(0).and.not.equal(Number(result.output));
  });

  it('out of descriptors rejects, and the process goes on', async () => {
    const child = fileURLToPath(new URL('../../support/descriptors-child.js', import.meta.url));
    const limited = ['-c', 'ulimit -n 64; exec "$0" "$1"', process.execPath, child];
    const { exitCode, output } = await run(command('/bin/sh', limited), new Knife());
    expect({ exitCode, output }).to.deep.equal({ exitCode: 0, output: 'EMFILE EMFILE true 0\n' });
  });

  it('that can not be started rejects with the reason', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'anybal-run-'));
    try {
      await writeFile(join(folder, 'plain'), 'exit 0', { mode: 0o644 });
      expect(await codeOf(run(command('/no/such/command'), new Knife()))).to.equal('ENOENT');
      expect(await codeOf(run(command(join(folder, 'plain')), new Knife()))).to.equal('EACCES');
      expect(await codeOf(run(command('true'), new Knife()))).to.equal('EINVAL');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
