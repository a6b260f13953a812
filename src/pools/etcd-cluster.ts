// What both APIs of etcd share: where the members are, who we are, and what a value means, in PyBal's and conftool's JSON.
// Used by etcd.ts, etcd-v2.ts and etcd-v3.ts.

import type { SourceAccess } from '../config/types.ts';
import type { Cut } from '../lib/cut.ts';
import { readEtcdUrl } from '../lib/pool-url.ts';
import { shown } from '../lib/shown.ts';
import { unescaped } from '../lib/url.ts';
import type { HttpRequest, HttpResponse, World } from '../world/world.ts';
import { AccessFiles, secretOf, tlsOf } from './access.ts';
import { isObject, parseJson, textIn } from './json.ts';
import { type Entry, excerpt, jsonWeight, MAX_POOL_BYTES } from './parse.ts';

export type EtcdWorld = Pick<World, 'clock' | 'random' | 'files' | 'http'>;

/** To the member in use. */
export interface EtcdRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: GET; otherwise POST. */
  readonly body?: string;
}

const CALL_MS = 5000;
const MAX_VALUE_LENGTH = 64 * 1024;

/** The members, one of them in use. */
export class EtcdCluster {
  readonly #world: EtcdWorld;
  readonly #access: SourceAccess;
  readonly #files: AccessFiles;
  readonly #members: readonly string[];
  #member: number;
  /** The folder of the pool, with a slash at both ends. */
  readonly prefix: string;
  /** In the URL; null: the options tell. */
  readonly #login: { readonly user: string; readonly password: string } | null;

  private constructor(
    world: EtcdWorld,
    access: SourceAccess,
    members: readonly string[],
    prefix: string,
    login: string,
  ) {
    this.#world = world;
    this.#access = access;
    this.#files = new AccessFiles(world);
    this.#members = members;
    this.prefix = prefix;
    const [user = '', ...password] = login.split(':');
    this.#login = login === '' ? null : { user: unescaped(user), password: unescaped(password.join(':')) };
    // Not all directors at the same member.
    this.#member = Math.floor(world.random() * members.length);
  }

  static of(world: EtcdWorld, url: string, access: SourceAccess): EtcdCluster | string {
    const read = readEtcdUrl(url);
    if (typeof read === 'string') return read;
    const scheme = access.tls === 'off' ? 'http' : 'https';
    const members = read.members.map((member) => `${scheme}://${member}`);
    return new EtcdCluster(world, access, members, read.prefix, read.login);
  }

  turn(): number {
    this.#member = (this.#member + 1) % this.#members.length;
    return this.#members.length;
  }

  async login(): Promise<{ readonly user: string; readonly password: string } | null> {
    const { user, passwordFile } = this.#access;
    if (user === null || passwordFile === null) return this.#login;
    return { user, password: await secretOf(this.#files, passwordFile) };
  }

  async ask(request: EtcdRequest, cut: Cut): Promise<HttpResponse> {
    const { http } = this.#world;
    const { body } = request;
    const asked = await this.#request(request);
    return body === undefined ? http.get(asked, cut) : http.post({ ...asked, body }, cut);
  }

  /** For an answer that goes on. */
  async stream(request: EtcdRequest, onData: (bytes: Uint8Array) => void, cut: Cut): Promise<HttpResponse> {
    const { body } = request;
    const asked = await this.#request(request);
    return this.#world.http.stream(body === undefined ? asked : { ...asked, body }, onData, cut);
  }

  async #request({ path, headers }: EtcdRequest): Promise<HttpRequest> {
    return {
      url: `${this.#members[this.#member] ?? ''}${path}`,
      headers: { 'user-agent': 'anybal', ...headers },
      timeoutMs: CALL_MS,
      maxBytes: MAX_POOL_BYTES,
      tls: await tlsOf(this.#files, this.#access),
    };
  }
}

/** Whatever answers there, it does not speak this API. */
export class NoSuchApi extends Error {}

/** `{"pooled": "yes", "weight": 10}`. */
export function readValue(host: string, text: string): Entry {
  const bad = (reason: string): Entry => ({ is: 'bad', host, reason });
  if (text.length > MAX_VALUE_LENGTH) return bad(`longer than ${MAX_VALUE_LENGTH} characters`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad(`not JSON: ${excerpt(text)}`);
  }
  if (!isObject(value)) return bad(`not a JSON object: ${excerpt(text)}`);
  const { pooled } = value;
  if (pooled === 'inactive') return { is: 'out' };
  if (pooled !== 'yes' && pooled !== 'no')
    return bad(`pooled is ${pooled === undefined ? 'absent' : excerpt(shown(pooled))}, not yes, no or inactive`);
  return { is: 'server', host, weight: jsonWeight(value), enabled: pooled === 'yes' };
}

/** Why it was not answered as it should be. */
export function refusal({ status, body }: HttpResponse): string {
  const text = said(body);
  return text === '' ? `HTTP ${status}` : `HTTP ${status}: ${excerpt(text)}`;
}

/** What an answer says of itself. */
export function said(body: Uint8Array): string {
  const value = parseJson(body);
  return textIn(value, 'message') || textIn(value, 'error');
}
