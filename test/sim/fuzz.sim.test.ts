// Decoders against hostile bytes: whatever comes, they answer with a value or with their one typed error. Seeded, so
// that a failure is the same for everybody.

import { expect } from 'chai';
import fc from 'fast-check';
import { Truncated } from '../../src/lib/bytes.ts';
import { encodeMessage, type Frame, notificationOf, openOf, refreshOf, updateOf } from '../../src/bgp/message.ts';
import { MESSAGE } from '../../src/bgp/constants.ts';
import { describeNotification, ProtocolError } from '../../src/bgp/notification.ts';
import { prefixes } from '../../src/bgp/nlri.ts';
import { negotiate } from '../../src/bgp/open.ts';
import { Splitter } from '../../src/bgp/splitter.ts';
import { learnRoutes } from '../../src/bgp/table.ts';
import { fuzzDecoders, type Outcomes } from '../fuzz/bgp-decoders.ts';
import { fuzzLive } from '../fuzz/bgp-live.ts';
import { message } from '../support/bgp-arbitraries.ts';

const local = { as: 64600, routerId: '192.0.2.9', holdTimeSeconds: 9, families: [4, 6] as const, peerAs: null };

/** Everything that a session does with received bytes. Throws what is not the typed error. */
function digest(stream: Uint8Array): 'read' | 'refused' {
  try {
    for (const frame of new Splitter().push(stream)) digestFrame(frame);
    return 'read';
  } catch (thrown) {
    if (!(thrown instanceof ProtocolError)) throw thrown;
    expect([1, 2, 3, 7]).to.include(thrown.notification.code);
    return 'refused';
  }
}

function digestFrame(frame: Frame): void {
  if (frame.type === MESSAGE.open) negotiate(local, openOf(frame));
  if (frame.type === MESSAGE.notification)
    expect(describeNotification(notificationOf(frame))).to.match(/^[^\p{Cc}]+$/u);
  if (frame.type === MESSAGE.routeRefresh) refreshOf(frame);
  if (frame.type !== MESSAGE.update) return;
  for (const as4 of [true, false]) {
    const update = updateOf(frame, { as4, internal: as4, families: [4, 6] });
    let count = 0;
    for (const _ of prefixes(update.announced)) count++;
    expect(count).to.equal(update.announced.count);
    learnRoutes(new Map(), 'peer', update);
  }
}

/** Header around a body of the given type, so that the body is reached. */
function wrap(type: number, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(19 + body.length).fill(0xff, 0, 16);
  whole[16] = whole.length >> 8;
  whole[17] = whole.length & 0xff;
  whole[18] = type;
  whole.set(body, 19);
  return whole;
}

describe('bgp: hostile bytes', () => {
  const runs = { seed: 4271, numRuns: 3000 };

  it('reads or refuses random bodies of every type', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.uint8Array({ maxLength: 120, size: 'max' }), (type, body) => {
        seen.add(`${type} ${digest(wrap(type, body))}`);
      }),
      runs,
    );
    expect(seen).to.include.members(['1 refused', '2 refused', '3 read', '4 refused', '4 read', '5 refused']);
  });

  it('reads or refuses messages with some octets changed, cut or inserted', () => {
    const seen = new Set<string>();
    const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255), fc.nat(2)), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(message, edits, (original, changes) => {
        const octets = [...encodeMessage(original).subarray(19)];
        for (const [place, value, kind] of changes) {
          const at = Math.floor(place * octets.length);
          if (kind === 0) octets[at] = value;
          else if (kind === 1) octets.splice(at, 1);
          else octets.splice(at, 0, value);
        }
        const type = encodeMessage(original)[18] ?? 0;
        seen.add(digest(wrap(type, Uint8Array.from(octets.slice(0, 4000)))));
      }),
      runs,
    );
    expect(seen).to.include.members(['read', 'refused']);
  });

  it('reads or refuses any stream of octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), (stream) => void digest(stream)),
      { ...runs, numRuns: 500 },
    );
  });

  it('does with 20,000 messages of `npm run fuzz:bgp` what the RFCs say', () => {
    const outcomes: Outcomes = new Map();
    fuzzDecoders(7606, 0, 20_000, outcomes);
    expect([...outcomes.keys()]).to.include.members([
      '1/1',
      '1/2',
      '1/3',
      'OPEN agreed',
      'OPEN 2/0',
      'OPEN 2/1',
      'OPEN 2/2',
      'OPEN 2/4',
      'OPEN 2/6',
      'UPDATE fine',
      'UPDATE discard',
      'UPDATE treat-as-withdraw',
      'UPDATE reset 3/1',
      'UPDATE reset 3/2',
      'UPDATE reset 3/9',
      'UPDATE reset 3/10',
      'NOTIFICATION',
      'KEEPALIVE',
      'ROUTE-REFRESH',
    ]);
  });

  it('keeps a session alive, or ends it, as the RFCs say for each of 2,000 messages', async () => {
    const net = `127.${128 + ((process.pid >> 14) & 63)}.${(process.pid >> 6) & 255}`;
    const host = (process.pid & 63) * 2;
    const { sessions, forgiven } = await fuzzLive(7606, 2_000, `${net}.${host}`, `${net}.${host + 1}`);
    expect(sessions).to.be.above(5);
    expect(forgiven).to.be.above(500);
  }).timeout(20_000);

  it('lets a bug through: what is not the typed error is not swallowed here', () => {
    expect(() => notificationOf({ type: 3, body: new Uint8Array(1) })).to.throw(Truncated);
  });
});
