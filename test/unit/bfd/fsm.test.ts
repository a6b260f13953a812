// The session machine: every state × event cell from a table, timing rules of RFC 5880 §6.8.3, §6.8.4 and §6.8.7, polls, and
// laws over random histories.

import { expect } from 'chai';
import fc from 'fast-check';
import {
  type Action,
  detectionUs,
  type Event,
  type FsmConfig,
  initialState,
  MAX_EARLY,
  type State,
  type Step,
  step,
  transmitIntervalUs,
} from '../../../src/bfd/fsm.ts';
import { DIAGNOSTIC, type Packet, STATES } from '../../../src/bfd/packet.ts';
import type { StateName } from '../../../src/bfd/types.ts';

const config: FsmConfig = { discriminator: 11, desiredMinTxUs: 50_000, requiredMinRxUs: 50_000, multiplier: 3 };

const packet = (state: StateName, changes: Partial<Packet> = {}): Packet => ({
  diagnostic: 0,
  state,
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 22,
  yourDiscriminator: 11,
  desiredMinTxUs: 1_000_000,
  requiredMinRxUs: 50_000,
  requiredMinEchoRxUs: 0,
  auth: null,
  ...changes,
});
const hears = (state: StateName, changes: Partial<Packet> = {}): Event => ({
  on: 'packet',
  packet: packet(state, changes),
  sequence: null,
});

/** One event after the other, from the beginning. */
function after(events: readonly Event[], from: State = initialState(config, 100)): State {
  return events.reduce((state, event) => step(config, state, event)[0], from);
}

const fresh = initialState(config, 100);
/** Each with a peer that is heard, and no poll under way. */
const states: { readonly [S in StateName]: State } = {
  AdminDown: after([{ on: 'disable' }], after([hears('AdminDown'), hears('AdminDown', { final: true })])),
  Down: after([hears('AdminDown')]),
  Init: after([hears('Down')]),
  Up: after([hears('Down'), hears('Init'), hears('Up', { final: true })]),
};

const events: readonly (readonly [name: string, event: Event])[] = [
  ...STATES.map((state) => [`hears ${state}`, hears(state)] as const),
  ['transmit-due', { on: 'transmit-due' }],
  ['detection-expires', { on: 'detection-expires' }],
  ['sequence-expires', { on: 'sequence-expires' }],
  ['reconfigured', { on: 'reconfigured' }],
  ['disable', { on: 'disable' }],
  ['enable', { on: 'enable' }],
  ['hold', { on: 'hold', diagnostic: DIAGNOSTIC.forwardingPlaneReset }],
  ['release', { on: 'release' }],
];

/** `Init/0 sends Init 3:detection`: state, diagnostic, packets, timers (`+` armed, `-` disarmed). */
function summary([state, actions]: Step): string {
  const words = actions.flatMap((action): readonly string[] => {
    switch (action.do) {
      case 'send':
        return [`${action.packet.final ? 'answers' : 'sends'} ${action.packet.state}`];
      case 'arm':
        return [`+${action.timer}`];
      case 'disarm':
        return [`-${action.timer}`];
      case 'changed':
        return [];
      default:
        return action satisfies never;
    }
  });
  return [`${state.is}/${state.diagnostic}`, ...words].join(' ');
}

const detects = '+detection -sequence';
const says = (state: StateName) => `sends ${state} +transmit`;

