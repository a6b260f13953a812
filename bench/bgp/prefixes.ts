// The routes of `npm run bench:bgp`: distinct host routes, the same ones for every announcer.

import type { Family } from './receiver.ts';

/** The first `count` addresses of 10.0.0.0/8, or of 2001:db8::1:0/96. Canonical, and flat texts as configuration has them. */
export function addresses(family: Family, count: number): string[] {
  const hex = (n: number) => n.toString(16);
  return Array.from({ length: count }, (_, i) =>
    family === 4
      ? [10, i >> 16, (i >> 8) & 255, i & 255].join('.')
      : ['2001:db8::', hex(1 + (i >> 16)), ':', hex(i & 0xffff)].join(''),
  );
}

export function bits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}
