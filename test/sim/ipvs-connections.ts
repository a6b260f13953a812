// IPVS' connection table on a simulated director, as far as checks through the path meet it. An entry is found by protocol,
// source port, virtual IP and port, without the mark, and is stronger than any mark: what a connection left behind leads the
// next one from the same port to the old server, for as long as its state lasts. An entry whose destination was deleted lets
// nothing through (expire_nodest_conn = 0).

import { printEndpoint } from '../../src/lib/address.ts';
import type { ForwardMethod } from '../../src/ipvs/table.ts';
import type { Endpoint } from '../../src/world/world.ts';
import type { IpvsTimeouts } from './topology.ts';

/** Where a destination is, by which method packets get there. */
export interface Forwarded extends Endpoint {
  readonly method: ForwardMethod;
  /** It is in the kernel's table still. */
  readonly available: () => boolean;
}

/** What a packet of this host makes of an entry. */
export type Packet = 'syn' | 'data' | 'fin' | 'rst' | 'datagram';

interface Entry {
  readonly to: Forwarded;
  /** Of the connection that made it. */
  readonly mark: number;
  until: number;
}

const SYN_RECV_SECONDS = 60;
const CLOSE_SECONDS = 10;

export class ConnectionTable {
  timeouts: IpvsTimeouts = { tcp: 900, tcpFin: 120, udp: 300 };
  /** What the output hook makes of a mark. Null: nothing. */
  schedule: ((mark: number, to: Endpoint, protocol: 'tcp' | 'udp') => Forwarded | null) | null = null;
  /** Called when an entry led elsewhere than its mark would have. */
  misled: () => void = () => {};
  readonly #entries = new Map<string, Entry>();

  /** The way of one connection's packets from `port` to `to`. Null: there is none. */
  open(now: number, mark: number, port: number, to: Endpoint, protocol: 'tcp' | 'udp'): Way | null {
    const key = `${protocol} ${port} ${printEndpoint(to.address, to.port)}`;
    const marked = this.schedule?.(mark, to, protocol) ?? null;
    const known = this.#entries.get(key);
    const live = known !== undefined && known.until > now ? known : null;
    if (live !== null && (live.to.address !== marked?.address || live.to.method !== marked.method)) this.misled();
    const found = live?.to ?? marked;
    if (found === null) return null;
    const entry = live ?? { to: found, mark, until: Number.NEGATIVE_INFINITY };
    this.#entries.set(key, entry);
    return {
      to: entry.to,
      // A packet that is dropped here does not wind the timer up again.
      pass: (packet, at) => {
        if (!entry.to.available()) return false;
        entry.until = at + 1000 * this.#secondsOf(packet);
        this.#entries.set(key, entry);
        return true;
      },
    };
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Entries of other marks than these are over. */
  forget(isKnown: (mark: number) => boolean): void {
    for (const [key, { mark }] of this.#entries) if (!isKnown(mark)) this.#entries.delete(key);
  }

  #secondsOf(packet: Packet): number {
    switch (packet) {
      case 'syn':
        return SYN_RECV_SECONDS;
      case 'data':
        return this.timeouts.tcp;
      case 'fin':
        return this.timeouts.tcpFin;
      case 'rst':
        return CLOSE_SECONDS;
      case 'datagram':
        return this.timeouts.udp;
      default:
        return packet satisfies never;
    }
  }
}

export interface Way {
  readonly to: Forwarded;
  /** A packet goes out now: does the table let it through? */
  pass(packet: Packet, now: number): boolean;
}
