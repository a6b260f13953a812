// The IPVS table as generic-netlink messages: one row per attribute, its encoding beside its decoding, and the commands. Pure.
// Called by ipvs/netlink.ts. include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c.

import { type Family, familyOf } from '../lib/address.ts';
import {
  addressAt,
  type Attributes,
  genericOf,
  Malformed,
  type Messages,
  type MessageWriter,
} from '../netlink/codec.ts';
import {
  destinationKey,
  FLAG,
  type ForwardMethod,
  fwmarkKey,
  type IpvsDestination,
  type IpvsOp,
  type IpvsService,
  serviceKey,
} from './table.ts';

export const IPVS_FAMILY = 'IPVS';
const VERSION = 1;

/** IPVS_CMD_* */
export const COMMAND = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
  getInfo: 15,
} as const;

/** IPVS_CMD_ATTR_* */
const NEST = { service: 1, destination: 2 } as const;

const AF = { inet: 2, inet6: 10 } as const;
const PROTOCOL = { tcp: 6, udp: 17, sctp: 132 } as const;
const PROTOCOL_NAME: Readonly<Record<number, keyof typeof PROTOCOL>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
/** IP_VS_CONN_F_*: only these bits of the connection flags are the method. */
const FORWARD: Readonly<Record<ForwardMethod, number>> = { nat: 0, local: 1, tunnel: 2, dr: 3, bypass: 4 };
const FORWARD_NAME: readonly (ForwardMethod | undefined)[] = ['nat', 'local', 'tunnel', 'dr', 'bypass'];
const FORWARD_MASK = 7;

const afOf = (address: string): number => (familyOf(address) === 6 ? AF.inet6 : AF.inet);

/** An attribute: how it is written, and how what was read goes into a draft. */
interface Row<T, Draft> {
  readonly code: number;
  readonly name: string;
  readonly encode: (writer: MessageWriter, code: number, item: T) => void;
  readonly decode: (attribute: Attributes, draft: Draft) => void;
}

/** What was read of a service. `addressAt` is an offset, as the family may come behind the address; -1: not there. */
interface ServiceDraft {
  af: number;
  protocol: number;
  addressAt: number;
  port: number;
  fwmark: number;
  scheduler: string;
  flags: number;
  persistenceSeconds: number;
  netmask: number;
}

// IPVS_SVC_ATTR_*. First three lists say which service, for deletions and questions; the fourth how it should be.
const SERVICE_AF: Row<IpvsService, ServiceDraft> = {
  code: 1,
  name: 'AF',
  encode: (writer, code, service) => writer.u16(code, afOf(service.address)),
  decode: (attribute, draft) => void (draft.af = attribute.u16()),
};
const ENDPOINT: readonly Row<IpvsService, ServiceDraft>[] = [
  {
    code: 2,
    name: 'PROTOCOL',
    encode: (writer, code, { protocol }) => writer.u16(code, protocol === 'fwmark' ? 0 : PROTOCOL[protocol]),
    decode: (attribute, draft) => void (draft.protocol = attribute.u16()),
  },
  {
    code: 3,
    name: 'ADDR',
    encode: (writer, code, service) => writer.address(code, service.address, 16),
    decode: (attribute, draft) => void (draft.addressAt = addressOffset(attribute)),
  },
  {
    code: 4,
    name: 'PORT',
    encode: (writer, code, service) => writer.u16be(code, service.port),
    decode: (attribute, draft) => void (draft.port = attribute.u16be()),
  },
];
const MARK: readonly Row<IpvsService, ServiceDraft>[] = [
  {
    code: 5,
    name: 'FWMARK',
    encode: (writer, code, service) => writer.u32(code, service.fwmark),
    decode: (attribute, draft) => void (draft.fwmark = attribute.u32()),
  },
];
const SERVICE_SETTINGS: readonly Row<IpvsService, ServiceDraft>[] = [
  {
    code: 6,
    name: 'SCHED_NAME',
    encode: (writer, code, service) => writer.text(code, service.scheduler),
    decode: (attribute, draft) => void (draft.scheduler = attribute.text()),
  },
  {
    code: 7,
    name: 'FLAGS', // struct ip_vs_flags: the mask says that each bit is meant
    encode: (writer, code, service) => writer.u32pair(code, service.flags & ~FLAG.hashed, 0xffffffff),
    decode: (attribute, draft) => void (draft.flags = attribute.u32pair() & ~FLAG.hashed),
  },
  {
    code: 8,
    name: 'TIMEOUT',
    encode: (writer, code, service) => writer.u32(code, service.persistenceSeconds),
    decode: (attribute, draft) => void (draft.persistenceSeconds = attribute.u32()),
  },
  {
    code: 9,
    name: 'NETMASK', // IPv4: the mask in network order. IPv6: the prefix length in host order.
    encode: (writer, code, service) =>
      familyOf(service.address) === 6
        ? writer.u32(code, service.persistencePrefix)
        : writer.u32be(code, ipv4Mask(service.persistencePrefix)),
    decode: (attribute, draft) => void (draft.netmask = attribute.u32()),
  },
];

