// Bytes and values: hand-made vectors, round trips, and what a bad OPEN or header is answered with.

import { expect } from 'chai';
import fc from 'fast-check';
import { Reader } from '../../../src/lib/bytes.ts';
import {
  encodeMessage,
  type Frame,
  type Message,
  notificationOf,
  openOf,
  refreshOf,
  updateOf,
} from '../../../src/bgp/message.ts';
import { MESSAGE } from '../../../src/bgp/constants.ts';
import { type ErrorName, notification, ProtocolError } from '../../../src/bgp/notification.ts';
import { decodeOpen, localOpen, type LocalOpen, negotiate } from '../../../src/bgp/open.ts';
import { Splitter } from '../../../src/bgp/splitter.ts';
import { message as anyMessage, open as anyOpen } from '../../support/bgp-arbitraries.ts';
import { negotiated } from '../../support/negotiated.ts';

const context = { as4: true, internal: true, families: [4, 6] as const };

export function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.replace(/\/\/.*$/gm, '').match(/[0-9a-f]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function frameOf(whole: Uint8Array): Frame {
  const [frame, ...others] = new Splitter().push(whole);
  if (frame === undefined || others.length > 0) throw new Error('not one message');
  return frame;
}

/** Bodies are views, good until the next frame; these values are kept longer. */
function decode({ type, body }: Frame): Message {
  const frame = { type, body: body.slice() };
  switch (frame.type) {
    case MESSAGE.open:
      return { is: 'open', open: openOf(frame) };
    case MESSAGE.update: {
      const { problems, ...update } = updateOf(frame, context);
      expect(problems).to.deep.equal([]);
      return { is: 'update', update };
    }
    case MESSAGE.notification:
      return { is: 'notification', notification: notificationOf(frame) };
    case MESSAGE.keepalive:
      return { is: 'keepalive' };
    default: {
      const refresh = refreshOf(frame);
      if (refresh === null) throw new Error('no family');
      return { is: 'route-refresh', ...refresh };
    }
  }
}

/** The NOTIFICATION that reading these bytes as a stream ends in. */
function refusal(read: () => unknown): string {
  try {
    read();
  } catch (thrown) {
    if (!(thrown instanceof ProtocolError)) throw thrown;
    const { code, subcode, data } = thrown.notification;
    return `${code}/${subcode}${data.length === 0 ? '' : ` [${data.join(' ')}]`}`;
  }
  return 'accepted';
}

const MARKER = 'ff'.repeat(16);

describe('bgp/message: vectors', () => {
  it("writes and reads PyBal's OPEN for AS 64600, octet by octet", () => {
    const open = {
      as: 64600,
      holdTimeSeconds: 180,
      routerId: '127.127.127.127',
      capabilities: [
        { is: 'multiprotocol' as const, afi: 1, safi: 1 },
        { is: 'multiprotocol' as const, afi: 2, safi: 1 },
      ],
    };
    const octets = bytes(`
      ${MARKER}          // marker
      00 2b              // length: 43
      01                 // OPEN
      04                 // version
      fc 58              // AS 64600
      00 b4              // hold time 180
      7f 7f 7f 7f        // BGP identifier
      0e                 // optional parameters: 14 octets
      02 0c              // capabilities, 12 octets
      01 04 00 01 00 01  // multiprotocol: IPv4 unicast
      01 04 00 02 00 01  // multiprotocol: IPv6 unicast
    `);
    expect(encodeMessage({ is: 'open', open })).to.deep.equal(octets);
    expect(openOf(frameOf(octets))).to.deep.equal(open);
  });

  it('reads capabilities that come in a parameter each', () => {
    const open = bytes(`
      04 fc 58 00 b4 7f 7f 7f 7f
      0a              // optional parameters: 10 octets
      02 02 02 00     // capabilities, 2 octets: route refresh
      02 04 80 02 ca fe // capabilities, 4 octets: one that nobody knows
    `);
    expect(decodeOpen(new Reader(open)).capabilities).to.deep.equal([
      { is: 'route-refresh' },
      { is: 'unknown', code: 128, data: bytes('ca fe') },
    ]);
  });

  it('writes KEEPALIVE, ROUTE-REFRESH and NOTIFICATION', () => {
    expect(encodeMessage({ is: 'keepalive' })).to.deep.equal(bytes(`${MARKER} 00 13 04`));
    expect(encodeMessage({ is: 'route-refresh', family: 6 })).to.deep.equal(bytes(`${MARKER} 00 17 05 00 02 00 01`));
    const said = { code: 3, subcode: 11, data: bytes('61 62 63') };
    expect(encodeMessage({ is: 'notification', notification: said })).to.deep.equal(
      bytes(`${MARKER} 00 18 03 03 0b 61 62 63`),
    );
  });

  it('reads the extended form of optional parameters whatever its one-octet length says', () => {
    for (const shortLength of ['ff', '0d']) {
      const open = bytes(`
        04 fc 58 00 5a c0 00 02 01
        ${shortLength}          // not looked at
        ff                      // extended form
        00 09                   // optional parameters: 9 octets
        02 00 06                // capabilities, 6 octets
        41 04 00 00 fd e8       // four-octet AS 65000
      `);
      expect(decodeOpen(new Reader(open)).capabilities).to.deep.equal([{ is: 'as4', as: 65000 }]);
    }
  });
});

describe('bgp/message: round trips', () => {
  it('reads back every message that it writes', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const whole = encodeMessage(message, context);
        // A header cannot say more than 4096; nothing that long is ever made outside of this test.
        fc.pre(whole.length <= 4096);
        expect(decode(frameOf(whole))).to.deep.equal(message);
      }),
      { numRuns: 400 },
    );
  });

  it('reads back an OPEN whose parameters only fit the extended form', () => {
    const capability = (code: number) => ({ is: 'unknown' as const, code, data: new Uint8Array(60).fill(code) });
    const open = { ...smallOpen, capabilities: [130, 131, 132, 133, 134].map(capability) };
    const whole = encodeMessage({ is: 'open', open });
    expect([whole[28], whole[29]]).to.deep.equal([255, 255]);
    expect(openOf(frameOf(whole))).to.deep.equal(open);
  });
});

