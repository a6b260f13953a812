// RFC 4271 §8.2.2 as a table, written from the RFC's text: 28 events by 6 states, each cell in the RFC's own actions. Where
// the machine of fsm.ts does otherwise, DELIBERATE says what and why, and such a cell must really differ: a deviation that
// somebody repairs has to leave the list. What a step does beyond the RFC's words (data of NOTIFICATIONs, jitter, other
// RFCs' events) is in fsm.test.ts; ConnectRetryCounter and damping belong to peer.ts.

import { expect } from 'chai';
import {
  type Action,
  type Event,
  type FsmConfig,
  IDLE,
  type State,
  type StateName,
  step,
} from '../../../src/bgp/fsm.ts';
import { notification } from '../../../src/bgp/notification.ts';
import { type LocalOpen, localOpen, negotiate } from '../../../src/bgp/open.ts';
import { everyState } from '../../support/negotiated.ts';

/** Initial values, so that the RFC's timers are told apart. */
const RETRY = 7;
const LARGE = 240;
const HOLD = 9;
const KEEPALIVE = 3;

const config: FsmConfig = { connectRetrySeconds: RETRY, passive: false, keepaliveSeconds: null, sendHoldSeconds: null };
const ours: LocalOpen = { as: 64600, routerId: '192.0.2.9', holdTimeSeconds: HOLD, families: [4, 6], peerAs: null };
const agreed = agreedWith({ ...ours, as: 64500, routerId: '192.0.2.1' });
const body = new Uint8Array();

const STATES = everyState(agreed);

/** Each event of §8.1 as the machine gets it, or why it never does. */
const EVENTS: readonly {
  readonly number: number;
  readonly name: string;
  readonly as: Given | { readonly not: string };
}[] = [
  { number: 1, name: 'ManualStart', as: { event: { on: 'start' } } },
  { number: 2, name: 'ManualStop', as: { event: { on: 'stop', notification: notification('ceaseShutdown') } } },
  { number: 3, name: 'AutomaticStart', as: { event: { on: 'start' } } },
  { number: 4, name: 'ManualStart_with_PassiveTcpEstablishment', as: { event: { on: 'start' }, passive: true } },
  { number: 5, name: 'AutomaticStart_with_PassiveTcpEstablishment', as: { event: { on: 'start' }, passive: true } },
  { number: 6, name: 'AutomaticStart_with_DampPeerOscillations', as: { not: 'peer.ts damps, then starts (3)' } },
  { number: 7, name: '… and PassiveTcpEstablishment', as: { not: 'peer.ts damps, then starts (5)' } },
  { number: 8, name: 'AutomaticStop', as: { event: { on: 'stop', notification: notification('ceaseMaxPrefixes') } } },
  { number: 9, name: 'ConnectRetryTimer_Expires', as: { event: { on: 'connect-retry-expires' } } },
  { number: 10, name: 'HoldTimer_Expires', as: { event: { on: 'hold-expires' } } },
  { number: 11, name: 'KeepaliveTimer_Expires', as: { event: { on: 'keepalive-expires' } } },
  { number: 12, name: 'DelayOpenTimer_Expires', as: { not: 'DelayOpen is optional (§8.1.1) and not supported' } },
  { number: 13, name: 'IdleHoldTimer_Expires', as: { not: 'the timer is in peer.ts, which starts (3) then' } },
  { number: 14, name: 'TcpConnection_Valid', as: { not: 'TrackTcpState is optional; the kernel tracks SYNs' } },
  { number: 15, name: 'Tcp_CR_Invalid', as: { not: 'speaker.ts turns strangers away' } },
  { number: 16, name: 'Tcp_CR_Acked', as: { event: { on: 'connected' } } },
  { number: 17, name: 'TcpConnectionConfirmed', as: { event: { on: 'connected' } } },
  { number: 18, name: 'TcpConnectionFails', as: { event: { on: 'connection-fails', reason: 'ECONNRESET' } } },
  { number: 19, name: 'BGPOpen', as: { event: { on: 'open', agreed } } },
  { number: 20, name: 'BGPOpen with DelayOpenTimer running', as: { not: 'DelayOpen is not supported' } },
  {
    number: 21,
    name: 'BGPHeaderErr',
    as: { event: { on: 'header-error', notification: notification('headerBadType') } },
  },
  {
    number: 22,
    name: 'BGPOpenMsgErr',
    as: { event: { on: 'open-error', notification: notification('openBadPeerAs') } },
  },
  { number: 23, name: 'OpenCollisionDump', as: { event: { on: 'collision-dump' } } },
  {
    number: 24,
    name: 'NotifMsgVerErr',
    as: { event: { on: 'version-notification', notification: notification('openBadVersion') } },
  },
  { number: 25, name: 'NotifMsg', as: { event: { on: 'notification', notification: notification('ceaseReset') } } },
  { number: 26, name: 'KeepAliveMsg', as: { event: { on: 'keepalive' } } },
  { number: 27, name: 'UpdateMsg', as: { event: { on: 'update', body } } },
  {
    number: 28,
    name: 'UpdateMsgErr',
    as: { event: { on: 'update-error', notification: notification('updateBadNlri') } },
  },
];

