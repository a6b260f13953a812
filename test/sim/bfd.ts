// BFD in the simulator: the engine that production runs in a worker, in a Life of its own beside the daemon's. The daemon may
// stand still while this goes on; it ends with the daemon. See Bfd in world.ts.

import { createHash } from 'node:crypto';
import { Engine } from '../../src/bfd/engine.ts';
import type { BfdChange } from '../../src/bfd/types.ts';
import type { Bfd, Clock, Datagrams } from '../../src/world/world.ts';
import type { LogRecord } from '../../src/log/record.ts';
import type { Life } from './life.ts';

export interface SimBfdParts {
  /** The daemon's. */
  readonly life: Life;
  /** The worker's. */
  readonly clock: Clock;
  readonly random: () => number;
  readonly datagrams: Datagrams;
  log(record: LogRecord): void;
}

/** A message between two threads takes this long. */
const MESSAGE_MS = 0.05;

export function simBfd({ life, clock, random, datagrams, log }: SimBfdParts): Bfd {
  let beats = 0;
  let onChange = (_: BfdChange): void => {};
  const toDaemon = (fn: () => void): void => void life.after(MESSAGE_MS, fn);
  const engine = new Engine(
    {
      clock,
      random,
      datagrams,
      digest: (hash, bytes) => createHash(hash).update(bytes).digest(),
      log: (record) => toDaemon(() => log(record)),
    },
    { changed: (change) => toDaemon(() => onChange(change)), heartbeat: () => beats },
  );
  return {
    configure: (config, handler) => {
      onChange = handler;
      clock.at(MESSAGE_MS, () => engine.configure(config));
    },
    alive: () => {
      beats++;
    },
    status: () => engine.status(),
    stop: () =>
      life.promise((resolve) => {
        clock.at(MESSAGE_MS, () => {
          engine.stop();
          resolve();
        });
      }),
  };
}
