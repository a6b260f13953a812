// The IPVS table as data: what every backend lists and applies, what the decision wants, what the difference is made of.
// Pure. Terms and flags are the kernel's (include/uapi/linux/ip_vs.h).

import { printEndpoint } from '../lib/address.ts';

export type Protocol = 'tcp' | 'udp';

/** dr: direct routing. nat: masquerading. tunnel: IPIP. local: the director itself. bypass: transparent cache (never made by us). */
export type ForwardMethod = 'dr' | 'nat' | 'tunnel' | 'local' | 'bypass';

/** `tcp 10.0.0.1:80`, `udp [2001:db8::1]:53`, or `fwmark 7 inet6` for entries that are never ours. */
export type ServiceKey = string;
/** `10.0.0.9:80` */
export type DestinationKey = string;

/** Schedulers of Linux 6.12; each is a module `ip_vs_<name>`. */
export const SCHEDULERS = [
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'lblcr',
  'dh',
  'sh',
  'sed',
  'nq',
  'fo',
  'ovf',
  'mh',
  'twos',
] as const;

export interface IpvsService {
  readonly key: ServiceKey;
  readonly protocol: Protocol | 'sctp' | 'fwmark';
  readonly address: string;
  readonly port: number;
  /** 0 unless protocol is fwmark. */
  readonly fwmark: number;
  readonly scheduler: string;
  /** IP_VS_SVC_F_* without HASHED: see FLAG. */
  readonly flags: number;
  /** Persistence timeout, seconds; 0 without FLAG.persistent. */
  readonly persistenceSeconds: number;
  /** Prefix length that persistence groups clients by: 32 or 128 unless set. */
  readonly persistencePrefix: number;
}

export const FLAG = { persistent: 1, hashed: 2, onePacket: 4, sched1: 8, sched2: 16, sched3: 32 } as const;

export interface IpvsDestination {
  readonly key: DestinationKey;
  readonly address: string;
  readonly port: number;
  readonly forward: ForwardMethod;
  readonly weight: number;
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
}

export interface IpvsEntry {
  readonly service: IpvsService;
  /** In the kernel's order as far as the backend knows it. */
  readonly destinations: ReadonlyMap<DestinationKey, IpvsDestination>;
}

export type IpvsTable = ReadonlyMap<ServiceKey, IpvsEntry>;

export type IpvsOp =
  | { readonly do: 'add-service'; readonly service: IpvsService }
  | { readonly do: 'set-service'; readonly service: IpvsService }
  | { readonly do: 'delete-service'; readonly service: IpvsService }
  | { readonly do: 'add-destination'; readonly service: IpvsService; readonly destination: IpvsDestination }
  | { readonly do: 'set-destination'; readonly service: IpvsService; readonly destination: IpvsDestination }
  | { readonly do: 'delete-destination'; readonly service: IpvsService; readonly destination: IpvsDestination };

export function serviceKey(protocol: Protocol | 'sctp', address: string, port: number): ServiceKey {
  return `${protocol} ${printEndpoint(address, port)}`;
}

export function fwmarkKey(mark: number, family: 4 | 6): ServiceKey {
  return `fwmark ${mark} ${family === 4 ? 'inet' : 'inet6'}`;
}

export function destinationKey(address: string, port: number): DestinationKey {
  return printEndpoint(address, port);
}

/** Equal as the kernel sees them: HASHED is the kernel's own mark. */
export function sameService(a: IpvsService, b: IpvsService): boolean {
  return (
    a.key === b.key &&
    a.scheduler === b.scheduler &&
    (a.flags & ~FLAG.hashed) === (b.flags & ~FLAG.hashed) &&
    a.persistenceSeconds === b.persistenceSeconds &&
    a.persistencePrefix === b.persistencePrefix
  );
}

/** Equal as the kernel sees them. */
export function sameDestination(a: IpvsDestination, b: IpvsDestination): boolean {
  return (
    a.key === b.key &&
    a.forward === b.forward &&
    a.weight === b.weight &&
    a.upperThreshold === b.upperThreshold &&
    a.lowerThreshold === b.lowerThreshold
  );
}

export function sameEntry(a: IpvsEntry, b: IpvsEntry): boolean {
  if (a === b) return true;
  if (!sameService(a.service, b.service) || a.destinations.size !== b.destinations.size) return false;
  for (const [key, destination] of a.destinations) {
    const other = b.destinations.get(key);
    if (other === undefined || !sameDestination(destination, other)) return false;
  }
  return true;
}
