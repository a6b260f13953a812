// The kernel of a simulated machine: its IPVS table and the addresses of its interfaces, with the errors that the real one
// gives. Every operation is an event of its own, so a process can die, and somebody else can write, after k of n. What a
// kernel can do to us is in KernelFaults; what other people do to it goes through `table` and `addresses` directly.

import { familyOf } from '../../src/lib/address.ts';
import { SystemError } from '../../src/lib/errors.ts';
import {
  type DestinationKey,
  fwmarkKey,
  serviceKey,
  type IpvsDestination,
  type IpvsEntry,
  type IpvsOp,
  type IpvsService,
  type IpvsTable,
  type ServiceKey,
  sameDestination,
  sameService,
} from '../../src/ipvs/table.ts';
import { type AddressOp, type AddressTable, applyToAddresses, type HostAddress } from '../../src/vip/addresses.ts';
import type { Endpoint, Kernel } from '../../src/world/world.ts';
import type { Forwarded } from './ipvs-connections.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { Tally } from './tally.ts';

export interface KernelFaults {
  /** Every call fails with this: EPERM, ENOENT (the module is gone) … */
  denied: string | null;
  /** Calls are not answered until this is false again. */
  hangs: boolean;
  /** Share of operations that fail with ENOBUFS. */
  fails: number;
  /** Share of operations that are acknowledged and not done. */
  loses: number;
}

/**
 * The next operation of one kind meets a fault: lost, hanging from then on, refused with an error, or just too late because
 * somebody took the service away, or made it first.
 */
export interface Ambush {
  readonly op: (IpvsOp | AddressOp)['do'];
  readonly how: 'lost' | 'hang' | 'EPERM' | 'ENOBUFS' | 'gone' | 'made';
  sprung(op: IpvsOp | AddressOp): void;
}

/** What a process did, or tried, and whether it changed anything. */
export interface KernelWrite {
  readonly op: IpvsOp | AddressOp;
  readonly error: string | null;
  /** Acknowledged though it was not done. */
  readonly lost: boolean;
  /** The same was there before. */
  readonly idle: boolean;
  /** The service before the operation. */
  readonly before: IpvsEntry | undefined;
}

export interface KernelWatcher {
  wrote(write: KernelWrite): void;
  /** A complete read was handed to the process. */
  read(what: 'ipvs' | 'vips', keys: readonly string[] | undefined): void;
}

const SCHEDULERS = new Set([
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
]);

export class MachineKernel {
  readonly faults: KernelFaults = { denied: null, hangs: false, fails: 0, loses: 0 };
  /** By the operation that they wait for. */
  readonly ambushes = new Map<Ambush['op'], Ambush>();
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #watcher: KernelWatcher;
  #entries = new Map<ServiceKey, IpvsEntry>();
  #addresses = new Map<string, HostAddress>();
  #waiting: (() => void)[] = [];

