// The process as such: signals that come while the daemon is still starting (a monitor whose module takes long to load holds
// the start open), and errors that nobody handles.

import { expect } from 'chai';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getOverUnixSocket } from '../../src/world/real/unix-http.ts';

const MAIN = fileURLToPath(new URL('../../src/anybal.js', import.meta.url));

/** Says that it is being loaded, and is loaded only after a second. */
const SLOW = `
process.stdout.write('loading');
await new Promise((resolve) => setTimeout(resolve, 1000));
export default {
  apiVersion: 1, name: 'Slow', kind: 'poll', options: [],
  timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 }),
  create: () => ({ check: async () => ({ is: 'up' }) }),
};
`;

let folder: string;
let child: ChildProcess | null = null;

/** For each test: `folder`, with the monitor and a configuration that names it. Afterwards the test's child is ended. */
function workplace(name: string, monitor: string): void {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-main-'));
    await mkdir(join(folder, 'monitors'), { mode: 0o755 });
    await writeFile(join(folder, 'monitors', `${name.toLowerCase()}.mjs`), monitor, { mode: 0o644 });
    await writeFile(join(folder, 'pool'), "{'host': '127.0.0.1', 'weight': 1, 'enabled': True}\n");
    const lines = [
      '[global]',
      'bgp = no',
      'instrumentation = no',
      'log-format = text',
      'backend = dry-run',
      `state-directory = ${folder}/state`,
      `control-socket = ${folder}/control.sock`,
      `monitor-directories = ["${folder}/monitors"]`,
      '[text]',
      'protocol = tcp',
      'ip = 192.0.2.1',
      'port = 80',
      'scheduler = wrr',
      `config = file://${folder}/pool`,
      `monitors = ["${name}"]`,
    ];
    await writeFile(join(folder, 'pybal.conf'), `${lines.join('\n')}\n`);
  });
  afterEach(async () => {
    if (child?.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
    await rm(folder, { recursive: true });
  });
}

