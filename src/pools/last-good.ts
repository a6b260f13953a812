// The last accepted list of a service on disk, with the addresses that its hosts had: what a start without its pool source,
// or without DNS, goes on with, and what the first list of a new process is compared to. Written by keeper.ts, read by service-pool.ts.

import type { PoolHost } from '../decision/facts.ts';
import { canonicalAddress } from '../lib/address.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import { shown } from '../lib/shown.ts';
import type { Files, Wall } from '../world/world.ts';
import { showUrl } from '../lib/url.ts';
import { arrayIn, isObject, parseJson, textIn } from './json.ts';

export interface LastGood {
  readonly service: string;
  readonly url: string;
  /** When the source last served this list, as far as was written down. */
  readonly goodAt: Wall;
  readonly hosts: readonly PoolHost[];
  /** By host; only those that had one. */
  readonly addresses: ReadonlyMap<string, string>;
}

const MAX_BYTES = 8 << 20;

/** One file per service. Names are escaped, so no name leaves the folder; a cut one is told apart by what is inside. */
export function lastGoodPath(stateDirectory: string, service: string): string {
  return `${stateDirectory}/pools/${encodeURIComponent(service).slice(0, 200)}.json`;
}

export async function writeLastGood(files: Files, path: string, list: LastGood): Promise<void> {
  const { service, url, goodAt, hosts, addresses } = list;
  const entries = hosts.map((host) => ({ ...host, address: addresses.get(host.host) ?? null }));
  const text = JSON.stringify(
    { version: 1, service, url: showUrl(url), goodAtUnixMs: goodAt, hosts: entries },
    null,
    1,
  );
  await files.replace(path, new TextEncoder().encode(`${text}\n`));
}

/** Null: there is none. A text: why the one that is there cannot be used. */
export async function readLastGood(
  files: Files,
  path: string,
  service: string,
  url: string,
): Promise<LastGood | string | null> {
  let bytes: Uint8Array;
  try {
    bytes = await files.read(path, MAX_BYTES);
  } catch (thrown) {
    return thrown instanceof SystemError && thrown.code === 'ENOENT' ? null : errorText(thrown);
  }
  const value = parseJson(bytes);
  return value === undefined ? 'damaged: not JSON' : decode(value, service, url);
}

function decode(value: unknown, service: string, url: string): LastGood | string {
  if (!isObject(value) || value['version'] !== 1 || !Array.isArray(value['hosts'])) return 'damaged: not a pool list';
  const { goodAtUnixMs: goodAt } = value;
  if (value['service'] !== service) return `of another service, ${shown(value['service'])}`;
  if (value['url'] !== showUrl(url)) return `of another source, ${shown(value['url'])}`;
  if (!isWall(goodAt)) return 'damaged: no date';
  const hosts: PoolHost[] = [];
  const addresses = new Map<string, string>();
  for (const entry of arrayIn(value, 'hosts')) {
    const host = decodeHost(entry);
    if (host === null) return 'damaged: a host without name, weight or state';
    hosts.push(host);
    const address = canonicalAddress(textIn(entry, 'address'));
    if (address !== null) addresses.set(host.host, address);
  }
  return { service, url, goodAt, hosts, addresses };
}

function decodeHost(entry: unknown): PoolHost | null {
  if (!isObject(entry)) return null;
  const { host, weight, enabled } = entry;
  if (typeof host !== 'string' || host === '' || typeof enabled !== 'boolean') return null;
  if (typeof weight !== 'number' || !Number.isInteger(weight) || weight < 0) return null;
  return { host, weight, enabled };
}

function isWall(value: unknown): value is Wall {
  return typeof value === 'number' && Number.isFinite(value);
}
