// Which host of a service has which address. One address belongs to one host: of several that resolve to it, the one that
// has it keeps it, and the others go without; when it lets go, the first in list order inherits. So no host that serves
// ever loses its address to another one, nor one that had it in an earlier life and is being looked up. Used by
// service-pool.ts.

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
  /** Hosts of which is known only what they had. */
  readonly #expected = new Set<string>();

  /** The list, in its order. Answers the hosts whose claim may have changed. */
  list(hosts: readonly string[]): readonly string[] {
    this.#order = new Map(hosts.map((host, index) => [host, index]));
    const gone = [...this.#resolved.keys()].filter((host) => !this.#order.has(host));
    return this.#inherit(gone.flatMap((host) => this.#drop(host) ?? []));
  }

  /** `host` had this address, and will say what it has now. Until then nobody else gets it. */
  expect(host: string, address: string): void {
    if (this.#resolved.has(host) || this.#holders.has(address)) return;
    this.#expected.add(host);
    this.#resolved.set(host, address);
    this.#claim(host, address);
  }

  /** `host` resolves to `address` now. Answers the hosts whose claim may have changed. */
  set(host: string, address: string | null): readonly string[] {
    const expected = this.#expected.delete(host);
    if (this.#resolved.get(host) === address) return expected ? [host, ...this.#rivals(host, address)] : [];
    const left = this.#drop(host);
    this.#resolved.set(host, address);
    if (address !== null) this.#claim(host, address);
    return [host, ...(left === null ? [] : this.#inherit([left]))];
  }

  /** Undefined: nothing was said yet of this host, or of the one that had its address. */
  get(host: string): Claim | undefined {
    const address = this.#resolved.get(host);
    if (address === undefined) return undefined;
    if (address === null) return { address, rival: null };
    const holder = this.#holders.get(address) ?? host;
    if (this.#expected.has(holder)) return undefined;
    return holder === host ? { address, rival: null } : { address: null, rival: holder };
  }

  /** Who has this address. */
  holder(address: string): string | undefined {
    return this.#holders.get(address);
  }

  #claim(host: string, address: string): void {
    const group = this.#claimants.get(address) ?? new Set();
    this.#claimants.set(address, group.add(host));
    if (!this.#holders.has(address)) this.#holders.set(address, host);
  }

  #rivals(host: string, address: string | null): readonly string[] {
    const group = address === null ? [] : (this.#claimants.get(address) ?? []);
    return [...group].filter((other) => other !== host);
  }

  /** Answers the address that nobody has any more because of this. */
  #drop(host: string): string | null {
    const address = this.#resolved.get(host) ?? null;
    this.#resolved.delete(host);
    this.#expected.delete(host);
    if (address === null) return null;
    const group = this.#claimants.get(address);
    group?.delete(host);
    if (group?.size === 0) this.#claimants.delete(address);
    if (this.#holders.get(address) !== host) return null;
    this.#holders.delete(address);
    return address;
  }

  /** Answers those that wanted one of these addresses: one of them has it now. */
  #inherit(addresses: readonly string[]): readonly string[] {
    return addresses.flatMap((address) => {
      const heirs = [...(this.#claimants.get(address) ?? [])].sort((a, b) => this.#position(a) - this.#position(b));
      const [heir] = heirs;
      if (heir !== undefined) this.#holders.set(address, heir);
      return heirs;
    });
  }

  #position(host: string): number {
    return this.#order.get(host) ?? this.#order.size;
  }
}
