// `etcd://host[:port][,host[:port]…]/folder`: a pool in etcd, one key per server. Called by open.ts.

import type { SourceAccess } from '../config/types.ts';
import { EtcdCluster, type EtcdWorld } from './etcd-cluster.ts';
import { EtcdV3 } from './etcd-v3.ts';
import type { Source } from './source.ts';
import { WatchedSource } from './watched.ts';

/** Or why the URL is none. */
export function etcdSource(world: EtcdWorld, url: string, access: SourceAccess): Source | string {
  const cluster = EtcdCluster.of(world, url, access);
  if (typeof cluster === 'string') return cluster;
  return new WatchedSource(world, new EtcdV3(cluster));
}
