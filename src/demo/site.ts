// What the demo is made of, read from etc/demo.conf and etc/demo.pool as anybal will read them, in a folder of its own.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig, monitorDirectories } from '../config/load.ts';
import type { Config, PeerConfig } from '../config/types.ts';
import type { PoolHost } from '../decision/facts.ts';
import { loadMonitor } from '../health/loader.ts';
import { printComplaint } from '../lib/errors.ts';
import { parsePool } from '../pools/parse.ts';
import { createFiles } from '../world/real/files.ts';
import type { Claim } from './ports.ts';

export interface Site {
  readonly config: Config;
  readonly router: PeerConfig;
  readonly hosts: readonly PoolHost[];
  readonly serverPort: number;
  readonly poolFile: string;
  readonly poolUrl: URL;
}

const ETC = new URL('../../../etc/', import.meta.url);
/** The name of the temporary folder in etc/demo.conf. */
const FOLDER = '/run/anybal-demo';

/** Fills `folder`, and tells what is to run. Throws for a configuration that the demo can not use. */
export async function prepareSite(folder: string): Promise<Site> {
  const configFile = join(folder, 'pybal.conf');
  const poolFile = join(folder, 'pool');
  const template = await readFile(new URL('demo.conf', ETC), 'utf8');
  // A per cent sign in a value is written twice.
  await writeFile(
    configFile,
    template.replaceAll(FOLDER, () => folder.replaceAll('%', '%%')),
  );
  const poolBytes = await readFile(new URL('demo.pool', ETC));
  await writeFile(poolFile, poolBytes);

  const files = createFiles();
  const directories = await monitorDirectories({ files }, configFile);
  const monitor = (name: string) => loadMonitor(name, directories);
  const { config, complaints } = await loadConfig({ files, monitor }, configFile, { strict: true });
  if (config === null) throw new Error(complaints.map(printComplaint).join('\n'));
  const [router] = config.peers;
  const [service] = config.services;
  if (router === undefined || service === undefined) throw new Error('etc/demo.conf needs a BGP peer and a service');

  const pool = parsePool({ url: service.source, bytes: poolBytes, previous: [] });
  if (pool.is === 'refused') throw new Error(`etc/demo.pool: ${pool.reason}`);
  const poolUrl = new URL(service.source);
  return { config, router, hosts: pool.hosts, serverPort: service.realPort, poolFile, poolUrl };
}

/** Everything that is going to be listened on. */
export function claimsOf({ config, router, hosts, serverPort, poolUrl }: Site): readonly Claim[] {
  const { global, services } = config;
  return [
    ...services.map(({ name, vip, port }) => ({ what: `virtual IP of [${name}]`, address: vip, port })),
    ...hosts.map(({ host }, i) => ({ what: serverName(i), address: host, port: serverPort })),
    { what: 'web server of the pool', address: poolUrl.hostname, port: Number(poolUrl.port) },
    { what: 'router', address: router.address, port: router.port },
    ...global.bgpLocalAddresses.map((address) => ({ what: 'BGP of anybal', address, port: global.bgpLocalPort })),
    ...global.instrumentationAddresses.map((address) => ({
      what: 'instrumentation of anybal',
      address,
      port: global.instrumentationPort,
    })),
  ];
}

export function serverName(index: number): string {
  return `server ${index + 1}`;
}
