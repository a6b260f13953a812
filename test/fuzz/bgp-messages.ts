// BGP messages for fuzzing: well-formed ones, ones with a typical fault, and ones that were mutated. Bytes only: nothing of
// src/bgp is used, so that encoder and decoder cannot agree on a mistake.

import { Random } from './random.ts';

const MAX_BYTES = 70_000;
const OPTIONAL = 0x80;
const TRANSITIVE = 0x40;
const EXTENDED = 0x10;

/** A growing message in a buffer that is used again. */
class Out {
  readonly bytes = new Uint8Array(MAX_BYTES);
  length = 0;

  u8(...values: readonly number[]): this {
    for (const value of values) this.bytes[this.length++] = value;
    return this;
  }
  u16(value: number): this {
    return this.u8(value >> 8, value & 0xff);
  }
  random(random: Random, count: number): this {
    for (let i = 0; i < count; i++) this.bytes[this.length++] = random.byte();
    return this;
  }
  patch16(at: number, value: number): void {
    this.bytes[at] = value >> 8;
    this.bytes[at + 1] = value & 0xff;
  }
}

const out = new Out();

/** The message with this index of the run with this seed. The view is good until the next call. */
export function fuzzMessage(seed: number, index: number): Uint8Array {
  const random = new Random(seed, index);
  out.length = 0;
  for (let i = 0; i < 16; i++) out.u8(0xff);
  out.u16(0).u8(0);
  out.bytes[18] = body(random);
  if (random.chance(40)) mutate(random);
  out.patch16(16, out.length);
  if (random.chance(2)) breakHeader(random);
  return out.bytes.subarray(0, out.length);
}

/** Appends the body; returns the type. */
function body(random: Random): number {
  const dice = random.under(100);
  if (dice < 74) {
    update(random);
    return 2;
  }
  if (dice < 84) {
    open(random);
    return 1;
  }
  if (dice < 89) {
    out.random(random, 2 + random.under(40));
    return 3;
  }
  if (dice < 93) {
    out
      .u16(random.pick([1, 2, 2, 3]))
      .u8(random.under(4))
      .u8(random.pick([1, 1, 2]));
    return 5;
  }
  if (dice < 95) return 4;
  out.random(random, random.under(random.chance(90) ? 64 : 4_200));
  return random.pick([1, 2, 2, 2, 3, 5]);
}

function open(random: Random): void {
  out.u8(random.chance(97) ? 4 : random.byte()).u16(random.pick([64500, 64500, 23456, 0, 1]));
  out.u16(random.pick([90, 9, 3, 0, 1, 2, 65535])).random(random, 4);
  const lengthAt = out.length;
  out.u8(0);
  const extended = random.chance(15);
  if (extended) out.u8(255).u16(0);
  const start = out.length;
  for (let i = random.under(4); i > 0; i--) {
    out.u8(random.chance(95) ? 2 : random.byte());
    const valueAt = out.length;
    if (extended) out.u16(0);
    else out.u8(0);
    for (let n = random.under(5); n > 0; n--) capability(random);
    const size = out.length - valueAt - (extended ? 2 : 1);
    if (extended) out.patch16(valueAt, size);
    else out.bytes[valueAt] = size & 0xff;
  }
  out.bytes[lengthAt] = extended ? 255 : (out.length - start) & 0xff;
  if (extended) out.patch16(lengthAt + 2, out.length - start);
}

function capability(random: Random): void {
  const [code, size] = random.pick([
    [1, 4],
    [2, 0],
    [5, 6],
    [6, 0],
    [9, 1],
    [64, 2],
    [64, 6],
    [65, 4],
    [69, 4],
    [70, 0],
    [71, 7],
    [73, 9],
    [75, 12],
  ]);
  const wrong = random.chance(8) ? random.under(12) : size;
  out.u8(code, wrong).random(random, wrong);
}

function update(random: Random): void {
  // Mostly either withdrawals or announcements, as routers do; sometimes neither, which RFC 7606 §5.2 is about.
  const withdrawnAt = out.length;
  out.u16(0);
  if (random.chance(25)) prefixes(random, 32);
  out.patch16(withdrawnAt, out.length - withdrawnAt - 2);
  const attributesAt = out.length;
  out.u16(0);
  if (random.chance(92)) attributes(random);
  out.patch16(attributesAt, out.length - attributesAt - 2);
  if (random.chance(65)) prefixes(random, 32);
  if (!random.chance(4)) return;
  const at = random.pick([withdrawnAt, attributesAt]);
  out.patch16(at, random.chance(50) ? random.under(100) : random.under(65_536));
}

function prefixes(random: Random, bits: 32 | 128): void {
  for (let i = random.under(random.chance(95) ? 6 : 60); i > 0; i--) {
    const length = random.chance(2) ? random.byte() : random.under(bits + 1);
    out.u8(length).random(random, Math.ceil(Math.min(length, bits) / 8));
  }
}

