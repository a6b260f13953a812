// Runs one command as root in a virtual machine with Debian's kernel and this host's files. Called by the lab, the
// benchmarks that need IPVS, and main.ts. Always pure emulation: /dev/kvm may be there and still hang (nested).

import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkout, ipvsKernel, type Kernel, prepareArtefacts, vmSource } from './artefacts.ts';

export interface VmOptions {
  /** Looked up in the guest's PATH, which is root's. No shell. */
  readonly command: readonly string[];
  /** Default: the one with IPVS. */
  readonly kernel?: Kernel;
  /** Default: the checkout. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Default 600; the boot included. */
  readonly timeoutSeconds?: number;
  /** Default 2048. */
  readonly memoryMiB?: number;
  /** Default 2. */
  readonly cpus?: number;
  /** Where files that the guest writes to $VM_OUT go, with console.log beside them. Not kept when absent. */
  readonly outDirectory?: string;
  /** Output and errors of the command, as they come. */
  readonly onOutput?: (bytes: Buffer) => void;
}

export interface VmResult {
  /** The command's own, 124 when the time was up, 125 when the guest died without a word. */
  readonly exitCode: number;
  readonly seconds: number;
  /** The kernel's last words: interesting after 124 and 125. */
  readonly consoleTail: string;
}

export const timedOut = 124;
export const guestDied = 125;
const bootsAtMost = 3;
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Boots, runs, powers off. Throws when something needed is missing, naming the Debian packages. Leaves nothing behind. */
export async function runInVm(options: VmOptions): Promise<VmResult> {
  const artefacts = prepareArtefacts(options.kernel ?? ipvsKernel);
  const runShare = mkdtempSync(join(tmpdir(), 'anybal-vm-'));
  const consoleFile = join(runShare, 'console.log');
  const started = performance.now();
  const output = createServer((socket) => {
    if (options.onOutput !== undefined) socket.on('data', options.onOutput);
    else socket.resume();
    // The machine's end may reset the stream; the exit file tells how the command ended.
    socket.on('error', () => socket.destroy());
  });
  // Ctrl-C or a kill of this process takes the machine and its folder along.
  const clean = (): void => rmSync(runShare, { recursive: true, force: true });
  const interrupted = (): void => process.exit(130);
  process.once('exit', clean);
  for (const signal of endings) process.once(signal, interrupted);
  try {
    mkdirSync(join(runShare, 'out'));
    cpSync(join(vmSource, 'guest.sh'), join(runShare, 'guest.sh'));
    writeFileSync(join(runShare, 'command'), nulTerminated(options.command));
    writeFileSync(join(runShare, 'environment'), nulTerminated(assignments(options.env ?? {})));
    writeFileSync(join(runShare, 'cwd'), options.cwd ?? checkout);
    await listen(output, join(runShare, 'output'));

    const wordsOfConsole = (): string =>
      existsSync(consoleFile) ? readFileSync(consoleFile, 'latin1').slice(-4000) : '';
    let timeUp = false;
    for (let boots = 1; boots <= bootsAtMost; boots += 1) {
      timeUp = await boot(artefacts, runShare, consoleFile, options);
      // The emulator may lose a race while the kernel starts. Nothing of the command has been seen then.
      if (timeUp || existsSync(join(runShare, 'began')) || boots === bootsAtMost) break;
      console.error(
        `vm: the guest died in boot ${boots} of at most ${bootsAtMost}; its last words:\n${wordsOfConsole()}`,
      );
    }
    await drained(output);

    const consoleTail = wordsOfConsole();
    const exitFile = join(runShare, 'exit');
    const exitCode = timeUp ? timedOut : existsSync(exitFile) ? Number(readFileSync(exitFile, 'utf8')) : guestDied;
    if (options.outDirectory !== undefined) {
      mkdirSync(options.outDirectory, { recursive: true });
      cpSync(join(runShare, 'out'), options.outDirectory, { recursive: true });
      if (existsSync(consoleFile)) cpSync(consoleFile, join(options.outDirectory, 'console.log'));
    }
    return { exitCode, seconds: (performance.now() - started) / 1000, consoleTail };
  } finally {
    output.close();
    process.off('exit', clean);
    for (const signal of endings) process.off(signal, interrupted);
    clean();
  }
}

