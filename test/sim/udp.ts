// UDP on the simulated network, as far as BFD needs it: datagrams that arrive after the wire's latency or never, TTLs, and ports
// that are taken. Sockets end with their process.

import { canonicalAddress, familyOf, printEndpoint } from '../../src/lib/address.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { Datagrams, Endpoint } from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Host, Network } from './network.ts';

interface Socket {
  readonly life: Life;
  readonly minTtl: number;
  readonly onDatagram: ((bytes: Uint8Array, from: Endpoint) => void) | null;
}

export class Udp {
  readonly #network: Network;
  readonly #sockets = new Map<Host, Map<string, Socket>>();
  readonly #last = new Map<string, number>();
  /** Routers between two hosts: each takes one from the TTL. */
  hops: (from: Host, to: Host) => number = () => 0;
  /** Chance that a datagram gets lost. */
  loss = 0;

  constructor(network: Network) {
    this.#network = network;
  }

  /** The sockets of one process. */
  of(host: Host, life: Life): Datagrams {
    return {
      open: ({ address, port, ttl, minTtl = 0 }, onDatagram) => {
        const key = printEndpoint(address, port);
        const sockets = this.#sockets.get(host) ?? new Map<string, Socket>();
        this.#sockets.set(host, sockets);
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

  /** As if `from` had sent it, wherever it really came from. */
  inject(from: Endpoint, to: Endpoint, bytes: Uint8Array, ttl: number): void {
    const host = this.#network.at(to.address);
    if (host !== undefined) this.#deliver(host, from, to, ttl, bytes);
  }

  #send(host: Host, from: Endpoint, ttl: number, bytes: Uint8Array, to: Endpoint): void {
    if (canonicalAddress(to.address) === null) throw new SystemError('EINVAL', 'sendto');
    if (!isAny(from.address) && !host.addresses.has(from.address)) throw new SystemError('EINVAL', 'sendto');
    const target = this.#network.at(to.address);
    const source = isAny(from.address) ? sourceOf(host, to.address) : from.address;
    if (source === undefined) throw new SystemError('ENETUNREACH', 'sendto');
    if (target === undefined || this.#network.random.unit() < this.loss) return;
    if (!this.#network.reaches(host, target)) return;
    const left = ttl - this.hops(host, target);
    if (left <= 0) return;
    // A wire keeps the order.
    const { scheduler } = this.#network;
    const way = `${host.name}>${target.name}`;
    const at = Math.max(this.#last.get(way) ?? 0, scheduler.now + this.#network.latency());
    this.#last.set(way, at);
    scheduler.at(at - scheduler.now, () => {
      if (this.#network.reaches(host, target)) this.#deliver(target, { ...from, address: source }, to, left, bytes);
    });
  }

  #deliver(host: Host, from: Endpoint, to: Endpoint, ttl: number, bytes: Uint8Array): void {
    const any = familyOf(to.address) === 4 ? '0.0.0.0' : '::';
    const sockets = this.#sockets.get(host);
    const socket = sockets?.get(printEndpoint(to.address, to.port)) ?? sockets?.get(printEndpoint(any, to.port));
    if (socket === undefined || !socket.life.alive || ttl < socket.minTtl) return;
    socket.life.enter(() => socket.onDatagram?.(bytes, from));
  }
}

function isAny(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function sourceOf(host: Host, to: string): string | undefined {
  return [...host.addresses].find((address) => familyOf(address) === familyOf(to));
}
