// One session on a clock and a stream that are moved by hand: what happens when our own event loop was late.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import type { Cause } from '../../../src/bgp/fsm.ts';
import { SystemError } from '../../../src/lib/errors.ts';
import { encodeMessage } from '../../../src/bgp/message.ts';
import { localOpen, type LocalOpen } from '../../../src/bgp/open.ts';
import { NO_LIMITS } from '../../../src/bgp/rib.ts';
import { newCounters } from '../../../src/bgp/counters.ts';
import { Session } from '../../../src/bgp/session.ts';
import type { Mono, Stream, StreamHandlers, Wall } from '../../../src/world/world.ts';

/** Timers fire only when told to, however late. */
class LateClock {
  #now = 0;
  #timers: { due: number; fn: () => void }[] = [];
  readonly now = () => this.#now as Mono;
  readonly wall = () => this.#now as Wall;
  readonly at = (delayMs: number, fn: () => void) => {
    const timer = { due: this.#now + delayMs, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };
  readonly sleep = () => Promise.resolve();

  /** Time passes, and nobody looks. */
  sleepThrough(ms: number): void {
    this.#now += ms;
  }

  /** As an event loop that wakes: everything that is due, and only that. */
  wake(): void {
    for (const timer of this.#timers.filter(({ due }) => due <= this.#now)) {
      if (!this.#timers.includes(timer)) continue;
      this.#timers = this.#timers.filter((other) => other !== timer);
      timer.fn();
    }
  }
}

const ours: LocalOpen = { as: 64600, routerId: '192.0.2.9', holdTimeSeconds: 9, families: [4], peerAs: null };
const theirs: LocalOpen = { ...ours, as: 64500, routerId: '192.0.2.1' };

function establishedSession() {
  const clock = new LateClock();
  const ends: Cause[] = [];
  let handlers: StreamHandlers | null = null;
  const stream: Stream = {
    local: { address: '192.0.2.9', port: 179 },
    remote: { address: '192.0.2.1', port: 40_000 },
    on: (given) => {
      handlers = given;
    },
    write: () => true,
    end: () => {},
    pause: () => {},
    resume: () => {},
    close: () => {},
  };
  const counters = newCounters();
  const never = () => Promise.reject(new Error('not here'));
  const session = new Session(
    { clock, random: () => 0.5, streams: { connect: never, secure: never, listen: never } },
    {
      fsm: () => ({ passive: true, connectRetrySeconds: 5, keepaliveSeconds: null, sendHoldSeconds: null }),
      connect: () => stream.remote,
      limits: () => NO_LIMITS,
      deferred: () => false,
    },
    {
      localOpen: () => ours,
      collision: () => 'none',
      stateChanged: () => {},
      up: () => {},
      down: (cause) => ends.push(cause),
      unanswered: () => {},
      received: () => {},
      receivedAll: () => {},
      refused: () => {},
    },
    counters,
  );
  const hear = (bytes: Uint8Array) => handlers?.onData(bytes);
  session.start();
  session.accept(stream);
  hear(encodeMessage({ is: 'open', open: localOpen(theirs) }));
  hear(encodeMessage({ is: 'keepalive' }));
  expect(session.state.is).to.equal('Established');
  const reset = () => handlers?.onClose(new SystemError('ECONNRESET', 'read'));
  return { clock, session, ends, hear, reset, counters };
}

describe('bgp/session: a lost connection', () => {
  it('leaves nothing behind that would wait for its end', () => {
    const { session, ends, reset } = establishedSession();
    reset();
    expect(ends).to.have.length(1);
    expect(session.closed).to.equal(true);
  });
});

describe('bgp/session: a late event loop', () => {
  it('reads what the peer has sent meanwhile before it calls the peer dead', () => {
    const { clock, session, hear } = establishedSession();
    clock.sleepThrough(30_000);
    // Timers come before sockets when an event loop wakes up.
    clock.wake();
    hear(encodeMessage({ is: 'keepalive' }));
    clock.sleepThrough(1_000);
    clock.wake();
    expect(session.state.is).to.equal('Established');
  });

  it('calls a peer dead a moment later that has really said nothing', () => {
    const { clock, session, ends } = establishedSession();
    clock.sleepThrough(30_000);
    clock.wake();
    expect(session.state.is).to.equal('Established');
    clock.sleepThrough(300);
    clock.wake();
    expect(session.state.is).to.equal('Idle');
    expect(ends).to.have.length(1);
    expect(ends[0]).to.deep.include({ is: 'sent' });
  });

  it('calls a silent peer dead on time when nothing was late', () => {
    const { clock, session } = establishedSession();
    for (let i = 0; i < 8; i++) {
      clock.sleepThrough(1_000);
      clock.wake();
    }
    expect(session.state.is).to.equal('Established');
    clock.sleepThrough(1_000);
    clock.wake();
    expect(session.state.is).to.equal('Idle');
  });
});

describe('bgp/session: a router that leaks its whole table to us', () => {
  /** As many distinct /24 as 4096 octets take, the `index`-th of such messages. */
  function leak(index: number): Uint8Array {
    const attributes = [64, 1, 1, 0, 64, 2, 6, 2, 1, 0, 0, 251, 244, 64, 3, 4, 192, 0, 2, 1];
    const bytes = new Uint8Array(23 + attributes.length + 4 * PER_MESSAGE).fill(255, 0, 16);
    bytes.set([bytes.length >> 8, bytes.length & 255, 2, 0, 0, 0, attributes.length, ...attributes], 16);
    for (let i = 0, at = 23 + attributes.length; i < PER_MESSAGE; i++, at += 4) {
      const prefix = index * PER_MESSAGE + i;
      bytes.set([24, prefix >> 16, (prefix >> 8) & 255, prefix & 255], at);
    }
    return bytes;
  }
  const PER_MESSAGE = 1_000;

  it('costs no memory for a million routes: they are counted, and nothing of them stays', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { session, hear, counters } = establishedSession();
    const heapAfter = (from: number, to: number) => {
      for (let index = from; index < to; index++) hear(leak(index));
      collect();
      return process.memoryUsage().heapUsed;
    };
    const after100k = heapAfter(0, 100);
    const afterAll = heapAfter(100, 1_000);
    expect(counters).to.include({ updatesIn: 1_000, prefixesIn: 1_000_000, updatesForgiven: 0 });
    expect(session.state.is).to.equal('Established');
    // One octet for each of them would be more.
    expect(afterAll - after100k).to.be.below(500_000);
  });
});
