// A table dump as routers write it (MRT, RFC 6396 §4.3): the only way to bring many routes into GoBGP with its own tools.

import { addressBytes } from '../../src/lib/address.ts';
import { Writer } from '../../src/lib/bytes.ts';
import { ADDRESS, type Family } from './receiver.ts';

const SOURCE_AS = 64555;
const TABLE_DUMP_V2 = 13;
const PEER_INDEX_TABLE = 1;
const RIB_UNICAST: Readonly<Record<Family, number>> = { 4: 2, 6: 4 };

/** Routes to host addresses with one attribute set. */
export function tableDump(family: Family, addresses: readonly string[]): Uint8Array {
  const file = new Writer(addresses.length * 128);
  // Said to come from nobody in particular: GoBGP sends no route back to where it has it from.
  const peer = addressBytes('192.0.2.77');
  // One peer with an IPv4 address and a four-octet AS number.
  record(file, PEER_INDEX_TABLE, (body) => body.bytes(peer).u16(0).u16(1).u8(2).bytes(peer).bytes(peer).u32(SOURCE_AS));
  const attributes = pathAttributes(family);
  addresses.forEach((address, i) => {
    const bytes = addressBytes(address);
    record(file, RIB_UNICAST[family], (body) =>
      body
        .u32(i)
        .u8(bytes.length * 8)
        .bytes(bytes)
        .u16(1)
        .u16(0)
        .u32(0)
        .u16(attributes.length)
        .bytes(attributes),
    );
  });
  return file.finish();
}

function record(file: Writer, subtype: number, write: (body: Writer) => void): void {
  const body = new Writer();
  write(body);
  const bytes = body.finish();
  file.u32(0).u16(TABLE_DUMP_V2).u16(subtype).u32(bytes.length).bytes(bytes);
}

/** ORIGIN IGP, an empty AS_PATH (GoBGP adds itself), the announcer as next hop. GoBGP takes no short form of MP_REACH_NLRI (§4.3.4). */
function pathAttributes(family: Family): Uint8Array {
  const writer = new Writer().u8(0x40).u8(1).u8(1).u8(0).u8(0x40).u8(2).u8(0);
  const nextHop = addressBytes(ADDRESS[family].announcer);
  if (family === 4) writer.u8(0x40).u8(3).u8(4).bytes(nextHop);
  else writer.u8(0x80).u8(14).u8(21).u16(2).u8(1).u8(16).bytes(nextHop).u8(0);
  return writer.finish();
}
