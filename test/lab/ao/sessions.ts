// Two ends of a wire in the guest: one speaker of ours with files of keys, and BIRD with one protocol for each of our peers. Called
// by the cases of this folder.

import { readFileSync } from 'node:fs';
import { parseAoKeys } from '../../../src/bgp/ao-keys.ts';
import { readDrops } from '../../../src/bgp/drops.ts';
import { Speaker } from '../../../src/bgp/speaker.ts';
import type { PeerConfig } from '../../../src/config/types.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { createClock } from '../../../src/world/real/clock.ts';
import { openSocketOptions } from '../../../src/world/real/socket-options.ts';
import { createStreams } from '../../../src/world/real/streams.ts';
import type { Endpoint } from '../../../src/world/world.ts';
import { Bird } from '../../support/bird.ts';
import { Namespace } from '../../support/namespace.ts';
import { peerConfig } from '../../support/peer-config.ts';
import { newerBird } from './newer-bird.ts';

export interface Link {
  readonly name: string;
  readonly family: 4 | 6;
  readonly calls: 'we' | 'router';
  /** Our file of keys; a password; or nothing. */
  readonly ours: { readonly ao: string } | { readonly md5: string } | null;
  /** What BIRD's protocol says of it. */
  readonly theirs: string;
}

/** `algorithm` as BIRD calls it. */
export function birdKeys(
  ...keys: readonly { id: number; secret: string; algorithm?: string; more?: string }[]
): string {
  const lines = keys.map(
    ({ id, secret, algorithm = 'hmac sha1', more = '' }) =>
      `key { id ${id}; secret "${secret}"; algorithm ${algorithm}; ${more} };`,
  );
  return `authentication ao; keys { ${lines.join(' ')} };`;
}

export const birdPassword = (password: string): string => `authentication md5; password "${password}";`;

/** The guest is emulated: twice what a quick machine would do with. */
export const HOLD_SECONDS = 12;

/** Each link has a pair of addresses of its own: BIRD tells its peers apart by ours, we tell ours apart by BIRD's. */
function addresses(index: number, family: 4 | 6): { readonly ours: string; readonly theirs: string } {
  const host = index + 11;
  return family === 4
    ? { ours: `198.18.191.${host}`, theirs: `198.18.191.${host + 100}` }
    : { ours: `fd00:a0::${host}`, theirs: `fd00:a0::${host + 100}` };
}

export class Sessions {
  readonly log: LogRecord[] = [];
  /** By peer: `up`, `down` … since the beginning. */
  readonly states = new Map<string, string[]>();
  readonly speaker: Speaker;
  readonly #namespace: Namespace;
  readonly #bird: Bird;
  #links: readonly Link[];
  readonly #order: readonly string[];
  readonly #listen: readonly Endpoint[];

  private constructor(namespace: Namespace, links: readonly Link[], listen: readonly Endpoint[]) {
    this.#namespace = namespace;
    this.#links = links;
    this.#order = links.map(({ name }) => name);
    this.#listen = listen;
    this.#bird = new Bird(namespace, this.#birdConfig(), newerBird());
    const streams = createStreams(() => {
      throw new Error('BGP needs no certificates');
    }, openSocketOptions());
    this.speaker = new Speaker(
      { clock: createClock(), random: Math.random, streams, log: (record) => void this.log.push(record) },
      {
        onPeerState: (peer, { established }) => {
          const states = this.states.get(peer) ?? [];
          this.states.set(peer, [...states, established ? 'up' : 'down']);
        },
        drops: () => readDrops(readFileSync('/proc/net/netstat', 'utf8')),
      },
    );
  }

  static async start(name: string, links: readonly Link[], listenAt: readonly string[]): Promise<Sessions> {
    const all = links.map(({ family }, i) => ({ family, ...addresses(i, family) }));
    const length = (family: 4 | 6) => (family === 4 ? 24 : 64);
    const namespace = await Namespace.create(
      name,
      all.map(({ ours, family }) => `${ours}/${length(family)}`),
      all.map(({ theirs, family }) => `${theirs}/${length(family)}`),
    );
    const listen = listenAt.map((address) => ({ address, port: 179 }));
    const sessions = new Sessions(namespace, links, listen);
    await sessions.configure(links);
    return sessions;
  }

  async stop(): Promise<void> {
    await this.speaker.stop();
    await this.#bird.stop();
    await this.#namespace.destroy();
  }

