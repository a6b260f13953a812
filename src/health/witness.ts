// Whether it was the path: what a check found out through it is about its server only while the kernel had the path all the
// time. Somebody may have taken it away a moment ago (`ipvsadm -C`), and the reconciler reads every few seconds. So a result
// that would change a verdict has the kernel asked once more. Used by check.ts.

import type { Path } from '../decision/decision.ts';
import type { IpvsTable, ServiceKey } from '../ipvs/table.ts';
import { equal } from '../lib/equal.ts';
import { errorText } from '../lib/errors.ts';
import { within } from '../lib/in-time.ts';
import type { World } from '../world/world.ts';

/** From one reading to the next: whoever comes in between asks together. A failure of thousands is not thousands of readings. */
const GAP_MS = 100;
/** And many times as long as a reading takes: a large table must not keep the loop busy. */
const GAP_FACTOR = 20;
const MAX_GAP_MS = 2000;
/** Of each reading. Whoever asks waits for the one under way, for the gap and for his own: four seconds at most. */
const PATIENCE_MS = 1000;

export class PathWitness {
  readonly #world: Pick<World, 'clock' | 'ipvs'>;
  /** The reading that is about to begin, and what it is to read. */
  #next: { readonly keys: Set<ServiceKey>; readonly table: Promise<IpvsTable> } | null = null;
  /** When it may begin. */
  #notBefore = Number.NEGATIVE_INFINITY;
  /** The one before; in time it ends, and never rejects. */
  #before: Promise<unknown> = Promise.resolve();

  constructor(world: Pick<World, 'clock' | 'ipvs'>) {
    this.#world = world;
  }

  /**
   * Why a check says nothing that began with the path `before` (null: not known) and ended with `now`; null: it counts.
   * Never rejects.
   */
  async doubt(before: Path | null, now: Path | string): Promise<string | null> {
    if (typeof now === 'string') return now;
    const { key } = now.found.service;
    const changed = `the path's service (${key}) was changed by somebody during the check`;
    if (before !== null && before.found !== now.found) return changed;
    try {
      const table = await this.#read(key);
      return equal(table.get(key), now.found) ? null : changed;
    } catch (error) {
      return `it is not known whether the path is there: ${errorText(error)}`;
    }
  }

  #read(key: ServiceKey): Promise<IpvsTable> {
    if (this.#next === null) {
      const keys = new Set<ServiceKey>();
      this.#next = { keys, table: this.#soon(keys) };
    }
    this.#next.keys.add(key);
    return this.#next.table;
  }

  async #soon(keys: ReadonlySet<ServiceKey>): Promise<IpvsTable> {
    const { clock, ipvs } = this.#world;
    await this.#before;
    // One turn at least: whoever ended with the same tick joins.
    await clock.sleep(Math.max(1, this.#notBefore - clock.now()));
    this.#next = null;
    const start = clock.now();
    const table = within(clock, PATIENCE_MS, 'list IPVS', ipvs.list([...keys]));
    const ended = (): void => {
      const now = clock.now();
      this.#notBefore = now + Math.min(MAX_GAP_MS, Math.max(GAP_MS, GAP_FACTOR * (now - start)));
    };
    this.#before = table.then(ended, ended);
    return table;
  }
}
