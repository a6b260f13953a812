// The userspace backend: TCP forwarding inside this process, for trying anybal on any machine without root. It listens on
// each service's VIP:port and splices every connection to a real server. The same table and the same error numbers as the
// kernel's; not for production, as each byte passes through the event loop. TCP only; rr and wrr, everything else as wrr.

import { printEndpoint } from '../lib/address.ts';
import { Knife } from '../lib/cut.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import { cutAfter } from '../lib/in-time.ts';
import type { Log } from '../log/record.ts';
import type { Clock, Kernel, Listener, Stream, Streams } from '../world/world.ts';
import { ipvsadmLine } from './ipvsadm.ts';
import { applyToMemory, type MemoryTable, pick, type Unseen } from './memory.ts';
import { splice } from './splice.ts';
import type { IpvsDestination, IpvsOp, IpvsService, IpvsTable, ServiceKey } from './table.ts';

export interface UserspaceIpvs extends Kernel<IpvsTable, IpvsOp, ServiceKey> {
  /** Closes the listeners and resets what still is connected. */
  close(): Promise<void>;
}

export interface UserspaceParts {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly log: Log;
  /** Of all services together; more are reset. Each takes two file descriptors. */
  readonly maxConnections?: number;
}

const MAX_CONNECTIONS = 2_000;
const CONNECT_TIMEOUT_MS = 5_000;

export function userspaceIpvs(parts: UserspaceParts): UserspaceIpvs {
  return new Forwarder(parts);
}

/** What a service has beside its entry in the table. */
interface Served {
  readonly listener: Listener;
  /** How much each destination is owed, by key: see `choose`. */
  readonly owed: Map<string, number>;
}

class Forwarder implements UserspaceIpvs {
  readonly #parts: UserspaceParts;
  readonly #maxConnections: number;
  readonly #table: MemoryTable = new Map();
  readonly #unseen: Unseen = new Map();
  readonly #served = new Map<ServiceKey, Served>();
  readonly #closing = new Knife();
  #connections = 0;
  #full = false;

  constructor(parts: UserspaceParts) {
    this.#parts = parts;
    this.#maxConnections = parts.maxConnections ?? MAX_CONNECTIONS;
  }

  list(keys?: readonly ServiceKey[]): Promise<IpvsTable> {
    this.#unseen.clear();
    return Promise.resolve(pick(this.#table, keys));
  }

  async apply(ops: readonly IpvsOp[]): Promise<readonly (null | SystemError)[]> {
    const results: (null | SystemError)[] = [];
    for (const op of ops) results.push(await this.#apply(op));
    return results;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const served = [...this.#served.values()];
    this.#served.clear();
    this.#table.clear();
    await Promise.all(served.map(({ listener }) => listener.close()));
  }

  async #apply(op: IpvsOp): Promise<null | SystemError> {
    const { key } = op.service;
    if (op.do === 'add-service' && !this.#table.has(key)) {
      const refusal = await this.#listen(op);
      if (refusal !== null) return refusal;
    }
    const before = this.#table.get(key)?.service;
    const error = applyToMemory(this.#table, op, this.#unseen);
    if (op.do === 'delete-service' || !this.#table.has(key)) await this.#unlisten(key);
    if (error === null && (op.do === 'add-service' || op.do === 'set-service')) this.#warn(op.service, before);
    return error;
  }

  async #listen(op: IpvsOp & { readonly do: 'add-service' }): Promise<null | SystemError> {
    const { key, protocol, address, port } = op.service;
    if (protocol !== 'tcp') {
      return new SystemError('ENOTSUP', ipvsadmLine(op), `the userspace backend forwards TCP only, not ${protocol}`);
    }
    try {
      const listener = await this.#parts.streams.listen({ address, port }, (client) => this.#accept(key, client));
      this.#served.set(key, { listener, owed: new Map() });
      return null;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return new SystemError(error.code, ipvsadmLine(op), error.message);
    }
  }

  /** New connections are refused; established ones live on, as in the kernel. */
  async #unlisten(key: ServiceKey): Promise<void> {
    const served = this.#served.get(key);
    this.#served.delete(key);
    await served?.listener.close();
  }

  #warn(service: IpvsService, before: IpvsService | undefined): void {
    const { key, scheduler } = service;
    if (scheduler === 'rr' || scheduler === 'wrr' || scheduler === before?.scheduler) return;
    const text = `${key}: the userspace backend has no scheduler ${scheduler} and uses wrr`;
    this.#parts.log({ level: 'warn', system: 'ipvs', text, data: { event: 'scheduler', scheduler } });
  }

  #accept(key: ServiceKey, client: Stream): void {
    const destination = this.#connections < this.#maxConnections ? this.#choose(key) : this.#refuse();
    // The kernel answers with an ICMP error, which the client sees as a refused connection.
    if (destination === null) return client.close('rst');
    this.#full = false;
    this.#connections++;
    const ended = () => void this.#connections--;
    this.#forward(client, destination).then(ended, (error: unknown) => {
      ended();
      client.close('rst');
      const to = printEndpoint(destination.address, destination.port);
      this.#log('debug', `${key}: connection to ${to}: ${errorText(error)}`);
    });
  }

  /** Says once that there are too many. */
  #refuse(): null {
    if (!this.#full) this.#log('warn', `${this.#maxConnections} connections: new ones are reset`);
    this.#full = true;
    return null;
  }

  /** Resolves when both sides are closed. */
  async #forward(client: Stream, { address, port }: IpvsDestination): Promise<void> {
    const within = cutAfter(this.#parts.clock, CONNECT_TIMEOUT_MS, this.#closing);
    let server: Stream;
    try {
      server = await this.#parts.streams.connect({ address, port }, within.cut);
    } finally {
      within.release();
    }
    await splice(client, server, this.#closing);
  }

  #choose(key: ServiceKey): IpvsDestination | null {
    const entry = this.#table.get(key);
    const served = this.#served.get(key);
    if (entry === undefined || served === undefined) return null;
    return choose([...entry.destinations.values()], entry.service.scheduler === 'rr', served.owed);
  }

  #log(level: 'debug' | 'warn', text: string): void {
    this.#parts.log({ level, system: 'ipvs', text });
  }
}

/**
 * Smooth weighted round robin: every destination is owed its weight at each turn, the one that is owed most is chosen and pays
 * for all. Each is chosen in proportion to its weight, never in a row as long as others are owed. Weight 0 gets nothing.
 */
export function choose(
  destinations: readonly IpvsDestination[],
  equalWeights: boolean,
  owed: Map<string, number>,
): IpvsDestination | null {
  let best: IpvsDestination | null = null;
  let most = 0;
  let total = 0;
  const present = new Set<string>();
  for (const destination of destinations) {
    if (destination.weight <= 0) continue;
    const weight = equalWeights ? 1 : destination.weight;
    const now = (owed.get(destination.key) ?? 0) + weight;
    owed.set(destination.key, now);
    present.add(destination.key);
    total += weight;
    if (best === null || now > most) {
      best = destination;
      most = now;
    }
  }
  for (const key of owed.keys()) if (!present.has(key)) owed.delete(key);
  if (best !== null) owed.set(best.key, most - total);
  return best;
}
