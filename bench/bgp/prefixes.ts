// The routes of `npm run bench:bgp`: distinct host routes, the same ones for every announcer.

import type { Family } from './receiver.ts';

/** The first `count` addresses of 10.0.0.0/8, or of 2001:db8::/64. */
export function addresses(family: Family, count: number): string[] {
  return Array.from({ length: count }, (_, i) =>
    family === 4
      ? `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
      : `2001:db8::${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}`,
  );
}

export function bits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}
