import { expect } from 'chai';
import fc from 'fast-check';
import {
  Attributes,
  attributesOf,
  errorOf,
  genericOf,
  Malformed,
  Messages,
  MessageWriter,
  NLM_F,
  NLMSG,
} from '../../../src/netlink/codec.ts';
import { arbitraryAddress } from '../../support/ipvs-arbitraries.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'));

/** Look at everything that is there, as a reader that trusts nobody would. */
function walk(bytes: Uint8Array): number {
  let seen = 0;
  const attributes = (cursor: Attributes, depth: number): void => {
    while (cursor.next()) {
      seen++;
      cursor.text();
      cursor.blob();
      if (depth < 3 && cursor.type % 2 === 1) attributes(cursor.nested(), depth + 1);
    }
  };
  for (const message = new Messages(bytes); message.next(); ) {
    seen++;
    if (message.type === NLMSG.error || message.type === NLMSG.done) errorOf(message);
    else attributes(genericOf(message).attributes, 0);
  }
  return seen;
}

describe('netlink/codec', () => {
  it('writes the question for a family as the kernel wants it', () => {
    const writer = new MessageWriter(64);
    writer.beginGeneric(16, 3, 1, NLM_F.request | NLM_F.ack, 7);
    writer.text(2, 'IPVS');
    writer.close();
    expect(writer.bytes.subarray(0, writer.length)).to.deep.equal(
      hex('20000000 1000 0500 07000000 00000000  03 01 0000  0900 0200 49505653 00 000000'),
    );
  });

  it('puts messages one behind the other, each with its own length', () => {
    const writer = new MessageWriter(256);
    writer.begin(40, 1, 1);
    writer.u8(1, 0xab);
    writer.begin(41, 1, 2);
    const nest = writer.nest(5);
    writer.view.setUint16(writer.attribute(4, 2), 80);
    writer.view.setUint32(writer.attribute(9, 4), 0xffffff00);
    writer.endNest(nest);
    writer.addFlags(NLM_F.ack);
    writer.close();
    expect(writer.bytes.subarray(0, writer.length)).to.deep.equal(
      hex(`18000000 2800 0100 01000000 00000000  0500 0100 ab 000000
           24000000 2900 0500 02000000 00000000  1400 0580  0600 0400 0050 0000  0800 0900 ffffff00`),
    );
    const message = new Messages(writer.bytes, writer.length);
    expect(message.next()).to.equal(true);
    expect([message.type, message.seq]).to.deep.equal([40, 1]);
    expect(message.next()).to.equal(true);
    expect([message.type, message.seq, message.flags]).to.deep.equal([41, 2, 5]);
    const outer = attributesOf(message, 0);
    expect(outer.next()).to.equal(true);
    expect(outer.type).to.equal(5); // NLA_F_NESTED is not part of the type.
    const inner = outer.nested();
    expect([inner.next(), inner.u16be(), inner.next(), inner.u32(), inner.next()]).to.deep.equal([
      true,
      80,
      true,
      0x00ffffff, // Read in host order.
      false,
    ]);
    expect([outer.next(), message.next()]).to.deep.equal([false, false]);
  });

  it('writes over whatever an earlier batch left in the buffer, padding included', () => {
    const writer = new MessageWriter(256);
    const fill = () => {
      writer.begin(40, 1, 1);
      writer.text(1, 'wrr');
      writer.text(2, 'w');
      writer.u8(3, 1);
      writer.address(5, '10.0.0.1', 16);
      writer.close();
    };
    fill();
    const clean = writer.bytes.slice(0, writer.length);
    writer.bytes.fill(0xee);
    writer.clear();
    fill();
    expect(writer.bytes.subarray(0, writer.length)).to.deep.equal(clean);
  });

  it('refuses to write beyond its buffer', () => {
    const text = 'x'.repeat(40);
    for (const write of [
      (w: MessageWriter) => w.text(1, text),
      (w: MessageWriter) => w.attribute(1, 12),
      (w: MessageWriter) => w.raw(new Uint8Array(40)),
      (w: MessageWriter) => w.again(2),
      (w: MessageWriter) => w.address(1, '2001:db8::1', 16),
      (w: MessageWriter) => w.address(1, '10.0.0.1', 16),
    ]) {
      const writer = new MessageWriter(24);
      writer.begin(1, 1, 1);
      expect(() => write(writer)).to.throw(RangeError);
    }
  });

  it('repeats a message under another number', () => {
    const writer = new MessageWriter(64);
    writer.begin(40, 1, 1);
    writer.u32(7, 9);
    writer.again(2);
    writer.addFlags(NLM_F.ack);
    writer.close();
    expect(writer.bytes.subarray(0, writer.length)).to.deep.equal(
      hex(`18000000 2800 0100 01000000 00000000  0800 0700 09000000
           18000000 2800 0500 02000000 00000000  0800 0700 09000000`),
    );
  });

  it('reads back any values that it wrote', () => {
    const value = fc.oneof(
      fc.record({ is: fc.constant('u8' as const), value: fc.nat(0xff) }),
      fc.record({ is: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
      fc.record({ is: fc.constant('text' as const), value: fc.stringMatching(/^[a-z-]{0,15}$/) }),
      fc.record({ is: fc.constant('address' as const), value: fc.oneof(arbitraryAddress(4), arbitraryAddress(6)) }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), value), { maxLength: 12 }), (items) => {
        const writer = new MessageWriter(1024);
        writer.bytes.fill(0xee);
        writer.begin(40, 0, 9);
        for (const [type, item] of items) {
          if (item.is === 'text') writer.text(type, item.value);
          else if (item.is === 'address') writer.address(type, item.value, item.value.includes(':') ? 16 : 4);
          else writer[item.is](type, item.value);
        }
        writer.close();
        const message = new Messages(writer.bytes, writer.length);
        expect(message.next()).to.equal(true);
        const attributes = attributesOf(message, 0);
        for (const [type, item] of items) {
          expect(attributes.next()).to.equal(true);
          expect(attributes.type).to.equal(type);
          expect(attributes[item.is]()).to.equal(item.value);
        }
        expect([attributes.next(), message.next()]).to.deep.equal([false, false]);
      }),
    );
  });

  it('reads an acknowledgement, an error, and what the kernel says about it', () => {
    const read = (text: string) => {
      const message = new Messages(hex(text));
      expect(message.next()).to.equal(true);
      return errorOf(message);
    };
    const header = '20000000 2000 0500 01000000 00000000';
    expect(read(`24000000 0200 0001 01000000 00000000  00000000 ${header}`)).to.deep.equal({ errno: 0, text: '' });
    expect(read(`24000000 0200 0001 01000000 00000000  efffffff ${header}`)).to.deep.equal({ errno: 17, text: '' });
    const note = '0700 0100 6e6f00 00'; // NLMSGERR_ATTR_MSG "no"
    expect(read(`2c000000 0200 0003 01000000 00000000  eaffffff ${header} ${note}`)).to.deep.equal({
      errno: 22,
      text: 'no',
    });
    // Not capped: the whole request of 0x20 bytes is echoed before the attributes.
    const body = '00'.repeat(16);
    expect(read(`3c000000 0200 0002 01000000 00000000  eaffffff ${header} ${body} ${note}`).text).to.equal('no');
    // The end of a dump has a status and no request.
    expect(read(`1c000000 0300 0202 01000000 00000000  eaffffff ${note}`)).to.deep.equal({ errno: 22, text: 'no' });
  });

  it('refuses lengths that lie', () => {
    const lies = [
      '0f000000 2000 0000 01000000 00000000', // shorter than its header
      '20000000 2000 0000 01000000 00000000', // longer than the datagram
      '10000000 2000 0000 01000000 00000000 0000', // two bytes left over
      '18000000 2000 0000 01000000 00000000  01010000 0300 0100', // attribute shorter than its header
      '18000000 2000 0000 01000000 00000000  01010000 0900 0100', // attribute longer than the message
      '16000000 2000 0000 01000000 00000000  01010000 0100 0000', // half an attribute header
      '20000000 2000 0000 01000000 00000000  01010000 0c00 0100 0900 0200 00000000', // nested one beyond its nest
      '12000000 2000 0000 01000000 00000000  0101 0000', // no room for the generic header
      '12000000 0200 0000 01000000 00000000  0101 0000', // an error of two bytes
      '14000000 0200 0002 01000000 00000000  00000000', // attributes promised, no echoed header
      '24000000 0200 0002 01000000 00000000  00000000 ffffff7f 2000 0500 01000000 00000000', // echo of 2 GiB
    ];
    for (const lie of lies) expect(() => walk(hex(lie)), lie).to.throw(Malformed);
  });

  it('never reads outside and always ends, whatever the bytes', () => {
    const header = fc
      .tuple(fc.nat(80), fc.constantFrom(2, 3, 16, 32), fc.nat(0xffff), fc.uint8Array({ maxLength: 64 }))
      .map(([length, type, flags, body]) => {
        const bytes = new Uint8Array(16 + body.length);
        new DataView(bytes.buffer).setUint32(0, length, true);
        new DataView(bytes.buffer).setUint32(4, type | (flags << 16), true);
        bytes.set(body, 16);
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 128 }), header), (bytes) => {
        // In the middle of a larger buffer: a read beyond the view would go unnoticed by the view's end alone.
        const outer = new Uint8Array(bytes.length + 64).fill(0xff);
        outer.set(bytes, 32);
        try {
          expect(walk(outer.subarray(32, 32 + bytes.length))).to.be.at.most(bytes.length);
        } catch (error) {
          expect(error).to.be.instanceOf(Malformed);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
