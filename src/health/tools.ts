// The tools that monitors are handed: the world, with limits for all of them together, and what goes wrong on our side noted for the
// check that it went wrong for. Used by instance.ts, and where a monitor runs by itself.

import type { Cut } from '../lib/cut.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { UnderWay } from '../lib/under-way.ts';
import type { Path } from '../decision/decision.ts';
import type {
  Clock,
  CommandResult,
  FileStat,
  Mono,
  Stream,
  UdpHandlers,
  UdpOptions,
  UdpSocket,
  World,
} from '../world/world.ts';
import {
  bugText,
  type Fence,
  FencedStream,
  fencedClock,
  fencedUdpHandlers,
  labelsOf,
  octetsOnly,
  OpenCount,
  unfenced,
} from './fence.ts';
import { CheckCut } from './check-cut.ts';
import { Gate, type Queue } from './gate.ts';
import {
  faultOfConnecting,
  faultOfFetching,
  faultOfRunning,
  inWords,
  lateText,
  ReadFailed,
  TOO_MANY,
} from './judge.ts';
import { givenTo } from './stray.ts';
import { awaitPath, type PathSource, throughPath } from './path.ts';
import type { Target, Tools } from './monitor.ts';

const MAX_COMMANDS = 20;
const MAX_CONNECTING = 5000;
/** They share a socket; each holds one of its 65,536 sequence numbers. */
const MAX_PINGS = 30_000;
/** For checks that have no deadline, or a later one. */
const MAX_DISK_MS = 30_000;

/** Shared by all monitors of a runner. */
export interface Gates {
  readonly commands: Gate;
  readonly connecting: Gate;
  readonly pings: Gate;
  /** Each holds one of the few threads that Node has for files. */
  readonly reads: UnderWay<Uint8Array>;
  readonly stats: UnderWay<FileStat>;
  /** A monitor holds more than it can need, in words. */
  onLeak(monitor: string, what: string): void;
  /** A line of a monitor was left out. */
  onLeftOut(monitor: string): void;
}

export function makeGates(tell: Partial<Pick<Gates, 'onLeak' | 'onLeftOut'>> = {}): Gates {
  return {
    onLeak: () => {},
    onLeftOut: () => {},
    ...tell,
    commands: new Gate(MAX_COMMANDS),
    connecting: new Gate(MAX_CONNECTING),
    pings: new Gate(MAX_PINGS),
    reads: new UnderWay(),
    stats: new UnderWay(),
  };
}

/** Where logs and measurements of a monitor go. */
export interface Notes extends Pick<Tools, 'log'> {
  observe(target: Target, name: string, value: number, labels: Readonly<Record<string, string>>): void;
  count(target: Target, name: string, labels: Readonly<Record<string, string>>): void;
}

