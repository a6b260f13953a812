// Local routes and rules of VIPs that are present by route, as rtnetlink messages. Pure. Called by vip/rtnetlink.ts.
// include/uapi/linux/rtnetlink.h, fib_rules.h.

import { familyOf } from '../lib/address.ts';
import { attributesOf, type Messages, type MessageWriter, NLM_F } from '../netlink/codec.ts';
import { ADDRESS_PROTOCOL, type AddressOp, ROUTE_TABLE, RULE_PRIORITY } from './addresses.ts';

const RTM = { newRoute: 24, deleteRoute: 25, getRoute: 26, newRule: 32, deleteRule: 33, getRule: 34 } as const;
/** struct rtmsg and struct fib_rule_hdr: family, destination's and source's prefix length, TOS, and what differs below. */
const HEADER = 12;
const AF = { 4: 2, 6: 10 } as const;
const RTA = { destination: 1, outputInterface: 4, table: 15 } as const;
const RTN_LOCAL = 2;
const RT_SCOPE_HOST = 254;
const FRA = { destination: 1, inputInterface: 3, priority: 6, table: 15, protocol: 21 } as const;
const FR_ACT_TO_TBL = 1;
const LOOPBACK_INDEX = 1;

type RouteOp = AddressOp & { readonly do: 'add-route' | 'delete-route' };
type RuleOp = AddressOp & { readonly do: 'add-rule' | 'delete-rule' };

/** The question for all rules of a family (a dump). */
export function encodeListRules(writer: MessageWriter, family: 4 | 6, flags: number, seq: number): void {
  writer.begin(RTM.getRule, flags, seq);
  writer.raw(header([AF[family]]));
}

/** The question for the routes of our table; a kernel before 4.20 answers with those of all tables. ENOENT: it has none. */
export function encodeListRoutes(writer: MessageWriter, family: 4 | 6, flags: number, seq: number): void {
  writer.begin(RTM.getRoute, flags, seq);
  writer.raw(header([AF[family], 0, 0, 0, ROUTE_TABLE]));
}

/** As `ip route add local ADDRESS/32 dev lo table …`. */
export function encodeRouteOp(writer: MessageWriter, op: RouteOp, flags: number, seq: number): void {
  const add = op.do === 'add-route';
  writer.begin(add ? RTM.newRoute : RTM.deleteRoute, add ? flags | NLM_F.create | NLM_F.exclusive : flags, seq);
  const length = op.family === 4 ? 32 : 128;
  writer.raw(header([AF[op.family], length, 0, 0, ROUTE_TABLE, ADDRESS_PROTOCOL, RT_SCOPE_HOST, RTN_LOCAL]));
  writer.address(RTA.destination, op.address, op.family === 4 ? 4 : 16);
  writer.u32(RTA.outputInterface, LOOPBACK_INDEX);
}

/** As `ip rule add pref … iif UPLINK to ADDRESS/32 lookup …`. Only one of ours is deleted: the protocol has to be the same. */
export function encodeRuleOp(writer: MessageWriter, op: RuleOp, flags: number, seq: number): void {
  const add = op.do === 'add-rule';
  writer.begin(add ? RTM.newRule : RTM.deleteRule, add ? flags | NLM_F.create | NLM_F.exclusive : flags, seq);
  const length = op.family === 4 ? 32 : 128;
  writer.raw(header([AF[op.family], length, 0, 0, ROUTE_TABLE, 0, 0, FR_ACT_TO_TBL]));
  writer.address(FRA.destination, op.address, op.family === 4 ? 4 : 16);
  writer.text(FRA.inputInterface, op.uplink);
  writer.u32(FRA.priority, RULE_PRIORITY);
  writer.u8(FRA.protocol, ADDRESS_PROTOCOL);
}

/** The VIP of a local route of ours; null for all others. Throws Malformed. */
export function decodeRoute(message: Messages): string | null {
  if (message.type !== RTM.newRoute) return null;
  const { view, start } = message;
  const attributes = attributesOf(message, HEADER);
  const ours = view.getUint8(start + 5) === ADDRESS_PROTOCOL && view.getUint8(start + 7) === RTN_LOCAL;
  const length = view.getUint8(start + 1);
  let table = view.getUint8(start + 4);
  let destination: string | null = null;
  while (attributes.next()) {
    if (attributes.type === RTA.destination && ours) destination = attributes.address();
    else if (attributes.type === RTA.table) table = attributes.u32();
  }
  return ours && table === ROUTE_TABLE && destination !== null && isHost(destination, length) ? destination : null;
}

export interface Rule {
  readonly address: string;
  readonly uplink: string;
}

/** A rule of ours; null for all others. Throws Malformed. */
export function decodeRule(message: Messages): Rule | null {
  if (message.type !== RTM.newRule) return null;
  const { view, start } = message;
  const attributes = attributesOf(message, HEADER);
  const family = view.getUint8(start);
  if (family !== AF[4] && family !== AF[6]) return null;
  const length = view.getUint8(start + 1);
  let table = view.getUint8(start + 4);
  let address: string | null = null;
  let uplink: string | null = null;
  let priority = 0;
  let protocol = 0;
  while (attributes.next()) {
    if (attributes.type === FRA.destination) address = attributes.address();
    else if (attributes.type === FRA.inputInterface) uplink = attributes.text();
    else if (attributes.type === FRA.priority) priority = attributes.u32();
    else if (attributes.type === FRA.table) table = attributes.u32();
    else if (attributes.type === FRA.protocol) protocol = attributes.u8();
  }
  if (protocol !== ADDRESS_PROTOCOL || priority !== RULE_PRIORITY || table !== ROUTE_TABLE) return null;
  return address !== null && uplink !== null && isHost(address, length) ? { address, uplink } : null;
}

function isHost(address: string, prefixLength: number): boolean {
  return prefixLength === (familyOf(address) === 4 ? 32 : 128);
}

function header(bytes: readonly number[]): Uint8Array {
  const raw = new Uint8Array(HEADER);
  raw.set(bytes);
  return raw;
}
