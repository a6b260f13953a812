// What a lab VM boots: a kernel of Debian's, as a bare ELF where it can be, its modules, and an initrd with the few of them that the
// root file system, the namespaces and the lab's subject need. Called by vm.ts. Everything is kept in `.cache/lab` of the checkout,
// one folder per kernel package and one initrd per recipe, so a new kernel or a changed recipe builds anew.

import { execFileSync, spawnSync } from 'node:child_process';
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
import { aptOf, run } from './debian.ts';

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

/** Which kernel, and what of it the initrd loads. */
export interface Kernel {
  /** null: the one that this machine's release has. */
  readonly suite: string | null;
  /** In this order, each with its dependencies before it. */
  readonly modules: readonly string[];
}

/** The root file system, and wires between namespaces. */
const basicModules = ['virtio_pci', 'virtio_console', '9p', '9pnet_virtio', 'overlay', 'veth', 'dummy'];

/** crc32c_generic comes first because libcrc32c finds it at run time only, which depmod does not see. */
export const ipvsKernel: Kernel = {
  suite: null,
  modules: [
    'crc32c_generic',
    ...basicModules,
    ...['nlmon', 'af_packet', 'ipip', 'ip6_tunnel', 'bridge', 'nf_conntrack', 'nf_tables', 'ip_vs'],
    ...['rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'mh', 'sed', 'nq', 'lblc', 'lblcr', 'fo', 'ovf'].map(
      (name) => `ip_vs_${name}`,
    ),
  ],
};

/** Linux 7.2 and later; that of bookworm and trixie is built without TCP-AO. */
export const tcpAoKernel: Kernel = { suite: 'trixie-backports', modules: basicModules };

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
export function prepareArtefacts(kernel: Kernel): Artefacts {
  requireTools(tools);
  const folder = prepareKernel(kernel, labCache());
  const initrd = prepareInitrd(folder, kernel.modules);
  return { kernel: join(folder, 'vmlinux'), initrd, modules: join(folder, 'lib/modules') };
}

/** Where everything is kept that can be made again. */
export function labCache(): string {
  const cache = join(checkout, '.cache/lab');
  mkdirSync(cache, { recursive: true });
  return cache;
}

/** The folder `.cache/lab/<package>_<version>` with vmlinux and lib/modules. */
function prepareKernel({ suite }: Kernel, cache: string): string {
  const apt = aptOf(suite, cache);
  // The cloud flavour has no 9p.
  const name = apt.depends('linux-image-amd64').find((each) => each.startsWith('linux-image-'));
  if (name === undefined) throw new Error('linux-image-amd64 depends on no kernel');
  const folder = join(cache, `${name}_${apt.version(name).replaceAll(':', '.')}`);
  if (existsSync(folder)) return folder;
  // Built aside and renamed: a broken build is never taken for a finished one.
  const work = mkdtempSync(join(cache, 'kernel-'));
  try {
    const tree = join(work, 'tree');
    // Later kernels come in parts.
    apt.unpack([name, ...apt.depends(name).filter((each) => /^linux-(base|binary|modules)-\d/.test(each))], tree);
    if (!existsSync(join(tree, 'lib/modules'))) {
      mkdirSync(join(tree, 'lib'), { recursive: true });
      renameSync(join(tree, 'usr/lib/modules'), join(tree, 'lib/modules'));
    }
    const kernelVersion = readdirSync(join(tree, 'lib/modules'))[0];
    if (kernelVersion === undefined) throw new Error(`${name} has no modules`);
    // modules.dep is made by the package's postinst, which we do not run.
    run('depmod', ['-b', tree, kernelVersion], work);
    const images = [join(tree, `boot/vmlinuz-${kernelVersion}`), join(tree, `lib/modules/${kernelVersion}/vmlinuz`)];
    const image = images.find((path) => existsSync(path));
    if (image === undefined) throw new Error(`${name} has no kernel`);
    writeFileSync(join(tree, 'vmlinux'), bootable(readFileSync(image)));
    for (const needless of ['boot', 'usr']) rmSync(join(tree, needless), { recursive: true, force: true });
    chmodSync(tree, 0o755);
    renameSync(tree, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}

/**
 * The xz payload of a vmlinuz, unpacked: emulated decompression would cost more than two seconds per boot. With another compression,
 * which is quicker, it unpacks itself.
 */
function bootable(vmlinuz: Buffer): Buffer {
  const start = vmlinuz.indexOf(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]));
  if (start < 0) return vmlinuz;
  const { status, stdout, error } = spawnSync('xz', ['-dc', '--single-stream'], {
    input: vmlinuz.subarray(start),
    maxBuffer: 256 << 20,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // It ends with its stream, and leaves unread what follows in the file: EPIPE, if that was on its way still.
  if (status !== 0) throw error ?? new Error(`xz ended with ${status}`);
  return stdout;
}

function prepareInitrd(kernelFolder: string, modules: readonly string[]): string {
  const init = readFileSync(join(vmSource, 'init.sh'));
  const recipe = createHash('sha256').update(init).update(modules.join()).digest('hex').slice(0, 12);
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
    const order = moduleOrder(kernelFolder, modules);
    for (const path of order) writeFileSync(join(root, 'modules', plainName(path)), moduleBytes(path));
    writeFileSync(join(root, 'modules/order'), order.map((path) => `${plainName(path)}\n`).join(''));
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
function moduleOrder(kernelFolder: string, wanted: readonly string[]): readonly string[] {
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
  for (const name of wanted) {
    const path = pathByName.get(name);
    if (path !== undefined) add(path);
    else if (!builtIn.has(name)) throw new Error(`the kernel has no module ${name}`);
  }
  return order.map((path) => join(base, path));
}

/** As insmod takes it. */
function moduleBytes(path: string): Buffer {
  if (!path.endsWith('.xz')) return readFileSync(path);
  return execFileSync('xz', ['-dc', path], { maxBuffer: 64 << 20 });
}

function plainName(path: string): string {
  return basename(path).replace(/\.xz$/, '');
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
