// Known bugs, one and more per law, planted in the daemon's decision (it decides on other facts than are known) or between
// the daemon and its world: what it would do wrongly is done for it, or what it should see is hidden from it. The simulator must find each of them; otherwise a clean run says nothing.

import { decide } from '../../src/decision/decide.ts';
import type { Decision } from '../../src/decision/decision.ts';
import type { Facts, ServiceFacts } from '../../src/decision/facts.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { IpvsEntry, IpvsOp, IpvsTable, ServiceKey } from '../../src/ipvs/table.ts';
import type { World } from '../../src/world/world.ts';
import { CONFIG_PATH } from './conf.ts';
import type { Program } from './director.ts';
import { programOf } from './program.ts';

export interface Mutant {
  readonly law: number;
  readonly bug: string;
  /** Laws whose checks may see it first. */
  readonly finds: readonly number[];
  /** The first seed to try: for those that few seeds find, one that does. */
  readonly from?: number;
  plant(program: Program): Program;
}

const inWorld =
  (change: (world: World) => World) =>
  (program: Program): Program =>
  (world, configPath, exit) =>
    program(change(world), configPath, exit);

/** As if the daemon did not obey an option: its value is another one than the file says. */
function deaf(option: string, value: string): (program: Program) => Program {
  const line = new RegExp(`^${option} = .*$`, 'gm');
  return inWorld(withConfig((text) => text.replace(line, `${option} = ${value}`)));
}

function withConfig(edit: (text: string) => string): (world: World) => World {
  return (world) => ({
    ...world,
    files: {
      ...world.files,
      read: async (path, maxBytes) => {
        const bytes = await world.files.read(path, maxBytes);
        return path === CONFIG_PATH ? new TextEncoder().encode(edit(new TextDecoder().decode(bytes))) : bytes;
      },
    },
  });
}

/** The kernel as the daemon would have it: reads are answered from its own writes. */
function believing(world: World): World {
  let believed: Map<ServiceKey, IpvsEntry> | null = null;
  return {
    ...world,
    ipvs: {
      list: async (keys) => {
        believed ??= new Map(await world.ipvs.list());
        const table: IpvsTable = believed;
        return keys === undefined ? new Map(table) : new Map([...table].filter(([key]) => keys.includes(key)));
      },
      apply: async (ops) => {
        const done = await world.ipvs.apply(ops);
        if (believed !== null) for (const op of ops) believe(believed, op);
        return done.map(() => null);
      },
    },
  };
}

function believe(table: Map<ServiceKey, IpvsEntry>, op: IpvsOp): void {
  const { key } = op.service;
  const destinations = new Map(table.get(key)?.destinations);
  switch (op.do) {
    case 'delete-service':
      table.delete(key);
      return;
    case 'add-service':
    case 'set-service':
      table.set(key, { service: op.service, destinations });
      return;
    case 'delete-destination':
      destinations.delete(op.destination.key);
      break;
    default:
      destinations.set(op.destination.key, op.destination);
  }
  table.set(key, { service: table.get(key)?.service ?? op.service, destinations });
}

/** BFD vouches for a daemon that stands still. */
function credulous(world: World): World {
  const { bfd } = world;
  return {
    ...world,
    bfd: { ...bfd, configure: (config, changed) => bfd.configure({ ...config, wedgedMs: 600_000 }, changed) },
  };
}

/** Reads are answered with the one before, unless something was written since. */
function incurious(world: World): World {
  const once = <Table>(read: () => Promise<Table>): { again(): void; get(): Promise<Table> } => {
    let last: Promise<Table> | null = null;
    return {
      again: () => {
        last = null;
      },
      get: () => {
        last ??= read();
        last.catch(() => {
          last = null;
        });
        return last;
      },
    };
  };
  const ipvs = once(() => world.ipvs.list());
  const vips = once(() => world.vips.list());
  return {
    ...world,
    ipvs: {
      list: async (keys) => {
        const table = await ipvs.get();
        return keys === undefined ? table : new Map([...table].filter(([key]) => keys.includes(key)));
      },
      apply: (ops) => world.ipvs.apply(ops).finally(ipvs.again),
    },
    vips: {
      list: async (keys) => {
        const table = await vips.get();
        return keys === undefined ? table : new Map([...table].filter(([key]) => keys.includes(key)));
      },
      apply: (ops) => world.vips.apply(ops).finally(vips.again),
    },
  };
}

/** A failed read is answered with the one before. */
function blithe(world: World): World {
  let last: IpvsTable | null = null;
  let lastVips: Awaited<ReturnType<World['vips']['list']>> | null = null;
  const inTime = <T>(read: Promise<T>, before: T | null): Promise<T> =>
    before === null ? read : Promise.race([read, world.clock.sleep(1000).then(() => before)]).catch(() => before);
  return {
    ...world,
    ipvs: {
      apply: (ops) => Promise.race([world.ipvs.apply(ops), world.clock.sleep(1000).then(() => ops.map(() => null))]),
      list: async (keys) => {
        const read = await inTime(world.ipvs.list(), last);
        last = read;
        return keys === undefined ? read : new Map([...read].filter(([key]) => keys.includes(key)));
      },
    },
    vips: {
      apply: (ops) => Promise.race([world.vips.apply(ops), world.clock.sleep(1000).then(() => ops.map(() => null))]),
      list: async (keys) => {
        const read = await inTime(world.vips.list(), lastVips);
        lastVips = read;
        return keys === undefined ? read : new Map([...read].filter(([key]) => keys.includes(key)));
      },
    },
  };
}

