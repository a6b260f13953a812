// The command line: argv → what to run. Also callable as `pybal`. Everything that is the process's own is here: signals,
// exit codes, the lock, the log.

import { createHash } from 'node:crypto';
import { readFileSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Drops, readDrops } from './bgp/drops.ts';
import { type Invocation, parseCommandLine } from './cli/args.ts';
import { status } from './cli/status.ts';
import { checkReport } from './config/check.ts';
import { loadConfig, monitorDirectories } from './config/load.ts';
import type { GlobalConfig } from './config/types.ts';
import { Daemon } from './daemon.ts';
import { checkNow } from './foreground/check-now.ts';
import { monitorTest } from './foreground/monitor-test.ts';
import { loadMonitor, loadMonitorFile } from './health/loader.ts';
import type { MonitorModule } from './health/monitor.ts';
import { culpritOf, type Origin, strayText } from './health/stray.ts';
import { openLibc } from './ffi/libc.ts';
import { errorText, printComplaint, stackText } from './lib/errors.ts';
import { within } from './lib/in-time.ts';
import { escaped, formatRecord, isoTime } from './log/format.ts';
import type { Log, LogRecord } from './log/record.ts';
import { createLogSink, type LogSink, lineStyle } from './log/sink.ts';
import { tuneEngine } from './world/real/engine.ts';
import { createHeapMeter } from './world/real/heap.ts';
import { createFiles } from './world/real/files.ts';
import { LOCK_NAME, lockInstance } from './world/real/lock.ts';
import { getOverUnixSocket } from './world/real/unix-http.ts';
import { createWatchdog } from './world/real/watchdog.ts';
import { createRealWorld } from './world/real/world.ts';
import type { World } from './world/world.ts';

/** How long sockets and the log may take to close. */
const CLOSE_MS = 3_000;
const STATUS_TIMEOUT_MS = 5_000;
const STATUS_MAX_BYTES = 256 << 20;
/** What a monitor that is tried computes without a pause has come to an end by then, or never does. */
const BLOCKED_MS = 10_000;

/** What signals do, until there is a log, and a daemon. A hang-up that comes too early is done when there is one. */
let hungUp = false;
let hangUp = (): void => void (hungUp = true);
let reopenLog = (): void => {};
let terminate = (): void => leave(0);
let dump = (): void => {};
/** It is us who end the process, and not a monitor that is tried. */
let ending = false;

// Before anything else: without a listener SIGUSR1 opens a debugger in a process that may write the kernel's tables.
process.on('SIGUSR1', () => dump());

const commandIo = {
  get: (socket: string, path: string) => getOverUnixSocket(socket, path, STATUS_TIMEOUT_MS, STATUS_MAX_BYTES),
  print,
  // It may quote a file, or a server.
  printError: (text: string) => void process.stderr.write(text.split('\n').map(escaped).join('\n')),
};

/** An error that nobody handled: a monitor's is told, ours ends the process. `tell` answers whether it was a monitor's. */
let tell = (thrown: unknown, origin: Origin): boolean => {
  const culprit = culpritOf(thrown, origin, grounds);
  if (culprit === null) return false;
  early.push([thrown, origin]);
  const text = `a bug in ${culprit}: an error that nobody handles: ${strayText(thrown)}`;
  process.stderr.write(`anybal: ${escaped(text)}\n`);
  return true;
};
const early: [thrown: unknown, origin: Origin][] = [];
const grounds = { root: new URL('../../', import.meta.url).href, strangers: false };
let lastWords = (text: string): void => void process.stderr.write(`${text}\n`);
process.on('uncaughtException', (error: unknown) => stray(error, 'exception'));
process.on('unhandledRejection', (reason) => stray(reason, 'rejection'));

process.exitCode = await main(parseCommandLine(process.argv.slice(2)));

