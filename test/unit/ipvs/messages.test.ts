import { expect } from 'chai';
import fc from 'fast-check';
import { familyOf } from '../../../src/lib/address.ts';
import { Malformed, Messages, MessageWriter } from '../../../src/netlink/codec.ts';
import { decodeDestination, decodeService, encodeListDestinations, encodeOp } from '../../../src/ipvs/messages.ts';
import {
  destinationKey,
  type IpvsDestination,
  type IpvsOp,
  type IpvsService,
  serviceKey,
} from '../../../src/ipvs/table.ts';
import { arbitraryAddress, arbitraryDestination, arbitraryService } from '../../support/ipvs-arbitraries.ts';

const hex = (text: string): string => text.replace(/\s+/g, '');

function encoded(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter(2048);
  writer.bytes.fill(0xee);
  write(writer);
  writer.close();
  return writer.bytes.slice(0, writer.length);
}

const encode = (op: IpvsOp) => encoded((writer) => encodeOp(writer, op, null, 0x20, 5, 1));
const asHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
function only(bytes: Uint8Array): Messages {
  const message = new Messages(bytes);
  if (!message.next()) throw new Error('no message');
  return message;
}

const service: IpvsService = {
  key: serviceKey('tcp', '10.9.0.1', 80),
  protocol: 'tcp',
  address: '10.9.0.1',
  port: 80,
  fwmark: 0,
  scheduler: 'wrr',
  flags: 4,
  persistenceSeconds: 300,
  persistencePrefix: 24,
};
const other = { key: serviceKey('tcp', '10.9.0.2', 80), address: '10.9.0.2' };
const destination: IpvsDestination = {
  key: destinationKey('10.2.0.21', 8080),
  address: '10.2.0.21',
  port: 8080,
  forward: 'dr',
  weight: 10,
  upperThreshold: 7,
  lowerThreshold: 3,
};
const IDENTITY =
  '0600 0100 0200 0000  0600 0200 0600 0000  1400 0300 0a090001 00000000 00000000 00000000  0600 0400 0050 0000';

describe('ipvs/messages', () => {
  it('adds a service with all that the kernel demands', () => {
    expect(asHex(encode({ do: 'add-service', service }))).to.equal(
      hex(`74000000 2000 0500 01000000 00000000  01 01 0000  6000 0180 ${IDENTITY}
           1400 0600 77727200 00000000 00000000 00000000  0c00 0700 04000000 ffffffff  0800 0800 2c010000  0800 0900 ffffff00`),
    );
  });

  it('names a service by nothing but its identity when it is deleted', () => {
    expect(asHex(encode({ do: 'delete-service', service }))).to.equal(
      hex(`44000000 2000 0500 01000000 00000000  03 01 0000  3000 0180 ${IDENTITY}`),
    );
  });

  it('adds, changes and deletes a destination', () => {
    const address = '1400 0100 0a020015 00000000 00000000 00000000  0600 0200 1f90 0000  0600 0b00 0200 0000';
    const settings = '0800 0300 03000000  0800 0400 0a000000  0800 0500 07000000  0800 0600 03000000';
    const message = (length: string, command: string, nest: string, rest: string) =>
      hex(
        `${length}000000 2000 0500 01000000 00000000  ${command} 01 0000  3000 0180 ${IDENTITY}  ${nest} 0280 ${rest}`,
      );
    expect(asHex(encode({ do: 'add-destination', service, destination }))).to.equal(
      message('8c', '05', '4800', `${address} ${settings}`),
    );
    expect(asHex(encode({ do: 'set-destination', service, destination }))).to.equal(
      message('8c', '06', '4800', `${address} ${settings}`),
    );
    expect(asHex(encode({ do: 'delete-destination', service, destination }))).to.equal(
      message('6c', '07', '2800', address),
    );
  });

  it('asks for the destinations of a service by its identity', () => {
    expect(asHex(encoded((writer) => encodeListDestinations(writer, service, 0x20, 0x301, 1)))).to.equal(
      hex(`44000000 2000 0103 01000000 00000000  08 01 0000  3000 0180 ${IDENTITY}`),
    );
  });

  it('writes the same whatever was written before it', () => {
    const sibling = arbitraryAddress(4).map((address) => ({ ...destination, address }));
    const op = fc
      .tuple(fc.constantFrom('add', 'set', 'delete'), fc.option(fc.oneof(arbitraryDestination, sibling)), fc.nat(1))
      .map(([verb, real, which]): IpvsOp => {
        const on = which === 0 ? service : { ...service, ...other };
        return real === null
          ? { do: `${verb}-service` as const, service: on }
          : { do: `${verb}-destination` as const, service: on, destination: real };
      });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 8 }), (ops) => {
        const batch = encoded((writer) => {
          for (const [i, each] of ops.entries()) encodeOp(writer, each, ops[i - 1] ?? null, 0x20, 5, 1);
        });
        expect(asHex(batch)).to.equal(ops.map((each) => asHex(encode(each))).join(''));
      }),
    );
  });

  it('reads back every service that it can write', () => {
    fc.assert(
      fc.property(arbitraryService, (any) => {
        expect(decodeService(only(encode({ do: 'add-service', service: any })))).to.deep.equal(any);
      }),
    );
  });

  it('reads back every destination that it can write', () => {
    fc.assert(
      fc.property(arbitraryService, arbitraryDestination, (any, real) => {
        const bytes = encode({ do: 'add-destination', service: any, destination: real });
        expect(decodeDestination(only(bytes), familyOf(any.address))).to.deep.equal(real);
      }),
    );
  });

  it("takes the service's family for a destination of a kernel that does not say it", () => {
    const bytes = encode({ do: 'add-destination', service, destination });
    // Make ADDR_FAMILY (11) something unknown.
    const at = asHex(bytes).indexOf('06000b00') / 2 + 2;
    bytes[at] = 99;
    expect(decodeDestination(only(bytes), 4)).to.deep.equal(destination);
  });

  it('leaves the HASHED mark to the kernel', () => {
    const bytes = encode({ do: 'add-service', service: { ...service, flags: 7 } });
    expect(decodeService(only(bytes))?.flags).to.equal(5);
  });

  it('knows no table entry for a protocol that the table cannot say', () => {
    const bytes = encode({ do: 'add-service', service });
    bytes[asHex(bytes).indexOf('06000200') / 2 + 4] = 50; // ESP
    expect(decodeService(only(bytes))).to.equal(null);
  });

  it('calls truncated and garbled answers malformed and nothing else', () => {
    const valid = encode({ do: 'add-destination', service, destination });
    const garbled = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(garbled, fc.nat(valid.length), (changes, cut) => {
        const bytes = valid.slice(0, cut);
        for (const [at, value] of changes) if (at < cut) bytes[at] = value;
        try {
          for (const message = new Messages(bytes); message.next(); ) {
            decodeService(message);
            decodeDestination(message, 4);
          }
        } catch (error) {
          expect(error).to.be.instanceOf(Malformed);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
