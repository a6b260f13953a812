// Capabilities, one row each, decode beside encode (RFC 5492). A new capability is a member of the union and a row;
// those without a row are carried as `unknown` and ignored by negotiation, as RFC 5492 §3 wants.

import { Reader, Truncated, Writer } from '../lib/bytes.ts';
import { ProtocolError } from './notification.ts';

type Known =
  /** RFC 4760 §8 */
  | { readonly is: 'multiprotocol'; readonly afi: number; readonly safi: number }
  /** RFC 2918 §2 */
  | { readonly is: 'route-refresh' }
  /** RFC 6793 §3 */
  | { readonly is: 'as4'; readonly as: number };

export type Capability = Known | { readonly is: 'unknown'; readonly code: number; readonly data: Uint8Array };

interface Row<C extends Known> {
  readonly code: number;
  decode(reader: Reader): C;
  encode(writer: Writer, capability: C): void;
}

const rows: { readonly [Is in Known['is']]: Row<Extract<Known, { is: Is }>> } = {
  multiprotocol: {
    code: 1,
    decode: (reader) => {
      const afi = reader.u16('AFI');
      reader.u8('reserved');
      return { is: 'multiprotocol', afi, safi: reader.u8('SAFI') };
    },
    encode: (writer, { afi, safi }) => writer.u16(afi).u8(0).u8(safi),
  },
  'route-refresh': {
    code: 2,
    decode: () => ({ is: 'route-refresh' }),
    encode: () => {},
  },
  as4: {
    code: 65,
    decode: (reader) => ({ is: 'as4', as: reader.u32('AS number') }),
    encode: (writer, { as }) => writer.u32(as),
  },
};

const byCode: ReadonlyMap<number, Row<Known>> = new Map(
  Object.values(rows).map((row) => [row.code, row as Row<Known>]),
);

/** All capabilities of one Capabilities parameter. RFC 5492 §4: a malformed one makes the OPEN malformed (2/0). */
export function decodeCapabilities(reader: Reader): Capability[] {
  const found: Capability[] = [];
  while (reader.left > 0) {
    const code = reader.u8('capability code');
    const value = reader.take(reader.u8('capability length'), 'capability');
    const row = byCode.get(code);
    if (row === undefined) {
      found.push({ is: 'unknown', code, data: value.bytes(value.left).slice() });
      continue;
    }
    try {
      found.push(row.decode(value));
    } catch (thrown) {
      if (!(thrown instanceof Truncated)) throw thrown;
      throw new ProtocolError('openUnspecific', `capability ${code} is too short`);
    }
    if (value.left > 0) throw new ProtocolError('openUnspecific', `capability ${code} is too long`);
  }
  return found;
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