/** Column by column: AdminDown, Down, Init, Up. Rows as RFC 5880 §6.2 and §6.8.6 have them. */
const table: Readonly<Record<string, readonly [string, string, string, string]>> = {
  'hears AdminDown': [
    `AdminDown/7 ${detects}`,
    `Down/0 ${detects}`,
    `Down/3 ${says('Down')} ${detects}`,
    `Down/3 ${says('Down')} ${detects}`,
  ],
  'hears Down': [
    `AdminDown/7 ${detects}`,
    `Init/0 ${says('Init')} ${detects}`,
    `Init/0 ${detects}`,
    `Down/3 ${says('Down')} ${detects}`,
  ],
  'hears Init': [
    `AdminDown/7 ${detects}`,
    `Up/0 ${says('Up')} ${detects}`,
    `Up/0 ${says('Up')} ${detects}`,
    `Up/0 ${detects}`,
  ],
  'hears Up': [`AdminDown/7 ${detects}`, `Down/0 ${detects}`, `Up/0 ${says('Up')} ${detects}`, `Up/0 ${detects}`],
  'transmit-due': [
    `AdminDown/7 ${says('AdminDown')}`,
    `Down/0 ${says('Down')}`,
    `Init/0 ${says('Init')}`,
    `Up/0 ${says('Up')}`,
  ],
  'detection-expires': [
    `AdminDown/7 ${says('AdminDown')} +sequence`,
    `Down/0 ${says('Down')} +sequence`,
    `Down/1 ${says('Down')} +sequence`,
    `Down/1 ${says('Down')} +sequence`,
  ],
  'sequence-expires': ['AdminDown/7', 'Down/0', 'Init/0', 'Up/0'],
  reconfigured: [
    `AdminDown/7 ${says('AdminDown')}`,
    `Down/0 ${says('Down')}`,
    `Init/0 ${says('Init')}`,
    `Up/0 ${says('Up')}`,
  ],
  disable: ['AdminDown/7', ...(['', '', ''].map(() => `AdminDown/7 ${says('AdminDown')}`) as [string, string, string])],
  enable: [`Down/7 ${says('Down')}`, 'Down/0', 'Init/0', 'Up/0'],
  hold: ['AdminDown/7', `Down/4 ${says('Down')}`, `Down/4 ${says('Down')}`, `Down/4 ${says('Down')}`],
  release: ['AdminDown/7', 'Down/0', 'Init/0', 'Up/0'],
};

const sent = (actions: readonly Action[]): Packet[] =>
  actions.flatMap((each) => (each.do === 'send' ? [each.packet] : []));

