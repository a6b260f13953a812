// Control packets on the wire: RFC 5880 §4 octet by octet, each discard rule of §6.8.6 that a packet breaks by itself, and
// whatever else may come.

import { expect } from 'chai';
import fc from 'fast-check';
import {
  type AuthSection,
  decodePacket,
  type Discard,
  encodePacket,
  type Packet,
  STATES,
} from '../../../src/bfd/packet.ts';

const packet: Packet = {
  diagnostic: 3,
  state: 'Up',
  poll: true,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 0x01020304,
  yourDiscriminator: 0x05060708,
  desiredMinTxUs: 1_000_000,
  requiredMinRxUs: 50_000,
  requiredMinEchoRxUs: 0,
  auth: null,
};

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'));

/** The packet's bytes, some of them replaced. */
function patched(changes: Readonly<Record<number, number>>, from: Packet = packet): Uint8Array {
  const bytes = encodePacket(from);
  for (const [at, value] of Object.entries(changes)) bytes[Number(at)] = value;
  return bytes;
}

const simple: AuthSection = { type: 'simple', keyId: 7, sequence: null, data: new TextEncoder().encode('secret') };
const md5: AuthSection = { type: 'md5', keyId: 1, sequence: 9, data: new Uint8Array(16).fill(0xaa) };
const sha1: AuthSection = { type: 'meticulous-sha1', keyId: 255, sequence: 0xffffffff, data: new Uint8Array(20) };

