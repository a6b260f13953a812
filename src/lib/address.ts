// IP addresses as canonical text (RFC 5952 for IPv6, dotted quad for IPv4): one address has one spelling, so text is
// usable as a key anywhere. Bytes exist only inside codecs.

export type Family = 4 | 6;

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
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseV6(text: string): Uint8Array | null {
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
