// The writer's growth: whatever is written last before the buffer is full, nothing is lost. And pieces that become one.

import { expect } from 'chai';
import { joined, Reader, Truncated, Writer } from '../../../src/lib/bytes.ts';

describe('lib/bytes', () => {
  for (const capacity of [0, 1, 2, 3, 4, 5, 7, 8]) {
    it(`grows from ${capacity} octets in the middle of any value`, () => {
      const writer = new Writer(capacity);
      writer.u8(0x01).u16(0x0203).u32(0x04050607).bytes(Uint8Array.of(8, 9)).u8(10).u32(0x0b0c0d0e).u16(0x0f10);
      expect([...writer.finish()]).to.deep.equal(Array.from({ length: 16 }, (_, i) => i + 1));
    });
  }

  it('never reads beyond what it was given', () => {
    const reader = new Reader(Uint8Array.of(1, 2, 3)).take(2);
    expect(reader.u8()).to.equal(1);
    expect(() => reader.u16()).to.throw(Truncated, 'at byte 1');
  });

  it('joins pieces in their order, and does not copy a single one', () => {
    const [a, b] = [Uint8Array.of(1, 2), Uint8Array.of(3)];
    expect([...joined([a, new Uint8Array(), b])]).to.deep.equal([1, 2, 3]);
    expect(joined([a])).to.equal(a);
    expect(joined([])).to.have.length(0);
  });
});
