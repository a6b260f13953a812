// `etcd://host[:port][,host[:port]…]/folder`: a pool in etcd, one key per server, by the API that has it. Called by open.ts.

import type { SourceAccess } from '../config/types.ts';
import type { Cut } from '../lib/cut.ts';
import { EtcdCluster, NoSuchApi, type EtcdWorld } from './etcd-cluster.ts';
import { EtcdV2 } from './etcd-v2.ts';
import { EtcdV3 } from './etcd-v3.ts';
import type { Source } from './source.ts';
import { WatchedSource, type Feed, type Listing, type OnChange } from './watched.ts';

/** Or why the URL is none. */
export function etcdSource(world: EtcdWorld, url: string, access: SourceAccess): Source | string {
  const cluster = EtcdCluster.of(world, url, access);
  if (typeof cluster === 'string') return cluster;
  return new WatchedSource(world, feedOf(cluster, access.etcdApi));
}

function feedOf(cluster: EtcdCluster, api: SourceAccess['etcdApi']): Feed {
  switch (api) {
    case 'v2':
      return new EtcdV2(cluster);
    case 'v3':
      return new EtcdV3(cluster);
    case 'auto':
      return new EtcdAuto(cluster);
    default:
      return api satisfies never;
  }
}

/**
 * The two APIs are two stores, even in one etcd: the pool is where something is in its folder, in v3 before v2. Once found it
 * stays there, however empty it gets.
 */
class EtcdAuto implements Feed {
  readonly #v2: EtcdV2;
  readonly #v3: EtcdV3;
  #used: Feed;
  #found = false;

  constructor(cluster: EtcdCluster) {
    this.#v2 = new EtcdV2(cluster);
    this.#v3 = new EtcdV3(cluster);
    this.#used = this.#v3;
  }

  get verifyMs(): number {
    return this.#used.verifyMs;
  }

  get rereadMs(): number {
    return this.#used.rereadMs;
  }

  async list(cut: Cut): Promise<Listing> {
    if (this.#found) return this.#used.list(cut);
    for (const feed of [this.#v3, this.#v2]) {
      this.#used = feed;
      const listing = await feed.list(cut).catch((thrown: unknown) => {
        if (thrown instanceof NoSuchApi) return null;
        throw thrown;
      });
      if (listing === null || listing.entries.size === 0) continue;
      this.#found = true;
      return listing;
    }
    throw new Error('nothing there, neither by v3 nor by v2');
  }

  watch(at: string, onChange: OnChange, cut: Cut): Promise<'on' | 'gap'> {
    return this.#used.watch(at, onChange, cut);
  }

  verify(at: string, size: number, cut: Cut): Promise<boolean> {
    return this.#used.verify(at, size, cut);
  }

  turn(): number {
    return this.#v3.turn();
  }
}
