// The Debian package: built in a copy of the checkout, unpacked, looked at, and its daemon run from there. Installed it is
// not: Debian's nodejs need not be the one that runs this.

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { lstatSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { eventually } from '../support/namespace.ts';

// This file runs as dist/test/interop/package.test.js.
const CHECKOUT = fileURLToPath(new URL('../../../', import.meta.url));
const INPUTS = [
  '.npmrc',
  'debian',
  'docs',
  'README.md',
  'etc',
  'monitors',
  'package-lock.json',
  'package.json',
  'src',
  'tsconfig.json',
];
const TOOLS = {
  'dpkg-buildpackage': 'dpkg-dev',
  dh: 'debhelper',
  'dpkg-deb': 'dpkg',
  make: 'make',
  npm: 'npm',
  man: 'man-db',
};
const BUILD_MS = 180_000;

interface Finished {
  readonly code: number;
  readonly output: string;
}

/** A program to its end, with both its outputs. */
function finish(cwd: string, command: string, ...args: readonly string[]): Promise<Finished> {
  return new Promise((resolve) => {
    const options = { cwd, timeout: BUILD_MS, maxBuffer: 16 << 20, env: { ...process.env, NODE_OPTIONS: '' } };
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, output: `${stdout}${stderr}${code === -1 ? String(error) : ''}` });
    });
  });
}

function requirePrograms(): void {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  const missing = Object.entries(TOOLS).filter(([tool]) => !path.some((folder) => existsSync(join(folder, tool))));
  if (missing.length > 0)
    throw new Error(missing.map(([tool, name]) => `${tool} is missing: apt-get install ${name}`).join('; '));
}

