// One check, once, exactly as the daemon runs it: the same loop, tools, deadline and judgement. Used by `anybal check-now` and
// by the conformance kit.

import { inTime } from '../lib/in-time.ts';
import type { Self, World } from '../world/world.ts';
import { type Asker, Instance, type MonitorToRun } from './instance.ts';
import type { Health, Target } from './monitor.ts';
import { Ticks } from './ticks.ts';
import { makeGates } from './tools.ts';

/** What the monitor notes on the way, ready to be shown. */
export interface Noted {
  log(level: 'debug' | 'info' | 'warn' | 'error' | 'critical', text: string): void;
  observe(name: string, value: number, labels: Readonly<Record<string, string>>): void;
}

export interface Outcome {
  readonly health: Health;
  readonly latencyMs: number;
}

/** How long is waited for a monitor that does not obey the cut. */
const STOP_MS = 1000;

/** The first result of a poll, or the first word of a watch; then the monitor is stopped, which is waited for. */
export async function checkOnce(monitor: MonitorToRun, target: Target, world: World, noted: Noted): Promise<Outcome> {
  let leftOut = 0;
  const instance = new Instance(monitor, world, makeGates({ onLeftOut: () => void leftOut++ }));
  let stop = (): Promise<void> => Promise.resolve();
  const outcome = await new Promise<Outcome>((resolve) => {
    const asker: Asker = {
      clock: world.clock,
      ticks: new Ticks(world.clock),
      phase: 0,
      random: () => world.random(),
      self: (): Self => world.self(),
      target: () => target,
      onStart: () => {},
      onResult: (health, latencyMs) => resolve({ health, latencyMs }),
      intervalMs: (ownMs) => ownMs,
      onAbandoned: () => noted.log('error', 'the check does not end after its deadline'),
      log: (level, text) => noted.log(level, text),
      observe: (_kind, name, value, labels) => noted.observe(name, value, labels),
    };
    const asking = instance.join(asker);
    stop = () => asking.stop(asker);
  });
  const ended = stop().then(() => true);
  if ((await inTime(world.clock, STOP_MS, ended)) === null)
    noted.log('error', 'the check does not end after it was cut');
  if (leftOut > 0) noted.log('warn', `it writes too much: ${leftOut} line(s) left out`);
  return outcome;
}
