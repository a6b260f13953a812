// A pool in a store that tells of changes: read once, then followed change by change. Whatever makes it doubtful that the
// copy is the store (a lost watch, a gap, a check that does not add up) has everything read again, so the worst that a watch
// can do is to be late. The stores are in etcd-v3.ts, etcd-v2.ts and k8s.ts.

import { type Cut, Knife } from '../lib/cut.ts';
import { errorText } from '../lib/errors.ts';
import { cutAfter } from '../lib/in-time.ts';
import type { Mono, World } from '../world/world.ts';
import { type Entry, MAX_HOSTS } from './parse.ts';
import { backOffMs, type Answer, type Source } from './source.ts';

/** All that is there, by the store's own keys, and the point in its history that this is. */
export interface Listing {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly at: string;
}

/** What became of one key; null: it is gone. */
export type Change = readonly [key: string, entry: Entry | null];

/** What happened up to a point in history. */
export type OnChange = (changes: readonly Change[], at: string) => void;

/** How to read one pool in one kind of store. Everything rejects when the store does not answer as it should. */
export interface Feed {
  /** Longest wait between two proofs that the copy is the store. */
  readonly verifyMs: number;
  /** However well these go, everything is read again after so long. */
  readonly rereadMs: number;
  list(cut: Cut): Promise<Listing>;
  /**
   * Follow what happens after `at`. Resolves when that has ended: 'on' if it can go on from there, 'gap' if something
   * may be missing.
   */
  watch(at: string, onChange: OnChange, cut: Cut): Promise<'on' | 'gap'>;
  /** Is the copy, of `size` keys, what the store has? */
  verify(at: string, size: number, cut: Cut): Promise<boolean>;
  /** Ask another member of the store from now on. Answers how many there are. */
  turn(): number;
}

/** For all pages of a list together. */
const LIST_MS = 120_000;
/** When a watch is lost, others are at the same moment. */
const SPREAD_MS = 1000;
/** While its list is doubted, everything is read again this often. */
const AFRESH_MS = 30_000;
/** Rounds without proof after which one is due, whatever else there is. */
const PROVED_FOR = 3;
const MAX_WATCH_DELAY_MS = 5000;
/**
 * One edit is often many changes, key by key: the list is taken when there was none for so long, at the latest after ten times
 * that. While the one before is doubted, somebody may be putting it right by hand.
 */
const QUIET_MS = 100;
const DOUBTED_QUIET_MS = 1000;

interface Watch {
  readonly knife: Knife;
  ended: 'no' | 'on' | 'gap' | 'failed';
}

export class WatchedSource implements Source {
  readonly #world: Pick<World, 'clock' | 'random'>;
  readonly #feed: Feed;
  /** Null: nothing is known that could be followed. */
  #copy: { readonly entries: Map<string, Entry>; at: string; readonly readAt: Mono } | null = null;
  #watch: Watch = { knife: new Knife(), ended: 'gap' };
  #changed = false;
  /** Messages of watches that had changes in them. */
  #heard = 0;
  #wake = (): void => {};
  #told: readonly Entry[] | null = null;
  #provedAt: Mono;
  #watchFailures = 0;
  #members = 1;

  constructor(world: Pick<World, 'clock' | 'random'>, feed: Feed) {
    this.#world = world;
    this.#feed = feed;
    this.#provedAt = world.clock.now();
  }

