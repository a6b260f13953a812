// `anybal status`: asks the daemon for its View and prints it for a person, what is wrong first. Called by main.ts.

import type {
  Alarm,
  BfdView,
  CheckHistory,
  KernelView,
  PeerView,
  ServerView,
  ServiceView,
  View,
} from '../control/types.ts';
import { printEndpoint } from '../lib/address.ts';
import { errorText, SystemError } from '../lib/errors.ts';
import { escaped } from '../log/format.ts';
import type { HttpResponse } from '../world/world.ts';
import { printHistory } from './history.ts';
import { duration, table } from './table.ts';

export interface StatusOptions {
  readonly socket: string;
  readonly json: boolean;
  /** Only this one. */
  readonly server: string | null;
  readonly history: boolean;
}

export interface CommandIo {
  /** One GET over a Unix socket. Rejects with a SystemError. */
  get(socket: string, path: string): Promise<HttpResponse>;
  print(text: string): void;
  printError(text: string): void;
}

/** Nobody listens there, or whoever does is stuck. */
const NO_DAEMON: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED', 'ETIMEDOUT', 'ECONNRESET']);

/** The exit code: 0 printed, 1 failed or no such server, 3 no daemon answers. */
export async function status({ socket, json, server, history }: StatusOptions, io: CommandIo): Promise<number> {
  const ask = async (path: string): Promise<unknown> => {
    const { status: code, body } = await io.get(socket, path);
    const text = Buffer.from(body).toString('utf8');
    if (code !== 200) throw new Error(`the daemon answered ${code}: ${text.trim()}`);
    return JSON.parse(text);
  };
  const print = (value: unknown, lines: () => string) =>
    io.print(json ? `${JSON.stringify(value, null, 2)}\n` : lines());
  try {
    const view = (await ask('/v1/status')) as View;
    if (server === null) {
      print(view, () => printStatus(view));
      return 0;
    }
    const services = withServer(view, server);
    if (services.length === 0) throw new Error(`no service has a server ${server}`);
    const past = history
      ? ((await ask(`/v1/history/${encodeURIComponent(server)}`)) as readonly CheckHistory<number>[])
      : [];
    print(history ? { services, history: past } : { services }, () => printServer(services, past));
    return 0;
  } catch (error) {
    const absent = error instanceof SystemError && NO_DAEMON.has(error.code);
    io.printError(`anybal: ${absent ? 'no daemon answers: ' : ''}${errorText(error)}\n`);
    return absent ? 3 : 1;
  }
}

/** Its services, and of their servers only this one. */
function withServer({ services }: View, host: string): readonly ServiceView[] {
  return services.flatMap((service) => {
    const servers = service.servers.filter((server) => server.host === host);
    return servers.length === 0 ? [] : [{ ...service, servers }];
  });
}

function printServer(services: readonly ServiceView[], history: readonly CheckHistory<number>[]): string {
  const lines = services.flatMap(({ name, servers }) => [name, ...table(servers.map(serverRow), '  ')]);
  return `${[...lines, ...printHistory(history)].map(escaped).join('\n')}\n`;
}

