// An IPVS table in memory that refuses what the kernel refuses, in the same order and with the same error numbers
// (ip_vs_ctl.c). The table of the userspace and dry-run backends.

import { familyOf } from '../lib/address.ts';
import { SystemError } from '../lib/errors.ts';
import { ipvsadmLine } from './ipvsadm.ts';
import {
  type DestinationKey,
  type IpvsDestination,
  type IpvsEntry,
  type IpvsOp,
  type IpvsTable,
  SCHEDULERS,
  type ServiceKey,
} from './table.ts';

export type MemoryTable = Map<ServiceKey, IpvsEntry>;

/** Destinations that nobody has seen yet: many changes at once copy those of a service once. To be cleared when the table is handed out. */
export type Unseen = Map<ServiceKey, Map<DestinationKey, IpvsDestination>>;

/** Do `op`. Entries are replaced, never changed, unless they are `unseen`: one that was handed out stays as it was. */
export function applyToMemory(table: MemoryTable, op: IpvsOp, unseen: Unseen = new Map()): null | SystemError {
  const refusal = refusalOf(table, op);
  if (refusal !== null) return new SystemError(refusal, ipvsadmLine(op));
  const { key } = op.service;
  const destinations = table.get(key)?.destinations ?? new Map<DestinationKey, IpvsDestination>();
  switch (op.do) {
    case 'add-service':
    case 'set-service':
      table.set(key, { service: op.service, destinations });
      return null;
    case 'delete-service':
      table.delete(key);
      return null;
    case 'add-destination':
    case 'set-destination':
    case 'delete-destination': {
      const mine = unseen.get(key);
      const changed = mine === undefined || mine !== destinations ? new Map(destinations) : mine;
      unseen.set(key, changed);
      if (op.do === 'delete-destination') changed.delete(op.destination.key);
      else changed.set(op.destination.key, op.destination);
      table.set(key, { service: table.get(key)?.service ?? op.service, destinations: changed });
      return null;
    }
    default:
      return op satisfies never;
  }
}

/** A copy of the whole table, or of the given keys, that later changes leave alone. */
export function pick<Key, Value>(table: ReadonlyMap<Key, Value>, keys?: readonly Key[]): ReadonlyMap<Key, Value> {
  if (keys === undefined) return new Map(table);
  const copy = new Map<Key, Value>();
  for (const key of keys) {
    const value = table.get(key);
    if (value !== undefined) copy.set(key, value);
  }
  return copy;
}

const known: ReadonlySet<string> = new Set(SCHEDULERS);

function refusalOf(table: IpvsTable, op: IpvsOp): string | null {
  const entry = table.get(op.service.key);
  if (op.do === 'add-service') {
    if (entry !== undefined) return 'EEXIST';
    return known.has(op.service.scheduler) ? null : 'ENOENT';
  }
  if (entry === undefined) return 'ESRCH';
  if (op.do === 'set-service') return known.has(op.service.scheduler) ? null : 'ENOENT';
  if (op.do === 'delete-service') return null;
  const there = entry.destinations.has(op.destination.key);
  if (op.do === 'delete-destination') return there ? null : 'ENOENT';
  const { address, forward, weight, lowerThreshold, upperThreshold } = op.destination;
  // Only a tunnel leads from one family into the other.
  if (familyOf(address) !== familyOf(op.service.address) && forward !== 'tunnel') return 'EINVAL';
  if (weight < 0 || lowerThreshold > upperThreshold) return 'ERANGE';
  if (op.do === 'add-destination') return there ? 'EEXIST' : null;
  return there ? null : 'ENOENT';
}
