// A router with a kernel table, a director that stands by for every virtual IP, and places for the directors that are to
// die. bench/failover.ts measures on it; the tests of graceful restart look at it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, requireTools } from '../namespace.ts';
import { type Director, type DirectorKind, startDirector, startStandby } from './director.ts';
import { Fib } from './fib.ts';
import { FailoverNetwork, type Wire } from './network.ts';
import { type Router, type RouterKind, startRouter } from './router.ts';
import type { Setting } from './setting.ts';

export interface StageOptions {
  /** Of the namespaces, so unique on the machine. */
  readonly name: string;
  /** Second octet of the addresses. */
  readonly network: number;
  readonly router: RouterKind;
  readonly setting: Setting;
  /** Places for directors. */
  readonly places: number;
}

const READY_MS = 40_000;

export class Stage {
  readonly network: FailoverNetwork;
  readonly fib: Fib;
  readonly setting: Setting;
  readonly #router: Router;
  readonly #folder = mkdtempSync(join(tmpdir(), 'anybal-failover-'));
  readonly #standbyWire: Wire;
  readonly #standby: Director;
  #started = 0;

  private constructor(network: FailoverNetwork, router: Router, standbyWire: Wire, setting: Setting) {
    this.network = network;
    this.setting = setting;
    this.#standbyWire = standbyWire;
    this.#router = router;
    this.fib = new Fib(network.router);
    this.#standby = startStandby({ network, wire: standbyWire, setting, folder: join(this.#folder, 'standby') });
  }

  /** Throws, naming them, when programs are missing. */
  static requireTools(): void {
    requireTools({
      '/usr/sbin/ip': 'iproute2',
      '/usr/sbin/nft': 'nftables',
      '/usr/bin/chrt': 'util-linux',
      '/usr/sbin/bird': 'bird2',
      '/usr/lib/frr/bgpd': 'frr',
    });
  }

  /** Resolves when the router forwards everything to the director that stands by. */
  static async create(options: StageOptions): Promise<Stage> {
    Stage.requireTools();
    const network = await FailoverNetwork.create(options.name, options.network, options.places + 1);
    const last = network.wires.at(-1);
    if (last === undefined) throw new Error('no wires');
    const router = await startRouter(options.router, network, options.setting).catch(async (error: unknown) => {
      await network.destroy();
      throw error;
    });
    const stage = new Stage(network, router, last, options.setting);
    await stage.allStandBy().catch(async (error: unknown) => {
      await stage.close();
      throw error;
    });
    return stage;
  }

  get places(): readonly Wire[] {
    return this.network.wires.slice(0, -1);
  }

  start(kind: DirectorKind, wire: Wire, setting = this.setting): Director {
    const folder = join(this.#folder, `${kind}-${this.#started++}`);
    return startDirector(kind, { network: this.network, wire, setting, folder });
  }

  /** Until the router forwards to each director what it is there for, and hears its BFD. */
  async allServe(wires: readonly Wire[], story: () => string = () => ''): Promise<void> {
    const { bfdMs } = this.setting;
    const serve = async () => {
      const hops = await this.fib.nextHops();
      if (wires.some(({ vip, directorAddress }) => hops.get(vip) !== directorAddress)) return null;
      if (bfdMs === null) return true;
      const up = await this.#router.bfdUp();
      return wires.every(({ directorAddress }) => up.has(directorAddress)) ? true : null;
    };
    await eventually('every director served by the router', serve, () => this.#story(story), READY_MS);
  }

  /** Until the router forwards everything to the director that stands by. */
  async allStandBy(): Promise<void> {
    const hop = this.#standbyWire.directorAddress;
    const stand = async () => {
      const hops = await this.fib.nextHops();
      return this.network.wires.every(({ vip }) => hops.get(vip) === hop) ? true : null;
    };
    await eventually('everything at the director that stands by', stand, () => this.#story(), READY_MS);
  }

  async close(): Promise<void> {
    await this.#standby.kill();
    await this.#router.stop();
    await this.fib.close();
    await this.network.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #story(more: () => string = () => ''): Promise<string> {
    const hops = [...(await this.fib.nextHops())].map(([vip, hop]) => `${vip} via ${hop}`);
    return [hops.join('\n'), await this.#router.story(), this.#standby.story(), more()].join('\n');
  }
}
