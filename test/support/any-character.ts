// Any character there is, of which a third is ASCII: a unit for strings of fast-check. Its own, 'binary', takes more than half a
// second to make its tables, in each process that runs tests.

import fc from 'fast-check';

/** All code points but halves of surrogate pairs. */
export const ANY_CHARACTER = fc
  .oneof(
    fc.integer({ min: 0, max: 0x7f }),
    fc.integer({ min: 0x80, max: 0xd7ff }),
    fc.integer({ min: 0xe000, max: 0x10ffff }),
  )
  .map((point) => String.fromCodePoint(point));
