// What becomes of a received UPDATE, from the texts of RFC 7606, 4271 §6.3, 4760 §7, 6793 §6, 8092 §6 and 4360, as an
// oracle for fuzzing. Written without a look at src/bgp/attribute.ts and in another way: one walk over the octets, no
// values decoded. Where the RFCs leave open which of several fatal errors is named, any of them is right.

export interface Context {
  readonly as4: boolean;
  readonly internal: boolean;
  readonly families: readonly (4 | 6)[];
}

export interface Verdict {
  readonly treatment: 'fine' | 'discard' | 'treat-as-withdraw' | 'reset';
  /** `CODE/SUBCODE` of the NOTIFICATIONs that may be sent for a reset. */
  readonly says: ReadonlySet<string>;
  /** Prefixes announced in both fields, of families that were negotiated. */
  readonly announced: number;
}

const MALFORMED_LIST = '3/1';
const UNRECOGNIZED = '3/2';
const OPTIONAL_ERROR = '3/9';
const BAD_NETWORK = '3/10';

/** Flags that the registry wants, and what errors of syntax (§7) do. */
const KNOWN: Readonly<Record<number, { readonly flags: number; readonly error: 'discard' | 'treat-as-withdraw' }>> = {
  1: { flags: 0x40, error: 'treat-as-withdraw' },
  2: { flags: 0x40, error: 'treat-as-withdraw' },
  3: { flags: 0x40, error: 'treat-as-withdraw' },
  4: { flags: 0x80, error: 'treat-as-withdraw' },
  5: { flags: 0x40, error: 'treat-as-withdraw' },
  6: { flags: 0x40, error: 'discard' },
  7: { flags: 0xc0, error: 'discard' },
  8: { flags: 0xc0, error: 'treat-as-withdraw' },
  9: { flags: 0x80, error: 'treat-as-withdraw' },
  10: { flags: 0x80, error: 'treat-as-withdraw' },
  16: { flags: 0xc0, error: 'treat-as-withdraw' },
  17: { flags: 0xc0, error: 'discard' },
  18: { flags: 0xc0, error: 'discard' },
  32: { flags: 0xc0, error: 'treat-as-withdraw' },
};
const REACH = 14;
const UNREACH = 15;

export function judgeUpdate(body: Uint8Array, context: Context): Verdict {
  return new Judge(body, context).verdict();
}

class Judge {
  readonly #body: Uint8Array;
  readonly #context: Context;
  readonly #says = new Set<string>();
  #discard = false;
  #withdraw = false;
  /** Reachable prefixes that were counted. */
  #announced = 0;
  /** Multiprotocol prefixes, also of families that nobody negotiated: they say that the NLRI was found (§5.2). */
  #reached = 0;
  readonly #present = new Set<number>();
  /** There are attributes other than MP_UNREACH_NLRI, or what may be one. */
  #others = false;

  constructor(body: Uint8Array, context: Context) {
    this.#body = body;
    this.#context = context;
  }