interface DestinationDraft {
  af: number;
  addressAt: number;
  port: number;
  forward: number;
  weight: number;
  upperThreshold: number;
  lowerThreshold: number;
}

// IPVS_DEST_ATTR_*. Tunnels are plain IPIP: TUN_TYPE (13) and what belongs to it are neither written nor looked at.
const DESTINATION_IDENTITY: readonly Row<IpvsDestination, DestinationDraft>[] = [
  {
    code: 1,
    name: 'ADDR',
    encode: (writer, code, destination) => writer.address(code, destination.address, 16),
    decode: (attribute, draft) => void (draft.addressAt = addressOffset(attribute)),
  },
  {
    code: 2,
    name: 'PORT',
    encode: (writer, code, destination) => writer.u16be(code, destination.port),
    decode: (attribute, draft) => void (draft.port = attribute.u16be()),
  },
  {
    code: 11,
    name: 'ADDR_FAMILY', // Linux 3.18; a tunnel may lead to a real server of the other family.
    encode: (writer, code, destination) => writer.u16(code, afOf(destination.address)),
    decode: (attribute, draft) => void (draft.af = attribute.u16()),
  },
];
const DESTINATION_SETTINGS: readonly Row<IpvsDestination, DestinationDraft>[] = [
  {
    code: 3,
    name: 'FWD_METHOD',
    encode: (writer, code, destination) => writer.u32(code, FORWARD[destination.forward]),
    decode: (attribute, draft) => void (draft.forward = attribute.u32()),
  },
  {
    code: 4,
    name: 'WEIGHT',
    encode: (writer, code, destination) => writer.u32(code, destination.weight),
    decode: (attribute, draft) => void (draft.weight = attribute.i32()),
  },
  {
    code: 5,
    name: 'U_THRESH',
    encode: (writer, code, destination) => writer.u32(code, destination.upperThreshold),
    decode: (attribute, draft) => void (draft.upperThreshold = attribute.u32()),
  },
  {
    code: 6,
    name: 'L_THRESH',
    encode: (writer, code, destination) => writer.u32(code, destination.lowerThreshold),
    decode: (attribute, draft) => void (draft.lowerThreshold = attribute.u32()),
  },
];

const SERVICE_BY_CODE = byCode([SERVICE_AF, ...ENDPOINT, ...MARK, ...SERVICE_SETTINGS]);
const DESTINATION_BY_CODE = byCode([...DESTINATION_IDENTITY, ...DESTINATION_SETTINGS]);

const OP_COMMAND: Readonly<Record<IpvsOp['do'], number>> = {
  'add-service': COMMAND.newService,
  'set-service': COMMAND.setService,
  'delete-service': COMMAND.deleteService,
  'add-destination': COMMAND.newDestination,
  'set-destination': COMMAND.setDestination,
  'delete-destination': COMMAND.deleteDestination,
};

/** One change. `family` is the number that IPVS has in this kernel. */
export function encodeOp(writer: MessageWriter, op: IpvsOp, family: number, flags: number, seq: number): void {
  writer.beginGeneric(family, OP_COMMAND[op.do], VERSION, flags, seq);
  encodeService(writer, op.service, op.do === 'add-service' || op.do === 'set-service');
  if ('destination' in op) encodeDestination(writer, op.destination, op.do !== 'delete-destination');
}

/** The question for all services (a dump), answered by one `decodeService` each. */
export function encodeListServices(writer: MessageWriter, family: number, flags: number, seq: number): void {
  writer.beginGeneric(family, COMMAND.getService, VERSION, flags, seq);
}

/** The question for all destinations of a service (a dump). A service that is not there has none: that is no error. */
export function encodeListDestinations(
  writer: MessageWriter,
  service: IpvsService,
  family: number,
  flags: number,
  seq: number,
): void {
  writer.beginGeneric(family, COMMAND.getDestination, VERSION, flags, seq);
  encodeService(writer, service, false);
}

/** A question that changes nothing and needs the same privilege as all others. */
export function encodeGetInfo(writer: MessageWriter, family: number, flags: number, seq: number): void {
  writer.beginGeneric(family, COMMAND.getInfo, VERSION, flags, seq);
}

