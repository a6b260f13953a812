// What monitors did that no monitor may do, and that no check can be blamed for: errors that nobody handled, connections that are
// never closed. Said in the log, a few lines a minute for each monitor, and shown. Owned by runner.ts.

import type { Log } from '../log/record.ts';
import type { Clock, Mono } from '../world/world.ts';

export interface MonitorBug {
  /** Its name or file; in words if that is not known. */
  readonly monitor: string;
  readonly count: number;
  readonly last: string;
  readonly lastAt: Mono;
}

/** So many monitors are told apart. */
const MAX_MONITORS = 100;
const LINES = 5;
const LINES_EVERY_MS = 60_000;

export class MonitorBugs {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #bugs = new Map<string, MonitorBug & { readonly lines: number; readonly linesSince: Mono }>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** `last`: in short. `text`: for the log, with its stack perhaps. */
  note(monitor: string, last: string, text: string): void {
    const now = this.#clock.now();
    const before = this.#bugs.get(monitor);
    if (before === undefined && this.#bugs.size >= MAX_MONITORS) return;
    const count = (before?.count ?? 0) + 1;
    const fresh = before === undefined || now - before.linesSince >= LINES_EVERY_MS;
    const lines = fresh ? 1 : before.lines + 1;
    const linesSince = fresh ? now : before.linesSince;
    this.#bugs.set(monitor, { monitor, count, last, lastAt: now, lines, linesSince });
    if (lines > LINES) return;
    const times = count === 1 ? '' : ` (${count} so far)`;
    this.#log({
      level: 'critical',
      system: 'pybal',
      text: `A bug in ${monitor}${times}: ${text}`,
      data: { event: 'monitor-bug' },
    });
  }

  status(): readonly MonitorBug[] {
    return [...this.#bugs.values()].map(({ monitor, count, last, lastAt }) => ({ monitor, count, last, lastAt }));
  }
}
