// The part of a Kubernetes API server that nodes are read from, in memory: lists in pages, watches from a resourceVersion,
// bookmarks, 410 in both of its forms, bearer tokens, equality selectors. There is no cluster in Debian to compare it with;
// it follows "Kubernetes API Concepts" (efficient detection of changes, watch bookmarks, chunks, 410 Gone).

export interface NodePlan {
  readonly ready?: 'True' | 'False' | 'Unknown';
  readonly unschedulable?: boolean;
  readonly taints?: readonly { readonly key: string; readonly effect: string }[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly addresses?: readonly { readonly type: string; readonly address: string }[];
}

interface Event {
  readonly version: number;
  readonly name: string;
  /** null: before, or after, there was none. */
  readonly before: object | null;
  readonly after: object | null;
}

export type K8sAnswer =
  | { readonly status: number; readonly body: string }
  | { readonly open: (push: (text: string) => void, end: () => void) => () => void };

interface Watcher {
  readonly selector: string | null;
  push(text: string): void;
  end(): void;
}

export class FakeK8s {
  token = 'right';
  /** What a compaction leaves of the history starts here. */
  #oldest = 0;
  #version = 100;
  readonly #nodes = new Map<string, object>();
  #history: Event[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #pages = new Map<string, readonly object[]>();
  #pageNumber = 0;
  /** Say 410 as the status of the answer, not as an event in it. */
  gone: 'event' | 'status' = 'event';

  get watchers(): number {
    return this.#watchers.size;
  }

  get names(): readonly string[] {
    return [...this.#nodes.keys()];
  }

  set(name: string, plan: NodePlan = {}): void {
    const { ready = 'True', unschedulable, taints, labels = {}, addresses = [] } = plan;
    const version = ++this.#version;
    const node = {
      metadata: { name, labels, resourceVersion: `${version}` },
      spec: { ...(unschedulable === undefined ? {} : { unschedulable }), ...(taints === undefined ? {} : { taints }) },
      status: {
        addresses,
        conditions: [
          { type: 'MemoryPressure', status: 'False' },
          { type: 'Ready', status: ready },
        ],
      },
    };
    const before = this.#nodes.get(name) ?? null;
    this.#nodes.set(name, node);
    this.#happened({ version, name, before, after: node });
  }

  remove(name: string): void {
    const before = this.#nodes.get(name);
    if (before === undefined) return;
    this.#nodes.delete(name);
    this.#happened({ version: ++this.#version, name, before, after: null });
  }

  /** Something else in the cluster happens, and who wants bookmarks is told. */
  bookmark(): void {
    this.#version++;
    const object = { kind: 'Node', metadata: { resourceVersion: `${this.#version}` } };
    for (const watcher of this.#watchers) watcher.push(line('BOOKMARK', object));
  }

  /** History and pages are gone: whoever comes with an older version is told 410. */
  compact(): void {
    this.#oldest = this.#version;
    this.#history = [];
    this.#pages.clear();
  }

  /** Running watches are told 410, as when the watch cache is rebuilt. */
  expireWatches(): void {
    for (const watcher of [...this.#watchers]) watcher.push(line('ERROR', GONE));
    this.#watchers.clear();
  }

  /** As at timeoutSeconds: in order. */
  endWatches(): void {
    for (const watcher of [...this.#watchers]) watcher.end();
    this.#watchers.clear();
  }

  /** They go on, and nothing comes. */
  deafen(): void {
    this.#watchers.clear();
  }

  answer(url: string, authorization: string | undefined): K8sAnswer {
    if (authorization !== `Bearer ${this.token}`)
      return { status: 401, body: JSON.stringify({ code: 401, message: 'Unauthorized' }) };
    const { pathname, searchParams } = new URL(url, 'https://api');
    if (pathname !== '/api/v1/nodes') return { status: 404, body: '404 page not found' };
    const selector = searchParams.get('labelSelector');
    if (searchParams.get('watch') !== 'true') return this.#list(searchParams, selector);
    const from = Number(searchParams.get('resourceVersion'));
    if (from < this.#oldest && this.gone === 'status') return { status: 410, body: JSON.stringify(GONE) };
    return {
      open: (push, end) => {
        if (from < this.#oldest) {
          push(line('ERROR', GONE));
          end();
          return () => {};
        }
        const watcher = { selector, push, end };
        for (const event of this.#history) if (event.version > from) tell(watcher, event);
        this.#watchers.add(watcher);
        return () => this.#watchers.delete(watcher);
      },
    };
  }

  #list(query: URLSearchParams, selector: string | null): K8sAnswer {
    const token = query.get('continue');
    const known = token === null ? undefined : this.#pages.get(token);
    if (token !== null && known === undefined) return { status: 410, body: JSON.stringify(GONE) };
    const all =
      known ??
      [...this.#nodes]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, node]) => node)
        .filter((node) => matches(node, selector));
    const limit = Number(query.get('limit') ?? all.length);
    const rest = all.slice(limit);
    const next = rest.length === 0 ? '' : `page-${++this.#pageNumber}`;
    if (next !== '') this.#pages.set(next, rest);
    const metadata = {
      resourceVersion: `${this.#version}`,
      ...(next === '' ? {} : { continue: next }),
      ...(next === '' || selector !== null ? {} : { remainingItemCount: rest.length }),
    };
    return { status: 200, body: JSON.stringify({ kind: 'NodeList', metadata, items: all.slice(0, limit) }) };
  }

  #happened(event: Event): void {
    this.#history.push(event);
    for (const watcher of this.#watchers) tell(watcher, event);
  }
}

const GONE = { kind: 'Status', status: 'Failure', reason: 'Expired', code: 410, message: 'too old resource version' };

/** As the selector sees it: a node that begins to match was added, one that matches no more was deleted. */
function tell(watcher: Watcher, { version, before, after }: Event): void {
  const [was, is] = [before, after].map((node) => node !== null && matches(node, watcher.selector));
  if (is && after !== null) watcher.push(line(was ? 'MODIFIED' : 'ADDED', after));
  else if (was && before !== null) {
    const { metadata, ...rest } = before as { readonly metadata: object };
    watcher.push(line('DELETED', { ...rest, metadata: { ...metadata, resourceVersion: `${version}` } }));
  }
}

function matches(node: object, selector: string | null): boolean {
  const { labels } = (node as { readonly metadata: { readonly labels: Readonly<Record<string, string>> } }).metadata;
  return (selector ?? '').split(',').every((word) => {
    const [key = '', value] = word.split('=');
    return word === '' || labels[key] === value;
  });
}

function line(type: string, object: object): string {
  return `${JSON.stringify({ type, object })}\n`;
}
