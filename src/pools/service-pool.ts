// The pool of one service: asks its source, lets the guard judge, keeps the last good list on disk, and has its hosts
// resolved. One loop, one question at a time, ended by stop(). Made by pools.ts, one per service.

import type { ServiceConfig } from '../config/types.ts';
import type { Fact, PoolHost } from '../decision/facts.ts';
import { Knife } from '../lib/cut.ts';
import { equal } from '../lib/equal.ts';
import { type Complaint, errorText, printComplaint } from '../lib/errors.ts';
import type { LogLevel } from '../log/record.ts';
import type { Wall, World } from '../world/world.ts';
import { showUrl } from '../lib/url.ts';
import { Claims, type Claim } from './claims.ts';
import { initialGuard, troubleOf, step, type GuardEvent, type GuardState } from './guard.ts';
import { Keeper } from './keeper.ts';
import { lastGoodPath, readLastGood } from './last-good.ts';
import { changeLines } from './lines.ts';
import { openSource } from './open.ts';
import { parsePool, readEntries, type ParsedPool } from './parse.ts';
import { unusable, type Resolver } from './resolve.ts';
import { POLL_MS, type Source } from './source.ts';

export interface PoolStatus {
  readonly url: string;
  /**
   * waiting: no list yet. current: as the source serves it. stale: the source does not answer. suspect, refused, unparsable:
   * it serves something that is not in force.
   */
  readonly state: 'waiting' | 'current' | 'stale' | 'suspect' | 'refused' | 'unparsable';
  /** Number of hosts in force; null while waiting. */
  readonly servers: number | null;
  /** Since the source last served the list in force. */
  readonly ageSeconds: number | null;
  /** More of `state`, in words. */
  readonly note: string | null;
  /** Why the source last failed; null after an answer. */
  readonly lastError: string | null;
  /** The list that `accept` would put in force. */
  readonly pending: { readonly servers: number; readonly reason: string; readonly servedSeconds: number } | null;
  /** Hosts in force that have no address to use. */
  readonly unresolved: readonly string[];
  /**
   * What of the data last served can not be used, entries or values, each with its place, and hosts that may not use what DNS
   * says of them; the first of them if they are many.
   */
  readonly unreadable: readonly string[];
  /** All that is wrong with it, likewise. */
  readonly complaints: readonly string[];
}

/** What a service's pool needs of the daemon. */
export interface PoolContext {
  readonly world: World;
  readonly resolver: Resolver;
  emit(fact: Fact): void;
  onCandidate(service: string, host: string, address: string | null): void;
}

/** A source that has not answered for this long after the start is not waited for: the list on disk is used. */
const FIRST_ANSWER_MS = 1000;
const SHOWN_COMPLAINTS = 20;

export class ServicePool {
  readonly #context: PoolContext;
  readonly #name: string;
  #config: ServiceConfig;
  #stateDirectory: string;
  #guard: GuardState = initialGuard;
  #note: string | null = null;
  /** When and from where the list in force was last served, also to earlier processes. */
  #good: { readonly at: Wall; readonly url: string } | null = null;
  readonly #keeper: Keeper;

  #life = new Knife();
  #loop: Promise<void> = Promise.resolve();
  #napping: Knife | null = null;
  /** Somebody asked for all of it, and has no answer yet. */
  #doubted = false;
  /** What the source said last: 'unchanged' means this. */
  #served: ParsedPool | null = null;

  #claims = new Claims();
  readonly #follows = new Map<string, () => void>();
  /** As last told to onCandidate. */
  readonly #told = new Map<string, Claim>();
  /** Where hosts stay that may not use what DNS says of them: the address that they had, until another host may use it. */
  readonly #kept = new Map<string, string>();
  /** Hosts that resolve to the VIP. */
  readonly #own = new Set<string>();
  /** Every host of a list was looked up, once. */
  #initialized = false;
  /** From disk, by hosts of which nothing else is known yet. */
  #knownAddresses = new Map<string, string>();

  constructor(context: PoolContext, config: ServiceConfig, stateDirectory: string) {
    this.#context = context;
    this.#name = config.name;
    this.#config = config;
    this.#stateDirectory = stateDirectory;
    this.#keeper = new Keeper(context.world, () => this.#lastGood());
    this.#loop = this.#start(this.#life, true);
  }

  get config(): ServiceConfig {
    return this.#config;
  }

