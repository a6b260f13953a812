// The director's own condition: how late the event loop is, which kernel this is, its addresses. See Self in world.ts.

import { readFileSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { canonicalAddress } from '../../lib/address.ts';
import { Stalls } from '../../lib/stalls.ts';
import type { Self } from '../world.ts';

/** Of a stall that begins between two ticks, so much may be missed: a check that took 50 ms too long is to be told from one of ours. */
const TICK_MS = 20;
/** "Lately": the worst of this window and the one before. */
const WINDOW_TICKS = 50;
/** Less is the timers' own. */
const STALL_MS = 3;
/** Listing thousands of VIPs takes milliseconds. */
const ADDRESSES_LIFE_MS = 1_000;

export function createSelf(interfaces = networkInterfaces): { self(): Self; close(): void } {
  const kernelId = readKernelId();
  let due = performance.now() + TICK_MS;
  let ticks = 0;
  let worst = 0;
  let worstBefore = 0;
  const stalls = new Stalls();
  let addresses: readonly string[] = [];
  let addressesAt = Number.NEGATIVE_INFINITY;

  const timer = setInterval(() => {
    const now = performance.now();
    const late = now - due;
    if (late >= STALL_MS) stalls.add(now, Math.round(late));
    worst = Math.max(worst, late);
    due = now + TICK_MS;
    ticks += 1;
    if (ticks < WINDOW_TICKS) return;
    [worstBefore, worst, ticks] = [worst, 0, 0];
  }, TICK_MS);
  timer.unref();

  /** Asked for in timers, where nothing may be thrown: when the kernel cannot be asked (EMFILE …), the last known ones. */
  const currentAddresses = () => {
    const now = performance.now();
    if (now - addressesAt <= ADDRESSES_LIFE_MS) return addresses;
    addressesAt = now;
    try {
      addresses = canonicalAddresses(interfaces());
    } catch {
      // Asked again in a second.
    }
    return addresses;
  };

  const underWaySince = (at: number) => {
    const now = performance.now();
    return Math.max(0, Math.min(now - due, now - at));
  };

  const current: Self = {
    // A tick that is overdue right now counts already.
    get loopLateMs() {
      return Math.max(0, worst, worstBefore, performance.now() - due);
    },
    lateSince: (at) => stalls.longestSince(at, underWaySince(at)),
    stalledSince: (at) => stalls.sumSince(at, underWaySince(at)),
    kernelId,
    get addresses() {
      return currentAddresses();
    },
  };
  return {
    self: () => current,
    close: () => clearInterval(timer),
  };
}

/** Boot id and network namespace: IPVS tables and addresses last no longer, and reach no further, than these two. */
function readKernelId(): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return `${boot}/${statSync('/proc/self/ns/net').ino}`;
}

function canonicalAddresses(interfaces: ReturnType<typeof networkInterfaces>): readonly string[] {
  const found = Object.values(interfaces).flatMap((list) => list ?? []);
  return [...new Set(found.flatMap(({ address }) => canonicalAddress(address) ?? []))];
}
