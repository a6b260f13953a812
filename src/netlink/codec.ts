// Netlink's framing: messages (nlmsghdr), the generic-netlink header, attributes. Pure. A whole batch of messages is written
// into one buffer made beforehand, and attributes are read by a cursor that looks only at what is asked for: the kernel needs
// 2 µs for a change, so allocation here would be most of the cost. Called by netlink/socket.ts, ipvs/messages.ts and
// vip/rtnetlink-messages.ts. include/uapi/linux/netlink.h; RFC 3549. Fields are in host order, and every host that Node and
// koffi support is little-endian.

import { addressBytes, type Family, printAddress } from '../lib/address.ts';

export const NLMSG = { noop: 1, error: 2, done: 3, overrun: 4 } as const;
export const NLM_F = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  /** In an answer: the request is not echoed behind an error, attributes follow it. */
  capped: 0x100,
  ackTlvs: 0x200,
  /** In a request: ROOT | MATCH. */
  dump: 0x300,
  exclusive: 0x200,
  create: 0x400,
} as const;

const HEADER = 16;
const GENERIC_HEADER = 4;
export const ATTRIBUTE_HEADER = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER are flags in the type. */
const TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

export const align = (length: number): number => (length + 3) & ~3;

/** The kernel said something that is not netlink: lengths that lie, or a field of the wrong size. */
export class Malformed extends Error {
  constructor(what: string) {
    super(`malformed netlink message: ${what}`);
    this.name = 'Malformed';
  }
}

/** Messages, one behind the other, in one buffer of fixed size. Writing beyond it is a RangeError: ask `left` first. */
export class MessageWriter {
  readonly bytes: Uint8Array;
  /** The same memory, for values of attributes. */
  readonly view: DataView;
  #length = 0;
  #message = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }
  get left(): number {
    return this.bytes.length - this.#length;
  }

  /** Forget everything written. */
  clear(): void {
    this.#length = 0;
    this.#message = 0;
  }

  /** Start a message; it ends where the next one starts, or where `close` is called. */
  begin(type: number, flags: number, seq: number): void {
    this.close();
    const at = this.#length;
    this.#message = at;
    this.view.setUint32(at, HEADER, true);
    this.view.setUint16(at + 4, type, true);
    this.view.setUint16(at + 6, flags, true);
    this.view.setUint32(at + 8, seq, true);
    this.view.setUint32(at + 12, 0, true);
    this.#length = at + HEADER;
  }

  /** As `begin`, with the header of generic netlink behind it. */
  beginGeneric(family: number, command: number, version: number, flags: number, seq: number): void {
    this.begin(family, flags, seq);
    const at = this.#length;
    this.view.setUint32(at, command | (version << 8), true);
    this.#length = at + GENERIC_HEADER;
  }

  /** Add flags to the message that is being written. */
  addFlags(flags: number): void {
    const at = this.#message + 6;
    this.view.setUint16(at, this.view.getUint16(at, true) | flags, true);
  }

