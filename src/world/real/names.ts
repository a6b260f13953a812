// Name resolution: the hosts file first, then DNS through c-ares, for hosts with the search list of resolv.conf(5), which c-ares
// leaves to us. Never getaddrinfo(3), whose calls occupy the threads that file operations need and can not be cancelled. See
// Names in world.ts.

import { readFile, stat } from 'node:fs/promises';
import { Resolver } from 'node:dns/promises';
import { type Family, canonicalAddress, familyOf } from '../../lib/address.ts';
import type { Cut } from '../../lib/cut.ts';
import { SystemError } from '../../lib/errors.ts';
import type { Names, ServiceRecord } from '../world.ts';

export interface NamesSettings {
  /** First try of each name server; c-ares doubles it for later ones. */
  readonly timeoutMs: number;
  readonly tries: number;
  /** Queries under way at once; more wait for their turn. */
  readonly concurrency: number;
  readonly hostsFile: string;
  /** resolv.conf(5), for its search list. */
  readonly resolvFile: string;
  /** `address[:port]` of name servers instead of those in resolv.conf. */
  readonly servers?: readonly string[];
}

export const NAMES_DEFAULTS: NamesSettings = {
  timeoutMs: 2000,
  tries: 3,
  concurrency: 64,
  hostsFile: '/etc/hosts',
  resolvFile: '/etc/resolv.conf',
};

const MAX_ADDRESSES = 1024;
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** resolv.conf(5) */
const MAX_DOMAINS = 6;
const MAX_NDOTS = 15;

/** What c-ares says, as the codes that Names promises. */
const CODES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'ENOTFOUND',
  ENODATA: 'ENOTFOUND',
  EBADNAME: 'ENOTFOUND',
  ETIMEOUT: 'ETIMEOUT',
  ECANCELLED: 'ECANCELED',
};

export function createNames(settings: NamesSettings = NAMES_DEFAULTS): Names {
  const hosts = fileReader(settings.hostsFile, parseHosts);
  const search = fileReader(settings.resolvFile, parseSearch);
  const turn = limiter(settings.concurrency);

  async function resolve(host: string, family: Family, cut: Cut): Promise<readonly string[]> {
    const call = `resolve ${host}`;
    const literal = canonicalAddress(host);
    if (literal !== null) {
      if (familyOf(literal) === family) return [literal];
      throw new SystemError('ENOTFOUND', call, `not an IPv${family} address`);
    }
    const name = checked(host, call);
    const listed = (await hosts()).get(name);
    const known = listed?.filter((address) => familyOf(address) === family) ?? [];
    const names = listed !== undefined || host.endsWith('.') ? [name] : fullNames(name, await search());
    if (cut.aborted) throw new SystemError('ECANCELED', call);
    if (known.length > 0) return known;
    for (const [index, full] of names.entries()) {
      const addresses = await addressesOf(full, family, call, cut);
      if (addresses.length > 0) return addresses;
      // It is this host, then, and the next one is another, of which we would go to one by IPv4 and to the other by IPv6.
      const isLast = index === names.length - 1;
      if (!isLast && (await addressesOf(full, family === 4 ? 6 : 4, call, cut)).length > 0) break;
    }
    throw new SystemError('ENOTFOUND', call);
  }

  /** None: there is no such name, or it has none. */
  async function addressesOf(name: string, family: Family, call: string, cut: Cut): Promise<readonly string[]> {
    try {
      const found = await ask(cut, call, (resolver) =>
        family === 4 ? resolver.resolve4(name) : resolver.resolve6(name),
      );
      const addresses = found.slice(0, MAX_ADDRESSES).flatMap((address) => canonicalAddress(address) ?? []);
      return [...new Set(addresses)];
    } catch (thrown) {
      if (thrown instanceof SystemError && thrown.code === 'ENOTFOUND') return [];
      throw thrown;
    }
  }

  async function resolveService(service: string, cut: Cut): Promise<readonly ServiceRecord[]> {
    const call = `resolve SRV ${service}`;
    const name = checked(service, call);
    const found = await ask(cut, call, (resolver) => resolver.resolveSrv(name));
    if (found.length === 0) throw new SystemError('ENOTFOUND', call);
    const records = found.slice(0, MAX_ADDRESSES);
    return records.map(({ priority, weight, port, name: target }) => ({ priority, weight, port, target }));
  }

  /** One question, with a Resolver of its own: that is what c-ares can cancel, and it reads resolv.conf afresh. */
  async function ask<T>(cut: Cut, call: string, question: (resolver: Resolver) => Promise<T>): Promise<T> {
    const done = await turn(cut);
    if (done === null) throw new SystemError('ECANCELED', call);
    const resolver = new Resolver({ timeout: settings.timeoutMs, tries: settings.tries });
    if (settings.servers !== undefined) resolver.setServers(settings.servers);
    const release = cut.onAbort(() => resolver.cancel());
    try {
      return await question(resolver);
    } catch (error) {
      if (cut.aborted) throw new SystemError('ECANCELED', call);
      const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
      throw new SystemError(CODES[code] ?? 'EAI_AGAIN', call, CODES[code] === undefined ? code : '');
    } finally {
      release();
      done();
    }
  }

  return { resolve, resolveService };
}

