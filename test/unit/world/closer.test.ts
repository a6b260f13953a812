import { expect } from 'chai';
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { openTcpCalls } from '../../../src/ffi/tcp-calls.ts';
import { Closer } from '../../../src/world/real/closer.ts';

const AT_ONCE = 1024;
const LATER_MS = 5;
/** In ascending order. */
const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

/** Descriptors that do not exist, and what is said about them to the kernel. */
function scripted({ room = 10_000, hasRange = true } = {}) {
  const closed: number[] = [];
  const ranges: { first: number; last: number; onDone: (closed: boolean) => void }[] = [];
  const calls = {
    close: (fd: number) => void closed.push(fd),
    closeRange(first: number, last: number, onDone: (closed: boolean) => void) {
      if (hasRange) ranges.push({ first, last, onDone });
      return hasRange;
    },
  };
  return { closer: new Closer(calls, () => room, LATER_MS), closed, ranges };
}

/** Nobody else opens this file: the number may be in use again already. */
function isOpen(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === import.meta.filename;
  } catch {
    return false;
  }
}

describe('A closer', () => {
  it('closes at once as long as there are few in a turn', async () => {
    const { closer, closed, ranges } = scripted();
    for (let round = 0; round < 3; round++) {
      for (const fd of numbers(2000 * round, AT_ONCE)) closer.close(fd);
      expect(closed).to.have.length(AT_ONCE * (round + 1));
      await turn();
    }
    expect(ranges).to.deep.equal([]);
  });

  it('leaves neighbours to another thread when there are many, a little later', async () => {
    const { closer, closed, ranges } = scripted();
    for (const fd of numbers(0, AT_ONCE)) closer.close(fd);
    for (const fd of numbers(5000, 300).reverse()) closer.close(fd);
    expect(ranges).to.deep.equal([]);
    await sleep(20 * LATER_MS);
    expect(closed).to.deep.equal(numbers(0, AT_ONCE));
    const handed = ranges.flatMap(({ first, last }) => numbers(first, last - first + 1));
    expect(handed.sort((a, b) => a - b)).to.deep.equal(numbers(5000, 300));
    expect(ranges.length).to.be.below(10);
  });

  it('leaves alone what lies between them', async () => {
    const { closer, closed, ranges } = scripted();
    for (const fd of numbers(0, AT_ONCE)) closer.close(fd);
    const given = numbers(5000, 100).filter((fd) => fd !== 5040 && fd !== 5042);
    for (const fd of given) closer.close(fd);
    await sleep(20 * LATER_MS);
    expect(ranges.map(({ first, last }) => [first, last])).to.deep.equal([
      [5000, 5039],
      [5043, 5099],
    ]);
    expect(closed.slice(AT_ONCE)).to.deep.equal([5041]);
  });

  it('lets no more wait than there is room for', async () => {
    const { closer, closed, ranges } = scripted({ room: 100 });
    for (const fd of numbers(0, AT_ONCE + 500)) closer.close(fd);
    expect(closed).to.have.length(AT_ONCE + 400);
    // They wait no longer: there would be room again if they were closed.
    expect(ranges.map(({ first, last }) => [first, last])).to.deep.equal([[AT_ONCE, AT_ONCE + 99]]);
    // Handed over, they still wait.
    for (const fd of numbers(3000, 1000)) closer.close(fd);
    expect(closed).to.have.length(AT_ONCE + 1400);
    ranges[0]?.onDone(true);
    for (const fd of numbers(5000, 1000)) closer.close(fd);
    expect(closed).to.have.length(AT_ONCE + 2300);
  });

  it('closes by itself where the kernel can not close a range', async () => {
    const { closer, closed } = scripted({ hasRange: false });
    for (const fd of numbers(0, 2000)) closer.close(fd);
    await sleep(20 * LATER_MS);
    expect(closed.sort((a, b) => a - b)).to.deep.equal(numbers(0, 2000));
  });

  it('closes by itself what another thread could not close', async () => {
    const { closer, closed, ranges } = scripted();
    for (const fd of numbers(0, AT_ONCE + 100)) closer.close(fd);
    await sleep(20 * LATER_MS);
    expect(closed).to.have.length(AT_ONCE);
    for (const { onDone } of ranges) onDone(false);
    expect(closed).to.deep.equal(numbers(0, AT_ONCE + 100));
  });

  it('closes what the kernel has, and nothing else', async () => {
    const closer = new Closer(openTcpCalls(), () => 10_000);
    const opened = numbers(0, 1500).map(() => openSync(import.meta.filename, 'r'));
    const kept = opened.filter((_, i) => i % 200 === 150);
    for (const fd of opened) if (!kept.includes(fd)) closer.close(fd);
    for (let waits = 0; opened.filter(isOpen).length > kept.length && waits < 500; waits++) await sleep(10);
    expect(opened.filter(isOpen)).to.deep.equal(kept);
    for (const fd of kept) closeSync(fd);
  });
});
