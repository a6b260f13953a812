// The tools that monitors are handed, and the one place that decides what a failure says: something about the server, or
// only about ourselves (law 5: unknown is not down). Used by instance.ts, poll.ts and watch.ts.

import { Knife, type Cut } from '../lib/cut.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { UnderWay } from '../lib/under-way.ts';
import type { Path } from '../decision/decision.ts';
import type {
  Clock,
  CommandResult,
  FileStat,
  Mono,
  Self,
  Stream,
  UdpHandlers,
  UdpOptions,
  UdpSocket,
  World,
} from '../world/world.ts';
import {
  bugText,
  callFenced,
  type Fence,
  FencedStream,
  fencedClock,
  fencedUdpHandlers,
  octetsOnly,
  OpenCount,
  unfenced,
} from './fence.ts';
import { Gate } from './gate.ts';
import { givenTo } from './stray.ts';
import { awaitPath, type PathSource, throughPath } from './path.ts';
import type { Health, Tools } from './monitor.ts';

const MAX_COMMANDS = 16;
const MAX_CONNECTING = 4000;
/** They share a socket; each holds one of its 65,536 sequence numbers. */
const MAX_PINGS = 30_000;
/** For checks that have no deadline, or a later one. */
const MAX_DISK_MS = 30_000;
const MAX_REASON = 1000;

/** Why a check that never got its turn knows nothing. */
export const TOO_MANY = 'too many checks at once';

/** The Cut of one check. It remembers what went wrong on our side while the check was under way. */
export class CheckCut extends Knife {
  /** How to reach the server through the path; null: at its own address. */
  readonly path: PathSource | null;
  ownFault: string | null = null;
  /** The check itself is broken: whatever it says does not count. */
  bug: string | null = null;
  /** Turns that it waits for. */
  turns = 0;
  /** What it waits for that is ours: turns, and the path. */
  waiting = 0;
  /** For how long it did so before, ms. */
  waitedMs = 0;
  #waitsSince = 0;
  readonly startedAt: Mono;

  constructor(path: PathSource | null = null, startedAt = 0 as Mono) {
    super();
    this.path = path;
    this.startedAt = startedAt;
  }

  startWaiting(now: Mono): void {
    if (this.waiting++ === 0) this.#waitsSince = now;
  }
  endWaiting(now: Mono): void {
    if (--this.waiting === 0) this.waitedMs += now - this.#waitsSince;
  }

  /**
   * At its deadline: how much more time the server is given, ms, because the check had to wait for what is ours. Half of the time is the
   * server's.
   */
  moreMs(now: Mono, timeoutMs: number): number {
    return this.waiting > 0 ? 0 : this.waitedMs + timeoutMs / 2 - (now - this.startedAt);
  }

  /** The check that is under way in its place, when this one is over and what it opened is kept. */
  get current(): CheckCut {
    return this;
  }

  fail(bug: string): void {
    if (this.bug !== null) return;
    this.bug = bug;
    this.onBug();
  }

  /** `bug` is set: the loop cuts the check short. */
  onBug(): void {}

  protected override call(fn: () => void): void {
    callFenced(fn, (error) => this.fail(bugText(error)));
  }
}

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
export type Notes = Pick<Tools, 'log' | 'observe' | 'count'>;

