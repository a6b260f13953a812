// UPDATE: vectors, and each kind of damage with what RFC 7606 makes of it.

import { expect } from 'chai';
import { Reader } from '../../../src/lib/bytes.ts';
import type { AttributeContext } from '../../../src/bgp/attribute.ts';
import { encodeMessage } from '../../../src/bgp/message.ts';
import { NO_NLRI, prefixes } from '../../../src/bgp/nlri.ts';
import { ProtocolError } from '../../../src/bgp/notification.ts';
import { learnRoutes, type ReceivedRoute } from '../../../src/bgp/table.ts';
import { decodeUpdate, endOfRib, endOfRibFamily, reachability } from '../../../src/bgp/update.ts';
import { nlriOf } from '../../support/bgp-arbitraries.ts';

const external: AttributeContext = { as4: true, internal: false, families: [4, 6] };
const internal: AttributeContext = { ...external, internal: true };
const twoOctet: AttributeContext = { ...external, as4: false };

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.replace(/\/\/.*$/gm, '').match(/[0-9a-f]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const u16 = (n: number) => n.toString(16).padStart(4, '0');
const size = (hex: string) => bytes(hex).length;

/** Body of an UPDATE with these attributes, each given as hex. */
function body(attributes: readonly string[], announced = '', withdrawn = ''): Uint8Array {
  const all = attributes.join(' ');
  return bytes(`${u16(size(withdrawn))} ${withdrawn} ${u16(size(all))} ${all} ${announced}`);
}

const ORIGIN = '40 01 01 00';
const AS_PATH = '40 02 06 02 01 00 00 fc 58';
const NEXT_HOP = '40 03 04 c0 00 02 09';
const MED = '80 04 04 00 00 00 64';
const GOOD = [ORIGIN, AS_PATH, NEXT_HOP, MED];
const PREFIX = '20 cb 00 71 01';
const PREFIX6 = '80 2001 0db8 0000 0000 0000 0000 0000 0001';
const MP_REACH = `80 0e 26 00 02 01 10 2001 0db8 0000 0000 0000 0000 0000 0009 00 ${PREFIX6}`;

const EMPTY_REACH = '80 0e 15 00 02 01 10 2001 0db8 0000 0000 0000 0000 0000 0009 00';

/** `kept`, `withdrawn`, `3/1` …, with the attributes that are left. */
function treatment(update: Uint8Array, context = external): string {
  try {
    const decoded = decodeUpdate(new Reader(update), context);
    const { announced } = reachability(decoded);
    const kept = announced.reduce((sum, { nlri }) => sum + nlri.count, 0) > 0;
    return `${kept ? 'kept' : 'withdrawn'}: ${Object.keys(decoded.attributes).join(' ')}`;
  } catch (thrown) {
    if (!(thrown instanceof ProtocolError)) throw thrown;
    return `${thrown.notification.code}/${thrown.notification.subcode}`;
  }
}

describe('bgp/update: vectors', () => {
  it('writes an IPv4 route octet by octet', () => {
    const update = encodeMessage(
      {
        is: 'update',
        update: {
          withdrawn: NO_NLRI,
          attributes: {
            origin: 'igp',
            asPath: [{ is: 'sequence', as: [64600] }],
            nextHop: '192.0.2.9',
            med: 100,
            communities: [0xfc580001],
          },
          announced: nlriOf(4, [{ address: '203.0.113.1', length: 32 }]),
        },
      },
      external,
    );
    expect(update).to.deep.equal(
      bytes(`
        ${'ff'.repeat(16)} 00 3e 02   // 62 octets, UPDATE
        00 00                         // nothing withdrawn
        00 22                         // attributes: 34 octets
        40 01 01 00                   // ORIGIN IGP
        40 02 06 02 01 00 00 fc 58    // AS_PATH: one sequence of one AS, 64600
        40 03 04 c0 00 02 09          // NEXT_HOP 192.0.2.9
        80 04 04 00 00 00 64          // MULTI_EXIT_DISC 100
        c0 08 04 fc 58 00 01          // COMMUNITIES 64600:1
        20 cb 00 71 01                // 203.0.113.1/32
      `),
    );
  });

  it('writes an IPv6 route with MP_REACH_NLRI first and no NEXT_HOP', () => {
    const update = encodeMessage(
      {
        is: 'update',
        update: {
          withdrawn: NO_NLRI,
          attributes: {
            origin: 'igp',
            asPath: [],
            localPref: 100,
            mpReach: {
              nextHop: '2001:db8::9',
              linkLocal: null,
              nlri: nlriOf(6, [{ address: '2001:db8::1', length: 128 }]),
            },
          },
          announced: NO_NLRI,
        },
      },
      internal,
    );
    expect(update.subarray(19)).to.deep.equal(
      bytes(`
        00 00
        00 38                                         // attributes: 56 octets
        90 0e 00 26                                   // MP_REACH_NLRI, extended length: 38
        00 02 01 10                                   // IPv6 unicast, next hop of 16 octets
        20010db8 00000000 00000000 00000009 00        // 2001:db8::9, reserved
        80 20010db8 00000000 00000000 00000001        // 2001:db8::1/128
        40 01 01 00                                   // ORIGIN IGP
        40 02 00                                      // AS_PATH, empty
        40 05 04 00 00 00 64                          // LOCAL_PREF 100
      `),
    );
  });

  it('writes and recognises End-of-RIB of both families', () => {
    const whole = (family: 4 | 6) => encodeMessage({ is: 'update', update: endOfRib(family) });
    expect(whole(4).subarray(16)).to.deep.equal(bytes('00 17 02 00 00 00 00'));
    expect(whole(6).subarray(16)).to.deep.equal(bytes('00 1e 02 00 00 00 07 90 0f 00 03 00 02 01'));
    for (const family of [4, 6] as const) {
      expect(endOfRibFamily(decodeUpdate(new Reader(whole(family).subarray(19)), external))).to.equal(family);
    }
    expect(endOfRibFamily(decodeUpdate(new Reader(body([], '', PREFIX)), external))).to.equal(null);
  });

  it('reads prefixes of any length and clears the bits beyond it', () => {
    const update = decodeUpdate(new Reader(body([], '', '00 0a cb ff 1b c0 00 02 ff 20 cb 00 71 01')), external);
    expect([...prefixes(update.withdrawn)]).to.deep.equal([
      { address: '0.0.0.0', length: 0 },
      { address: '203.192.0.0', length: 10 },
      { address: '192.0.2.224', length: 27 },
      { address: '203.0.113.1', length: 32 },
    ]);
  });
});

describe('bgp/update: damage and its treatment (RFC 7606)', () => {
  const swap = (bad: string, good: string) => GOOD.map((attribute) => (attribute === good ? bad : attribute));
  const all = 'origin asPath nextHop med';
  const cases: readonly [string, Uint8Array, string, AttributeContext?][] = [
    ['nothing wrong', body(GOOD, PREFIX), `kept: ${all}`],
    // §7.1
    ['ORIGIN 3', body(swap('40 01 01 03', ORIGIN), PREFIX), 'withdrawn: asPath nextHop med'],
    ['ORIGIN of two octets', body(swap('40 01 02 00 00', ORIGIN), PREFIX), 'withdrawn: asPath nextHop med'],
    ['ORIGIN of no octets', body(swap('40 01 00', ORIGIN), PREFIX), 'withdrawn: asPath nextHop med'],
    // §3 (c)
    ['ORIGIN with the optional flag', body(swap('c0 01 01 00', ORIGIN), PREFIX), 'withdrawn: asPath nextHop med'],
    ['a partial flag that does not belong', body(swap('60 01 01 00', ORIGIN), PREFIX), `kept: ${all}`],
    // §7.2
    [
      'AS_PATH of an unknown segment',
      body(swap('40 02 06 05 01 00 00 fc 58', AS_PATH), PREFIX),
      'withdrawn: origin nextHop med',
    ],
    ['AS_PATH with an empty segment', body(swap('40 02 02 02 00', AS_PATH), PREFIX), 'withdrawn: origin nextHop med'],
    [
      'AS_PATH that overruns',
      body(swap('40 02 06 02 02 00 00 fc 58', AS_PATH), PREFIX),
      'withdrawn: origin nextHop med',
    ],
    [
      'AS_PATH with one octet left over',
      body(swap('40 02 07 02 01 00 00 fc 58 02', AS_PATH), PREFIX),
      'withdrawn: origin nextHop med',
    ],
    // §7.3
    ['NEXT_HOP of 5 octets', body(swap('40 03 05 c0 00 02 09 00', NEXT_HOP), PREFIX), 'withdrawn: origin asPath med'],
    // §7.4
    ['MULTI_EXIT_DISC of 3 octets', body(swap('80 04 03 00 00 64', MED), PREFIX), 'withdrawn: origin asPath nextHop'],
    // §7.5
    ['LOCAL_PREF from another AS', body([...GOOD, '40 05 04 00 00 00 64'], PREFIX), `kept: ${all}`],
    ['LOCAL_PREF of 3 octets from another AS', body([...GOOD, '40 05 03 00 00 64'], PREFIX), `kept: ${all}`],
    ['LOCAL_PREF of 3 octets from our AS', body([...GOOD, '40 05 03 00 00 64'], PREFIX), `withdrawn: ${all}`, internal],
    // §7.6, §7.7
    ['ATOMIC_AGGREGATE with a value', body([...GOOD, '40 06 01 00'], PREFIX), `kept: ${all}`],
    [
      'AGGREGATOR of 6 octets between four-octet speakers',
      body([...GOOD, 'c0 07 06 fc 58 c0 00 02 01'], PREFIX),
      `kept: ${all}`,
    ],
    // §7.8
    ['COMMUNITIES of 5 octets', body([...GOOD, 'c0 08 05 00 00 00 00 00'], PREFIX), `withdrawn: ${all}`],
    ['COMMUNITIES of no octets', body([...GOOD, 'c0 08 00'], PREFIX), `withdrawn: ${all}`],
    // RFC 8092 §6
    ['LARGE_COMMUNITY of 13 octets', body([...GOOD, `c0 20 0d ${'00'.repeat(13)}`], PREFIX), `withdrawn: ${all}`],
    // RFC 6793 §4.1, §6
    ['AS4_PATH between four-octet speakers', body([...GOOD, 'c0 11 06 02 01 00 01 11 70'], PREFIX), `kept: ${all}`],
    [
      'AS4_PATH that overruns',
      body([ORIGIN, '40 02 04 02 01 fc 58', NEXT_HOP, 'c0 11 06 02 02 00 01 11 70'], PREFIX),
      'kept: origin asPath nextHop',
      twoOctet,
    ],
    // §3 (d)
    ['no ORIGIN', body(GOOD.slice(1), PREFIX), 'withdrawn: asPath nextHop med'],
    ['no NEXT_HOP', body([ORIGIN, AS_PATH, MED], PREFIX), 'withdrawn: origin asPath med'],
    ['no NEXT_HOP, where MP_REACH_NLRI brings one', body([ORIGIN, AS_PATH, MP_REACH]), 'kept: origin asPath mpReach'],
    // §3 (g)
    ['two of the same', body([...GOOD, MED], PREFIX), `kept: ${all}`],
    ['two MP_REACH_NLRI', body([MP_REACH, ORIGIN, AS_PATH, MP_REACH]), '3/1'],
    // §4
    ['an attribute that overruns the field', body([...GOOD, 'c0 08 08 00 00 00 00'], PREFIX), `withdrawn: ${all}`],
    ['two octets at the end of the field', body([...GOOD, 'c0 08'], PREFIX), `withdrawn: ${all}`],
    ['MP_REACH_NLRI that overruns the field', body([...GOOD, '80 0e 26 00 02 01'], PREFIX), '3/9'],
    // §5.2
    ['a bad attribute without any prefix', body(['40 01 01 03', AS_PATH, NEXT_HOP]), '3/1'],
    ['an attribute to discard without any prefix', body([ORIGIN, '40 06 01 00']), 'withdrawn: origin'],
    // §5.3
    ['a prefix of 33 bits', body(GOOD, '21 cb 00 71 01 00'), '3/10'],
    ['a prefix that is cut off', body(GOOD, '20 cb 00 71'), '3/10'],
    ['a withdrawn prefix of 33 bits', body([], '', '21 cb 00 71 01 00'), '3/10'],
    [
      'an IPv6 prefix of 129 bits',
      body([MP_REACH.replace(/80 2001(?!.*80 2001)/, '81 2001'), ORIGIN, AS_PATH]),
      '3/10',
    ],
    // §7.11
    [
      'MP_REACH_NLRI with a next hop of 15 octets',
      body([`80 0e 14 00 02 01 0f ${'11'.repeat(15)} 00`, ORIGIN, AS_PATH]),
      '3/9',
    ],
    ['MP_REACH_NLRI too short for a family', body(['80 0e 02 00 02', ORIGIN, AS_PATH]), '3/9'],
    // §3 (c): with wrong flags its prefixes can still be found.
    [
      'MP_REACH_NLRI with wrong flags',
      body([MP_REACH.replace('80', 'c0'), ORIGIN, AS_PATH]),
      'withdrawn: mpReach origin asPath',
    ],
    ['MP_UNREACH_NLRI with wrong flags', body(['c0 0f 03 00 02 01']), 'withdrawn: mpUnreach'],
    ['MP_UNREACH_NLRI with wrong flags among others', body(['c0 0f 03 00 02 01', MED]), '3/1'],
    // §5.2
    ['MP_REACH_NLRI without a prefix', body([EMPTY_REACH]), 'withdrawn: mpReach'],
    ['a bad attribute beside MP_REACH_NLRI without a prefix', body([EMPTY_REACH, '40 01 01 03']), '3/1'],
    [
      'a bad attribute beside prefixes of a family that was not negotiated',
      body([MP_REACH, '40 01 01 03', AS_PATH]),
      'withdrawn: foreignReach asPath',
      { ...external, families: [4] },
    ],
    // §7.9, §7.10
    ['ORIGINATOR_ID of 3 octets from another AS', body([...GOOD, '80 09 03 00 00 01'], PREFIX), `kept: ${all}`],
    [
      'ORIGINATOR_ID of 3 octets from our AS',
      body([...GOOD, '80 09 03 00 00 01'], PREFIX),
      `withdrawn: ${all}`,
      internal,
    ],
    ['CLUSTER_LIST of no octets from our AS', body([...GOOD, '80 0a 00'], PREFIX), `withdrawn: ${all}`, internal],
    [
      'CLUSTER_LIST from our AS',
      body([...GOOD, '80 09 04 c0 00 02 01', '80 0a 08 c0 00 02 01 c0 00 02 02'], PREFIX),
      `kept: ${all} originatorId clusterList`,
      internal,
    ],
    // RFC 6793 §6
    [
      'AS4_PATH of no octets',
      body([ORIGIN, '40 02 04 02 01 fc 58', NEXT_HOP, 'c0 11 00'], PREFIX),
      'kept: origin asPath nextHop',
      twoOctet,
    ],
    // RFC 4760 §8
    [
      'a family that was not negotiated',
      body([MP_REACH, ORIGIN, AS_PATH]),
      'withdrawn: foreignReach origin asPath',
      { ...external, families: [4] },
    ],
    [
      'a family that nobody knows',
      body(['80 0e 09 40 04 47 04 c0 00 02 01 00', ORIGIN, AS_PATH]),
      'withdrawn: origin asPath',
    ],
    // RFC 4271 §6.3
    ['withdrawn routes longer than the message', bytes('00 09 20 cb 00 71 01'), '3/1'],
    ['attributes longer than the message', bytes('00 00 00 09 40 01 01 00'), '3/1'],
    ['an unknown well-known attribute', body([...GOOD, '40 63 01 00'], PREFIX), '3/2'],
    ['an unknown optional attribute', body([...GOOD, 'c0 63 01 00'], PREFIX), `kept: ${all} unknown`],
  ];
  for (const [what, update, expected, context] of cases) {
    it(`${what}: ${expected}`, () => expect(treatment(update, context)).to.equal(expected));
  }
});

describe('bgp/table: what a stand-in keeps', () => {
  const learn = (table: Map<string, ReceivedRoute>, update: Uint8Array, context = external) =>
    learnRoutes(table, 'cr1', decodeUpdate(new Reader(update), context));

  it('follows announcements, changes and withdrawals of both families', () => {
    const table = new Map<string, ReceivedRoute>();
    expect(learn(table, body(GOOD, `${PREFIX} 18 c6 33 64`))).to.equal(true);
    expect(learn(table, body([MP_REACH, ORIGIN, AS_PATH]))).to.equal(true);
    const route = { peer: 'cr1', nextHop: '192.0.2.9', asPath: [64600], med: 100, localPref: null, communities: [] };
    expect(Object.fromEntries(table)).to.deep.equal({
      '203.0.113.1': route,
      '198.51.100.0/24': route,
      '2001:db8::1': { ...route, nextHop: '2001:db8::9', med: null },
    });
    expect(learn(table, body([], '', PREFIX))).to.equal(true);
    expect(learn(table, body([`80 0f 14 00 02 01 ${PREFIX6}`]))).to.equal(true);
    expect([...table.keys()]).to.deep.equal(['198.51.100.0/24']);
    expect(learn(table, body([], '', PREFIX))).to.equal(false);
  });

  it('loses the routes of an UPDATE that is treated as withdrawn', () => {
    const table = new Map<string, ReceivedRoute>();
    learn(table, body(GOOD, PREFIX));
    learn(table, body(['40 01 01 03', AS_PATH, NEXT_HOP], PREFIX));
    expect(table.size).to.equal(0);
  });

  it('puts together the path of a two-octet peer', () => {
    const table = new Map<string, ReceivedRoute>();
    // 64500, AS_TRANS beside 70000: the first comes from AS_PATH, the last from AS4_PATH.
    learn(
      table,
      body([ORIGIN, '40 02 06 02 02 fb f4 5b a0', NEXT_HOP, 'c0 11 06 02 01 00 01 11 70'], PREFIX),
      twoOctet,
    );
    expect(table.get('203.0.113.1')?.asPath).to.deep.equal([64500, 70000]);
  });
});
