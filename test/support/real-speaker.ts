// Our speaker on the operating system's clock and sockets, for tests against real routers.

import { readFileSync } from 'node:fs';
import { readDrops } from '../../src/bgp/drops.ts';
import { Speaker, type SpeakerOptions } from '../../src/bgp/speaker.ts';
import type { LogRecord } from '../../src/log/record.ts';
import { createClock } from '../../src/world/real/clock.ts';
import { createStreams, type SocketOptions } from '../../src/world/real/streams.ts';
import type { Clock, Stream, Streams } from '../../src/world/world.ts';

export interface RealSpeaker {
  readonly speaker: Speaker;
  readonly log: LogRecord[];
  /** `bird up`, `bird down` */
  readonly states: string[];
  /** Log and status, for the message of a failed test. */
  story(): string;
  /** As a killed process leaves its peers: connections end without a word, and there are no new ones. */
  die(): void;
}

export interface RealSpeakerOptions extends Pick<SpeakerOptions, 'hostname' | 'softwareVersion' | 'forwarded'> {
  readonly clock?: Clock;
  /** For TCP-MD5, TTLs and DSCP. Not given: what cannot be done without is refused. */
  readonly sockets?: SocketOptions;
  /** What to write in the place of these octets. */
  readonly rewrite?: (bytes: Uint8Array) => Uint8Array;
}

export function realSpeaker({
  clock = createClock(),
  sockets,
  rewrite,
  ...said
}: RealSpeakerOptions = {}): RealSpeaker {
  const streams = createStreams(() => {
    throw new Error('BGP needs no certificates');
  }, sockets ?? null);
  const mortal = new MortalStreams(streams, rewrite ?? ((bytes) => bytes));
  const log: LogRecord[] = [];
  const states: string[] = [];
  const speaker = new Speaker(
    { clock, random: Math.random, streams: mortal, log: (record) => void log.push(record) },
    {
      onPeerState: (peer, { established }) => void states.push(`${peer} ${established ? 'up' : 'down'}`),
      ...(sockets === undefined ? {} : { drops: () => readDrops(readFileSync('/proc/net/netstat', 'utf8')) }),
      ...said,
    },
  );
  const story = () =>
    [...log.map(({ system, level, text }) => `[${system}] ${level}: ${text}`), JSON.stringify(speaker.status())].join(
      '\n',
    );
  return { speaker, log, states, story, die: () => mortal.die() };
}

/** Streams that can all be lost at once. */
class MortalStreams implements Streams {
  readonly #below: Streams;
  readonly #rewrite: (bytes: Uint8Array) => Uint8Array;
  readonly #open = new Set<Stream>();
  #dead = false;

  constructor(below: Streams, rewrite: (bytes: Uint8Array) => Uint8Array) {
    this.#below = below;
    this.#rewrite = rewrite;
  }

  async connect(...[options, cut]: Parameters<Streams['connect']>): Promise<Stream> {
    // Never answers: nobody is there to care.
    if (this.#dead) return new Promise(() => {});
    return this.#mine(await this.#below.connect(options, cut));
  }

  listen(...[at, onStream]: Parameters<Streams['listen']>): ReturnType<Streams['listen']> {
    return this.#below.listen(at, (stream) => (this.#dead ? stream.close('rst') : onStream(this.#mine(stream))));
  }

  secure(...[stream, tls, cut]: Parameters<Streams['secure']>): Promise<Stream> {
    return this.#below.secure(stream, tls, cut);
  }

  die(): void {
    this.#dead = true;
    for (const stream of this.#open) stream.close('rst');
  }

  #mine(stream: Stream): Stream {
    this.#open.add(stream);
    const write = stream.write.bind(stream);
    return Object.assign(stream, { write: (bytes: Uint8Array) => write(this.#rewrite(bytes)) });
  }
}