/** `onBug`: the monitor `name` has a bug, seen at this target; not given: nobody can tell for which server. `look`: see OpenCount. */
export function makeTools(
  name: string,
  world: World,
  gates: Gates,
  notes: Notes,
  onBug: (bug: string, target?: Target) => void,
  look: (open: number) => number = () => Number.POSITIVE_INFINITY,
): Tools {
  const open = new OpenCount(look);
  // Of this monitor with these options: what of it hangs does not keep others from being asked.
  const connecting = gates.connecting.queue();
  const pings = gates.pings.queue();
  const commands = gates.commands.queue();
  const given = (error: unknown) => givenTo(name, error);
  const onFault = (error: unknown, cut: Cut) => {
    given(error);
    const check = checkOf(cut);
    if (check !== null) check.ownFault ??= faultOfConnecting(error, cut);
  };
  const onThrow = (error: unknown, cut: Cut) => {
    const check = checkOf(cut);
    if (check === null) onBug(bugText(error));
    else check.spoil(bugText(error));
  };
  const copies = new WeakMap<object, Readonly<Record<string, string>>>();
  const labels = (call: string, target: Target, name: unknown, value: unknown, given: unknown) => {
    try {
      return labelsOf(`tools.${call}`, name, value, given, copies);
    } catch (error) {
      // That it was to be measured says nothing of the server.
      onBug(bugText(error), target);
      throw error;
    }
  };
  const sockets: Sockets = { open, onThrow, onFault };
  const fence: Fence = {
    open,
    onThrow(stream, error) {
      stream.close('rst');
      onThrow(error, stream.cut);
    },
    onLost: ({ cut }, error) => onFault(error, cut),
  };
  // As `guarded`, but with nothing thrown and no async function: there are more of these than of anything else.
  const dialled = (cut: Cut, check: CheckCut | null, connect: () => Promise<Stream>) =>
    new Promise<Stream>((resolve, reject) => {
      const onFailed = (thrown: unknown): void => {
        connecting.leave();
        const error = inWords(thrown);
        if (check !== null) check.ownFault ??= faultOfConnecting(error, cut);
        reject(error);
      };
      const onConnected = (stream: Stream): void => {
        connecting.leave();
        try {
          if (cut.aborted) throw new SystemError('ECANCELED', 'connect');
          // A FIN of ours would keep port and VIP busy for a minute here, and two in the table of IPVS.
          resolve(new FencedStream(stream, cut, fence, check === null || check.path === null ? null : 'rst'));
        } catch (thrown) {
          stream.close('rst');
          reject(inWords(thrown));
        }
      };
      try {
        connect().then(onConnected, onFailed);
      } catch (thrown) {
        onFailed(thrown);
      }
    });
  const connected = (cut: Cut, connect: () => Promise<Stream>): Promise<Stream> => {
    const check = cut instanceof CheckCut ? cut : null;
    if (connecting.enterAtOnce(cut)) return dialled(cut, check, connect);
    return turn(connecting, world.clock, cut, check).then(() => dialled(cut, check, connect));
  };
  const tools: Tools = {
    clock: fencedClock(world.clock, (error) => onBug(bugText(error))),
    random: () => world.random(),
    connect(options, cut) {
      const path = pathOf(cut);
      if (path === null) return connected(cut, () => world.streams.connect(options, cut));
      return onTheWay(world.clock, path, cut, (way) =>
        connected(cut, () =>
          throughPath(path, way, options, ({ mark, ...at }) =>
            world.streams.connect({ ...options, ...at, tcp: { ...options.tcp, mark } }, cut),
          ),
        ),
      );
    },
    secure: (stream, tls, cut) =>
      connected(cut, () => {
        if (stream instanceof FencedStream) stream.over();
        return world.streams.secure(unfenced(stream), tls, cut);
      }),
    read: (path, maxBytes, cut) =>
      fromDisk(
        world,
        `read ${path}`,
        cut,
        gates.reads.join(`${maxBytes} ${path}`, () => world.files.read(path, maxBytes)),
      ),
    stat: (path, cut) =>
      fromDisk(
        world,
        `stat ${path}`,
        cut,
        gates.stats.join(path, () => world.files.stat(path)),
      ),
    datagram(options, handlers, cut) {
      const path = pathOf(cut);
      const opened = (dial: () => Promise<UdpSocket>) => guarded(connecting, world.clock, cut, faultOfConnecting, dial);
      if (path === null) return opened(() => openUdp(world, options, handlers, cut, sockets));
      return onTheWay(world.clock, path, cut, (way) =>
        opened(() =>
          throughPath(path, way, options, (at) => openUdp(world, { ...options, ...at }, handlers, cut, sockets)),
        ),
      );
    },
    ping: (options, cut) =>
      guarded(pings, world.clock, cut, faultOfConnecting, () => world.icmp.ping(options, cut), 'a ping'),
    run: (command, cut) =>
      guarded(
        commands,
        world.clock,
        cut,
        faultOfRunning,
        async () => {
          const startedAt = world.clock.now();
          const result = await world.processes.run(command, cut);
          return result.timedOut ? killedInTime(result, command.timeoutMs, world.self().lateSince(startedAt)) : result;
        },
        'a command',
      ),
    fetch: (request, cut) =>
      guarded(
        connecting,
        world.clock,
        cut,
        faultOfFetching,
        () => world.http.get(request, cut),
        'what is asked for by its URL',
      ),
    deadline: (cut, ms) => deadline(world.clock, cut, ms),
    log: notes.log,
    observe: (target, name, value, given) =>
      notes.observe(target, name, value, labels('observe', target, name, value, given)),
    count: (target, name, given) => notes.count(target, name, labels('count', target, name, 1, given)),
  };
  /** A monitor may wait for it late, or not at all; a rejection that nobody handles must not reach the event loop. */
  const handled = <T>(promise: Promise<T>): Promise<T> => {
    promise.catch(given);
    return promise;
  };
  return {
    ...tools,
    connect: (options, cut) => handled(tools.connect(options, cut)),
    secure: (stream, tls, cut) => handled(tools.secure(stream, tls, cut)),
    read: (path, maxBytes, cut) => handled(tools.read(path, maxBytes, cut)),
    stat: (path, cut) => handled(tools.stat(path, cut)),
    datagram: (options, handlers, cut) => handled(tools.datagram(options, handlers, cut)),
    ping: (options, cut) => handled(tools.ping(options, cut)),
    run: (command, cut) => handled(tools.run(command, cut)),
    fetch: (request, cut) => handled(tools.fetch(request, cut)),
  };
}

