// The demo, `npm start`: a whole small site on loopback addresses, in one terminal, without root. Three real servers, their
// pool file over HTTP, anybal as it is (`main.ts run -c …`), and a router stand-in. Where each stands is said by
// etc/demo.conf and etc/demo.pool alone. Whatever ends the demo, no process and no file of it stays.

import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { errorText } from '../lib/errors.ts';
import { Child } from './child.ts';
import { guide } from './guide.ts';
import { servePool } from './pool-server.ts';
import { firstTaken } from './ports.ts';
import { startRouter } from './router.ts';
import { createScreen } from './screen.ts';
import { claimsOf, prepareSite, serverName } from './site.ts';

const ANYBAL = new URL('../anybal.js', import.meta.url);
const SERVER = new URL('./server.js', import.meta.url);
/** The guide is shown when the router has all routes and the log has calmed down, and at the latest after this time. */
const GUIDE = { calmMs: 1_000, latestMs: 10_000 } as const;

const screen = createScreen(process.stdout, process.env);
const children: Child[] = [];
let folder: string | null = null;
let obey = (_line: string): void => {};

// The last net, for every way in which a process can end but SIGKILL.
process.on('exit', () => {
  for (const child of children) child.kill();
  if (folder !== null) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
});

const ending = new Promise<string>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  // Whoever read our output is gone.
  process.stdout.on('error', () => resolve('nobody reads'));
  process.stdin.on('error', () => {});
  createInterface({ input: process.stdin }).on('line', (line) => {
    if (/^\s*(quit|exit)\s*$/.test(line)) resolve('quit');
    else obey(line.trim());
  });
});

try {
  await demo();
  process.exit(0);
} catch (error) {
  process.stderr.write(`anybal demo: ${errorText(error)}\n`);
  process.exit(1);
}

/** Everything is started in the order in which it is needed, and ended in the opposite one. */
async function demo(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'anybal-demo-'));
  const site = await prepareSite(folder);
  const taken = await firstTaken(claimsOf(site));
  if (taken !== null) throw new Error(taken);

  const { config, hosts, serverPort, poolFile, poolUrl } = site;
  const servers = hosts.map(({ host }, i) => {
    const name = serverName(i);
    return new Child(name, SERVER, [name, host, String(serverPort)], screen);
  });
  const anybal = new Child('anybal', ANYBAL, ['run', '-c', config.file], screen);
  children.push(...servers, anybal);

  const pool = await servePool({ address: poolUrl.hostname, port: Number(poolUrl.port) }, poolUrl.pathname, poolFile);
  const router = await startRouter(site.router, new Set(config.services.map(({ vip }) => vip)).size, screen);
  await Promise.all(servers.map((server) => server.start()));
  void anybal.start();

  const command = `node ${relative(process.cwd(), fileURLToPath(ANYBAL))}`;
  const help = (): void => screen.show(guide({ site, servers, anybal, command }));
  obey = (line) => act(line, help);
  const calm = router.filled.then(() => sleep(GUIDE.calmMs));
  const ended = await Promise.race([calm, sleep(GUIDE.latestMs), ending]);
  if (ended === undefined) help();
  const why = await ending;

  screen.say('demo', `Ending (${why})`);
  obey = () => {};
  await anybal.stop();
  await Promise.all(servers.map((server) => server.stop()));
  await router.stop();
  pool.close();
}

/** One line of standard input. */
function act(line: string, help: () => void): void {
  const [, verb, name] = /^(start|stop)\s+(?:server\s+)?(\w+)$/.exec(line) ?? [];
  const child = children.find((each) => each.name === name || each.name === `server ${name}`);
  if (child === undefined) {
    if (line !== '') help();
    return;
  }
  if ((verb === 'start') === (child.pid !== null)) {
    screen.say('demo', child.pid === null ? `${child.name} does not run` : `${child.name} runs, pid ${child.pid}`);
    return;
  }
  void (verb === 'start' ? child.start() : child.stop());
}