  /** End the message that is being written: its length is known now. */
  close(): void {
    if (this.#length > this.#message) this.view.setUint32(this.#message, this.#length - this.#message, true);
  }

  /** Bytes without an attribute header, a multiple of 4: a family's fixed header. */
  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** An attribute with `size` bytes of payload; returns where those go. Its padding is there already. */
  attribute(type: number, size: number): number {
    const at = this.#length;
    const end = at + ATTRIBUTE_HEADER + align(size);
    if (end > this.bytes.length) throw new RangeError('the message buffer is full');
    this.view.setUint32(at, (ATTRIBUTE_HEADER + size) | (type << 16), true);
    if ((size & 3) !== 0) this.view.setUint32(end - 4, 0);
    this.#length = end;
    return at + ATTRIBUTE_HEADER;
  }
  u8(type: number, value: number): void {
    this.view.setUint8(this.attribute(type, 1), value);
  }
  u32(type: number, value: number): void {
    this.view.setUint32(this.attribute(type, 4), value, true);
  }
  /** ASCII, NUL-terminated. */
  text(type: number, value: string): void {
    putText(this.view, this.attribute(type, value.length + 1), value, value.length + 1);
  }
  address(type: number, address: string, size: 4 | 16): void {
    putAddress(this.view, this.attribute(type, size), address, size);
  }

  /** Open a nested attribute; hand the answer to `endNest`. */
  nest(type: number): number {
    const at = this.#length;
    this.view.setUint32(at, (type | NESTED) << 16, true);
    this.#length = at + ATTRIBUTE_HEADER;
    return at;
  }
  endNest(at: number): void {
    this.view.setUint16(at, this.#length - at, true);
  }

  /** Write the present message once more behind itself, with another number. Its values are to be put in place. */
  again(seq: number): void {
    this.close();
    const from = this.#message;
    const at = this.#length;
    const end = at + (at - from);
    if (end > this.bytes.length) throw new RangeError('the message buffer is full');
    this.bytes.copyWithin(at, from, at);
    this.view.setUint32(at + 8, seq, true);
    this.#message = at;
    this.#length = end;
  }
}

/** ASCII in `size` bytes, the rest NUL. */
export function putText(view: DataView, at: number, text: string, size: number): void {
  if (text.length >= size) throw new RangeError(`'${text}' does not fit ${size} bytes`);
  for (let i = 0; i < size; i++) view.setUint8(at + i, i < text.length ? text.charCodeAt(i) : 0);
}

/** A canonical IP address in 4 or 16 bytes; an IPv4 one in 16 stands first, the rest is 0 (as IPVS has it). */
export function putAddress(view: DataView, at: number, address: string, size: 4 | 16): void {
  if (isIpv4(address)) {
    view.setUint32(at, parseIpv4(address));
    for (let rest = 4; rest < size; rest += 4) view.setUint32(at + rest, 0);
    return;
  }
  if (size !== 16) throw new RangeError(`${address} does not fit ${size} bytes`);
  for (const [i, octet] of addressBytes(address).entries()) view.setUint8(at + i, octet);
}

/** Of canonical text: a dot within four characters. Half of the time of a batch went into searching whole addresses. */
export function isIpv4(address: string): boolean {
  for (let i = 1; i < 4; i++) if (address.charCodeAt(i) === 0x2e) return true;
  return false;
}

/** Dotted quad, known to be canonical, to its number; without the allocations of a general parser. */
function parseIpv4(address: string): number {
  let value = 0;
  let octet = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === 0x2e) {
      value = (value << 8) | octet;
      octet = 0;
    } else octet = octet * 10 + code - 0x30;
  }
  return (value << 8) | octet;
}

/** A cursor over attributes between two offsets of a buffer. No length in it can lead outside. */
export class Attributes {
  readonly #view: DataView;
  readonly #end: number;
  #next: number;
  /** Where in the view the payload of the present attribute starts, and its bytes. */
  payload = 0;
  size = 0;
  /** Type of the present attribute, without the flags in it. */
  type = 0;

  constructor(view: DataView, start: number, end: number) {
    this.#view = view;
    this.#next = start;
    this.#end = Math.min(end, view.byteLength);
  }

  /** Go to the next attribute; false when there is none. Throws Malformed. */
  next(): boolean {
    const at = this.#next;
    const left = this.#end - at;
    if (left < ATTRIBUTE_HEADER) {
      if (left > 0) throw new Malformed(`${left} bytes where an attribute should start`);
      return false;
    }
    const header = this.#view.getUint32(at, true);
    const length = header & 0xffff;
    if (length < ATTRIBUTE_HEADER || length > left) throw new Malformed(`attribute of ${length} bytes in ${left}`);
    this.type = (header >>> 16) & TYPE_MASK;
    this.size = length - ATTRIBUTE_HEADER;
    this.payload = at + ATTRIBUTE_HEADER;
    this.#next = at + align(length);
    return true;
  }

