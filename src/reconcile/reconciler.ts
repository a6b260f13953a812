// Makes the kernel equal to the desired tables and reads it back: list, diff, apply in order, verify, again. Built once by
// the daemon. It knows nothing of routes: it reports what it read as `kernel` facts, and the decision announces by them.
// Whether it hangs is not its own business either: facts that stay away are seen by the decision (law 10).

import { equal } from '../lib/equal.ts';
import { SystemError, errorText } from '../lib/errors.ts';
import { Knife } from '../lib/cut.ts';
import { within } from '../lib/in-time.ts';
import { ipvsadmLine } from '../ipvs/ipvsadm.ts';
import { type IpvsEntry, type IpvsTable, type ServiceKey, sameEntry } from '../ipvs/table.ts';
import type { AddressTable } from '../vip/addresses.ts';
import type { Desired } from '../decision/decision.ts';
import type { Fact } from '../decision/facts.ts';
import type { Clock, Mono, World } from '../world/world.ts';
import { type Fights, paused, repaired } from './fights.ts';
import { NOTHING_OWNED, readOwnership, writeOwnership } from './ownership.ts';
import { type Owned, type Plan, isEmpty, plan, withoutNew } from './plan.ts';
import { sentences } from './words.ts';

export interface ReconcilerSettings {
  readonly stateDirectory: string;
  readonly periodMs: number;
  /** No single call to the kernel or the disk is waited for longer than this. */
  readonly limitMs: number;
}

export interface ReconcilerStatus {
  readonly drift: readonly string[];
  readonly fighting: boolean;
  readonly foreign: readonly ServiceKey[];
  readonly writes: number;
  readonly repairs: number;
  readonly lastError: string | null;
}

type ReconcilerWorld = Pick<World, 'clock' | 'ipvs' | 'vips' | 'files' | 'self' | 'log'>;

export interface ReconcilerOptions {
  emit(fact: Fact): void;
  /** Where a person would make a hand-made change of this service stay; null if unknown. */
  whereToEdit(key: ServiceKey): string | null;
}

/** Errors of listing that mean the kernel will not have us at all. */
const DENIED: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'ENOPROTOOPT', 'EPROTONOSUPPORT', 'EAFNOSUPPORT']);
/** A write that was given up and has not ended after this time will not happen any more. */
const LOST_MS = 300_000;
const RETRY = { firstMs: 100, longestMs: 5_000 } as const;

interface Tables {
  readonly ipvs: IpvsTable;
  readonly vips: AddressTable;
}

/** What was wanted at a time. */
interface Wish {
  readonly desired: Desired;
  readonly at: Mono;
}

export class Reconciler {
  readonly #world: ReconcilerWorld;
  readonly #options: ReconcilerOptions;
  readonly #cut = new Knife();
  #settings: ReconcilerSettings | null = null;
  #desired: Desired | null = null;
  /** As last read; null before the first read, and after an error that leaves it in doubt. */
  #actual: Tables | null = null;
  /** What the decision was told last. */
  #lastTold: Tables | null = null;
  /** What was wanted when `actual` was last found equal to it: a later difference is drift. */
  #settled: Desired | null = null;
  #owned: Owned = NOTHING_OWNED;
  #ownedOnDisk: Owned | null = null;
  #fights: Fights = new Map();
  #status: ReconcilerStatus = { drift: [], fighting: false, foreign: [], writes: 0, repairs: 0, lastError: null };
  /** The kernel will not have us: it does not let us list, or refused every one of our last writes, which are still to be done. */
  #denied: SystemError | null = null;
  /** The last write of the ownership record; never rejects. */
  #writing: Promise<void> = Promise.resolve();
  /** Writes that were given up and may still happen, with the time of that: what is read meanwhile may change behind it. */
  readonly #late = new Map<object, Mono>();
  /** How many of them have happened in the end; and at the start of this pass. */
  #lateEnds = 0;
  #lateEndsBefore = 0;
  /** Whether the ownership record is still there. */
  #looking = false;
  #failures = 0;
  #dirty = false;
  #wake: (() => void) | null = null;
  #running: Promise<void> | null = null;

  constructor(world: ReconcilerWorld, options: ReconcilerOptions) {
    this.#world = world;
    this.#options = options;
  }

  /** Start with a first reading. Before `want` is called nothing is written. */
  start(settings: ReconcilerSettings): void {
    this.#settings = settings;
    this.#running ??= this.#run();
  }

  configure(settings: ReconcilerSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    // What is ours must be known in the new place as well.
    if (before !== null && before.stateDirectory !== settings.stateDirectory) this.#ownedOnDisk = NOTHING_OWNED;
  }