/** The check that something is about which was opened with this cut. */
function checkOf(cut: Cut): CheckCut | null {
  return cut instanceof CheckCut ? cut.current : null;
}

function pathOf(cut: Cut): PathSource | null {
  return cut instanceof CheckCut ? cut.path : null;
}

/** `act` when the path is there. That it is not says nothing about the server. */
async function onTheWay<T>(clock: Clock, source: PathSource, cut: Cut, act: (way: Path) => Promise<T>): Promise<T> {
  const check = cut instanceof CheckCut ? cut : null;
  let way: Path;
  check?.startWaiting(clock.now());
  try {
    way = await awaitPath(source, clock, cut);
  } catch (error) {
    if (check !== null) check.ownFault ??= errorText(error);
    throw error;
  } finally {
    check?.endWaiting(clock.now());
  }
  return act(way);
}

/** What goes wrong in the part goes wrong in the whole, and when the part is over, in the check that is under way. */
class Part extends CheckCut {
  over = false;
  readonly #whole: Cut;

  constructor(whole: Cut) {
    super(pathOf(whole));
    this.#whole = whole;
  }

  override get current(): CheckCut {
    return this.over ? (checkOf(this.#whole) ?? this) : this;
  }

  // What the part waits for is no time of the server's in the whole either.
  override startTurn(now: Mono): void {
    if (this.#whole instanceof CheckCut) this.#whole.startTurn(now);
  }
  override endTurn(now: Mono): void {
    if (this.#whole instanceof CheckCut) this.#whole.endTurn(now);
  }
  override startWaiting(now: Mono): void {
    if (this.#whole instanceof CheckCut) this.#whole.startWaiting(now);
  }
  override endWaiting(now: Mono): void {
    if (this.#whole instanceof CheckCut) this.#whole.endWaiting(now);
  }

  override onSpoilt(): void {
    if (this.#whole instanceof CheckCut) this.#whole.spoil(this.spoilt ?? '');
  }
}

function deadline(clock: Clock, whole: Cut, ms: number): ReturnType<Tools['deadline']> {
  const cut = new Part(whole);
  // One more turn, as for the deadline of the whole check.
  let cancel = clock.at(ms, () => {
    cancel = clock.at(0, () => cut.abort());
  });
  const forget = whole.onAbort(() => cut.abort());
  return {
    cut,
    release() {
      cancel();
      forget();
      cut.over = true;
      if (whole instanceof CheckCut) whole.ownFault ??= cut.ownFault;
    },
  };
}

/** Do `act` when it is its turn; note a failure that is our own. `notOnPath`: what can not go through the path. */
async function guarded<T>(
  queue: Queue,
  clock: Clock,
  cut: Cut,
  faultOf: (error: unknown, cut: Cut) => string | null,
  act: () => Promise<T>,
  notOnPath: string | null = null,
): Promise<T> {
  const check = cut instanceof CheckCut ? cut : null;
  if (notOnPath !== null && check !== null && check.path !== null) {
    check.ownFault ??= `${notOnPath} can not go through the path`;
    throw new SystemError('ENOTSUP', 'take the path', check.ownFault);
  }
  if (!queue.enterAtOnce(cut)) await turn(queue, clock, cut, check);
  try {
    return await act();
  } catch (error) {
    if (check !== null) check.ownFault ??= faultOf(error, cut);
    throw error;
  } finally {
    queue.leave();
  }
}

async function turn(queue: Queue, clock: Clock, cut: Cut, check: CheckCut | null): Promise<void> {
  check?.startTurn(clock.now());
  try {
    await queue.enter(cut);
  } catch (error) {
    // Never having had a turn is no answer of the server.
    if (check !== null) check.ownFault ??= TOO_MANY;
    throw error;
  } finally {
    check?.endTurn(clock.now());
  }
}

/** What sockets of one monitor share. */
interface Sockets {
  readonly open: OpenCount;
  /** The monitor threw, where it was called back or called wrongly. */
  onThrow(error: unknown, cut: Cut): void;
  /** A call failed; an error that the monitor may get to see. */
  onFault(error: unknown, cut: Cut): void;
}

/** What goes wrong on our side later, with the socket open, is our own fault as well. */
async function openUdp(
  world: World,
  options: UdpOptions,
  handlers: UdpHandlers,
  cut: Cut,
  { open, onThrow, onFault }: Sockets,
): Promise<UdpSocket> {
  const giveUp = (error: unknown): void => {
    socket.close();
    onThrow(error, cut);
  };
  const fencedHandlers = fencedUdpHandlers(handlers, giveUp);
  const socket = await world.udp.open(options, {
    onDatagram: fencedHandlers.onDatagram,
    onError(error) {
      onFault(error, cut);
      fencedHandlers.onError(error);
    },
  });
  if (cut.aborted) {
    socket.close();
    throw new SystemError('ECANCELED', 'open');
  }
  open.add();
  let closed = false;
  return {
    local: socket.local,
    send(bytes) {
      if (!(bytes instanceof Uint8Array)) {
        // That it was handed over says nothing of the server.
        const error = octetsOnly('socket.send', bytes);
        giveUp(error);
        throw error;
      }
      try {
        socket.send(bytes);
      } catch (error) {
        onFault(error, cut);
        throw error;
      }
    },
    close() {
      if (!closed) open.remove();
      closed = true;
      socket.close();
    },
  };
}

/** A time limit that passed while we were mostly not looking proves nothing. */
function killedInTime(result: CommandResult, timeoutMs: number, lateMs: number): CommandResult {
  if (lateMs > timeoutMs / 2) throw new SystemError('ETIME', 'run', lateText(lateMs));
  return result;
}

/** What a file system that hangs never settles: the check must end all the same, and not at the server's expense. */
async function fromDisk<T>({ clock }: World, call: string, cut: Cut, file: Promise<T>): Promise<T> {
  try {
    const found = await inTime(
      clock,
      MAX_DISK_MS,
      file.then((value) => ({ value })),
      cut,
    );
    if (found === null && cut.aborted)
      throw new SystemError('ECANCELED', call, 'the check was cut before the file system answered');
    if (found === null) throw new SystemError('ETIMEDOUT', call, 'the file system does not answer');
    return found.value;
  } catch (error) {
    const failed = error instanceof SystemError ? new ReadFailed(error) : error;
    if (cut instanceof CheckCut && failed instanceof ReadFailed) cut.ownFault ??= failed.message;
    throw failed;
  }
}