  #sized(size: number): number {
    if (this.size !== size) throw new Malformed(`attribute ${this.type} has ${this.size} bytes, not ${size}`);
    return this.payload;
  }

  u8(): number {
    return this.#view.getUint8(this.#sized(1));
  }
  u16(): number {
    return this.#view.getUint16(this.#sized(2), true);
  }
  u16be(): number {
    return this.#view.getUint16(this.#sized(2));
  }
  u32(): number {
    return this.#view.getUint32(this.#sized(4), true);
  }
  i32(): number {
    return this.#view.getInt32(this.#sized(4), true);
  }
  u32be(): number {
    return this.#view.getUint32(this.#sized(4));
  }
  /** The first u32 of a pair: flags, without their mask. */
  u32pair(): number {
    return this.#view.getUint32(this.#sized(8), true);
  }
  /** Up to the first NUL. */
  text(): string {
    let text = '';
    for (let i = 0; i < this.size; i++) {
      const code = this.#view.getUint8(this.payload + i);
      if (code === 0) break;
      text += String.fromCharCode(code);
    }
    return text;
  }
  /** An IP address in 4 or 16 bytes. */
  address(): string {
    if (this.size !== 4 && this.size !== 16) throw new Malformed(`an address of ${this.size} bytes`);
    return addressAt(this.#view, this.payload, this.size === 4 ? 4 : 6);
  }
  /** A view, not a copy. */
  blob(): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.payload, this.size);
  }
  nested(): Attributes {
    return new Attributes(this.#view, this.payload, this.payload + this.size);
  }
}

/** Canonical text of the address whose bytes start at `at`. */
export function addressAt(view: DataView, at: number, family: Family): string {
  if (family === 6) return printAddress(new Uint8Array(view.buffer, view.byteOffset + at, 16));
  const value = view.getUint32(at);
  return `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;
}

/** A cursor over the messages of one datagram: nothing is copied. */
export class Messages {
  readonly view: DataView;
  #next = 0;
  type = 0;
  flags = 0;
  seq = 0;
  /** Body of the present message, behind its nlmsghdr. */
  start = 0;
  end = 0;

  /** The first `length` bytes of `bytes`. */
  constructor(bytes: Uint8Array, length = bytes.length) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, Math.min(length, bytes.length));
  }

  /** Go to the next message; false when there is none. Throws Malformed. */
  next(): boolean {
    const at = this.#next;
    const left = this.view.byteLength - at;
    if (left < HEADER) {
      if (left > 0) throw new Malformed(`${left} bytes where a message should start`);
      return false;
    }
    const length = this.view.getUint32(at, true);
    if (length < HEADER || length > left) throw new Malformed(`message of ${length} bytes in ${left}`);
    this.type = this.view.getUint16(at + 4, true);
    this.flags = this.view.getUint16(at + 6, true);
    this.seq = this.view.getUint32(at + 8, true);
    this.start = at + HEADER;
    this.end = at + length;
    this.#next = at + align(length);
    return true;
  }
}

/** Attributes of the present message behind `fixed` bytes of the family's own header. */
export function attributesOf(message: Messages, fixed: number): Attributes {
  if (fixed > message.end - message.start) throw new Malformed(`no room for a header of ${fixed} bytes`);
  return new Attributes(message.view, message.start + align(fixed), message.end);
}

/** Command and attributes of the present message, of generic netlink. */
export function genericOf(message: Messages): { readonly command: number; readonly attributes: Attributes } {
  const attributes = attributesOf(message, GENERIC_HEADER);
  return { command: message.view.getUint8(message.start), attributes };
}

/** NLMSGERR_ATTR_* */
const EXTENDED_ACK = { message: 1 } as const;

/** NLMSG_ERROR, or the status that NLMSG_DONE carries: errno (0: done) and what the kernel says about it, or ''. */
export function errorOf(message: Messages): { readonly errno: number; readonly text: string } {
  if (message.end - message.start < 4) throw new Malformed('error without an error number');
  const errno = 0 - message.view.getInt32(message.start, true);
  let text = '';
  if ((message.flags & NLM_F.ackTlvs) !== 0) {
    // Behind the number comes the offending request: its header, and its body too unless capped. DONE carries neither.
    let fixed = 4;
    if (message.type === NLMSG.error) {
      if (message.end - message.start < 4 + HEADER) throw new Malformed('error without the header that it is about');
      const echoed = message.view.getUint32(message.start + 4, true);
      fixed += (message.flags & NLM_F.capped) === 0 ? Math.max(echoed, HEADER) : HEADER;
    }
    for (const attributes = attributesOf(message, fixed); attributes.next(); ) {
      if (attributes.type === EXTENDED_ACK.message) text = attributes.text();
    }
  }
  return { errno, text };
}