  constructor(scheduler: Scheduler, random: Random, tally: Tally, watcher: KernelWatcher) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#tally = tally;
    this.#watcher = watcher;
  }

  get table(): IpvsTable {
    return this.#entries;
  }

  get addresses(): AddressTable {
    return this.#addresses;
  }

  /** A reboot. Addresses that the system sets up itself come back. */
  reboot(addresses: readonly HostAddress[]): void {
    this.#entries = new Map();
    this.#addresses = new Map(addresses.map((address) => [address.address, address]));
    this.#waiting = [];
    this.ambushes.clear();
    Object.assign(this.faults, { denied: null, hangs: false, fails: 0, loses: 0 } satisfies KernelFaults);
  }

  /** What IPVS makes of a packet with a mark: the mark's own service, or else the VIP's, whoever that may choose. */
  schedule(mark: number, { address, port }: Endpoint, protocol: 'tcp' | 'udp'): Forwarded | null {
    const marked = fwmarkKey(mark, familyOf(address));
    const key = this.#entries.has(marked) ? marked : serviceKey(protocol, address, port);
    const destinations = [...(this.#entries.get(key)?.destinations.values() ?? [])];
    const destination = destinations.find(({ weight }) => weight > 0);
    if (destination === undefined) return null;
    const { address: real, port: fixed, forward: method } = destination;
    const available = (): boolean => this.#entries.get(key)?.destinations.has(destination.key) === true;
    return { address: real, port: fixed === 0 ? port : fixed, method, available };
  }

  /** Calls that hung go on. */
  goOn(): void {
    this.faults.hangs = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const fn of waiting) fn();
  }

  ipvs(life: Life): Kernel<IpvsTable, IpvsOp, ServiceKey> {
    return {
      list: (keys) =>
        this.#call(life, 'ipvs list', () => {
          this.#watcher.read('ipvs', keys);
          return keys === undefined ? new Map(this.#entries) : pick(this.#entries, keys);
        }),
      apply: (ops) => this.#apply(life, ops, (op) => this.#ipvsWrite(op)),
    };
  }

  vips(life: Life): Kernel<AddressTable, AddressOp, string> {
    return {
      list: (keys) =>
        this.#call(life, 'address list', () => {
          this.#watcher.read('vips', keys);
          return keys === undefined ? new Map(this.#addresses) : pick(this.#addresses, keys);
        }),
      apply: (ops) => this.#apply(life, ops, (op) => this.#addressWrite(op)),
    };
  }

  #call<T>(life: Life, call: string, answer: () => T): Promise<T> {
    return life.promise((resolve, reject) => {
      const run = (): void => {
        if (!life.alive) return;
        if (this.faults.hangs) {
          this.#tally.hit('hang', call);
          this.#waiting.push(run);
        } else if (this.faults.denied !== null) {
          this.#tally.hit(this.faults.denied, call);
          reject(new SystemError(this.faults.denied, call));
        } else life.enter(() => resolve(answer()));
      };
      this.#scheduler.at(this.#random.between(0.1, 0.5), run);
    });
  }

  #apply<Op extends IpvsOp | AddressOp>(
    life: Life,
    ops: readonly Op[],
    write: (op: Op) => KernelWrite,
  ): Promise<readonly (null | SystemError)[]> {
    return life.promise((resolve, reject) => {
      const answers: (null | SystemError)[] = [];
      const next = (): void => {
        const op = ops[answers.length];
        if (op === undefined) {
          resolve(answers);
          return;
        }
        if (this.ambushes.get(op.do)?.how === 'hang') this.#spring(op);
        if (this.faults.hangs) {
          this.#tally.hit('hang', op.do);
          this.#waiting.push(next);
          return;
        }
        const done = this.#write(op, write);
        this.#watcher.wrote(done);
        if (done.error === 'EPERM' && answers.length === 0 && ops.length === 1) {
          reject(new SystemError('EPERM', op.do));
          return;
        }
        answers.push(done.error === null ? null : new SystemError(done.error, op.do));
        this.#scheduler.at(0.02, () => life.enter(next));
      };
      this.#scheduler.at(this.#random.between(0.1, 0.5), () => life.enter(next));
    });
  }

  #spring(op: IpvsOp | AddressOp): Ambush['how'] | null {
    const met = this.ambushes.get(op.do);
    this.ambushes.delete(op.do);
    if (met?.how === 'hang') this.faults.hangs = true;
    met?.sprung(op);
    return met?.how ?? null;
  }

  #write<Op extends IpvsOp | AddressOp>(op: Op, write: (op: Op) => KernelWrite): KernelWrite {
    const { denied, fails, loses } = this.faults;
    const met = this.#spring(op);
    const refused =
      denied ??
      (met === 'EPERM' || met === 'ENOBUFS' ? met : fails > 0 && this.#random.chance(fails) ? 'ENOBUFS' : null);
    const before = 'service' in op ? this.#entries.get(op.service.key) : undefined;
    if (refused !== null) {
      this.#tally.hit(refused, op.do);
      return { op, error: refused, lost: false, idle: false, before };
    }
    if (met === 'lost' || (loses > 0 && this.#random.chance(loses))) {
      this.#tally.hit('lost write', op.do);
      return { op, error: null, lost: true, idle: false, before };
    }
    const done = write(op);
    if (done.error !== null) this.#tally.hit(done.error, op.do);
    return done;
  }

  #ipvsWrite(op: IpvsOp): KernelWrite {
    const before = this.#entries.get(op.service.key);
    const answer = (error: string | null, idle = false): KernelWrite => ({ op, error, lost: false, idle, before });
    switch (op.do) {
      case 'add-service':
        if (before !== undefined) return answer('EEXIST');
        if (!SCHEDULERS.has(op.service.scheduler)) return answer('ENOENT');
        this.setService(op.service);
        return answer(null);
      case 'set-service':
        if (before === undefined) return answer('ESRCH');
        if (!SCHEDULERS.has(op.service.scheduler)) return answer('ENOENT');
        this.setService(op.service);
        return answer(null, sameService(before.service, op.service));
      case 'delete-service':
        if (before === undefined) return answer('ESRCH');
        this.deleteService(op.service.key);
        return answer(null);
      case 'add-destination':
      case 'set-destination': {
        if (before === undefined) return answer('ESRCH');
        const error = invalid(op.service, op.destination);
        if (error !== null) return answer(error);
        const there = before.destinations.get(op.destination.key);
        if (op.do === 'add-destination' && there !== undefined) return answer('EEXIST');
        if (op.do === 'set-destination' && there === undefined) return answer('ENOENT');
        this.setDestination(op.service.key, op.destination);
        return answer(null, there !== undefined && sameDestination(there, op.destination));
      }
      case 'delete-destination':
        if (before === undefined) return answer('ESRCH');
        if (!before.destinations.has(op.destination.key)) return answer('ENOENT');
        this.deleteDestination(op.service.key, op.destination.key);
        return answer(null);
      default:
        return op satisfies never;
    }
  }

  #addressWrite(op: AddressOp): KernelWrite {
    const error = applyToAddresses(this.#addresses, op);
    return { op, error, lost: false, idle: false, before: undefined };
  }

  // Unconditional writes: how anybody else, and the operations above, change the tables. Entries are never changed in
  // place: a table that was listed stays as it was.

  setService(service: IpvsService): void {
    const before = this.#entries.get(service.key);
    this.#entries.set(service.key, { service, destinations: before?.destinations ?? new Map() });
  }

  deleteService(key: ServiceKey): void {
    this.#entries.delete(key);
  }

  setDestination(service: ServiceKey, destination: IpvsDestination): void {
    const entry = this.#entries.get(service);
    if (entry === undefined) return;
    const destinations = new Map(entry.destinations).set(destination.key, destination);
    this.#entries.set(service, { service: entry.service, destinations });
  }

  deleteDestination(service: ServiceKey, key: DestinationKey): void {
    const entry = this.#entries.get(service);
    if (entry === undefined) return;
    const destinations = new Map(entry.destinations);
    destinations.delete(key);
    this.#entries.set(service, { service: entry.service, destinations });
  }

  flush(): void {
    this.#entries = new Map();
  }

  setAddress(address: string, protocol: number, iface = 'lo'): void {
    const prefixLength = address.includes(':') ? 128 : 32;
    this.#addresses.set(address, { address, prefixLength, interface: iface, protocol });
  }

  deleteAddress(address: string): void {
    this.#addresses.delete(address);
  }
}

function pick<K, V>(table: ReadonlyMap<K, V>, keys: readonly K[]): Map<K, V> {
  const out = new Map<K, V>();
  for (const key of keys) {
    const value = table.get(key);
    if (value !== undefined) out.set(key, value);
  }
  return out;
}

function invalid(service: IpvsService, destination: IpvsDestination): string | null {
  if (destination.weight < 0) return 'ERANGE';
  if (destination.lowerThreshold > destination.upperThreshold) return 'ERANGE';
  const mixed = service.address.includes(':') !== destination.address.includes(':');
  if (mixed && destination.forward !== 'tunnel') return 'EINVAL';
  return null;
}