  verdict(): Verdict {
    const { length } = this.#body;
    const attributesAt = 2 + this.#u16(0);
    if (attributesAt <= length && this.#prefixes(2, attributesAt, 32) === null) this.#says.add(BAD_NETWORK);
    if (attributesAt + 2 > length) return this.#reset(MALFORMED_LIST);
    const nlriAt = attributesAt + 2 + this.#u16(attributesAt);
    if (nlriAt > length) return this.#reset(MALFORMED_LIST);
    this.#attributes(attributesAt + 2, nlriAt);
    const classic = this.#prefixes(nlriAt, length, 32);
    if (classic === null) this.#says.add(BAD_NETWORK);
    this.#announced += classic ?? 0;
    this.#reached += classic ?? 0;
    // §3 (d): mandatory where there is something reachable; NEXT_HOP for the classic field only.
    if (this.#announced > 0 && !(this.#present.has(1) && this.#present.has(2))) this.#withdraw = true;
    if ((classic ?? 0) > 0 && !this.#present.has(3)) this.#withdraw = true;
    // §5.2: an error, and no prefix that the attributes other than MP_UNREACH_NLRI belong to.
    if (this.#others && this.#withdraw && this.#reached === 0) this.#says.add(MALFORMED_LIST);
    return this.#result();
  }

  #result(): Verdict {
    const weaker = this.#withdraw ? 'treat-as-withdraw' : this.#discard ? 'discard' : 'fine';
    return { treatment: this.#says.size > 0 ? 'reset' : weaker, says: this.#says, announced: this.#announced };
  }

  #reset(...says: readonly string[]): Verdict {
    for (const one of says) this.#says.add(one);
    return this.#result();
  }

  #attributes(from: number, to: number): void {
    let at = from;
    while (at < to) {
      const left = to - at;
      const flags = this.#body[at] ?? 0;
      const wide = (flags & 0x10) !== 0;
      const code = left > 1 ? (this.#body[at + 1] ?? 0) : null;
      const header = wide ? 4 : 3;
      const size = left >= header ? (wide ? this.#u16(at + 2) : (this.#body[at + 2] ?? 0)) : 0;
      // §4: underrun and overrun. What cannot be found cannot be withdrawn (§3 j).
      if (left < header || header + size > left) {
        if (code === REACH || code === UNREACH)
          this.#says.add(this.#present.has(code) ? MALFORMED_LIST : OPTIONAL_ERROR);
        if (code === REACH || code === UNREACH) this.#says.add(OPTIONAL_ERROR);
        this.#withdraw = true;
        this.#others = true;
        return;
      }
      this.#others ||= code !== UNREACH;
      this.#attribute(code ?? 0, flags, at + header, at + header + size);
      at += header + size;
    }
  }

  #attribute(code: number, flags: number, from: number, to: number): void {
    const known = KNOWN[code];
    if (this.#present.has(code)) {
      // §3 (g)
      if (code === REACH || code === UNREACH) this.#says.add(MALFORMED_LIST);
      else this.#discard = true;
      return;
    }
    this.#present.add(code);
    if (code === REACH || code === UNREACH) {
      // §3 (c); the prefixes can still be found.
      if ((flags & 0xc0) !== 0x80) this.#withdraw = true;
      this.#multiprotocol(code, from, to);
      return;
    }
    if (known === undefined) {
      if ((flags & 0x80) === 0) this.#says.add(UNRECOGNIZED);
      return;
    }
    // §7.5, §7.9, §7.10: not from outside. RFC 6793 §4.1: not from who has four octets.
    const outside = (code === 5 || code === 9 || code === 10) && !this.#context.internal;
    const needless = (code === 17 || code === 18) && this.#context.as4;
    if (outside || needless) {
      this.#discard = true;
      return;
    }
    if ((flags & 0xc0) === known.flags && this.#goodSyntax(code, from, to)) return;
    if (known.error === 'discard') this.#discard = true;
    else this.#withdraw = true;
  }

  #goodSyntax(code: number, from: number, to: number): boolean {
    const size = to - from;
    const as = this.#context.as4 ? 4 : 2;
    switch (code) {
      case 1:
        return size === 1 && (this.#body[from] ?? 99) <= 2;
      case 2:
        return this.#goodPath(from, to, as);
      case 17:
        return size > 0 && this.#goodPath(from, to, 4);
      case 6:
        return size === 0;
      case 7:
        return size === as + 4;
      case 18:
        return size === 8;
      case 8:
      case 10:
        return size > 0 && size % 4 === 0;
      case 16:
        return size > 0 && size % 8 === 0;
      case 32:
        return size > 0 && size % 12 === 0;
      default:
        return size === 4;
    }
  }

  /** §7.2 */
  #goodPath(from: number, to: number, as: number): boolean {
    let at = from;
    while (at < to) {
      const type = this.#body[at] ?? 0;
      const count = at + 1 < to ? (this.#body[at + 1] ?? 0) : 0;
      if (type < 1 || type > 4 || count === 0) return false;
      at += 2 + count * as;
    }
    return at === to;
  }

  #multiprotocol(code: number, from: number, to: number): void {
    const unreadable = () => this.#says.add(OPTIONAL_ERROR).add(BAD_NETWORK);
    if (to - from < (code === REACH ? 5 : 3)) return void unreadable();
    const afi = this.#u16(from);
    const safi = this.#body[from + 2] ?? 0;
    const hop = code === REACH ? (this.#body[from + 3] ?? 0) : 0;
    const start = code === REACH ? from + 5 + hop : from + 3;
    if (start > to) return void unreadable();
    const family = safi !== 1 ? null : afi === 1 ? 4 : afi === 2 ? 6 : null;
    if (family === null || !this.#context.families.includes(family)) {
      // RFC 4760 §8: ignored, but it is where the attributes belong to.
      if (code === REACH && start < to) this.#reached++;
      return;
    }
    // §7.11
    const hops = family === 4 ? [4] : [16, 32];
    if (code === REACH && !hops.includes(hop)) return void unreadable();
    const count = this.#prefixes(start, to, family === 4 ? 32 : 128);
    if (count === null) return void unreadable();
    if (code !== REACH) return;
    this.#announced += count;
    this.#reached += count;
  }

  /** How many; null when they are syntactically incorrect (§5.3). */
  #prefixes(from: number, to: number, bits: number): number | null {
    let count = 0;
    let at = from;
    while (at < to) {
      const length = this.#body[at] ?? 0;
      if (length > bits) return null;
      at += 1 + ((length + 7) >> 3);
      count++;
    }
    return at === to ? count : null;
  }

  #u16(at: number): number {
    return ((this.#body[at] ?? 0) << 8) | (this.#body[at + 1] ?? 0);
  }
}