/** Code, flags, and how its value is written. */
const ATTRIBUTES: readonly (readonly [code: number, flags: number, value: (random: Random) => void])[] = [
  [1, TRANSITIVE, (random) => out.u8(random.chance(95) ? random.under(3) : random.byte())],
  [2, TRANSITIVE, (random) => asPath(random, random.chance(80) ? 4 : 2)],
  [3, TRANSITIVE, (random) => out.random(random, 4)],
  [4, OPTIONAL, (random) => out.random(random, 4)],
  [5, TRANSITIVE, (random) => out.random(random, 4)],
  [6, TRANSITIVE, () => {}],
  [7, OPTIONAL | TRANSITIVE, (random) => out.random(random, random.chance(80) ? 8 : 6)],
  [8, OPTIONAL | TRANSITIVE, (random) => out.random(random, 4 * random.under(6))],
  [9, OPTIONAL, (random) => out.random(random, 4)],
  [10, OPTIONAL, (random) => out.random(random, 4 * random.under(4))],
  [14, OPTIONAL, reach],
  [15, OPTIONAL, unreach],
  [16, OPTIONAL | TRANSITIVE, (random) => out.random(random, 8 * random.under(4))],
  [17, OPTIONAL | TRANSITIVE, (random) => asPath(random, 4)],
  [18, OPTIONAL | TRANSITIVE, (random) => out.random(random, 8)],
  [32, OPTIONAL | TRANSITIVE, (random) => out.random(random, 12 * random.under(4))],
  [35, OPTIONAL | TRANSITIVE, (random) => out.random(random, 4)],
  [99, OPTIONAL | TRANSITIVE, (random) => out.random(random, random.under(20))],
];
const MANDATORY: readonly number[] = [1, 2, 3];

function attributes(random: Random): void {
  const complete = random.chance(85);
  for (const row of ATTRIBUTES) {
    const wanted = MANDATORY.includes(row[0]) ? complete : random.chance(12);
    if (!wanted) continue;
    attribute(random, row);
    if (random.chance(2)) attribute(random, row);
  }
}

function attribute(random: Random, [code, flags, write]: (typeof ATTRIBUTES)[number]): void {
  const extended = random.chance(20);
  const wrongFlags = random.chance(2) ? random.byte() & ~EXTENDED : flags;
  out.u8(wrongFlags | (extended ? EXTENDED : 0), code);
  const lengthAt = out.length;
  if (extended) out.u16(0);
  else out.u8(0);
  const start = out.length;
  write(random);
  if (random.chance(2)) out.random(random, 1 + random.under(5));
  if (random.chance(2)) out.length = start + random.under(out.length - start + 1);
  let size = out.length - start;
  if (random.chance(1)) size = random.under(40);
  if (extended) out.patch16(lengthAt, size);
  else out.bytes[lengthAt] = size & 0xff;
}

function asPath(random: Random, size: 2 | 4): void {
  for (let i = random.under(3); i > 0; i--) {
    const count = random.chance(97) ? 1 + random.under(5) : 0;
    out.u8(random.chance(95) ? 1 + random.under(4) : random.byte(), count).random(random, count * size);
  }
}

function reach(random: Random): void {
  const six = random.chance(85);
  out.u16(random.chance(97) ? (six ? 2 : 1) : random.byte()).u8(random.chance(95) ? 1 : random.byte());
  const size = random.chance(96) ? (six ? random.pick([16, 16, 32]) : 4) : random.under(50);
  out.u8(size).random(random, size).u8(0);
  prefixes(random, six ? 128 : 32);
}

function unreach(random: Random): void {
  const six = random.chance(85);
  out.u16(six ? 2 : 1).u8(random.chance(95) ? 1 : random.byte());
  prefixes(random, six ? 128 : 32);
}

/** Octets changed, taken out, put in, repeated; or the end cut off. */
function mutate(random: Random): void {
  for (let i = 1 + random.under(3); i > 0; i--) {
    const size = out.length - 19;
    const at = 19 + random.under(Math.max(1, size));
    const count = 1 + random.under(4);
    const kind = random.under(6);
    if (kind === 0 && size > 0) out.bytes[at] = random.byte();
    else if (kind === 1 && size > 0) out.bytes[at] = (out.bytes[at] ?? 0) ^ (1 << random.under(8));
    else if (kind === 2 && size > 0) out.bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
    else if (kind === 3) out.length = 19 + random.under(size + 1);
    else if (kind === 4 && size >= count) {
      out.bytes.copyWithin(at, Math.min(at + count, out.length), out.length);
      out.length = Math.max(19, out.length - count);
    } else if (out.length + count < MAX_BYTES) {
      out.bytes.copyWithin(at + count, at, out.length);
      out.length += count;
      if (random.chance(50)) for (let n = 0; n < count; n++) out.bytes[at + n] = random.byte();
    }
  }
}

function breakHeader(random: Random): void {
  const kind = random.under(4);
  if (kind === 0) out.bytes[random.under(16)] = random.byte();
  else if (kind === 1) out.patch16(16, random.under(65_536));
  else if (kind === 2) out.patch16(16, random.under(32));
  else out.bytes[18] = random.byte();
}