  /** Ours, as a reload does it: a peer that is not in `links` is removed. Routes are announced to each. */
  async configure(links: readonly Link[]): Promise<void> {
    this.#links = links;
    const peers = links.map((link) => this.#peer(link));
    const md5 = links.flatMap(({ name, ours }) => (ours !== null && 'md5' in ours ? [[name, ours.md5] as const] : []));
    const ao = links.flatMap(({ name, ours }) =>
      ours !== null && 'ao' in ours ? [[name, parseAoKeys(ours.ao, name)] as const] : [],
    );
    await this.speaker.configure({
      routerId: '198.18.191.1',
      listen: this.#listen,
      peers,
      keys: new Map(md5),
      aoKeys: new Map(ao),
    });
    for (const { name, family } of peers.map((peer, i) => ({ name: peer.name, family: links[i]?.family ?? 4 }))) {
      const route = { nextHop: null, asPath: [], med: 0, localPref: null, communities: [] };
      this.speaker.set(name, [{ ...route, address: family === 4 ? '203.0.113.1' : '2001:db8:1::1' }]);
    }
  }

  /** Ours, of some of the links. */
  async rekey(names: readonly string[], text: string): Promise<void> {
    await this.configure(
      this.#links.map((link) => (names.includes(link.name) ? { ...link, ours: { ao: text } } : link)),
    );
  }

  /** BIRD's. */
  async rekeyBird(names: readonly string[], theirs: string): Promise<void> {
    this.#links = this.#links.map((link) => (names.includes(link.name) ? { ...link, theirs } : link));
    await this.#bird.configure(this.#birdConfig());
  }

  /** Peers of which BIRD does not say that they are up, or from which it has no route. */
  async missing(names: readonly string[]): Promise<readonly string[]> {
    const up = (text: string) => /BGP state:\s+Established/.test(text) && /Routes:\s+1 imported/.test(text);
    const looked = await Promise.all(names.map(async (name) => (up(await this.birdSays(name)) ? [] : [name])));
    return looked.flat();
  }

  /** `[1, 2]`: what BIRD sends with, and what it asks us to send with. */
  async birdKeysInUse(name: string): Promise<readonly (number | null)[]> {
    const text = await this.birdSays(name);
    return [/Current key:\s*(\d+)/i, /RNext key:\s*(\d+)/i].map((pattern) => {
      const id = pattern.exec(text)?.[1];
      return id === undefined ? null : Number(id);
    });
  }

  birdSays(name: string): Promise<string> {
    return this.#bird.ask(`show protocols all ${name}`).catch(String);
  }

  lastError(name: string): string {
    return this.speaker.status().find((peer) => peer.name === name)?.lastError ?? '';
  }

  /** What was logged of a peer at warning level or worse, from some line on. */
  complaints(name: string, from = 0): readonly string[] {
    return this.log
      .slice(from)
      .filter(({ level, data }) => (level === 'warn' || level === 'error') && data?.['peer'] === name)
      .map(({ text }) => text);
  }

  #peer({ name, family, calls, ours }: Link): PeerConfig {
    const at = addresses(this.#order.indexOf(name), family);
    return peerConfig({
      name,
      address: at.theirs,
      localAddress: at.ours,
      passive: calls === 'router',
      peerAs: 64500,
      families: [family],
      holdTimeSeconds: HOLD_SECONDS,
      connectRetrySeconds: 1,
      connectTimeoutSeconds: 3,
      password: ours !== null && 'md5' in ours ? { from: 'text', text: '(given)' } : null,
      tcpAoFile: ours !== null && 'ao' in ours ? `/etc/${name}` : null,
    });
  }

  #birdConfig(): string {
    const protocols = this.#order.map((name, i) => {
      const link = this.#links.find((each) => each.name === name);
      if (link === undefined) return '';
      const at = addresses(i, link.family);
      return `protocol bgp ${name} {
        local ${at.theirs} as 64500; neighbor ${at.ours} as 64600; strict bind on;
        hold time ${HOLD_SECONDS}; error wait time 1, 2; connect delay time 1; connect retry time 1;
        ${link.calls === 'we' ? 'passive on;' : ''}
        ${link.theirs}
        ipv${link.family} { import all; export none; };
      }`;
    });
    return `log stderr { warning, error, fatal, bug };
      router id 198.18.191.250;
      protocol device {}
      ${protocols.join('\n')}`;
  }
}
