// Addresses of interfaces as rtnetlink messages. Pure. Called by vip/rtnetlink.ts. include/uapi/linux/if_addr.h; RFC 3549 §3.

import { familyOf } from '../lib/address.ts';
import { attributesOf, Malformed, type Messages, type MessageWriter, NLM_F } from '../netlink/codec.ts';
import { ADDRESS_PROTOCOL, type AddressOp } from './addresses.ts';
import { encodeRouteOp, encodeRuleOp } from './route-messages.ts';

const RTM = { newAddress: 20, deleteAddress: 21, getAddress: 22 } as const;
/** struct ifaddrmsg: family, prefix length, flags, scope (u8 each), interface index (u32). */
const IFADDRMSG = 8;
const AF = { unspecified: 0, inet: 2, inet6: 10 } as const;
const IFA = { address: 1, local: 2, flags: 8, protocol: 11 } as const;
const IFA_F_NODAD = 0x02;
const SCOPE = { universe: 0, host: 254 } as const;
/** The loopback interface is the first of every network namespace (LOOPBACK_IFINDEX). */
const LOOPBACK_INDEX = 1;

/** The question for all addresses of all interfaces (a dump). */
export function encodeListAddresses(writer: MessageWriter, flags: number, seq: number): void {
  writer.begin(RTM.getAddress, flags, seq);
  writer.raw(new Uint8Array(IFADDRMSG));
}

export function encodeOp(writer: MessageWriter, op: AddressOp, flags: number, seq: number): void {
  switch (op.do) {
    case 'add-address':
    case 'delete-address':
      return encodeAddressOp(writer, op, flags, seq);
    case 'add-route':
    case 'delete-route':
      return encodeRouteOp(writer, op, flags, seq);
    case 'add-rule':
    case 'delete-rule':
      return encodeRuleOp(writer, op, flags, seq);
    default:
      op satisfies never;
  }
}

/** As `ip addr add ADDRESS/32 dev lo` and `ip addr del …`; IPv6 without duplicate address detection. */
function encodeAddressOp(
  writer: MessageWriter,
  op: AddressOp & { readonly do: 'add-address' | 'delete-address' },
  flags: number,
  seq: number,
): void {
  const add = op.do === 'add-address';
  const v4 = familyOf(op.address) === 4;
  writer.begin(add ? RTM.newAddress : RTM.deleteAddress, add ? flags | NLM_F.create | NLM_F.exclusive : flags, seq);
  const scope = v4 && op.address.startsWith('127.') ? SCOPE.host : SCOPE.universe; // As ip(8) does by default.
  const ifaddrmsg = new Uint8Array(IFADDRMSG);
  ifaddrmsg.set([v4 ? AF.inet : AF.inet6, v4 ? 32 : 128, 0, add ? scope : 0, LOOPBACK_INDEX]);
  writer.raw(ifaddrmsg);
  writer.address(IFA.local, op.address, v4 ? 4 : 16);
  writer.address(IFA.address, op.address, v4 ? 4 : 16);
  if (!add) return;
  if (!v4) writer.u32(IFA.flags, IFA_F_NODAD);
  writer.u8(IFA.protocol, ADDRESS_PROTOCOL); // Linux 5.18; older ones skip it.
}

export interface InterfaceAddress {
  readonly address: string;
  readonly prefixLength: number;
  readonly interfaceIndex: number;
  readonly protocol: number;
}

/** Null for what is not an IP address (AF_DECnet and the like). Throws Malformed. */
export function decodeAddress(message: Messages): InterfaceAddress | null {
  if (message.type !== RTM.newAddress) return null;
  const attributes = attributesOf(message, IFADDRMSG);
  const family = message.view.getUint8(message.start);
  if (family !== AF.inet && family !== AF.inet6) return null;
  let local: string | null = null;
  let address: string | null = null;
  let protocol = 0;
  while (attributes.next()) {
    // On a point-to-point interface IFA_ADDRESS is the other end.
    if (attributes.type === IFA.local) local = attributes.address();
    else if (attributes.type === IFA.address) address = attributes.address();
    else if (attributes.type === IFA.protocol) protocol = attributes.u8();
  }
  const own = local ?? address;
  if (own === null) throw new Malformed('an address message without an address');
  return {
    address: own,
    prefixLength: message.view.getUint8(message.start + 1),
    interfaceIndex: message.view.getUint32(message.start + 4, true),
    protocol,
  };
}
