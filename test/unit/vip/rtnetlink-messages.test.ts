import { expect } from 'chai';
import fc from 'fast-check';
import { ADDRESS_PROTOCOL, type AddressOp } from '../../../src/vip/addresses.ts';
import { decodeAddress, encodeListAddresses, encodeOp } from '../../../src/vip/rtnetlink-messages.ts';
import { Malformed, Messages, MessageWriter } from '../../../src/netlink/codec.ts';
import { arbitraryAddress } from '../../support/ipvs-arbitraries.ts';

function encode(op: AddressOp | null): Uint8Array {
  const writer = new MessageWriter(256);
  writer.bytes.fill(0xee);
  if (op === null) encodeListAddresses(writer, 0x301, 1);
  else encodeOp(writer, op, 5, 1);
  writer.close();
  return writer.bytes.slice(0, writer.length);
}
const asHex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const hex = (text: string) => text.replace(/\s+/g, '');
function decode(bytes: Uint8Array) {
  const message = new Messages(bytes);
  message.next();
  return decodeAddress(message);
}

describe('vip/rtnetlink-messages', () => {
  it('puts an IPv4 address on lo as ip(8) does, with our mark', () => {
    expect(asHex(encode({ do: 'add-address', address: '10.9.0.1', family: 4 }))).to.equal(
      hex(`30000000 1400 0506 01000000 00000000  02 20 00 00 01000000
           0800 0200 0a090001  0800 0100 0a090001  0500 0b00 a7 000000`),
    );
  });

  it('gives an address of 127/8 host scope', () => {
    expect(asHex(encode({ do: 'add-address', address: '127.80.0.1', family: 4 })).slice(32, 48)).to.equal(
      '022000fe01000000',
    );
  });

  it('puts an IPv6 address on lo without duplicate address detection', () => {
    const address = '20010db8 00000000 00000000 00000001';
    expect(asHex(encode({ do: 'add-address', address: '2001:db8::1', family: 6 }))).to.equal(
      hex(`50000000 1400 0506 01000000 00000000  0a 80 00 00 01000000
           1400 0200 ${address}  1400 0100 ${address}  0800 0800 02000000  0500 0b00 a7 000000`),
    );
  });

  it('deletes by address and prefix alone', () => {
    expect(asHex(encode({ do: 'delete-address', address: '10.9.0.1', family: 4 }))).to.equal(
      hex('28000000 1500 0500 01000000 00000000  02 20 00 00 01000000  0800 0200 0a090001  0800 0100 0a090001'),
    );
  });

  it('asks for the addresses of all families', () => {
    expect(asHex(encode(null))).to.equal(hex('18000000 1600 0103 01000000 00000000  00000000 00000000'));
  });

  it('reads back every address that it can put there', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<4 | 6>(4, 6).chain((family) => fc.tuple(fc.constant(family), arbitraryAddress(family))),
        ([family, address]) => {
          expect(decode(encode({ do: 'add-address', address, family }))).to.deep.equal({
            address,
            prefixLength: family === 4 ? 32 : 128,
            interfaceIndex: 1,
            protocol: ADDRESS_PROTOCOL,
          });
        },
      ),
    );
  });

  it('takes our own end of a point-to-point interface', () => {
    const bytes = Buffer.from(
      hex('28000000 1400 0200 01000000 00000000  02 20 80 00 07000000  0800 0100 0a000002  0800 0200 0a000001'),
      'hex',
    );
    expect(decode(bytes)).to.include({ address: '10.0.0.1', interfaceIndex: 7 });
  });

  it('calls truncated and garbled answers malformed and nothing else', () => {
    const valid = encode({ do: 'add-address', address: '2001:db8::1', family: 6 });
    const changes = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(changes, fc.nat(valid.length), (given, cut) => {
        const bytes = valid.slice(0, cut);
        for (const [at, value] of given) if (at < cut) bytes[at] = value;
        try {
          for (const message = new Messages(bytes); message.next(); ) decodeAddress(message);
        } catch (error) {
          expect(error).to.be.instanceOf(Malformed);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
