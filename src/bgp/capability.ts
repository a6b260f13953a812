// Capabilities, one row each, decode beside encode (RFC 5492). A new capability is a member of the union and a row;
// those without a row are carried as `unknown` and ignored by negotiation, as RFC 5492 §3 wants.

import { Reader, Truncated, Writer } from '../lib/bytes.ts';
import { ProtocolError } from './notification.ts';

export interface AddressFamily {
  readonly afi: number;
  readonly safi: number;
}

type Known =
  /** RFC 4760 §8 */
  | { readonly is: 'multiprotocol'; readonly afi: number; readonly safi: number }
  /** RFC 2918 §2 */
  | { readonly is: 'route-refresh' }
  /** RFC 8950 §4 */
  | {
      readonly is: 'extended-next-hop';
      readonly families: readonly (AddressFamily & { readonly nextHopAfi: number })[];
    }
  /** RFC 8654 §3 */
  | { readonly is: 'extended-message' }
  /** RFC 4724 §3, RFC 8538 §2 */
  | {
      readonly is: 'graceful-restart';
      readonly restarted: boolean;
      /** A NOTIFICATION does not end it (the N bit). */
      readonly notification: boolean;
      readonly seconds: number;
      readonly families: readonly (AddressFamily & { readonly forwarding: boolean })[];
    }
  /** RFC 6793 §3 */
  | { readonly is: 'as4'; readonly as: number }
  /** RFC 7313 §3.1 */
  | { readonly is: 'enhanced-refresh' }
  /** RFC 9494 §3.1 */
  | {
      readonly is: 'long-lived-graceful-restart';
      readonly families: readonly (AddressFamily & { readonly forwarding: boolean; readonly seconds: number })[];
    }
  /** draft-walton-bgp-hostname-capability */
  | { readonly is: 'hostname'; readonly host: string; readonly domain: string }
  /** draft-abraitis-bgp-version-capability */
  | { readonly is: 'software-version'; readonly version: string };

export type Capability = Known | { readonly is: 'unknown'; readonly code: number; readonly data: Uint8Array };

interface Row<C extends Known> {
  readonly code: number;
  /** A malformed one is ignored: the session does not depend on it. Others make the OPEN malformed. */
  readonly dispensable: boolean;
  /** Takes all of `reader`. Throws Truncated. */
  decode(reader: Reader): C;
  encode(writer: Writer, capability: C): void;
}

/** RFC 4724 §3, RFC 8538 §2 */
const RESTARTED = 0x8000;
const NOTIFICATION = 0x4000;
const SECONDS = 0x0fff;
const FORWARDING = 0x80;