const smallOpen = { as: 64500, holdTimeSeconds: 90, routerId: '192.0.2.1', capabilities: [] };

describe('bgp/splitter', () => {
  const messages: readonly Message[] = [
    { is: 'open', open: smallOpen },
    { is: 'keepalive' },
    { is: 'notification', notification: notification('ceaseReset') },
    { is: 'route-refresh', family: 4, subtype: 'request' },
    { is: 'keepalive' },
  ];
  const stream = Uint8Array.from(messages.flatMap((message) => [...encodeMessage(message)]));
  const read = (chunks: readonly Uint8Array[]) => {
    const splitter = new Splitter();
    const seen: Message[] = [];
    for (const chunk of chunks) for (const frame of splitter.push(chunk)) seen.push(decode(frame));
    return seen;
  };

  it('gives the same messages wherever the stream is cut in two', () => {
    for (let at = 0; at <= stream.length; at++) {
      expect(read([stream.subarray(0, at), stream.subarray(at)]), `cut at ${at}`).to.deep.equal(messages);
    }
  });

  it('gives the same messages octet by octet', () => {
    expect(read(Array.from(stream, (octet) => Uint8Array.of(octet)))).to.deep.equal(messages);
  });

  it('gives the same messages under random cuts', () => {
    const anyCuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(fc.array(anyMessage, { minLength: 1, maxLength: 5 }), anyCuts, (sent, sizes) => {
        const parts = sent.map((message) => encodeMessage(message, context));
        fc.pre(parts.every((part) => part.length <= 4096));
        const whole = Uint8Array.from(parts.flatMap((part) => [...part]));
        const chunks: Uint8Array[] = [];
        for (let at = 0, i = 0; at < whole.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          chunks.push(whole.subarray(at, at + size));
          at += size;
        }
        expect(read(chunks)).to.deep.equal(sent);
      }),
      { numRuns: 100 },
    );
  });

  const header = (length: string, type: string, marker = MARKER) => bytes(`${marker} ${length} ${type}`);
  const bad: readonly [string, Uint8Array, string][] = [
    ['a marker with one wrong bit', header('00 13', '04', `fe${'ff'.repeat(15)}`), '1/1'],
    ['a length below the header', header('00 12', '04'), '1/2 [0 18]'],
    ['a length above 4096', header('10 01', '02'), '1/2 [16 1]'],
    ['a KEEPALIVE with a body', header('00 14', '04'), '1/2 [0 20]'],
    ['an OPEN too short for its fields', header('00 1c', '01'), '1/2 [0 28]'],
    ['an UPDATE too short for its lengths', header('00 16', '02'), '1/2 [0 22]'],
    ['a NOTIFICATION without subcode', header('00 14', '03'), '1/2 [0 20]'],
    ['type 0', header('00 13', '00'), '1/3 [0]'],
    ['type 6', header('00 13', '06'), '1/3 [6]'],
  ];
  for (const [what, whole, answer] of bad) {
    it(`answers ${what} with ${answer}, at the header already, whole or in pieces`, () => {
      expect(refusal(() => [...new Splitter().push(whole)])).to.equal(answer);
      const splitter = new Splitter();
      expect(refusal(() => Array.from(whole, (octet) => [...splitter.push(Uint8Array.of(octet))]))).to.equal(answer);
    });
  }
});

