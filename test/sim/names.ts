// The name service of a simulated site, with a resolver per machine that can fail on its own.

import { SystemError } from '../../src/lib/errors.ts';
import type { Family } from '../../src/lib/address.ts';
import type { Cut } from '../../src/lib/cut.ts';
import type { Names, ServiceRecord } from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';

/** answers: as the zone says. silent: every query times out. failing: SERVFAIL. */
export type ResolverState = 'answers' | 'silent' | 'failing';

const RESOLVER_TIMEOUT_MS = 5000;

export class Zone {
  readonly #addresses = new Map<string, readonly string[]>();
  readonly #services = new Map<string, readonly ServiceRecord[]>();

  set(host: string, addresses: readonly string[]): void {
    this.#addresses.set(host.toLowerCase(), addresses);
  }

  remove(host: string): void {
    this.#addresses.delete(host.toLowerCase());
  }

  setServices(name: string, records: readonly ServiceRecord[]): void {
    this.#services.set(name.toLowerCase(), records);
  }

  services(name: string): readonly ServiceRecord[] {
    return this.#services.get(name.toLowerCase()) ?? [];
  }

  lookup(host: string, family: Family): readonly string[] {
    const all = this.#addresses.get(host.toLowerCase()) ?? [];
    return all.filter((address) => address.includes(':') === (family === 6));
  }
}

export class Resolver {
  state: ResolverState = 'answers';
  readonly #zone: Zone;
  readonly #random: Random;
  readonly #tally: Tally;

  constructor(zone: Zone, random: Random, tally: Tally) {
    this.#zone = zone;
    this.#random = random;
    this.#tally = tally;
  }

  names(life: Life): Names {
    return {
      resolve: (host, family, cut) => this.#ask(life, `resolve ${host}`, () => this.#zone.lookup(host, family), cut),
      resolveService: (name, cut) => this.#ask(life, `resolve SRV ${name}`, () => this.#zone.services(name), cut),
    };
  }

  #ask<T>(life: Life, call: string, find: () => readonly T[], cut: Cut): Promise<readonly T[]> {
    return life.promise((resolve, reject) => {
      let cancel = (): void => {};
      const forget = cut.onAbort(() => {
        cancel();
        reject(new SystemError('ECANCELED', call));
      });
      if (cut.aborted) return;
      const state = this.state;
      if (state !== 'answers') this.#tally.hit(`resolver ${state}`, 'resolve');
      const wait = state === 'silent' ? RESOLVER_TIMEOUT_MS : this.#random.between(0.5, 20);
      cancel = life.after(wait, () => {
        forget();
        if (state === 'silent') reject(new SystemError('ETIMEOUT', call));
        else if (state === 'failing') reject(new SystemError('EAI_AGAIN', call));
        else {
          const found = find();
          // Servers hand out their records in any order.
          if (found.length > 0) resolve(this.#random.shuffle(found));
          else reject(new SystemError('ENOTFOUND', call));
        }
      });
    });
  }
}
