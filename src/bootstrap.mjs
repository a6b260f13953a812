// What stands before everything that npm runs: the set-up, then the task. Plain JavaScript, because it runs on a clean clone.
// Set-up is `npm ci` when node_modules is not what the lock file says, and the compiler. Debian packages are installed only
// for tests, only as root; otherwise the missing ones are named.

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const modules = join(root, 'node_modules');
const stamp = join(modules, '.anybal-setup');
const mocha = join(root, 'node_modules', 'mocha', 'bin', 'mocha.js');
const [task = '', ...rest] = process.argv.slice(2);

/** Command, or file → Debian package that has it. */
const DEBIAN = {
  ip: 'iproute2',
  sysctl: 'procps',
  ping: 'iputils-ping',
  nft: 'nftables',
  bird: 'bird2',
  birdc: 'bird2',
  '/usr/lib/frr/bgpd': 'frr',
  '/usr/lib/frr/zebra': 'frr',
  '/usr/lib/frr/bfdd': 'frr',
  vtysh: 'frr',
  gobgp: 'gobgpd',
  gobgpd: 'gobgpd',
  bgpctl: 'openbgpd',
  exabgp: 'exabgp',
  etcd: 'etcd-server',
  etcdctl: 'etcd-client',
  nsd: 'nsd',
  nginx: 'nginx-light',
  haproxy: 'haproxy',
  socat: 'socat',
  unbound: 'unbound',
  ipvsadm: 'ipvsadm',
  sshd: 'openssh-server',
  exim4: 'exim4-daemon-light',
  '/usr/lib/python3/dist-packages/grpc': 'python3-grpcio',
  curl: 'curl',
  openssl: 'openssl',
  python3: 'python3',
  modprobe: 'kmod',
  depmod: 'kmod',
  'qemu-system-x86_64': 'qemu-system-x86',
  '/bin/busybox': 'busybox-static',
  cpio: 'cpio',
  xz: 'xz-utils',
  gzip: 'gzip',
  dh: 'debhelper',
  'dpkg-buildpackage': 'dpkg-dev',
  fakeroot: 'fakeroot',
};
/** What only benchmarks need: daemons to be compared with. */
const PEERS = {
  keepalived: 'keepalived',
  ldirectord: 'ldirectord',
  gcc: 'gcc',
  '/usr/include/linux/ip_vs.h': 'linux-libc-dev',
};

/** Interop tests with routers, in their order: those that want much of the machine come when less is going on beside them. */
const ROUTERS = ['bird', 'changes', 'frr', 'matrix', 'restart', 'transport', 'unnumbered', 'bfd'];
/** Those with sources of pools, and others that ask for little but time. */
const SOURCES = ['demo', 'etcd', 'package', 'partition', 'pool-dns'];
/** Those that want all of the machine: nothing runs beside them. */
const ALONE = ['mass-failure'];
const interop = (name) => `dist/test/interop/${name}{.test.js,/**/*.test.js}`;

/** Where tests wait in real time: those that fail while the machine stands still are run again. */
const STEADY = ['--require', './dist/test/support/steady.js'];

/** Name → the files of a mocha suite, or a program of its own whose last words have mocha's counts. */
const SUITES = {
  // What mostly waits comes first, and the rest is done meanwhile.
  unit: {
    mocha: [
      ...['--parallel', '--jobs', '8', ...STEADY],
      'dist/test/unit/{main,{foreground,log,monitors,world}/**/*}.test.js',
      'dist/test/unit/{!(main),!(foreground|log|monitors|world)/**/*}.test.js',
    ],
  },
  sim: { mocha: ['--parallel', '--jobs', '2', '--timeout', '600000', 'dist/test/sim/**/*.sim.test.js'] },
  'interop-routers': { mocha: ['--timeout', '60000', ...STEADY, ...ROUTERS.map(interop)] },
  'interop-sources': { mocha: ['--timeout', '60000', ...STEADY, ...SOURCES.map(interop)] },
  'interop-servers': {
    mocha: ['--timeout', '60000', ...STEADY, interop(`!(${[...ROUTERS, ...SOURCES, ...ALONE].join('|')})`)],
  },
  'interop-alone': { mocha: ['--timeout', '60000', ...STEADY, ...ALONE.map(interop)] },
  lab: { node: ['dist/test/lab/main.js'] },
  ao: { node: ['dist/test/lab/ao/main.js'] },
};