/** `onBug`: the monitor `name` threw where nobody can tell for which server. `look`: see OpenCount. */
export function makeTools(
  name: string,
  world: World,
  gates: Gates,
  notes: Notes,
  onBug: (bug: string) => void,
  look: (open: number) => number = () => Number.POSITIVE_INFINITY,
): Tools {
  const open = new OpenCount(look);
  const given = (error: unknown) => givenTo(name, error);
  const onFault = (error: unknown, cut: Cut) => {
    given(error);
    const check = checkOf(cut);
    if (check !== null) check.ownFault ??= faultOfConnecting(error, cut);
  };
  const onThrow = (error: unknown, cut: Cut) => {
    const check = checkOf(cut);
    if (check === null) onBug(bugText(error));
    else check.fail(bugText(error));
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
        gates.connecting.leave();
        const error = inWords(thrown);
        if (check !== null) check.ownFault ??= faultOfConnecting(error, cut);
        reject(error);
      };
      const onConnected = (stream: Stream): void => {
        gates.connecting.leave();
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
    if (gates.connecting.enterAtOnce(cut)) return dialled(cut, check, connect);
    return turn(gates.connecting, world.clock, cut, check).then(() => dialled(cut, check, connect));
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
      const opened = (dial: () => Promise<UdpSocket>) =>
        guarded(gates.connecting, world.clock, cut, faultOfConnecting, dial);
      if (path === null) return opened(() => openUdp(world, options, handlers, cut, sockets));
      return onTheWay(world.clock, path, cut, (way) =>
        opened(() =>
          throughPath(path, way, options, (at) => openUdp(world, { ...options, ...at }, handlers, cut, sockets)),
        ),
      );
    },
    ping: (options, cut) =>
      guarded(gates.pings, world.clock, cut, faultOfConnecting, () => world.icmp.ping(options, cut), 'a ping'),
    run: (command, cut) =>
      guarded(
        gates.commands,
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
        gates.connecting,
        world.clock,
        cut,
        faultOfFetching,
        () => world.http.get(request, cut),
        'what is asked for by its URL',
      ),
    deadline: (cut, ms) => deadline(world.clock, cut, ms),
    log: notes.log,
    observe: notes.observe,
    count: notes.count,
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

  override onBug(): void {
    if (this.#whole instanceof CheckCut) this.#whole.fail(this.bug ?? '');
  }
}

function deadline(clock: Clock, whole: Cut, ms: number): ReturnType<Tools['deadline']> {
  const cut = new Part(whole);
  const cancel = clock.at(ms, () => cut.abort());
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
  gate: Gate,
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
  if (!gate.enterAtOnce(cut)) await turn(gate, clock, cut, check);
  try {
    return await act();
  } catch (error) {
    if (check !== null) check.ownFault ??= faultOf(error, cut);
    throw error;
  } finally {
    gate.leave();
  }
}

async function turn(gate: Gate, clock: Clock, cut: Cut, check: CheckCut | null): Promise<void> {
  if (check !== null) check.turns++;
  check?.startWaiting(clock.now());
  try {
    await gate.enter(cut);
  } catch (error) {
    // Never having had a turn is no answer of the server.
    if (check !== null) check.ownFault ??= TOO_MANY;
    throw error;
  } finally {
    if (check !== null) check.turns--;
    check?.endWaiting(clock.now());
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

/** Errors of connect() and epoll(7) that are about this host: limits, addresses, zones and routes, packet filter, what it was told. */
const OWN_FAULTS: ReadonlySet<string> = new Set(
  'EMFILE ENFILE ENOBUFS ENOMEM ENOSYS ENOTSUP EAGAIN EADDRNOTAVAIL EADDRINUSE EAFNOSUPPORT ENETUNREACH ENETDOWN EACCES EPERM EINVAL ENODEV ENOSPC'.split(
    ' ',
  ),
);

function faultOfConnecting(error: unknown, cut: Cut): string | null {
  if (!(error instanceof SystemError)) return null;
  if (error.code === 'ECANCELED') return cut.aborted ? null : error.message;
  return OWN_FAULTS.has(error.code) ? error.message : null;
}

/** Names are looked up by us: that we got no answer, or the wrong name, is no word of the server. */
const NAME_FAULTS: ReadonlySet<string> = new Set(['EINVAL', 'ENOTFOUND', 'ETIMEOUT', 'EAI_AGAIN']);

function faultOfFetching(error: unknown, cut: Cut): string | null {
  const named = error instanceof SystemError && NAME_FAULTS.has(error.code);
  return named ? error.message : faultOfConnecting(error, cut);
}

/** A program that could not even be started (missing, not executable, no more processes) has not asked the server anything. */
function faultOfRunning(error: unknown, cut: Cut): string | null {
  if (!(error instanceof SystemError)) return null;
  return error.code === 'ECANCELED' && cut.aborted ? null : error.message;
}

/** A file of ours that cannot be read says nothing about a server. */
class ReadFailed extends SystemError {
  constructor({ code, call, message }: SystemError) {
    super(code, call);
    this.message = message;
  }
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

/** The same error. That a connect failed it says in the words of PyBal's logs (Twisted's error messages) from now on. */
function inWords(error: unknown): unknown {
  if (!(error instanceof SystemError)) return error;
  const words = CONNECT_WORDS.get(error.code);
  if (words !== undefined) error.message = error.detail === '' ? words : `${words} (${error.detail})`;
  return error;
}

const CONNECT_WORDS: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'Connection was refused by other side: 111: Connection refused.'],
  ['ETIMEDOUT', 'TCP connection timed out: 110: Connection timed out.'],
  ['EHOSTUNREACH', 'No route to host: 113: No route to host.'],
  ['ENETUNREACH', 'An error occurred while connecting: 101: Network is unreachable.'],
  ['ECONNRESET', 'Connection to the other side was lost in a non-clean fashion: Connection lost.'],
  ['EPIPE', 'Connection to the other side was lost in a non-clean fashion: Connection lost.'],
  ['ECANCELED', 'User timeout caused connection failure.'],
]);

/** How a check ended: with what it returned or threw, and whether its deadline had passed. */
export interface Ending {
  readonly returned?: unknown;
  readonly threw?: unknown;
  readonly timedOut: boolean;
}

/** What the end of a check says. `givenMs`: the time that the server was given, without what the check waited for here. */
export function judge(ending: Ending, cut: CheckCut, host: { self(): Self }, givenMs: number): Health {
  if (cut.bug !== null) return { is: 'unknown', reason: bounded(cut.bug) };
  if (ending.threw instanceof ReadFailed) return { is: 'unknown', reason: bounded(ending.threw.message) };
  const health: Health =
    'threw' in ending ? { is: 'down', reason: bounded(errorText(ending.threw)) } : asHealth(ending.returned);
  if (health.is === 'down' && cut.ownFault !== null) return { is: 'unknown', reason: bounded(cut.ownFault) };
  const slowByMs = health.is === 'down' ? slownessOf(ending.returned) : 0;
  if (cut.ownFault !== null || (!ending.timedOut && slowByMs === 0)) return health;
  const lateMs = host.self().lateSince(cut.startedAt);
  if (ending.timedOut && lateMs > givenMs / 2) return { is: 'unknown', reason: lateText(lateMs) };
  if (health.is === 'down' && slowByMs > 0 && cut.waitedMs + lateMs >= slowByMs) {
    const waited = cut.waitedMs > 0 ? ` and the check waited ${Math.round(cut.waitedMs)} ms for its turn` : '';
    return { is: 'unknown', reason: bounded(`${health.reason}, but ${lateText(lateMs)}${waited}`) };
  }
  return ending.timedOut && (health.is !== 'down' || 'threw' in ending) ? TIMED_OUT : health;
}

/** By how much the server was too slow, if that is all there is against it; otherwise 0. */
function slownessOf(returned: unknown): number {
  try {
    if (typeof returned !== 'object' || returned === null || !('slowByMs' in returned)) return 0;
    const { slowByMs } = returned;
    return typeof slowByMs === 'number' && slowByMs > 0 ? slowByMs : 0;
  } catch {
    // An attribute that throws when somebody looks.
    return 0;
  }
}

export const TIMED_OUT: Health = { is: 'down', reason: 'timed out' };

function lateText(lateMs: number): string {
  return `the event loop was ${Math.round(lateMs)} ms late`;
}

/** What a monitor returned, if it keeps to the contract. A monitor's bug says nothing about the server. */
export function asHealth(value: unknown): Health {
  try {
    return healthOf(value);
  } catch (error) {
    // An attribute that throws when somebody looks.
    return { is: 'unknown', reason: bounded(bugText(error)) };
  }
}

function healthOf(value: unknown): Health {
  if (typeof value === 'object' && value !== null && 'is' in value) {
    if (value.is === 'up') return asUp(value as Health & { is: 'up' });
    const reason = 'reason' in value && typeof value.reason === 'string' ? value.reason : '(reason unknown)';
    if (value.is === 'down' || value.is === 'unknown') return { is: value.is, reason: bounded(reason) };
  }
  return { is: 'unknown', reason: 'the monitor returned no health' };
}

function asUp(health: Health & { is: 'up' }): Health {
  const detail: unknown = health.detail ?? '';
  if (typeof detail !== 'string') return { is: 'unknown', reason: 'the monitor returned a detail that is no text' };
  const { weight, percent } = health;
  if (!isShare(weight)) return { is: 'unknown', reason: `the monitor returned weight ${bounded(String(weight))}` };
  if (!isShare(percent)) return { is: 'unknown', reason: `the monitor returned percent ${bounded(String(percent))}` };
  return detail.length > MAX_REASON ? { ...health, detail: bounded(detail) } : health;
}

function isShare(number: number | undefined): boolean {
  return number === undefined || (Number.isFinite(number) && number >= 0);
}

function bounded(text: string): string {
  return text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text;
}
