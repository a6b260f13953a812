// The director's own condition: how late the event loop is, which kernel this is, its addresses. See Self in world.ts.

import { readFileSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { canonicalAddress } from '../../lib/address.ts';
import type { Self } from '../world.ts';

const TICK_MS = 100;
/** "Lately": the worst of this window and the one before. */
const WINDOW_TICKS = 10;
/** Listing thousands of VIPs takes milliseconds. */
const ADDRESSES_LIFE_MS = 1_000;

export function createSelf(interfaces = networkInterfaces): { self(): Self; close(): void } {
  const kernelId = readKernelId();
  let due = performance.now() + TICK_MS;
  let ticks = 0;
  let worst = 0;
  let worstBefore = 0;
  let addresses: readonly string[] = [];
  let addressesAt = Number.NEGATIVE_INFINITY;

  const timer = setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - due);
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

  const current: Self = {
    // A tick that is overdue right now counts already.
    get loopLateMs() {
      return Math.max(0, worst, worstBefore, performance.now() - due);
    },
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
