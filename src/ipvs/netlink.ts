// The netlink backend: the kernel's own IPVS table over generic netlink. A world's `ipvs` where IPVS and CAP_NET_ADMIN exist.

import { type Cut, Knife } from '../lib/cut.ts';
import { familyOf } from '../lib/address.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import type { Log } from '../log/record.ts';
import { type Libc, openLibc } from '../ffi/libc.ts';
import { familyNumber } from '../netlink/generic.ts';
import { BATCH_CHANGES, type Encode, NETLINK_GENERIC, NetlinkSocket } from '../netlink/socket.ts';
import type { Files, Kernel, Processes } from '../world/world.ts';
import { ipvsadmLine } from './ipvsadm.ts';
import {
  decodeDestination,
  decodeService,
  encodeGetInfo,
  encodeListDestinations,
  encodeListServices,
  encodeOp,
  IPVS_FAMILY,
} from './messages.ts';
import {
  type DestinationKey,
  type IpvsDestination,
  type IpvsEntry,
  type IpvsOp,
  type IpvsService,
  type IpvsTable,
  SCHEDULERS,
  sameService,
  type ServiceKey,
} from './table.ts';

export interface NetlinkIpvs extends Kernel<IpvsTable, IpvsOp, ServiceKey> {
  close(): void;
}

/** Reads of the service list before `list` gives up on a table that somebody rebuilds all the time. */
const MAX_ROUNDS = 5;

/**
 * Opens nothing that stays open on failure. Loads ip_vs where the kernel has it as a module. `breathe` gives the event loop a
 * turn: it is awaited after each 250 changes, or entries listed. Throws SystemError: ENOENT without IPVS, EPERM without
 * CAP_NET_ADMIN, ENOSYS or EPROTONOSUPPORT without netlink.
 */
export function openNetlinkIpvs(breathe: () => Promise<void>, libc: Libc = openLibc()): NetlinkIpvs {
  const socket = new NetlinkSocket(libc, NETLINK_GENERIC);
  try {
    const family = familyNumber(socket, IPVS_FAMILY);
    socket.ask('IPVS_CMD_GET_INFO', (writer, flags, seq) => encodeGetInfo(writer, family, flags, seq));
  } catch (error) {
    socket.close();
    throw error;
  }
  return {
    list: (keys) => list(socket, breathe, keys),
    apply: (ops) => apply(socket, breathe, ops),
    close: () => socket.close(),
  };
}

async function apply(
  socket: NetlinkSocket,
  breathe: () => Promise<void>,
  ops: readonly IpvsOp[],
): Promise<readonly (null | SystemError)[]> {
  let family: number;
  try {
    // Asked each time: the module may have been unloaded and loaded again, and then the old number is another family's.
    family = familyNumber(socket, IPVS_FAMILY);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return ops.map(() => error);
  }
  const encode: Encode<IpvsOp> = (writer, op, flags, seq, previous) =>
    encodeOp(writer, op, previous, family, flags, seq);
  const results: (null | SystemError)[] = [];
  for (let at = 0; at < ops.length; ) {
    if (at > 0) await breathe();
    at = socket.batch(ops, at, encode, ipvsadmLine, results);
  }
  return results;
}

/**
 * The services are read before and after the destinations: a dump of the destinations of a service that has vanished is empty
 * and no error, so only a service that is the same in both readings has really been read.
 */
async function list(
  socket: NetlinkSocket,
  breathe: () => Promise<void>,
  keys?: readonly ServiceKey[],
): Promise<IpvsTable> {
  const family = familyNumber(socket, IPVS_FAMILY);
  const only = keys === undefined ? null : new Set(keys);
  const read = new Map<ServiceKey, IpvsEntry>();
  let services = listServices(socket, family, only);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let entries = 0;
    for (const service of services) {
      const known = read.get(service.key);
      if (known !== undefined && sameService(known.service, service)) continue;
      const destinations = listDestinations(socket, family, service);
      read.set(service.key, { service, destinations });
      entries += 1 + destinations.size;
      if (entries >= BATCH_CHANGES) {
        entries = 0;
        await breathe();
      }
    }
    services = listServices(socket, family, only);
    const table = settled(services, read);
    if (table !== null) return table;
  }
  throw new SystemError('EAGAIN', 'list IPVS', `the services changed during each of ${MAX_ROUNDS} readings`);
}