  /** Another reading of the same section. The list stays in force; another URL, or way to reach it, starts another source. */
  configure(config: ServiceConfig, stateDirectory: string): void {
    const before = this.#config;
    this.#config = config;
    this.#stateDirectory = stateDirectory;
    this.#keeper.again();
    this.#refresh();
    if (before.family !== config.family || before.vip !== config.vip) this.#resolveAgain();
    const moved = before.source !== config.source;
    const reached = ({ sourceAccess, family, realPort }: ServiceConfig) => [sourceAccess, family, realPort];
    if (!moved && equal(reached(before), reached(config))) return;
    const earlier = this.#loop;
    this.#life.abort();
    this.#life = new Knife();
    this.#served = null;
    const nothingWrong = { pending: null, unparsable: null, failing: null };
    if (moved) this.#guard = { ...this.#guard, ...nothingWrong, confirmedAt: null, ofAnother: true };
    const life = this.#life;
    this.#loop = earlier.then(() => this.#start(life, this.#guard.accepted === null));
  }

  /** Ask the source now, for all of it. */
  reread(): void {
    this.#doubted = true;
    this.#napping?.abort();
  }

  /** Put the pending list in force. False: there is none. */
  accept(): boolean {
    if (this.#guard.pending === null) return false;
    this.#tell({ on: 'accept', at: this.#context.world.clock.now(), unresolved: this.#unresolved() });
    return true;
  }

  status(): PoolStatus {
    const { accepted, published, pending, unparsable, failing } = this.#guard;
    const { clock } = this.#context.world;
    const trouble = troubleOf(this.#guard, clock.now());
    const inForce = published ? accepted : null;
    const complaints = this.#served?.complaints ?? [];
    const misled = [...this.#told.keys()].flatMap((host) => this.#misled(host) ?? []);
    const shown = (list: readonly Complaint[]) =>
      [...list.slice(0, SHOWN_COMPLAINTS).map(printComplaint), ...misled].slice(0, SHOWN_COMPLAINTS);
    return {
      url: showUrl(this.#config.source),
      state: trouble?.is ?? (inForce === null ? 'waiting' : 'current'),
      servers: inForce?.length ?? null,
      ageSeconds: inForce === null || this.#good === null ? null : Math.max(0, (clock.wall() - this.#good.at) / 1000),
      note: trouble?.reason ?? null,
      lastError: failing?.reason ?? unparsable,
      pending:
        pending === null
          ? null
          : { servers: pending.hosts.length, reason: pending.reason, servedSeconds: pending.servedMs / 1000 },
      unresolved: [...this.#unresolved()],
      unreadable: shown(complaints.filter(({ severity }) => severity === 'error')),
      complaints: shown(complaints),
    };
  }

  /** Resolves when nothing of this pool runs any more and the list is on disk. */
  async stop(): Promise<void> {
    this.#life.abort();
    await this.#loop;
    for (const unfollow of this.#follows.values()) unfollow();
    this.#follows.clear();
    await this.#keeper.close();
  }

  async #start(life: Knife, restore: boolean): Promise<void> {
    try {
      if (restore) await this.#restore();
      if (!life.aborted) await this.#run(life);
    } catch (thrown) {
      if (!life.aborted) this.#unexpected(thrown);
    }
  }

  /** Ask until the end of this life. */
  async #run(life: Knife): Promise<void> {
    const { world } = this.#context;
    const source = openSource(world, this.#config);
    if (typeof source === 'string') return this.#tell({ on: 'failed', at: world.clock.now(), reason: source });
    const disarm = world.clock.at(FIRST_ANSWER_MS, () => {
      if (this.#served === null && this.#guard.failing === null) this.#failed(`no answer within ${FIRST_ANSWER_MS} ms`);
    });
    life.onAbort(disarm);
    let failures = 0;
    while (!life.aborted) {
      const nap = new Knife();
      this.#napping = nap;
      const forget = life.onAbort(() => nap.abort());
      let delayMs = POLL_MS;
      try {
        failures = (await this.#ask(source, life)) ? 0 : failures + 1;
        delayMs = source.delayMs(failures, world.random());
      } catch (thrown) {
        if (!life.aborted) this.#unexpected(thrown);
      }
      await world.clock.sleep(delayMs, nap);
      forget();
    }
  }

  /** One question. False: no answer. */
  async #ask(source: Source, life: Knife): Promise<boolean> {
    const asked = this.#doubted;
    this.#doubted = false;
    const doubted = asked || this.#guard.pending !== null || this.#guard.unparsable !== null;
    const answer = await source.ask(doubted, life);
    if (life.aborted) return false;
    if (answer.is === 'failed') {
      this.#doubted ||= asked;
      this.#failed(answer.reason);
      return false;
    }
    if (answer.is !== 'unchanged') {
      const from = { url: showUrl(this.#config.source), previous: this.#guard.accepted ?? [] };
      // If this throws, 'unchanged' means what nobody has read.
      this.#served = null;
      const served =
        answer.is === 'entries' ? readEntries(from, answer.entries) : parsePool({ ...from, bytes: answer.bytes });
      this.#complain(served);
      this.#served = served;
    }
    if (this.#served !== null) this.#judge(this.#served);
    return true;
  }

  #judge(served: ParsedPool): void {
    const at = this.#context.world.clock.now();
    if (served.is === 'refused') return this.#tell({ on: 'unparsable', at, reason: served.reason });
    this.#tell({ on: 'list', at, hosts: served.hosts, unresolved: this.#unresolved() });
  }

  #failed(reason: string): void {
    this.#tell({ on: 'failed', at: this.#context.world.clock.now(), reason });
  }

  /** A bug of ours in this pool must not end it, or any other, and not be hidden. */
  #unexpected(thrown: unknown): void {
    try {
      this.#failed(`unexpected: ${errorText(thrown)}`);
    } catch (again) {
      this.#log('error', `pool source: ${errorText(again)}`);
    }
  }

  #complain({ complaints }: ParsedPool): void {
    for (const complaint of complaints.slice(0, SHOWN_COMPLAINTS)) this.#log('warn', printComplaint(complaint));
    const more = complaints.length - SHOWN_COMPLAINTS;
    if (more > 0) this.#log('warn', `${more} more complaints about ${showUrl(this.#config.source)}`);
  }

  /** Let the guard judge, and do what it says. */
  #tell(event: GuardEvent): void {
    const before = this.#guard;
    const [after, actions] = step(this.#config, before, event);
    this.#guard = after;
    const { clock } = this.#context.world;
    if (after.confirmedAt !== null && after.confirmedAt !== before.confirmedAt) this.#confirmed();
    const trouble = troubleOf(after, clock.now());
    const note = trouble === null ? null : `${trouble.is}: ${trouble.reason}`;
    let publish = note !== this.#note;
    this.#note = note;
    for (const action of actions) {
      if (action.do === 'say') this.#log(action.level, action.text);
      else {
        publish = true;
        const lines = changeLines(this.#name, action.first ? null : (before.accepted ?? []), action.hosts);
        for (const line of lines) this.#context.world.log(line);
        if (action.save) this.#keeper.soon();
      }
    }
    if (!publish || !after.published || after.accepted === null) return;
    this.#context.emit({ is: 'pool', service: this.#name, list: { hosts: after.accepted, note } });
    if (after.accepted !== before.accepted || !before.published) this.#follow(after.accepted);
  }

  /** Have the hosts of this list resolved, and no others. */
  #follow(hosts: readonly PoolHost[]): void {
    const names = hosts.map((host) => host.host);
    const listed = new Set(names);
    for (const [host, unfollow] of [...this.#follows]) {
      if (listed.has(host)) continue;
      unfollow();
      this.#follows.delete(host);
      this.#told.delete(host);
      this.#kept.delete(host);
      this.#own.delete(host);
    }
    this.#pass(this.#claims.list(names));
    for (const host of names) {
      const had = this.#follows.has(host) ? null : this.#had(host);
      if (had !== null) this.#claims.expect(host, had);
    }
    for (const host of names) if (!this.#follows.has(host)) this.#followOne(host);
    this.#knownAddresses = new Map([...this.#knownAddresses].filter(([host]) => listed.has(host)));
  }

  #followOne(host: string): void {
    const claims = this.#claims;
    const known = this.#knownAddresses.get(host) ?? null;
    const unfollow = this.#context.resolver.follow(host, this.#config.family, known, (address) => {
      // A server that is the VIP itself would be a loop.
      const own = address === this.#config.vip;
      if (own) this.#own.add(host);
      else this.#own.delete(host);
      if (own) this.#log('error', `Server ${host} resolves to the VIP ${address}: ${without(this.#keepable(host))}`);
      this.#pass(claims.set(host, own ? null : address));
    });
    this.#follows.set(host, unfollow);
  }

  /** Another family or VIP: every address is looked at again. Names that stay are not looked up again. */
  #resolveAgain(): void {
    const earlier = [...this.#follows.values()];
    this.#follows.clear();
    this.#own.clear();
    this.#claims = new Claims();
    for (const host of [...this.#kept.keys()]) if (this.#keepable(host) === null) this.#kept.delete(host);
    if (this.#guard.published && this.#guard.accepted !== null) this.#follow(this.#guard.accepted);
    for (const unfollow of earlier) unfollow();
  }

  /** Tell what became of the claims of these hosts: who lost an address before who got it. */
  #pass(hosts: readonly string[]): void {
    const changed = [...new Set(hosts)].flatMap((host) => {
      const claim = this.#claims.get(host);
      return claim === undefined || sameClaim(claim, this.#told.get(host)) ? [] : [{ host, claim }];
    });
    const ordered = [
      ...changed.filter(({ claim }) => claim.address === null),
      ...changed.filter(({ claim }) => claim.address),
    ];
    for (const { host, claim } of ordered) {
      const before = this.#told.get(host);
      const kept = claim.address === null ? this.#keepable(host) : null;
      const known = this.#knownAddresses.get(host);
      this.#told.set(host, claim);
      this.#knownAddresses.delete(host);
      this.#keep(host, kept);
      const misled = claim.rival === null ? null : this.#misled(host);
      if (misled !== null) this.#log('error', misled);
      if (before !== undefined && before.address === claim.address) continue;
      if (claim.address !== null) {
        for (const [other, address] of [...this.#kept]) if (address === claim.address) this.#keep(other, null);
        if (claim.address !== known) this.#keeper.soon();
      }
      // One that is kept is there already, but at the start.
      this.#context.onCandidate(this.#name, host, claim.address ?? (before === undefined ? kept : null));
    }
    if (this.#initialized || this.#told.size !== this.#guard.accepted?.length) return;
    this.#initialized = true;
    const text = `[${this.#name}] Initialization complete`;
    this.#context.world.log({ level: 'info', system: 'pybal', text });
  }

  /** Where a host was last, here or in an earlier life; null: nowhere, or where no server of this service can be. */
  #had(host: string): string | null {
    const had = this.#told.get(host)?.address ?? this.#kept.get(host) ?? this.#knownAddresses.get(host) ?? null;
    const { vip, family } = this.#config;
    return had === null || had === vip || unusable(had, family) !== null ? null : had;
  }

  /** The address that a host stays at when it may not use what DNS says; null: it has none that is still its own. */
  #keepable(host: string): string | null {
    const had = this.#had(host);
    return had !== null && (this.#claims.holder(had) ?? host) === host ? had : null;
  }

  #keep(host: string, address: string | null): void {
    if (address === null) this.#kept.delete(host);
    else this.#kept.set(host, address);
  }

  /** Why a host may not use what DNS says of it, and what becomes of it; null: it may. */
  #misled(host: string): string | null {
    const rival = this.#told.get(host)?.rival ?? null;
    if (rival === null && !this.#own.has(host)) return null;
    const to = rival === null ? `the VIP ${this.#config.vip}` : `the address of ${rival}`;
    return `Server ${host} resolves to ${to}: ${without(this.#kept.get(host) ?? null)}`;
  }

  #unresolved(): ReadonlySet<string> {
    const nowhere = ([host, { address }]: [string, Claim]) => address === null && !this.#kept.has(host);
    return new Set([...this.#told].filter(nowhere).map(([host]) => host));
  }

  async #restore(): Promise<void> {
    const { files } = this.#context.world;
    const path = this.#path();
    const kept = await readLastGood(files, path, this.#name, this.#config.source);
    if (kept === null) return;
    if (typeof kept === 'string') return this.#log('warn', `last good list ${path} is not used: ${kept}`);
    this.#good = { at: kept.goodAt, url: this.#config.source };
    this.#keeper.found({ path, url: kept.url, goodAt: kept.goodAt });
    this.#knownAddresses = new Map(kept.addresses);
    this.#tell({ on: 'restored', hosts: kept.hosts });
  }

  #confirmed(): void {
    this.#good = { at: this.#context.world.clock.wall(), url: this.#config.source };
    this.#refresh();
  }

  #refresh(): void {
    if (this.#good === null || this.#guard.accepted === null) return;
    this.#keeper.refresh({ path: this.#path(), url: this.#good.url, goodAt: this.#good.at });
  }

  #path(): string {
    return lastGoodPath(this.#stateDirectory, this.#name);
  }

  #lastGood() {
    const { accepted } = this.#guard;
    if (accepted === null || this.#good === null) return null;
    const addresses = new Map([...this.#knownAddresses, ...this.#kept]);
    for (const [host, { address }] of this.#told) if (address !== null) addresses.set(host, address);
    const { at: goodAt, url } = this.#good;
    return { path: this.#path(), list: { service: this.#name, url, goodAt, hosts: accepted, addresses } };
  }

  #log(level: LogLevel, text: string): void {
    this.#context.world.log({ level, system: this.#name, text });
  }
}

/** What becomes of a host that may not use what DNS says of it. */
function without(kept: string | null): string {
  return kept === null ? 'treated as unresolved' : `keeping ${kept}`;
}

function sameClaim(a: Claim, b: Claim | undefined): boolean {
  return b !== undefined && a.address === b.address && a.rival === b.rival;
}