/** As it is asked for. */
function checked(host: string, call: string): string {
  const name = host.replace(/\.$/, '').toLowerCase();
  if (NAME.test(name)) return name;
  throw new SystemError('ENOTFOUND', call, 'not a host name');
}

const NAME = /^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$/;

/** A small file, read again when it changed. Unreadable or too long: as if empty. */
function fileReader<T>(path: string, parse: (text: string) => T): () => Promise<T> {
  let stamp = '';
  let content = parse('');
  return async () => {
    try {
      const { ino, mtimeMs, ctimeMs, size } = await stat(path);
      const now = `${ino} ${mtimeMs} ${ctimeMs} ${size}`;
      if (now !== stamp) {
        content = parse(size > MAX_FILE_BYTES ? '' : await readFile(path, 'utf8'));
        stamp = now;
      }
    } catch {
      stamp = '';
      content = parse('');
    }
    return content;
  };
}

/** Of resolv.conf(5). */
export interface Search {
  /** Without dots around; the root is empty. */
  readonly domains: readonly string[];
  /** With so many dots a name is whole. */
  readonly ndots: number;
}

/** The last `search` or `domain` counts. Lines that are neither, or begin with a blank, are skipped, as the C library does. */
export function parseSearch(text: string): Search {
  let domains: readonly string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword = '', ...words] = line.trimEnd().split(/\s+/);
    if (keyword === 'search' && words.length > 0) domains = words.slice(0, MAX_DOMAINS);
    else if (keyword === 'domain' && words.length > 0) domains = words.slice(0, 1);
    else if (keyword === 'options') {
      const found = words.flatMap((word) => /^ndots:(\d{1,9})$/.exec(word)?.[1] ?? []).at(-1);
      if (found !== undefined) ndots = Math.min(MAX_NDOTS, Number(found));
    }
  }
  return { domains: domains.map((domain) => domain.toLowerCase().replace(/^\.+|\.+$/g, '')), ndots };
}

/**
 * What a name that need not be whole may stand for, in the order in which it is asked for. Unlike the C library, nobody searches
 * for a name that has its dots: a server whose record was deleted would be wherever a wildcard of a search domain points to.
 */
export function fullNames(name: string, { domains, ndots }: Search): readonly string[] {
  if (name.split('.').length - 1 >= ndots) return [name];
  const searched = domains.map((domain) => (domain === '' ? name : `${name}.${domain}`));
  return [...new Set([...searched, name])].filter((full) => NAME.test(full));
}

/** hosts(5): `address name alias… # comment`. Lines that are not that are skipped, as the C library does. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const table = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const literal = canonicalAddress(address);
    if (literal === null) continue;
    for (const name of names.map((each) => each.toLowerCase())) {
      const addresses = table.get(name) ?? [];
      if (!addresses.includes(literal) && addresses.length < MAX_ADDRESSES) addresses.push(literal);
      table.set(name, addresses);
    }
  }
  return table;
}

/** At most `limit` turns at once, in order of asking. Null: cut while waiting. Call what it answers when done. */
function limiter(limit: number): (cut: Cut) => Promise<(() => void) | null> {
  let active = 0;
  const waiting = new Set<() => void>();
  const done = () => {
    active -= 1;
    for (const next of waiting) {
      next();
      return;
    }
  };
  return (cut) => {
    if (cut.aborted) return Promise.resolve(null);
    if (active < limit) {
      active += 1;
      return Promise.resolve(done);
    }
    return new Promise((resolve) => {
      const go = () => {
        waiting.delete(go);
        release();
        active += 1;
        resolve(done);
      };
      waiting.add(go);
      const release = cut.onAbort(() => {
        waiting.delete(go);
        resolve(null);
      });
    });
  };
}
