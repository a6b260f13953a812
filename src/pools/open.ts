// From the URL in `config = …` to the source behind it.

import type { ServiceConfig } from '../config/types.ts';
import type { World } from '../world/world.ts';
import { showUrl } from '../lib/url.ts';
import { dnsSource, srvSource } from './dns.ts';
import { etcdSource } from './etcd.ts';
import { fileSource } from './file.ts';
import { httpSource } from './http.ts';
import { k8sSource } from './k8s.ts';
import type { Source } from './source.ts';

/** What of a service tells where its pool is. */
export type Sourced = Pick<ServiceConfig, 'source' | 'sourceAccess' | 'family' | 'realPort'>;

/** The source behind a URL, or why there is none. */
export function openSource(
  world: Pick<World, 'clock' | 'random' | 'files' | 'http' | 'names'>,
  { source: url, sourceAccess: access, family, realPort }: Sourced,
): Source | string {
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(url)?.[1]?.toLowerCase() ?? '';
  switch (scheme) {
    case 'file':
      return fileSource(world, url);
    case 'http':
    case 'https':
      return httpSource(world, url, access);
    case 'etcd':
      return etcdSource(world, url, access);
    case 'dns':
      return dnsSource(world, url, family);
    case 'srv':
      return srvSource(world, url, realPort);
    case 'k8s':
      return k8sSource(world, url, access, family);
    default:
      return `not a pool source: ${showUrl(url)}`;
  }
}