describe('BFD control packets', () => {
  it('have the layout of RFC 5880 §4.1', () => {
    const bytes = '23 e0 03 18  01020304  05060708  000f4240  0000c350  00000000';
    expect(hex(encodePacket(packet))).to.equal(bytes.replace(/\s/g, ''));
    expect(decodePacket(bytesOf(bytes))).to.deep.equal(packet);
  });

  it('carry each flag in its own bit', () => {
    const flags = (changes: Partial<Packet>) => encodePacket({ ...packet, state: 'Down', poll: false, ...changes })[1];
    expect(flags({})).to.equal(0x40);
    expect(flags({ poll: true })).to.equal(0x60);
    expect(flags({ final: true })).to.equal(0x50);
    expect(flags({ controlPlaneIndependent: true })).to.equal(0x48);
    expect(flags({ auth: simple })).to.equal(0x44);
    expect(flags({ demand: true })).to.equal(0x42);
  });

  it('have the authentication sections of §4.2 to §4.4', () => {
    const section = (auth: AuthSection) => hex(encodePacket({ ...packet, auth }).subarray(24));
    expect(section(simple)).to.equal('010907736563726574');
    expect(section(md5)).to.equal(`0218010000000009${'aa'.repeat(16)}`);
    expect(section(sha1)).to.equal(`051cff00ffffffff${'00'.repeat(20)}`);
    expect(encodePacket({ ...packet, auth: sha1 })[3]).to.equal(52);
  });

  const authenticated = { ...packet, auth: md5 };
  const rules: readonly [why: string, bytes: Uint8Array, reason: Discard][] = [
    ['version 0', patched({ 0: 0x03 }), 'version'],
    ['version 2', patched({ 0: 0x43 }), 'version'],
    ['a length below 24', patched({ 3: 23 }), 'length'],
    ['a length below 26 with authentication', patched({ 3: 25 }, authenticated), 'length'],
    ['a length beyond the datagram', patched({ 3: 25 }), 'truncated'],
    ['fewer octets than any packet has', encodePacket(packet).slice(0, 23), 'truncated'],
    ['no octets', new Uint8Array(), 'truncated'],
    ['Detect Mult 0', patched({ 2: 0 }), 'multiplier'],
    ['the Multipoint bit', patched({ 1: 0xe1 }), 'multipoint'],
    ['My Discriminator 0', encodePacket({ ...packet, myDiscriminator: 0 }), 'my-discriminator'],
    ['Your Discriminator 0 in Up', encodePacket({ ...packet, yourDiscriminator: 0 }), 'your-discriminator'],
    [
      'Your Discriminator 0 in Init',
      encodePacket({ ...packet, state: 'Init', yourDiscriminator: 0 }),
      'your-discriminator',
    ],
    ['Poll and Final together', encodePacket({ ...packet, final: true }), 'poll-and-final'],
    ['an unknown type of authentication', patched({ 24: 6 }, authenticated), 'auth-type'],
    ['the reserved type of authentication', patched({ 24: 0 }, authenticated), 'auth-type'],
    ['an auth length that is not the rest', patched({ 25: 25 }, authenticated), 'auth-malformed'],
    ['an MD5 digest that is too short', patched({ 3: 47, 25: 23 }, authenticated), 'auth-malformed'],
    ['a SHA1 section as long as an MD5 one', patched({ 24: 4 }, authenticated), 'auth-malformed'],
    ['an empty password', encodePacket({ ...packet, auth: { ...simple, data: new Uint8Array() } }), 'auth-malformed'],
    [
      'a password of 17 octets',
      encodePacket({ ...packet, auth: { ...simple, data: new Uint8Array(17) } }),
      'auth-malformed',
    ],
  ];
  for (const [why, bytes, reason] of rules) {
    it(`are discarded for ${why}`, () => expect(decodePacket(bytes)).to.equal(reason));
  }

  it('without Your Discriminator are accepted in Down and AdminDown', () => {
    for (const state of ['Down', 'AdminDown'] as const) {
      expect(decodePacket(encodePacket({ ...packet, state, yourDiscriminator: 0 }))).to.be.an('object');
    }
  });

  it('may be followed by octets that are not theirs', () => {
    const bytes = new Uint8Array(40);
    bytes.set(encodePacket(packet));
    expect(decodePacket(bytes)).to.deep.equal(packet);
  });

  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const auths = fc.oneof(
    fc.constant(null),
    fc.record({
      type: fc.constant('simple' as const),
      keyId: fc.nat(255),
      sequence: fc.constant(null),
      data: fc.uint8Array({ minLength: 1, maxLength: 16 }),
    }),
    fc.record({
      type: fc.constantFrom('md5' as const, 'meticulous-md5' as const),
      keyId: fc.nat(255),
      sequence: u32,
      data: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    }),
    fc.record({
      type: fc.constantFrom('sha1' as const, 'meticulous-sha1' as const),
      keyId: fc.nat(255),
      sequence: u32,
      data: fc.uint8Array({ minLength: 20, maxLength: 20 }),
    }),
  );
  const packets: fc.Arbitrary<Packet> = fc.record({
    diagnostic: fc.nat(31),
    state: fc.constantFrom(...STATES),
    poll: fc.boolean(),
    final: fc.constant(false),
    controlPlaneIndependent: fc.boolean(),
    demand: fc.boolean(),
    multiplier: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    yourDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    desiredMinTxUs: u32,
    requiredMinRxUs: u32,
    requiredMinEchoRxUs: u32,
    auth: auths,
  });

  it('are what was encoded, for any contents', () => {
    const holds = fc.property(packets, (any) => {
      expect(decodePacket(encodePacket(any))).to.deep.equal(any);
    });
    fc.assert(holds, { numRuns: 500 });
  });

  it('never throw, whatever comes: noise, and packets with bytes changed, cut or appended', () => {
    const mutated = fc
      .tuple(packets, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 6 }), fc.integer({ min: -30, max: 30 }))
      .map(([from, changes, longer]) => {
        const encoded = encodePacket(from);
        const bytes = new Uint8Array(Math.max(0, encoded.length + longer));
        bytes.set(encoded.subarray(0, bytes.length));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 80 })), (bytes) => {
        const decoded = decodePacket(bytes);
        if (typeof decoded === 'string') return;
        expect(decoded.multiplier).to.be.greaterThan(0);
        expect(decoded.myDiscriminator).to.be.greaterThan(0);
        // What was accepted is understood: it encodes to the octets that it came from, but for the reserved one, and for what
        // follows a packet without authentication within its length.
        const again = encodePacket(decoded);
        const came = bytes.slice(0, again.length);
        if (decoded.auth === null) came[3] = again.length;
        else if (decoded.auth.sequence !== null) came[27] = 0;
        expect(hex(again)).to.equal(hex(came));
      }),
      { numRuns: 3_000 },
    );
  });
});
