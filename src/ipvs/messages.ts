// The IPVS table as generic-netlink messages: one row per attribute, its encoding beside its decoding, and the commands. Pure.
// Called by ipvs/netlink.ts. include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c.

import type { Family } from '../lib/address.ts';
import {
  addressAt,
  align,
  ATTRIBUTE_HEADER,
  type Attributes,
  genericOf,
  isIpv4,
  Malformed,
  type Messages,
  type MessageWriter,
  putAddress,
  putText,
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

const afOf = (address: string): number => (isIpv4(address) ? AF.inet : AF.inet6);

/** An attribute of fixed size: how its value is put into a message, and how what was read goes into a draft. */
interface Row<T, Draft> {
  readonly code: number;
  readonly name: string;
  /** Bytes of the value. */
  readonly size: number;
  readonly put: (view: DataView, at: number, item: T) => void;
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

// IPVS_SVC_ATTR_*
const SERVICE_AF: Row<IpvsService, ServiceDraft> = {
  code: 1,
  name: 'AF',
  size: 2,
  put: (view, at, service) => view.setUint16(at, afOf(service.address), true),
  decode: (attribute, draft) => void (draft.af = attribute.u16()),
};
/** Which service, for deletions and questions: an endpoint, or a mark. */
const ENDPOINT: readonly Row<IpvsService, ServiceDraft>[] = [
  SERVICE_AF,
  {
    code: 2,
    name: 'PROTOCOL',
    size: 2,
    put: (view, at, { protocol }) => view.setUint16(at, protocol === 'fwmark' ? 0 : PROTOCOL[protocol], true),
    decode: (attribute, draft) => void (draft.protocol = attribute.u16()),
  },
  {
    code: 3,
    name: 'ADDR',
    size: 16,
    put: (view, at, service) => putAddress(view, at, service.address, 16),
    decode: (attribute, draft) => void (draft.addressAt = addressOffset(attribute)),
  },
  {
    code: 4,
    name: 'PORT',
    size: 2,
    put: (view, at, service) => view.setUint16(at, service.port),
    decode: (attribute, draft) => void (draft.port = attribute.u16be()),
  },
];
const MARK: readonly Row<IpvsService, ServiceDraft>[] = [
  SERVICE_AF,
  {
    code: 5,
    name: 'FWMARK',
    size: 4,
    put: (view, at, service) => view.setUint32(at, service.fwmark, true),
    decode: (attribute, draft) => void (draft.fwmark = attribute.u32()),
  },
];
/** How it should be. */
const SERVICE_SETTINGS: readonly Row<IpvsService, ServiceDraft>[] = [
  {
    code: 6,
    name: 'SCHED_NAME',
    size: 16,
    put: (view, at, service) => putText(view, at, service.scheduler, 16),
    decode: (attribute, draft) => void (draft.scheduler = attribute.text()),
  },
  {
    code: 7,
    name: 'FLAGS', // struct ip_vs_flags: the mask says that each bit is meant
    size: 8,
    put: (view, at, service) => {
      view.setUint32(at, service.flags & ~FLAG.hashed, true);
      view.setUint32(at + 4, 0xffffffff, true);
    },
    decode: (attribute, draft) => void (draft.flags = attribute.u32pair() & ~FLAG.hashed),
  },
  {
    code: 8,
    name: 'TIMEOUT',
    size: 4,
    put: (view, at, service) => view.setUint32(at, service.persistenceSeconds, true),
    decode: (attribute, draft) => void (draft.persistenceSeconds = attribute.u32()),
  },
  {
    code: 9,
    name: 'NETMASK', // IPv4: the mask in network order. IPv6: the prefix length in host order.
    size: 4,
    put: (view, at, service) =>
      isIpv4(service.address)
        ? view.setUint32(at, ipv4Mask(service.persistencePrefix))
        : view.setUint32(at, service.persistencePrefix, true),
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
    size: 16,
    put: (view, at, destination) => putAddress(view, at, destination.address, 16),
    decode: (attribute, draft) => void (draft.addressAt = addressOffset(attribute)),
  },
  {
    code: 2,
    name: 'PORT',
    size: 2,
    put: (view, at, destination) => view.setUint16(at, destination.port),
    decode: (attribute, draft) => void (draft.port = attribute.u16be()),
  },
  {
    code: 11,
    name: 'ADDR_FAMILY', // Linux 3.18; a tunnel may lead to a real server of the other family.
    size: 2,
    put: (view, at, destination) => view.setUint16(at, afOf(destination.address), true),
    decode: (attribute, draft) => void (draft.af = attribute.u16()),
  },
];
const DESTINATION_SETTINGS: readonly Row<IpvsDestination, DestinationDraft>[] = [
  {
    code: 3,
    name: 'FWD_METHOD',
    size: 4,
    put: (view, at, destination) => view.setUint32(at, FORWARD[destination.forward], true),
    decode: (attribute, draft) => void (draft.forward = attribute.u32()),
  },
  {
    code: 4,
    name: 'WEIGHT',
    size: 4,
    put: (view, at, destination) => view.setUint32(at, destination.weight, true),
    decode: (attribute, draft) => void (draft.weight = attribute.i32()),
  },
  {
    code: 5,
    name: 'U_THRESH',
    size: 4,
    put: (view, at, destination) => view.setUint32(at, destination.upperThreshold, true),
    decode: (attribute, draft) => void (draft.upperThreshold = attribute.u32()),
  },
  {
    code: 6,
    name: 'L_THRESH',
    size: 4,
    put: (view, at, destination) => view.setUint32(at, destination.lowerThreshold, true),
    decode: (attribute, draft) => void (draft.lowerThreshold = attribute.u32()),
  },
];

const ENDPOINT_SERVICE = [...ENDPOINT, ...SERVICE_SETTINGS];
const MARKED_SERVICE = [...MARK, ...SERVICE_SETTINGS];
const DESTINATION = [...DESTINATION_IDENTITY, ...DESTINATION_SETTINGS];
/** The first of the attributes of a destination. */
const ADDRESS = DESTINATION.slice(0, 1);
const DESTINATION_LENGTH = lengthOf(DESTINATION);
const DESTINATION_IDENTITY_LENGTH = lengthOf(DESTINATION_IDENTITY);
const SERVICE_BY_CODE = byCode([...ENDPOINT_SERVICE, ...MARK]);
const DESTINATION_BY_CODE = byCode(DESTINATION);

const OP_COMMAND: Readonly<Record<IpvsOp['do'], number>> = {
  'add-service': COMMAND.newService,
  'set-service': COMMAND.setService,
  'delete-service': COMMAND.deleteService,
  'add-destination': COMMAND.newDestination,
  'set-destination': COMMAND.setDestination,
  'delete-destination': COMMAND.deleteDestination,
};

/**
 * One change. `family` is the number that IPVS has in this kernel. `previous` is what was written just before into the same
 * batch: most of a batch are destinations of one service, and their messages differ in a few bytes.
 */
export function encodeOp(
  writer: MessageWriter,
  op: IpvsOp,
  previous: IpvsOp | null,
  family: number,
  flags: number,
  seq: number,
): void {
  const command = OP_COMMAND[op.do];
  switch (op.do) {
    case 'add-service':
    case 'set-service':
    case 'delete-service':
      writer.beginGeneric(family, command, VERSION, flags, seq);
      encodeService(writer, op.service, op.do !== 'delete-service');
      return;
    case 'add-destination':
    case 'set-destination':
    case 'delete-destination': {
      const whole = op.do !== 'delete-destination';
      const rows = whole ? DESTINATION : DESTINATION_IDENTITY;
      if (previous !== null && previous.do === op.do && previous.service === op.service) {
        writer.again(seq);
        const length = whole ? DESTINATION_LENGTH : DESTINATION_IDENTITY_LENGTH;
        putAtEnd(
          writer,
          differsInAddressOnly(previous.destination, op.destination) ? ADDRESS : rows,
          length,
          op.destination,
        );
        return;
      }
      writer.beginGeneric(family, command, VERSION, flags, seq);
      encodeService(writer, op.service, false);
      encodeNest(writer, NEST.destination, rows, op.destination);
      return;
    }
    default:
      op satisfies never;
  }
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
  const rows =
    service.protocol === 'fwmark' ? (settings ? MARKED_SERVICE : MARK) : settings ? ENDPOINT_SERVICE : ENDPOINT;
  encodeNest(writer, NEST.service, rows, service);
}

function encodeNest<T, Draft>(writer: MessageWriter, nest: number, rows: readonly Row<T, Draft>[], item: T): void {
  const start = writer.nest(nest);
  for (const row of rows) row.put(writer.view, writer.attribute(row.code, row.size), item);
  writer.endNest(start);
}

function differsInAddressOnly(a: IpvsDestination, b: IpvsDestination): boolean {
  return (
    a.port === b.port &&
    a.forward === b.forward &&
    a.weight === b.weight &&
    a.upperThreshold === b.upperThreshold &&
    a.lowerThreshold === b.lowerThreshold &&
    isIpv4(a.address) === isIpv4(b.address)
  );
}

/** Put other values into the attributes, `length` bytes of them, that the present message ends with. */
function putAtEnd<T, Draft>(writer: MessageWriter, rows: readonly Row<T, Draft>[], length: number, item: T): void {
  const view = writer.view;
  let at = writer.length - length;
  for (const row of rows) {
    row.put(view, at + ATTRIBUTE_HEADER, item);
    at += ATTRIBUTE_HEADER + align(row.size);
  }
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

/** Bytes of the rows as attributes, headers and padding included. */
function lengthOf<T, Draft>(rows: readonly Row<T, Draft>[]): number {
  return rows.reduce((length, row) => length + ATTRIBUTE_HEADER + align(row.size), 0);
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
