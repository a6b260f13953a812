// From the URL in `config = …` to the source behind it.

import type { World } from '../world/world.ts';
import { fileSource } from './file.ts';
import { httpSource } from './http.ts';
import { showUrl, type Source } from './source.ts';

/** The source behind a URL, or why there is none. */
export function openSource(world: Pick<World, 'clock' | 'files' | 'http'>, url: string): Source | string {
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(url)?.[1]?.toLowerCase() ?? '';
  switch (scheme) {
    case 'file':
      return fileSource(world, url);
    case 'http':
    case 'https':
      return httpSource(world, url);
    case 'etcd':
    case 'k8s':
      return `source not available in this version: ${scheme}://`;
    default:
      return `not a pool source: ${showUrl(url)}`;
  }
}
