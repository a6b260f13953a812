// The operating system's World, put together. Made once, by main.ts and the demo; the backends are loaded only when they are
// wanted, so that the userspace one runs without native code.

import { setImmediate } from 'node:timers/promises';
import { networkInterfaces } from 'node:os';
import { canonicalAddress } from '../../lib/address.ts';
import { openLibc } from '../../ffi/libc.ts';
import { errorText, SystemError } from '../../lib/errors.ts';
import type { Log } from '../../log/record.ts';
import type { MonitorModule } from '../../health/monitor.ts';
import type { HostAddress } from '../../vip/addresses.ts';
import type { World } from '../world.ts';
import { systemAuthorities } from './authorities.ts';
import { createBfd } from './bfd.ts';
import { createClock } from './clock.ts';
import { createFaultHook } from './faults.ts';
import { createFiles } from './files.ts';
import { createHttp } from './http.ts';
import { createIcmp } from './icmp.ts';
import { createNames } from './names.ts';
import { createProcesses } from './processes.ts';
import { createSelf } from './self.ts';
import type { QuickDial } from './quick-stream.ts';
import { type SocketOptions, createStreams } from './streams.ts';
import { createUdp } from './udp.ts';

export type Backend = 'netlink' | 'userspace' | 'dry-run';

export interface RealWorldSettings {
  /** `auto`: netlink; without privileges userspace where that does not work, with a warning. */
  readonly backend: Backend | 'auto';
  readonly log: Log;
  /** Whether records of the level `debug` are written; absent: they are. */
  readonly logsDebug?: boolean;
  /** Finds a monitor's module: health/loader.ts. */
  readonly loadMonitor: (name: string) => Promise<MonitorModule | null>;
  /** ANYBAL_FAULT_FILE, for the lab. */
  readonly faultFile?: string | undefined;
}

export interface RealWorld extends World {
  /** The one in use. */
  readonly backend: Backend;
  /** Gives back sockets and timers, and kills commands, these before it returns. Routes, IPVS and VIPs stay as they are. */
  close(): Promise<void>;
}

type Kernels = Pick<World, 'ipvs' | 'vips'> & { readonly backend: Backend; close(): void | Promise<void> };

/** Rejects with a SystemError when the backend that was asked for does not work here (EPERM, ENOENT without IPVS …). */
export async function createRealWorld(settings: RealWorldSettings): Promise<RealWorld> {
  const { log } = settings;
  const clock = createClock();
  const names = createNames();
  const authorities = systemAuthorities();
  const options = await socketOptions(log);
  const streams = createStreams(authorities, options);
  const self = createSelf();
  const files = createFiles();
  const processes = createProcesses();
  const bfd = createBfd(clock, log);
  const icmp = createIcmp((address) => self.self().addresses.includes(address));
  const kernels = await openKernels(settings.backend, { clock, streams, files, processes, log }).catch(
    (error: unknown) => {
      self.close();
      throw error;
    },
  );
  clearAmbient(log);
  const faults = settings.faultFile === undefined ? null : createFaultHook(settings.faultFile, log);
  return {
    clock,
    random: Math.random,
    names,
    http: createHttp(names, authorities, log),
    files,
    streams: createStreams(authorities, options, await quickDial(options, log)),
    udp: createUdp(),
    icmp,
    bfd,
    ipvs: faults?.ipvs(kernels.ipvs) ?? kernels.ipvs,
    vips: faults?.vips(kernels.vips) ?? kernels.vips,
    processes,
    monitor: settings.loadMonitor,
    self: () => self.self(),
    log,
    logsDebug: settings.logsDebug ?? true,
    backend: kernels.backend,
    async close() {
      processes.close();
      await bfd.stop();
      faults?.close();
      self.close();
      icmp.close();
      await kernels.close();
    },
  };
}

/** Where the unit gives us capabilities without root, checks that we start are not to have them. The kernel's modules are loaded. */
function clearAmbient(log: Log): void {
  try {
    openLibc().clearAmbient();
  } catch (error) {
    log({
      level: 'warn',
      system: 'pybal',
      text: `Commands inherit ambient capabilities, if there are any: ${errorText(error)}`,
    });
  }
}

