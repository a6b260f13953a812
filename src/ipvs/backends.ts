// Which backend forwards: one place that opens the pair of kernels (`ipvs`, `vips`) of a world. Called by whoever builds the
// real world.

import { SystemError } from '../lib/errors.ts';
import type { Log } from '../log/record.ts';
import type { AddressOp, AddressTable } from '../vip/addresses.ts';
import { loopbackVips } from '../vip/loopback.ts';
import { openNetlinkVips } from '../vip/rtnetlink.ts';
import type { Clock, Kernel, Streams } from '../world/world.ts';
import { dryRunIpvs, dryRunVips } from './dry-run.ts';
import { openNetlinkIpvs } from './netlink.ts';
import type { IpvsOp, IpvsTable, ServiceKey } from './table.ts';
import { userspaceIpvs } from './userspace.ts';

export interface Forwarding {
  readonly backend: 'netlink' | 'userspace' | 'dry-run';
  /** Why `auto` did not take netlink, or why a dry run starts from an empty table; null otherwise. */
  readonly because: SystemError | null;
  readonly ipvs: Kernel<IpvsTable, IpvsOp, ServiceKey>;
  readonly vips: Kernel<AddressTable, AddressOp, string>;
  /** Leaves the kernel's tables as they are; userspace connections end. */
  close(): Promise<void>;
}

export interface ForwardingParts {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly log: Log;
  /** Give the event loop a turn. */
  readonly breathe: () => Promise<void>;
  /** As World.self().addresses. */
  readonly hostAddresses: () => readonly string[];
}

/** `auto` is netlink where the kernel has IPVS and we may use it, else userspace. Throws SystemError for netlink only. */
export function openForwarding(wanted: 'auto' | Forwarding['backend'], parts: ForwardingParts): Forwarding {
  switch (wanted) {
    case 'netlink':
      return netlink(parts);
    case 'userspace':
      return userspace(parts, null);
    case 'auto': {
      const opened = tryNetlink(parts);
      return opened instanceof SystemError ? userspace(parts, opened) : opened;
    }
    case 'dry-run': {
      const opened = tryNetlink(parts);
      const real = opened instanceof SystemError ? null : opened;
      return {
        backend: 'dry-run',
        because: opened instanceof SystemError ? opened : null,
        ipvs: dryRunIpvs(real?.ipvs ?? null, parts.log),
        vips: dryRunVips(real?.vips ?? loopbackVips(parts.hostAddresses), parts.log),
        close: async () => real?.close(),
      };
    }
    default:
      return wanted satisfies never;
  }
}

function tryNetlink(parts: ForwardingParts): Forwarding | SystemError {
  try {
    return netlink(parts);
  } catch (error) {
    if (error instanceof SystemError) return error;
    throw error;
  }
}

function netlink({ breathe }: ForwardingParts): Forwarding {
  const ipvs = openNetlinkIpvs(breathe);
  const vips = openNetlinkVips(breathe);
  const close = async (): Promise<void> => {
    ipvs.close();
    vips.close();
  };
  return { backend: 'netlink', because: null, ipvs, vips, close };
}

function userspace(parts: ForwardingParts, because: SystemError | null): Forwarding {
  const ipvs = userspaceIpvs(parts);
  return { backend: 'userspace', because, ipvs, vips: loopbackVips(parts.hostAddresses), close: () => ipvs.close() };
}
