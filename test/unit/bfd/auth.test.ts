// Authentication (RFC 5880 §6.7): what each type accepts, every reason to discard, and the window of sequence numbers.

import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { type Digest, sign, verify } from '../../../src/bfd/auth.ts';
import { decodePacket, type Packet } from '../../../src/bfd/packet.ts';
import type { AuthType, BfdAuth } from '../../../src/bfd/types.ts';

const digest: Digest = (hash, bytes) => createHash(hash).update(bytes).digest();

const packet: Packet = {
  diagnostic: 0,
  state: 'Up',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 1,
  yourDiscriminator: 2,
  desiredMinTxUs: 50_000,
  requiredMinRxUs: 50_000,
  requiredMinEchoRxUs: 0,
  auth: null,
};
const TYPES: readonly AuthType[] = ['simple', 'md5', 'meticulous-md5', 'sha1', 'meticulous-sha1'];
const keyed = TYPES.filter((type) => type !== 'simple');
const auth = (type: AuthType, changes: Partial<BfdAuth> = {}): BfdAuth => ({
  type,
  keyId: 5,
  key: 'hunter2',
  ...changes,
});

/** Judge these bytes as the other side would. */
function judge(bytes: Uint8Array, by: BfdAuth | null, last: number | null = null) {
  const decoded = decodePacket(bytes);
  return typeof decoded === 'string' ? decoded : verify(decoded, bytes, by, last, digest);
}

describe('BFD authentication', () => {
  for (const type of TYPES) {
    it(`${type}: what one side signs the other accepts`, () => {
      const sequence = type === 'simple' ? null : 77;
      expect(judge(sign(packet, auth(type), 77, digest), auth(type))).to.deep.equal({ sequence });
    });
    it(`${type}: another key, key number, type, or none is discarded`, () => {
      const bytes = sign(packet, auth(type), 77, digest);
      expect(judge(bytes, auth(type, { key: 'hunter3' }))).to.equal('auth-digest');
      expect(judge(bytes, auth(type, { keyId: 6 }))).to.equal('auth-key-id');
      expect(judge(bytes, auth(type === 'sha1' ? 'md5' : 'sha1'))).to.equal('auth-type');
      expect(judge(bytes, null)).to.equal('auth-unexpected');
      expect(judge(sign(packet, null, 77, digest), auth(type))).to.equal('auth-missing');
    });
  }

  for (const type of keyed) {
    it(`${type}: the secret is not in the packet, and no octet of it may be changed`, () => {
      const bytes = sign(packet, auth(type), 77, digest);
      expect(Buffer.from(bytes).includes('hunter2')).to.equal(false);
      for (let at = 4; at < bytes.length; at++) {
        const changed = bytes.slice();
        changed[at] = (changed[at] ?? 0) ^ 1;
        expect(judge(changed, auth(type)), `octet ${at}`).to.be.a('string');
      }
    });

    const meticulous = type.startsWith('meticulous');
    it(`${type}: the sequence number lies in a window of three times Detect Mult, around the end of the numbers too`, () => {
      for (const last of [1000, 0xfffffffd, 0xffffffff]) {
        const at = (ahead: number) => judge(sign(packet, auth(type), (last + ahead) >>> 0, digest), auth(type), last);
        expect(at(-1)).to.equal('auth-sequence');
        if (meticulous) expect(at(0)).to.equal('auth-sequence');
        else expect(at(0)).to.deep.equal({ sequence: last });
        expect(at(1)).to.deep.equal({ sequence: (last + 1) >>> 0 });
        expect(at(9)).to.deep.equal({ sequence: (last + 9) >>> 0 });
        expect(at(10)).to.equal('auth-sequence');
      }
    });
  }

  it('judges a Buffer as it judges a Uint8Array, and leaves it as it was', () => {
    const bytes = Buffer.from(sign(packet, auth('sha1'), 1, digest));
    const before = bytes.toString('hex');
    expect(judge(bytes, auth('sha1'))).to.deep.equal({ sequence: 1 });
    expect(bytes.toString('hex')).to.equal(before);
  });

  it('computes digests over the packet with the key, padded with zeros, in the place of the digest', () => {
    const bytes = sign(packet, auth('sha1', { key: 'k' }), 1, digest);
    const input = bytes.slice();
    input.fill(0, 32);
    input[32] = 'k'.charCodeAt(0);
    expect(Buffer.from(bytes.subarray(32))).to.deep.equal(createHash('sha1').update(input).digest());
  });
});
