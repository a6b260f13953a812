// Host names to addresses, one lookup per name and family however many services list it. Sticky: the address in use stays
// while DNS still answers it, and while DNS answers nothing. Literal addresses are their own answer. Used by service-pool.ts.

import { canonicalAddress, familyOf, type Family } from '../lib/address.ts';
import { Knife, type Cut } from '../lib/cut.ts';
import { errorText } from '../lib/errors.ts';
import { cutAfter } from '../lib/in-time.ts';
import type { World } from '../world/world.ts';

const LOOKUP_TIMEOUT_MS = 10_000;
const MAX_RETRY_MS = 60_000;
/**
 * How long an answer is waited for before the address of an earlier life is used. That may be older than what the kernel has: the
 * host moved, and whoever was here before died before that was on disk.
 */
const PATIENCE_MS = 1_000;
/** Lookups under way at once: a pool of thousands must not drown its resolver. */
const MAX_LOOKUPS = 32;

/** Told at once if something is known, then on each change. Null: the name has no address of this family. */
export type AddressListener = (address: string | null) => void;

interface Name {
  readonly host: string;
  readonly family: Family;
  readonly knife: Knife;
  readonly listeners: Set<AddressListener>;
  /** Its address in an earlier life. */
  known: string | null;
  /** Ends the patience with DNS. */
  patient: () => void;
  /** Undefined: no lookup has ended yet, and patience has not either. */
  address: string | null | undefined;
}

export class Resolver {
  readonly #world: Pick<World, 'clock' | 'random' | 'names' | 'log'>;
  readonly #names = new Map<string, Name>();
  readonly #loops = new Set<Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #lookups = 0;
  #intervalMs = 60_000;

  constructor(world: Pick<World, 'clock' | 'random' | 'names' | 'log'>) {
    this.#world = world;
  }

  /** From the next lookup of each name on. */
  setInterval(seconds: number): void {
    this.#intervalMs = seconds * 1000;
  }

  /**
   * Follow a host. `known` is the address that it had in an earlier life, used when DNS has no answer, or none in a second.
   * Returns a function that ends it.
   */
  follow(host: string, family: Family, known: string | null, listener: AddressListener): () => void {
    const literal = canonicalAddress(host);
    if (literal !== null) {
      const wrong = unusable(literal, family);
      if (wrong !== null) this.#log('error', `Initialization failed for server ${host}: ${wrong}`);
      listener(wrong === null ? literal : null);
      return () => {};
    }
    const key = `${family} ${host}`;
    let name = this.#names.get(key);
    if (name === undefined) {
      name = {
        host,
        family,
        knife: new Knife(),
        listeners: new Set(),
        known: null,
        patient: () => {},
        address: undefined,
      };
      this.#names.set(key, name);
      this.#start(name);
    }
    if (known !== null && unusable(known, family) === null) this.#remember(name, known);
    const followed = name;
    followed.listeners.add(listener);
    if (followed.address !== undefined) listener(followed.address);
    return () => {
      followed.listeners.delete(listener);
      if (followed.listeners.size > 0 || this.#names.get(key) !== followed) return;
      this.#names.delete(key);
      followed.knife.abort();
    };
  }

  async stop(): Promise<void> {
    for (const name of this.#names.values()) name.knife.abort();
    this.#names.clear();
    await Promise.all(this.#loops);
  }

  /** Also when somebody else follows it already who knew nothing. */
  #remember(name: Name, known: string): void {
    if (name.known !== null || typeof name.address === 'string') return;
    name.known = known;
    if (name.address === null) this.#tell(name, known);
    else name.patient = this.#world.clock.at(PATIENCE_MS, () => this.#tell(name, name.address ?? known));
  }

  #start(name: Name): void {
    const loop = this.#run(name).finally(() => this.#loops.delete(loop));
    this.#loops.add(loop);
  }

  async #run(name: Name): Promise<void> {
    const { clock } = this.#world;
    let failures = 0;
    while (!name.knife.aborted) {
      const answer = await this.#lookup(name);
      name.patient();
      if (name.knife.aborted) return;
      failures = typeof answer === 'string' ? failures + 1 : 0;
      try {
        if (typeof answer === 'string') this.#failed(name, answer, failures);
        else this.#found(name, answer);
      } catch (thrown) {
        // A bug in a listener must not end the lookups of this name.
        this.#log('error', `${name.host}: ${errorText(thrown)}`);
      }
      await clock.sleep(this.#delayMs(failures), name.knife);
    }
  }

  #delayMs(failures: number): number {
    const random = this.#world.random();
    if (failures === 0) return this.#intervalMs * (0.9 + random / 5);
    return Math.min(MAX_RETRY_MS, 1000 * 2 ** Math.min(failures - 1, 10)) * (1 - random / 4);
  }

