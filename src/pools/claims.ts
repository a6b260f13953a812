// Which host of a service has which address. One address belongs to one host: of several that resolve to it, the first in
// list order; the others go without. A function of list and answers, not of their history, so that all directors agree.
// Used by service-pool.ts.

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

  /** The list, in its order. Answers the hosts whose claim may have changed. */
  list(hosts: readonly string[]): readonly string[] {
    this.#order = new Map(hosts.map((host, index) => [host, index]));
    const gone = [...this.#resolved.keys()].filter((host) => !this.#order.has(host));
    const heirs = gone.flatMap((host) => this.#drop(host));
    const shared = [...this.#claimants.values()].filter((group) => group.size > 1);
    return [...heirs, ...shared.flatMap((group) => [...group])];
  }

  /** `host` resolves to `address` now. Answers the hosts whose claim may have changed. */
  set(host: string, address: string | null): readonly string[] {
    const left = this.#drop(host);
    this.#resolved.set(host, address);
    if (address === null) return [host, ...left];
    const group = this.#claimants.get(address) ?? new Set();
    this.#claimants.set(address, group.add(host));
    return [...group, ...left];
  }

  /** Undefined: nothing was said of this host yet. */
  get(host: string): Claim | undefined {
    const address = this.#resolved.get(host);
    if (address === undefined) return undefined;
    const holder = address === null ? host : this.#holder(address);
    return holder === host ? { address, rival: null } : { address: null, rival: holder };
  }

  #holder(address: string): string | null {
    let first: string | null = null;
    for (const host of this.#claimants.get(address) ?? []) {
      if (first === null || this.#position(host) < this.#position(first)) first = host;
    }
    return first;
  }

  #position(host: string): number {
    return this.#order.get(host) ?? Number.POSITIVE_INFINITY;
  }

  /** Answers those that wanted the same address. */
  #drop(host: string): readonly string[] {
    const address = this.#resolved.get(host) ?? null;
    this.#resolved.delete(host);
    if (address === null) return [];
    const group = this.#claimants.get(address);
    group?.delete(host);
    if (group?.size === 0) this.#claimants.delete(address);
    return [...(group ?? [])];
  }
}