  async ask(afresh: boolean, cut: Cut): Promise<Answer> {
    try {
      if (this.#copy === null) await this.#read(cut);
      else await this.#listen(afresh, cut);
      return cut.aborted ? { is: 'failed', reason: 'canceled' } : this.#answer();
    } catch (thrown) {
      this.#watch.knife.abort();
      this.#copy = null;
      this.#members = this.#feed.turn();
      return { is: 'failed', reason: errorText(thrown) };
    }
  }

  /** One that listens needs no pause. Other members are tried first, at once: that one is away is no reason to wait. */
  delayMs(failures: number, random: number): number {
    if (failures === 0) return 0;
    return failures < this.#members ? SPREAD_MS * random : backOffMs(failures - this.#members + 1, random);
  }

  /** Until something changed, or nothing did and that was proved. */
  async #listen(afresh: boolean, cut: Cut): Promise<void> {
    const { clock, random } = this.#world;
    if (!this.#changed && this.#watch.ended === 'no') await this.#news(this.#feed.verifyMs * (0.8 + random() / 5), cut);
    if (this.#changed) await this.#settle(afresh ? DOUBTED_QUIET_MS : QUIET_MS, cut);
    // Of a store that always changes, too, something might be missed; and of one that is put right the second half may never
    // come, if this is the moment in which the network fails.
    const due = afresh || clock.now() - this.#provedAt >= PROVED_FOR * this.#feed.verifyMs;
    if (cut.aborted || (this.#changed && !due)) return;
    if (this.#watch.ended !== 'no') await clock.sleep(this.#pauseMs(), cut);
    const { ended } = this.#watch;
    const copy = this.#copy;
    if (cut.aborted || copy === null) return;
    const heard = this.#heard;
    const old = clock.now() - copy.readAt >= (afresh ? AFRESH_MS : this.#feed.rereadMs * (0.8 + random() / 5));
    if (old || ended === 'gap' || ended === 'failed') return this.#read(cut);
    if (ended === 'on') this.#follow(cut);
    if (await this.#feed.verify(copy.at, copy.entries.size, cut)) {
      this.#watchFailures = 0;
      this.#provedAt = clock.now();
      // Not if there was news while it was asked: that may be all that it missed.
    } else if (heard === this.#heard) await this.#read(cut);
  }

  async #settle(quietMs: number, cut: Cut): Promise<void> {
    const { clock } = this.#world;
    const latest = clock.now() + 10 * quietMs;
    let heard = -1;
    while (heard !== this.#heard && clock.now() < latest && !cut.aborted) {
      heard = this.#heard;
      await clock.sleep(quietMs, cut);
    }
  }

  /** Before a watch that has ended is followed by another one. */
  #pauseMs(): number {
    const random = this.#world.random();
    if (this.#watch.ended !== 'failed') return SPREAD_MS * random;
    this.#watchFailures++;
    return (
      Math.min(MAX_WATCH_DELAY_MS, this.#watchFailures === 1 ? SPREAD_MS : backOffMs(this.#watchFailures, 0)) * random
    );
  }

  /** Sleep until the watch says something, at most this long. */
  async #news(waitMs: number, cut: Cut): Promise<void> {
    const nap = new Knife();
    const forget = cut.onAbort(() => nap.abort());
    this.#wake = () => nap.abort();
    await this.#world.clock.sleep(waitMs, nap);
    this.#wake = () => {};
    forget();
  }

  async #read(cut: Cut): Promise<void> {
    this.#watch.knife.abort();
    const { entries, at } = await this.#list(cut);
    this.#provedAt = this.#world.clock.now();
    this.#copy = { entries: new Map(entries), at, readAt: this.#provedAt };
    this.#follow(cut);
  }

  /** In pages, of which a store that is broken may have any number. */
  async #list(cut: Cut): Promise<Listing> {
    const within = cutAfter(this.#world.clock, LIST_MS, cut);
    try {
      return await this.#feed.list(within.cut);
    } catch (thrown) {
      if (within.cut.aborted && !cut.aborted)
        throw new Error(`not listed within ${LIST_MS / 1000} s`, { cause: thrown });
      throw thrown;
    } finally {
      within.release();
    }
  }

  #follow(cut: Cut): void {
    const copy = this.#copy;
    if (copy === null || cut.aborted) return;
    const watch: Watch = { knife: new Knife(), ended: 'no' };
    this.#watch = watch;
    const forget = cut.onAbort(() => watch.knife.abort());
    const end = (how: Watch['ended']): void => {
      forget();
      if (watch.ended !== 'no') return;
      watch.ended = how;
      if (this.#watch === watch) this.#wake();
    };
    const onChange: OnChange = (changes, at) => {
      if (this.#watch !== watch || watch.knife.aborted) return;
      copy.at = at;
      for (const [key, entry] of changes) {
        if (entry === null) copy.entries.delete(key);
        else copy.entries.set(key, entry);
      }
      if (changes.length === 0) return;
      if (copy.entries.size > MAX_HOSTS) {
        // Whether there are so many, the list tells.
        watch.knife.abort();
        end('gap');
      }
      this.#heard++;
      this.#changed = true;
      this.#wake();
    };
    this.#feed.watch(copy.at, onChange, watch.knife).then(end, () => end('failed'));
  }

  #answer(): Answer {
    this.#changed = false;
    const entries = [...(this.#copy?.entries ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
    if (this.#told !== null && sameEntries(this.#told, entries)) return { is: 'unchanged' };
    this.#told = entries;
    return { is: 'entries', entries };
  }
}

function sameEntries(a: readonly Entry[], b: readonly Entry[]): boolean {
  return a.length === b.length && a.every((entry, i) => JSON.stringify(entry) === JSON.stringify(b[i]));
}