/** Of a suite's report on its failures, so much is said again at the end, in lines. */
const MOST_AGAIN = 200;

/** What stands together runs side by side: tests that mostly wait, for servers and namespaces of their own. */
const INTEROP = ['interop-routers', 'interop-sources', 'interop-servers'];
const PLAN = [['unit'], ['sim'], INTEROP, ['interop-alone'], ['ao'], ['lab']];

const TASKS = {
  start: () => setUp() || run(['dist/src/demo/main.js', ...rest]),
  unit: () => setUp() || suites([['unit']]),
  interop: () => setUp() || debian() || suites([INTEROP, ['interop-alone']]),
  lab: () => setUp() || debian() || suites([['lab']]),
  ao: () => setUp() || debian() || suites([['ao']]),
  test: () => setUp() || debian() || lint() || suites(PLAN),
  sim: () => setUp() || run(['dist/test/sim/main.js', ...rest]),
  'fuzz-bgp': () => setUp() || run(['dist/test/fuzz/bgp.js', ...rest]),
  'bench-ipvs': () => setUp() || debian() || run(['dist/bench/ipvs.js', ...rest]),
  'bench-pool': () => setUp() || run(['dist/bench/pool.js', ...rest]),
  'bench-bgp': () => setUp() || debian() || run(['dist/bench/bgp.js', ...rest]),
  'bench-checks': () => setUp() || debian({ ...DEBIAN, ...PEERS }) || run(['dist/bench/checks.js', ...rest]),
  'bench-check-js': () => setUp() || run(['dist/bench/check-js.js', ...rest]),
  'bench-bfd': () => setUp() || debian() || run(['dist/bench/bfd-load.js', ...rest]),
  'bench-standstill': () => setUp() || run(['dist/bench/standstill.js', ...rest]),
  'bench-failover': () => setUp() || debian() || run(['dist/bench/failover.js', ...rest]),
};

const chosen = TASKS[task];
if (chosen === undefined) fail(`no such task: ${task}`);
process.exitCode = await chosen();

/** 0 when ready. */
function setUp() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) fail(`Node >= 20.19 is needed, this is ${process.versions.node}`);
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
    console.log('Installing npm packages …');
    if (existsSync(modules) && lstatSync(modules).isSymbolicLink())
      fail(`${modules} is a link: npm would empty what it leads to`);
    need(
      spawnSync('npm', ['ci', '--ignore-scripts'], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }),
      'npm ci',
    );
    writeFileSync(stamp, wanted);
  }
  mkdirSync(join(root, 'dist'), { recursive: true });
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  need(spawnSync(process.execPath, [compiler], { cwd: root, stdio: 'inherit' }), 'tsc');
  return 0;
}

/** The programs that the tests talk to. */
function debian(wanted = DEBIAN) {
  const path = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const present = (what) =>
    what.startsWith('/') ? existsSync(what) : path.some((folder) => existsSync(join(folder, what)));
  const missing = () => [...new Set(Object.entries(wanted).flatMap(([what, name]) => (present(what) ? [] : [name])))];
  const names = missing();
  if (names.length === 0) return 0;
  if (process.getuid?.() !== 0) fail(`These Debian packages are missing: apt-get install ${names.join(' ')}`);
  console.log(`Installing Debian packages: ${names.join(' ')} …`);
  const apt = (...args) =>
    spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=120', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  need(apt('update'), 'apt-get update');
  const installed = withoutStarting(() => apt('install', '--no-install-recommends', '-y', ...names));
  need(installed, 'apt-get install');
  if (missing().length > 0) fail(`Still missing after apt-get install: ${missing().join(' ')}`);
  return 0;
}

