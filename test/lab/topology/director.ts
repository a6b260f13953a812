// A director: a namespace with an IPVS table of its own, in which anybal runs or does not. Configurations are PyBal's.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { View } from '../../../src/control/types.ts';
import { follow, patience, runIn, type Exit, type Follower } from './process.ts';
import { directors, router, servers, type DirectorName, type Host } from './network.ts';
import { directorAs } from './router.ts';
import { labFolder } from './server.ts';
import { startWitness, type Witness } from './witness.ts';

/** For one question to the daemon. */
const answerSeconds = String(5 * patience);

export interface Director extends Witness {
  readonly name: DirectorName;
  readonly host: Host;
  /** Sections of services; `[global]` is put before them. Returns as soon as the process is there. */
  start(services: string, options?: StartOptions): void;
  /** Replaces the configuration file; the daemon hears nothing of it. */
  configure(services: string, options?: StartOptions): void;
  kill(signal: NodeJS.Signals): Promise<Exit>;
  /** Without waiting for the end: SIGHUP, SIGSTOP, SIGCONT. */
  signal(signal: NodeJS.Signals): void;
  running(): boolean;
  /** What it said since it was started last. */
  log(): readonly { readonly at: number; readonly text: string }[];
  waitLog(pattern: RegExp, withinMs: number): Promise<void>;
  /** What PyBal's instrumentation answers: '/pools/web', '/alerts' … */
  instrumentation(path: string): Promise<string>;
  /** What `anybal status` knows. */
  status(): Promise<View>;
  /** Drops all packets to the real servers, from here only. */
  cutOff(): Promise<void>;
  reconnect(): Promise<void>;
  /** Sets what the daemon's fault hook reads: {} for none. */
  fault(what: Readonly<Record<string, unknown>>): void;
  /** Any program in the director's namespace. */
  run(command: string, args: readonly string[], input?: string): Promise<string>;
  /** Kills the daemon, empties IPVS and lo, forgets the daemon's state. */
  reset(): Promise<void>;
}

export interface StartOptions {
  readonly med?: number;
  readonly global?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Programs {
  readonly daemon: string;
  readonly tap: string;
  readonly agent: string;
  readonly udpEcho: string;
  readonly mtuServer: string;
  readonly mtuClient: string;
}

/** `onLine` gets each line of the daemon as it comes. */
export async function makeDirector(
  name: DirectorName,
  programs: Programs,
  onLine: (text: string) => void,
): Promise<Director> {
  const witness = await startWitness(name, programs.tap);
  const host = directors[name];
  const folder = join(labFolder, name);
  const configFile = join(folder, 'pybal.conf');
  const faultFile = join(folder, 'fault.json');
  let daemon: Follower | null = null;
  const configure = (services: string, options: StartOptions = {}): void =>
    writeFileSync(configFile, `${globalSection(name, folder, options)}\n${services}\n`);
  const fault = (what: Readonly<Record<string, unknown>>): void => writeFileSync(faultFile, JSON.stringify(what));
  const clean = (): void => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    fault({});
  };
  clean();
  const reconnect = async (): Promise<void> => {
    await runIn(name, 'nft', ['-f', '-'], { input: 'add table inet cut\ndelete table inet cut\n' });
  };
  return {
    ...witness,
    name,
    host,
    configure,
    fault,
    reconnect,
    async cutOff() {
      const dropped = Object.values(servers).flatMap(({ ipv4, ipv6 }) => [
        `add rule inet cut out ip daddr ${ipv4} drop`,
        `add rule inet cut out ip6 daddr ${ipv6} drop`,
      ]);
      const chain = 'add table inet cut\nadd chain inet cut out { type filter hook output priority 0; }\n';
      await runIn(name, 'nft', ['-f', '-'], { input: `${chain}${dropped.join('\n')}\n` });
    },
    start(services, options = {}) {
      if (daemon?.running() === true) throw new Error(`${name} runs already`);
      configure(services, options);
      daemon = follow(name, process.execPath, [programs.daemon, 'run', '-c', configFile], {
        env: { ANYBAL_FAULT_FILE: faultFile, ...options.env },
        onLine: ({ text }) => onLine(text),
      });
    },
    kill(signal) {
      if (daemon === null) throw new Error(`${name} was never started`);
      daemon.signal(signal);
      return daemon.exited;
    },
    signal: (signal) => daemon?.signal(signal),
    running: () => daemon?.running() ?? false,
    log: () => daemon?.lines ?? [],
    async waitLog(pattern, withinMs) {
      if (daemon === null) throw new Error(`${name} was never started`);
      await daemon.waitFor(`${pattern}`, withinMs, (text) => pattern.test(text));
    },
    instrumentation: (path) => runIn(name, 'curl', ['-s', '--max-time', answerSeconds, `http://127.0.0.1:9090${path}`]),
    async status() {
      const curl = [
        '-s',
        '--max-time',
        answerSeconds,
        '--unix-socket',
        `${folder}/control.sock`,
        'http://anybal/v1/status',
      ];
      return JSON.parse(await runIn(name, 'curl', curl)) as View;
    },
    run: (command, args, input = '') => runIn(name, command, args, { input }),
    async reset() {
      if (daemon?.running() === true) {
        daemon.signal('SIGCONT');
        daemon.signal('SIGKILL');
        await daemon.exited;
      }
      clean();
      await Promise.all([witness.clear(), reconnect()]);
    },
  };
}

/** `med` 0 is d1's by default, 100 d2's: d1 is preferred. */
function globalSection(name: DirectorName, folder: string, options: StartOptions): string {
  const { ipv4, ipv6 } = directors[name];
  return `[global]
bgp = yes
bgp-local-asn = ${directorAs}
bgp-peer-address = ${router.ipv4}
bgp-nexthop-ipv4 = ${ipv4}
bgp-nexthop-ipv6 = ${ipv6}
bgp-med = ${options.med ?? (name === 'd1' ? 0 : 100)}
bgp-hold-time = 9
instrumentation = yes
instrumentation_port = 9090
state-directory = ${folder}/state
control-socket = ${folder}/control.sock
${options.global ?? ''}`;
}