describe('BFD session machine', () => {
  it('has a cell for every state and event', () => {
    expect(Object.keys(table)).to.have.members(events.map(([name]) => name));
    for (const name of STATES) expect(states[name].is).to.equal(name);
  });
  for (const [name, event] of events) {
    for (const [column, state] of STATES.entries()) {
      it(`${state}: ${name}`, () => {
        expect(summary(step(config, states[state], event))).to.equal(table[name]?.[column]);
      });
    }
  }

  describe('tells both sides of each change', () => {
    it('its own once, with where it came from', () => {
      const [, actions] = step(config, states.Up, { on: 'detection-expires' });
      expect(actions.filter((action) => action.do === 'changed')).to.deep.equal([
        { do: 'changed', from: 'Up', to: 'Down' },
      ]);
    });
    it('the other with its discriminator, as soon as that is known', () => {
      const [, actions] = step(config, fresh, hears('Down', { myDiscriminator: 99 }));
      expect(sent(actions)).to.have.length(1);
      expect(sent(actions)[0]).to.include({ state: 'Init', myDiscriminator: 11, yourDiscriminator: 99 });
    });
  });

  describe('intervals (§6.8.2, §6.8.3)', () => {
    it('advertise a second at least until the session is up, and what is configured from then on, with a poll', () => {
      expect(sent(step(config, fresh, { on: 'transmit-due' })[1])[0]).to.include({
        desiredMinTxUs: 1_000_000,
        poll: false,
      });
      const [up, actions] = step(config, states.Init, hears('Up'));
      expect(sent(actions)[0]).to.include({ state: 'Up', desiredMinTxUs: 50_000, requiredMinRxUs: 50_000, poll: true });
      expect(transmitIntervalUs(up)).to.equal(50_000);
      const [down, farewell] = step(config, up, { on: 'detection-expires' });
      expect(sent(farewell)[0]).to.include({ state: 'Down', desiredMinTxUs: 1_000_000 });
      expect(transmitIntervalUs(down)).to.equal(1_000_000);
    });
    it('send at once when the interval shrinks with the session coming up: the other side counts by the new one already', () => {
      const [, actions] = step(config, states.Init, hears('Up'));
      const arm = actions.find((action) => action.do === 'arm' && action.timer === 'transmit');
      expect(arm).to.deep.equal({ do: 'arm', timer: 'transmit', us: 50_000, least: 0.75, most: 1 });
    });
    it('follow what the other side can receive, at once when it can receive more', () => {
      const slow = after([hears('Up', { requiredMinRxUs: 400_000 })], states.Up);
      expect(transmitIntervalUs(slow)).to.equal(400_000);
      const [, actions] = step(config, slow, hears('Up', { requiredMinRxUs: 60_000 }));
      expect(actions[0]).to.deep.equal({ do: 'arm', timer: 'transmit', us: 60_000, least: 0.75, most: 1 });
    });
    it('are jittered to 75–90 % where a single packet may be missed', () => {
      const [, actions] = step({ ...config, multiplier: 1 }, states.Up, { on: 'transmit-due' });
      expect(actions[1]).to.deep.equal({ do: 'arm', timer: 'transmit', us: 50_000, least: 0.75, most: 0.9 });
    });
    it('stop where the other side wants no packets (Required Min RX 0), and start again', () => {
      const [quiet, actions] = step(config, states.Up, hears('Up', { requiredMinRxUs: 0 }));
      expect(transmitIntervalUs(quiet)).to.equal(null);
      expect(actions[0]).to.deep.equal({ do: 'disarm', timer: 'transmit' });
      expect(sent(step(config, quiet, { on: 'transmit-due' })[1])).to.deep.equal([]);
      expect(transmitIntervalUs(after([hears('Up')], quiet))).to.equal(50_000);
    });
    it('stop where the other side is in demand mode, but for polls, and only while both are up', () => {
      const demanded = after([hears('Up', { demand: true })], states.Up);
      expect(transmitIntervalUs(demanded)).to.equal(null);
      const polled = step({ ...config, desiredMinTxUs: 40_000 }, demanded, { on: 'reconfigured' });
      expect(sent(polled[1])[0]).to.include({ poll: true, desiredMinTxUs: 40_000 });
      expect(transmitIntervalUs(after([hears('Down', { demand: true })], demanded))).to.equal(1_000_000);
    });
    it('that grow while up stay as they are until the poll is answered', () => {
      const slower: FsmConfig = { ...config, desiredMinTxUs: 300_000 };
      const [polling, actions] = step(slower, states.Up, { on: 'reconfigured' });
      expect(sent(actions)[0]).to.include({ desiredMinTxUs: 300_000, poll: true });
      expect(transmitIntervalUs(polling)).to.equal(50_000);
      expect(transmitIntervalUs(step(slower, polling, hears('Up'))[0])).to.equal(50_000);
      expect(transmitIntervalUs(step(slower, polling, hears('Up', { final: true }))[0])).to.equal(300_000);
    });
    it('that shrink on the receiving side count for detection only when the poll is answered', () => {
      const fast = hears('Up', { desiredMinTxUs: 10_000 });
      const faster: FsmConfig = { ...config, requiredMinRxUs: 20_000 };
      const [polling] = step(faster, after([fast], states.Up), { on: 'reconfigured' });
      expect(detectionUs(polling)).to.equal(150_000);
      expect(detectionUs(step(faster, polling, fast)[0])).to.equal(150_000);
      const final = hears('Up', { desiredMinTxUs: 10_000, final: true });
      expect(detectionUs(step(faster, polling, final)[0])).to.equal(60_000);
    });
  });

  describe('detection (§6.8.4)', () => {
    it("takes the other side's multiplier and the slower of both", () => {
      expect(detectionUs(fresh)).to.equal(null);
      expect(detectionUs(after([hears('Up', { multiplier: 5, desiredMinTxUs: 30_000 })], states.Up))).to.equal(250_000);
      expect(detectionUs(after([hears('Up', { multiplier: 5, desiredMinTxUs: 80_000 })], states.Up))).to.equal(400_000);
    });
    it('starts again with every packet, in every state', () => {
      for (const state of STATES) {
        const [, actions] = step(config, states[state], hears(state));
        expect(actions.some((action) => action.do === 'arm' && action.timer === 'detection')).to.equal(true);
      }
    });
    it('forgets the other side, and after as long again its sequence number', () => {
      const known = step(config, states.Up, { on: 'packet', packet: packet('Up'), sequence: 7 })[0];
      const [down, actions] = step(config, known, { on: 'detection-expires' });
      expect(down.remote).to.equal(null);
      expect(sent(actions)[0]).to.include({ yourDiscriminator: 0 });
      expect(down.receiveSequence).to.equal(7);
      expect(after([{ on: 'sequence-expires' }], down).receiveSequence).to.equal(null);
    });
  });

  describe('polls (§6.5)', () => {
    it('are answered at once, with Final and without Poll, and the transmit timer is left alone', () => {
      const [, actions] = step(config, states.Up, hears('Up', { poll: true }));
      expect(sent(actions)).to.have.length(1);
      expect(sent(actions)[0]).to.include({ final: true, poll: false });
      expect(actions.some((action) => 'timer' in action && action.timer === 'transmit')).to.equal(false);
    });
    it('are answered although the other side wants no periodic packets', () => {
      const [, actions] = step(config, states.Up, hears('Up', { poll: true, requiredMinRxUs: 0 }));
      expect(sent(actions)).to.have.length(1);
    });
    it('are on every periodic packet until one with Final comes', () => {
      const polling = after([hears('Up')], states.Init);
      expect(sent(step(config, polling, { on: 'transmit-due' })[1])[0]?.poll).to.equal(true);
      const answered = after([hears('Up', { final: true })], polling);
      expect(sent(step(config, answered, { on: 'transmit-due' })[1])[0]?.poll).to.equal(false);
    });
    it('that overtake each other are told apart by a packet without Final', () => {
      const polling = after([hears('Up')], states.Init);
      const slower: FsmConfig = { ...config, desiredMinTxUs: 300_000 };
      const again = step(slower, polling, { on: 'reconfigured' })[0];
      expect(again.poll).to.equal('again');
      const first = step(slower, again, hears('Up', { final: true }))[0];
      expect(first.poll).to.equal('waiting');
      expect(transmitIntervalUs(first)).to.equal(50_000);
      expect(step(slower, first, hears('Up', { final: true }))[0].poll).to.equal('waiting');
      const second = step(slower, first, hears('Up'))[0];
      expect(second.poll).to.equal('polling');
      expect(transmitIntervalUs(step(slower, second, hears('Up', { final: true }))[0])).to.equal(300_000);
    });
  });

  describe('held', () => {
    const held = after([{ on: 'hold', diagnostic: DIAGNOSTIC.forwardingPlaneReset }], states.Up);
    it('says so once', () => {
      const [, actions] = step(config, states.Up, { on: 'hold', diagnostic: DIAGNOSTIC.forwardingPlaneReset });
      expect(sent(actions).map(({ state }) => state)).to.deep.equal(['Down']);
      expect(sent(step(config, held, { on: 'hold', diagnostic: DIAGNOSTIC.forwardingPlaneReset })[1])).to.deep.equal(
        [],
      );
    });
    it('stays down with its diagnostic and says no more, whatever the other side says', () => {
      for (const state of STATES) {
        const [next, actions] = step(config, held, hears(state, { poll: true, myDiscriminator: 77 }));
        expect([next.is, next.diagnostic]).to.deep.equal(['Down', DIAGNOSTIC.forwardingPlaneReset]);
        expect(sent(actions)).to.deep.equal([]);
        expect(sent(step(config, next, { on: 'transmit-due' })[1])).to.deep.equal([]);
      }
    });
    it('speaks again with the next period once it is released', () => {
      const [still, again] = step(config, held, { on: 'transmit-due' });
      expect(again.map((action) => action.do)).to.deep.equal(['arm']);
      const [packet] = sent(step(config, after([{ on: 'release' }], still), { on: 'transmit-due' })[1]);
      expect(packet?.state).to.equal('Down');
    });
    it('still says AdminDown when it is disabled', () => {
      const [packet] = sent(step(config, held, { on: 'disable' })[1]);
      expect(packet?.state).to.equal('AdminDown');
    });
    it('comes up again once it is released', () => {
      expect(after([{ on: 'release' }, hears('Down'), hears('Up')], held).is).to.equal('Up');
    });
  });

  it('grows its sequence number with every packet, beyond the end of the numbers', () => {
    const last = { ...states.Up, transmitSequence: 0xffffffff };
    const [next, actions] = step(config, last, { on: 'transmit-due' });
    expect(actions[0]).to.include({ do: 'send', sequence: 0xffffffff });
    expect(next.transmitSequence).to.equal(0);
  });

  describe('for any history', () => {
    const anyPacket = fc.record({
      state: fc.constantFrom(...STATES),
      flag: fc.constantFrom({}, { poll: true }, { final: true }, { demand: true }),
      desiredMinTxUs: fc.constantFrom(10_000, 50_000, 1_000_000),
      requiredMinRxUs: fc.constantFrom(0, 10_000, 50_000, 300_000),
      multiplier: fc.integer({ min: 1, max: 5 }),
    });
    const anyEvent: fc.Arbitrary<Event> = fc.oneof(
      { weight: 3, arbitrary: anyPacket.map(({ state, flag, ...rest }) => hears(state, { ...rest, ...flag })) },
      { weight: 1, arbitrary: fc.constantFrom(...events.map(([, event]) => event)) },
    );
    const histories = fc.array(fc.tuple(anyEvent, fc.constantFrom(50_000, 300_000, 2_000_000)), { maxLength: 60 });

    function law(check: (before: State, event: Event, next: Step, config: FsmConfig) => void): void {
      fc.assert(
        fc.property(histories, (history) => {
          let state = fresh;
          for (const [event, us] of history) {
            const now: FsmConfig = { ...config, desiredMinTxUs: us, requiredMinRxUs: us };
            const next = step(now, state, event);
            check(state, event, next, now);
            state = next[0];
          }
        }),
        { numRuns: 300 },
      );
    }

    it('the session is up only after the other side said Init or Up, and was heard in a detection time', () => {
      law((before, event, [state]) => {
        if (state.is !== 'Up' || before.is === 'Up') return;
        expect(event.on === 'packet' && ['Init', 'Up'].includes(event.packet.state)).to.equal(true);
        expect(state.remote).to.not.equal(null);
      });
    });
    it('nothing slower than a second is promised while it is not up', () => {
      law((_before, _event, [, actions]) => {
        for (const each of sent(actions))
          if (each.state !== 'Up') expect(each.desiredMinTxUs).to.be.at.least(1_000_000);
      });
    });
    it('no packet has Poll and Final, or a zero discriminator of ours, or one of theirs that was not heard', () => {
      law((_before, _event, [state, actions]) => {
        for (const each of sent(actions)) {
          expect(each.poll && each.final).to.equal(false);
          expect(each.myDiscriminator).to.equal(11);
          expect(each.yourDiscriminator).to.equal(state.remote?.discriminator ?? 0);
        }
      });
    });
    it('the transmit timer runs unless the other side wants none, and what was armed is the interval in force', () => {
      fc.assert(
        fc.property(histories, (history) => {
          let state: State = fresh;
          let armed: number | null = null;
          const run = ([next, actions]: Step): void => {
            state = next;
            for (const each of actions) {
              if (each.do === 'arm' && each.timer === 'transmit') armed = each.us;
              if (each.do === 'disarm' && each.timer === 'transmit') armed = null;
            }
            const us = transmitIntervalUs(state);
            // After many changes in one period the next one begins when this one ends.
            if (state.early < MAX_EARLY) expect(armed).to.equal(us);
            else expect(armed === null).to.equal(us === null);
          };
          run(step(config, state, { on: 'transmit-due' }));
          for (const [event] of history) run(step(config, state, event));
        }),
        { numRuns: 300 },
      );
    });
    it('a change is told exactly when there is one', () => {
      law((before, _event, [state, actions]) => {
        const told = actions.filter((action) => action.do === 'changed');
        expect(told).to.deep.equal(before.is === state.is ? [] : [{ do: 'changed', from: before.is, to: state.is }]);
      });
    });
    it('every poll is answered, unless we are AdminDown or held', () => {
      law((before, event, [, actions]) => {
        if (event.on !== 'packet' || !event.packet.poll) return;
        const mute = before.is === 'AdminDown' || before.held !== null;
        expect(sent(actions).filter(({ final }) => final)).to.have.length(mute ? 0 : 1);
      });
    });
  });
});