export function printStatus(view: View): string {
  const sections = [
    [headline(view)],
    view.alarms.map(alarmLine),
    view.services.flatMap((service, i) => (i === 0 ? [] : ['']).concat(serviceLines(service))),
    titled('VIPs', vipRows(view)),
    titled('BGP peers', peerRows(view)),
    titled('BFD', bfdRows(view)),
    titled('Kernel', kernelRows(view.kernel)),
    view.config === null || view.config.complaints.length === 0
      ? []
      : ['Configuration', ...view.config.complaints.map((complaint) => `  ${complaint}`)],
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map(escaped).join('\n'))
    .join('\n\n')}\n`;
}

function headline({ version, uptimeSeconds, config, services, loopLateMs }: View): string {
  const file = config === null ? 'no configuration yet' : config.file;
  const late = loopLateMs > 100 ? `, event loop ${Math.round(loopLateMs)} ms late` : '';
  return `anybal ${version}, up ${duration(uptimeSeconds)}, ${services.length} services from ${file}${late}`;
}

function alarmLine({ level, text }: Alarm): string {
  return `${level.toUpperCase()}: ${text}`;
}

function titled(title: string, rows: readonly (readonly string[])[]): readonly string[] {
  return rows.length === 0 ? [] : [title, ...table(rows, '  ')];
}

function serviceLines(service: ServiceView): readonly string[] {
  const { name, protocol, vip, port, scheduler, forward, servers, up, pooled, held, floor, source } = service;
  const marks = [
    service.verified ? '' : ', kernel differs',
    service.quarantined ? ', QUARANTINED: runs on its last good text' : '',
  ].join('');
  const counts = `${servers.length} servers: ${up} up, ${pooled} pooled${held > 0 ? ` (${held} held)` : ''}, floor ${floor}`;
  const lines = [
    `${name}  ${protocol} ${printEndpoint(vip, port)} ${scheduler} ${forward}  ${counts}${marks}`,
    `  vote ${service.vote}: ${service.voteWhy}`,
  ];
  if (source !== null && source.state !== 'current') {
    lines.push(`  source ${source.state}: ${source.note ?? source.lastError ?? source.url}`);
  }
  for (const complaint of source?.complaints ?? []) lines.push(`  source: ${complaint}`);
  return [...lines, ...table(servers.map(serverRow), '  ')];
}

function serverRow(server: ServerView): readonly string[] {
  const { host, address, weight, listedWeight, status: text, held, why, monitors } = server;
  const checks = monitors
    .map(
      ({ monitor, is, forSeconds, givenUp }) =>
        `${monitor} ${givenUp ? 'GIVEN UP, ' : ''}${is} ${duration(forSeconds)}`,
    )
    .join(', ');
  const weights = weight === listedWeight ? `weight ${weight}` : `weight ${weight} of ${listedWeight}`;
  return [host, address ?? '-', weights, held ? `${text} HELD` : text, checks, why === 'up' ? '' : why];
}

function vipRows({ vips, peers, kernel }: View): readonly (readonly string[])[] {
  const heard = (to: number) =>
    kernel.backend === 'dry-run' ? 'would be announced (dry run)' : `announced to ${to} of ${peers.length} peers`;
  return vips.map(({ vip, announced, announcedTo, forSeconds, why, services }) => [
    vip,
    announced ? heard(announcedTo) : 'NOT announced',
    `for ${duration(forSeconds)}`,
    services.join(' '),
    why,
  ]);
}

function peerRows({ peers }: View): readonly (readonly string[])[] {
  return peers.map((peer) => [
    peer.name,
    `AS ${peer.localAs} to ${peer.remoteAs ?? '?'}`,
    `${peer.state} for ${duration(peer.forSeconds)}`,
    `${peer.prefixesSent} routes${peer.prefixesKeptBack === 0 ? '' : `, ${peer.prefixesKeptBack} TOO MANY`}`,
    peer.lastError ?? aboutPeer(peer),
  ]);
}

function aboutPeer({ withoutCapabilities, peerHostname, peerSoftware }: PeerView): string {
  const words = [withoutCapabilities ? 'without capabilities' : null, peerHostname, peerSoftware];
  return words.filter((word) => word !== null).join(', ');
}

function bfdRows({ bfd }: View): readonly (readonly string[])[] {
  return bfd.map(({ name, state, forSeconds, transmitMs, detectionMs, remote, diagnostic, counters, lastError }) => [
    name,
    `${state} for ${duration(forSeconds)}`,
    transmitMs === null ? 'sends nothing' : `every ${transmitMs} ms`,
    detectionMs === null ? 'never heard of' : `detects in ${detectionMs} ms`,
    `${counters.downs} downs`,
    state === 'Up' ? '' : downWhy(diagnostic, remote),
    state === 'Up' ? '' : (lastError ?? ''),
  ]);
}

/** RFC 5882 §3.2: AdminDown is somebody's wish. */
function downWhy(diagnostic: string, remote: BfdView['remote']): string {
  if (remote?.state === 'AdminDown') return 'AdminDown: taken down by the administrator of the peer';
  return `${diagnostic}; the peer says: ${remote === null ? 'nothing' : `${remote.state}, ${remote.diagnostic}`}`;
}

function kernelRows(kernel: KernelView): readonly (readonly string[])[] {
  const { backend, verifiedSecondsAgo, writes, repairs, drift, foreign, error } = kernel;
  const verified = verifiedSecondsAgo === null ? 'never verified' : `verified ${duration(verifiedSecondsAgo)} ago`;
  return [
    [`${backend}, ${verified}, ${writes} writes, ${repairs} repairs`],
    ...(error === null ? [] : [[`error: ${error}`]]),
    ...drift.map((text) => [`drift: ${text}`]),
    ...foreign.map((key) => [`foreign: ${key}`]),
  ];
}
