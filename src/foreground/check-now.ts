// `anybal check-now SERVICE [SERVER]`: the checks of a service, once, by this very process, with each step and its time. The
// configuration says what to ask; whom, the running daemon if it answers, else the pool's source and DNS. Called by main.ts.

import { loadConfig } from '../config/load.ts';
import { didYouMean } from '../lib/suggest.ts';
import type { MonitorConfig, ServiceConfig } from '../config/types.ts';
import type { View } from '../control/types.ts';
import type { Fact } from '../decision/facts.ts';
import { atLeast } from '../health/combine.ts';
import type { Health, MonitorModule, Target } from '../health/monitor.ts';
import { checkOnce } from '../health/once.ts';
import { tracedWorld } from '../health/trace.ts';
import { canonicalAddress, familyOf, printEndpoint } from '../lib/address.ts';
import { Knife } from '../lib/cut.ts';
import { errorText, printComplaint } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { showUrl } from '../lib/url.ts';
import { escaped } from '../log/format.ts';
import { Pools } from '../pools/pools.ts';
import type { HttpResponse, World } from '../world/world.ts';

export interface CheckNow {
  readonly config: string;
  readonly service: string;
  readonly server: string | null;
  readonly monitor: string | null;
}

export interface CheckNowIo {
  /** One GET over a Unix socket. Rejects with a SystemError. */
  get(socket: string, path: string): Promise<HttpResponse>;
  print(text: string): void;
  printError(text: string): void;
}

export const UP = 0;
export const DOWN = 1;
const NOT_POSSIBLE = 2;
export const UNKNOWN = 3;

/** How long the pool's source and DNS may take, where no daemon answers. */
const POOL_MS = 10_000;
/** Servers that are checked at the same time. */
const AT_ONCE = 16;

interface Server {
  readonly host: string;
  readonly address: string | null;
  readonly weight: number;
}

/** `CheckNow` cannot be done as it was asked for: the message says why. */
class NotPossible extends Error {}

/** The exit code: the worst of all servers; down is worse than unknown. */
export async function checkNow(wanted: CheckNow, world: World, io: CheckNowIo): Promise<number> {
  try {
    const { config, complaints } = await loadConfig(world, wanted.config);
    if (config === null) throw new NotPossible(complaints.map(printComplaint).join('\n'));
    const names = config.services.map(({ name }) => name);
    const service = config.services.find(({ name }) => name === wanted.service);
    const broken = config.quarantined.find(({ name }) => name === wanted.service);
    const why = (broken?.complaints ?? []).filter(({ severity }) => severity !== 'warning').map(printComplaint);
    if (service === undefined)
      throw new NotPossible(
        broken === undefined
          ? `${wanted.config} has no service ${wanted.service}${didYouMean(wanted.service, names)}`
          : `[${broken.name}] can not be used, see anybal check:\n${why.join('\n')}`,
      );
    if (broken !== undefined)
      io.printError(`anybal: [${broken.name}] is checked as its last good text says:\n${why.join('\n')}\n`);
    const monitors = await monitorsOf(service, wanted.monitor, world);
    const { servers, source } = await serversOf(service, wanted.server, config.global, world, io);
    io.print(`Checked by this process, not by the daemon. ${source}\n`);
    const codes: number[] = [];
    for (let i = 0; i < servers.length; i += AT_ONCE) {
      const some = servers.slice(i, i + AT_ONCE).map((server) => checkServer(service, server, monitors, world));
      for (const { code, lines } of await Promise.all(some)) {
        codes.push(code);
        io.print(`\n${lines.map(escaped).join('\n')}\n`);
      }
    }
    return codes.includes(DOWN) ? DOWN : codes.includes(UNKNOWN) ? UNKNOWN : UP;
  } catch (error) {
    if (!(error instanceof NotPossible)) throw error;
    io.printError(`anybal: ${error.message}\n`);
    return NOT_POSSIBLE;
  }
}

interface MonitorToAsk {
  readonly module: MonitorModule;
  readonly options: Readonly<Record<string, unknown>>;
  readonly via: MonitorConfig['via'];
}

async function monitorsOf(
  { name, monitors }: ServiceConfig,
  only: string | null,
  world: World,
): Promise<readonly MonitorToAsk[]> {
  const chosen = monitors.filter(({ name }) => only === null || name.toLowerCase() === only.toLowerCase());
  if (chosen.length === 0) {
    const has =
      monitors.length === 0 ? 'no monitors: its servers count as up' : monitors.map((one) => one.name).join(', ');
    throw new NotPossible(only === null ? `[${name}] has ${has}` : `[${name}] has no monitor ${only}, but ${has}`);
  }
  return Promise.all(
    chosen.map(async (monitor) => {
      const module = await world.monitor(monitor.name).catch((error: unknown) => errorText(error));
      if (module === null || typeof module === 'string')
        throw new NotPossible(`${monitor.name} can not be loaded: ${module ?? 'its file is not there'}`);
      return { module, options: monitor.options, via: monitor.via };
    }),
  );
}

