// What benchmarks of the daemon in one process are handed for the outside: a kernel that is a table, a monitor that answers by
// itself, a server for the control socket that nobody has to dial, and nothing behind the rest. Used by pool.ts and standstill.ts.

import type { Health, Poll } from '../src/health/monitor.ts';
import type { IpvsDestination, IpvsEntry, IpvsOp, IpvsService, IpvsTable, ServiceKey } from '../src/ipvs/table.ts';
import { SystemError } from '../src/lib/errors.ts';
import type { Kernel, ServedRequest, ServedResponse, World } from '../src/world/world.ts';

/** Changed in place and copied for who lists it, at the kernel's price. */
export function tableKernel(): Kernel<IpvsTable, IpvsOp, ServiceKey> & { readonly table: IpvsTable } {
  const table = new Map<ServiceKey, { service: IpvsService; readonly destinations: Map<string, IpvsDestination> }>();
  const apply = (op: IpvsOp): null => {
    const entry = table.get(op.service.key) ?? {
      service: op.service,
      destinations: new Map<string, IpvsDestination>(),
    };
    table.set(op.service.key, entry);
    if (op.do === 'delete-service') table.delete(op.service.key);
    else if (op.do === 'delete-destination') entry.destinations.delete(op.destination.key);
    else if ('destination' in op) entry.destinations.set(op.destination.key, op.destination);
    else entry.service = op.service;
    return null;
  };
  const copy = ([key, { service, destinations }]: readonly [ServiceKey, IpvsEntry]) =>
    [key, { service, destinations: new Map(destinations) }] as const;
  return {
    table,
    list: async (keys) => new Map([...table].filter(([key]) => keys === undefined || keys.includes(key)).map(copy)),
    apply: async (ops) => ops.map(apply),
  };
}

/** Says of every server what `health` says, a millisecond later. */
export function readyMonitor(intervalSeconds: number, health: () => Health): Poll {
  return {
    apiVersion: 1,
    name: 'Bench',
    kind: 'poll',
    options: [],
    timing: () => ({ intervalSeconds, timeoutSeconds: 5 }),
    create: (_, tools) => ({
      check: async (_target, cut) => {
        await tools.clock.sleep(1, cut);
        return health();
      },
    }),
  };
}

/** By the path of its socket, to be called without one. */
export type Served = ReadonlyMap<string, (request: ServedRequest) => ServedResponse | Promise<ServedResponse>>;

/** HTTP that only serves, and nothing else of the network, no processes. */
export function closedWorld(): Pick<World, 'http' | 'streams' | 'udp' | 'icmp' | 'processes'> & {
  readonly served: Served;
} {
  const served = new Map<string, (request: ServedRequest) => ServedResponse | Promise<ServedResponse>>();
  const absent = (call: string) => () => Promise.reject(new SystemError('ENOSYS', call));
  return {
    served,
    http: {
      get: absent('get'),
      post: absent('post'),
      stream: absent('stream'),
      serve: async (at, handle) => {
        if ('path' in at) served.set(at.path, handle);
        return { close: async () => {} };
      },
    },
    streams: { connect: absent('connect'), secure: absent('secure'), listen: absent('listen') },
    udp: { open: absent('open') },
    icmp: { ping: absent('ping') },
    processes: { run: absent('run') },
  };
}
