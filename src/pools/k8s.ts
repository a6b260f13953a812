// `k8s://host[:port]`: the nodes of a Kubernetes cluster as a pool (PyBal's k8s source): listed in pages, then watched, with
// bookmarks. Who may serve is what the cluster says of a node: ready, not cordoned, not being emptied. Called by open.ts.

import type { SourceAccess } from '../config/types.ts';
import { canonicalAddress, type Family, familyOf } from '../lib/address.ts';
import type { Cut } from '../lib/cut.ts';
import { SystemError } from '../lib/errors.ts';
import { cutAfter } from '../lib/in-time.ts';
import { readK8sUrl } from '../lib/pool-url.ts';
import { unescaped } from '../lib/url.ts';
import type { HttpRequest, HttpResponse, World } from '../world/world.ts';
import { AccessFiles, secretOf, tlsOf } from './access.ts';
import { arrayIn, isObject, objectIn, parseJson, textIn, type JsonObject } from './json.ts';
import { followJson } from './json-stream.ts';
import { type Entry, excerpt, MAX_HOSTS } from './parse.ts';
import type { Source } from './source.ts';
import { WatchedSource, type Change, type Feed, type Listing, type OnChange } from './watched.ts';

type K8sWorld = Pick<World, 'clock' | 'random' | 'files' | 'http'>;

const CALL_MS = 5000;
/** A node is 10 to 50 kB of JSON. */
const PAGE = 100;
const MAX_BYTES = 16 << 20;
/** Pages with nothing new in them: where nodes are selected, some may be empty ("API Concepts"). */
const MAX_BARREN = 100;
/** RFC 1123, as Kubernetes demands it. */
const MAX_NAME_LENGTH = 253;
/** The server ends a watch after this, and one that it does not end then is dead. */
const WATCH_SECONDS = 30;
const WATCH_GRACE_MS = 10_000;
/** PyBal's. */
const WEIGHT = 1;

/** Or why the URL is none. */
export function k8sSource(world: K8sWorld, url: string, access: SourceAccess, family: Family): Source | string {
  const read = readK8sUrl(url);
  if (typeof read === 'string') return read;
  const base = `${access.tls === 'off' ? 'http' : 'https'}://${read.host}${read.path}`;
  return new WatchedSource(world, new K8sNodes(world, `${base}/api/v1/nodes`, access, family, read.token));
}

class K8sNodes implements Feed {
  readonly verifyMs = 10_000;
  readonly rereadMs = 3_600_000;
  readonly #world: K8sWorld;
  readonly #url: string;
  readonly #access: SourceAccess;
  readonly #files: AccessFiles;
  readonly #family: Family;
  /** In the URL; the file of the options goes before it. */
  readonly #token: string;
  /** By name, where that is an address: of a node that has lost its own for a moment, the one that it had. */
  readonly #hosts = new Map<string, string>();

  constructor(world: K8sWorld, url: string, access: SourceAccess, family: Family, token: string) {
    this.#world = world;
    this.#url = url;
    this.#access = access;
    this.#files = new AccessFiles(world);
    this.#family = family;
    this.#token = unescaped(token);
  }

  turn(): number {
    return 1;
  }