/** Debian's packages start their daemons, unless this file says no; an administrator's own one stays. */
function withoutStarting(install) {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    if (ours) rmSync(policy);
  }
}

function lint() {
  console.log('\n== lint');
  const eslint = join(root, 'node_modules', 'eslint', 'bin', 'eslint.js');
  need(spawnSync(process.execPath, [eslint, '.'], { cwd: root, stdio: 'inherit' }), 'eslint');
  return 0;
}

/**
 * Runs each suite, whatever the one before said, shows them one after the other, and adds up what they counted. What failed is
 * said once more at the end: who keeps only a log's last lines sees it too.
 */
async function suites(plan) {
  const total = { passing: 0, failing: 0, pending: 0 };
  const again = [];
  for (const together of plan) {
    for (const [name, { show }] of together.map((each) => [each, begin(SUITES[each])])) {
      console.log(`\n== ${name}`);
      const { code, output, seconds } = await show();
      const count = (word) => Number([...output.matchAll(new RegExp(`^ +(\\d+) ${word}\\b`, 'gm'))].at(-1)?.[1] ?? 0);
      const failing = count('failing');
      total.passing += count('passing');
      total.pending += count('pending');
      // A suite that died without a word has failed, whatever it counted before.
      total.failing += failing === 0 && code !== 0 ? 1 : failing;
      if (failing === 0 && code !== 0) console.log(`== ${name} ended with exit code ${code}`);
      if (failing > 0 || code !== 0) again.push(`\n== failed in ${name}\n${report(output)}`);
      console.log(`== ${name}: ${seconds} s`);
    }
  }
  for (const text of again) console.log(text);
  const skipped = total.pending > 0 ? `, ${total.pending} skipped` : '';
  console.log(`\n${total.passing} passed, ${total.failing} failed${skipped}`);
  return total.failing > 0 || total.passing === 0 ? 1 : 0;
}

/** What mocha says of those that failed, or the last words of who died before. */
function report(output) {
  const from = [...output.matchAll(/^ +\d+ failing\b/gm)].at(-1)?.index;
  const lines = output
    .slice(from ?? 0)
    .trimEnd()
    .split('\n');
  return (from === undefined ? lines.slice(-MOST_AGAIN) : lines.slice(0, MOST_AGAIN)).join('\n');
}

/** Starts a suite. What it says is kept until it is to be shown, and from then on seen as it comes. */
function begin({ mocha: files, node }) {
  const start = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', ...(node ?? [mocha, ...files, ...rest])], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = [];
  let seen = false;
  const look = ({ stream, bytes }) => process[stream].write(bytes);
  for (const stream of ['stdout', 'stderr'])
    child[stream].on('data', (bytes) => {
      said.push({ stream, bytes });
      if (seen) look(said.at(-1));
    });
  const ended = new Promise((resolve) => {
    child.on('close', (code) => {
      const out = said.filter(({ stream }) => stream === 'stdout').map(({ bytes }) => bytes);
      const seconds = Math.round((performance.now() - start) / 1000);
      resolve({ code: code ?? 1, output: uncoloured(Buffer.concat(out).toString('utf8')), seconds });
    });
  });
  return {
    show() {
      said.forEach(look);
      seen = true;
      return ended;
    },
  };
}

/** Text without the escape sequences that a runner colours it with, in a terminal or in CI. */
function uncoloured(text) {
  return text.replace(/\x1b\[[0-9;]*m/g, '');
}

/** The program in the foreground, signals and terminal its own. */
function run(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--enable-source-maps', ...args], { cwd: root, stdio: 'inherit' });
    // A terminal sends them to the child as well; what is left to us is to wait for its end.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    child.on('close', (code) => resolve(code ?? 1));
  });
}

function need({ status, error }, what) {
  if (status !== 0) fail(`${what} failed${error === undefined ? '' : `: ${error.message}`}`);
}

function fail(text) {
  console.error(`anybal: ${text}`);
  process.exit(1);
}
