// Commands that a simulated machine can run: what a command does is a function of its arguments and of the moment.

import { SystemError } from '../../src/lib/errors.ts';
import type { Command, CommandResult, Processes } from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';

/** How long a run takes (Infinity: it hangs), and how it ends. */
export interface Outcome {
  readonly durationMs: number;
  readonly exitCode: number;
  readonly output: string;
}

export type Programs = ReadonlyMap<string, (args: readonly string[]) => Outcome>;

export class ProcessTable {
  /** Every start fails with this: EAGAIN, EMFILE. */
  startError: string | null = null;
  readonly #programs: Programs;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #started: (command: Command) => void;

  constructor(programs: Programs, random: Random, tally: Tally, started: (command: Command) => void) {
    this.#programs = programs;
    this.#random = random;
    this.#tally = tally;
    this.#started = started;
  }

  processes(life: Life): Processes {
    return { run: (command, cut) => life.promise((resolve, reject) => this.#run(life, command, cut, resolve, reject)) };
  }

  #run(
    life: Life,
    command: Command,
    cut: Parameters<Processes['run']>[1],
    resolve: (result: CommandResult) => void,
    reject: (error: Error) => void,
  ): void {
    const call = `run ${command.path}`;
    const program = this.#programs.get(command.path);
    const error = this.startError ?? (program === undefined ? 'ENOENT' : null);
    if (error !== null || program === undefined) {
      this.#tally.hit(error ?? 'ENOENT', 'run');
      life.after(this.#random.between(0.5, 2), () => reject(new SystemError(error ?? 'ENOENT', call)));
      return;
    }
    let cancel = (): void => {};
    const forget = cut.onAbort(() => {
      cancel();
      reject(new SystemError('ECANCELED', call));
    });
    if (cut.aborted) return;
    this.#started(command);
    const outcome = program(command.args);
    const limit = command.timeoutMs > 0 ? command.timeoutMs : Number.POSITIVE_INFINITY;
    const timedOut = outcome.durationMs > limit;
    if (timedOut) this.#tally.hit('hang', 'run');
    const durationMs = Math.min(outcome.durationMs, limit);
    if (durationMs === Number.POSITIVE_INFINITY) return;
    cancel = life.after(durationMs, () => {
      forget();
      resolve({
        exitCode: timedOut ? null : outcome.exitCode,
        signal: timedOut ? 'SIGKILL' : null,
        timedOut,
        output: outcome.output.slice(0, command.maxOutputBytes),
        durationMs,
        leftovers: timedOut ? 'killed' : 'none',
      });
    });
  }
}
