// One address has one spelling. The platform's own parser is the oracle for what is an address at all.

import { isIPv4, isIPv6 } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  addressBytes,
  canonicalAddress,
  familyOf,
  parseAddress,
  printAddress,
  printEndpoint,
} from '../../../src/lib/address.ts';

describe('lib/address', () => {
  for (const [text, canonical] of [
    ['10.0.0.1', '10.0.0.1'],
    ['2001:DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1::', '1::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:10.0.0.1', '::ffff:a00:1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['2620:0:862:ed1a::1', '2620:0:862:ed1a::1'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
  ] as const) {
    it(`spells ${text} as ${canonical}`, () => {
      expect(canonicalAddress(text)).to.equal(canonical);
      expect(canonicalAddress(canonical)).to.equal(canonical);
    });
  }

  for (const text of [
    '',
    '1',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.01',
    '10.0.0.1.',
    ' 10.0.0.1',
    '10.0.0.0x1',
    '+1.0.0.0',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::12345',
    '::g',
    '1.2.3.4::',
    '::1.2.3',
    '::1.2.3.4:5',
    '::1.2.3.256',
    'fe80::1%',
    'fe80::1%a b',
    'fe80::1%0123456789abcdef',
    '10.0.0.1%eth0',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => expect(canonicalAddress(text)).to.equal(null));
  }

  it('prints what it parsed, for all bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc
        .array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 })
        .map((list) => Uint8Array.from(list)),
    );
    fc.assert(
      fc.property(bytes, (octets) => {
        const text = printAddress(octets);
        expect(octets.length === 4 ? isIPv4(text) : isIPv6(text), text).to.equal(true);
        expect([...(parseAddress(text) ?? [])]).to.deep.equal([...octets]);
        expect(canonicalAddress(text)).to.equal(text);
        expect([...addressBytes(text)]).to.deep.equal([...octets]);
        expect(familyOf(text)).to.equal(octets.length === 4 ? 4 : 6);
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it('takes for an address what the platform takes for one', () => {
    const piece = fc.constantFrom('0', '1', '00', 'ff', '255', '256', 'abcd', ':', '::', '.', '1.2.3.4', '');
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }).map((list) => list.join('')),
        (text) => {
          expect(parseAddress(text) !== null, text).to.equal(isIPv4(text) || isIPv6(text));
        },
      ),
      { numRuns: 2000, seed: 2 },
    );
  });

  it('puts brackets around IPv6 before a port', () => {
    expect(printEndpoint('10.0.0.1', 80)).to.equal('10.0.0.1:80');
    expect(printEndpoint('::1', 80)).to.equal('[::1]:80');
  });

  it('has no bytes for what is no address, and no text for other lengths', () => {
    expect(() => addressBytes('localhost')).to.throw(TypeError, 'localhost');
    expect(() => printAddress(new Uint8Array(5))).to.throw(TypeError, '5');
    expect([...addressBytes('fe80::1%eth0')]).to.have.length(16);
  });
});
