// What happened, line by line in virtual time: the log of a run. Two runs of one seed must give the same bytes.

import { createHash } from 'node:crypto';
import type { Scheduler } from './scheduler.ts';

const FLUSH_CHARACTERS = 65_536;

export class Journal {
  lines = 0;
  readonly #scheduler: Scheduler;
  readonly #print: ((line: string) => void) | null;
  readonly #hash = createHash('sha256');
  readonly #tail: string[] = [];
  readonly #tailLines: number;
  #pending = '';

  constructor(scheduler: Scheduler, print: ((line: string) => void) | null, tailLines = 40) {
    this.#scheduler = scheduler;
    this.#print = print;
    this.#tailLines = tailLines;
  }

  write(who: string, text: string): void {
    const line = `${stamp(this.#scheduler.now)} ${who}: ${text}`;
    this.lines++;
    this.#pending += `${line}\n`;
    if (this.#pending.length > FLUSH_CHARACTERS) this.#flush();
    this.#print?.(line);
    this.#tail.push(line);
    if (this.#tail.length > 2 * this.#tailLines) this.#tail.splice(0, this.#tailLines);
  }

  /** The last lines, for a report. */
  get tail(): readonly string[] {
    return this.#tail.slice(-this.#tailLines);
  }

  /** Ends the log. */
  digest(): string {
    this.#flush();
    return this.#hash.digest('hex');
  }

  #flush(): void {
    this.#hash.update(this.#pending);
    this.#pending = '';
  }
}

/** `01:02:03.456789` since the start of the run. */
export function stamp(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  const micros = String(Math.floor((ms - seconds * 1000) * 1000)).padStart(6, '0');
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}.${micros}`;
}