async function socketOptions(log: Log): Promise<SocketOptions | null> {
  try {
    return (await import('./socket-options.ts')).openSocketOptions();
  } catch (error) {
    const text = `Keep-alive intervals and TTLs can not be set: ${errorText(error)}`;
    log({ level: 'warn', system: 'pybal', text });
    return null;
  }
}

async function quickDial(options: SocketOptions | null, log: Log): Promise<QuickDial | null> {
  if (options === null) return null;
  try {
    return (await import('./quick-stream.ts')).openQuickDial(options);
  } catch (error) {
    log({ level: 'info', system: 'pybal', text: `Checks connect by Node's own sockets: ${errorText(error)}` });
    return null;
  }
}

type Parts = Pick<World, 'clock' | 'streams' | 'files' | 'processes' | 'log'>;

/** A turn of the event loop, between two batches of a large table. */
const breathe = () => setImmediate();

async function openKernels(backend: RealWorldSettings['backend'], parts: Parts): Promise<Kernels> {
  switch (backend) {
    case 'netlink':
      return openPreparedNetlink(parts);
    case 'userspace':
      return openUserspace(parts);
    case 'dry-run':
      return openDryRun(parts);
    case 'auto':
      return openAuto({
        netlink: () => openPreparedNetlink(parts),
        userspace: () => openUserspace(parts),
        privileged: process.geteuid?.() === 0,
        log: parts.log,
      });
    default:
      return backend satisfies never;
  }
}

/**
 * Who has the privileges for IPVS and cannot have it runs a director that is broken, and wants to know: traffic must not go
 * through this process for good because a module was missing once. Asking for the family made the kernel load it, if it could.
 */
export async function openAuto<T>(how: {
  readonly netlink: () => Promise<T>;
  readonly userspace: () => Promise<T>;
  readonly privileged: boolean;
  readonly log: Log;
}): Promise<T> {
  try {
    return await how.netlink();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (how.privileged) {
      const what = 'IPVS is not to be had; load ip_vs, or set backend = userspace to try anybal without it';
      throw new SystemError(error.code, error.call, what);
    }
    const text = `No IPVS here (${error.message}): forwarding in userspace, which is NOT for production`;
    how.log({ level: 'warn', system: 'pybal', text });
    return how.userspace();
  }
}

/** Not for a dry run, which loads nothing into the kernel. */
async function openPreparedNetlink({ processes, files, log }: Parts): Promise<Kernels> {
  const kernels = await openNetlink();
  const { prepareIpvs } = await import('../../ipvs/netlink.ts');
  await prepareIpvs({ processes, files, log });
  return kernels;
}

async function openNetlink(): Promise<Kernels> {
  const { openNetlinkIpvs } = await import('../../ipvs/netlink.ts');
  const { openNetlinkVips } = await import('../../vip/rtnetlink.ts');
  const ipvs = openNetlinkIpvs(breathe);
  const vips = openNetlinkVips(breathe);
  return {
    ipvs,
    vips,
    backend: 'netlink',
    close() {
      ipvs.close();
      vips.close();
    },
  };
}

async function openUserspace({ clock, streams, log }: Parts): Promise<Kernels> {
  const { userspaceIpvs } = await import('../../ipvs/userspace.ts');
  const { loopbackVips } = await import('../../vip/loopback.ts');
  const ipvs = userspaceIpvs({ clock, streams, log });
  return { ipvs, vips: loopbackVips(hostAddresses), backend: 'userspace', close: () => ipvs.close() };
}

/** Starts from what the kernel has, if that can be read, and writes nothing. */
async function openDryRun({ log }: Parts): Promise<Kernels> {
  const { dryRunIpvs } = await import('../../ipvs/dry-run.ts');
  const { dryRunVips } = await import('../../vip/dry-run.ts');
  const real = await openNetlink().catch(() => null);
  const host = { list: async () => new Map(hostAddresses().map((each) => [each.address, each])) };
  const vips = dryRunVips(real?.vips ?? host, log);
  return { ipvs: dryRunIpvs(real?.ipvs ?? null, log), vips, backend: 'dry-run', close: () => real?.close() };
}

function hostAddresses(): readonly HostAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    (list ?? []).flatMap(({ address, cidr }) => {
      const canonical = canonicalAddress(address);
      const prefixLength = Number(cidr?.split('/')[1] ?? (address.includes(':') ? 128 : 32));
      return canonical === null ? [] : [{ address: canonical, prefixLength, interface: name, protocol: 0 }];
    }),
  );
}
