// Generated IPVS services, destinations and tables for property tests.

import fc from 'fast-check';
import { printAddress } from '../../src/lib/address.ts';
import {
  destinationKey,
  FLAG,
  fwmarkKey,
  type IpvsDestination,
  type IpvsEntry,
  type IpvsService,
  type IpvsTable,
  SCHEDULERS,
  serviceKey,
} from '../../src/ipvs/table.ts';

const bytes = (count: number) => fc.uint8Array({ minLength: count, maxLength: count });
export const arbitraryAddress = (family: 4 | 6): fc.Arbitrary<string> => bytes(family === 4 ? 4 : 16).map(printAddress);
const port = fc.integer({ min: 0, max: 0xffff });
const flags = fc
  .subarray([FLAG.persistent, FLAG.onePacket, FLAG.sched1, FLAG.sched2, FLAG.sched3])
  .map((bits) => bits.reduce<number>((all, bit) => all | bit, 0));

const settings = (family: 4 | 6) =>
  fc.record({
    scheduler: fc.constantFrom(...SCHEDULERS),
    flags,
    persistenceSeconds: fc.integer({ min: 0, max: 86_400 }),
    persistencePrefix: fc.integer({ min: 1, max: family === 4 ? 32 : 128 }),
  });

export const arbitraryService: fc.Arbitrary<IpvsService> = fc.constantFrom<4 | 6>(4, 6).chain((family) =>
  fc.oneof(
    fc
      .tuple(fc.constantFrom('tcp', 'udp', 'sctp'), arbitraryAddress(family), port, settings(family))
      .map(([protocol, address, servicePort, rest]) => ({
        key: serviceKey(protocol, address, servicePort),
        protocol,
        address,
        port: servicePort,
        fwmark: 0,
        ...rest,
      })),
    fc.tuple(fc.integer({ min: 1, max: 0xffffffff }), settings(family)).map(([fwmark, rest]) => ({
      key: fwmarkKey(fwmark, family),
      protocol: 'fwmark' as const,
      address: family === 4 ? '0.0.0.0' : '::',
      port: 0,
      fwmark,
      ...rest,
    })),
  ),
);

export const arbitraryDestination: fc.Arbitrary<IpvsDestination> = fc
  .record({
    address: fc.oneof(arbitraryAddress(4), arbitraryAddress(6)),
    port,
    forward: fc.constantFrom('dr', 'nat', 'tunnel', 'local', 'bypass'),
    weight: fc.integer({ min: 0, max: 0x7fffffff }),
    upperThreshold: fc.integer({ min: 0, max: 0xffffffff }),
    lowerThreshold: fc.integer({ min: 0, max: 0xffffffff }),
  })
  .map((destination) => ({ key: destinationKey(destination.address, destination.port), ...destination }));

export const arbitraryEntry: fc.Arbitrary<IpvsEntry> = fc
  .tuple(arbitraryService, fc.array(arbitraryDestination, { maxLength: 5 }))
  .map(([service, list]) => ({
    service,
    destinations: new Map(list.map((destination) => [destination.key, destination])),
  }));

export const arbitraryTable: fc.Arbitrary<IpvsTable> = fc
  .array(arbitraryEntry, { maxLength: 5 })
  .map((entries) => new Map(entries.map((entry) => [entry.service.key, entry])));