describe('bgp/open: what is refused, and how', () => {
  const fixed = (version: string, rest = '00 5a c0 00 02 01') => `${version} fc 58 ${rest}`;
  const bad: readonly [string, string, string][] = [
    ['version 66', `${fixed('42')} 00`, '2/1 [0 4]'],
    ['three octets', '04 fc 58', '2/0'],
    ['parameters longer than the message', `${fixed('04')} 08 02 06 01 04 00 01 00`, '2/0'],
    ['parameters shorter than the message', `${fixed('04')} 02 02 00 00`, '2/0'],
    ['a parameter length of zero with parameters behind', `${fixed('04')} 00 02 00`, '2/0'],
    ['an unknown parameter', `${fixed('04')} 03 01 01 00`, '2/4'],
    ['a capability cut short', `${fixed('04')} 05 02 03 41 04 00`, '2/0'],
    ['a four-octet AS of three octets', `${fixed('04')} 07 02 05 41 03 00 00 01`, '2/0'],
    ['a multiprotocol capability of five octets', `${fixed('04')} 09 02 07 01 05 00 01 00 01 00`, '2/0'],
    ['an extended length that lies', `${fixed('04')} ff ff 00 09 02 00 01`, '2/0'],
  ];
  for (const [what, hex, answer] of bad) {
    it(`answers ${what} with ${answer}`, () => {
      expect(refusal(() => decodeOpen(new Reader(bytes(hex))))).to.equal(answer);
    });
  }
});

