// What must be done to the kernel: the difference between what was read and what is wanted, in the order of law 2. Pure.
// Up: address, service, destinations. Down: destinations, service, address. Adds come before deletes, so that a service is
// never empty in between. What is neither wanted nor owned is foreign: reported, never touched.

import { diff } from '../lib/diff.ts';
import { familyOf } from '../lib/address.ts';
import {
  type IpvsEntry,
  type IpvsOp,
  type IpvsTable,
  type ServiceKey,
  sameDestination,
  sameService,
} from '../ipvs/table.ts';
import { type AddressOp, type AddressTable, routedOf } from '../vip/addresses.ts';
import type { Desired } from '../decision/decision.ts';

export interface Owned {
  readonly services: ReadonlySet<ServiceKey>;
  readonly vips: ReadonlySet<string>;
}

export interface Plan {
  readonly addVips: readonly AddressOp[];
  readonly program: readonly IpvsOp[];
  readonly unprogram: readonly IpvsOp[];
  readonly deleteVips: readonly AddressOp[];
  /** In the kernel, not wanted, not ours. */
  readonly foreign: readonly ServiceKey[];
}

/** `ignore` is left as it is for now: somebody else keeps undoing it, and we have backed off. */
export function plan(
  ipvs: IpvsTable,
  vips: AddressTable,
  desired: Desired,
  owned: Owned,
  ignore: ReadonlySet<string> = NONE,
): Plan {
  const program: IpvsOp[] = [];
  for (const [key, want] of desired.ipvs) if (!ignore.has(key)) program.push(...entryOps(ipvs.get(key), want));
  const unprogram: IpvsOp[] = [];
  const foreign: ServiceKey[] = [];
  for (const [key, { service }] of ipvs) {
    if (desired.ipvs.has(key) || desired.keep.has(key)) continue;
    if (owned.services.has(key)) {
      if (!desired.keepAll) unprogram.push({ do: 'delete-service', service });
    } else foreign.push(key);
  }
  return {
    addVips: [
      ...[...desired.vips]
        .filter((address) => isNowhere(vips, address) && !ignore.has(address))
        .map((address): AddressOp => ({ do: 'add-address', address, family: familyOf(address) })),
      ...[...desired.routedVips].flatMap(([address, uplinks]) =>
        ignore.has(address) ? [] : routeOps(vips, address, uplinks),
      ),
    ],
    program,
    unprogram,
    deleteVips: desired.keepAll ? [] : deleteOps(vips, desired, owned),
    foreign,
  };
}

const NONE: ReadonlySet<string> = new Set();

function isNowhere(vips: AddressTable, address: string): boolean {
  return (vips.get(address)?.interface ?? null) === null;
}

/** The route before the rules that lead to it, and new rules before old ones go: see `deleteOps`. */
function routeOps(vips: AddressTable, address: string, uplinks: readonly string[]): AddressOp[] {
  const have = routedOf(vips.get(address));
  const family = familyOf(address);
  const missing = uplinks.filter((uplink) => !have.uplinks.includes(uplink));
  return [
    ...(have.route ? [] : [{ do: 'add-route', address, family } as const]),
    ...missing.map((uplink) => ({ do: 'add-rule', address, family, uplink }) as const),
  ];
}

/** Addresses on lo that are on our record. Routes and rules say themselves that they are ours: of others none is listed. */
function deleteOps(vips: AddressTable, desired: Desired, owned: Owned): AddressOp[] {
  const ops: AddressOp[] = [];
  for (const address of owned.vips) {
    const goes = !desired.vips.has(address) && !desired.keepVips.has(address);
    if (goes && vips.get(address)?.interface === 'lo')
      ops.push({ do: 'delete-address', address, family: familyOf(address) });
  }
  for (const [address, host] of vips) {
    if (host.routed === undefined || desired.keepVips.has(address)) continue;
    const family = familyOf(address);
    const wanted = desired.routedVips.get(address);
    for (const uplink of host.routed.uplinks) {
      if (wanted?.includes(uplink) !== true) ops.push({ do: 'delete-rule', address, family, uplink });
    }
    if (host.routed.route && wanted === undefined) ops.push({ do: 'delete-route', address, family });
  }
  return ops;
}

/** What of a plan can be done while nothing new can be written down as ours: everything but making what is not ours yet. */
export function withoutNew(plan: Plan, owned: Owned): Plan {
  const made = plan.program.filter((op) => op.do === 'add-service').map(({ service }) => service.key);
  const unclaimed = new Set(made.filter((key) => !owned.services.has(key)));
  return {
    ...plan,
    addVips: plan.addVips.filter((op) => op.do !== 'add-address' || owned.vips.has(op.address)),
    program: plan.program.filter(({ service }) => !unclaimed.has(service.key)),
  };
}

export function isEmpty({ addVips, program, unprogram, deleteVips }: Plan): boolean {
  return addVips.length + program.length + unprogram.length + deleteVips.length === 0;
}

/** What makes one service's entry `want`. */
export function entryOps(have: IpvsEntry | undefined, want: IpvsEntry): IpvsOp[] {
  if (have === want) return [];
  const { service } = want;
  const ops: IpvsOp[] = [];
  if (have === undefined) ops.push({ do: 'add-service', service });
  else if (!sameService(have.service, service)) ops.push({ do: 'set-service', service });
  const { add, change, remove } = diff(have?.destinations ?? new Map(), want.destinations, sameDestination);
  for (const [, destination] of add) ops.push({ do: 'add-destination', service, destination });
  // Who takes over comes before who is set to 0: two servers that change places must not both be without weight.
  for (const takes of [true, false]) {
    for (const [, destination] of change) {
      if (destination.weight > 0 === takes) ops.push({ do: 'set-destination', service, destination });
    }
  }
  for (const [, destination] of remove) {
    // A hashing scheduler must see weight 0 first, or flows of the leaving server fall between two tables.
    if (HASHING.has(service.scheduler) && destination.weight > 0) {
      ops.push({ do: 'set-destination', service, destination: { ...destination, weight: 0 } });
    }
    ops.push({ do: 'delete-destination', service, destination });
  }
  return ops;
}

const HASHING: ReadonlySet<string> = new Set(['sh', 'mh']);
