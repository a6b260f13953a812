// BFD engines on a simulated network in virtual time, each beside a daemon that can be made to stand still.

import { encodePacket, type Packet } from '../../src/bfd/packet.ts';
import { type BfdChange, type BfdSessionConfig, type BfdStatus, HEARTBEAT_MS } from '../../src/bfd/types.ts';
import type { LogRecord } from '../../src/log/record.ts';
import type { Bfd, Clock, Endpoint, Mono, Wall } from '../../src/world/world.ts';
import { simBfd } from '../sim/bfd.ts';
import { Life } from '../sim/life.ts';
import { type Host, Network } from '../sim/network.ts';
import { Random } from '../sim/random.ts';
import { Scheduler } from '../sim/scheduler.ts';
import { Tally } from '../sim/tally.ts';
import { Udp } from '../sim/udp.ts';

export const A = '192.0.2.1';
export const B = '192.0.2.2';
export const A6 = '2001:db8::1';
export const B6 = '2001:db8::2';

/** Of a session that is down; from it tests make others. */
export const PACKET: Packet = {
  diagnostic: 0,
  state: 'Down',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 0,
  yourDiscriminator: 0,
  desiredMinTxUs: 300_000,
  requiredMinRxUs: 300_000,
  requiredMinEchoRxUs: 0,
  auth: null,
};

export function sessionTo(address: string, changes: Partial<BfdSessionConfig> = {}): BfdSessionConfig {
  const common = { localAddress: null, multihop: false, intervalMs: 50, multiplier: 3, auth: null };
  return { name: address, address, ...common, ...changes };
}

export interface BfdNode {
  readonly host: Host;
  readonly bfd: Bfd;
  /** Its daemon's: stop it, and the daemon stands still. */
  readonly daemon: Life;
  readonly worker: Life;
  readonly changes: BfdChange[];
  readonly log: LogRecord[];
  configure(...sessions: readonly BfdSessionConfig[]): void;
  status(name: string): BfdStatus;
  /** `Down>Init Init>Up` */
  story(): string;
}

export class BfdNet {
  readonly scheduler = new Scheduler(2_000_000);
  readonly random: Random;
  readonly network: Network;
  readonly udp: Udp;

  constructor(seed = 1) {
    this.random = new Random(seed, 'bfd');
    this.network = new Network(this.scheduler, this.random.fork('network'), new Tally());
    this.udp = new Udp(this.network);
  }

  run(seconds: number): Promise<void> {
    return this.scheduler.run(this.scheduler.now + seconds * 1000);
  }

  /** Run until `done`, for at most `seconds`. Returns how many ms it took. */
  async until(done: () => boolean, seconds = 10): Promise<number> {
    const start = this.scheduler.now;
    await this.scheduler.run(start + seconds * 1000, done);
    if (!done()) throw new Error(`not so after ${seconds} s`);
    return this.scheduler.now - start;
  }

  node(name: string, addresses: readonly string[], wedgedMs = 2_000): BfdNode {
    const host = this.network.host(name, addresses);
    const daemon = new Life(this.scheduler);
    const worker = new Life(this.scheduler);
    const changes: BfdChange[] = [];
    const log: LogRecord[] = [];
    const random = this.random.fork(name);
    const bfd = simBfd({
      life: daemon,
      clock: this.#clock(worker),
      random: () => random.unit(),
      datagrams: this.udp.of(host, worker),
      log: (record) => log.push(record),
    });
    const beat = (): void => {
      bfd.alive();
      daemon.after(HEARTBEAT_MS, beat);
    };
    beat();
    return {
      host,
      bfd,
      daemon,
      worker,
      changes,
      log,
      configure: (...sessions) => bfd.configure({ sessions, wedgedMs }, (change) => changes.push(change)),
      status: (session) => {
        const found = bfd.status().find((each) => each.name === session);
        if (found === undefined) throw new Error(`${name} has no session ${session}`);
        return found;
      },
      story: () => changes.map(({ was, state }) => `${was}>${state}`).join(' '),
    };
  }

  /** Two directors' worth: a and b with a session to each other, up. */
  async pair(changes: Partial<BfdSessionConfig> = {}): Promise<readonly [BfdNode, BfdNode]> {
    const a = this.node('a', [A, A6]);
    const b = this.node('b', [B, B6]);
    a.configure(sessionTo(B, changes));
    b.configure(sessionTo(A, changes));
    await this.until(() => isUp(a, B) && isUp(b, A));
    // The polls after coming up.
    await this.run(0.5);
    return [a, b];
  }

  /** A packet out of nowhere. */
  inject(from: string, to: Endpoint, packet: Packet, ttl = 255): void {
    this.udp.inject({ address: from, port: 50_000 }, to, encodePacket(packet), ttl);
  }

  #clock(life: Life): Clock {
    const { scheduler } = this;
    return {
      now: () => scheduler.now as Mono,
      wall: () => scheduler.now as Wall,
      at: (delayMs, fn) => life.after(delayMs, fn),
      sleep: (ms) => new Promise((resolve) => void life.after(ms, () => resolve())),
    };
  }
}

export function isUp(node: BfdNode, session: string): boolean {
  return node.bfd.status().some(({ name, state }) => name === session && state === 'Up');
}
