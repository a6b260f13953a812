// The whole lab, built once per guest and shared by every case: `const lab = await theLab()`, then `await lab.fresh()`.

import { appendFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { checkout, requireTools } from '../vm/artefacts.ts';
import { buildNetwork, directorNames, serverNames, type DirectorName, type ServerName } from './network.ts';
import { startClient, type Client } from './client.ts';
import { makeDirector, type Director, type Programs } from './director.ts';
import { servePools, type PoolFiles } from './pool.ts';
import { now } from './process.ts';
import { startRouter, type Router } from './router.ts';
import { makeServer, writeDownload, type Server } from './server.ts';

export interface Lab {
  readonly client: Client;
  readonly router: Router;
  readonly pools: PoolFiles;
  readonly programs: Programs;
  director(name: DirectorName): Director;
  server(name: ServerName): Server;
  /** Every case begins here: daemons gone, kernels empty, servers well, no pinned route. */
  fresh(): Promise<void>;
  /** A line in the lab's log, with the time. */
  note(text: string): void;
  down(): Promise<void>;
}

/** Command → Debian package, beyond what the VM itself needs. The guest sees the host's programs. */
export const labTools: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  ss: 'iproute2',
  sysctl: 'procps',
  nginx: 'nginx-light',
  bird: 'bird2',
  birdc: 'bird2',
  ipvsadm: 'ipvsadm',
  nft: 'nftables',
  curl: 'curl',
};

/** Full repetitions and long runs; without it the numbers that fit a CI run. */
export const full = process.env['LAB_FULL'] === '1';

let lab: Promise<Lab> | null = null;

export function theLab(): Promise<Lab> {
  return (lab ??= up());
}

/** Fast enough not to wait for, slow enough to outlive any restart: 20 MB in about half a minute. */
const slowBytesPerSecond = 700_000;

async function up(): Promise<Lab> {
  requireTools(labTools);
  // Namespaces, IPVS and bridges of a machine that somebody uses are not ours to touch.
  if (!existsSync('/.vm/run/guest.sh')) throw new Error('the lab only builds in its VM: npm run test:lab');
  const out = process.env['VM_OUT'] ?? '/tmp';
  mkdirSync(out, { recursive: true });
  const programs: Programs = {
    daemon: join(checkout, 'dist/src/main.js'),
    tap: join(checkout, 'dist/test/lab/topology/netlink-tap.js'),
    agent: join(checkout, 'dist/test/lab/topology/client-agent.js'),
    udpEcho: join(checkout, 'dist/test/lab/topology/udp-echo.js'),
    mtuServer: join(checkout, 'dist/test/lab/topology/mtu-server.js'),
    mtuClient: join(checkout, 'dist/test/lab/topology/mtu-client.js'),
  };
  const note = (text: string): void =>
    appendFileSync(join(out, 'lab.log'), `${new Date(now()).toISOString()} ${text}\n`);
  const started = performance.now();
  await buildNetwork();
  writeDownload();
  const servers = new Map(serverNames.map((name) => [name, makeServer(name, slowBytesPerSecond)]));
  const pools = await servePools();
  const daemonLog = (name: DirectorName) => (text: string) =>
    appendFileSync(join(out, `${name}.log`), `${new Date(now()).toISOString()} ${text}\n`);
  const [client, router, directors] = await Promise.all([
    startClient(programs.agent, join(out, 'client.jsonl')),
    startRouter(),
    Promise.all(directorNames.map((name) => makeDirector(name, programs, daemonLog(name)))),
    ...[...servers.values()].map((server) => server.startNginx()),
  ]);
  const directorByName = new Map(directors.map((director) => [director.name, director]));
  note(`topology up in ${Math.round(performance.now() - started)} ms`);
  return {
    client,
    router,
    pools,
    programs,
    note,
    director: (name) => known(directorByName.get(name), name),
    server: (name) => known(servers.get(name), name),
    async fresh() {
      await client.quiet();
      await Promise.all([
        ...directors.map((director) => director.reset()),
        ...[...servers.values()].map(async (server) => {
          await server.heal();
          await server.startNginx();
        }),
        router.unpinAll(),
      ]);
      for (const name of directorNames) await router.waitSession(name, false, 5000);
    },
    async down() {
      await Promise.all([client.close(), pools.close(), ...directors.map((director) => director.reset())]);
    },
  };
}

function known<T>(found: T | undefined, name: string): T {
  if (found === undefined) throw new Error(`the lab has no ${name}`);
  return found;
}
