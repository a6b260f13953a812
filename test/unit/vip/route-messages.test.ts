import { expect } from 'chai';
import fc from 'fast-check';
import { Malformed, Messages, MessageWriter } from '../../../src/netlink/codec.ts';
import type { AddressOp } from '../../../src/vip/addresses.ts';
import { decodeRoute, decodeRule, encodeListRoutes, encodeListRules } from '../../../src/vip/route-messages.ts';
import { encodeOp } from '../../../src/vip/rtnetlink-messages.ts';
import { arbitraryAddress } from '../../support/ipvs-arbitraries.ts';

function written(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter(256);
  writer.bytes.fill(0xee);
  write(writer);
  writer.close();
  return writer.bytes.slice(0, writer.length);
}
const encode = (op: AddressOp) => written((writer) => encodeOp(writer, op, 5, 1));
const asHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const hex = (text: string) => text.replace(/\s+/g, '');
function first(bytes: Uint8Array): Messages {
  const message = new Messages(bytes);
  message.next();
  return message;
}

describe('vip/route-messages', () => {
  it('makes a local route to lo in our table, with our protocol', () => {
    expect(asHex(encode({ do: 'add-route', address: '10.9.0.1', family: 4 }))).to.equal(
      hex(
        `2c000000 1800 0506 01000000 00000000  02 20 00 00 a7 a7 fe 02 00000000  0800 0100 0a090001  0800 0400 01000000`,
      ),
    );
    expect(asHex(encode({ do: 'delete-route', address: '10.9.0.1', family: 4 })).slice(8, 16)).to.equal('19000500');
  });

  it('makes a rule for packets that come in by an uplink', () => {
    expect(asHex(encode({ do: 'add-rule', address: '10.9.0.1', family: 4, uplink: 'eth0' }))).to.equal(
      hex(`40000000 2000 0506 01000000 00000000  02 20 00 00 a7 00 00 01 00000000
           0800 0100 0a090001  0900 0300 6574683000 000000  0800 0600 a7000000  0500 1500 a7 000000`),
    );
    expect(asHex(encode({ do: 'delete-rule', address: '10.9.0.1', family: 4, uplink: 'eth0' })).slice(8, 16)).to.equal(
      '21000500',
    );
  });

  it('asks for the rules of a family, and for the routes of our table alone', () => {
    expect(asHex(written((writer) => encodeListRules(writer, 6, 0x301, 1)))).to.equal(
      hex('1c000000 2200 0103 01000000 00000000  0a 00 00 00 00000000 00000000'),
    );
    expect(asHex(written((writer) => encodeListRoutes(writer, 4, 0x301, 1)))).to.equal(
      hex('1c000000 1a00 0103 01000000 00000000  02 00 00 00 a7 00 00 00 00000000'),
    );
  });

  const addressOfAny = fc
    .constantFrom<4 | 6>(4, 6)
    .chain((family) => fc.tuple(fc.constant(family), arbitraryAddress(family)));
  const uplinkName = fc.stringMatching(/^[a-z][a-z0-9.@-]{0,14}$/);

  it('reads back every route and rule that it can make', () => {
    fc.assert(
      fc.property(addressOfAny, uplinkName, ([family, address], uplink) => {
        expect(decodeRoute(first(encode({ do: 'add-route', address, family })))).to.equal(address);
        expect(decodeRule(first(encode({ do: 'add-rule', address, family, uplink })))).to.deep.equal({
          address,
          uplink,
        });
      }),
    );
  });

  it('sees no route and no rule of somebody else', () => {
    const route = encode({ do: 'add-route', address: '10.9.0.1', family: 4 });
    const rule = encode({ do: 'add-rule', address: '10.9.0.1', family: 4, uplink: 'eth0' });
    const changed = (bytes: Uint8Array, at: number, value: number) => {
      const copy = bytes.slice();
      copy[at] = value;
      return first(copy);
    };
    // Behind the header of 16 bytes: prefix length, table, protocol, type; of a rule the last byte is its protocol.
    for (const [at, value] of [
      [17, 24],
      [20, 254],
      [21, 4],
      [23, 1],
    ] as const)
      expect(decodeRoute(changed(route, at, value)), `byte ${at}`).to.equal(null);
    for (const [at, value] of [
      [17, 24],
      [20, 254],
      [52, 90],
      [60, 0],
    ] as const)
      expect(decodeRule(changed(rule, at, value)), `byte ${at}`).to.equal(null);
    expect(decodeRule(first(route))).to.equal(null);
    expect(decodeRoute(first(rule))).to.equal(null);
  });

  it('fails on nothing but what is malformed', () => {
    const valid = encode({ do: 'add-rule', address: '2001:db8::1', family: 6, uplink: 'eth0' });
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.nat(255), (at, value) => {
        const bytes = valid.slice();
        bytes[at] = value;
        try {
          const message = new Messages(bytes);
          while (message.next()) {
            decodeRule(message);
            decodeRoute(message);
          }
        } catch (error) {
          expect(error).to.be.instanceOf(Malformed);
        }
      }),
    );
  });
});
