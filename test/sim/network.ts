// A simulated IP network and its TCP. Hosts have addresses, listeners and a power switch; the path between two hosts can be
// cut in one or both directions. What TCP shows to an application is modelled, not its segments: order, latency, arbitrary
// chunking, back-pressure, retransmission until it gives up, FIN, RST, refused and unanswered connections, half-open ones.
// Sockets belong to the host's kernel: they outlive neither a power cut (silently gone) nor their process (FIN).

import { canonicalAddress, printEndpoint } from '../../src/lib/address.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { Cut } from '../../src/lib/cut.ts';
import type { ConnectOptions, Endpoint, Stream } from '../../src/world/world.ts';
import type { ForwardMethod } from '../../src/ipvs/table.ts';
import { ConnectionTable, type Way } from './ipvs-connections.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { Tally } from './tally.ts';
import { End } from './tcp.ts';

interface Listening {
  readonly life: Life;
  readonly accept: (stream: Stream) => void;
}

/** tcp_syn_retries: when the SYN is sent again, and when connect(2) gives up, in ms. */
const SYN_RETRIES = [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000] as const;
/** How long ARP asks for a neighbour that does not answer. */
const ARP_MS = 3000;

/** What keeps packets for a VIP from the application, and others not: nothing with NAT, which takes the VIP out of them. */
export type PathFault = 'no VIP on lo' | 'filter for the VIP' | 'no tunnel';

export class Host {
  readonly name: string;
  readonly addresses = new Set<string>();
  readonly listeners = new Map<string, Listening>();
  readonly ends = new Set<End>();
  /** Off: nobody answers ARP. */
  power = true;
  /** On, but every packet from and to it is dropped. */
  silent = false;
  /** The host's own fault when it opens a connection: ENETUNREACH, EMFILE … */
  connectError: string | null = null;
  pathFault: PathFault | null = null;
  /** What marked packets of this host go through. */
  readonly connections = new ConnectionTable();
  /** Ephemeral port of the next connection. */
  nextPort = 32_768;

  constructor(name: string) {
    this.name = name;
  }

  /** Do packets for a VIP that were forwarded by this method reach the application? */
  takes(method: ForwardMethod): boolean {
    if (this.pathFault === null || method === 'nat') return true;
    return this.pathFault === 'no tunnel' && method !== 'tunnel';
  }

  /** Is there no connection from this port to there? */
  mayUse(port: number, { address, port: remotePort }: Endpoint): boolean {
    for (const { local, remote } of this.ends)
      if (local.port === port && remote.port === remotePort && remote.address === address) return false;
    return true;
  }

  listening(address: string, port: number): Listening | undefined {
    const any = address.includes(':') ? '::' : '0.0.0.0';
    return (
      this.listeners.get(printEndpoint(address, port)) ??
      this.listeners.get(printEndpoint(any, port)) ??
      this.listeners.get(printEndpoint('::', port))
    );
  }
}

export class Network {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly tally: Tally;
  readonly #byAddress = new Map<string, Host>();
  readonly #cut = new Set<string>();
  /** What is written to a stream, for those who watch the wire. */
  tap: ((from: Host, to: Host, end: End, bytes: Uint8Array) => void) | null = null;

  constructor(scheduler: Scheduler, random: Random, tally: Tally) {
    this.scheduler = scheduler;
    this.random = random;
    this.tally = tally;
  }

  host(name: string, addresses: readonly string[]): Host {
    const host = new Host(name);
    for (const address of addresses) this.give(host, address);
    return host;
  }

  give(host: Host, address: string): void {
    host.addresses.add(address);
    this.#byAddress.set(address, host);
  }

  at(address: string): Host | undefined {
    return this.#byAddress.get(address);
  }

  /** One way, on the wire. */
  latency(): number {
    return this.random.between(0.1, 0.9);
  }

  /** Does a packet get through now? */
  reaches(from: Host, to: Host): boolean {
    if (from === to) return from.power;
    return from.power && to.power && !from.silent && !to.silent && !this.#cut.has(`${from.name}>${to.name}`);
  }

  /** Drop everything on the way `from` → `to` (and back, unless one way only). */
  cutPath(from: Host, to: Host, oneWay = false): void {
    this.#cut.add(`${from.name}>${to.name}`);
    if (!oneWay) this.#cut.add(`${to.name}>${from.name}`);
    this.#pathsChanged([from, to]);
  }

  healPath(from: Host, to: Host): void {
    this.#cut.delete(`${from.name}>${to.name}`);
    this.#cut.delete(`${to.name}>${from.name}`);
    this.#pathsChanged([from, to]);
  }

  isCut(from: Host, to: Host): boolean {
    return this.#cut.has(`${from.name}>${to.name}`) || this.#cut.has(`${to.name}>${from.name}`);
  }

  breakVipPath(host: Host, fault: PathFault | null): void {
    host.pathFault = fault;
    this.#pathsChanged([host]);
  }

  silence(host: Host, silent: boolean): void {
    host.silent = silent;
    this.#pathsChanged([host]);
  }

  /** Power cut: the host's sockets are gone without a word. */
  powerOff(host: Host): void {
    host.power = false;
    host.listeners.clear();
    for (const end of [...host.ends]) end.vanish();
    this.#pathsChanged([host]);
  }

  powerOn(host: Host): void {
    host.power = true;
    this.#pathsChanged([host]);
  }