describe('interop: the Debian package', function () {
  this.timeout(200_000);
  let folder = '';
  let root = '';
  let deb = '';
  const children: ChildProcess[] = [];
  const anybal = (...args: readonly string[]) =>
    finish(folder, process.execPath, join(root, 'usr/sbin/anybal'), ...args);

  before(async () => {
    requirePrograms();
    folder = mkdtempSync(join(tmpdir(), 'anybal-package-'));
    const copy = join(folder, 'anybal');
    mkdirSync(copy);
    for (const name of INPUTS) cpSync(join(CHECKOUT, name), join(copy, name), { recursive: true });
    symlinkSync(realpathSync(join(CHECKOUT, 'node_modules')), join(copy, 'node_modules'));
    // -d: dpkg need not know of the Node that is here.
    const built = await finish(copy, 'dpkg-buildpackage', '-us', '-uc', '-b', '-d');
    expect(built.code, built.output).to.equal(0);
    deb = join(folder, readdirSync(folder).find((name) => name.endsWith('.deb')) ?? 'no .deb');
    root = join(folder, 'root');
    const unpacked = await finish(folder, 'dpkg-deb', '-x', deb, root);
    expect(unpacked.code, unpacked.output).to.equal(0);
  });
  after(() => {
    for (const child of children) child.kill('SIGKILL');
    if (folder !== '') rmSync(folder, { recursive: true, force: true });
  });

  it('takes the place of pybal, and leaves its configuration to the administrator', async () => {
    const field = async (name: string) => (await finish(folder, 'dpkg-deb', '-f', deb, name)).output.trim();
    expect(await field('Package')).to.equal('anybal');
    for (const name of ['Conflicts', 'Replaces', 'Provides']) expect(await field(name), name).to.equal('pybal');
    expect(await field('Depends')).to.match(/^nodejs \(>= 20\.19\), /);
    const conffiles = (await finish(folder, 'dpkg-deb', '-I', deb, 'conffiles')).output.trim().split('\n');
    expect(conffiles).to.have.members(['/etc/logrotate.d/anybal', '/etc/pybal/pybal.conf', '/etc/pybal/web']);
  });

  it('has what the daemon needs and its licences, and no tests, types or binaries of others', () => {
    const home = join(root, 'usr/lib/anybal');
    for (const monitor of ['idleconnection', 'proxyfetch', 'runcommand'])
      expect(existsSync(join(home, `dist/monitors/${monitor}.js`)), monitor).to.equal(true);
    // For who writes one.
    expect(existsSync(join(home, 'dist/src/health/monitor.d.ts'))).to.equal(true);
    expect(readdirSync(join(root, 'usr/share/doc/anybal/monitors'))).to.deep.equal(['README.md.gz']);
    // What the manual and README speak of.
    const documents = readdirSync(join(root, 'usr/share/doc/anybal'), { recursive: true, encoding: 'utf8' });
    const texts = ['README.md', ...readdirSync(join(CHECKOUT, 'docs')).filter((name) => name.endsWith('.md'))];
    for (const text of texts)
      expect(
        documents.some((name) => name.includes(text)),
        text,
      ).to.equal(true);
    const modules = join(home, 'node_modules');
    const files = readdirSync(modules, { recursive: true, encoding: 'utf8' });
    expect(files.filter((name) => /\.d\.[mc]?ts$|\.md$|(^|\/)tests?(\/|$)|musl/i.test(name) && !/license/i.test(name)))
      .to.be.empty;
    expect(files.filter((name) => name.endsWith('.node'))).to.have.length(1);
    expect(files.filter((name) => existsSync(join(modules, name, 'package.json')))).to.include.members([
      'koffi',
      'pino',
      'undici',
    ]);
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as {
      readonly dependencies: object;
      readonly devDependencies: object;
    };
    for (const name of Object.keys(dependencies))
      expect(
        readdirSync(join(modules, name)).some((file) => /^license/i.test(file)),
        name,
      ).to.equal(true);
    for (const name of Object.keys(devDependencies)) expect(existsSync(join(modules, name)), name).to.equal(false);
  });

  it('has a unit that starts what the package has, and ends it before its checks', () => {
    const unit = readFileSync(
      ['usr/lib', 'lib'].map((at) => join(root, at, 'systemd/system/anybal.service')).find(existsSync) ?? 'no unit',
      'utf8',
    );
    const program = /^ExecStart=(\S+) run -c \/etc\/pybal\/pybal\.conf$/m.exec(unit)?.[1] ?? 'none';
    expect(lstatSync(join(root, program)).isSymbolicLink()).to.equal(true);
    expect(statSync(join(root, program)).mode & 0o777).to.equal(0o755);
    expect(readFileSync(join(root, program), 'utf8')).to.match(/^#!\/usr\/bin\/node\n/);
    expect(realpathSync(join(root, 'usr/sbin/pybal'))).to.equal(realpathSync(join(root, program)));
    // A check killed by the stop would depool its server; V8 needs memory that is written and run.
    expect(unit).to.match(/^KillMode=mixed$/m);
    expect(unit).to.not.match(/^MemoryDenyWriteExecute=/m);
  });

  it('has manual pages that the formatter has nothing to say against', async () => {
    for (const page of ['man8/anybal.8.gz', 'man8/pybal.8.gz', 'man5/pybal.conf.5.gz']) {
      const file = join(root, 'usr/share/man', page);
      const { code, output } = await finish(folder, 'man', '--warnings', '-E', 'UTF-8', '-P', 'cat', '-l', file);
      expect(code, output).to.equal(0);
      expect(output).to.not.match(/warning:/);
      expect(output).to.match(/^NAME$/m);
    }
  });

  it('accepts the configuration that it brings', async () => {
    for (const file of ['etc/pybal/pybal.conf', 'usr/share/doc/anybal/examples/minimal.conf']) {
      const { code, output } = await anybal('check', '-c', join(root, file));
      expect(code, output).to.equal(0);
      expect(output).to.match(/: 0 errors, [01] warnings?\n$/);
    }
    expect((await anybal('version')).output).to.match(/^anybal \d+\.\d+\.\d+\n$/);
  });

  for (const [title, backend] of [
    ['starts, answers status and stops with 0', 'userspace'],
    ['does so with the backend that only shows what it would do', 'dry-run'],
  ] as const)
    it(title, async () => {
      const place = mkdtempSync(join(folder, 'run-'));
      const socket = join(place, 'control.sock');
      const pool = ['a', 'b']
        .map((_, i) => `{ 'host': '127.83.0.${i + 2}', 'weight': 10, 'enabled': True }\n`)
        .join('');
      writeFileSync(join(place, 'pool'), pool);
      const config = [
        '[global]',
        `backend = ${backend}`,
        `state-directory = ${place}`,
        `control-socket = ${socket}`,
        '[web_18083]',
        'protocol = tcp',
        'ip = 127.83.0.1',
        'port = 18083',
        'scheduler = wrr',
        `config = file://${place}/pool`,
        "monitors = [ 'IdleConnection' ]",
        '',
      ];
      writeFileSync(join(place, 'pybal.conf'), config.join('\n'));
      const args = [join(root, 'usr/sbin/anybal'), 'run', '-c', join(place, 'pybal.conf'), '--debug'];
      const daemon = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      children.push(daemon);
      let log = '';
      for (const stream of [daemon.stdout, daemon.stderr]) stream.on('data', (chunk) => (log += String(chunk)));
      const ended = new Promise<number | null>((resolve) => daemon.on('exit', resolve));
      const status = await eventually('an answer to status', async () => {
        const { code, output } = await anybal('status', '-s', socket, '--json');
        return code === 0 && output.includes('127.83.0.3') ? output : null;
      }).catch((error: unknown) => expect.fail(`${String(error)}\n${log}`));
      expect(JSON.parse(status)).to.be.an('object');
      // Native code was found where the package has it.
      expect(log).to.not.match(/can not be set|koffi/);
      daemon.kill('SIGTERM');
      expect(await ended, log).to.equal(0);
      expect(log).to.include('Exiting...');
    });
});
