// etcd's v2 API (/v2/keys), which PyBal speaks: a folder read whole, then one long poll per event. Of all keys of the store
// only the last 1000 events are kept; whoever comes later is answered 401 and must read again.

import type { Cut } from '../lib/cut.ts';
import { basic } from './access.ts';
import { type EtcdCluster, NoSuchApi, readValue, refusal } from './etcd-cluster.ts';
import { arrayIn, isObject, objectIn, parseJson, textIn, type JsonObject } from './json.ts';
import { followJson } from './json-stream.ts';
import { type Entry, MAX_HOSTS, MAX_POOL_BYTES } from './parse.ts';
import type { Change, Feed, Listing, OnChange } from './watched.ts';

/** errorCode of an answer. */
const KEY_NOT_FOUND = 100;
const EVENT_CLEARED = 401;

export class EtcdV2 implements Feed {
  readonly verifyMs = 10_000;
  readonly rereadMs = 300_000;
  readonly #cluster: EtcdCluster;

  constructor(cluster: EtcdCluster) {
    this.#cluster = cluster;
  }

  turn(): number {
    return this.#cluster.turn();
  }

  async list(cut: Cut): Promise<Listing> {
    const { index, nodes } = await this.#read(cut);
    const entries = new Map<string, Entry>();
    for (const node of nodes) entries.set(textIn(node, 'key'), this.#entryOf(node));
    return { entries, at: index };
  }

  /** There is no cheap question: the folder is read whole. What was changed or made since has a later index, what went is missing. */
  async verify(at: string, size: number, cut: Cut): Promise<boolean> {
    const { index, nodes } = await this.#read(cut);
    const known = Number(at);
    return Number(index) >= known && nodes.length === size && nodes.every((node) => indexOf(node) <= known);
  }

  async watch(at: string, onChange: OnChange, cut: Cut): Promise<'on' | 'gap'> {
    let from = at;
    for (;;) {
      const event = await this.#next(from, cut);
      if (event === 'on' || event === 'gap') return event;
      const node = objectIn(event, 'node');
      const change = this.#changeOf(textIn(event, 'action'), node);
      if (change === 'gap') return 'gap';
      from = String(indexOf(node));
      onChange([change], from);
    }
  }

  /** 'on': the server closed what took too long. */
  async #next(at: string, cut: Cut): Promise<JsonObject | 'on' | 'gap'> {
    const path = `${this.#path}?recursive=true&wait=true&waitIndex=${Number(at) + 1}`;
    const headers = await this.#headers();
    const end = await followJson(
      (onData, knife) => this.#cluster.stream({ path, headers }, onData, knife),
      MAX_POOL_BYTES,
      (value) => {
        if (!isObject(value)) throw new Error('an event that is no JSON object');
        return value;
      },
      cut,
    );
    if ('found' in end) return end.found;
    if (errorCodeOf(end.ended.body) === EVENT_CLEARED) return 'gap';
    if (end.ended.status !== 200) throw new Error(refusal(end.ended));
    return 'on';
  }

  #changeOf(action: string, node: JsonObject): Change | 'gap' {
    const key = textIn(node, 'key');
    const host = this.#hostOf(key);
    // A folder that went, or came: what was in it is not told.
    if (node['dir'] === true || host === null || indexOf(node) === Number.POSITIVE_INFINITY) return 'gap';
    switch (action) {
      case 'set':
      case 'create':
      case 'update':
      case 'compareAndSwap':
        return [key, this.#entryOf(node)];
      case 'delete':
      case 'expire':
      case 'compareAndDelete':
        return [key, null];
      default:
        return 'gap';
    }
  }

  #entryOf(node: unknown): Entry {
    const host = this.#hostOf(textIn(node, 'key'));
    if (host === null || host === '' || (isObject(node) && node['dir'] === true)) return { is: 'out' };
    return readValue(host, textIn(node, 'value'));
  }

  /** Null: not in our folder. */
  #hostOf(key: string): string | null {
    const { prefix } = this.#cluster;
    return key.startsWith(prefix) ? key.slice(prefix.length) : null;
  }

  /** One level: as with PyBal, what is in folders of the folder is not looked at. */
  async #read(cut: Cut): Promise<{ readonly index: string; readonly nodes: readonly unknown[] }> {
    const path = `${this.#path}?recursive=true&quorum=true`;
    const response = await this.#cluster.ask({ path, headers: await this.#headers() }, cut);
    const value = parseJson(response.body);
    const index = response.headers['x-etcd-index'] ?? '';
    if (response.status === 404 && errorCodeOf(response.body) !== KEY_NOT_FOUND) throw new NoSuchApi(refusal(response));
    if (!/^\d{1,15}$/.test(index))
      throw new Error(response.status === 200 ? 'an answer without index' : refusal(response));
    if (response.status === 404) return { index, nodes: [] };
    if (response.status !== 200) throw new Error(refusal(response));
    const folder = objectIn(value, 'node');
    if (folder['dir'] !== true) throw new Error(`${this.#cluster.prefix} is no folder`);
    const nodes = arrayIn(folder, 'nodes');
    if (nodes.length > MAX_HOSTS) throw new Error(`more than ${MAX_HOSTS} keys`);
    return { index, nodes };
  }

  get #path(): string {
    return `/v2/keys${this.#cluster.prefix.slice(0, -1)}`;
  }

  async #headers(): Promise<Readonly<Record<string, string>>> {
    const login = await this.#cluster.login();
    return login === null ? {} : { authorization: basic(login.user, login.password) };
  }
}

function errorCodeOf(body: Uint8Array): unknown {
  const value = parseJson(body);
  return isObject(value) ? value['errorCode'] : undefined;
}

/** Infinity: it has none, so it is newer than anything. */
function indexOf(node: unknown): number {
  const index = isObject(node) ? node['modifiedIndex'] : undefined;
  return typeof index === 'number' && Number.isSafeInteger(index) ? index : Number.POSITIVE_INFINITY;
}