/** Our own fault is taken for the server's. */
function selfless(world: World): World {
  const blame = (thrown: unknown): never => {
    const own =
      thrown instanceof SystemError && ['EMFILE', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EAGAIN'].includes(thrown.code);
    throw own ? new SystemError('ECONNREFUSED', thrown.call) : thrown;
  };
  const failed = { exitCode: 1, signal: null, timedOut: false, output: '', durationMs: 1, leftovers: 'none' } as const;
  return {
    ...world,
    streams: { ...world.streams, connect: (options, cut) => world.streams.connect(options, cut).catch(blame) },
    processes: {
      run: (command, cut) =>
        world.processes.run(command, cut).catch((thrown: unknown) => {
          if (thrown instanceof SystemError && thrown.code !== 'ECANCELED') return failed;
          throw thrown;
        }),
    },
  };
}

/** Checks through the path take a few ports in turn, whoever they are for: what one leaves behind leads another one astray. */
function sharing(world: World): World {
  let count = 0;
  const localPort = (): number => 20_000 + (count++ % 16);
  const { streams, udp } = world;
  return {
    ...world,
    streams: {
      ...streams,
      connect: (options, cut) =>
        streams.connect(options.tcp?.mark === undefined ? options : { ...options, localPort: localPort() }, cut),
    },
    udp: {
      open: (options, handlers) =>
        udp.open(options.mark === undefined ? options : { ...options, localPort: localPort() }, handlers),
    },
  };
}

/** Pool data is run to see what it is. */
function trusting(world: World): World {
  const run = (bytes: Uint8Array): Uint8Array => {
    const text = new TextDecoder().decode(bytes.subarray(0, 1000));
    if (text.includes('globalThis.anybalRanPoolData = true')) Reflect.set(globalThis, 'anybalRanPoolData', true);
    return bytes;
  };
  return {
    ...world,
    http: {
      ...world.http,
      get: async (request, cut) => {
        const response = await world.http.get(request, cut);
        return { ...response, body: run(response.body) };
      },
    },
    files: { ...world.files, read: async (path, maxBytes) => run(await world.files.read(path, maxBytes)) },
  };
}

/** Does something of its own with the kernel at the start, and each time something is asked of it by SIGHUP. */
function meddling(
  at: { readonly start: boolean; readonly hangUp: boolean; readonly everyMs: number | null },
  ops: (table: IpvsTable) => readonly IpvsOp[],
): (program: Program) => Program {
  return (program) => (world, configPath, exit) => {
    const meddle = async (): Promise<void> => {
      try {
        const wanted = ops(await world.ipvs.list());
        if (wanted.length > 0) await world.ipvs.apply(wanted);
      } catch {
        // The kernel does not answer.
      }
    };
    const loop = async (everyMs: number): Promise<void> => {
      for (;;) {
        await world.clock.sleep(everyMs);
        await meddle();
      }
    };
    if (at.everyMs !== null) void loop(at.everyMs);
    const begin = at.start ? meddle() : null;
    const running = program(world, configPath, exit);
    return {
      ...running,
      hangUp: () => {
        running.hangUp();
        if (at.hangUp) void Promise.resolve(begin).then(meddle);
      },
    };
  };
}

/** The decision is made on facts that are not so. */
const misled = (change: (facts: Facts, previous: Decision | null) => Facts) => (): Program =>
  programOf((facts, previous) => decide(change(facts, previous), previous));

function withServices(facts: Facts, change: (service: ServiceFacts) => ServiceFacts): Facts {
  return { ...facts, services: new Map([...facts.services].map(([name, service]) => [name, change(service)])) };
}

/** What is wanted counts as read back. */
function hasty(facts: Facts, previous: Decision | null): Facts {
  if (previous === null) return facts;
  const vips = new Map(facts.kernel.vips);
  for (const address of previous.desired.vips) {
    vips.set(address, { address, prefixLength: 32, interface: 'lo', protocol: 0 });
  }
  for (const [address, uplinks] of previous.desired.routedVips) {
    vips.set(address, { address, prefixLength: 32, interface: null, protocol: 0, routed: { route: true, uplinks } });
  }
  const believed = withServices(facts, (service) => ({
    ...service,
    kernel: previous.services.get(service.config.name)?.desired ?? service.kernel,
  }));
  return { ...believed, kernel: { ...facts.kernel, vips } };
}

const fearless = (facts: Facts): Facts =>
  facts.kernel.verifiedAt === null
    ? facts
    : { ...facts, kernel: { ...facts.kernel, verifiedAt: facts.now, denied: false } };

const rash = (facts: Facts): Facts =>
  withServices(facts, (service) => ({
    ...service,
    health: new Map(
      [...service.health].map(([host, one]) => [host, one.is === 'unknown' ? { ...one, is: 'down' } : one]),
    ),
  }));

const lenient = (facts: Facts): Facts =>
  withServices(facts, (service) => ({
    ...service,
    health: new Map(
      [...service.health].map(([host, one]) => [host, one.is === 'down' ? { ...one, is: 'unknown' } : one]),
    ),
  }));

const newborn = (facts: Facts): Facts => withServices(facts, (service) => ({ ...service, adopted: null }));

const deleteAll = (table: IpvsTable): readonly IpvsOp[] =>
  [...table.values()].map(({ service }) => ({ do: 'delete-service', service }) as const);

const setAll = (table: IpvsTable): readonly IpvsOp[] =>
  [...table.values()].flatMap(({ service, destinations }) =>
    [...destinations.values()].map((destination) => ({ do: 'set-destination', service, destination }) as const),
  );

/** The configuration's own VIPs are 192.0.2.0/24 and 2001:db8:ffff::/48: everything else must be a leftover. */
const deleteForeign = (table: IpvsTable): readonly IpvsOp[] =>
  deleteAll(new Map([...table].filter(([, { service }]) => !/^(192\.0\.2\.|2001:db8:ffff:)/.test(service.address))));

/** A server that is listed and up is taken out: by which law that is told depends on what else has happened before. */
const NEEDLESS: Mutant['finds'] = [3, 5, 6, 7];

export const MUTANTS: readonly Mutant[] = [
  { law: 2, bug: 'what is wanted counts as read back', finds: [2], from: 18, plant: misled(hasty) },
  { law: 5, bug: 'a server of which nothing can be told counts as down', finds: NEEDLESS, plant: misled(rash) },
  { law: 7, bug: 'what is in the kernel at the start is not adopted', finds: [1, 3, 6, 7], plant: misled(newborn) },
  { law: 10, bug: 'routes stay without a reading of the kernel', finds: [10], plant: misled(fearless) },
  { law: 1, bug: 'the depool threshold is forgotten', finds: [1], plant: deaf('depool-threshold', '0') },
  { law: 2, bug: 'writes are believed instead of read back', finds: [2], plant: inWorld(believing) },
  { law: 2, bug: 'what a route leads to is taken away with the route', finds: [2], plant: deaf('withdraw-wait', '0') },
  {
    law: 3,
    bug: 'a reload writes everything again',
    finds: [3],
    plant: meddling({ start: false, hangUp: true, everyMs: null }, setAll),
  },
  {
    law: 4,
    bug: 'a broken section takes the ones after it along',
    finds: [7],
    from: 116,
    plant: inWorld(withConfig((text) => text.replace(/\nprotocol = x[^]*$/, '\nprotocol = xtcp\n'))),
  },
  { law: 5, bug: 'unknown is taken for down', finds: NEEDLESS, plant: inWorld(selfless) },
  { law: 5, bug: 'down is taken for unknown', finds: [0, 2], plant: misled(lenient) },
  {
    law: 5,
    bug: 'a document that does not name a server says that it is down',
    finds: NEEDLESS,
    from: 11,
    plant: inWorld(withConfig((text) => text.replace(/^file\.max-age/gm, 'file.absent = down\n$&'))),
  },
  {
    law: 5,
    bug: 'checks through the path share their ports',
    finds: [0, 2, ...NEEDLESS],
    from: 18,
    plant: inWorld(sharing),
  },
  {
    law: 5,
    bug: 'ports of the path go to another server at once',
    finds: [0, ...NEEDLESS],
    from: 23,
    plant: deaf('path-hold', '0'),
  },
  { law: 6, bug: 'an empty list is accepted', finds: [5, 6], from: 13, plant: deaf('pool-shrink-confirm', '0') },
  {
    law: 7,
    bug: 'the table is flushed at the start',
    finds: [7],
    plant: meddling({ start: true, hangUp: false, everyMs: null }, deleteAll),
  },
  {
    law: 8,
    bug: 'foreign entries are cleaned up',
    finds: [8],
    plant: meddling({ start: false, hangUp: false, everyMs: 60_000 }, deleteForeign),
  },
  {
    law: 9,
    bug: 'the kernel is read again only after own writes',
    finds: [3, 9, 10],
    from: 5,
    plant: inWorld(incurious),
  },
  { law: 10, bug: 'a kernel that does not answer counts as unchanged', finds: [10], plant: inWorld(blithe) },
  { law: 10, bug: 'BFD vouches for a daemon that stands still', finds: [10], from: 23, plant: inWorld(credulous) },
  { law: 11, bug: 'pool data is run', finds: [11], plant: inWorld(trusting) },
  {
    law: 12,
    bug: 'a wanted stop exits with 1',
    finds: [12],
    plant: (program) => (world, configPath, exit) => program(world, configPath, (code) => exit(code === 0 ? 1 : code)),
  },
];
