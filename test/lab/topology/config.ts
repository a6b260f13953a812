// Service sections as a PyBal operator writes them, and what the kernel should hold for them as `ipvsadm -Sn` prints it.

import { servers, type ServerName } from './network.ts';
import type { Pool } from './pool.ts';

export interface Section {
  readonly vip: string;
  readonly port?: number;
  /** Default wrr. */
  readonly scheduler?: string;
  /** URL of the pool. */
  readonly pool: string;
  /** Default: ProxyFetch every two seconds with a timeout of two, and IdleConnection. */
  readonly monitors?: readonly string[];
  /** More lines, `key = value` each. */
  readonly more?: readonly string[];
}

export const checkSeconds = { interval: 2, timeout: 2 } as const;

export function section(name: string, options: Section): string {
  const {
    vip,
    port = 80,
    scheduler = 'wrr',
    pool,
    monitors = [
      "monitors = [ 'ProxyFetch', 'IdleConnection' ]",
      "proxyfetch.url = [ 'http://lab/check' ]",
      `proxyfetch.interval = ${checkSeconds.interval}`,
      `proxyfetch.timeout = ${checkSeconds.timeout}`,
      'idleconnection.max-delay = 2',
    ],
    more = [],
  } = options;
  return [
    `[${name}]`,
    'protocol = tcp',
    `ip = ${vip}`,
    `port = ${port}`,
    `scheduler = ${scheduler}`,
    `config = ${pool}`,
    'depool-threshold = .5',
    ...monitors,
    ...more,
    '',
  ].join('\n');
}

export const proxyFetchOnly = [
  "monitors = [ 'ProxyFetch' ]",
  "proxyfetch.url = [ 'http://lab/check' ]",
  `proxyfetch.interval = ${checkSeconds.interval}`,
  `proxyfetch.timeout = ${checkSeconds.timeout}`,
] as const;

/**
 * For cases in which the route moves under a stream of connections. One that is half through at that moment goes on
 * through the other director, which has never seen it: with wrr that one could only reset it. mh chooses the same
 * server on both, and sloppy_tcp (set in the lab) lets it take the connection over.
 */
export const movable = { scheduler: 'mh', more: ['scheduler-flags = mh-port'] } as const;

export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Real server → weight of one service, out of `ipvsadm -Sn`; null if the table has no such service. */
export function destinationsOf(
  table: readonly string[],
  vip: string,
  port = 80,
): Readonly<Partial<Record<ServerName, number>>> | null {
  const service = `-t ${endpoint(vip, port)} `;
  if (!table.some((line) => line.startsWith(`-A ${service}`))) return null;
  const found: Partial<Record<ServerName, number>> = {};
  for (const line of table) {
    if (!line.startsWith(`-a ${service}`)) continue;
    const [, real, weight] = /-r \[?([0-9a-f.:]+?)\]?:\d+ .*-w (\d+)/.exec(line) ?? [];
    const name = serverAt(real);
    if (name === null) throw new Error(`an unknown real server: ${line}`);
    found[name] = Number(weight);
  }
  return found;
}

/** What a pool file asks for when every server is well. */
export function weightsOf(pool: Pool): Readonly<Partial<Record<ServerName, number>>> {
  const enabled = Object.entries(pool).filter(([, host]) => host.enabled !== false);
  return Object.fromEntries(enabled.map(([name, host]) => [name, host.weight ?? 10]));
}

function serverAt(address: string | undefined): ServerName | null {
  for (const server of Object.values(servers)) {
    if (server.ipv4 === address || server.ipv6 === address) return server.name as ServerName;
  }
  return null;
}
