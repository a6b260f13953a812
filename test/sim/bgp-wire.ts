// BGP as a witness reads it: just enough of RFC 4271 and RFC 4760 to know which routes a speaker has told a peer. Written
// apart from src/bgp on purpose: what is judged must not be judged by its own code. Throws on bytes that make no sense.

export interface WireRoute {
  readonly med: number | null;
  readonly nextHop: string;
}

export type WireMessage =
  | { readonly is: 'open'; readonly holdTimeSeconds: number; readonly routerId: string }
  | {
      readonly is: 'update';
      readonly withdrawn: readonly string[];
      readonly announced: readonly (readonly [address: string, route: WireRoute])[];
    }
  | { readonly is: 'notification'; readonly code: number; readonly subcode: number }
  | { readonly is: 'keepalive' }
  | { readonly is: 'other'; readonly type: number };

const HEADER = 19;

/** Cuts one direction of a connection into messages. */
export class WireReader {
  #held: Uint8Array = new Uint8Array();

  push(bytes: Uint8Array): WireMessage[] {
    const all = new Uint8Array(this.#held.length + bytes.length);
    all.set(this.#held);
    all.set(bytes, this.#held.length);
    const messages: WireMessage[] = [];
    let at = 0;
    while (all.length - at >= HEADER) {
      for (let i = 0; i < 16; i++) if (all[at + i] !== 0xff) throw new Error('BGP marker is not all ones');
      const length = u16(all, at + 16);
      if (length < HEADER || length > 4096) throw new Error(`BGP message of ${length} octets`);
      if (all.length - at < length) break;
      messages.push(decode(all[at + 18] ?? 0, all.subarray(at + HEADER, at + length)));
      at += length;
    }
    this.#held = all.slice(at);
    return messages;
  }
}

function decode(type: number, body: Uint8Array): WireMessage {
  switch (type) {
    case 1:
      return { is: 'open', holdTimeSeconds: u16(body, 3), routerId: v4(body.subarray(5, 9)) };
    case 2:
      return decodeUpdate(body);
    case 3:
      return { is: 'notification', code: body[0] ?? 0, subcode: body[1] ?? 0 };
    case 4:
      return { is: 'keepalive' };
    default:
      return { is: 'other', type };
  }
}

function decodeUpdate(body: Uint8Array): WireMessage {
  const withdrawnEnd = 2 + u16(body, 0);
  const attributesEnd = withdrawnEnd + 2 + u16(body, withdrawnEnd);
  const withdrawn = prefixes(body.subarray(2, withdrawnEnd), 4);
  let med: number | null = null;
  let nextHop = '';
  const announced6: string[] = [];
  let nextHop6 = '';
  let at = withdrawnEnd + 2;
  while (at < attributesEnd) {
    const flags = body[at] ?? 0;
    const type = body[at + 1] ?? 0;
    const extended = (flags & 0x10) !== 0;
    const length = extended ? u16(body, at + 2) : (body[at + 2] ?? 0);
    const start = at + (extended ? 4 : 3);
    const value = body.subarray(start, start + length);
    if (value.length !== length) throw new Error('BGP attribute runs over the end');
    if (type === 3) nextHop = v4(value);
    if (type === 4) med = ((value[0] ?? 0) * 0x1000000 + ((value[1] ?? 0) << 16) + u16(value, 2)) >>> 0;
    if (type === 14) {
      const hop = value[3] ?? 0;
      nextHop6 = v6(value.subarray(4, 20));
      announced6.push(...prefixes(value.subarray(5 + hop), 6));
    }
    if (type === 15) withdrawn.push(...prefixes(value.subarray(3), 6));
    at = start + length;
  }
  const announced4 = prefixes(body.subarray(attributesEnd), 4);
  return {
    is: 'update',
    withdrawn,
    announced: [
      ...announced4.map((address) => [address, { med, nextHop }] as const),
      ...announced6.map((address) => [address, { med, nextHop: nextHop6 }] as const),
    ],
  };
}

/** Host routes only: a director has nothing else to tell. */
function prefixes(bytes: Uint8Array, family: 4 | 6): string[] {
  const out: string[] = [];
  const size = family === 4 ? 4 : 16;
  for (let at = 0; at < bytes.length; at += 1 + size) {
    if (bytes[at] !== size * 8) throw new Error(`BGP prefix of ${bytes[at]} bits`);
    const address = bytes.subarray(at + 1, at + 1 + size);
    if (address.length !== size) throw new Error('BGP prefix runs over the end');
    out.push(family === 4 ? v4(address) : v6(address));
  }
  return out;
}

export function encodeOpen(asn: number, holdTimeSeconds: number, routerId: string): Uint8Array {
  // Capabilities: IPv4 and IPv6 unicast (RFC 4760), 4-octet AS numbers (RFC 6793).
  const capabilities = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4, (asn >>> 24) & 255, (asn >>> 16) & 255];
  capabilities.push((asn >>> 8) & 255, asn & 255);
  const parameters = [2, capabilities.length, ...capabilities];
  const id = routerId.split('.').map(Number);
  const hold = [holdTimeSeconds >> 8, holdTimeSeconds & 255];
  return message(1, [4, (asn >> 8) & 255, asn & 255, ...hold, ...id, parameters.length, ...parameters]);
}

export const KEEPALIVE = message(4, []);

export function encodeNotification(code: number, subcode: number): Uint8Array {
  return message(3, [code, subcode]);
}

function message(type: number, body: readonly number[]): Uint8Array {
  const length = HEADER + body.length;
  return Uint8Array.from([...new Array<number>(16).fill(0xff), length >> 8, length & 255, type, ...body]);
}

function u16(bytes: Uint8Array, at: number): number {
  const [high, low] = [bytes[at], bytes[at + 1]];
  if (high === undefined || low === undefined) throw new Error('BGP message is too short');
  return (high << 8) | low;
}

function v4(bytes: Uint8Array): string {
  return bytes.join('.');
}

/** As the topology spells its addresses: `2001:db8:ffff::1`, one run of zeros, the longest. */
function v6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => u16(bytes, 2 * i).toString(16)).join(':');
  const runs = groups.match(/(?:^|:)0(?::0)+(?=:|$)/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  return longest === '' ? groups : groups.replace(longest, ':').replace(/^:(?!:)|(?<!:):$/g, '::');
}
