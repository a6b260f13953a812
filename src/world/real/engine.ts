// How V8 keeps house in a process that has little to do until everything fails at once. Called by main.ts before the daemon starts, and
// by the benchmark of checks.

import { setFlagsFromString } from 'node:v8';

/** To be called before there is much that it is about. */
export function tuneEngine(): void {
  // V8 throws away the code of what was not done for a while. To deal with failures is not done for a while.
  setFlagsFromString('--no-flush-bytecode');
  // Where little happens V8 lets the heap grow by little before it collects garbage: that would be while the failures are told. No
  // memory is taken by this, only the next collection is later.
  setFlagsFromString('--heap-growing-percent=100');
}
