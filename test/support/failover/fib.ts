// What a router's kernel forwards to, and when that changed: `ip monitor` stamps each netlink event as it comes, in a
// process of its own, so a busy test does not look like a slow router.

import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { kill, output } from '../namespace.ts';
import type { Host } from './network.ts';

export interface FibChange {
  /** Wall clock, ms with a fraction. */
  readonly at: number;
  /** null: the route is gone. */
  readonly nextHop: string | null;
}

export class Fib {
  readonly #router: Host;
  readonly #monitor: ChildProcess;
  readonly #changes = new Map<string, FibChange[]>();

  constructor(router: Host) {
    this.#router = router;
    this.#monitor = router.spawn('ip', '-4', '-tshort', 'monitor', 'route');
    if (this.#monitor.stdout === null) throw new Error('ip monitor has no output');
    createInterface(this.#monitor.stdout).on('line', (line) => this.#learn(line));
  }

  /** When the route to `vip` first led elsewhere than to `nextHop`, at or after `since`; null: not yet. */
  left(vip: string, nextHop: string, since: number): number | null {
    const change = this.#changes.get(vip)?.find((each) => each.at >= since && each.nextHop !== nextHop);
    return change?.at ?? null;
  }

  /** Where each route of routing daemons leads now. */
  async nextHops(): Promise<ReadonlyMap<string, string>> {
    const text = await output('ip', '-n', this.#router.name, '-4', '-json', 'route', 'show');
    const routes = JSON.parse(text) as readonly { readonly dst: string; readonly gateway?: string }[];
    return new Map(routes.flatMap(({ dst, gateway }) => (gateway === undefined ? [] : [[dst, gateway] as const])));
  }

  close(): Promise<void> {
    return kill(this.#monitor);
  }

  #learn(line: string): void {
    // [2026-11-21T04:49:09.123456] Deleted 198.18.1.1 nhid 7 via 10.1.1.2 dev d1 proto bgp metric 20
    const [, day, fraction, deleted, vip] = /^\[(\S+?)\.(\d{6})\] (Deleted )?(\S+)/.exec(line) ?? [];
    if (day === undefined || fraction === undefined || vip === undefined) return;
    const at = Date.parse(day) + Number(fraction) / 1000;
    const via = / via (\S+)/.exec(line)?.[1] ?? null;
    const changes = this.#changes.get(vip) ?? [];
    changes.push({ at, nextHop: deleted === undefined ? via : null });
    this.#changes.set(vip, changes);
  }
}
