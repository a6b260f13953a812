import { expect } from 'chai';
import fc from 'fast-check';
import { encodeFields, type Field, HpackDecoder, HpackError } from '../../../../monitors/lib/hpack.ts';

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const latin1 = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });
const RUNS = { seed: 7541, numRuns: 300 };

describe('Header fields of HTTP/2', () => {
  // RFC 7541 appendix C.4 and C.6: requests and responses in the Huffman code, with a table that fills up.
  it('are read as in the examples of the RFC, the table included', () => {
    const requests = new HpackDecoder();
    expect(requests.decode(bytes('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff'))).to.deep.equal([
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
    ]);
    expect(requests.decode(bytes('8286 84be 5886 a8eb 1064 9cbf'))).to.deep.include(['cache-control', 'no-cache']);
    expect(requests.decode(bytes('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf'))).to.deep.equal([
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ]);
  });

  it('are spelled so that they can be read again', () => {
    const field = fc.tuple(latin1, latin1) as fc.Arbitrary<Field>;
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), (fields) => {
        expect(new HpackDecoder().decode(encodeFields(fields))).to.deep.equal(fields);
      }),
      RUNS,
    );
    const long: Field = ['x', 'y'.repeat(20_000)];
    expect(new HpackDecoder().decode(encodeFields([[':method', 'GET'], long]))).to.deep.equal([
      [':method', 'GET'],
      long,
    ]);
  });

  it('that are random octets are read or refused, and never take more than their share of memory', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder();
        try {
          for (const block of blocks) {
            const fields = decoder.decode(block);
            expect(fields.reduce((sum, [name, value]) => sum + name.length + value.length, 0)).to.be.at.most(65_536);
          }
        } catch (error) {
          expect(error).to.be.instanceOf(HpackError);
        }
      }),
      { ...RUNS, numRuns: 3000 },
    );
  });

  for (const [what, hex] of [
    ['an index of 0', '80'],
    ['an index behind the table', 'ff 80 01'],
    ['a number that never ends', 'ff ff ff ff ff ff ff'],
    ['a text that is cut short', '00 05 61'],
    ['a larger table than was agreed on', '3f e2 1f'],
    ['the end mark of the Huffman code', '00 84 ff ff ff ff 00'],
    ['a Huffman text that is filled up with zeros', '00 81 18 00'],
    ['a Huffman text that is filled up with a whole octet', '00 82 1f ff 00'],
  ] as const) {
    it(`with ${what} are refused`, () => {
      expect(() => new HpackDecoder().decode(bytes(hex))).to.throw(HpackError);
    });
  }

  it('that one octet each would make large are refused as a whole', () => {
    const decoder = new HpackDecoder();
    decoder.decode(Uint8Array.of(0x40, 1, 0x78, 0x7f, 0xa1, 0x1e, ...new Array<number>(4000).fill(0x79)));
    expect(() => decoder.decode(new Uint8Array(100).fill(0xbe))).to.throw(HpackError, 'too many');
  });

  it('leave the table when it is made smaller, or something too large comes', () => {
    const decoder = new HpackDecoder();
    decoder.decode(bytes('40 01 61 01 62'));
    expect(decoder.decode(bytes('be'))).to.deep.equal([['a', 'b']]);
    expect(() => decoder.decode(bytes('20 be'))).to.throw(HpackError, 'no header field');
  });
});
