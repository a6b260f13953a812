// What a lab VM boots: Debian's kernel unpacked to a bare ELF, its modules, and an initrd with the few of them that the
// root file system, IPVS and the namespaces need. Called by vm.ts. Everything is kept in `.cache/lab` of the checkout,
// one folder per kernel package and one initrd per recipe, so a new kernel or a changed recipe builds anew.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Artefacts {
  /** Bare ELF, booted by PVH: no decompression in the emulated machine. */
  readonly kernel: string;
  readonly initrd: string;
  /** Becomes the guest's /lib/modules. */
  readonly modules: string;
}

/** Top of the checkout, found upwards from this file: it runs from dist. */
export const checkout: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    if (folder === dirname(folder)) throw new Error('no package.json above the lab');
    folder = dirname(folder);
  }
  return folder;
})();

/** The lab's scripts for the guest are not compiled: they are taken from the source folder. */
export const vmSource: string = join(checkout, 'test/lab/vm');

/**
 * Loaded by the initrd, in this order, each with its dependencies before it. crc32c_generic comes first because
 * libcrc32c finds it at run time only, which depmod does not see.
 */
const initrdModules = [
  'crc32c_generic',
  'virtio_pci',
  'virtio_console',
  '9p',
  '9pnet_virtio',
  'overlay',
  'veth',
  'dummy',
  'nlmon',
  'af_packet',
  'ipip',
  'ip6_tunnel',
  'bridge',
  'nf_conntrack',
  'nf_tables',
  'ip_vs',
  ...['rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'mh', 'sed', 'nq', 'lblc', 'lblcr', 'fo', 'ovf'].map(
    (name) => `ip_vs_${name}`,
  ),
];

/** Command → Debian package that has it. */
const tools: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  depmod: 'kmod',
  cpio: 'cpio',
  xz: 'xz-utils',
  gzip: 'gzip',
  'dpkg-deb': 'dpkg',
  'apt-get': 'apt',
};

/** Throws naming the Debian packages of the commands that are not there. Takes `{command: package}`. */
export function requireTools(wanted: Readonly<Record<string, string>>): void {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const missing = Object.keys(wanted).filter((tool) => !folders.some((folder) => existsSync(join(folder, tool))));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => wanted[tool]))].join(' ');
  throw new Error(`the lab needs ${missing.join(', ')}: apt-get install ${packages}`);
}

/** Finds or builds what the VM boots. Throws with a sentence when a tool is missing or the kernel cannot be had. */
export function prepareArtefacts(): Artefacts {
  requireTools(tools);
  const cache = join(checkout, '.cache/lab');
  mkdirSync(cache, { recursive: true });
  const kernelFolder = prepareKernel(cache);
  const initrd = prepareInitrd(kernelFolder);
  return { kernel: join(kernelFolder, 'vmlinux'), initrd, modules: join(kernelFolder, 'lib/modules') };
}

