// One monitor against real servers on loopback: the operating system's streams, clock and processes, the runner's own
// tools and loops. What a test gets back is what the runner would count.

import net from 'node:net';
import { Knife } from '../../src/lib/cut.ts';
import type { Health, MonitorModule, Target } from '../../src/health/monitor.ts';
import { type Loop, PollLoop } from '../../src/health/poll.ts';
import { makeGates, makeTools, type Notes } from '../../src/health/tools.ts';
import { Ticks } from '../../src/health/ticks.ts';
import { WatchLoop } from '../../src/health/watch.ts';
import type { Streams, World } from '../../src/world/world.ts';
import { createClock } from '../../src/world/real/clock.ts';
import { createIcmp } from '../../src/world/real/icmp.ts';
import { createProcesses } from '../../src/world/real/processes.ts';
import { systemAuthorities } from '../../src/world/real/authorities.ts';
import { openQuickDial } from '../../src/world/real/quick-stream.ts';
import { openSocketOptions } from '../../src/world/real/socket-options.ts';
import { createStreams } from '../../src/world/real/streams.ts';
import { createUdp } from '../../src/world/real/udp.ts';
import { FakeWorld } from './fake-world.ts';
import { listenSomewhere } from './listen.ts';

export interface Bench {
  readonly results: readonly Health[];
  /** `WARN Fetch failed (…), 0.1 s`, times as `N.NNN`. */
  readonly lines: readonly string[];
  /** `request_duration_seconds {"result":"failed"}` */
  readonly measured: readonly string[];
  /** The next result, or the one that is number `count`; waits for it so long and no longer. */
  result(count?: number, withinMs?: number): Promise<Health>;
  stop(): Promise<void>;
}

/** Options as configuration would decode them: defaults from the rows, `given` over them. */
export function withDefaults(module: MonitorModule, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const defaults = module.options.map((row) => [row.name, row.default] as const);
  for (const name of Object.keys(given)) {
    if (!module.options.some((row) => row.name === name)) throw new Error(`${module.name} has no option ${name}`);
  }
  return { ...Object.fromEntries(defaults), ...given };
}

let made: Streams | null = null;
/** As the daemon has them: made once, with the system's authorities, which take long to read. */
function streams(): Streams {
  if (made === null) {
    const socketOptions = openSocketOptions();
    made = createStreams(systemAuthorities(), socketOptions, openQuickDial(socketOptions));
  }
  return made;
}

export function runMonitor(
  module: MonitorModule,
  given: Readonly<Record<string, unknown>>,
  over: Partial<Target> = {},
  parts: Partial<World> = {},
): Bench {
  const clock = createClock();
  const world: World = {
    ...new FakeWorld().world,
    clock,
    streams: streams(),
    udp: createUdp(),
    icmp: createIcmp(() => false),
    processes: createProcesses(),
    ...parts,
  };
  const results: Health[] = [];
  const lines: string[] = [];
  const measured: string[] = [];
  const waiting: (() => void)[] = [];
  const notes = {
    log: (level, _, text) =>
      lines.push(
        `${level.toUpperCase()} ${(typeof text === 'string' ? text : text()).replace(/\d+\.\d{3} s$/, 'N.NNN s')}`,
      ),
    observe: (_, name, __, labels) => measured.push(`${name} ${JSON.stringify(labels)}`),
    count: (_, name, labels) => measured.push(`${name} ${JSON.stringify(labels)}`),
  } satisfies Notes;
  const tools = makeTools(module.name, world, makeGates(), notes, (bug) => lines.push(bug));
  const target: Target = {
    service: 'text',
    host: 'cp1',
    address: '127.0.0.1',
    port: 80,
    weight: 10,
    vip: '10.0.0.1',
    servicePort: 80,
    protocol: 'tcp',
    ...over,
  };
  const context = {
    clock: world.clock,
    ticks: new Ticks(world.clock),
    random: () => 0.5,
    self: () => world.self(),
    phase: 0,
    target: () => target,
    onStart: () => {},
    onResult: (health: Health) => {
      results.push(health);
      for (const wake of waiting.splice(0)) wake();
    },
    intervalMs: (ownMs: number) => ownMs,
    onAbandoned: () => lines.push('abandoned'),
  };
  const options = withDefaults(module, given) as never;
  const loop: Loop =
    module.kind === 'poll'
      ? new PollLoop(context, module.create(options, tools), module.timing(options))
      : new WatchLoop(context, module.create(options, tools), module.timing(options));
  return {
    results,
    lines,
    measured,
    async result(count = 1, withinMs = 10_000) {
      const knife = new Knife();
      let late = false;
      void clock.sleep(withinMs, knife).then(() => {
        late = !knife.aborted;
        for (const wake of waiting.splice(0)) wake();
      });
      while (results.length < count && !late) await new Promise<void>((resolve) => waiting.push(resolve));
      knife.abort();
      const health = results[count - 1];
      if (health === undefined)
        throw new Error(`only ${results.length} results: ${JSON.stringify(results)} ${lines.join(' | ')}`);
      return health;
    },
    async stop() {
      await loop.stop();
      loop.forget?.(target);
    },
  };
}

/** A TCP server on a port of its own, and what it saw. */
export async function serve(onSocket: (socket: net.Socket) => void, over: { at?: string } = {}) {
  const sockets = new Set<net.Socket>();
  const seen = { connections: 0, text: '' };
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    seen.connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      seen.text += bytes.toString('latin1');
    });
    onSocket(socket);
  });
  const port = await listenSomewhere(server, over.at);
  return {
    port,
    seen,
    sockets,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A TCP port that nobody listens on. */
export async function freePort(at?: string): Promise<number> {
  const server = net.createServer();
  const port = await listenSomewhere(server, at);
  await new Promise((resolve) => server.close(resolve));
  return port;
}
