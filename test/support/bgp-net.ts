// Speakers on a simulated network in virtual time, and a scripted peer that says exactly what a test wants.

import type { PeerConfig } from '../../src/config/types.ts';
import type { Route } from '../../src/decision/decision.ts';
import type { LogRecord } from '../../src/log/record.ts';
import type { Clock, ListenerOptions, Mono, Stream, Streams, TcpOptions, Wall } from '../../src/world/world.ts';
import { encodeMessage, type Message } from '../../src/bgp/message.ts';
import { type LocalOpen, localOpen } from '../../src/bgp/open.ts';
import type { SpeakerWorld } from '../../src/bgp/peer.ts';
import { Speaker, type SpeakerConfig } from '../../src/bgp/speaker.ts';
import type { RouteTable } from '../../src/bgp/table.ts';
import { Splitter } from '../../src/bgp/splitter.ts';
import { peerConfig } from './peer-config.ts';
import { Life } from '../sim/life.ts';
import { type Host, Network } from '../sim/network.ts';
import { Random } from '../sim/random.ts';
import { Scheduler } from '../sim/scheduler.ts';
import { Tally } from '../sim/tally.ts';

export { peerConfig };

export function route(address: string, changes: Partial<Route> = {}): Route {
  return { address, nextHop: null, asPath: [], med: 0, localPref: null, communities: [], ...changes };
}

/** One speaker with what it told. */
export interface Node {
  readonly host: Host;
  readonly life: Life;
  readonly world: SpeakerWorld;
  readonly speaker: Speaker;
  readonly log: LogRecord[];
  /** `cr1 up`, `cr1 down` */
  readonly states: string[];
  readonly tables: Map<string, RouteTable>;
  /**
   * Keys that connections were given while they were open, in order: `192.0.2.1 secret`, or with TCP-AO the ids to send with,
   * `192.0.2.1 1+2`. Nothing here signs with them.
   */
  readonly keyed: string[];
  configure(config: Partial<SpeakerConfig>): Promise<void>;
  lines(): string[];
}

/** What the kernel says to options: of connections, before and after they are made, and of listeners. Throws what it refuses. */
export interface Kernel {
  stream?(options: TcpOptions): void;
  listener?(options: ListenerOptions): void;
}

export class BgpNet {
  readonly scheduler = new Scheduler(2_000_000);
  readonly random: Random;
  readonly network: Network;

  constructor(seed = 1) {
    this.random = new Random(seed, 'bgp');
    this.network = new Network(this.scheduler, this.random.fork('network'), new Tally());
  }

  run(seconds: number): Promise<void> {
    return this.scheduler.run(this.scheduler.now + seconds * 1000);
  }

  /** Run until `done`, for at most `seconds`. Returns the seconds that it took. */
  async until(done: () => boolean, seconds: number): Promise<number> {
    const start = this.scheduler.now;
    await this.scheduler.run(start + seconds * 1000, done);
    if (!done()) throw new Error(`not so after ${seconds} s`);
    return (this.scheduler.now - start) / 1000;
  }

  /** Run until a promise of the simulated world is settled. */
  async settled<T>(promise: Promise<T>, seconds = 60): Promise<T> {
    let done = false;
    const mark = () => {
      done = true;
    };
    promise.then(mark, mark);
    await this.run(0);
    if (!done) await this.until(() => done, seconds);
    return promise;
  }

  node(name: string, addresses: readonly string[], keepRoutes = false, kernel: Kernel = {}): Node {
    const host = this.network.host(name, addresses);
    const life = new Life(this.scheduler);
    const log: LogRecord[] = [];
    const states: string[] = [];
    const tables = new Map<string, RouteTable>();
    const keyed: string[] = [];
    const random = this.random.fork(name);
    const world: SpeakerWorld = {
      clock: this.#clock(life),
      random: () => random.unit(),
      streams: this.#streams(host, life, keyed, kernel),
      log: (record) => void log.push(record),
    };
    const speaker = new Speaker(world, {
      onPeerState: (peer, { established }) => void states.push(`${peer} ${established ? 'up' : 'down'}`),
      ...(keepRoutes ? { onRoutes: (peer, table) => void tables.set(peer, new Map(table)) } : {}),
    });
    const [address] = addresses;
    const defaults: SpeakerConfig = {
      routerId: null,
      listen: address === undefined ? [] : [{ address, port: 179 }],
      peers: [],
    };
    return {
      host,
      life,
      world,
      speaker,
      log,
      states,
      tables,
      keyed,
      configure: (config) => this.settled(speaker.configure({ ...defaults, ...config })),
      lines: () => log.filter(({ level }) => level !== 'debug').map(({ system, text }) => `[${system}] ${text}`),
    };
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

  #streams(host: Host, life: Life, keyed: string[], kernel: Kernel): Streams {
    const { network } = this;
    const tunable = (stream: Stream): Stream =>
      Object.assign(stream, {
        tune: (options: TcpOptions) => {
          const { md5Key, aoKeys } = options;
          if (md5Key !== undefined) keyed.push(`${stream.remote.address} ${md5Key}`);
          const ids = aoKeys?.map(({ sendId }) => sendId).join('+');
          if (ids !== undefined) keyed.push(`${stream.remote.address} ${ids}`);
          kernel.stream?.(options);
        },
      });
    return {
      connect: async (options, cut) => {
        if (options.tcp !== undefined) kernel.stream?.(options.tcp);
        return tunable(await network.connect(host, life, options, cut));
      },
      secure: () => Promise.reject(new Error('no TLS here')),
      listen: async (at, onStream) => {
        const close = network.listen(host, life, at, (stream) => onStream(tunable(stream)));
        return { local: at, close: async () => close(), tune: (options) => kernel.listener?.(options) };
      },
    };
  }
}

/** A peer without a mind: sends what it is told to, and keeps what it got. */
export class Script {
  /** Whole messages as they came: type and body. */
  readonly got: { readonly type: number; readonly body: Uint8Array }[] = [];
  readonly stream: Stream;
  closed = false;

  constructor(stream: Stream) {
    this.stream = stream;
    const splitter = new Splitter();
    splitter.takeExtended();
    stream.on({
      onData: (bytes) => {
        for (const { type, body } of splitter.push(bytes)) this.got.push({ type, body: body.slice() });
      },
      onEnd: () => {
        this.closed = true;
      },
      onDrain: () => {},
      onClose: () => {
        this.closed = true;
      },
    });
  }

  say(...messages: readonly Message[]): void {
    for (const message of messages) this.stream.write(encodeMessage(message));
  }

  open(changes: Partial<LocalOpen> = {}): void {
    const local = { as: 64500, routerId: '192.0.2.1', holdTimeSeconds: 90, families: [4, 6] as const, peerAs: null };
    this.say({ is: 'open', open: localOpen({ ...local, ...changes }) });
  }

  /** `6/2` for each NOTIFICATION that came. */
  get notifications(): string[] {
    return this.got.filter(({ type }) => type === 3).map(({ body }) => `${body[0]}/${body[1]}`);
  }

  count(type: number): number {
    return this.got.filter((message) => message.type === type).length;
  }
}
