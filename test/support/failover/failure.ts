// The ways in which a director can die. `arm` prepares everything that takes time; the strike that it returns does only
// the deed, so that its moment is known.

import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually, kill, output } from '../namespace.ts';
import { type FailoverNetwork, type Host, lastWords, type Wire } from './network.ts';

export const failures = ['kill -9', 'SIGTERM', 'SIGSTOP', 'link down', 'silent drop', 'main thread stuck'] as const;
export type Failure = (typeof failures)[number];

export interface Victim {
  readonly network: FailoverNetwork;
  readonly wire: Wire;
  readonly pid: number;
}

export interface Armed {
  /** Do it now. Returns the wall clock in ms at that moment. */
  strike(): number;
  /** Undo what outlives the director, struck or not: to be called when it is dead. */
  mend(): Promise<void>;
}

export async function arm(failure: Failure, victim: Victim): Promise<Armed> {
  switch (failure) {
    case 'kill -9':
      return signal(victim, 'SIGKILL');
    case 'SIGTERM':
      return signal(victim, 'SIGTERM');
    case 'SIGSTOP':
      return signal(victim, 'SIGSTOP');
    case 'link down':
      return linkDown(victim);
    case 'silent drop':
      return silentDrop(victim);
    case 'main thread stuck':
      return stopMainThread(victim);
    default:
      return failure satisfies never;
  }
}

function signal({ pid }: Victim, name: NodeJS.Signals): Armed {
  return { strike: atFullMillisecond(() => process.kill(pid, name)), mend: async () => {} };
}

async function linkDown({ network, wire }: Victim): Promise<Armed> {
  const ip = network.host(wire).spawn('ip', '-batch', '-');
  return {
    strike: atFullMillisecond(() => say(ip, 'link set eth0 down\n')),
    mend: async () => {
      await kill(ip);
      await output('ip', '-n', wire.namespace, 'link', 'set', 'eth0', 'up');
    },
  };
}

/** Both ends of the wire lose what comes in: nobody is told anything. */
async function silentDrop({ network, wire }: Victim): Promise<Armed> {
  const ends: readonly (readonly [Host, string])[] = [
    [network.router, wire.routerDevice],
    [network.host(wire), 'eth0'],
  ];
  // Rules are read to the end of the input, and taken at once.
  const programs = ends.map(([host]) => host.spawn('nft', '-f', '-'));
  return {
    strike: atFullMillisecond(() => {
      for (const [i, [, device]] of ends.entries()) {
        programs[i]?.stdin?.end(
          `table netdev failover-${device} { chain wire { type filter hook ingress device "${device}" priority 0; policy drop; }; }`,
        );
      }
    }),
    mend: async () => {
      await Promise.all(programs.map(kill));
      for (const [host, device] of ends) {
        const table = `table netdev failover-${device}`;
        // `delete` alone fails where there is none, as when it was never struck.
        await output('ip', 'netns', 'exec', host.name, 'nft', `add ${table}; delete ${table}`);
      }
    },
  };
}

const STOP_THREAD = fileURLToPath(new URL('./stop-thread.js', import.meta.url));

async function stopMainThread({ network, wire, pid }: Victim): Promise<Armed> {
  const helper = network.host(wire).spawn(process.execPath, STOP_THREAD, String(pid));
  const said = lastWords(helper);
  await eventually('the hand at its main thread', () => (said().startsWith('ready') ? true : null), said);
  return { strike: atFullMillisecond(() => say(helper, 'now\n')), mend: () => kill(helper) };
}

function say(child: ChildProcess, text: string): void {
  child.stdin?.write(text);
}

/** The wall clock that Node shows has whole milliseconds only: act when it has just ticked. */
function atFullMillisecond(deed: () => void): () => number {
  return () => {
    const before = Date.now();
    let now = before;
    while (now === before) now = Date.now();
    deed();
    return now;
  };
}