function encodeService(writer: MessageWriter, service: IpvsService, settings: boolean): void {
  const nest = writer.nest(NEST.service);
  SERVICE_AF.encode(writer, SERVICE_AF.code, service);
  for (const row of service.protocol === 'fwmark' ? MARK : ENDPOINT) row.encode(writer, row.code, service);
  if (settings) for (const row of SERVICE_SETTINGS) row.encode(writer, row.code, service);
  writer.endNest(nest);
}

function encodeDestination(writer: MessageWriter, destination: IpvsDestination, settings: boolean): void {
  const nest = writer.nest(NEST.destination);
  for (const row of DESTINATION_IDENTITY) row.encode(writer, row.code, destination);
  if (settings) for (const row of DESTINATION_SETTINGS) row.encode(writer, row.code, destination);
  writer.endNest(nest);
}

/** A service out of a dump; null if it is of a kind that the table cannot say (an unknown protocol). Throws Malformed. */
export function decodeService(message: Messages): IpvsService | null {
  const draft: ServiceDraft = {
    af: 0,
    protocol: 0,
    addressAt: -1,
    port: 0,
    fwmark: 0,
    scheduler: '',
    flags: 0,
    persistenceSeconds: 0,
    netmask: 0,
  };
  decodeNest(message, NEST.service, SERVICE_BY_CODE, draft);
  const family = familyOfAf(draft.af);
  const settings = {
    fwmark: draft.fwmark,
    scheduler: draft.scheduler,
    flags: draft.flags,
    persistenceSeconds: draft.persistenceSeconds,
    persistencePrefix: family === 4 ? bitCount(draft.netmask) : draft.netmask,
  };
  if (draft.fwmark !== 0) {
    const key = fwmarkKey(draft.fwmark, family);
    return { key, protocol: 'fwmark', address: family === 4 ? '0.0.0.0' : '::', port: 0, ...settings };
  }
  const protocol = PROTOCOL_NAME[draft.protocol];
  if (protocol === undefined) return null;
  if (draft.addressAt < 0) throw new Malformed('a service without its address');
  const address = addressAt(message.view, draft.addressAt, family);
  return { key: serviceKey(protocol, address, draft.port), protocol, address, port: draft.port, ...settings };
}

/** A destination out of a dump. `family` is its service's: old kernels do not say it again. Throws Malformed. */
export function decodeDestination(message: Messages, family: Family): IpvsDestination {
  const draft: DestinationDraft = {
    af: family === 6 ? AF.inet6 : AF.inet,
    addressAt: -1,
    port: 0,
    forward: 0,
    weight: 0,
    upperThreshold: 0,
    lowerThreshold: 0,
  };
  decodeNest(message, NEST.destination, DESTINATION_BY_CODE, draft);
  const forward = FORWARD_NAME[draft.forward & FORWARD_MASK];
  if (forward === undefined) throw new Malformed(`forwarding method ${draft.forward & FORWARD_MASK}`);
  if (draft.addressAt < 0) throw new Malformed('a destination without its address');
  const address = addressAt(message.view, draft.addressAt, familyOfAf(draft.af));
  return {
    key: destinationKey(address, draft.port),
    address,
    port: draft.port,
    forward,
    weight: draft.weight,
    upperThreshold: draft.upperThreshold,
    lowerThreshold: draft.lowerThreshold,
  };
}

function decodeNest<T, Draft>(
  message: Messages,
  nest: number,
  rows: readonly (Row<T, Draft> | undefined)[],
  draft: Draft,
): void {
  for (const outer = genericOf(message).attributes; outer.next(); ) {
    if (outer.type !== nest) continue;
    for (const attribute = outer.nested(); attribute.next(); ) rows[attribute.type]?.decode(attribute, draft);
    return;
  }
  throw new Malformed(`no attribute ${nest} in an answer of IPVS`);
}

function byCode<T, Draft>(rows: readonly Row<T, Draft>[]): readonly (Row<T, Draft> | undefined)[] {
  const indexed: (Row<T, Draft> | undefined)[] = [];
  for (const row of rows) indexed[row.code] = row;
  return Array.from(indexed); // No holes.
}

function addressOffset(attribute: Attributes): number {
  if (attribute.size !== 16) throw new Malformed(`an address of ${attribute.size} bytes`);
  return attribute.payload;
}

function familyOfAf(af: number): Family {
  if (af === AF.inet) return 4;
  if (af === AF.inet6) return 6;
  throw new Malformed(`address family ${af}`);
}

const ipv4Mask = (prefix: number): number => (prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);

function bitCount(value: number): number {
  let count = 0;
  for (let rest = value >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}
