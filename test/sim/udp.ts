// UDP and ICMP on the simulated network: datagrams that arrive after the wire's latency or never, TTLs, ports that are taken,
// ICMP that says so when nobody is there, and pings. Sockets end with their process.

import { canonicalAddress, familyOf, printEndpoint } from '../../src/lib/address.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { Datagrams, Endpoint, Icmp, Udp as Clients } from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Host, Network } from './network.ts';

/** How long ARP asks for a neighbour that does not answer. */
const ARP_MS = 3000;
const DEFAULT_TTL = 64;

interface Socket {
  readonly life: Life;
  readonly minTtl: number;
  /** Connected: nobody else is heard, and ICMP errors are. */
  readonly peer?: { readonly endpoint: Endpoint; onError(error: SystemError): void };
  /** `asked`: where the sender sent it, which is not `to` when IPVS forwarded it. */
  readonly onDatagram: ((bytes: Uint8Array, from: Endpoint, to: Endpoint, asked: Endpoint) => void) | null;
}

/** RFC 5881 §4, RFC 5883 §5. */
const BFD_PORTS: readonly number[] = [3784, 4784];

export class Udp {
  readonly #network: Network;
  readonly #sockets = new Map<Host, Map<string, Socket>>();
  readonly #last = new Map<string, number>();
  /** Routers between two hosts: each takes one from the TTL. */
  hops: (from: Host, to: Host) => number = () => 0;
  /** Chance that a packet of BFD gets lost. What a check loses is something that it may call down. */
  loss = 0;

  constructor(network: Network) {
    this.#network = network;
  }

  /** The sockets of one process. */
  of(host: Host, life: Life): Datagrams {
    return {
      open: ({ address, port, ttl, minTtl = 0 }, onDatagram) => {
        const key = printEndpoint(address, port);
        const sockets = this.#socketsOf(host);
        if (sockets.get(key)?.life.alive === true) throw new SystemError('EADDRINUSE', `bind ${key}`);
        if (!isAny(address) && !host.addresses.has(address)) throw new SystemError('EADDRNOTAVAIL', `bind ${key}`);
        const socket: Socket = { life, minTtl, onDatagram };
        sockets.set(key, socket);
        return {
          local: { address, port },
          send: (bytes, to) => this.#send(host, { address, port }, ttl, bytes.slice(), to),
          close: () => {
            if (sockets.get(key) === socket) sockets.delete(key);
          },
        };
      },
    };
  }