  /** The usable addresses, sorted, at least one; or why there are none. */
  async #lookup(name: Name): Promise<readonly string[] | string> {
    while (this.#lookups >= MAX_LOOKUPS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (name.knife.aborted) {
      this.#waiting.shift()?.();
      return 'canceled';
    }
    this.#lookups++;
    try {
      return await this.#resolve(name.host, name.family, name.knife);
    } catch (thrown) {
      return errorText(thrown);
    } finally {
      this.#lookups--;
      this.#waiting.shift()?.();
    }
  }

  async #resolve(host: string, family: Family, cut: Cut): Promise<readonly string[] | string> {
    const within = cutAfter(this.#world.clock, LOOKUP_TIMEOUT_MS, cut);
    try {
      const answer = await this.#world.names.resolve(host, family, within.cut);
      const addresses = answer
        .map(canonicalAddress)
        .filter((address) => address !== null && unusable(address, family) === null);
      const sorted = addresses.filter((address) => address !== null).sort();
      if (sorted.length > 0) return sorted;
      return answer.length === 0
        ? `no IPv${family} address`
        : `no usable IPv${family} address among ${answer.slice(0, 4).join(', ')}`;
    } catch (thrown) {
      if (within.cut.aborted && !cut.aborted) return `no answer within ${LOOKUP_TIMEOUT_MS / 1000} s`;
      throw thrown;
    } finally {
      within.release();
    }
  }

  #found(name: Name, sorted: readonly string[]): void {
    const before = name.address ?? name.known;
    const address = before !== null && sorted.includes(before) ? before : (sorted[0] ?? null);
    if (before !== null && address !== before) this.#log('warn', `${name.host} moved from ${before} to ${address}`);
    this.#tell(name, address);
  }

  #failed(name: Name, reason: string, failures: number): void {
    const kept = name.address ?? name.known;
    if (failures === 1) {
      // The first words are PyBal's, and grepped for.
      const what = kept === null ? 'Initialization' : 'Lookup';
      const keeping = kept === null ? 'trying again' : `keeping ${kept}`;
      this.#log(kept === null ? 'error' : 'warn', `${what} failed for server ${name.host}: ${reason}; ${keeping}`);
    }
    this.#tell(name, kept);
  }

  #tell(name: Name, address: string | null): void {
    if (name.address === address) return;
    name.address = address;
    for (const listener of [...name.listeners]) listener(address);
  }

  #log(level: 'warn' | 'error', text: string): void {
    this.#world.log({ level, system: 'server', text });
  }
}

/** Why this can not be a real server of a service of this family, or null. */
export function unusable(address: string, family: Family): string | null {
  if (familyOf(address) !== family) return `not an IPv${family} address, as the VIP is`;
  if (address.includes('%')) return 'a link-local address';
  const first = Number(address.split('.')[0]);
  if (family === 6 ? address === '::' : first === 0) return 'stands for no host';
  if (family === 6 ? address.startsWith('ff') : first >= 224 && first < 240) return 'a multicast address';
  return family === 4 && first >= 240 ? 'a broadcast or reserved address' : null;
}