async function main(invocation: Invocation): Promise<number> {
  // Others than the daemon end with their terminal, as usual.
  if (invocation.do !== 'run') for (const signal of ['SIGHUP', 'SIGUSR2'] as const) process.removeAllListeners(signal);
  switch (invocation.do) {
    case 'run':
      return run(invocation);
    case 'check': {
      const { text, exitCode } = await checkReport(files(invocation.config), invocation.config, {
        strict: invocation.strict,
      });
      print(text);
      return leaveAtOnce(exitCode);
    }
    case 'status':
      return status(invocation, commandIo);
    case 'check-now':
      return inForeground(files(invocation.config).monitor, (world) => checkNow(invocation, world, commandIo)).then(
        leaveAtOnce,
      );
    case 'monitor-test':
      return inForeground(
        () => Promise.resolve(null),
        async (world) => {
          const strays: string[] = [];
          const { alive, lastWords } = await createWatchdog(invocation.file, BLOCKED_MS);
          grounds.strangers = true;
          tell = (thrown, origin) => culpritOf(thrown, origin, grounds) !== null && strays.push(errorText(thrown)) > 0;
          const heapUsed = createHeapMeter();
          const resources = () => process.getActiveResourcesInfo();
          const outside = { clock: world.clock, world, heapUsed, resources, strays: () => strays.splice(0), alive };
          process.on('exit', (code) => {
            if (ending) return;
            process.exitCode = 1;
            writeSync(
              2,
              `anybal: ${escaped(invocation.file)} ended the process (code ${code}), which no monitor may\n`,
            );
          });
          return monitorTest(invocation, outside, { ...commandIo, lastWords, load: loadMonitorFile }).then(leaveAtOnce);
        },
      );
    case 'version':
      print(`anybal ${version()}\n`);
      return 0;
    case 'help':
      print(invocation.text);
      return 0;
    case 'usage':
      process.stderr.write(invocation.text);
      return 2;
    default:
      return invocation satisfies never;
  }
}

function stray(thrown: unknown, origin: Origin): void {
  if (tell(thrown, origin)) return;
  lastWords(`A bug in anybal: ${stackText(thrown)}`);
  ending = true;
  process.exit(70);
}

/** When all is said. What a monitor has left open would keep the process for ever. */
async function leaveAtOnce(code: number): Promise<never> {
  // Promises that failed, and that nobody waits for, are told of when the loop turns.
  await new Promise((resolve) => setImmediate(resolve));
  for (const stream of [process.stdout, process.stderr])
    await new Promise<void>((resolve) => void stream.write('', () => resolve()));
  ending = true;
  process.exit(code);
}

/** A world that writes to no kernel, for a command that checks something itself. Warnings go to standard error. */
async function inForeground(
  loadMonitor: (name: string) => Promise<MonitorModule | null>,
  act: (world: World) => Promise<number>,
): Promise<number> {
  const log: Log = ({ level, system, text }) => {
    if (level !== 'debug' && level !== 'info') process.stderr.write(`anybal: [${escaped(system)}] ${escaped(text)}\n`);
  };
  const world = await createRealWorld({ backend: 'dry-run', log, loadMonitor });
  // Commands have a session of their own, which no terminal's Ctrl-C reaches. Without the listener the signal ends us.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      void world.close();
      process.kill(process.pid, signal);
    });
  try {
    return await act(world);
  } finally {
    await world.close();
  }
}

/** To whoever asked. A full disk is one line, and a reader that has gone is none. */
function print(text: string): void {
  process.stdout.removeAllListeners('error').on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.stderr.write(`anybal: standard output: ${error.code ?? error.message}\n`);
    ending = true;
    process.exit(1);
  });
  process.stdout.write(text);
}

/** Files, and the monitors that a configuration names, its own directories included. */
function files(configPath: string) {
  const real = createFiles();
  return {
    files: real,
    monitor: async (name: string) =>
      loadMonitor(name, await monitorDirectories({ files: real }, configPath), {
        onStranger: () => void (grounds.strangers = true),
      }),
  };
}

