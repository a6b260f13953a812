// The name service of a simulated site: a zone that all share, whose servers can fail name by name, and a resolver per machine
// with a cache that can fail on its own.

import { canonicalAddress, type Family, familyOf } from '../../src/lib/address.ts';
import type { Cut } from '../../src/lib/cut.ts';
import { SystemError } from '../../src/lib/errors.ts';
import type { Names, ServiceRecord } from '../../src/world/world.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { Tally } from './tally.ts';

/** answers: as the zone says. late: so, seconds later. silent: every query times out. failing: SERVFAIL. */
export type ResolverState = 'answers' | 'late' | 'silent' | 'failing';

/** How long c-ares takes to give up: its tries, and how many servers it asks, are the operator's. */
const TIMEOUT_MS = { least: 5000, most: 14_000 } as const;
const LATE_MS = { least: 2000, most: 9000 } as const;

export class Zone {
  /** How long resolvers remember what they were answered, nothing included, ms. */
  ttlMs = 0;
  readonly #names = new Map<string, readonly string[]>();
  readonly #services = new Map<string, readonly ServiceRecord[]>();
  readonly #states = new Map<string, ResolverState>();

  /** What a name stands for: addresses, and other names with theirs. */
  set(name: string, members: readonly string[]): void {
    this.#names.set(name.toLowerCase(), members);
  }

  setServices(name: string, records: readonly ServiceRecord[]): void {
    this.#services.set(name.toLowerCase(), records);
  }

  /** How the servers that know a name deal with questions for it. */
  setState(name: string, state: ResolverState): void {
    this.#states.set(name.toLowerCase(), state);
  }

  state(name: string): ResolverState {
    return this.#states.get(name.toLowerCase()) ?? 'answers';
  }

  services(name: string): readonly ServiceRecord[] {
    return this.#services.get(name.toLowerCase()) ?? [];
  }

  lookup(name: string, family: Family): readonly string[] {
    const members = this.#names.get(name.toLowerCase()) ?? [];
    return members.flatMap((member) => {
      if (canonicalAddress(member) === null) return this.lookup(member, family);
      return familyOf(member) === family ? [member] : [];
    });
  }
}

export class Resolver {
  state: ResolverState = 'answers';
  readonly #zone: Zone;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #scheduler: Scheduler;
  readonly #addresses = new Map<string, Remembered<string>>();
  readonly #services = new Map<string, Remembered<ServiceRecord>>();

  constructor(zone: Zone, scheduler: Scheduler, random: Random, tally: Tally) {
    this.#zone = zone;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#tally = tally;
  }

  names(life: Life): Names {
    return {
      resolve: (name, family, cut) => {
        const find = (): readonly string[] => this.#zone.lookup(name, family);
        return this.#ask(
          life,
          name,
          { call: `resolve ${name}`, memory: this.#addresses, key: `${family} ${name}`, find },
          cut,
        );
      },
      resolveService: (name, cut) => {
        const find = (): readonly ServiceRecord[] => this.#zone.services(name);
        return this.#ask(life, name, { call: `resolve SRV ${name}`, memory: this.#services, key: name, find }, cut);
      },
    };
  }

  #ask<T>(life: Life, name: string, question: Question<T>, cut: Cut): Promise<readonly T[]> {
    const { call } = question;
    return life.promise((resolve, reject) => {
      let cancel = (): void => {};
      const forget = cut.onAbort(() => {
        cancel();
        reject(new SystemError('ECANCELED', call));
      });
      if (cut.aborted) return;
      const remembered = this.#remembered(question);
      const state = this.#stateFor(name, remembered !== null);
      cancel = life.after(this.#waitMs(state), () => {
        forget();
        if (state === 'silent') reject(new SystemError('ETIMEOUT', call));
        else if (state === 'failing') reject(new SystemError('EAI_AGAIN', call));
        else {
          const found = remembered ?? this.#find(question);
          // Servers hand out their records in any order.
          if (found.length > 0) resolve(this.#random.shuffle(found));
          else reject(new SystemError('ENOTFOUND', call));
        }
      });
    });
  }

  #stateFor(name: string, remembered: boolean): ResolverState {
    const own = this.state !== 'answers';
    const state = own ? this.state : remembered ? 'answers' : this.#zone.state(name);
    if (state !== 'answers') this.#tally.hit(`${own ? 'resolver' : 'zone'} ${state}`, 'resolve');
    return state;
  }

  #waitMs(state: ResolverState): number {
    if (state === 'silent') return this.#random.between(TIMEOUT_MS.least, TIMEOUT_MS.most);
    return state === 'late' ? this.#random.between(LATE_MS.least, LATE_MS.most) : this.#random.between(0.5, 20);
  }

  #remembered<T>({ memory, key }: Question<T>): readonly T[] | null {
    const known = memory.get(key);
    return known !== undefined && known.until > this.#scheduler.now ? known.found : null;
  }

  #find<T>({ memory, key, find }: Question<T>): readonly T[] {
    const found = find();
    memory.set(key, { found, until: this.#scheduler.now + this.#zone.ttlMs });
    return found;
  }
}

interface Remembered<T> {
  readonly found: readonly T[];
  readonly until: number;
}

interface Question<T> {
  readonly call: string;
  readonly memory: Map<string, Remembered<T>>;
  readonly key: string;
  find(): readonly T[];
}
