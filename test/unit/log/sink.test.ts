import { expect } from 'chai';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLogSink, lineStyle } from '../../../src/log/sink.ts';
import { SystemError } from '../../../src/lib/errors.ts';

const CHILD = fileURLToPath(new URL('../../support/log-child.js', import.meta.url));

/** `reads`: what the parent does with the child's standard output. `most`: so large may files become, in octets. */
function start(args: readonly string[], reads: 'all' | 'nothing' | 'breaks' = 'all', most: number | null = null) {
  const limits = most === null ? [] : ['prlimit', `--fsize=${most}:`];
  const [program = '', ...rest] = [...limits, process.execPath, CHILD, ...args];
  const child: ChildProcess = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const seen = { out: '', err: '', words: '' };
  if (reads === 'all') child.stdout?.on('data', (chunk: Buffer) => (seen.out += chunk.toString()));
  if (reads === 'breaks') child.stdout?.destroy();
  child.stderr?.on('data', (chunk: Buffer) => (seen.err += chunk.toString()));
  child.stdio[3]?.on('data', (chunk: Buffer) => (seen.words += chunk.toString()));
  const ended = once(child, reads === 'nothing' ? 'exit' : 'close').then(([code]: (number | null)[]) => ({
    code,
    ...seen,
  }));
  return { child, seen, ended };
}

const lines = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => `[child] INFO: line ${from + i}\n`).join('');

describe('The log', function () {
  // Each case waits for a process of its own.
  this.timeout(15_000);
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anybal-log-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('has every line in the file after process.exit', async () => {
    const path = join(folder, 'log');
    const { code } = await start(['exit', path, '5000']).ended;
    expect(code).to.equal(0);
    // What was in flight at that moment may come after what was still queued.
    const found = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
    expect(found.length).to.equal(5000);
    expect(new Set(found).size).to.equal(5000);
  });

  it('has every line in the pipe after process.exit', async () => {
    const { code, out } = await start(['exit', '1', '500']).ended;
    expect(code).to.equal(0);
    expect(new Set(out.split('\n')).size).to.equal(501);
  });

  it('has every line after an exception that nobody caught', async () => {
    const path = join(folder, 'log');
    const { code, err } = await start(['throw', path, '1000']).ended;
    expect(code).to.equal(1);
    expect(err).to.contain('a bug');
    expect(new Set((await readFile(path, 'utf8')).split('\n')).size).to.equal(1011);
  });

  it('has every line after a rejection that nobody handled', async () => {
    const path = join(folder, 'log');
    const { code } = await start(['reject', path, '1000']).ended;
    expect(code).to.equal(1);
    expect(new Set((await readFile(path, 'utf8')).split('\n')).size).to.equal(1011);
  });

  it('is in order when it was closed', async () => {
    const path = join(folder, 'log');
    // 5 MB in one turn of the loop, as when thousands of servers fail at once.
    const { words } = await start(['close', path, '200000']).ended;
    expect(JSON.parse(words)).to.deep.equal({ dropped: 0 });
    expect((await readFile(path, 'utf8')) === lines(200_000)).to.equal(true);
  });

  it('goes on in a new file after it was moved away and reopened, and loses nothing', async () => {
    const path = join(folder, 'log');
    const { child, ended } = start(['rotate', path, '2000']);
    const words = child.stdio[3];
    if (words !== null && words !== undefined) await once(words, 'data');
    await rename(path, `${path}.1`);
    child.kill('SIGUSR2');
    expect((await ended).code).to.equal(0);
    expect((await readFile(`${path}.1`, 'utf8')) + (await readFile(path, 'utf8'))).to.equal(lines(2010));
    expect(await readFile(path, 'utf8')).to.contain('line 2009');
  });

  it('continues a line of which a full disk took half, also when it was reopened meanwhile', async () => {
    const path = join(folder, 'log');
    // A file that may not grow is to whoever writes it what a full disk is.
    const { child, seen } = start(['reopen', path, '200'], 'all', 512);
    const until = async (done: () => Promise<boolean> | boolean) => {
      for (let waited = 0; waited < 10_000 && !(await done()); waited += 20)
        await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const text = () => readFile(path, 'utf8').catch(() => '');
    await until(async () => seen.words.includes('ready') && (await text()).length === 512);
    expect(await text()).to.not.match(/\n$/);
    child.kill('SIGUSR2');
    await until(() => seen.words.includes('reopened'));
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
    await until(async () => (await text()).includes('line 209\n'));
    child.kill('SIGKILL');
    expect(await text()).to.equal(lines(210));
  });

  it('on a full disk loses lines, counts them, and neither blocks nor ends the daemon', async () => {
    const { code, words } = await start(['suffer', '/dev/full', '1000']).ended;
    expect(code).to.equal(0);
    const { dropped, late } = JSON.parse(words);
    expect(dropped).to.equal(1010);
    expect(late).to.be.below(200);
  });

  it('on a broken pipe loses lines, counts them, and neither blocks nor ends the daemon', async () => {
    const { code, words } = await start(['suffer', '1', '1000'], 'breaks').ended;
    expect(code).to.equal(0);
    const { dropped, late } = JSON.parse(words);
    expect(dropped).to.be.within(10, 1010);
    expect(late).to.be.below(200);
  });

  it('does not block the loop when nobody reads the pipe, and is bounded', async () => {
    const { code, words } = await start(['suffer', '1', '1200000'], 'nothing').ended;
    expect(code).to.equal(0);
    const { dropped, late } = JSON.parse(words);
    // 16 MiB are queued and 64 KiB are in the pipe; the rest of about 32 MB is lost.
    expect(dropped).to.be.greaterThan(100_000);
    expect(late).to.be.below(200);
  });

  it('names the file that can not be opened', () => {
    const settings = { style: { format: 'text', prefix: 'time' }, level: 'info', wall: () => 0 } as const;
    expect(() => createLogSink({ ...settings, to: { path: join(folder, 'no', 'log') } }))
      .to.throw(SystemError, 'no/log')
      .with.property('code', 'ENOENT');
  });

  it('is written for journald when the descriptor is its stream, and with timestamps otherwise', () => {
    const { dev, ino } = fstatSync(2);
    const journal = { JOURNAL_STREAM: `${dev}:${ino}` };
    expect(lineStyle('text', { fd: 2 }, journal)).to.deep.equal({ format: 'text', prefix: 'priority' });
    expect(lineStyle('text', { fd: 2 }, {})).to.deep.equal({ format: 'text', prefix: 'time' });
    expect(lineStyle('json', { fd: 2 }, { JOURNAL_STREAM: '1:2' })).to.deep.equal({ format: 'json', prefix: 'time' });
    expect(lineStyle('text', { path: '/var/log/pybal.log' }, journal)).to.deep.equal({
      format: 'text',
      prefix: 'time',
    });
  });
});
