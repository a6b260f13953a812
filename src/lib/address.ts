// IP addresses as canonical text (RFC 5952 for IPv6, dotted quad for IPv4): one address has one spelling, so text is
// usable as a key anywhere. Bytes exist only inside codecs.

export type Family = 4 | 6;

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;
const NOT_HEX = 255;
/** Value of a hexadecimal digit by its character code. */
const HEX_VALUE = Uint8Array.from({ length: 128 }, (_, code) => {
  const digit = '0123456789abcdef'.indexOf(String.fromCharCode(code).toLowerCase());
  return digit < 0 ? NOT_HEX : digit;
});

/** The canonical spelling of a literal address, or null if `text` is not one. Zone ids (`fe80::1%eth0`) keep their zone. */
export function canonicalAddress(text: string): string | null {
  const percent = text.indexOf('%');
  if (percent >= 0) {
    const zone = text.slice(percent + 1);
    const bytes = parseV6(text.slice(0, percent));
    return bytes === null || !/^[\w.-]{1,15}$/.test(zone) ? null : `${printV6(bytes)}%${zone}`;
  }
  const bytes = parseAddress(text);
  return bytes === null ? null : printAddress(bytes);
}

/** 4 or 16 bytes in network order, or null. IPv4 must be four decimal octets without leading zeros. */
export function parseAddress(text: string): Uint8Array | null {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

/** As parseAddress, for text already known to be canonical; a zone is dropped. */
export function addressBytes(address: string): Uint8Array {
  const percent = address.indexOf('%');
  const bytes = parseAddress(percent < 0 ? address : address.slice(0, percent));
  if (bytes === null) throw new TypeError(`not an IP address: ${address}`);
  return bytes;
}

/** Write the 4 or 16 bytes of an address known to be canonical, without a zone, at `at`. */
export function writeAddress(address: string, bytes: Uint8Array, at: number): void {
  const written = address.includes(':') ? writeV6(address, bytes, at) : writeV4(address, bytes, at);
  if (!written) bytes.set(addressBytes(address), at);
}

/** Canonical text of 4 or 16 bytes. */
export function printAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length === 16) return printV6(bytes);
  throw new TypeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** `10.0.0.1:80`, `[::1]:80` */
export function printEndpoint(address: string, port: number): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

function parseV4(text: string): Uint8Array | null {
  const bytes = new Uint8Array(4);
  return writeV4(text, bytes, 0) ? bytes : null;
}

/** Octet by octet, without intermediate strings: announcing 100,000 routes passes here 100,000 times. */
function writeV4(text: string, bytes: Uint8Array, at: number): boolean {
  let octet = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (digits === 0 || dots === 3) return false;
      bytes[at + dots++] = octet;
      octet = digits = 0;
      continue;
    }
    // No leading zeros: some read them as octal.
    if (code < ZERO || code > ZERO + 9 || (digits > 0 && octet === 0)) return false;
    octet = octet * 10 + code - ZERO;
    digits++;
    if (octet > 255) return false;
  }
  bytes[at + 3] = octet;
  return dots === 3 && digits > 0;
}

/** The plain form of RFC 4291 §2.2 (1) and (2). False: some other form, or none; `bytes` is scratch then. */
function writeV6(text: string, bytes: Uint8Array, at: number): boolean {
  const { length } = text;
  let groups = 0;
  /** How many groups stand before the gap. */
  let gap = -1;
  let i = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    i = 2;
  }
  while (i < length) {
    const first = i;
    let group = 0;
    for (let code = text.charCodeAt(i); code !== COLON; code = text.charCodeAt(i)) {
      const value = HEX_VALUE[code] ?? NOT_HEX;
      if (value === NOT_HEX) return false;
      group = group * 16 + value;
      if (++i === length) break;
    }
    if (i === first) {
      if (gap >= 0) return false;
      gap = groups;
    } else {
      if (i - first > 4 || groups === 8) return false;
      bytes[at + 2 * groups] = group >> 8;
      bytes[at + 2 * groups + 1] = group & 0xff;
      groups++;
      // A single colon at the end has nothing behind it.
      if (i === length - 1) return false;
    }
    i++;
  }
  if (gap < 0) return groups === 8;
  if (groups > 7) return false;
  // For a few octets loops are faster than copyWithin and fill.
  const start = at + 2 * gap;
  const tail = 2 * (groups - gap);
  for (let k = 1; k <= tail; k++) bytes[at + 16 - k] = bytes[start + tail - k] ?? 0;
  for (let k = start; k < at + 16 - tail; k++) bytes[k] = 0;
  return true;
}

function parseV6(text: string): Uint8Array | null {
  const plain = new Uint8Array(16);
  if (writeV6(text, plain, 0)) return plain;
  let head = text;
  const dot = text.indexOf('.');
  if (dot >= 0) {
    // RFC 4291 §2.2 (3): the last 32 bits may be written as IPv4.
    const colon = text.lastIndexOf(':', dot);
    const tail = parseV4(text.slice(colon + 1));
    if (tail === null || colon < 0) return null;
    const hex = (i: number) => (((tail[i] ?? 0) << 8) | (tail[i + 1] ?? 0)).toString(16);
    head = `${text.slice(0, colon + 1)}${hex(0)}:${hex(2)}`;
  }
  const halves = head.split('::');
  if (halves.length > 2) return null;
  const groups = (half: string | undefined) => (half === undefined || half === '' ? [] : half.split(':'));
  const left = groups(halves[0]);
  const right = groups(halves[1]);
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = [...left, ...new Array<string>(halves.length === 1 ? 0 : missing).fill('0'), ...right];
  const bytes = new Uint8Array(16);
  for (const [i, group] of all.entries()) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null;
    const value = Number.parseInt(group, 16);
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 0xff;
  }
  return bytes;
}

function printV6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  // RFC 5952 §4.2: shorten the first longest run of at least two zero groups.
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at < 0) return hex.join(':');
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.length).join(':')}`;
}
