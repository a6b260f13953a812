// When a section of the same name is another service. Asked by the pools and by what is learned, which must agree. Pure.

import type { ServiceConfig } from './types.ts';

/**
 * By its place in the world and by its source: whoever puts the names of two sections in each other's place must not have the
 * servers of one behind the other's VIP.
 */
export function isAnother(before: ServiceConfig, after: ServiceConfig): boolean {
  const stays = before.protocol === after.protocol && before.vip === after.vip && before.port === after.port;
  return !stays && before.source !== after.source;
}