/** Resolves when QEMU has ended: true if it had to be killed because the time was up. */
function boot(
  artefacts: { readonly kernel: string; readonly initrd: string; readonly modules: string },
  runShare: string,
  consoleFile: string,
  options: VmOptions,
): Promise<boolean> {
  const args = qemuArguments(artefacts, runShare, consoleFile, options);
  return new Promise((resolve, reject) => {
    const qemu = spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let complaint = '';
    for (const stream of [qemu.stdout, qemu.stderr]) {
      stream.on('data', (bytes: Buffer) => (complaint = (complaint + bytes.toString('latin1')).slice(-4000)));
    }
    let timeUp = false;
    const timer = setTimeout(
      () => {
        timeUp = true;
        qemu.kill('SIGKILL');
      },
      (options.timeoutSeconds ?? 600) * 1000,
    );
    const stop = (): void => void qemu.kill('SIGKILL');
    process.once('exit', stop);
    qemu.once('error', reject);
    qemu.once('close', (code) => {
      clearTimeout(timer);
      process.off('exit', stop);
      if (code !== 0 && !timeUp && code !== null) reject(new Error(`qemu ended with ${code}: ${complaint.trim()}`));
      else resolve(timeUp);
    });
  });
}

const KERNEL_PARAMETERS = [
  ...['console=ttyS0', 'quiet', 'loglevel=4', 'tsc=reliable', 'mitigations=off', 'nokaslr', 'rdinit=/init'],
  // With -no-reboot: a panic ends QEMU at once.
  'panic=-1',
  // An emulator that gets no processor for a moment delivers the timer too late for this check, and the kernel panics.
  'no_timer_check',
  // While it boots, the kernel patches code that other processors run, and one of them may meet a breakpoint that is already
  // gone. guest.sh brings them up.
  'maxcpus=1',
];

function qemuArguments(
  artefacts: { readonly kernel: string; readonly initrd: string; readonly modules: string },
  runShare: string,
  consoleFile: string,
  options: VmOptions,
): readonly string[] {
  const share = (tag: string, path: string, more: string): readonly string[] => [
    '-fsdev',
    `local,id=${tag},path=${path},security_model=none,multidevs=remap${more}`,
    '-device',
    `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
  ];
  return [
    // No NIC, no VGA: nothing to probe and no option ROM to wait for.
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-machine', 'pc,usb=off'],
    // An old CPU model: emulating the newest one costs up to twice the time.
    ...['-accel', 'tcg,thread=multi', '-cpu', process.env['LAB_CPU'] ?? 'Nehalem', '-smp', String(options.cpus ?? 2)],
    ...['-m', String(options.memoryMiB ?? 2048), '-kernel', artefacts.kernel, '-initrd', artefacts.initrd],
    ...['-append', KERNEL_PARAMETERS.join(' ')],
    ...['-chardev', `file,id=console,path=${consoleFile}`, '-serial', 'chardev:console'],
    // A socket, not stdio: with stdin closed stdio counts as disconnected and the guest blocks on its first write.
    ...['-chardev', `socket,id=output,path=${join(runShare, 'output')}`],
    ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=output,name=output'],
    ...share('host', '/', ',readonly=on'),
    ...share('run', runShare, ''),
    ...share('modules', artefacts.modules, ',readonly=on'),
  ];
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
}

/** After QEMU's end its last bytes may still be on their way through the socket. */
function drained(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function nulTerminated(words: readonly string[]): string {
  return words.map((word) => `${word}\0`).join('');
}

function assignments(env: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}
