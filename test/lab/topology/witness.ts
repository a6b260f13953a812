// What tests know about a director without asking it: netlink writes seen by nlmon, the IPVS table by ipvsadm, addresses
// by `ip monitor`.

import { follow, runIn, until, type Follower } from './process.ts';
import type { DirectorName } from './network.ts';
import type { TapReport } from './netlink-tap.ts';

export interface Write {
  /** Unix ms. */
  readonly at: number;
  /** As the sender wrote it into the header; often 0. */
  readonly pid: number;
  readonly seq: number;
  /** `SET_DEST tcp 10.9.0.1:80 10.2.0.21:80 dr weight 5`. */
  readonly text: string;
  /** What the kernel answered; 0 where it only complains. */
  readonly errno: number;
}

export interface AddressEvent {
  readonly at: number;
  readonly deleted: boolean;
  readonly device: string;
  readonly address: string;
}

export interface Witness {
  /** Every IPVS write so far that nlmon saw, after all that happened before this call. */
  writes(): Promise<readonly Write[]>;
  /** Address changes, by `ip -ts monitor address`. */
  readonly addressEvents: readonly AddressEvent[];
  /** `ipvsadm -Sn`: one line per service and destination, sorted. */
  table(): Promise<readonly string[]>;
  /** `ipvsadm -Lnc`, as it is. */
  connections(): Promise<string>;
  /** Connections scheduled so far by destination of a service: `10.2.0.21:80` → n. The kernel adds up every two seconds. */
  scheduled(service: string): Promise<ReadonlyMap<string, number>>;
  /** Global addresses on lo. */
  vips(): Promise<readonly string[]>;
  /** Starts from nothing: no service, no VIP. */
  clear(): Promise<void>;
}

export async function startWitness(director: DirectorName, tapProgram: string): Promise<Witness> {
  const writes: Write[] = [];
  const syncs = new Set<number>();
  const tap = follow(director, process.execPath, [tapProgram], {
    onLine: ({ text }) => {
      if (text.startsWith('{')) hear(JSON.parse(text) as TapReport, writes, syncs);
    },
  });
  const addressEvents: AddressEvent[] = [];
  const monitor = follow(director, 'ip', ['-o', '-ts', 'monitor', 'address'], {
    onLine: ({ text }) => {
      const event = parseAddressEvent(text);
      if (event !== null) addressEvents.push(event);
    },
  });
  await tap.waitFor('ready', 30_000, (text) => text.includes('"ready"'));
  let lastSync = 0;
  const sync = async (): Promise<void> => {
    ensureRunning(tap);
    ensureRunning(monitor);
    const seq = ++lastSync;
    tap.send(`sync ${seq}\n`);
    await until('the netlink tap', 10_000, () => syncs.has(seq), 10);
  };
  const vips = async (): Promise<readonly string[]> => {
    const text = await runIn(director, 'ip', ['-o', 'address', 'show', 'dev', 'lo', 'scope', 'global']);
    return [...text.matchAll(/ inet6? ([0-9a-f.:]+)(?:\/\d+)? /g)].map((match) => match[1] ?? '').sort();
  };
  return {
    addressEvents,
    vips,
    async writes() {
      await sync();
      return [...writes];
    },
    async table() {
      const text = await runIn(director, 'ipvsadm', ['-Sn']);
      return text
        .split('\n')
        .filter((line) => line !== '')
        .sort();
    },
    connections: () => runIn(director, 'ipvsadm', ['-Lnc']),
    async scheduled(service) {
      const text = await runIn(director, 'ipvsadm', ['-Ln', '--stats', '--exact', '-t', service]);
      return new Map([...text.matchAll(/-> (\S+) +(\d+)/g)].map((match) => [match[1] ?? '', Number(match[2])]));
    },
    async clear() {
      await runIn(director, 'ipvsadm', ['-C']);
      for (const vip of await vips()) {
        await runIn(director, 'ip', ['address', 'del', `${vip}/${vip.includes(':') ? 128 : 32}`, 'dev', 'lo']);
      }
    },
  };
}

function hear(report: TapReport, writes: Write[], syncs: Set<number>): void {
  switch (report.is) {
    case 'ready':
      return;
    case 'sync':
      syncs.add(report.seq);
      return;
    case 'command':
      if (report.write) writes.push({ at: report.at, pid: report.pid, seq: report.seq, text: report.text, errno: 0 });
      return;
    case 'answer': {
      if (report.errno === 0) return;
      const at = writes.findLastIndex((write) => write.pid === report.pid && write.seq === report.seq);
      const write = writes[at];
      if (write !== undefined) writes[at] = { ...write, errno: report.errno };
      return;
    }
    default:
      report satisfies never;
  }
}

function ensureRunning(follower: Follower): void {
  if (!follower.running()) throw new Error(`a witness ended: ${follower.lines.at(-1)?.text ?? 'without a word'}`);
}

/** `[2026-11-21T01:02:03.456789] 1: lo    inet 10.9.0.1/32 scope global lo …`, with `Deleted` before the index. */
export function parseAddressEvent(text: string): AddressEvent | null {
  const match = /^\[([^\]]+)\] (Deleted )?\d+: (\S+) +inet6? ([0-9a-f.:]+)/.exec(text);
  const [, stamp, deleted, device, address] = match ?? [];
  if (stamp === undefined || device === undefined || address === undefined) return null;
  return { at: Date.parse(`${stamp}Z`), deleted: deleted !== undefined, device, address };
}
