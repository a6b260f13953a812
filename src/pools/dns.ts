// `dns://name` and `srv://_service._proto.name`: a pool in DNS. Asked every few seconds: the resolver's cache decides by the
// records' TTL what is asked any further. No answer, or that there is nothing, never empties a pool. Called by open.ts.

import type { Family } from '../lib/address.ts';
import type { Cut } from '../lib/cut.ts';
import { errorText } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { nameInUrl } from '../lib/pool-url.ts';
import type { ServiceRecord, World } from '../world/world.ts';
import type { Entry } from './parse.ts';
import { unusable } from './resolve.ts';
import { backOffMs, type Answer, type Source } from './source.ts';

type DnsWorld = Pick<World, 'clock' | 'names'>;

const ASK_MS = 5000;
const TIMEOUT_MS = 10_000;
/** Of an address, which has none. */
const WEIGHT = 10;

/** The addresses of a name, of the family of the service. Or why the URL is none. */
export function dnsSource(world: DnsWorld, url: string, family: Family): Source | string {
  const name = nameInUrl(url);
  if (name === null) return 'not dns://name';
  return new DnsSource(world, async (cut) => {
    const addresses = await world.names.resolve(name, family, cut);
    return addresses.map((host): Entry => {
      // 0.0.0.0 is what filters say of names that they hide.
      const reason = unusable(host, family);
      if (reason !== null) return { is: 'bad', host, reason };
      return { is: 'server', host, weight: WEIGHT, enabled: true };
    });
  });
}

/** The targets of a name's SRV records. `port`: of the real servers. Or why the URL is none. */
export function srvSource(world: DnsWorld, url: string, port: number): Source | string {
  const name = nameInUrl(url);
  if (name === null) return 'not srv://_service._proto.name';
  return new DnsSource(world, async (cut) => targetsOf(await world.names.resolveService(name, cut), port));
}

/**
 * RFC 2782: only the targets of the lowest priority are to be used while one of them answers. Weight 0 there is "hardly ever",
 * and no traffic at all in IPVS, so it is 1. IPVS forwards to one port.
 */
export function targetsOf(records: readonly ServiceRecord[], port: number): readonly Entry[] {
  if (records.every(({ target }) => target === '' || target === '.'))
    throw new Error('no such service, say its records');
  const best = Math.min(...records.map(({ priority }) => priority));
  const entries = new Map<string, Entry>();
  for (const record of records.filter(({ priority }) => priority === best)) {
    const host = record.target.replace(/\.$/, '').toLowerCase();
    if (record.port === port)
      entries.set(host, { is: 'server', host, weight: Math.max(1, record.weight), enabled: true });
    else if (!entries.has(host))
      entries.set(host, { is: 'bad', host, reason: `port ${record.port}, where the service has ${port}` });
  }
  return [...entries.values()];
}

class DnsSource implements Source {
  readonly #world: DnsWorld;
  readonly #ask: (cut: Cut) => Promise<readonly Entry[]>;
  #told = '';

  constructor(world: DnsWorld, ask: (cut: Cut) => Promise<readonly Entry[]>) {
    this.#world = world;
    this.#ask = ask;
  }

  async ask(_afresh: boolean, cut: Cut): Promise<Answer> {
    try {
      const found = await inTime(this.#world.clock, TIMEOUT_MS, this.#ask(cut), cut);
      if (found === null)
        return { is: 'failed', reason: cut.aborted ? 'canceled' : `no answer in ${TIMEOUT_MS / 1000} s` };
      if (found.length === 0) return { is: 'failed', reason: 'an answer with nothing in it' };
      // Servers hand out records in any order.
      const entries = found
        .map((entry) => [JSON.stringify(entry), entry] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const told = entries.map(([text]) => text).join();
      if (told === this.#told) return { is: 'unchanged' };
      this.#told = told;
      return { is: 'entries', entries: entries.map(([, entry]) => entry) };
    } catch (thrown) {
      return { is: 'failed', reason: errorText(thrown) };
    }
  }

  delayMs(failures: number, random: number): number {
    return failures === 0 ? ASK_MS * (0.8 + random / 5) : backOffMs(failures, random);
  }
}
