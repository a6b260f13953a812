import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import runcommand from '../../../monitors/runcommand.ts';
import type { Command, CommandResult } from '../../../src/world/world.ts';
import { FakeWorld } from '../../support/fake-world.ts';
import { type Bench, runMonitor, withDefaults } from '../../support/monitor-bench.ts';

const ENDED = 'A process has ended with a probable error condition: process ended';

describe('RunCommand', () => {
  const folder = mkdtempSync(join(tmpdir(), 'health-runcommand-'));
  const benches: Bench[] = [];

  after(() => rmSync(folder, { recursive: true }));
  afterEach(async () => {
    await Promise.all(benches.splice(0).map((bench) => bench.stop()));
  });

  function run(given: Readonly<Record<string, unknown>>): Bench {
    const bench = runMonitor(runcommand, { timeout: 1, ...given });
    benches.push(bench);
    return bench;
  }
  const shell = (script: string, given: Readonly<Record<string, unknown>> = {}) =>
    run({ command: '/bin/sh', arguments: ['-c', script], ...given });
  const reasonOf = async (bench: Bench) => {
    const health = await bench.result();
    return health.is === 'up' ? 'up' : `${health.is}: ${health.reason}`;
  };
  /** Whether a process still runs; a zombie does not. */
  const alive = (pid: string) =>
    existsSync(`/proc/${pid}/stat`) && !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

  it('has the defaults of PyBal, one empty argument among them', () => {
    expect(withDefaults(runcommand, {})).to.deep.include({
      arguments: [''],
      interval: 60,
      timeout: 20,
      'log-output': true,
    });
  });

  it('is up on exit code 0 and down on any other, and measures both', async () => {
    const good = run({ command: '/bin/true' });
    expect(await reasonOf(good)).to.equal('up');
    expect(good.lines).to.deep.equal([]);
    expect(good.measured).to.deep.equal(['run_duration_seconds {"result":"successful","exitcode":"0"}']);
    const bad = shell('exit 3');
    expect(await reasonOf(bad)).to.equal(`down: ${ENDED} with exit code 3.`);
    expect(bad.measured).to.deep.equal(['run_duration_seconds {"result":"failed","exitcode":"3"}']);
  });

  it("gives weights by exit status where that is wanted, as keepalived's misc_dynamic does", async () => {
    const weighted = (script: string) => shell(script, { 'exit-weight': true });
    expect(await weighted('exit 0').result()).to.deep.equal({ is: 'up' });
    expect(await reasonOf(weighted('exit 1'))).to.equal(`down: ${ENDED} with exit code 1.`);
    expect(await weighted('exit 2').result()).to.deep.equal({ is: 'up', weight: 0 });
    expect(await weighted('exit 255').result()).to.deep.equal({ is: 'up', weight: 253 });
    expect(await reasonOf(weighted('kill -9 $$'))).to.equal(`down: ${ENDED} by signal 9.`);
    expect(await reasonOf(shell('sleep 9', { 'exit-weight': true, timeout: 0.2 }))).to.match(/^down: .*killed after/);
    const good = weighted('exit 12');
    await good.result();
    expect(good.measured).to.deep.equal(['run_duration_seconds {"result":"successful","exitcode":"12"}']);
  });

  it('runs as the user that it is told, and does not blame the server for one that is not there', async () => {
    const commands: Command[] = [];
    const processes = {
      run: (command: Command) => {
        commands.push(command);
        return Promise.resolve({
          exitCode: 0,
          signal: null,
          timedOut: false,
          output: '',
          durationMs: 1,
          leftovers: 'none',
        } as const);
      },
    };
    const fake = new FakeWorld();
    fake.write('/etc/passwd', 'root:x:0:0::/:/bin/sh\nmonitor:x:991:988::/:/bin/false\nbroken:x:::\n');
    const as = async (user: string | null) => {
      const bench = runMonitor(runcommand, { command: '/bin/x', user }, {}, { processes, files: fake.files });
      benches.push(bench);
      return [await reasonOf(bench), commands.pop()?.user] as const;
    };
    expect(await as(null)).to.deep.equal(['up', undefined]);
    expect(await as('monitor')).to.deep.equal(['up', { uid: 991, gid: 988 }]);
    expect(await as('991')).to.deep.equal(['up', { uid: 991, gid: 991 }]);
    expect(await as('991:5')).to.deep.equal(['up', { uid: 991, gid: 5 }]);
    expect(await as('nobody')).to.deep.equal(['unknown: /etc/passwd has no user nobody', undefined]);
    expect(await as('broken')).to.deep.equal(['unknown: /etc/passwd has no user broken', undefined]);
    const complaints = (user: string) => runcommand.refuse(withDefaults(runcommand, { user }) as never);
    expect(complaints('monitor').concat(complaints('1:2'))).to.deep.equal([]);
    for (const user of ['', 'a b', '1:2:3', '-1']) expect(complaints(user), user).to.have.length(1);
  });

  it('is down when a signal ended it', async () => {
    expect(await reasonOf(shell('kill -9 $$'))).to.equal(`down: ${ENDED} by signal 9.`);
  });

  it('fills in what it knows of the server, without a shell, in an empty environment', async () => {
    const attributes = ['host', 'ip', 'port', 'weight', 'service', 'vip', 'protocol'].map((server) => ({ server }));
    const bench = run({ command: '/usr/bin/printf', arguments: ['%s|', ...attributes, '$(id) ; *', ''] });
    expect(await reasonOf(bench)).to.equal('up');
    expect(bench.lines).to.deep.equal(['DEBUG Cmd stdout: cp1|127.0.0.1|80|10|text|10.0.0.1|tcp|$(id) ; *||']);
    const environment = run({ command: '/usr/bin/env', arguments: [] });
    expect(await reasonOf(environment)).to.equal('up');
    expect(environment.lines).to.deep.equal([]);
  });

  it('logs what was printed, escaped and bounded, or not at all', async () => {
    const failed = shell("printf 'a\\tb\\r\\n\\033[31m'; echo c >&2; exit 1");
    await failed.result();
    expect(failed.lines).to.deep.equal(['INFO Cmd stdout: a\\tb\\r\\n\\x1b[31mc\\n']);
    const silent = shell('echo a', { 'log-output': false });
    await silent.result();
    expect(silent.lines).to.deep.equal([]);
    const loud = shell('head -c 3000000 /dev/zero | tr "\\0" x');
    expect(await reasonOf(loud)).to.equal('up');
    expect(loud.lines[0]).to.have.length.within(4096, 4200);
  });

  it('kills the whole group when the time is up', async () => {
    const file = join(folder, 'pids');
    const bench = shell(`sleep 30 & echo $! > ${file}; echo $$ >> ${file}; wait`, { timeout: 0.2 });
    expect(await reasonOf(bench)).to.equal(`down: ${ENDED} by signal 9 (killed after 0.2 seconds).`);
    const pids = readFileSync(file, 'utf8').trim().split('\n');
    expect(pids).to.have.length(2);
    expect(pids.filter(alive)).to.deep.equal([]);
    expect(bench.lines).to.deep.equal([]);
  });

  it('kills what was left behind, and warns', async () => {
    const file = join(folder, 'leftover');
    const bench = shell(`sleep 30 >/dev/null 2>&1 & echo $! > ${file}`);
    expect(await reasonOf(bench)).to.equal('up');
    const [pid = ''] = readFileSync(file, 'utf8').trim().split('\n');
    for (let i = 0; i < 50 && alive(pid); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(alive(pid)).to.equal(false);
    expect(bench.lines).to.have.length(1);
    expect(bench.lines[0]).to.match(
      /^WARN Command \/bin\/sh \['-c', '.*'\] left child processes behind, which have been killed!$/,
    );
  });

  it('warns otherwise when something was left behind that could not be killed', async () => {
    const result = {
      exitCode: 0,
      signal: null,
      timedOut: false,
      output: '',
      durationMs: 1,
      leftovers: 'not all killed',
    };
    const processes = { run: () => Promise.resolve(result as CommandResult) };
    const bench = runMonitor(runcommand, { command: '/bin/x', arguments: ['a', 'b'] }, {}, { processes });
    benches.push(bench);
    expect(await reasonOf(bench)).to.equal('up');
    expect(bench.lines).to.deep.equal([
      "WARN Command /bin/x ['a', 'b'] left child processes behind, and not all could be killed!",
    ]);
  });

  it('says when what was killed does not die', async () => {
    const result = { exitCode: null, signal: 'SIGKILL', timedOut: true, output: '', durationMs: 1 };
    const processes = { run: () => Promise.resolve({ ...result, leftovers: 'not all killed' } as CommandResult) };
    const bench = runMonitor(runcommand, { command: '/bin/x', timeout: 2 }, {}, { processes });
    benches.push(bench);
    expect(await reasonOf(bench)).to.match(
      /ended by signal 9 \(killed after 2 seconds, but not all of it is dead\)\.$/,
    );
  });

  it('does not blame the server for a command that is missing or cannot be run', async () => {
    expect(await reasonOf(run({ command: join(folder, 'missing') }))).to.match(/^unknown: .*ENOENT/);
    const file = join(folder, 'not-executable');
    writeFileSync(file, 'x', { mode: 0o600 });
    expect(await reasonOf(run({ command: file }))).to.match(/^unknown: .*EACCES/);
  });

  it('runs one at a time, and is killed when it is stopped', async () => {
    const file = join(folder, 'stopped');
    const bench = shell(`echo $$ >> ${file}; sleep 30`, { interval: 0.1, timeout: 0 });
    await new Promise((resolve) => setTimeout(resolve, 350));
    const pids = readFileSync(file, 'utf8').trim().split('\n');
    expect(pids).to.have.length(1);
    await bench.stop();
    for (let i = 0; i < 50 && alive(pids[0] ?? ''); i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(alive(pids[0] ?? '')).to.equal(false);
    expect(bench.results).to.deep.equal([]);
  });
});
