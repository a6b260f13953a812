// The state machine: what each cell does to the letter, data and jitter included (rfc4271.test.ts holds it against the
// RFC's text), then laws over random histories.

import { expect } from 'chai';
import fc from 'fast-check';
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
import { everyState, negotiated } from '../../support/negotiated.ts';

const config: FsmConfig = { connectRetrySeconds: 5, passive: false, keepaliveSeconds: null, sendHoldSeconds: null };
const passive: FsmConfig = { ...config, passive: true };
const agreed = negotiated();
const body = new Uint8Array();

const states = everyState(agreed);

const events: { readonly [On in Event['on']]: Extract<Event, { on: On }> } = {
  start: { on: 'start' },
  stop: { on: 'stop', notification: notification('ceaseShutdown') },
  'connect-retry-expires': { on: 'connect-retry-expires' },
  'hold-expires': { on: 'hold-expires' },
  'keepalive-expires': { on: 'keepalive-expires' },
  connected: { on: 'connected' },
  'connection-fails': { on: 'connection-fails', reason: 'ECONNRESET' },
  open: { on: 'open', agreed },
  'header-error': { on: 'header-error', notification: notification('headerBadType') },
  'open-error': { on: 'open-error', notification: notification('openBadPeerAs') },
  'collision-dump': { on: 'collision-dump' },
  'version-notification': { on: 'version-notification', notification: notification('openBadVersion') },
  notification: { on: 'notification', notification: notification('ceaseReset') },
  keepalive: { on: 'keepalive' },
  update: { on: 'update', body },
  'update-error': { on: 'update-error', notification: notification('updateBadNlri') },
  'route-refresh': { on: 'route-refresh', body },
  'refresh-error': { on: 'refresh-error', notification: notification('refreshBadLength') },
  'updates-sent': { on: 'updates-sent' },
  'write-blocked': { on: 'write-blocked' },
  'write-drained': { on: 'write-drained' },
  'send-hold-expires': { on: 'send-hold-expires' },
};

/**
 * `Idle` (nothing done) · `OpenSent: open +hold=240` · `falls` (to Idle, silently) · `falls, says 5/1 [2]`. A fall must
 * stop
 * every timer, drop the connection and tell why.
 */
function summary([state, actions]: readonly [State, readonly Action[]]): string {
  const words = actions.map(word);
  const says = words[0]?.startsWith('says') ? words.shift() : undefined;
  if (state.is === 'Idle' && words.length > 0) {
    expect(words.slice(0, 5)).to.deep.equal(['-connectRetry', '-hold', '-keepalive', '-sendHold', 'close']);
    expect(words[5]).to.match(/^down:/);
    return says === undefined ? 'falls' : `falls, ${says}`;
  }
  return words.length === 0 ? state.is : `${state.is}: ${words.join(' ')}`;
}

function word(action: Action): string {
  switch (action.do) {
    case 'send':
      return action.message;
    case 'notify': {
      const { code, subcode, data } = action.notification;
      return `says ${code}/${subcode}${data.length > 0 ? ` [${data.join(' ')}]` : ''}`;
    }
    case 'arm':
      return `+${action.timer}=${action.seconds}${action.jitter ? '~' : ''}`;
    case 'disarm':
      return `-${action.timer}`;
    case 'down':
      return `down:${action.cause.is}`;
    case 'connect':
    case 'close':
    case 'up':
    case 'deliver':
    case 'refresh':
      return action.do;
    default:
      return action satisfies never;
  }
}

const dials = '+connectRetry=5~ connect';
const opens = '-connectRetry open +hold=240';

