// Generated BGP messages for property tests.

import fc from 'fast-check';
import { addressBytes, printAddress } from '../../src/lib/address.ts';
import { Writer } from '../../src/lib/bytes.ts';
import type { AsSegment, Attributes } from '../../src/bgp/attribute.ts';
import type { Capability } from '../../src/bgp/capability.ts';
import { addressBits } from '../../src/bgp/constants.ts';
import type { Message } from '../../src/bgp/message.ts';
import { encodePrefix, type Nlri } from '../../src/bgp/nlri.ts';
import type { Open } from '../../src/bgp/open.ts';
import type { Update } from '../../src/bgp/update.ts';

export const octets = (max: number) => fc.uint8Array({ maxLength: max });
export const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(printAddress);
export const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(printAddress);
const u32 = fc.integer({ min: 0, max: 0xffffffff });

export function nlriOf(
  family: 4 | 6,
  prefixes: readonly { readonly address: string; readonly length: number }[],
): Nlri {
  const writer = new Writer();
  for (const { address, length } of prefixes) encodePrefix(writer, addressBytes(address), length);
  return { family, bytes: writer.finish(), count: prefixes.length };
}

export const nlri = (family: 4 | 6): fc.Arbitrary<Nlri> =>
  fc
    .array(
      fc.record({ address: family === 4 ? ipv4 : ipv6, length: fc.integer({ min: 0, max: addressBits(family) }) }),
      {
        maxLength: 20,
      },
    )
    .map((prefixes) => nlriOf(family, prefixes));

export const capability: fc.Arbitrary<Capability> = fc.oneof(
  fc.record({
    is: fc.constant('multiprotocol' as const),
    afi: fc.integer({ min: 0, max: 0xffff }),
    safi: fc.integer({ min: 0, max: 255 }),
  }),
  fc.constant({ is: 'route-refresh' as const }),
  fc.record({ is: fc.constant('as4' as const), as: u32 }),
  fc.record({ is: fc.constant('unknown' as const), code: fc.integer({ min: 128, max: 255 }), data: octets(60) }),
);

export const open: fc.Arbitrary<Open> = fc.record({
  as: fc.integer({ min: 0, max: 0xffff }),
  holdTimeSeconds: fc.integer({ min: 0, max: 0xffff }),
  routerId: ipv4,
  capabilities: fc.array(capability, { maxLength: 12 }),
});

const segment: fc.Arbitrary<AsSegment> = fc.record({
  is: fc.constantFrom<AsSegment['is']>('set', 'sequence', 'confed-sequence', 'confed-set'),
  as: fc.array(u32, { minLength: 1, maxLength: 255 }),
});
const aggregator = fc.record({ as: u32, address: ipv4 });

/** Every attribute that an internal session with four-octet AS numbers may carry. */
export const attributes: fc.Arbitrary<Attributes> = fc.record(
  {
    origin: fc.constantFrom('igp' as const, 'egp' as const, 'incomplete' as const),
    asPath: fc.array(segment, { maxLength: 3 }),
    nextHop: ipv4,
    med: u32,
    localPref: u32,
    atomicAggregate: fc.constant(true as const),
    aggregator,
    communities: fc.array(u32, { minLength: 1, maxLength: 70 }),
    mpReach: fc.record({ nextHop: ipv6, linkLocal: fc.option(ipv6), nlri: nlri(6) }),
    mpUnreach: nlri(6),
    largeCommunities: fc.array(fc.tuple(u32, u32, u32), { minLength: 1, maxLength: 10 }),
    unknown: fc.uniqueArray(
      fc.record({
        code: fc.integer({ min: 100, max: 255 }),
        flags: fc.constantFrom(0x80, 0xc0, 0xe0),
        data: octets(20),
      }),
      { minLength: 1, maxLength: 3, selector: (one) => one.code },
    ),
  },
  { requiredKeys: ['origin', 'asPath', 'nextHop'] },
);

export const update: fc.Arbitrary<Update> = fc.record({ withdrawn: nlri(4), attributes, announced: nlri(4) });

export const message: fc.Arbitrary<Message> = fc.oneof(
  open.map((value): Message => ({ is: 'open', open: value })),
  update.map((value): Message => ({ is: 'update', update: value })),
  fc
    .record({ code: fc.integer({ min: 0, max: 255 }), subcode: fc.integer({ min: 0, max: 255 }), data: octets(40) })
    .map((value): Message => ({ is: 'notification', notification: value })),
  fc.constant<Message>({ is: 'keepalive' }),
  fc
    .record({ family: fc.constantFrom(4 as const, 6 as const), subtype: fc.constantFrom('request', 'begin', 'end') })
    .map((refresh): Message => ({ is: 'route-refresh', ...refresh })),
);
