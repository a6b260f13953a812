// An etcd in memory, as its v3 JSON gateway shows it: keys with revisions, ranges in pages, watches that are fed, compaction.
// No world in it: the unit tests and the simulator put it behind theirs. test/interop plays the same scenes with a real one.

interface Pair {
  readonly value: string;
  readonly created: number;
  readonly modified: number;
}

interface Event {
  readonly key: string;
  /** null: deleted. */
  readonly value: string | null;
  readonly revision: number;
}

interface Watcher {
  readonly from: string;
  readonly to: string;
  push(text: string): void;
}

export interface EtcdResponse {
  readonly status: number;
  readonly body: string;
}

const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64');
const decode = (text: unknown): string => Buffer.from(typeof text === 'string' ? text : '', 'base64').toString('utf8');

export class FakeEtcd {
  #revision = 1;
  #compacted = 0;
  #pairs = new Map<string, Pair>();
  #history: Event[] = [];
  readonly #watchers = new Set<Watcher>();
  #losing = false;

  get watchers(): number {
    return this.#watchers.size;
  }

  get revision(): number {
    return this.#revision;
  }

  keys(folder: string): ReadonlyMap<string, string> {
    return new Map([...this.#pairs].filter(([key]) => key.startsWith(folder)).map(([key, { value }]) => [key, value]));
  }

  put(key: string, value: string): void {
    const revision = ++this.#revision;
    this.#pairs.set(key, { value, created: this.#pairs.get(key)?.created ?? revision, modified: revision });
    this.#happened([{ key, value, revision }]);
  }

  /** One revision, however many keys go. */
  remove(keys: readonly string[]): void {
    const there = keys.filter((key) => this.#pairs.has(key));
    if (there.length === 0) return;
    const revision = ++this.#revision;
    for (const key of there) this.#pairs.delete(key);
    this.#happened(there.map((key) => ({ key, value: null, revision })));
  }

  /** Forget what was before now. */
  compact(): void {
    this.#compacted = this.#revision;
    this.#history = [];
  }

  /** As from a backup: an earlier history, or none. */
  restore(pairs: ReadonlyMap<string, string>): void {
    this.#revision = 1;
    this.#compacted = 0;
    this.#pairs = new Map();
    this.#history = [];
    this.#watchers.clear();
    for (const [key, value] of pairs) this.put(key, value);
  }

  /** POST /v3/kv/range */
  range(body: string): EtcdResponse {
    const asked = JSON.parse(body) as Readonly<Record<string, unknown>>;
    const revision = Number(asked['revision'] ?? 0);
    if (revision > 0 && revision < this.#compacted)
      return refuse(400, 11, 'etcdserver: mvcc: required revision has been compacted');
    const [from, to] = [decode(asked['key']), decode(asked['range_end'])];
    const all = [...this.#at(revision)].filter(([key]) => key >= from && key < to).sort(([a], [b]) => (a < b ? -1 : 1));
    const newer = all.filter(([, { modified }]) => modified >= Number(asked['min_mod_revision'] ?? 0));
    const limit = Number(asked['limit'] ?? 0) || newer.length;
    const kvs = newer.slice(0, limit).map(([key, pair]) => ({
      key: encode(key),
      create_revision: `${pair.created}`,
      mod_revision: `${pair.modified}`,
      ...(asked['keys_only'] === true || pair.value === '' ? {} : { value: encode(pair.value) }),
    }));
    return answer({
      header: { revision: `${this.#revision}` },
      ...(kvs.length > 0 ? { kvs } : {}),
      ...(newer.length > limit ? { more: true } : {}),
      ...(all.length > 0 ? { count: `${all.length}` } : {}),
    });
  }

  /** POST /v3/watch: pushes lines until what it returns is called. */
  watch(body: string, push: (text: string) => void): () => void {
    const { create_request: asked } = JSON.parse(body) as { create_request: Readonly<Record<string, unknown>> };
    const watcher: Watcher = { from: decode(asked['key']), to: decode(asked['range_end']), push };
    const start = Number(asked['start_revision'] ?? 0) || this.#revision + 1;
    const header = { revision: `${this.#revision}` };
    push(line({ header, created: true }));
    if (start <= this.#compacted) {
      push(line({ header, canceled: true, compact_revision: `${this.#compacted}` }));
      return () => {};
    }
    const missed = this.#history.filter((event) => event.revision >= start);
    tell(watcher, missed, this.#revision);
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** What etcd says to a watch that is too slow for compaction. */
  cancelCompacted(): void {
    for (const { push } of this.#watchers)
      push(line({ header: { revision: `${this.#revision}` }, canceled: true, compact_revision: `${this.#revision}` }));
    this.#watchers.clear();
  }

  progress(): void {
    for (const { push } of this.#watchers) push(line({ header: { revision: `${this.#revision}` } }));
  }

  /** The watches go on, and nothing comes of them any more. */
  deafen(): void {
    this.#watchers.clear();
  }

  /** The watches are not told what happens next. */
  loseNext(): void {
    this.#losing = true;
  }

  #happened(events: readonly Event[]): void {
    this.#history.push(...events);
    if (this.#losing) {
      this.#losing = false;
      return;
    }
    for (const watcher of this.#watchers) tell(watcher, events, this.#revision);
  }

  /** The keys as of a revision that is not compacted; 0: now. */
  #at(revision: number): ReadonlyMap<string, Pair> {
    if (revision === 0 || revision >= this.#revision) return this.#pairs;
    const then = new Map(this.#pairs);
    for (const { key } of this.#history.filter((event) => event.revision > revision)) {
      const before = this.#history.filter((event) => event.key === key && event.revision <= revision).at(-1);
      if (before?.value === undefined || before.value === null) then.delete(key);
      else then.set(key, { value: before.value, created: before.revision, modified: before.revision });
    }
    return then;
  }
}

function tell(watcher: Watcher, events: readonly Event[], revision: number): void {
  const ours = events.filter(({ key }) => key >= watcher.from && key < watcher.to);
  if (ours.length === 0) return;
  const told = ours.map(({ key, value, revision: modified }) => ({
    ...(value === null ? { type: 'DELETE' } : {}),
    kv: { key: encode(key), mod_revision: `${modified}`, ...(value === null ? {} : { value: encode(value) }) },
  }));
  watcher.push(line({ header: { revision: `${revision}` }, events: told }));
}

function line(result: object): string {
  return `${JSON.stringify({ result })}\n`;
}

function answer(value: object): EtcdResponse {
  return { status: 200, body: JSON.stringify(value) };
}

function refuse(status: number, code: number, message: string): EtcdResponse {
  return { status, body: JSON.stringify({ error: message, message, code }) };
}