  /** A process died or exited: its kernel closes what it had open. */
  processGone(host: Host, life: Life): void {
    for (const [at, listening] of host.listeners) if (listening.life === life) host.listeners.delete(at);
    for (const end of [...host.ends]) if (end.life === life) end.abandon();
  }

  /** Keep-alive looks at its path only when the path changes. */
  #pathsChanged(hosts: readonly Host[]): void {
    for (const host of hosts) {
      for (const end of host.ends) {
        end.pathChanged();
        end.other?.pathChanged();
      }
    }
  }

  /** Returns a function that closes the listener. Throws EADDRINUSE, EADDRNOTAVAIL. */
  listen(host: Host, life: Life, at: Endpoint, accept: (stream: Stream) => void): () => void {
    const key = printEndpoint(at.address, at.port);
    if (host.listeners.has(key)) throw new SystemError('EADDRINUSE', `listen ${key}`);
    const wildcard = at.address === '0.0.0.0' || at.address === '::';
    if (!wildcard && !host.addresses.has(at.address)) throw new SystemError('EADDRNOTAVAIL', `listen ${key}`);
    const listening = { life, accept };
    host.listeners.set(key, listening);
    return () => {
      if (host.listeners.get(key) === listening) host.listeners.delete(key);
    };
  }

  /** What the kernel gives for port 0. */
  freePort(host: Host): number {
    const port = host.nextPort;
    host.nextPort = port >= 60_999 ? 32_768 : port + 1;
    return port;
  }

  connect(from: Host, life: Life, options: ConnectOptions, cut: Cut): Promise<Stream> {
    const call = `connect ${printEndpoint(options.address, options.port)}`;
    return life.promise<Stream>((resolve, reject) => {
      let done = false;
      let cancelTimer = (): void => {};
      let forget = (): void => {};
      const finish = (settle: () => void): void => {
        if (done) return;
        done = true;
        cancelTimer();
        forget();
        settle();
      };
      const fail = (code: string): void => finish(() => reject(new SystemError(code, call)));
      const later = (delayMs: number, fn: () => void): void => {
        cancelTimer = this.scheduler.at(delayMs, fn);
      };
      forget = cut.onAbort(() => fail('ECANCELED'));
      if (done) return;

      if (canonicalAddress(options.address) === null) {
        later(0.01, () => fail('EINVAL'));
        return;
      }
      if (from.connectError !== null) {
        const code = from.connectError;
        this.tally.hit(code, 'connect');
        later(0.01, () => fail(code));
        return;
      }
      if (options.localPort !== undefined && !from.mayUse(options.localPort, options)) {
        later(0.01, () => fail('EADDRNOTAVAIL'));
        return;
      }
      if (options.localAddress !== undefined && !from.addresses.has(options.localAddress)) {
        later(0.01, () => fail('EADDRNOTAVAIL'));
        return;
      }
      const { mark } = options.tcp ?? {};
      const port = options.localPort ?? this.freePort(from);
      const attempt = (number: number): void => {
        if (!life.alive) return;
        const now = this.scheduler.now;
        const marked = mark === undefined ? undefined : from.connections.open(now, mark, port, options, 'tcp');
        if (marked === null) {
          this.tally.hit('a mark that nobody forwards', 'connect');
          later(ARP_MS, () => fail('EHOSTUNREACH'));
          return;
        }
        const way = marked?.to ?? options;
        const to = this.#byAddress.get(way.address);
        if (to === undefined || !to.power) {
          this.tally.hit('host is off', 'connect');
          later(ARP_MS, () => fail('EHOSTUNREACH'));
          return;
        }
        const out = this.latency();
        const back = this.latency();
        const sent = marked?.pass('syn', now) ?? true;
        const taken = marked === undefined || to.takes(marked.to.method);
        if (!sent || !taken || !this.reaches(from, to) || !this.reaches(to, from)) {
          this.tally.hit('packets are dropped', 'connect');
          const wait = SYN_RETRIES[number];
          if (wait === undefined) fail('ETIMEDOUT');
          else later(wait, () => attempt(number + 1));
          return;
        }
        later(out, () => {
          const listening = to.listening(way.address, way.port);
          if (listening === undefined || !listening.life.alive) {
            this.tally.hit('refused', 'connect');
            later(back, () => fail('ECONNREFUSED'));
            return;
          }
          later(back, () => this.#established(from, life, to, listening, options, port, marked, finish, resolve));
        });
      };
      attempt(0);
    });
  }

  #established(
    from: Host,
    life: Life,
    to: Host,
    listening: Listening,
    options: ConnectOptions,
    port: number,
    way: Way | undefined,
    finish: (settle: () => void) => void,
    resolve: (stream: Stream) => void,
  ): void {
    if (!life.alive || !to.power) return;
    const v6 = options.address.includes(':');
    const source = options.localAddress ?? [...from.addresses].find((a) => a.includes(':') === v6) ?? options.address;
    const local = { address: source, port };
    const remote = { address: options.address, port: options.port };
    const near = new End(this, from, life, local, remote, options.keepAlive);
    const far = new End(this, to, listening.life, remote, local, undefined);
    near.way = way;
    // The third packet of the handshake.
    way?.pass('data', this.scheduler.now);
    near.join(far);
    if (options.preface !== undefined) near.write(options.preface);
    if (options.tls !== undefined) near.secure();
    finish(() => resolve(near));
    listening.life.enter(() => listening.accept(far));
  }
}
