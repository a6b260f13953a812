// Settings of this host that make checks through the path fail. Where the VIP is on lo, an answer from it comes from an address
// of our own, and Linux drops it as a martian unless it is told otherwise; nothing of that matters to a VIP by route. Anywhere,
// a connection of somebody else from a port of a check leads IPVS astray (docs/path-checks.md). Called by the daemon at each
// start and reload.

import type { Config } from '../config/types.ts';
import { familyOf } from '../lib/address.ts';
import type { Files } from '../world/world.ts';
import type { AddressTable } from './addresses.ts';

/** One sentence for each setting that must be another. `vips` are the addresses of the host. IPv6 has no such check. */
export async function pathSettings(files: Files, config: Config, vips: AddressTable): Promise<readonly string[]> {
  return [...(await portSettings(files, config)), ...(await loSettings(files, config, vips))];
}

/** Ports that the kernel may give to any connection of this host. */
async function portSettings(files: Files, { global, services }: Config): Promise<readonly string[]> {
  const { firstPort, lastPort } = global.path;
  if (!services.some(({ monitors }) => monitors.some(({ via }) => via !== 'server'))) return [];
  const [given] = await ranges(files, 'ip_local_port_range', /\s+/);
  if (given === undefined) return [];
  const [first, last] = [Math.max(firstPort, given[0]), Math.min(lastPort, given[1])];
  const reserved = await ranges(files, 'ip_local_reserved_ports', /-/);
  if (first > last || reserved.some(([from, to]) => from <= first && last <= to)) return [];
  const what = `path-ports ${firstPort} ${lastPort}: the kernel gives ${first}-${last} to other connections too`;
  return [`${what}: add them to net.ipv4.ip_local_reserved_ports, or move net.ipv4.ip_local_port_range`];
}

async function ranges(files: Files, name: string, between: RegExp): Promise<readonly (readonly [number, number])[]> {
  try {
    const text = new TextDecoder().decode(await files.read(`/proc/sys/net/ipv4/${name}`, 65_536)).trim();
    return text.split(',').flatMap((range) => {
      const [from = Number.NaN, to = from] = range.trim().split(between).map(Number);
      return Number.isInteger(from) && Number.isInteger(to) ? [[from, to] as const] : [];
    });
  } catch {
    // Not a Linux that tells.
    return [];
  }
}

async function loSettings(files: Files, config: Config, vips: AddressTable): Promise<readonly string[]> {
  const affected = config.services.filter(
    ({ vipPresence, forward, family, monitors }) =>
      // With NAT an answer comes from the real server's address and becomes the VIP's in IPVS.
      vipPresence !== 'route' && forward !== 'nat' && family === 4 && monitors.some(({ via }) => via !== 'server'),
  );
  const source = config.global.path.sources.find((address) => familyOf(address) === 4);
  if (affected.length === 0 || source === undefined) return [];
  const where = vips.get(source)?.interface ?? null;
  if (where === null) return [`path-source ${source} is on no interface of this host`];
  const [service] = affected;
  const what = `checks of [${service?.name}] through the path get no answer from ${service?.vip}, which is on lo`;
  const instead = 'or use vip-presence = route';
  const read = (interfaceName: string, name: string) => setting(files, interfaceName, name);
  const accepts = [await read('all', 'accept_local'), await read(where, 'accept_local')];
  // The stricter of the two counts (ip-sysctl).
  const filters = [await read('all', 'rp_filter'), await read(where, 'rp_filter')].map((value) => value ?? 0);
  return [
    ...(accepts.every((value) => value === 0)
      ? [`${what}: set net.ipv4.conf.${where}.accept_local = 1, ${instead}`]
      : []),
    ...(Math.max(...filters) === 1
      ? [`${what}: set net.ipv4.conf.all.rp_filter and net.ipv4.conf.${where}.rp_filter = 2 (or 0), ${instead}`]
      : []),
  ];
}

async function setting(files: Files, interfaceName: string, name: string): Promise<number | null> {
  try {
    const text = new TextDecoder().decode(await files.read(`/proc/sys/net/ipv4/conf/${interfaceName}/${name}`, 100));
    return /^\d+\s*$/.test(text) ? Number(text) : null;
  } catch {
    // Not a Linux that tells.
    return null;
  }
}
