// Which host of a service has which address. One address belongs to one host: of several that resolve to it, the one that
// has it keeps it, and the others go without; when it lets go, the first in list order inherits. So no host that serves
// ever loses its address to another one. Used by service-pool.ts.

/** What a host may use: an address, nothing, or nothing because of another host. */
export interface Claim {
  readonly address: string | null;
  /** The host that has this one's address. */
  readonly rival: string | null;
}

export class Claims {
  /** Hosts in list order. */
  #order: ReadonlyMap<string, number> = new Map();
  readonly #resolved = new Map<string, string | null>();
  readonly #claimants = new Map<string, Set<string>>();
  readonly #holders = new Map<string, string>();

  /** The list, in its order. Answers the hosts whose claim may have changed. */
  list(hosts: readonly string[]): readonly string[] {
    this.#order = new Map(hosts.map((host, index) => [host, index]));
    const gone = [...this.#resolved.keys()].filter((host) => !this.#order.has(host));
    return gone.flatMap((host) => this.#drop(host));
  }

  /** `host` resolves to `address` now. Answers the hosts whose claim may have changed. */
  set(host: string, address: string | null): readonly string[] {
    if (this.#resolved.get(host) === address) return [];
    const others = this.#drop(host);
    this.#resolved.set(host, address);
    if (address !== null) {
      const group = this.#claimants.get(address) ?? new Set();
      this.#claimants.set(address, group.add(host));
      if (!this.#holders.has(address)) this.#holders.set(address, host);
    }
    return [host, ...others];
  }

  /** Undefined: nothing was said of this host yet. */
  get(host: string): Claim | undefined {
    const address = this.#resolved.get(host);
    if (address === undefined) return undefined;
    if (address === null) return { address, rival: null };
    const holder = this.#holders.get(address) ?? host;
    return holder === host ? { address, rival: null } : { address: null, rival: holder };
  }

  /** Who has this address. */
  holder(address: string): string | undefined {
    return this.#holders.get(address);
  }

  /** Answers those that wanted the same address: one of them has it now. */
  #drop(host: string): readonly string[] {
    const address = this.#resolved.get(host) ?? null;
    this.#resolved.delete(host);
    if (address === null) return [];
    const group = this.#claimants.get(address);
    group?.delete(host);
    if (group?.size === 0) this.#claimants.delete(address);
    if (this.#holders.get(address) !== host) return [];
    const heirs = [...(group ?? [])].sort((a, b) => this.#position(a) - this.#position(b));
    const [heir] = heirs;
    if (heir === undefined) this.#holders.delete(address);
    else this.#holders.set(address, heir);
    return heirs;
  }

  #position(host: string): number {
    return this.#order.get(host) ?? this.#order.size;
  }
}
