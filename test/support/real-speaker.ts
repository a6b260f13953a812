// Our speaker on the operating system's clock and sockets, for tests against real routers.

import { Speaker } from '../../src/bgp/speaker.ts';
import type { LogRecord } from '../../src/log/record.ts';
import { createClock } from '../../src/world/real/clock.ts';
import { createStreams } from '../../src/world/real/streams.ts';
import type { Clock } from '../../src/world/world.ts';

export interface RealSpeaker {
  readonly speaker: Speaker;
  readonly log: LogRecord[];
  /** `bird up`, `bird down` */
  readonly states: string[];
  /** Log and status, for the message of a failed test. */
  story(): string;
}

export function realSpeaker(clock: Clock = createClock()): RealSpeaker {
  const streams = createStreams(() => {
    throw new Error('BGP needs no certificates');
  }, null);
  const log: LogRecord[] = [];
  const states: string[] = [];
  const speaker = new Speaker(
    { clock, random: Math.random, streams, log: (record) => void log.push(record) },
    { onPeerState: (peer, { established }) => void states.push(`${peer} ${established ? 'up' : 'down'}`) },
  );
  const story = () =>
    [...log.map(({ system, level, text }) => `[${system}] ${level}: ${text}`), JSON.stringify(speaker.status())].join(
      '\n',
    );
  return { speaker, log, states, story };
}