interface Given {
  readonly event: Event;
  readonly passive?: true;
}

/**
 * What the RFC has a state do. `ignore`: nothing at all. Otherwise its actions, then where it goes:
 * retry+ (re)start the ConnectRetryTimer · connect · open: send an OPEN · hold large · hold+: HoldTimer to the negotiated
 * value · keepalive: send one · ka+ (re)start the KeepaliveTimer · process: hand the UPDATE on · say CODE: send a
 * NOTIFICATION · drop: the TCP connection · release: stop every timer, which is what is left of "releases all BGP
 * resources" in a machine that owns nothing else.
 */
const CONNECT_AND_WAIT = 'retry+ connect → Connect';
const FALL = 'drop release → Idle';
const says = (code: number) => `say ${code} ${FALL}`;
const UP = 'open hold-large retry-off → OpenSent';

/** One line per group of events that the RFC names together; every event must be in exactly one line of each state. */
const RFC: Readonly<Record<StateName, readonly (readonly [events: readonly number[], does: string])[]>> = {
  Idle: [
    [[1, 3], CONNECT_AND_WAIT],
    [[4, 5], 'retry+ → Active'],
    [[2, 8], 'ignore'],
    // "outside the scope of this document"
    [[6, 7, 13], 'left to us'],
    // 14 is in no list; "refuses all incoming BGP connections for this peer".
    [[9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28], 'ignore'],
  ],
  Connect: [
    [[1, 3, 4, 5, 6, 7], 'ignore'],
    [[2], FALL],
    [[9], 'drop retry+ connect'],
    [[12], 'open hold-large → OpenSent'],
    [[14, 15], 'left to us'],
    [[16, 17], UP],
    [[18], FALL],
    [[20], 'with DelayOpenTimer only'],
    [[21, 22], FALL],
    [[24], FALL],
    [[8, 10, 11, 13, 19, 23, 25, 26, 27, 28], FALL],
  ],
  Active: [
    [[1, 3, 4, 5, 6, 7], 'ignore'],
    [[2], FALL],
    [[9], CONNECT_AND_WAIT],
    [[12], 'open hold-large → OpenSent'],
    [[14, 15], 'left to us'],
    [[16, 17], UP],
    [[18], 'retry+ → Idle'],
    [[20], 'with DelayOpenTimer only'],
    [[21, 22], FALL],
    [[24], FALL],
    [[8, 10, 11, 13, 19, 23, 25, 26, 27, 28], FALL],
  ],
  OpenSent: [
    [[1, 3, 4, 5, 6, 7], 'ignore'],
    [[2, 8], says(6)],
    [[10], says(4)],
    // The second connection is tracked by a machine of its own (§6.8).
    [[14, 15, 16, 17], 'ignore'],
    [[18], 'drop retry+ → Active'],
    [[19], 'keepalive ka+ hold+ → OpenConfirm'],
    [[21], says(1)],
    [[22], says(2)],
    [[23], says(6)],
    [[24], FALL],
    [[9, 11, 12, 13, 20, 25, 26, 27, 28], says(5)],
  ],
  OpenConfirm: [
    [[1, 3, 4, 5, 6, 7], 'ignore'],
    [[2, 8], says(6)],
    [[10], says(4)],
    [[11], 'keepalive ka+'],
    [[14, 15, 16, 17], 'ignore'],
    [[18, 25], FALL],
    [[24], FALL],
    // §8.2.2 only says what happens when this connection loses a collision (23); RFC 6608 §4 has 5/2 for the message.
    [[19], says(5)],
    [[21], says(1)],
    [[22], says(2)],
    [[23], says(6)],
    [[26], 'hold+ → Established'],
    [[9, 12, 13, 20, 27, 28], says(5)],
  ],
  Established: [
    [[1, 3, 4, 5, 6, 7], 'ignore'],
    [[2, 8], says(6)],
    [[10], says(4)],
    [[11], 'keepalive ka+'],
    [[14, 15, 16, 17], 'ignore'],
    // Without CollisionDetectEstablishedState §8.2.2 says nothing; RFC 6608 §4 has 5/3 for the message.
    [[19], says(5)],
    [[23], says(6)],
    [[18, 24, 25], FALL],
    [[26], 'hold+'],
    [[27], 'process hold+'],
    [[28], says(3)],
    [[9, 12, 13, 20, 21, 22], says(5)],
  ],
};

