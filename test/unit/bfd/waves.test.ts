// Two machines of fsm.ts that talk to each other over a wire with packets of an earlier time under way, as after one of them stood
// still. Whatever these say, both are up soon, and the wire is quiet.

import { expect } from 'chai';
import fc from 'fast-check';
import { type Action, type FsmConfig, initialState, type State, step, type Timer } from '../../../src/bfd/fsm.ts';
import { type Packet, STATES } from '../../../src/bfd/packet.ts';
import type { StateName } from '../../../src/bfd/types.ts';
import { PACKET } from '../../support/bfd-net.ts';

const LATENCY_MS = 0.5;

/** One side: its machine, and when its timers end. */
class Side {
  readonly config: FsmConfig;
  state: State;
  readonly timers = new Map<Timer, number>();
  sent = 0;
  changedAt = 0;
  readonly #share: () => number;
  /** What comes to it, in order. */
  inbox: { readonly at: number; readonly packet: Packet }[] = [];
  other: Side | null = null;

  constructor(discriminator: number, share: () => number) {
    this.config = { discriminator, desiredMinTxUs: 300_000, requiredMinRxUs: 300_000, multiplier: 3 };
    this.state = initialState(this.config, 1);
    this.#share = share;
  }

  do(now: number, event: Parameters<typeof step>[2]): void {
    const [state, actions] = step(this.config, this.state, event);
    this.state = state;
    for (const action of actions) this.#perform(now, action);
  }

  #perform(now: number, action: Action): void {
    if (action.do === 'send') {
      this.sent++;
      this.other?.inbox.push({ at: now + LATENCY_MS, packet: action.packet });
    } else if (action.do === 'arm') {
      const { timer, us, least, most } = action;
      this.timers.set(timer, now + (us / 1000) * (least + (most - least) * this.#share()));
    } else if (action.do === 'disarm') this.timers.delete(action.timer);
    else this.changedAt = now;
  }

  /** The next thing that happens to it: when, and what. */
  next(): readonly [number, () => void] {
    let first: readonly [number, () => void] = [Number.POSITIVE_INFINITY, () => {}];
    for (const [timer, at] of this.timers) if (at < first[0]) first = [at, () => this.#expired(at, timer)];
    const [arrival] = this.inbox;
    if (arrival === undefined || arrival.at > first[0]) return first;
    return [
      arrival.at,
      () => {
        this.inbox.shift();
        this.do(arrival.at, { on: 'packet', packet: arrival.packet, sequence: null });
      },
    ];
  }

  #expired(now: number, timer: Timer): void {
    this.timers.delete(timer);
    const on = { transmit: 'transmit-due', detection: 'detection-expires', sequence: 'sequence-expires' } as const;
    this.do(now, { on: on[timer] });
  }
}

function run(sides: readonly Side[], untilMs: number, mostPackets: number): void {
  for (;;) {
    const [[at, act] = [Number.POSITIVE_INFINITY, () => {}]] = sides
      .map((side) => side.next())
      .sort(([a], [b]) => a - b);
    if (at > untilMs || sides.some(({ sent }) => sent > mostPackets)) return;
    act();
  }
}

function pair(share: () => number): readonly [Side, Side] {
  const [a, b] = [new Side(11, share), new Side(22, share)];
  a.other = b;
  b.other = a;
  return [a, b];
}

describe('Two BFD sessions with old packets under way', () => {
  const old = fc.array(
    fc.record({ toA: fc.boolean(), at: fc.double({ min: 0, max: 1, noNaN: true }), is: fc.constantFrom(...STATES) }),
    { maxLength: 12 },
  );

  function disturbed(packets: readonly { toA: boolean; at: number; is: StateName }[], share: () => number) {
    const [a, b] = pair(share);
    a.do(0, { on: 'transmit-due' });
    b.do(0, { on: 'transmit-due' });
    run([a, b], 5000, 1000);
    expect([a.state.is, b.state.is]).to.deep.equal(['Up', 'Up']);
    const before = a.sent + b.sent;
    for (const { toA, at, is } of packets) {
      if (is === 'AdminDown') continue;
      const [to, from] = toA ? [a, b] : [b, a];
      const packet = { ...PACKET, state: is, myDiscriminator: from.config.discriminator };
      to.inbox.push({ at: 5000 + at, packet: { ...packet, yourDiscriminator: to.config.discriminator } });
    }
    for (const side of [a, b]) side.inbox.sort((x, y) => x.at - y.at);
    run([a, b], 15_000, 1000);
    return { a, b, packets: a.sent + b.sent - before };
  }

  it('are up again within seconds, whatever these said, and do not flood the wire', () => {
    fc.assert(
      fc.property(old, fc.double({ min: 0, max: 1, noNaN: true }), (packets, share) => {
        let shares = share;
        const done = disturbed(packets, () => (shares = (shares * 7.13 + 0.377) % 1));
        expect([done.a.state.is, done.b.state.is]).to.deep.equal(['Up', 'Up']);
        expect(Math.max(done.a.changedAt, done.b.changedAt)).to.be.below(10_000);
        expect(done.packets).to.be.below(200);
      }),
      { numRuns: 300 },
    );
  });
});