describe('bgp/open: negotiation', () => {
  const local: LocalOpen = {
    as: 4_200_000_001,
    routerId: '192.0.2.9',
    holdTimeSeconds: 30,
    families: [4, 6],
    peerAs: null,
  };
  const peer: LocalOpen = { as: 64500, routerId: '192.0.2.1', holdTimeSeconds: 90, families: [6], peerAs: null };

  it('writes AS_TRANS for a number that does not fit, and reads the number from the capability', () => {
    expect(localOpen(local).as).to.equal(23456);
    expect(negotiate(peer, localOpen(local))).to.include({ peerAs: 4_200_000_001, as4: true, internal: false });
  });

  it('takes the smaller hold time and the families that both have', () => {
    expect(negotiate(local, localOpen(peer))).to.deep.equal(
      negotiated({
        peerAs: 64500,
        peerId: '192.0.2.1',
        holdTimeSeconds: 30,
        families: [6],
        extendedMessages: true,
        enhancedRefresh: true,
        peerCapabilities: [
          'multiprotocol',
          'route-refresh',
          'extended-message',
          'graceful-restart',
          'as4',
          'enhanced-refresh',
        ],
      }),
    );
  });

  it('takes a peer without capabilities for one of IPv4 unicast and two octets', () => {
    const plain = { as: 64500, holdTimeSeconds: 9, routerId: '192.0.2.1', capabilities: [] };
    expect(negotiate(local, plain))
      .to.include({ as4: false, holdTimeSeconds: 9, extendedMessages: false, enhancedRefresh: false })
      .and.deep.include({ families: [4] });
  });

  it('comes to the same agreement on both sides, whatever they bring', () => {
    const side = (as: number, routerId: string) =>
      fc.record({
        as: fc.constant(as),
        routerId: fc.constant(routerId),
        holdTimeSeconds: fc.constantFrom(0, 3, 9, 180),
        families: fc.subarray([4, 6] as const, { minLength: 1 }),
        peerAs: fc.constant(null),
      });
    fc.assert(
      fc.property(side(64500, '192.0.2.1'), side(70000, '192.0.2.2'), (a, b) => {
        const [seenByA, seenByB] = [negotiate(a, localOpen(b)), negotiate(b, localOpen(a))];
        if ('refusal' in seenByA || 'refusal' in seenByB) throw new Error('refused');
        expect(seenByA.holdTimeSeconds).to.equal(seenByB.holdTimeSeconds);
        expect(seenByA.families).to.deep.equal(seenByB.families);
      }),
      { numRuns: 100 },
    );
  });

  const refusals: readonly [string, Partial<LocalOpen>, Partial<LocalOpen>, ErrorName][] = [
    ['AS 0', {}, { as: 0 }, 'openBadPeerAs'],
    ['another AS than configured', { peerAs: 64501 }, {}, 'openBadPeerAs'],
    ['identifier 0.0.0.0', {}, { routerId: '0.0.0.0' }, 'openBadRouterId'],
    ['our own identifier within our AS', {}, { as: local.as, routerId: local.routerId }, 'openBadRouterId'],
    ['a hold time of one second', {}, { holdTimeSeconds: 1 }, 'openBadHoldTime'],
    ['a hold time of two seconds', {}, { holdTimeSeconds: 2 }, 'openBadHoldTime'],
  ];
  for (const [what, ours, theirs, name] of refusals) {
    it(`refuses ${what}`, () => {
      expect(negotiate({ ...local, ...ours }, localOpen({ ...peer, ...theirs })))
        .to.include.keys('why')
        .and.to.deep.include({ refusal: notification(name) });
    });
  }

  it('agrees on what both offer, and on nothing with a peer that may hear of no capability', () => {
    const keeps = { gracefulRestart: { seconds: 30, restarted: true, forwarding: true } };
    const offers = { ...keeps, hostname: 'lb1.example.net', softwareVersion: 'anybal/0.1' };
    const both = { families: [4, 6] as const, offers };
    expect(negotiate({ ...local, ...both }, localOpen({ ...peer, ...both }))).to.deep.include({
      extendedNextHop: true,
      restartSeconds: 30,
      hardReset: true,
      peerRestarts: true,
      peerHostname: 'lb1.example.net',
      peerSoftware: 'anybal/0.1',
    });
    expect(negotiate({ ...local, ...both }, localOpen(peer)), 'the peer only helps').to.include({
      restartSeconds: 30,
      hardReset: false,
      peerRestarts: false,
    });
    const plain = { ...local, as: 64600, offers: { ...offers, none: true } };
    expect(localOpen(plain).capabilities).to.deep.equal([]);
    expect(negotiate(plain, localOpen({ ...peer, ...both }))).to.deep.include({
      families: [4],
      as4: false,
      extendedMessages: false,
      restartSeconds: 0,
    });
  });

  it('accepts our own identifier from another AS', () => {
    expect(negotiate(local, localOpen({ ...peer, routerId: local.routerId }))).to.not.have.property('refusal');
  });

  it('judges any well-formed OPEN without failing', () => {
    fc.assert(fc.property(anyOpen, (open) => void negotiate(local, open)));
  });
});