const rows: { readonly [Is in Known['is']]: Row<Extract<Known, { is: Is }>> } = {
  multiprotocol: {
    code: 1,
    dispensable: false,
    decode: (reader) => {
      const afi = reader.u16('AFI');
      reader.u8('reserved');
      return { is: 'multiprotocol', afi, safi: reader.u8('SAFI') };
    },
    encode: (writer, { afi, safi }) => writer.u16(afi).u8(0).u8(safi),
  },
  'route-refresh': {
    code: 2,
    dispensable: false,
    decode: () => ({ is: 'route-refresh' }),
    encode: () => {},
  },
  'extended-next-hop': {
    code: 5,
    dispensable: true,
    decode: (reader) => ({
      is: 'extended-next-hop',
      families: all(reader, () => ({ afi: reader.u16(), safi: reader.u16(), nextHopAfi: reader.u16() })),
    }),
    encode: (writer, { families }) => {
      for (const { afi, safi, nextHopAfi } of families) writer.u16(afi).u16(safi).u16(nextHopAfi);
    },
  },
  'extended-message': {
    code: 6,
    dispensable: true,
    decode: () => ({ is: 'extended-message' }),
    encode: () => {},
  },
  'graceful-restart': {
    code: 64,
    dispensable: true,
    decode: (reader) => {
      const flags = reader.u16('restart flags');
      return {
        is: 'graceful-restart',
        restarted: (flags & RESTARTED) !== 0,
        notification: (flags & NOTIFICATION) !== 0,
        seconds: flags & SECONDS,
        families: all(reader, () => ({
          afi: reader.u16(),
          safi: reader.u8(),
          forwarding: (reader.u8() & FORWARDING) !== 0,
        })),
      };
    },
    encode: (writer, { restarted, notification, seconds, families }) => {
      writer.u16((restarted ? RESTARTED : 0) | (notification ? NOTIFICATION : 0) | Math.min(seconds, SECONDS));
      for (const { afi, safi, forwarding } of families)
        writer
          .u16(afi)
          .u8(safi)
          .u8(forwarding ? FORWARDING : 0);
    },
  },
  as4: {
    code: 65,
    dispensable: false,
    decode: (reader) => ({ is: 'as4', as: reader.u32('AS number') }),
    encode: (writer, { as }) => writer.u32(as),
  },
  'enhanced-refresh': {
    code: 70,
    dispensable: true,
    decode: () => ({ is: 'enhanced-refresh' }),
    encode: () => {},
  },
  'long-lived-graceful-restart': {
    code: 71,
    dispensable: true,
    decode: (reader) => ({
      is: 'long-lived-graceful-restart',
      families: all(reader, () => ({
        afi: reader.u16(),
        safi: reader.u8(),
        forwarding: (reader.u8() & FORWARDING) !== 0,
        seconds: (reader.u8() << 16) | reader.u16(),
      })),
    }),
    encode: (writer, { families }) => {
      for (const { afi, safi, forwarding, seconds } of families) {
        writer
          .u16(afi)
          .u8(safi)
          .u8(forwarding ? FORWARDING : 0);
        writer.u8(seconds >> 16).u16(seconds & 0xffff);
      }
    },
  },
  hostname: {
    code: 73,
    dispensable: true,
    decode: (reader) => ({ is: 'hostname', host: text(reader), domain: text(reader) }),
    encode: (writer, { host, domain }) => [host, domain].forEach((name) => writeText(writer, name)),
  },
  'software-version': {
    code: 75,
    dispensable: true,
    decode: (reader) => ({ is: 'software-version', version: text(reader) }),
    encode: (writer, { version }) => writeText(writer, version),
  },
};

/** The two drafts' names fit easily; longer ones are cut. */
const MAX_TEXT_BYTES = 64;

const byCode: ReadonlyMap<number, Row<Known>> = new Map(
  Object.values(rows).map((row) => [row.code, row as Row<Known>]),
);

/**
 * All capabilities of one Capabilities parameter. A malformed one that the session depends on makes the OPEN malformed
 * (RFC 4271 §6.2: 2/0).
 */
export function decodeCapabilities(reader: Reader): Capability[] {
  const found: Capability[] = [];
  while (reader.left > 0) {
    const code = reader.u8('capability code');
    const data = reader.bytes(reader.u8('capability length'), 'capability');
    const row = byCode.get(code);
    const known = row === undefined ? null : decodeOne(row, new Reader(data));
    found.push(known ?? { is: 'unknown', code, data: data.slice() });
  }
  return found;
}

function decodeOne(row: Row<Known>, value: Reader): Known | null {
  try {
    const capability = row.decode(value);
    if (value.left === 0) return capability;
  } catch (thrown) {
    if (!(thrown instanceof Truncated)) throw thrown;
  }
  if (row.dispensable) return null;
  throw new ProtocolError('openUnspecific', `malformed capability ${row.code}`);
}

export function encodeCapability(writer: Writer, capability: Capability): void {
  if (capability.is === 'unknown') {
    writer.u8(capability.code).u8(capability.data.length).bytes(capability.data);
    return;
  }
  const row: Row<Known> = rows[capability.is] as Row<Known>;
  const value = new Writer(16);
  row.encode(value, capability);
  const bytes = value.finish();
  writer.u8(row.code).u8(bytes.length).bytes(bytes);
}

/** For people: `graceful-restart`, `unknown 128`. */
export function nameCapability(capability: Capability): string {
  return capability.is === 'unknown' ? `unknown ${capability.code}` : capability.is;
}

/** Values to the end of the field. */
function all<T>(reader: Reader, one: () => T): T[] {
  const values: T[] = [];
  while (reader.left > 0) values.push(one());
  return values;
}

/** A length and as many octets of UTF-8. */
function text(reader: Reader): string {
  return new TextDecoder('utf-8').decode(reader.bytes(reader.u8('length'), 'text'));
}

function writeText(writer: Writer, value: string): void {
  const bytes = new Uint8Array(MAX_TEXT_BYTES);
  // Cut at a character.
  const { written } = new TextEncoder().encodeInto(value, bytes);
  writer.u8(written).bytes(bytes.subarray(0, written));
}
