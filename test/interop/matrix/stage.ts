// A router with all its cells: a namespace, the daemon in it, and a speaker of ours for each of its sessions.

import type { Family } from '../../../src/lib/address.ts';
import { Namespace } from '../../support/namespace.ts';
import { steadily } from '../../support/steady.ts';
import { Cell } from './cell.ts';
import { type Column, type Outcome, versionOf } from './document.ts';
import { features } from './features.ts';
import type { Paths } from './paths.ts';
import { type Lane, LINK_LOCAL, ourEnd, type Router, usual } from './router.ts';
import type { Feature } from './steps.ts';

/** The first host number of ours. */
const FIRST_HOST = 10;

/** Its cells begin together and are waited for one by one. */
export class Stage {
  readonly router: Router;
  readonly #network: number;
  readonly #name: string;
  readonly #lanes = new Map<Feature, Lane>();
  readonly #cells: Cell[] = [];
  readonly #outcomes = new Map<Feature, Promise<Outcome>>();
  readonly #paths: Paths;
  #namespace: Namespace | null = null;

  constructor(router: Router, network: number, name: string, paths: Paths) {
    this.router = router;
    this.#paths = paths;
    this.#network = network;
    this.#name = name;
    for (const feature of features) {
      if (feature.name in router.lacks) continue;
      const host = FIRST_HOST + this.#lanes.size;
      const address = (last: number) => ({
        4: `198.18.${network}.${last}`,
        6: `fd00:${network}::${last.toString(16)}`,
      });
      this.#lanes.set(feature, { ...usual, ...feature.theirs, host, ours: address(host), theirs: address(1) });
    }
  }

  async open(): Promise<void> {
    const lanes = [...this.#lanes.values()];
    const withLength = (ends: Readonly<Record<Family, string>>) => [`${ends[4]}/24`, `${ends[6]}/64`];
    const theirs = withLength({ 4: `198.18.${this.#network}.1`, 6: `fd00:${this.#network}::1` });
    const linkLocal = lanes.filter((lane) => lane.linkLocal).map((lane) => `${ourEnd(lane)}/64`);
    this.#namespace = await Namespace.create(
      this.#name,
      [...lanes.flatMap(({ ours }) => withLength(ours)), ...linkLocal],
      [...theirs, `${LINK_LOCAL}/64`],
    );
    let release = (): void => {};
    const alone = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const feature of features) {
      const outcome = this.#run(feature, alone);
      // Waited for later; nobody may call it unhandled until then.
      outcome.catch(() => {});
      this.#outcomes.set(feature, outcome);
    }
    const first = features.filter(({ last }) => last !== true).map((feature) => this.#outcomes.get(feature));
    void Promise.allSettled(first).then(release);
    // After us: a router whose first call nobody answers waits long before its second one (OpenBGPD 30 s and more).
    await Promise.all(this.#cells.map(({ ready }) => ready));
    await this.router.start(this.#namespace, lanes);
  }

  async outcome(feature: Feature): Promise<void> {
    await this.#outcomes.get(feature);
  }

  async column(): Promise<Column> {
    const outcomes = new Map<string, Outcome>();
    for (const feature of features) {
      const failed = (): Outcome => ({ is: 'failed' });
      outcomes.set(feature.name, await (this.#outcomes.get(feature) ?? Promise.reject()).catch(failed));
    }
    return { router: this.router.name, version: await versionOf(this.router.debianPackage), outcomes };
  }

  async close(): Promise<void> {
    await Promise.all(this.#cells.map((cell) => cell.stop()));
    await this.#namespace?.destroy();
    await this.router.stop();
  }

  async #run(feature: Feature, alone: Promise<void>): Promise<Outcome> {
    const lane = this.#lanes.get(feature);
    if (lane === undefined || this.#namespace === null) return this.#lacking(feature);
    const namespace = this.#namespace;
    await steadily(async () => {
      const cell = new Cell(this.router, lane, this.#paths, namespace, alone);
      this.#cells.push(cell);
      try {
        await feature.run(cell);
      } catch (error) {
        await cell.stop();
        throw error;
      }
    });
    return { is: 'works' };
  }

  async #lacking({ name }: Feature): Promise<Outcome> {
    const lack = this.router.lacks[name];
    if (lack === undefined) throw new Error(`no session for ${name}`);
    if ('silent' in lack) return { is: 'lacks', why: lack.silent };
    const complaint = await this.router.complaint(lack.refused);
    if (complaint === null) throw new Error(`${this.router.name} takes "${lack.refused}" now: it has ${name}`);
    return { is: 'lacks', why: `\`${lack.refused.replaceAll('\n', ' ')}\`: ${complaint}` };
  }
}