  async list(cut: Cut): Promise<Listing> {
    const entries = new Map<string, Entry>();
    let limit = PAGE;
    let next = '';
    let barren = 0;
    for (;;) {
      const page = await this.#page(limit, next, cut).catch((thrown: unknown) => {
        if (!(thrown instanceof SystemError) || thrown.code !== 'EFBIG' || limit === 1) throw thrown;
        return null;
      });
      if (page === null) {
        limit = Math.ceil(limit / 4);
        continue;
      }
      const known = entries.size;
      for (const node of arrayIn(page, 'items')) entries.set(nameOf(node), this.#entryOf(node));
      if (entries.size > MAX_HOSTS) throw new Error(`more than ${MAX_HOSTS} nodes`);
      const metadata = objectIn(page, 'metadata');
      const token = textIn(metadata, 'continue');
      if (entries.size === known) barren++;
      if (token !== '' && (token === next || barren > MAX_BARREN))
        throw new Error('a list that does not go on, and never ends');
      next = token;
      const at = textIn(metadata, 'resourceVersion');
      if (next === '' && at === '') throw new Error('a list without resourceVersion');
      if (next !== '') continue;
      for (const name of [...this.#hosts.keys()]) if (!entries.has(name)) this.#hosts.delete(name);
      return { entries, at };
    }
  }

  /** That it answers, and as far as it tells their number, that no node is missing. */
  async verify(_at: string, size: number, cut: Cut): Promise<boolean> {
    const page = await this.#page(1, '', cut);
    const items = arrayIn(page, 'items').length;
    const remaining = objectIn(page, 'metadata')['remainingItemCount'];
    if (items === 0) return size === 0;
    // It is not told for a list that is selected from.
    return this.#access.labelSelector !== null || typeof remaining !== 'number' || items + remaining === size;
  }

  async watch(at: string, onChange: OnChange, cut: Cut): Promise<'on' | 'gap'> {
    const query = {
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: at,
      timeoutSeconds: `${WATCH_SECONDS}`,
    };
    const request = await this.#request(query);
    const within = cutAfter(this.#world.clock, WATCH_SECONDS * 1000 + WATCH_GRACE_MS, cut);
    try {
      const end = await followJson(
        (onData, until) => this.#world.http.stream(request, onData, until),
        MAX_BYTES,
        (value) => this.#hear(value, onChange),
        within.cut,
      );
      if ('found' in end || end.ended.status === 410) return 'gap';
      if (end.ended.status !== 200) throw new Error(refusal(end.ended));
      return 'on';
    } finally {
      within.release();
    }
  }

  #hear(event: unknown, onChange: OnChange): 'gap' | null {
    const node = objectIn(event, 'object');
    const at = textIn(objectIn(node, 'metadata'), 'resourceVersion');
    switch (textIn(event, 'type')) {
      case 'ADDED':
      case 'MODIFIED':
        onChange([[nameOf(node), this.#entryOf(node)] satisfies Change], at);
        return null;
      case 'DELETED':
        this.#hosts.delete(nameOf(node));
        onChange([[nameOf(node), null]], at);
        return null;
      case 'BOOKMARK':
        onChange([], at);
        return null;
      case 'ERROR':
        // Of the history that we asked for, a part is gone.
        if (node['code'] === 410) return 'gap';
        throw new Error(`watch: ${excerpt(textIn(node, 'message'))}`);
      default:
        throw new Error('an event of no known type');
    }
  }

  #entryOf(node: unknown): Entry {
    const name = nameOf(node);
    if (name === '') throw new Error('a node without a name');
    if (name.length > MAX_NAME_LENGTH) throw new Error(`a node with a name of ${name.length} characters`);
    if (EXCLUDED in objectIn(objectIn(node, 'metadata'), 'labels')) return { is: 'out' };
    const host = this.#hostOf(node, name);
    if (host === null) {
      const reason = `no ${this.#access.nodeAddress} of IPv${this.#family}`;
      const had = this.#hosts.get(name);
      return had === undefined
        ? { is: 'bad', host: name, reason }
        : { is: 'bad', host: had, reason: `node ${name} has ${reason}` };
    }
    this.#hosts.set(name, host);
    const ready = arrayIn(objectIn(node, 'status'), 'conditions').find((each) => textIn(each, 'type') === 'Ready');
    const status = textIn(ready, 'status');
    // Unknown: the cluster does not hear from the node, which says nothing of what clients do. Our checks do.
    if (status !== 'True' && status !== 'False')
      return { is: 'bad', host, reason: `Ready is ${excerpt(status || 'absent')}` };
    return { is: 'server', host, weight: WEIGHT, enabled: status === 'True' && !isLeaving(node) };
  }

  #hostOf(node: unknown, name: string): string | null {
    const { nodeAddress } = this.#access;
    if (nodeAddress === 'name') return name;
    const type = nodeAddress === 'internal-ip' ? 'InternalIP' : 'ExternalIP';
    const addresses = arrayIn(objectIn(node, 'status'), 'addresses')
      .filter((each) => textIn(each, 'type') === type)
      .map((each) => canonicalAddress(textIn(each, 'address')));
    return addresses.find((address) => address !== null && familyOf(address) === this.#family) ?? null;
  }

  async #page(limit: number, next: string, cut: Cut): Promise<JsonObject> {
    const query = { limit: `${limit}`, ...(next === '' ? {} : { continue: next }) };
    const response = await this.#world.http.get(await this.#request(query), cut);
    const value = parseJson(response.body);
    if (response.status !== 200) throw new Error(refusal(response));
    if (!isObject(value) || !Array.isArray(value['items'])) throw new Error('an answer that is no list of nodes');
    return value;
  }

  async #request(query: Readonly<Record<string, string>>): Promise<HttpRequest> {
    const { tokenFile, labelSelector } = this.#access;
    const token = tokenFile === null ? this.#token : await secretOf(this.#files, tokenFile);
    const all = { ...query, ...(labelSelector === null ? {} : { labelSelector }) };
    const words = Object.entries(all).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
    return {
      url: `${this.#url}?${words.join('&')}`,
      headers: {
        'user-agent': 'anybal',
        accept: 'application/json',
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      },
      timeoutMs: CALL_MS,
      maxBytes: MAX_BYTES,
      tls: await tlsOf(this.#files, this.#access),
    };
  }
}

const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';
/** Taints that only repeat the condition Ready. */
const OF_READY: readonly string[] = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];
/** The autoscaler will delete it. */
const DOOMED = 'ToBeDeletedByClusterAutoscaler';

/** Cordoned, being deleted, or tainted so that pods have to go. */
function isLeaving(node: unknown): boolean {
  const spec = objectIn(node, 'spec');
  if (spec['unschedulable'] === true || textIn(objectIn(node, 'metadata'), 'deletionTimestamp') !== '') return true;
  return arrayIn(spec, 'taints').some((taint) => {
    const key = textIn(taint, 'key');
    return key === DOOMED || (textIn(taint, 'effect') === 'NoExecute' && !OF_READY.includes(key));
  });
}

function nameOf(node: unknown): string {
  return textIn(objectIn(node, 'metadata'), 'name');
}

function refusal({ status, body }: HttpResponse): string {
  const message = textIn(parseJson(body), 'message');
  return message === '' ? `HTTP ${status}` : `HTTP ${status}: ${excerpt(message)}`;
}