  /** A server on all addresses, which answers from the one that it was asked at. */
  serve(
    host: Host,
    life: Life,
    port: number,
    onDatagram: (bytes: Uint8Array, reply: (bytes: Uint8Array) => void) => void,
  ): void {
    for (const any of ['0.0.0.0', '::']) {
      this.#socketsOf(host).set(printEndpoint(any, port), {
        life,
        minTtl: 0,
        onDatagram: (bytes, from, to, asked) =>
          onDatagram(bytes, (answer) => this.#send(host, to, DEFAULT_TTL, answer.slice(), from, asked)),
      });
    }
  }

  /** Connected sockets of one process. */
  clientsOf(host: Host, life: Life): Clients {
    return {
      open: (options, handlers) =>
        life.promise((resolve, reject) => {
          const remote = { address: options.address, port: options.port };
          const call = `udp ${printEndpoint(remote.address, remote.port)}`;
          const address = options.localAddress ?? sourceOf(host, remote.address);
          const local = { address: address ?? '', port: options.localPort ?? this.#network.freePort(host) };
          const code = this.#refusal(host, remote.address, address);
          if (code !== null) {
            if (host.connectError !== null) this.#network.tally.hit(code, 'udp');
            life.after(0.01, () => reject(new SystemError(code, call)));
            return;
          }
          const sockets = this.#socketsOf(host);
          const key = printEndpoint(local.address, local.port);
          if (sockets.get(key)?.life.alive === true) {
            life.after(0.01, () => reject(new SystemError('EADDRINUSE', call)));
            return;
          }
          const socket: Socket = {
            life,
            minTtl: 0,
            peer: { endpoint: remote, onError: (error) => handlers.onError(error) },
            onDatagram: (bytes) => handlers.onDatagram(bytes),
          };
          sockets.set(key, socket);
          const close = (): void => {
            if (sockets.get(key) === socket) sockets.delete(key);
          };
          const send = (bytes: Uint8Array): void => {
            if (sockets.get(key) !== socket) return;
            if (options.mark === undefined) this.#send(host, local, DEFAULT_TTL, bytes.slice(), remote);
            else this.#forward(host, options.mark, local, bytes.slice(), remote);
          };
          life.after(0.01, () => resolve({ local, send, close }));
        }),
    };
  }

  /** Pings of one process. A host answers as long as its packets get through, whatever its programs do. */
  icmpOf(host: Host, life: Life): Icmp {
    return {
      ping: ({ address, localAddress, timeoutMs }, cut) =>
        life.promise((resolve, reject) => {
          const { scheduler, tally } = this.#network;
          const sentAt = scheduler.now;
          let done = false;
          let forget = (): void => {};
          const finish = (settle: () => void): void => {
            if (done) return;
            done = true;
            forget();
            settle();
          };
          const fail = (code: string): void => finish(() => reject(new SystemError(code, `ping ${address}`)));
          forget = cut.onAbort(() => fail('ECANCELED'));
          if (timeoutMs !== undefined) life.after(timeoutMs, () => fail('ETIMEDOUT'));
          const refusal = this.#refusal(host, address, localAddress ?? sourceOf(host, address));
          const to = this.#network.at(address);
          if (refusal !== null) life.after(0.01, () => fail(refusal));
          else if (to === undefined || !to.power) {
            tally.hit('host is off', 'ping');
            life.after(ARP_MS, () => fail('EHOSTUNREACH'));
          } else {
            const through = (): boolean => this.#network.reaches(host, to) && this.#network.reaches(to, host);
            scheduler.at(this.#network.latency() + this.#network.latency(), () => {
              if (!through()) tally.hit('packets are dropped', 'ping');
              else finish(() => resolve({ roundTripMs: scheduler.now - sentAt }));
            });
          }
        }),
    };
  }

  #socketsOf(host: Host): Map<string, Socket> {
    const sockets = this.#sockets.get(host) ?? new Map<string, Socket>();
    this.#sockets.set(host, sockets);
    return sockets;
  }

  /** Why this host can not even send there. */
  #refusal(host: Host, to: string, source: string | undefined): string | null {
    if (canonicalAddress(to) === null) return 'EINVAL';
    if (host.connectError !== null) return host.connectError;
    if (source === undefined) return 'ENETUNREACH';
    return host.addresses.has(source) ? null : 'EADDRNOTAVAIL';
  }

  /** As if `from` had sent it, wherever it really came from. */
  inject(from: Endpoint, to: Endpoint, bytes: Uint8Array, ttl: number): void {
    const host = this.#network.at(to.address);
    if (host !== undefined) this.#deliver(host, from, to, ttl, bytes);
  }

  /** By IPVS, to where an entry of its table or the mark leads. */
  #forward(host: Host, mark: number, from: Endpoint, bytes: Uint8Array, asked: Endpoint): void {
    const { now } = this.#network.scheduler;
    const way = host.connections.open(now, mark, from.port, asked, 'udp');
    if (way === null || !way.pass('datagram', now)) {
      this.#network.tally.hit('a mark that nobody forwards', 'udp');
      return;
    }
    const target = this.#network.at(way.to.address);
    if (target !== undefined && !target.takes(way.to.method)) this.#network.tally.hit('packets are dropped', 'udp');
    else this.#send(host, from, DEFAULT_TTL, bytes, way.to, from, asked);
  }

  /** `shown` is the source that the receiver sees, `asked` the destination that it was sent to. */
  #send(
    host: Host,
    from: Endpoint,
    ttl: number,
    bytes: Uint8Array,
    to: Endpoint,
    shown: Endpoint = from,
    asked: Endpoint = to,
  ): void {
    if (canonicalAddress(to.address) === null) throw new SystemError('EINVAL', 'sendto');
    if (!isAny(from.address) && !host.addresses.has(from.address)) throw new SystemError('EINVAL', 'sendto');
    const target = this.#network.at(to.address);
    const source = isAny(from.address) ? sourceOf(host, to.address) : shown.address;
    if (source === undefined) throw new SystemError('ENETUNREACH', 'sendto');
    if (target === undefined || !target.power) {
      this.#complain(host, from, ARP_MS, 'EHOSTUNREACH', asked);
      return;
    }
    if (BFD_PORTS.includes(to.port) && this.#network.random.unit() < this.loss) return;
    if (!this.#network.reaches(host, target)) return;
    const left = ttl - this.hops(host, target);
    if (left <= 0) return;
    // A wire keeps the order.
    const { scheduler } = this.#network;
    const way = `${host.name}>${target.name}`;
    const at = Math.max(this.#last.get(way) ?? 0, scheduler.now + this.#network.latency());
    this.#last.set(way, at);
    scheduler.at(at - scheduler.now, () => {
      if (this.#network.reaches(host, target)) {
        this.#deliver(target, { port: shown.port, address: source }, to, left, bytes, asked);
      }
    });
  }

  #deliver(host: Host, from: Endpoint, to: Endpoint, ttl: number, bytes: Uint8Array, asked = to): void {
    const any = familyOf(to.address) === 4 ? '0.0.0.0' : '::';
    const sockets = this.#sockets.get(host);
    const socket = sockets?.get(printEndpoint(to.address, to.port)) ?? sockets?.get(printEndpoint(any, to.port));
    const peer = socket?.peer?.endpoint;
    const stranger = peer !== undefined && (peer.address !== from.address || peer.port !== from.port);
    if (socket === undefined || !socket.life.alive || stranger) {
      const back = this.#network.at(from.address);
      if (back !== undefined && this.#network.reaches(host, back)) {
        this.#complain(back, from, this.#network.latency(), 'ECONNREFUSED', asked);
      }
      return;
    }
    if (ttl < socket.minTtl) return;
    socket.life.enter(() => socket.onDatagram?.(bytes, from, to, asked));
  }

  /** An ICMP error comes to the connected socket that had sent to `about`. */
  #complain(host: Host, sender: Endpoint, delayMs: number, code: string, about: Endpoint): void {
    const key = printEndpoint(sender.address, sender.port);
    const socket = this.#sockets.get(host)?.get(key);
    if (socket?.peer === undefined) return;
    this.#network.tally.hit(code, 'udp');
    this.#network.scheduler.at(delayMs, () => {
      if (this.#sockets.get(host)?.get(key) !== socket || !socket.life.alive) return;
      const call = `udp ${printEndpoint(about.address, about.port)}`;
      socket.life.enter(() => socket.peer?.onError(new SystemError(code, call)));
    });
  }
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function sourceOf(host: Host, to: string): string | undefined {
  return [...host.addresses].find((address) => familyOf(address) === familyOf(to));
}
