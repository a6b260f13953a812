// Lines of monitors that were kept out of the log: counted, and told in one line for each monitor. Which ones is said by
// instance.ts. Owned by runner.ts.

import type { Log } from '../log/record.ts';
import type { Clock } from '../world/world.ts';

/** From the first that is left out until it is told. */
const TOLD_AFTER_MS = 10_000;

export class LeftOut {
  readonly #clock: Clock;
  readonly #log: Log;
  /** By the monitor's name, since it was last told. */
  readonly #lines = new Map<string, number>();
  #cancel = (): void => {};

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  note(monitor: string): void {
    if (this.#lines.size === 0) this.#cancel = this.#clock.at(TOLD_AFTER_MS, () => this.#tell());
    this.#lines.set(monitor, (this.#lines.get(monitor) ?? 0) + 1);
  }

  #tell(): void {
    for (const [monitor, lines] of this.#lines)
      this.#log({
        level: 'warn',
        system: 'pybal',
        text: `Monitor ${monitor} writes too much: ${lines} line(s) left out in the last ${TOLD_AFTER_MS / 1000} s`,
        data: { event: 'monitor-lines-left-out', monitor, lines },
      });
    this.#lines.clear();
  }

  stop(): void {
    this.#cancel();
  }
}
