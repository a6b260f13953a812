// etcd's v3 API through its JSON gateway (/v3, etcd 3.4 and later): ranges in pages of one revision, a watch as an answer that
// goes on, tokens by user and password. Keys and values are Base64, 64-bit integers are strings, what is zero is left out.

import { decodeBase64, encodeBase64 } from '../lib/base64.ts';
import type { Cut } from '../lib/cut.ts';
import { SystemError } from '../lib/errors.ts';
import type { HttpResponse } from '../world/world.ts';
import { type EtcdCluster, NoSuchApi, readValue, refusal, said } from './etcd-cluster.ts';
import { arrayIn, isObject, objectIn, parseJson, textIn, type JsonObject } from './json.ts';
import { followJson } from './json-stream.ts';
import { type Entry, excerpt, MAX_HOSTS, MAX_POOL_BYTES } from './parse.ts';
import type { Change, Feed, Listing, OnChange } from './watched.ts';

const PAGE = 500;
/** From a page that was too large: there are long values in it. */
const SMALLER = 8;

export class EtcdV3 implements Feed {
  readonly verifyMs = 10_000;
  readonly rereadMs = 300_000;
  readonly #cluster: EtcdCluster;
  /** Null: not logged in, or nobody wants us to. */
  #token: string | null = null;

  constructor(cluster: EtcdCluster) {
    this.#cluster = cluster;
  }

  turn(): number {
    this.#token = null;
    return this.#cluster.turn();
  }

  async list(cut: Cut): Promise<Listing> {
    const entries = new Map<string, Entry>();
    let page = PAGE;
    let at = '';
    let from = this.#cluster.prefix;
    for (;;) {
      const answer = await this.#range({ from, limit: page, ...(at === '' ? {} : { revision: at }) }, cut).catch(
        (thrown) => {
          if (!(thrown instanceof SystemError) || thrown.code !== 'EFBIG' || page === 1) throw thrown;
          return null;
        },
      );
      if (answer === null) {
        page = Math.ceil(page / SMALLER);
        continue;
      }
      if (answer.count > MAX_HOSTS) throw new Error(`more than ${MAX_HOSTS} keys`);
      if (at === '') at = answer.revision;
      const known = entries.size;
      for (const [key, value] of answer.pairs) entries.set(key, this.#read(key, value));
      if (entries.size > MAX_HOSTS) throw new Error(`more than ${MAX_HOSTS} keys`);
      if (!answer.more) return { entries, at };
      if (entries.size === known) throw new Error('a page with nothing new, and more to come');
      from = `${answer.pairs.at(-1)?.[0] ?? ''}\0`;
    }
  }