/** `State event` → what the machine does instead, and why. */
const DELIBERATE: Readonly<Record<string, { readonly instead: string; readonly because: string }>> = {
  'Idle 4': {
    instead: '→ Active',
    because: 'expiry of the ConnectRetryTimer makes Active dial, and a passive peer never does',
  },
  'Idle 5': { instead: '→ Active', because: 'as for event 4' },
  'Active 18': { instead: FALL, because: 'Idle ignores the timer that the RFC restarts here; peer.ts starts again' },
  'OpenSent 25': { instead: FALL, because: '§6.4: a NOTIFICATION is never answered by a NOTIFICATION' },
  'Established 21': { instead: says(1), because: '§6.1 has the error’s own code, which tells the operator more' },
  'Established 22': { instead: says(2), because: '§6.2, as for event 21' },
};

function agreedWith(theirs: LocalOpen) {
  const result = negotiate(ours, localOpen(theirs));
  if ('refusal' in result) throw new Error('two good OPENs do not agree');
  return result;
}

/** The same words for what the machine did. */
function seen([to, actions]: readonly [State, readonly Action[]], from: State): string {
  const stopped = new Set<string>();
  const words: string[] = [];
  for (const action of actions) {
    if (action.do === 'disarm') stopped.add(action.timer);
    else words.push(...wordsOf(action));
  }
  const all = stopped.size === 4;
  if (all) words.push('release');
  // In OpenSent only the HoldTimer runs: to drop the connection is to stop it.
  else if (stopped.has('connectRetry')) words.push('retry-off');
  if (to.is !== from.is) words.push('→', to.is);
  return words.length === 0 ? 'ignore' : words.join(' ');
}

function wordsOf(action: Action): readonly string[] {
  switch (action.do) {
    case 'arm':
      return [armed(action.timer, action.seconds)];
    case 'send':
      return [action.message];
    case 'notify':
      return [`say ${action.notification.code}`];
    case 'close':
      return ['drop'];
    case 'deliver':
      return ['process'];
    case 'connect':
      return ['connect'];
    default:
      // What the owner is told is not the RFC's business.
      return [];
  }
}

function armed(timer: string, seconds: number): string {
  const name = `${timer} ${seconds}`;
  const words: Readonly<Record<string, string>> = {
    [`connectRetry ${RETRY}`]: 'retry+',
    [`hold ${LARGE}`]: 'hold-large',
    [`hold ${HOLD}`]: 'hold+',
    [`keepalive ${KEEPALIVE}`]: 'ka+',
  };
  return words[name] ?? name;
}

/** Order matters for one thing only: what is said is said before the connection is dropped. */
function canonical(does: string): string {
  const [actions = '', state] = does.split('→').map((part) => part.trim());
  const words = actions.split(' ').filter((word) => word !== '');
  const spoken = words.indexOf('say');
  if (spoken >= 0) expect(spoken, does).to.be.below(words.indexOf('drop'));
  return [...words.sort(), ...(state === undefined ? [] : ['→', state])].join(' ');
}

function cellOf(state: StateName, number: number): string {
  const lines = RFC[state].filter(([events]) => events.includes(number));
  expect(lines, `${state}, event ${number}`).to.have.length(1);
  return lines[0]?.[1] ?? '';
}

describe('bgp/fsm: RFC 4271 §8.2.2, 28 events by 6 states', () => {
  it('has every event in one line of each state', () => {
    expect(EVENTS.map(({ number }) => number)).to.deep.equal(Array.from({ length: 28 }, (_, i) => i + 1));
    for (const state of Object.keys(STATES) as StateName[]) {
      const listed = RFC[state].flatMap(([events]) => events).sort((a, b) => a - b);
      expect(listed, state).to.deep.equal(EVENTS.map(({ number }) => number));
    }
  });

  for (const { number, name, as } of EVENTS) {
    for (const state of Object.keys(STATES) as StateName[]) {
      const expected = cellOf(state, number);
      const deviation = DELIBERATE[`${state} ${number}`];
      // Nothing to run: the cell is there so that the table is whole.
      if ('not' in as) continue;
      const { event, passive } = as;
      it(`${state}, event ${number} (${name}): ${deviation?.instead ?? expected}`, () => {
        const from = STATES[state];
        const did = canonical(seen(step({ ...config, passive: passive ?? false }, from, event), from));
        expect(did).to.equal(canonical(deviation?.instead ?? expected));
        if (deviation !== undefined) expect(did, deviation.because).to.not.equal(canonical(expected));
      });
    }
  }

  it('names no deviation of a cell that does not exist', () => {
    for (const cell of Object.keys(DELIBERATE)) {
      const [state = '', number = ''] = cell.split(' ');
      expect(Object.keys(STATES)).to.include(state);
      expect(EVENTS[Number(number) - 1]?.as).to.have.property('event');
    }
  });
});