/** The services as listed last, with their destinations; null if one of them is new or another since those were read. */
function settled(services: readonly IpvsService[], read: ReadonlyMap<ServiceKey, IpvsEntry>): IpvsTable | null {
  const table = new Map<ServiceKey, IpvsEntry>();
  for (const service of services) {
    const entry = read.get(service.key);
    if (entry === undefined || !sameService(entry.service, service)) return null;
    table.set(service.key, entry);
  }
  return table;
}

function listServices(socket: NetlinkSocket, family: number, only: ReadonlySet<ServiceKey> | null): IpvsService[] {
  const services: IpvsService[] = [];
  socket.dump(
    'list IPVS services',
    (writer, flags, seq) => encodeListServices(writer, family, flags, seq),
    () => void (services.length = 0),
    (message) => {
      const service = decodeService(message);
      if (service !== null && (only === null || only.has(service.key))) services.push(service);
    },
  );
  return services;
}

function listDestinations(
  socket: NetlinkSocket,
  family: number,
  service: IpvsService,
): ReadonlyMap<DestinationKey, IpvsDestination> {
  const destinations = new Map<DestinationKey, IpvsDestination>();
  const addressFamily = familyOf(service.address);
  socket.dump(
    `list IPVS destinations of ${service.key}`,
    (writer, flags, seq) => encodeListDestinations(writer, service, family, flags, seq),
    () => destinations.clear(),
    (message) => {
      const destination = decodeDestination(message, addressFamily);
      destinations.set(destination.key, destination);
    },
  );
  return destinations;
}

/**
 * Once, before the first change: schedulers are loaded, and the settings in force are logged. Neither has to succeed: what
 * fails is a warning.
 */
export async function prepareIpvs({ processes, files, log }: Prepared): Promise<void> {
  const warn = (text: string): void => log({ level: 'warn', system: 'pybal', text });
  try {
    await loadSchedulers(processes, new Knife());
  } catch (error) {
    warn(`IPVS schedulers are loaded when they are first used: ${errorText(error)}`);
  }
  const settings = Object.entries(await ipvsSysctls(files)).map(([name, value]) => `${name}=${value}`);
  if (settings.length === 0) warn('IPVS settings under /proc/sys/net/ipv4/vs cannot be read');
  else log({ level: 'info', system: 'pybal', text: `IPVS settings in force: ${settings.join(', ')}` });
}

interface Prepared {
  readonly processes: Processes;
  readonly files: Files;
  readonly log: Log;
}

/**
 * Load the modules of all schedulers. Otherwise the first service with a new one makes the kernel run modprobe while our event
 * loop waits (170 ms). A scheduler that is not there is the kernel's ENOENT when it is used. Rejects with a SystemError when
 * modprobe cannot be run or does not end.
 */
export async function loadSchedulers(processes: Processes, cut: Cut): Promise<void> {
  const modules = SCHEDULERS.map((scheduler) => `ip_vs_${scheduler}`);
  const command = { path: '/sbin/modprobe', env: {}, timeoutMs: 10_000, maxOutputBytes: 4096 };
  const { timedOut } = await processes.run({ ...command, args: ['-a', '-q', '--', ...modules] }, cut);
  if (timedOut) throw new SystemError('ETIMEDOUT', 'modprobe');
}

/** Settings of the kernel that decide what happens to established connections. They are the administrator's: only read. */
const SYSCTLS = [
  'expire_nodest_conn',
  'expire_quiescent_template',
  'conn_reuse_mode',
  'sloppy_tcp',
  'conntrack',
  'schedule_icmp',
  'snat_reroute',
  'sync_threshold',
] as const;

/** `{ expire_nodest_conn: '0', … }`: those of this network namespace that can be read. */
export async function ipvsSysctls(files: Files): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for (const name of SYSCTLS) {
    try {
      const bytes = await files.read(`/proc/sys/net/ipv4/vs/${name}`, 4096);
      found[name] = new TextDecoder().decode(bytes).trim().replace(/\s+/g, ' ');
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
  }
  return found;
}
