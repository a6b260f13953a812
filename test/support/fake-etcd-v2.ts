// An etcd in memory, as its v2 API (/v2/keys) shows it: keys in folders, one index for everything, long polls that end with
// their first event, a history of the last thousand events. No world in it, as in fake-etcd.ts; test/interop plays the main
// scenes with a real one.

export type ActionV2 = 'set' | 'create' | 'update' | 'compareAndSwap' | 'delete' | 'compareAndDelete' | 'expire';

interface Node {
  /** null: a folder. */
  readonly value: string | null;
  readonly created: number;
  readonly modified: number;
}

interface Event {
  readonly index: number;
  readonly key: string;
  readonly folder: boolean;
  readonly text: string;
}

interface Poll {
  readonly path: string;
  readonly from: number;
  push(text: string): void;
  end(): void;
}

export type EtcdV2Answer =
  | { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string }
  | { readonly open: (push: (text: string) => void, end: () => void) => () => void };

const HISTORY_LENGTH = 1000;

export class FakeEtcdV2 {
  #index = 3;
  #nodes = new Map<string, Node>();
  #history: Event[] = [];
  /** Index of the oldest event that is remembered. */
  #start = 0;
  readonly #polls = new Set<Poll>();
  #losing = false;

  /** Long polls that are open. */
  get watchers(): number {
    return this.#polls.size;
  }

  /** Keys in this folder, by name with the folder. */
  keys(folder: string): ReadonlyMap<string, string> {
    const keys = [...this.#nodes].flatMap(([key, { value }]) =>
      value !== null && key.startsWith(folder) ? [[key, value] as const] : [],
    );
    return new Map(keys);
  }

  put(key: string, value: string, action: ActionV2 = 'set'): void {
    const before = this.#nodes.get(key);
    const index = ++this.#index;
    const folders = key.split('/').slice(1, -1);
    for (const [i] of folders.entries()) {
      const path = `/${folders.slice(0, i + 1).join('/')}`;
      if (!this.#nodes.has(path)) this.#nodes.set(path, { value: null, created: index, modified: index });
    }
    // A set makes the key anew; what updates it leaves its time of creation.
    const made = action === 'set' || before === undefined ? index : before.created;
    this.#nodes.set(key, { value, created: made, modified: index });
    this.#happened(action, key, { value, createdIndex: made }, before);
  }

  /** One event for each. */
  remove(keys: readonly string[], action: ActionV2 = 'delete'): void {
    for (const key of keys) {
      const before = this.#nodes.get(key);
      if (before === undefined) continue;
      this.#index++;
      this.#nodes.delete(key);
      this.#happened(action, key, { createdIndex: before.created }, before);
    }
  }

  /** With all that is in it: one event, which names the folder alone. */
  removeFolder(path: string): void {
    const before = this.#nodes.get(path);
    if (before === undefined) return;
    this.#index++;
    for (const key of this.#nodes.keys()) if (key === path || key.startsWith(`${path}/`)) this.#nodes.delete(key);
    this.#happened('delete', path, { dir: true, createdIndex: before.created }, before);
  }

  /** So much happens elsewhere in the store that nothing is remembered of what was before. */
  clearHistory(): void {
    this.#index += HISTORY_LENGTH;
    this.#history = [];
    this.#start = this.#index;
  }

  /** As from a backup: an earlier history. */
  restore(pairs: ReadonlyMap<string, string>): void {
    this.#index = 3;
    this.#nodes = new Map();
    this.#history = [];
    this.#start = 0;
    this.#polls.clear();
    for (const [key, value] of pairs) this.put(key, value);
  }

  /** As when there is more to tell than a client takes, or the server stops: an answer with nothing in it. */
  endPolls(): void {
    const polls = [...this.#polls];
    this.#polls.clear();
    for (const { end } of polls) end();
  }

  /** They go on, and nothing comes. */
  deafen(): void {
    this.#polls.clear();
  }

  /** Nobody is told what happens next, and nobody can ask. */
  loseNext(): void {
    this.#losing = true;
  }

  /** GET /v2/keys/… */
  answer(url: string): EtcdV2Answer {
    const { pathname, searchParams } = new URL(url, 'http://etcd');
    const path = pathname.slice('/v2/keys'.length);
    return searchParams.get('wait') === 'true'
      ? this.#wait(path, Number(searchParams.get('waitIndex')))
      : this.#get(path);
  }

  #get(path: string): EtcdV2Answer {
    const folder = this.#nodes.get(path);
    if (folder === undefined) return this.#refuse(404, 100, 'Key not found', path);
    const nodes = this.#shownIn(path);
    const empty = folder.value === null && nodes.length === 0;
    const node = { ...shown(path, folder), ...(folder.value !== null || empty ? {} : { nodes }) };
    return { status: 200, headers: this.#headers, body: `${JSON.stringify({ action: 'get', node })}\n` };
  }

  #shownIn(path: string): readonly object[] {
    const within = [...this.#nodes].filter(
      ([key]) => key.startsWith(`${path}/`) && !key.slice(path.length + 1).includes('/'),
    );
    return within.map(([key, node]) => {
      const nodes = node.value === null ? this.#shownIn(key) : [];
      return { ...shown(key, node), ...(nodes.length > 0 ? { nodes } : {}) };
    });
  }

  #wait(path: string, from: number): EtcdV2Answer {
    if (from < this.#start) {
      const cause = `the requested history has been cleared [${this.#start}/${from}]`;
      return this.#refuse(400, 401, 'The event in requested index is outdated and cleared', cause);
    }
    return {
      open: (push, end) => {
        const event = this.#history.find((each) => each.index >= from && concerns(path, each));
        if (event !== undefined) {
          push(event.text);
          end();
          return () => {};
        }
        const poll = { path, from, push, end };
        this.#polls.add(poll);
        return () => this.#polls.delete(poll);
      },
    };
  }

  #happened(action: ActionV2, key: string, node: object, before: Node | undefined): void {
    const index = this.#index;
    if (this.#losing) {
      this.#losing = false;
      return;
    }
    const told = {
      action,
      node: { key, ...node, modifiedIndex: index },
      ...(before === undefined ? {} : { prevNode: shown(key, before) }),
    };
    const event = { index, key, folder: before?.value === null, text: `${JSON.stringify(told)}\n` };
    this.#history.push(event);
    if (this.#history.length > HISTORY_LENGTH) this.#history.shift();
    this.#start = this.#history[0]?.index ?? index;
    for (const poll of [...this.#polls]) {
      if (index < poll.from || !concerns(poll.path, event)) continue;
      this.#polls.delete(poll);
      poll.push(event.text);
      poll.end();
    }
  }

  #refuse(status: number, errorCode: number, message: string, cause: string): EtcdV2Answer {
    const body = `${JSON.stringify({ errorCode, message, cause, index: this.#index })}\n`;
    return { status, headers: this.#headers, body };
  }

  get #headers(): Readonly<Record<string, string>> {
    return { 'content-type': 'application/json', 'x-etcd-index': `${this.#index}` };
  }
}

/** Of what is in a folder those who wait for the folder are told, and of a folder that goes those who wait for what was in it. */
function concerns(path: string, { key, folder }: Event): boolean {
  return key === path || key.startsWith(`${path}/`) || (folder && path.startsWith(`${key}/`));
}

function shown(key: string, { value, created, modified }: Node): object {
  return { key, ...(value === null ? { dir: true } : { value }), modifiedIndex: modified, createdIndex: created };
}