async function run({ config: configPath, dryRun, debug }: Invocation & { do: 'run' }): Promise<number> {
  // Without a listener each of them kills, and a start takes a while.
  process.on('SIGHUP', () => hangUp());
  process.on('SIGUSR2', () => reopenLog());
  process.on('SIGTERM', () => terminate());
  process.on('SIGINT', () => terminate());
  tuneEngine();
  const parts = files(configPath);
  const { config, complaints } = await loadConfig(parts, configPath);
  if (config === null) {
    for (const complaint of complaints) process.stderr.write(`${escaped(printComplaint(complaint))}\n`);
    process.stderr.write(`anybal: ${escaped(configPath)} cannot be used\n`);
    return 2;
  }
  // A dry run may stand beside the daemon whose file it reads: what is that one's it leaves alone, log and sockets included.
  const logFile = dryRun ? null : config.global.logFile;
  let sink: LogSink;
  try {
    sink = openLog({ ...config.global, logFile }, debug);
    reopenLog = () => sink.reopen();
  } catch (error) {
    process.stderr.write(`anybal: cannot log: ${errorText(error)}\n`);
    return 1;
  }
  const fail = (text: string): number => {
    const record: LogRecord = { level: 'critical', system: 'pybal', text };
    sink.write(record);
    sink.flushSync();
    // Whoever has started us looks there.
    if (logFile !== null) {
      const style = lineStyle('text', { fd: 2 }, process.env);
      process.stderr.write(formatRecord(record, style, isoTime(Date.now())));
    }
    return 1;
  };
  lastWords = fail;
  if (dryRun) {
    const elsewhere = config.global.logFile === null ? '' : `, not to ${config.global.logFile}`;
    const text = `A dry run: logs here${elsewhere}, writes nothing and serves nothing; SIGUSR1 has it log its state`;
    sink.write({ level: 'info', system: 'pybal', text });
  }

  const backend = dryRun ? 'dry-run' : config.global.backend;
  const settings = {
    backend,
    log: sink.write,
    logsDebug: debug,
    loadMonitor: parts.monitor,
    faultFile: process.env['ANYBAL_FAULT_FILE'],
  };
  const world = await createRealWorld(settings).catch((error: unknown) => errorText(error));
  if (typeof world === 'string') return fail(`Backend ${backend} does not work here: ${world}`);
  try {
    // The kernel's tables belong to the network namespace; without them, what must not be shared is the state directory.
    const { stateDirectory } = config.global;
    const lock =
      world.backend === 'netlink'
        ? LOCK_NAME
        : `${LOCK_NAME}-${createHash('sha256').update(stateDirectory).digest('hex')}`;
    if (world.backend !== 'dry-run') await lockInstance(`pid ${process.pid}, ${configPath}`, lock);
  } catch (error) {
    await world.close();
    return fail(errorText(error));
  }

  return new Promise((resolve) => {
    const daemon = new Daemon(dryRun ? leftAlone(world) : world, {
      configPath,
      ...(dryRun ? {} : { startedWith: config.global }),
      version: version(),
      hostname: hostname(),
      drops,
      backend: world.backend,
      reopenLog,
      logLinesDropped: () => sink.dropped(),
      exit: (code) => {
        const closed = Promise.allSettled([world.close(), sink.close()]);
        void within(world.clock, CLOSE_MS, 'close', closed)
          .catch(() => sink.flushSync())
          .finally(() => {
            resolve(code);
            leave(code);
          });
      },
    });
    tell = (thrown, origin) => daemon.stray(thrown, origin, grounds);
    for (const [thrown, origin] of early) tell(thrown, origin);
    dump = () => daemon.dump();
    hangUp = () => daemon.hangUp();
    terminate = () => daemon.terminate();
    daemon.start().catch((error: unknown) => {
      fail(`Cannot start: ${errorText(error)}`);
      process.exit(1);
    });
    if (hungUp) hangUp();
  });
}

/** No file of it is written, and nobody is answered in it. */
function leftAlone(world: World): World {
  const close = async (): Promise<void> => {};
  return {
    ...world,
    files: { ...world.files, replace: async () => {} },
    http: { ...world.http, serve: async () => ({ close }) },
  };
}

/**
 * process.exit() waits for the threads that file operations run on, and one that asks a file system that is gone never
 * comes back. Everything was closed and written: no more than the process is left.
 */
function leave(code: number): never {
  try {
    openLibc().exit(code);
  } catch {
    // No native code here: the usual end will do.
  }
  process.exit(code);
}

function openLog(global: GlobalConfig, debug: boolean): LogSink {
  const to = global.logFile === null ? { fd: 2 } : { path: global.logFile };
  const style = lineStyle(global.logFormat, to, process.env);
  return createLogSink({ to, style, level: debug ? 'debug' : 'info', wall: Date.now });
}

function drops(): Drops {
  try {
    return readDrops(readFileSync('/proc/net/netstat', 'utf8'));
  } catch {
    return new Map();
  }
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version?: unknown }).version);
}
