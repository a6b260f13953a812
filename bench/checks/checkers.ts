// The checkers of `npm run bench:checks`, each in the foreground on a core of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, kill } from '../../test/support/namespace.ts';
import type { Holding, Job, Order, Report } from './prober.ts';
import { compiled } from './compiled.ts';
import { addressOf, CORE, PORT } from './site.ts';

export interface Checker {
  /** The process whose CPU counts. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** Is told over IPC what to do, and says what it has seen. */
export interface Ordered<Seen> extends Checker {
  order(order: Order): Promise<Seen>;
}

export type Ours = Ordered<Report>;

/** Started, and told to check. */
export async function startOurs(job: Job, log?: string): Promise<Ours> {
  const ours = await prober(log);
  await ours.order({ do: 'start', job });
  return ours;
}

/** With nothing to check yet. `anyCore`: where the scheduler puts it, with all of its threads. */
export function prober(log = '/dev/null', { anyCore = false } = {}): Promise<Ours> {
  return ordered<Report>([process.execPath, beside('./prober.js'), '--log', log], anyCore);
}

/** Node, and nothing above it, to hold connections. On any core. */
export function nodeHolder(): Promise<Ordered<Holding>> {
  return ordered<Holding>([process.execPath, beside('./node-holder.js')], true);
}

/** The kernel, and as little as there can be above it. On any core. */
export function floorHolder(folder: string): Promise<Ordered<Holding>> {
  return ordered<Holding>([compiled('floor-holder.c', join(folder, 'floor-holder'))], true);
}

function beside(program: string): string {
  return fileURLToPath(new URL(program, import.meta.url));
}

async function ordered<Seen>(command: readonly string[], anyCore: boolean): Promise<Ordered<Seen>> {
  const child = spawnPinned(command, { ipc: true, anyCore });
  const answer = (): Promise<Seen> =>
    new Promise((resolve, reject) => {
      const died = () => reject(new Error(`${command.join(' ')} died`));
      child.once('exit', died);
      child.once('message', (seen: Seen) => {
        child.off('exit', died);
        resolve(seen);
      });
    });
  await answer();
  return {
    ...checker(child),
    order(order) {
      const answered = answer();
      child.send(order);
      return answered;
    },
  };
}

export type KeepalivedCheck = 'HTTP_GET' | 'SSL_GET' | 'TCP_CHECK';

/** One virtual server with all of the real ones. The kernel's IPVS is played by a library that is preloaded. */
export async function startKeepalived(
  folder: string,
  { check, servers, delaySeconds }: { check: KeepalivedCheck; servers: number; delaySeconds: number },
): Promise<Checker> {
  const at = (name: string) => join(folder, name);
  const answers = at('ipvs-answers.so');
  if (!existsSync(answers)) compiled('ipvs-answers.c', answers, '-shared', '-fPIC');
  const port = check === 'SSL_GET' ? PORT.https : PORT.http;
  const asks = check === 'TCP_CHECK' ? '' : 'url {\n path /\n status_code 200\n }\n';
  const reals = Array.from(
    { length: servers },
    (_, i) => `real_server ${addressOf(i)} ${port} {\n weight 1\n ${check} {\n ${asks} connect_timeout 5\n }\n}\n`,
  ).join('');
  const service = `virtual_server 10.0.0.1 ${port} {\n delay_loop ${delaySeconds}\n lb_algo rr\n lb_kind DR\n protocol TCP\n`;
  writeFileSync(at('keepalived.conf'), `global_defs {\n router_id bench\n}\n${service}${reals}}\n`);
  const files = ['-f', at('keepalived.conf'), '-p', at('keepalived.pid'), '-c', at('checkers.pid')];
  const child = spawnPinned(['keepalived', '--dont-fork', '--log-console', '--check', ...files], { preload: answers });
  // The process that checks is a child of the one that we started.
  const pid = await eventually('keepalived checks', () => pidIn(at('checkers.pid')));
  return { ...checker(child), pid };
}

/** It forks ipvsadm where it changes anything: another one is put there, in a namespace of mounts, which says nothing. */
export function startLdirectord(folder: string, servers: number): Checker {
  const at = (name: string) => join(folder, name);
  const lines = [
    'IP Virtual Server version 1.2.1 (size=4096)',
    'Prot LocalAddress:Port Scheduler Flags',
    '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn',
  ];
  writeFileSync(at('ipvsadm'), `#!/bin/sh\ncat <<'END'\n${lines.join('\n')}\nEND\n`);
  chmodSync(at('ipvsadm'), 0o755);
  const reals = Array.from({ length: servers }, (_, i) => `\treal = ${addressOf(i)}:${PORT.http} gate\n`).join('');
  writeFileSync(
    at('ldirectord.cf'),
    `checktimeout = 3
checkinterval = 1
autoreload = no
quiescent = no
fork = no
supervised = yes
logfile = "${at('ldirectord.log')}"
virtual = 10.0.0.1:${PORT.http}
${reals}\tservice = http
\trequest = "/"
\treceive = "ok"
\tchecktype = negotiate
\tprotocol = tcp
\tscheduler = rr
`,
  );
  const mounted = `mount --bind ${at('ipvsadm')} /usr/sbin/ipvsadm && exec /usr/sbin/ldirectord ${at('ldirectord.cf')} start`;
  return checker(spawnPinned(['unshare', '--mount', 'sh', '-c', mounted]));
}

function pidIn(file: string): number | null {
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
  return pid > 0 ? pid : null;
}

/** `taskset` executes the program in its own place. */
function spawnPinned(
  command: readonly string[],
  how: { ipc?: boolean; preload?: string; anyCore?: boolean } = {},
): ChildProcess {
  const cores = how.anyCore === true ? Object.values(CORE) : [CORE.checker];
  return spawn('taskset', ['-c', cores.join(','), ...command], {
    stdio: how.ipc === true ? ['ignore', 'ignore', 'inherit', 'ipc'] : 'ignore',
    env: { ...process.env, ...(how.preload === undefined ? {} : { LD_PRELOAD: how.preload }) },
  });
}

function checker(child: ChildProcess): Checker {
  if (child.pid === undefined) throw new Error(`${child.spawnfile} could not be started`);
  return { pid: child.pid, stop: () => kill(child) };
}
