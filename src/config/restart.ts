// What a reload cannot change, because it is taken once at start. Called by the daemon at each reload. Pure.

import type { GlobalConfig } from './types.ts';

export type TakenAtStart = Pick<GlobalConfig, 'backend' | 'logFile' | 'logFormat'>;

/** One text for each option of [global] that says other than what is in force since the start, to be logged as a warning. */
export function restartNeeded(before: TakenAtStart, after: TakenAtStart): readonly string[] {
  const options: readonly (readonly [name: string, was: string, is: string])[] = [
    ['backend', before.backend, after.backend],
    ['log-file', before.logFile ?? 'standard error', after.logFile ?? 'standard error'],
    ['log-format', before.logFormat, after.logFormat],
  ];
  return options
    .filter(([, was, is]) => was !== is)
    .map(([name, was, is]) => `[global] ${name}: ${is} takes effect at the next start; until then it is ${was}`);
}