/** The servers to ask, and in words where they are from. */
async function serversOf(
  service: ServiceConfig,
  only: string | null,
  { controlSocket, stateDirectory }: { readonly controlSocket: string; readonly stateDirectory: string },
  world: World,
  io: CheckNowIo,
): Promise<{ readonly servers: readonly Server[]; readonly source: string }> {
  const known = await askDaemon(service.name, controlSocket, io);
  const listed = known ?? (await readPool(service, stateDirectory, world));
  const from =
    known === null
      ? `No daemon answers at ${controlSocket}: its servers are as ${showUrl(service.source)} says.`
      : `Its servers are as the daemon at ${controlSocket} says.`;
  if (only === null) {
    if (listed.length > 0) return { servers: listed, source: from };
    throw new NotPossible(`no server of ${service.name} is known. ${from}`);
  }
  const found = listed.filter(({ host, address }) => host === only || address === only);
  if (found.length > 0) return { servers: found, source: from };
  const address = await lookUp(only, service, world);
  if (address === null) {
    const hosts = listed.map(({ host }) => host);
    throw new NotPossible(
      `${only} is no server of ${service.name} and has no IPv${service.family} address${didYouMean(only, hosts)}`,
    );
  }
  return {
    servers: [{ host: only, address, weight: 1 }],
    source: `${only} is no server of ${service.name}: asked all the same.`,
  };
}

/** null: nobody answers, or not of this service. */
async function askDaemon(service: string, socket: string, io: CheckNowIo): Promise<readonly Server[] | null> {
  try {
    const { status, body } = await io.get(socket, '/v1/status');
    if (status !== 200) return null;
    const view = JSON.parse(new TextDecoder().decode(body)) as View;
    return view.services.find(({ name }) => name === service)?.servers ?? null;
  } catch {
    return null;
  }
}

/** As a daemon that starts would: the source, the last good list on disk if it does not answer, and DNS. Writes nothing. */
async function readPool(service: ServiceConfig, stateDirectory: string, world: World): Promise<readonly Server[]> {
  const addresses = new Map<string, string | null>();
  let hosts: (Fact & { is: 'pool' })['list']['hosts'] = [];
  let wake = (): void => {};
  const complete = new Promise<void>((resolve) => {
    wake = () => {
      if (hosts.length > 0 && hosts.every(({ host }) => addresses.has(host))) resolve();
    };
  });
  const readOnly = { ...world, files: { ...world.files, replace: () => Promise.resolve() } };
  const pools = new Pools(
    readOnly,
    (fact) => {
      if (fact.is === 'pool') hosts = fact.list.hosts;
      wake();
    },
    (_service, host, address) => {
      addresses.set(host, address);
      wake();
    },
  );
  pools.configure([service], { stateDirectory, resolveIntervalSeconds: 3600 });
  await inTime(world.clock, POOL_MS, complete);
  await pools.stop();
  return hosts.map(({ host, weight }) => ({ host, weight, address: addresses.get(host) ?? null }));
}

async function lookUp(host: string, { family }: ServiceConfig, world: World): Promise<string | null> {
  const literal = canonicalAddress(host);
  if (literal !== null) return familyOf(literal) === family ? literal : null;
  const knife = new Knife();
  const found = await inTime(world.clock, POOL_MS, world.names.resolve(host, family, knife)).catch(() => null);
  knife.abort();
  return found?.[0] ?? null;
}

async function checkServer(
  service: ServiceConfig,
  { host, address, weight }: Server,
  monitors: readonly MonitorToAsk[],
  world: World,
): Promise<{ readonly code: number; readonly lines: readonly string[] }> {
  if (address === null) return { code: UNKNOWN, lines: [`${host}: unknown, it has no address`] };
  const lines: string[] = [];
  const verdicts: Health['is'][] = [];
  const { vip, port: servicePort, protocol, realPort: port } = service;
  const target: Target = { service: service.name, host, address, port, weight, vip, servicePort, protocol };
  for (const monitor of monitors) {
    lines.push(`${host} (${printEndpoint(address, port)}), ${monitor.module.name}`);
    if (monitor.via === 'path') {
      lines.push('  via = path: only the daemon has marks that lead there, so this says nothing');
      verdicts.push('unknown');
      continue;
    }
    if (monitor.via === 'both')
      lines.push('  via = both: only the daemon has marks for the path, so up on its own address alone is unknown');
    let start: number | null = null;
    let over = false;
    const say = (text: string) => {
      start ??= world.clock.now();
      if (!over) lines.push(`${(world.clock.now() - start).toFixed(1).padStart(9)} ms  ${text}`);
    };
    const noted = {
      log: (level: string, text: string) => say(`${level.toUpperCase()}: ${text}`),
      observe: (name: string, value: number) => say(`${name} ${Number(value.toPrecision(4))}`),
    };
    const { health } = await checkOnce(monitor, target, tracedWorld(world, say), noted);
    verdicts.push(monitor.via === 'both' && health.is === 'up' ? 'unknown' : health.is);
    say(verdictText(health));
    over = true;
  }
  const needed = monitors.length === service.monitors.length ? service.monitorsNeeded : monitors.length;
  const is = atLeast(needed, verdicts);
  if (monitors.length > 1) lines.push(`${host}: ${is}, ${needed} of ${monitors.length} monitors must be up`);
  return { code: is === 'up' ? UP : is === 'down' ? DOWN : UNKNOWN, lines };
}

function verdictText(health: Health): string {
  const more =
    health.is === 'up'
      ? [
          health.detail,
          health.weight === undefined ? undefined : `weight ${health.weight}`,
          health.drain === true ? 'draining' : undefined,
        ]
      : [health.reason];
  const said = more.filter((part) => part !== undefined && part !== '');
  return `${health.is.toUpperCase()}${said.length === 0 ? '' : `: ${said.join(', ')}`}`;
}