describe('A daemon that is still starting', () => {
  let log = '';
  workplace('Slow', SLOW);

  /** Runs the daemon, and sends `signals` while the monitor is being loaded. `ended`: exit code and signal. */
  async function start(signals: readonly NodeJS.Signals[]): Promise<{ readonly ended: Promise<readonly unknown[]> }> {
    const started = spawn(process.execPath, [MAIN, 'run', '--dryrun', '--config', join(folder, 'pybal.conf')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = started;
    log = '';
    started.stderr.on('data', (bytes: Buffer) => (log += bytes.toString()));
    const ended = once(started, 'close');
    await Promise.race([once(started.stdout, 'data'), ended]);
    for (const signal of signals) started.kill(signal);
    return { ended };
  }

  async function logged(text: string): Promise<void> {
    for (let waited = 0; waited < 10_000 && !log.includes(text) && child?.exitCode === null; waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`ends with 0 on ${signal}`, async () => {
      const { ended } = await start([signal]);
      expect(await ended, log).to.deep.equal([0, null]);
      expect(log).to.not.contain('starting with');
    });
  }

  it('ends although a thread waits for a file that never answers', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const waiting = `import { readFile } from 'node:fs';\nreadFile(${JSON.stringify(pipe)}, () => {});\n${SLOW}`;
    await writeFile(join(folder, 'monitors', 'slow.mjs'), waiting, { mode: 0o644 });
    const { ended } = await start([]);
    await logged('starting with');
    child?.kill('SIGTERM');
    expect(await ended, log).to.deep.equal([0, null]);
    expect(log).to.contain('Exiting...');
  });

  it('listens for signals before it has read anything else', async () => {
    const source = await readFile(MAIN, 'utf8');
    const at = source.indexOf('process.on(signal');
    expect(at).to.be.above(0);
    expect(source.slice(0, at)).to.not.match(/^import|\bimport\(/m);
    expect(source).to.not.match(/^(import|export) .*from /m);
  });

  it('survives SIGHUP, SIGUSR1 and SIGUSR2, and reads its configuration again once it runs', async () => {
    const { ended } = await start(['SIGUSR2', 'SIGUSR1', 'SIGHUP']);
    await logged('Reloaded');
    expect(log).to.match(/starting with [\s\S]*Reloaded /);
    child?.kill('SIGTERM');
    expect(await ended, log).to.deep.equal([0, null]);
  });
});

describe('A daemon whose configuration names a monitor that can not be loaded', () => {
  workplace('Text', 'export default {');

  it('goes on as before, raises an alarm, and takes the corrected file at the next SIGHUP', async () => {
    const config = join(folder, 'pybal.conf');
    const broken = await readFile(config, 'utf8');
    await writeFile(config, broken.replace('"Text"', '"IdleConnection"'));
    const started = spawn(process.execPath, [MAIN, 'run', '--config', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    let log = '';
    started.stderr.on('data', (bytes: Buffer) => (log += bytes.toString()));
    const reloaded = async (times: number) => {
      for (let waited = 0; waited < 10_000 && log.split('Reloaded').length <= times; waited += 20)
        await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const alarms = async () => {
      const { body } = await getOverUnixSocket(join(folder, 'control.sock'), '/v1/status', 5000, 1 << 20);
      return JSON.stringify((JSON.parse(new TextDecoder().decode(body)) as { alarms: unknown }).alarms);
    };
    for (let waited = 0; waited < 10_000 && !log.includes('IdleConnection'); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await writeFile(config, broken);
    started.kill('SIGHUP');
    await reloaded(1);
    expect(await alarms(), log).to.match(/Text can not be loaded: .*Unexpected end of input/);
    expect(log).to.contain('runs on its last good text');
    await writeFile(join(folder, 'monitors', 'text.mjs'), SLOW.replace('Slow', 'Text'), { mode: 0o644 });
    started.kill('SIGHUP');
    await reloaded(2);
    expect(await alarms(), log).to.not.contain('can not be loaded');
    started.kill('SIGTERM');
    await once(started, 'close');
  });
});

describe('A daemon with a log file', () => {
  workplace('Text', SLOW.replace('Slow', 'Text'));

  async function logsTo(file: string): Promise<string> {
    const config = join(folder, 'pybal.conf');
    await writeFile(config, (await readFile(config, 'utf8')).replace('[text]', `log-file = ${file}\n[text]`));
    return config;
  }

  it('that can not start says why where it was started, too', async () => {
    const log = join(folder, 'log');
    const config = await logsTo(log);
    // Two of them with the same state directory: only one may run.
    await writeFile(config, (await readFile(config, 'utf8')).replace('backend = dry-run', 'backend = userspace'));
    const first = spawn(process.execPath, [MAIN, 'run', '--config', config], { stdio: 'ignore' });
    child = first;
    const lines = async () => readFile(log, 'utf8').catch(() => '');
    for (let waited = 0; waited < 10_000 && !(await lines()).includes('starting with'); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const second = spawn(process.execPath, [MAIN, 'run', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    second.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
    expect(await once(second, 'close'), said).to.deep.equal([1, null]);
    expect(said).to.match(/\[pybal\] CRITICAL: .*another anybal runs .*\n$/);
    expect(await lines()).to.match(/CRITICAL: .*another anybal runs/);
  });

  it('is left alone by a dry run: log, control socket and instrumentation port', async () => {
    const log = join(folder, 'log');
    const config = await logsTo(log);
    const started = spawn(process.execPath, [MAIN, 'run', '--dryrun', '--config', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    let said = '';
    started.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
    const waitFor = async (text: string) => {
      for (let waited = 0; waited < 10_000 && !said.includes(text) && started.exitCode === null; waited += 20)
        await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await waitFor('starting with');
    started.kill('SIGHUP');
    await waitFor('Reloaded');
    expect(said).to.match(/A dry run: logs here, not to .*\/log, writes nothing and serves nothing/);
    expect(said).to.match(/Reloaded /);
    expect(said).to.not.contain('next start');
    expect((await readdir(folder)).sort()).to.deep.equal(['monitors', 'pool', 'pybal.conf']);
  });
});

describe('anybal check-now, interrupted', () => {
  workplace('Text', '');

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`leaves no command behind (${signal})`, async () => {
      const config = join(folder, 'pybal.conf');
      const pidFile = join(folder, 'pid');
      const lines = [
        (await readFile(config, 'utf8')).replace('"Text"', '"RunCommand"').trimEnd(),
        'runcommand.command = /bin/sh',
        `runcommand.arguments = [ '-c', 'echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 60' ]`,
        'runcommand.timeout = 0',
      ];
      await writeFile(config, `${lines.join('\n')}\n`);
      const started = spawn(process.execPath, [MAIN, 'check-now', 'text', '--config', config], { stdio: 'ignore' });
      child = started;
      const ended = once(started, 'close');
      const pid = async () => Number(await readFile(pidFile, 'utf8').catch(() => '0'));
      for (let waited = 0; waited < 10_000 && (await pid()) === 0; waited += 20)
        await new Promise((resolve) => setTimeout(resolve, 20));
      const command = await pid();
      started.kill(signal);
      expect(await ended).to.deep.equal([null, signal]);
      expect(command).to.be.above(0);
      const runs = async () => /\) [^ZX]/.test(await readFile(`/proc/${command}/stat`, 'utf8').catch(() => ''));
      for (let waited = 0; waited < 5000 && (await runs()); waited += 20)
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await runs()).to.equal(false);
    });
  }
});

/** Each check goes well, and leaves errors behind that no check can catch. */
const STRAY = `
void Promise.reject(new Error('while loading'));
export default {
  apiVersion: 1, name: 'Stray', kind: 'poll', options: [],
  timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 }),
  create: (_, tools) => ({
    async check(target, cut) {
      void Promise.reject(new Error('not waited for'));
      void (async () => { await tools.connect({ address: '127.0.0.1', port: 1 }, cut); })();
      setTimeout(() => { throw new Error('in a timer'); }, 1);
      queueMicrotask(() => { throw new Error('in a microtask'); });
      void Promise.reject('no error at all');
      return { is: 'up' };
    },
  }),
};
export const sample = {};
`;

describe('Errors of a monitor that nobody handles', () => {
  workplace('Stray', STRAY);

  function run(args: readonly string[]) {
    const started = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    child = started;
    const said = { out: '', err: '' };
    started.stdout.on('data', (bytes: Buffer) => (said.out += bytes.toString()));
    started.stderr.on('data', (bytes: Buffer) => (said.err += bytes.toString()));
    return { said, ended: once(started, 'close') };
  }

  it('are told and counted by a daemon that lives on', async () => {
    const { said, ended } = run(['run', '--config', join(folder, 'pybal.conf')]);
    const all = () => said.err.includes('Connection was refused') && said.err.includes('no error at all');
    for (let waited = 0; waited < 10_000 && !(all() && said.err.includes('Pooled')); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(said.err).to.match(
      /CRITICAL: A bug in file:\S+\/stray\.mjs( \(\d so far\))?: an error that nobody handles: Error: not waited for/,
    );
    expect(said.err).to.contain('A bug in monitor Stray: an error that nobody handles: SystemError');
    expect(said.err).to.contain('Pooled server 127.0.0.1');
    const { body } = await getOverUnixSocket(join(folder, 'control.sock'), '/v1/status', 5000, 1 << 20);
    const { alarms } = JSON.parse(new TextDecoder().decode(body)) as { alarms: readonly { code: string }[] };
    expect(alarms.filter(({ code }) => code === 'monitor-bug')).to.have.length(3);
    child?.kill('SIGTERM');
    expect(await ended, said.err).to.deep.equal([0, null]);
  });

  it('are findings of the conformance kit', async () => {
    const { said, ended } = run(['monitor', 'test', join(folder, 'monitors', 'stray.mjs')]);
    expect(await ended, said.err).to.deep.equal([1, null]);
    for (const text of ['while loading', 'not waited for', 'in a microtask'])
      expect(said.out).to.match(new RegExp(`an error that nobody handles: ${text}`, 'i'));
    expect(said.out).to.match(/FAILS +a healthy server/);
  });

  for (const [what, code, says] of [
    ['ends the process', 'process.exit(0)', /ended the process \(code 0\), which no monitor may/],
    ['leaves a connection open', "await tools.connect(target, cut); return { is: 'up' }", /left open: 1 connection/],
  ] as const) {
    it(`are findings of the conformance kit where a check ${what}, and it comes to its end`, async () => {
      const file = join(folder, 'bad.mjs');
      const create = `create: (o, tools) => ({ check: async (target, cut) => { ${code} } })`;
      const timing = 'timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 })';
      const module = `{ apiVersion: 1, name: 'Bad', kind: 'poll', options: [], ${timing}, ${create} }`;
      await writeFile(file, `export const sample = { stream: () => 'hello' };\nexport default ${module};\n`);
      const { said, ended } = run(['monitor', 'test', file]);
      expect(await ended, said.err).to.deep.equal([1, null]);
      expect(said.out + said.err).to.match(says);
    });
  }

  it('do not keep a configuration from being checked', async () => {
    const { said, ended } = run(['check', '--config', join(folder, 'pybal.conf')]);
    expect(await ended, said.err).to.deep.equal([0, null]);
    expect(said.err).to.contain('while loading');
  });
});
