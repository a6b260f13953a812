// The daemon as a simulated director runs it: what src/main.ts does for a process, without the process.

import { Daemon } from '../../src/daemon.ts';
import type { decide } from '../../src/decision/decide.ts';
import { errorText } from '../../src/lib/errors.ts';
import type { Program } from './director.ts';

/** `instead` takes the place of the daemon's decision: for mutants. */
export function programOf(instead?: typeof decide): Program {
  return (world, configPath, exit) => {
    const daemon = new Daemon(world, {
      configPath,
      version: 'simulated',
      backend: 'netlink',
      exit,
      ...(instead === undefined ? {} : { decide: instead }),
    });
    daemon.start().catch((error: unknown) => {
      world.log({ level: 'critical', system: 'pybal', text: `A bug of ours: cannot start: ${errorText(error)}` });
      exit(1);
    });
    return { hangUp: () => daemon.hangUp(), terminate: () => daemon.terminate() };
  };
}

export const PROGRAM: Program = programOf();