  /** The tables that the world should equal from now on. */
  want(desired: Desired): void {
    const before = this.#desired;
    this.#desired = desired;
    if (before === null || !sameTables(before, desired)) this.#poke();
  }

  status(): ReconcilerStatus {
    return this.#status;
  }

  /** Ends without a last write: what stands in the kernel stays. */
  async stop(): Promise<void> {
    this.#cut.abort();
    this.#wake?.();
    await this.#running;
  }

  #poke(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    const { clock } = this.#world;
    let nextFull = clock.now();
    while (!this.#cut.aborted) {
      const settings = this.#settings;
      if (settings === null) return;
      const started = clock.now();
      const full = this.#actual === null || started >= nextFull;
      this.#dirty = false;
      try {
        await this.#pass(full, settings);
        // From its start: a reading is as old as that, and one that took long must be followed at once by a fresh one,
        // or the routes that it brought back would outlive their reading and leave again.
        if (full) nextFull = (started + settings.periodMs) as Mono;
      } catch (error) {
        this.#failed(error);
      }
      if (this.#cut.aborted) return;
      // What cannot be written is tried again later, but never keeps other changes waiting.
      const again = this.#failures > 0 ? backOff(this.#failures) : RETRY.firstMs;
      const idleMs = this.#actual === null ? again : nextFull - clock.now();
      if (!this.#dirty && idleMs > 0) await this.#sleep(idleMs);
    }
  }

  async #pass(full: boolean, settings: ReconcilerSettings): Promise<void> {
    const bounded = bounder(this.#world.clock, settings.limitMs);
    this.#lateEndsBefore = this.#lateEnds;
    if (this.#ownedOnDisk === null) await this.#loadOwnership(settings, bounded);
    const at = this.#world.clock.now();
    const before = this.#actual;
    let read = full || before === null ? await this.#read(bounded) : before;
    if (full) this.#missRecord(settings);
    const desired = this.#desired;
    if (desired === null) {
      this.#denied = null;
      this.#learn(read, at, full, null);
      return;
    }
    const wish = { desired, at: this.#world.clock.now() };

    const ignore = paused(this.#fights, at);
    let todo = plan(read.ipvs, read.vips, desired, this.#owned, ignore);
    // Who may not write does not serve, however well it reads.
    if (isEmpty(todo)) this.#denied = null;
    this.#learn(read, at, full, wish);
    const drifted = this.#settled !== null && sameTables(this.#settled, desired) && !isEmpty(todo);
    if (drifted && full) {
      // Drift is read twice: only what both readings show is somebody's doing.
      const first = new Set(sentences(todo));
      const againAt = this.#world.clock.now();
      read = await this.#read(bounded);
      todo = plan(read.ipvs, read.vips, desired, this.#owned, ignore);
      this.#learn(read, againAt, true, wish);
      // Another wish has come meanwhile, perhaps with a route: what follows must not write the old one.
      if (this.#desired !== desired) return;
      if (!isEmpty(todo) && !sentences(todo).some((sentence) => first.has(sentence))) {
        this.#actual = null;
        return;
      }
    }
    if (drifted && !isEmpty(todo)) this.#reportDrift(todo);
    this.#status = { ...this.#status, foreign: todo.foreign, fighting: ignore.size > 0 };
    if (isEmpty(todo)) {
      await this.#keepBooks(desired, read, settings, bounded);
      if (ignore.size > 0) return;
      this.#settled = desired;
      this.#done();
      return;
    }
    await this.#carryOut(todo, read, wish, settings, bounded);
    if (drifted && !this.#cut.aborted) this.#repaired(todo);
  }

  /** Up before down, and ownership on disk before anything is made. Then read back what was touched. */
  async #carryOut(all: Plan, found: Tables, wish: Wish, settings: ReconcilerSettings, bounded: Bounded): Promise<void> {
    const { ipvs, vips } = this.#world;
    const { desired } = wish;
    if (this.#cut.aborted) return;
    // Before anything is waited for: the decision must not take what it knows of them for what is there.
    this.#options.emit({ is: 'writing', services: new Set(touchedBy(all)), vips: new Set(vipsTouchedBy(all)) });
    const unclaimed = await this.#claim(all, found, desired, settings, bounded);
    const todo = unclaimed === null ? all : withoutNew(all, this.#owned);
    if (unclaimed !== null && isEmpty(todo)) throw unclaimed;
    const errors: SystemError[] = unclaimed === null ? [] : [unclaimed];
    const ipvsResults: (SystemError | null)[] = [];
    const collect = (results: readonly (SystemError | null)[]) => {
      for (const error of results) if (error !== null) errors.push(error);
    };
    if (todo.addVips.length > 0 && !this.#cut.aborted)
      collect(await this.#written(vips.apply(todo.addVips), 'add addresses', bounded));
    for (const ops of [todo.program, todo.unprogram]) {
      if (ops.length === 0 || this.#cut.aborted) continue;
      for (const op of ops.slice(0, MAX_LINES)) this.#log('debug', ipvsadmLine(op));
      if (ops.length > MAX_LINES) this.#log('debug', `… and ${ops.length - MAX_LINES} more changes`);
      const results = await this.#written(ipvs.apply(ops), 'write IPVS', bounded);
      ipvsResults.push(...results);
      collect(results);
    }
    if (todo.deleteVips.length > 0 && !this.#cut.aborted) {
      collect(await this.#written(vips.apply(todo.deleteVips), 'delete addresses', bounded));
    }
    const writes = todo.addVips.length + todo.program.length + todo.unprogram.length + todo.deleteVips.length;
    const refused = errors.filter((error) => error !== unclaimed).length;
    this.#status = { ...this.#status, writes: this.#status.writes + writes - refused };
    if (this.#cut.aborted) return;

    const at = this.#world.clock.now();
    const touched = touchedBy(todo);
    const read = await this.#readBack(touched, bounded);
    // One refused change is its own service's business; that every one is refused says who we are to the kernel.
    const refusedAll = ipvsResults.length > 0 && ipvsResults.every((error) => error?.code === 'EPERM');
    this.#denied = refusedAll ? (ipvsResults[0] ?? null) : null;
    this.#learn(read, at, true, wish);
    await this.#keepBooks(desired, read, settings, bounded);
    const left = plan(read.ipvs, read.vips, desired, this.#owned, paused(this.#fights, at));
    if (isEmpty(left)) {
      this.#settled = desired;
      this.#denied = null;
      this.#done();
    } else {
      // ESRCH, EEXIST and the like: what we thought was there is not. The next pass reads everything afresh.
      this.#actual = null;
      throw errors[0] ?? new SystemError('EAGAIN', 'write IPVS', 'read back differs from what was written');
    }
  }

  async #written<T>(write: Promise<T>, call: string, bounded: Bounded): Promise<T> {
    const key = {};
    let ended = false;
    const end = () => {
      ended = true;
      if (!this.#late.delete(key)) return;
      this.#lateEnds++;
      this.#actual = null;
      this.#poke();
    };
    write.then(end, end);
    try {
      return await bounded(call, write);
    } catch (error) {
      if (!ended) this.#late.set(key, this.#world.clock.now());
      throw error;
    }
  }

  /** Why a reading is not the last word, or null. */
  #doubt(): string | null {
    const lostBefore = this.#world.clock.now() - LOST_MS;
    for (const [key, since] of this.#late) if (since < lostBefore) this.#late.delete(key);
    const happened = this.#lateEnds !== this.#lateEndsBefore;
    return happened || this.#late.size > 0 ? 'an earlier write was given up and may still happen' : null;
  }

  async #read(bounded: Bounded): Promise<Tables> {
    const ipvs = await bounded('list IPVS', this.#world.ipvs.list()).catch((error: unknown) => {
      if (error instanceof SystemError && DENIED.has(error.code)) this.#denied = error;
      throw error;
    });
    const vips = await bounded('list addresses', this.#world.vips.list());
    return this.#shared({ ipvs, vips });
  }

  async #readBack(touched: readonly ServiceKey[], bounded: Bounded): Promise<Tables> {
    const before = this.#actual?.ipvs ?? new Map<ServiceKey, IpvsEntry>();
    const ipvs = new Map(before);
    if (touched.length > 0) {
      const seen = await bounded('read back IPVS', this.#world.ipvs.list(touched));
      for (const key of touched) {
        const entry = seen.get(key);
        if (entry === undefined) ipvs.delete(key);
        else ipvs.set(key, entry);
      }
    }
    const vips = await bounded('read back addresses', this.#world.vips.list());
    return this.#shared({ ipvs, vips });
  }

  /** Entries that equal the ones known are the known objects, so that nobody downstream looks at them again. */
  #shared({ ipvs, vips }: Tables): Tables {
    const known = this.#actual ?? this.#lastTold;
    if (known === null) return { ipvs, vips };
    const shared = new Map<ServiceKey, IpvsEntry>();
    for (const [key, entry] of ipvs) {
      const before = known.ipvs.get(key);
      shared.set(key, before !== undefined && equal(before, entry) ? before : entry);
    }
    return { ipvs: shared, vips: equal(known.vips, vips) ? known.vips : vips };
  }

  /** Take a reading as the truth and tell the decision what is new in it; `fresh`: also when that is nothing. */
  #learn(read: Tables, at: Mono, fresh: boolean, wish: Wish | null): void {
    const denied = this.#denied;
    const doubt = this.#doubt();
    const told = this.#lastTold;
    const news = new Map<ServiceKey, IpvsEntry | null>();
    for (const [key, entry] of read.ipvs) if (told?.ipvs.get(key) !== entry) news.set(key, entry);
    for (const key of told?.ipvs.keys() ?? []) if (!read.ipvs.has(key)) news.set(key, null);
    this.#actual = read;
    this.#lastTold = read;
    const first = told === null;
    if (!first && !fresh && news.size === 0 && told.vips === read.vips && denied === null && doubt === null) return;
    this.#options.emit({
      is: 'kernel',
      at,
      whole: first,
      ipvs: news,
      vips: read.vips,
      error: denied === null ? doubt : denied.message,
      denied: denied !== null,
      ...(wish === null ? {} : { met: { at: wish.at, services: metBy(read, wish.desired) } }),
    });
  }

  #failed(thrown: unknown): void {
    this.#actual = null;
    this.#failures++;
    const text = errorText(thrown);
    const denied = this.#denied !== null;
    if (this.#status.lastError !== text) this.#log('error', `Kernel tables are not as wanted: ${text}`);
    this.#status = { ...this.#status, lastError: text };
    const vips = this.#lastTold?.vips ?? new Map();
    const at = this.#world.clock.now();
    this.#options.emit({ is: 'kernel', at, whole: false, ipvs: new Map(), vips, error: text, denied });
  }

  #done(): void {
    if (this.#status.lastError !== null) this.#log('info', 'Kernel tables are as wanted again');
    this.#failures = 0;
    this.#status = { ...this.#status, lastError: null, drift: [] };
  }

  #reportDrift(todo: Plan): void {
    const drift = sentences(todo);
    // Said once, also when the repair needs several tries.
    if (equal(drift, this.#status.drift)) return;
    for (const sentence of drift.slice(0, MAX_LINES)) this.#log('warn', `Drift: ${sentence}; repairing`);
    if (drift.length > MAX_LINES) this.#log('warn', `Drift: ${drift.length - MAX_LINES} more; repairing`);
    const changed = new Set(todo.program.map(({ service }) => service.key));
    for (const key of [...changed].slice(0, MAX_LINES)) {
      const where = this.#options.whereToEdit(key);
      if (where !== null) this.#log('info', `To make a change of ${key} stay, edit ${where}`);
    }
    this.#status = { ...this.#status, drift };
  }

  /** A repair that succeeded. Whoever needs many of them is changed by somebody else again and again. */
  #repaired(todo: Plan): void {
    const now = this.#world.clock.now();
    const keys = new Set([
      ...todo.program.map(({ service }) => service.key),
      ...todo.addVips.map(({ address }) => address),
    ]);
    const before = paused(this.#fights, now);
    this.#fights = repaired(this.#fights, keys, now);
    const fighting = paused(this.#fights, now);
    for (const key of fighting) {
      if (!before.has(key))
        this.#log('critical', `Another writer keeps changing ${key}: backing off before the next repair`);
    }
    this.#status = { ...this.#status, fighting: fighting.size > 0, repairs: this.#status.repairs + 1 };
  }

  // ── ownership ──

  async #loadOwnership(settings: ReconcilerSettings, bounded: Bounded): Promise<void> {
    const { files } = this.#world;
    const { owned, damage } = await bounded(
      'read ownership',
      readOwnership(files, ownershipPath(settings), this.#kernelId),
    );
    if (damage !== null) this.#log('warn', `What is ours in the kernel is not known: ${damage}`);
    this.#owned = owned;
    this.#ownedOnDisk = owned;
  }

  get #kernelId(): string {
    return this.#world.self().kernelId;
  }

  /**
   * What is about to be made is ours, and the disk knows it first. An address that was there before us never is. A disk that
   * does not take it is answered, not thrown: only what is new has to wait for it.
   */
  async #claim(
    todo: Plan,
    found: Tables,
    desired: Desired,
    settings: ReconcilerSettings,
    bounded: Bounded,
  ): Promise<SystemError | null> {
    this.#sayAdopted(desired, found);
    const services = new Set([...this.#owned.services, ...desired.ipvs.keys()]);
    const added = todo.addVips.filter((op) => op.do === 'add-address');
    const vips = new Set([...this.#owned.vips, ...added.map(({ address }) => address)]);
    try {
      await this.#own({ services, vips }, settings, bounded);
      return null;
    } catch (error) {
      if (error instanceof SystemError) return error;
      throw error;
    }
  }

  /**
   * Services that configuration names and the kernel has are ours from now on; VIPs that we found are not. What is neither
   * wanted nor there any more is nobody's: if it appears again, somebody else made it.
   */
  async #keepBooks(desired: Desired, read: Tables, settings: ReconcilerSettings, bounded: Bounded): Promise<void> {
    this.#sayAdopted(desired, read);
    const { ipvs, keep, keepAll } = desired;
    const services = new Set([...ipvs.keys()].filter((key) => read.ipvs.has(key)));
    for (const key of this.#owned.services) {
      if (read.ipvs.has(key) || ipvs.has(key) || keep.has(key) || keepAll) services.add(key);
    }
    const vips = [...this.#owned.vips].filter(
      (vip) => read.vips.get(vip)?.interface === 'lo' || desired.vips.has(vip) || desired.keepVips.has(vip) || keepAll,
    );
    await this.#own({ services, vips: new Set(vips) }, settings, bounded);
  }

  #sayAdopted(desired: Desired, { ipvs }: Tables): void {
    for (const key of desired.ipvs.keys()) {
      if (ipvs.has(key) && !this.#owned.services.has(key)) this.#log('info', `Adopted ${key} from the kernel`);
    }
  }

  /** The record may be lost with its disk. Nobody waits for the answer: a file system that hangs must not stale the tables. */
  #missRecord(settings: ReconcilerSettings): void {
    const written = this.#ownedOnDisk;
    if (this.#looking || written === null) return;
    this.#looking = true;
    const done = (lost: boolean) => {
      this.#looking = false;
      if (lost && this.#ownedOnDisk === written) this.#ownedOnDisk = NOTHING_OWNED;
    };
    this.#world.files.stat(ownershipPath(settings)).then(
      () => done(false),
      (error: unknown) => done(error instanceof SystemError && error.code === 'ENOENT'),
    );
  }

  async #own(owned: Owned, settings: ReconcilerSettings, bounded: Bounded): Promise<void> {
    if (equal(owned, this.#ownedOnDisk)) return;
    const path = ownershipPath(settings);
    // One after the other: a write that was given up must not land on top of a later one.
    const written = this.#writing.then(() => writeOwnership(this.#world.files, path, this.#kernelId, owned));
    this.#writing = written.catch(() => {});
    await bounded('write ownership', written);
    this.#owned = owned;
    this.#ownedOnDisk = owned;
  }

  async #sleep(ms: number): Promise<void> {
    const knife = new Knife();
    this.#wake = () => knife.abort();
    await this.#world.clock.sleep(ms, knife);
    this.#wake = null;
  }

  #log(level: 'debug' | 'info' | 'warn' | 'error' | 'critical', text: string): void {
    this.#world.log({ level, system: 'ipvs', text });
  }
}

/** One event that is a thousand changes must not be a thousand lines. */
const MAX_LINES = 50;

/** The services of which the reading is what is wanted. */
function metBy({ ipvs }: Tables, desired: Desired): ReadonlySet<ServiceKey> {
  const met = new Set<ServiceKey>();
  for (const [key, entry] of desired.ipvs) {
    const found = ipvs.get(key);
    if (found !== undefined && sameEntry(found, entry)) met.add(key);
  }
  return met;
}

function touchedBy({ program, unprogram }: Plan): readonly ServiceKey[] {
  return [...new Set([...program, ...unprogram].map(({ service }) => service.key))];
}

function vipsTouchedBy({ addVips, deleteVips }: Plan): readonly string[] {
  return [...addVips, ...deleteVips].map(({ address }) => address);
}

type Bounded = <T>(call: string, promise: Promise<T>) => Promise<T>;

function bounder(clock: Clock, limitMs: number): Bounded {
  return (call, promise) => within(clock, limitMs, call, promise);
}

function ownershipPath({ stateDirectory }: ReconcilerSettings): string {
  return `${stateDirectory}/ownership.json`;
}

function backOff(failures: number): number {
  return Math.min(RETRY.firstMs * 2 ** (failures - 1), RETRY.longestMs);
}

function sameTables(a: Desired, b: Desired): boolean {
  const parts = ['ipvs', 'vips', 'routedVips', 'keep', 'keepVips', 'keepAll'] as const;
  return parts.every((part) => a[part] === b[part]);
}
