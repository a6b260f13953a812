// Signals that come while the daemon is still starting. A monitor whose module takes long to load holds the start open.

import { expect } from 'chai';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

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

describe('A daemon that is still starting', () => {
  let folder: string;
  let child: ChildProcess | null = null;
  let log = '';

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-main-'));
    await mkdir(join(folder, 'monitors'), { mode: 0o755 });
    await writeFile(join(folder, 'monitors', 'slow.mjs'), SLOW, { mode: 0o644 });
    await writeFile(join(folder, 'pool'), "{'host': '127.0.0.1', 'weight': 1, 'enabled': True}\n");
    const lines = [
      '[global]',
      'bgp = no',
      'instrumentation = no',
      'log-format = text',
      `state-directory = ${folder}/state`,
      `control-socket = ${folder}/control.sock`,
      `monitor-directories = ["${folder}/monitors"]`,
      '[text]',
      'protocol = tcp',
      'ip = 192.0.2.1',
      'port = 80',
      'scheduler = wrr',
      `config = file://${folder}/pool`,
      'monitors = ["Slow"]',
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

  it('survives SIGHUP, SIGUSR1 and SIGUSR2, and reads its configuration again once it runs', async () => {
    const { ended } = await start(['SIGUSR2', 'SIGUSR1', 'SIGHUP']);
    await logged('Reloaded');
    expect(log).to.match(/starting with [\s\S]*Reloaded /);
    child?.kill('SIGTERM');
    expect(await ended, log).to.deep.equal([0, null]);
  });
});