  async verify(at: string, size: number, cut: Cut): Promise<boolean> {
    const newer = { from: this.#cluster.prefix, limit: 1, min_mod_revision: after(at), keys_only: true };
    const { revision, pairs, count } = await this.#range(newer, cut);
    // A store with less history than we have seen is another one, or an older copy of it.
    return BigInt(revision) >= BigInt(at) && pairs.length === 0 && count === size;
  }

  async watch(at: string, onChange: OnChange, cut: Cut): Promise<'on' | 'gap'> {
    const create = { ...this.#interval(this.#cluster.prefix), start_revision: after(at), progress_notify: true };
    const body = JSON.stringify({ create_request: create });
    const headers = await this.#headers(cut);
    const end = await followJson(
      (onData, knife) => this.#cluster.stream({ path: '/v3/watch', headers, body }, onData, knife),
      2 * MAX_POOL_BYTES,
      (value) => this.#hear(value, onChange),
      cut,
    );
    if ('ended' in end && end.ended.status !== 200) throw new Error(refusal(end.ended));
    // An etcd that stops ends it in order.
    return 'gap';
  }

  /** One message of a watch. 'gap': it is of no more use. */
  #hear(value: unknown, onChange: OnChange): 'gap' | null {
    const error = objectIn(value, 'error');
    if (textIn(error, 'message') !== '') throw new Error(excerpt(textIn(error, 'message')));
    const result = objectIn(value, 'result');
    // Compacted: what came after our revision is not to be had any more.
    if (textIn(result, 'compact_revision') !== '') return 'gap';
    if (result['canceled'] === true) throw new Error(`watch cancelled: ${excerpt(textIn(result, 'cancel_reason'))}`);
    const revision = textIn(objectIn(result, 'header'), 'revision');
    const changes: Change[] = [];
    for (const event of arrayIn(result, 'events')) {
      const pair = readPair(objectIn(event, 'kv'));
      if (pair === null) return 'gap';
      const [key, text] = pair;
      changes.push([key, textIn(event, 'type') === 'DELETE' ? null : this.#read(key, text)]);
    }
    // "created" has the revision of that moment, which may be before or after ours and tells nothing.
    if (result['created'] !== true && isInteger(revision)) onChange(changes, revision);
    return null;
  }

  /** Whoever answers with what was not asked for is not believed at all. */
  #read(key: string, value: string): Entry {
    const { prefix } = this.#cluster;
    if (!key.startsWith(prefix)) throw new Error(`a key that is not in ${prefix}: ${excerpt(key)}`);
    const host = key.slice(prefix.length);
    return host === '' ? { is: 'out' } : readValue(host, value);
  }

  async #range(how: { readonly from: string; readonly [field: string]: unknown }, cut: Cut) {
    const { from, ...fields } = how;
    const answer = await this.#call('/v3/kv/range', { ...this.#interval(from), ...fields }, cut);
    const revision = textIn(objectIn(answer, 'header'), 'revision');
    if (!isInteger(revision)) throw new Error('an answer without a revision');
    const pairs = arrayIn(answer, 'kvs').map(readPair);
    if (!pairs.every((pair) => pair !== null)) throw new Error('an answer with a key that is not Base64');
    return { revision, pairs, count: Number(textIn(answer, 'count') || '0'), more: answer['more'] === true };
  }

  /** From a key to the end of the folder. */
  #interval(from: string) {
    const { prefix } = this.#cluster;
    // '0' comes after '/'.
    return { key: base64(from), range_end: base64(`${prefix.slice(0, -1)}0`) };
  }

  async #call(path: string, body: JsonObject, cut: Cut): Promise<JsonObject> {
    const ask = async () =>
      this.#cluster.ask({ path, headers: await this.#headers(cut), body: JSON.stringify(body) }, cut);
    let response = await ask();
    if (this.#token !== null && isForgotten(response)) {
      this.#token = null;
      response = await ask();
    }
    return answerOf(response);
  }

  async #headers(cut: Cut): Promise<Readonly<Record<string, string>>> {
    const login = this.#token === null ? await this.#cluster.login() : null;
    if (login !== null) {
      const body = JSON.stringify({ name: login.user, password: login.password });
      const token = textIn(
        answerOf(await this.#cluster.ask({ path: '/v3/auth/authenticate', headers: JSON_TYPE, body }, cut)),
        'token',
      );
      if (token === '' || /[^\x21-\x7e]/.test(token)) throw new Error('authenticated, but got no token');
      this.#token = token;
    }
    return this.#token === null ? JSON_TYPE : { ...JSON_TYPE, authorization: this.#token };
  }
}

const JSON_TYPE = { 'content-type': 'application/json' } as const;

/** The token has expired, its member was restarted, or users were changed since (rpctypes of etcd). */
function isForgotten({ status, body }: HttpResponse): boolean {
  return status === 401 || (status >= 400 && /invalid auth token|revision of auth store is old/.test(said(body)));
}

function answerOf(response: HttpResponse): JsonObject {
  if (response.status === 404) throw new NoSuchApi(refusal(response));
  if (response.status !== 200) throw new Error(refusal(response));
  const value = parseJson(response.body);
  if (!isObject(value)) throw new Error('an answer that is no JSON object');
  return value;
}

/** Key and value as text. */
function readPair(kv: unknown): readonly [string, string] | null {
  const key = decodeBase64(textIn(kv, 'key'));
  const value = decodeBase64(textIn(kv, 'value'));
  if (key === null || value === null || key.length === 0) return null;
  return [new TextDecoder().decode(key), new TextDecoder().decode(value)];
}

function base64(text: string): string {
  return encodeBase64(new TextEncoder().encode(text));
}

function isInteger(text: string): boolean {
  return /^\d{1,19}$/.test(text);
}

function after(revision: string): string {
  return String(BigInt(revision) + 1n);
}
