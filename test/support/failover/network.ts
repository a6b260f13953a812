// A router's network namespace, and one for each director, each on a wire of its own: what bench/failover.ts and the tests
// of failing directors are played on. Needs root and iproute2. Everything in it is ended by its process id and removed.

import { type ChildProcess, spawn } from 'node:child_process';
import { haste, output, pidsIn, signalTo } from '../namespace.ts';

/** One director's place. */
export interface Wire {
  readonly index: number;
  /** The director's namespace; its end of the wire is `eth0` there. */
  readonly namespace: string;
  /** The router's end. */
  readonly routerDevice: string;
  readonly routerAddress: string;
  readonly directorAddress: string;
  /** The virtual IP that the director on this wire is preferred for. On its `lo`. */
  readonly vip: string;
}

/** A namespace that programs are started in. */
export interface Host {
  readonly name: string;
  spawn(command: string, ...args: readonly string[]): ChildProcess;
}

export class FailoverNetwork {
  readonly router: Host;
  readonly wires: readonly Wire[];
  readonly #network: number;
  readonly #names: readonly string[];

  private constructor(name: string, network: number, count: number) {
    this.#network = network;
    this.router = hostOf(`${name}-rt`);
    this.wires = Array.from({ length: count }, (_, index) => this.#wire(name, index));
    this.#names = [this.router.name, ...this.wires.map(({ namespace }) => namespace)];
  }

  /** `network` keeps the addresses of two networks apart for whoever reads both logs. Up to 250 wires. */
  static async create(name: string, network: number, count: number): Promise<FailoverNetwork> {
    const made = new FailoverNetwork(name, network, count);
    await made.destroy();
    try {
      await made.#build();
    } catch (error) {
      await made.destroy();
      throw error;
    }
    return made;
  }

  host(wire: Wire): Host {
    return hostOf(wire.namespace);
  }

  async haste(): Promise<void> {
    for (const name of this.#names) await haste(name);
  }

  /** Also what a killed run has left. */
  async destroy(): Promise<void> {
    for (const name of this.#names) {
      for (const pid of await pidsIn(name).catch(() => [])) signalTo(pid, 'SIGKILL');
      await output('ip', 'netns', 'delete', name).catch(() => {});
    }
  }

  #wire(name: string, index: number): Wire {
    const net = `10.${this.#network}.${index}`;
    return {
      index,
      namespace: `${name}-d${index}`,
      routerDevice: `d${index}`,
      routerAddress: `${net}.1`,
      directorAddress: `${net}.2`,
      vip: `198.18.${this.#network}.${index}`,
    };
  }

  async #build(): Promise<void> {
    const router = this.router.name;
    await output('ip', 'netns', 'add', router);
    await output('ip', '-n', router, 'link', 'set', 'lo', 'up');
    for (const wire of this.wires) {
      const { namespace, routerDevice } = wire;
      await output('ip', 'netns', 'add', namespace);
      const peer = ['peer', 'name', 'eth0', 'netns', namespace];
      await output('ip', '-n', router, 'link', 'add', routerDevice, 'type', 'veth', ...peer);
      await output('ip', '-n', router, 'address', 'add', `${wire.routerAddress}/30`, 'dev', routerDevice);
      await output('ip', '-n', namespace, 'address', 'add', `${wire.directorAddress}/30`, 'dev', 'eth0');
      await output('ip', '-n', namespace, 'address', 'add', `${wire.vip}/32`, 'dev', 'lo');
      await output('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
      await output('ip', '-n', namespace, 'link', 'set', 'eth0', 'up');
      await output('ip', '-n', router, 'link', 'set', routerDevice, 'up');
    }
  }
}

function hostOf(name: string): Host {
  return {
    name,
    // `ip netns exec` becomes the program: the child's process id is the program's own.
    spawn: (command, ...args) => {
      const child = spawn('ip', ['netns', 'exec', name, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
      // One that has ended hears nothing more; what it was to do is missed elsewhere.
      child.stdin.on('error', () => {});
      return child;
    },
  };
}

const MAX_WORDS = 4_000;

/** Reads what a program prints, so that it never waits for a reader; the answer is the end of it. */
export function lastWords(child: ChildProcess): () => string {
  let said = '';
  const collect = (bytes: Buffer) => {
    said = `${said}${bytes.toString()}`.slice(-MAX_WORDS);
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  return () => said;
}
