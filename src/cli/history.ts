// `anybal status SERVER --history`: what the monitors said of one server lately, as the daemon tells it. Used by status.ts.

import type { CheckHistory } from '../control/types.ts';
import { isoTime } from '../log/format.ts';
import { table } from './table.ts';

export function printHistory(checks: readonly CheckHistory<number>[]): readonly string[] {
  return checks.flatMap(({ service, monitor, address, candidate, transitions, results }) => [
    '',
    `${service}  ${monitor} at ${address}${candidate ? ', not in use yet' : ''}`,
    ...(transitions.length === 0 ? [] : ['  verdicts']),
    ...table(
      transitions.map(({ at, is, reason }) => [isoTime(at), is, reason]),
      '    ',
    ),
    ...(results.length === 0 ? ['  no result yet'] : ['  results']),
    ...table(
      results.map(({ at, is, latencyMs, reason }) => [isoTime(at), is, `${latencyMs.toFixed(1)} ms`, reason]),
      '    ',
    ),
  ]);
}