/** The folder `.cache/lab/<package>_<version>` with vmlinux and lib/modules. */
function prepareKernel(cache: string): string {
  const { name, version } = kernelPackage();
  const folder = join(cache, `${name}_${version.replaceAll(':', '.')}`);
  if (existsSync(folder)) return folder;
  // Built aside and renamed: a broken build is never taken for a finished one.
  const work = mkdtempSync(join(cache, 'kernel-'));
  try {
    // A private download folder is writable for root only: apt would complain about its sandbox user.
    run('apt-get', ['-o', 'APT::Sandbox::User=root', 'download', `${name}=${version}`], work);
    const deb = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (deb === undefined) throw new Error(`apt-get download ${name} left no package`);
    run('dpkg-deb', ['-x', deb, 'tree'], work);
    rmSync(join(work, deb));
    const kernelVersion = readdirSync(join(work, 'tree/lib/modules'))[0];
    if (kernelVersion === undefined) throw new Error(`${name} has no modules`);
    // modules.dep is made by the package's postinst, which we do not run.
    run('depmod', ['-b', join(work, 'tree'), kernelVersion], work);
    writeFileSync(join(work, 'tree/vmlinux'), bareElf(readFileSync(join(work, `tree/boot/vmlinuz-${kernelVersion}`))));
    rmSync(join(work, 'tree/boot'), { recursive: true });
    rmSync(join(work, 'tree/usr'), { recursive: true, force: true });
    chmodSync(join(work, 'tree'), 0o755);
    renameSync(join(work, 'tree'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}

/** The package that linux-image-amd64 depends on: the cloud flavour has no 9p. */
function kernelPackage(): { name: string; version: string } {
  const find = (): string | undefined =>
    /Depends: (linux-image-\S+)/.exec(run('apt-cache', ['depends', 'linux-image-amd64'], '/'))?.[1];
  let name = find();
  if (name === undefined && process.getuid?.() === 0) {
    run('apt-get', ['update'], '/');
    name = find();
  }
  if (name === undefined) throw new Error('apt knows no linux-image-amd64: apt-get update (Debian, amd64)');
  const version = /^Version: (\S+)$/m.exec(run('apt-cache', ['show', '--no-all-versions', name], '/'))?.[1];
  if (version === undefined) throw new Error(`apt knows no version of ${name}`);
  return { name, version };
}

/** The xz payload of a vmlinuz, unpacked: emulated decompression would cost more than two seconds per boot. */
function bareElf(vmlinuz: Buffer): Buffer {
  const start = vmlinuz.indexOf(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]));
  if (start < 0) throw new Error('the kernel image holds no xz stream');
  return execFileSync('xz', ['-dc', '--single-stream'], {
    input: vmlinuz.subarray(start),
    maxBuffer: 256 << 20,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
}

function prepareInitrd(kernelFolder: string): string {
  const init = readFileSync(join(vmSource, 'init.sh'));
  const recipe = createHash('sha256').update(init).update(initrdModules.join()).digest('hex').slice(0, 12);
  const initrd = join(kernelFolder, `initrd-${recipe}.gz`);
  if (existsSync(initrd)) return initrd;
  const work = mkdtempSync(join(kernelFolder, 'initrd-'));
  try {
    const root = join(work, 'root');
    for (const folder of ['bin', 'dev', 'proc', 'sys', 'lower', 'rw', 'root', 'modules']) {
      mkdirSync(join(root, folder), { recursive: true });
    }
    cpSync(find('busybox'), join(root, 'bin/busybox'));
    writeFileSync(join(root, 'init'), init, { mode: 0o755 });
    const order = moduleOrder(kernelFolder);
    for (const path of order) cpSync(path, join(root, 'modules', basename(path)));
    writeFileSync(join(root, 'modules/order'), order.map((path) => `${basename(path)}\n`).join(''));
    const files = execFileSync('find', ['.'], { cwd: root });
    const archive = execFileSync('cpio', ['-o', '-H', 'newc', '--quiet', '-R', '0:0'], {
      cwd: root,
      input: files,
      maxBuffer: 64 << 20,
    });
    const packed = join(work, 'initrd.gz');
    writeFileSync(packed, execFileSync('gzip', ['-9c'], { input: archive, maxBuffer: 64 << 20 }));
    renameSync(packed, initrd);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return initrd;
}

/** Files of the initrd's modules, dependencies first. A module that is built in has no file and is left out. */
function moduleOrder(kernelFolder: string): readonly string[] {
  const modules = join(kernelFolder, 'lib/modules');
  const base = join(modules, readdirSync(modules)[0] ?? '');
  const dependencies = new Map<string, readonly string[]>();
  const pathByName = new Map<string, string>();
  for (const line of readFileSync(join(base, 'modules.dep'), 'utf8').split('\n')) {
    const [path, needs] = line.split(':');
    if (path === undefined || needs === undefined) continue;
    dependencies.set(path, needs.trim() === '' ? [] : needs.trim().split(' '));
    pathByName.set(moduleName(path), path);
  }
  const builtIn = new Set(readFileSync(join(base, 'modules.builtin'), 'utf8').split('\n').map(moduleName));
  const order: string[] = [];
  const add = (path: string): void => {
    if (order.includes(path)) return;
    for (const need of dependencies.get(path) ?? []) add(need);
    order.push(path);
  };
  for (const name of initrdModules) {
    const path = pathByName.get(name);
    if (path !== undefined) add(path);
    else if (!builtIn.has(name)) throw new Error(`the kernel has no module ${name}`);
  }
  return order.map((path) => join(base, path));
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function find(tool: string): string {
  const folder = (process.env['PATH'] ?? '').split(delimiter).find((each) => existsSync(join(each, tool)));
  return join(folder ?? '/usr/bin', tool);
}

function run(command: string, args: readonly string[], cwd: string): string {
  try {
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
    return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new Error(`${command} ${args.join(' ')} failed: ${stderr.split('\n').at(-1) ?? ''}`, { cause: error });
  }
}