/** Column by column: Idle, Connect, Active, OpenSent, OpenConfirm, Established. */
const table: { readonly [On in Event['on']]: readonly [string, string, string, string, string, string] } = {
  start: [`Connect: ${dials}`, 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established'],
  stop: ['Idle', 'falls', 'falls', 'falls, says 6/2', 'falls, says 6/2', 'falls, says 6/2'],
  'connect-retry-expires': [
    'Idle',
    `Connect: close ${dials}`,
    `Connect: ${dials}`,
    'falls, says 5/1',
    'falls, says 5/2',
    'falls, says 5/3',
  ],
  'hold-expires': ['Idle', 'falls', 'falls', 'falls, says 4/0', 'falls, says 4/0', 'falls, says 4/0'],
  'keepalive-expires': [
    'Idle',
    'falls',
    'falls',
    'falls, says 5/1',
    'OpenConfirm: keepalive +keepalive=3~',
    'Established: keepalive +keepalive=3~',
  ],
  connected: ['Idle', `OpenSent: ${opens}`, `OpenSent: ${opens}`, 'OpenSent', 'OpenConfirm', 'Established'],
  'connection-fails': [
    'Idle',
    'falls',
    'falls',
    'Active: -hold close +connectRetry=5~ down:connection',
    'falls',
    'falls',
  ],
  open: [
    'Idle',
    'falls',
    'falls',
    'OpenConfirm: keepalive +hold=9 +keepalive=3~',
    'falls, says 5/2 [1]',
    'falls, says 5/3 [1]',
  ],
  'header-error': ['Idle', 'falls', 'falls', 'falls, says 1/3', 'falls, says 1/3', 'falls, says 1/3'],
  'open-error': ['Idle', 'falls', 'falls', 'falls, says 2/2', 'falls, says 2/2', 'falls, says 2/2'],
  'collision-dump': ['Idle', 'falls', 'falls', 'falls, says 6/7', 'falls, says 6/7', 'falls, says 6/7'],
  'version-notification': ['Idle', 'falls', 'falls', 'falls', 'falls', 'falls'],
  notification: ['Idle', 'falls', 'falls', 'falls', 'falls', 'falls'],
  keepalive: ['Idle', 'falls', 'falls', 'falls, says 5/1 [4]', 'Established: +hold=9 up', 'Established: +hold=9'],
  update: ['Idle', 'falls', 'falls', 'falls, says 5/1 [2]', 'falls, says 5/2 [2]', 'Established: +hold=9 deliver'],
  'update-error': ['Idle', 'falls', 'falls', 'falls, says 5/1 [2]', 'falls, says 5/2 [2]', 'falls, says 3/10'],
  'route-refresh': [
    'Idle',
    'falls',
    'falls',
    'falls, says 5/1 [5]',
    'falls, says 5/2 [5]',
    'Established: +hold=9 refresh',
  ],
  'refresh-error': ['Idle', 'falls', 'falls', 'falls, says 5/1 [5]', 'falls, says 5/2 [5]', 'falls, says 7/1'],
  'updates-sent': ['Idle', 'falls', 'falls', 'OpenSent', 'OpenConfirm', 'Established: +keepalive=3~'],
  'write-blocked': ['Idle', 'falls', 'falls', 'OpenSent', 'OpenConfirm', 'Established: +sendHold=480'],
  'write-drained': ['Idle', 'falls', 'falls', 'OpenSent', 'OpenConfirm', 'Established: -sendHold'],
  'send-hold-expires': ['Idle', 'falls', 'falls', 'falls, says 8/0', 'falls, says 8/0', 'falls, says 8/0'],
};

describe('bgp/fsm: every cell, to the letter', () => {
  for (const [on, cells] of Object.entries(table)) {
    for (const [i, name] of Object.keys(states).entries()) {
      it(`${name} on ${on}: ${cells[i]}`, () => {
        const state = states[name as StateName];
        expect(summary(step(config, state, events[on as Event['on']]))).to.equal(cells[i]);
      });
    }
  }

  it('waits in Active and never dials when it is passive', () => {
    expect(summary(step(passive, IDLE, events.start))).to.equal('Active');
    const lost = step(passive, states.OpenSent, events['connection-fails']);
    expect(summary(lost)).to.equal('Active: -hold close down:connection');
  });

  it('counts no time in a session when the hold time is zero, but until there is one', () => {
    const silent = { ...agreed, holdTimeSeconds: 0 };
    expect(summary(step(config, states.OpenSent, { on: 'open', agreed: silent }))).to.equal('OpenConfirm: keepalive');
    const confirmed: State = { is: 'OpenConfirm', agreed: silent };
    expect(summary(step(config, confirmed, events.keepalive))).to.equal('Established: -hold up');
  });

  it('sends no more than one KEEPALIVE a second at the shortest hold time', () => {
    const [, actions] = step(config, states.OpenSent, { on: 'open', agreed: { ...agreed, holdTimeSeconds: 3 } });
    expect(actions).to.deep.include({ do: 'arm', timer: 'keepalive', seconds: 1, jitter: true });
  });
});

describe('bgp/fsm: laws over random histories', () => {
  const anyEvent: fc.Arbitrary<Event> = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom<Event>(...Object.values(events)) },
    // The way up, often enough that histories get there.
    { weight: 4, arbitrary: fc.constantFrom<Event>(events.start, events.connected, events.open, events.keepalive) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(0, 3, 90)
        .map((s): Event => ({ on: 'open', agreed: { ...agreed, holdTimeSeconds: s } })),
    },
  );
  const history = fc.record({
    config: fc.constantFrom(config, passive),
    events: fc.array(anyEvent, { maxLength: 60 }),
  });

  /** Runs a history; `look` sees each step with the timers and the connection as the actions leave them. */
  function replay(
    { config, events }: { config: FsmConfig; events: readonly Event[] },
    look: (at: {
      from: State;
      event: Event;
      to: State;
      actions: readonly Action[];
      timers: ReadonlySet<string>;
      connection: boolean;
    }) => void,
  ): void {
    let from = IDLE;
    let connection = false;
    const timers = new Set<string>();
    for (const event of events) {
      if (event.on === 'connected' && (from.is === 'Connect' || from.is === 'Active')) connection = true;
      const [to, actions] = step(config, from, event);
      for (const action of actions) {
        if (action.do === 'arm') timers.add(action.timer);
        if (action.do === 'disarm') timers.delete(action.timer);
        if (action.do === 'connect') connection = true;
        if (action.do === 'close') connection = false;
      }
      look({ from, event, to, actions, timers, connection });
      from = to;
    }
  }
  const law = (check: Parameters<typeof replay>[1]) =>
    fc.assert(
      fc.property(history, (run) => replay(run, check)),
      { numRuns: 500 },
    );

  it('has neither timer nor connection in Idle', () => {
    law(({ to, timers, connection }) => {
      if (to.is === 'Idle') expect([timers.size, connection]).to.deep.equal([0, false]);
    });
  });

  it('runs in each state only the timers that belong to it', () => {
    const allowed: Readonly<Record<StateName, readonly string[]>> = {
      Idle: [],
      Connect: ['connectRetry'],
      Active: ['connectRetry'],
      OpenSent: ['hold'],
      OpenConfirm: ['hold', 'keepalive'],
      Established: ['hold', 'keepalive', 'sendHold'],
    };
    law(({ to, timers }) => expect(allowed[to.is]).to.include.members([...timers]));
  });

  it('guards every state that waits for the peer by a timer, unless nobody counts in a session', () => {
    law(({ to, timers }) => {
      if (to.is === 'Connect') expect(timers).to.include('connectRetry');
      if (to.is === 'OpenSent') expect(timers).to.include('hold');
      if (!('agreed' in to)) return;
      const counted = to.agreed.holdTimeSeconds > 0;
      expect([timers.has('hold'), timers.has('keepalive')]).to.deep.equal([
        counted || to.is === 'OpenConfirm',
        counted,
      ]);
    });
  });

  it('is Established only through OpenConfirm, and says so each time', () => {
    law(({ from, to, actions }) => {
      const enters = to.is === 'Established' && from.is !== 'Established';
      if (enters) expect(from.is).to.equal('OpenConfirm');
      expect(actions.some((action) => action.do === 'up')).to.equal(enters);
    });
  });

  it('comes up at most once between two ends', () => {
    let up = false;
    fc.assert(
      fc.property(history, (run) => {
        up = false;
        replay(run, ({ actions }) => {
          for (const action of actions) {
            if (action.do === 'up') {
              expect(up).to.equal(false);
              up = true;
            }
            if (action.do === 'down') up = false;
          }
        });
      }),
      { numRuns: 500 },
    );
  });

  it('tells of an end once for each connection or attempt that it gives up, and never otherwise', () => {
    law(({ from, to, actions }) => {
      const ends = actions.filter((action) => action.do === 'down').length;
      const gaveUp = from.is !== 'Idle' && (to.is === 'Idle' || (from.is === 'OpenSent' && to.is === 'Active'));
      expect(ends).to.equal(gaveUp ? 1 : 0);
    });
  });

  it('ignores a start wherever it has started', () => {
    law(({ from, event, to, actions }) => {
      if (event.on === 'start' && from.is !== 'Idle') expect([to, actions]).to.deep.equal([from, []]);
    });
  });

  it('dials only when it is told to start or to try again, and never as a passive one', () => {
    law(({ event, actions }) => {
      if (!actions.some((action) => action.do === 'connect')) return;
      expect(event.on).to.be.oneOf(['start', 'connect-retry-expires']);
    });
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
        // Its ConnectRetryTimer is never armed, so it never expires.
        const possible = events.filter(({ on }) => on !== 'connect-retry-expires');
        replay({ config: passive, events: possible }, ({ actions }) => {
          expect(actions.map((action) => action.do)).to.not.include('connect');
          expect(actions.some((action) => action.do === 'arm' && action.timer === 'connectRetry')).to.equal(false);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('answers every accepted OPEN by exactly one KEEPALIVE', () => {
    law(({ from, to, actions }) => {
      if (from.is !== 'OpenSent' || to.is !== 'OpenConfirm') return;
      expect(actions.filter((action) => action.do === 'send')).to.deep.equal([{ do: 'send', message: 'keepalive' }]);
    });
  });

  it('never answers a NOTIFICATION by a NOTIFICATION, and closes after each that it sends', () => {
    law(({ event, actions }) => {
      const says = actions.findIndex((action) => action.do === 'notify');
      if (event.on === 'notification' || event.on === 'version-notification') expect(says).to.equal(-1);
      if (says >= 0) expect(actions.slice(says).some((action) => action.do === 'close')).to.equal(true);
    });
  });

  it('delivers routes in Established only', () => {
    law(({ from, actions }) => {
      if (actions.some((action) => action.do === 'deliver' || action.do === 'refresh')) {
        expect(from.is).to.equal('Established');
      }
    });
  });
});
