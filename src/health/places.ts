// Which server of a service is where: an address is in use by one server at a time. Names change places in DNS one after
// another, so whoever is to have an address may find another server there, which lost its claim to it or is about to move. It
// stays until the newcomer is up there, and then makes way in the same moment. Kept by service.ts, told by its servers.

interface Place {
  readonly address: string;
}

/** What is asked of a server here. */
export interface Placed {
  readonly host: string;
  readonly isUp: boolean;
  readonly nextAddress: string | null;
  spare(address: string): void;
  leave(why: string): void;
  hurry(): void;
}

export class Places {
  readonly #users = new Map<string, Placed>();
  /** Those that try out another address than the one they use. */
  readonly #trying = new Set<Placed>();

  user(address: string): Placed | undefined {
    return this.#users.get(address);
  }

  /** Somebody uses it and is up there. */
  isServing(address: string): boolean {
    return this.#users.get(address)?.isUp === true;
  }

  tries(server: Placed, does: boolean): void {
    if (does) this.#trying.add(server);
    else this.#trying.delete(server);
  }

  /** It is to be this server's: nobody else moves there. */
  reserve(address: string, server: Placed): void {
    for (const other of [...this.#trying]) if (other !== server) other.spare(address);
  }

  /** Nobody may be there. */
  bar(address: string, why: string): void {
    for (const server of [...this.#trying]) server.spare(address);
    this.#users.get(address)?.leave(why);
  }

  /** Whoever is there makes way. */
  move(server: Placed, from: Place | null, to: Place | null): void {
    if (from !== null && this.#users.get(from.address) === server) this.#users.delete(from.address);
    if (to !== null) {
      const other = this.#users.get(to.address);
      this.#users.set(to.address, server);
      if (other !== server) other?.leave(`is the address of ${server.host}`);
    }
    if (from !== null) this.changed(from.address);
  }

  /** Whoever is there may have gone, or be up no more. */
  changed(address: string): void {
    for (const server of [...this.#trying]) if (server.nextAddress === address) server.hurry();
  }
}
