// An op as the arguments of ipvsadm that do the same. Pure. For the dry run, for the text of errors, and as the witness in
// tests. ipvsadm(8).

import { familyOf, printEndpoint } from '../lib/address.ts';
import {
  FLAG,
  type ForwardMethod,
  type IpvsDestination,
  type IpvsOp,
  type IpvsService,
  type IpvsTable,
} from './table.ts';

const LETTER: Readonly<Record<IpvsOp['do'], string>> = {
  'add-service': '-A',
  'set-service': '-E',
  'delete-service': '-D',
  'add-destination': '-a',
  'set-destination': '-e',
  'delete-destination': '-d',
};

/** ipvsadm has no word for `local` and `bypass`: the kernel makes the first out of any method by itself. */
const METHOD: Readonly<Record<ForwardMethod, string>> = {
  dr: '-g',
  nat: '-m',
  tunnel: '-i',
  local: '-g',
  bypass: '-g',
};

/** `-a -t 10.9.0.1:80 -r 10.2.0.21:80 -g -w 10`: also a line that `ipvsadm -R` reads. */
export function ipvsadmLine(op: IpvsOp): string {
  const words = [LETTER[op.do], ...identity(op.service)];
  if (op.do === 'add-service' || op.do === 'set-service') words.push(...serviceSettings(op.service));
  if ('destination' in op) {
    words.push('-r', printEndpoint(op.destination.address, op.destination.port));
    if (op.do !== 'delete-destination') words.push(...destinationSettings(op.destination));
  }
  return words.join(' ');
}

/** The lines that make the table out of nothing: what `ipvsadm -Sn` prints, with every default said. */
export function ipvsadmSave(table: IpvsTable): string {
  const lines: string[] = [];
  for (const { service, destinations } of table.values()) {
    lines.push(ipvsadmLine({ do: 'add-service', service }));
    for (const destination of destinations.values()) {
      lines.push(ipvsadmLine({ do: 'add-destination', service, destination }));
    }
  }
  return lines.map((line) => `${line}\n`).join('');
}

function identity(service: IpvsService): string[] {
  const endpoint = () => printEndpoint(service.address, service.port);
  switch (service.protocol) {
    case 'tcp':
      return ['-t', endpoint()];
    case 'udp':
      return ['-u', endpoint()];
    case 'sctp':
      return ['--sctp-service', endpoint()];
    case 'fwmark':
      return ['-f', String(service.fwmark), ...(familyOf(service.address) === 6 ? ['-6'] : [])];
    default:
      return service.protocol satisfies never;
  }
}

function serviceSettings(service: IpvsService): string[] {
  const words = ['-s', service.scheduler];
  if ((service.flags & FLAG.persistent) !== 0) {
    words.push('-p', String(service.persistenceSeconds));
    const host = familyOf(service.address) === 6 ? 128 : 32;
    if (service.persistencePrefix !== host) words.push('-M', netmask(service));
  }
  if ((service.flags & FLAG.onePacket) !== 0) words.push('-o');
  const names = schedulerFlags(service);
  if (names.length > 0) words.push('-b', names.join(','));
  return words;
}

/** sh and mh give two of the three scheduler flags a name. */
function schedulerFlags({ scheduler, flags }: IpvsService): string[] {
  const named = scheduler === 'sh' || scheduler === 'mh' ? scheduler : null;
  const names: string[] = [];
  if ((flags & FLAG.sched1) !== 0) names.push(named === null ? 'flag-1' : `${named}-fallback`);
  if ((flags & FLAG.sched2) !== 0) names.push(named === null ? 'flag-2' : `${named}-port`);
  if ((flags & FLAG.sched3) !== 0) names.push('flag-3');
  return names;
}

function netmask({ address, persistencePrefix }: IpvsService): string {
  if (familyOf(address) === 6) return String(persistencePrefix);
  const mask = persistencePrefix === 0 ? 0 : 0xffffffff << (32 - persistencePrefix);
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 0xff).join('.');
}

function destinationSettings(destination: IpvsDestination): string[] {
  const words = [METHOD[destination.forward], '-w', String(destination.weight)];
  if (destination.upperThreshold !== 0) words.push('-x', String(destination.upperThreshold));
  if (destination.lowerThreshold !== 0) words.push('-y', String(destination.lowerThreshold));
  return words;
}
