// Makes the View: everything that is shown, out of facts, decision and the status of each organ. Pure. Called by the daemon
// whenever somebody looks.

import type { Config, ServiceConfig } from '../config/types.ts';
import type { Decision, ServerVerdict, ServiceVerdict } from '../decision/decision.ts';
import type { KernelFacts } from '../decision/facts.ts';
import { printComplaint } from '../lib/errors.ts';
import type { Mono, Wall } from '../world/world.ts';
import { alarmsOf } from './alarms.ts';
import type {
  CheckHistory,
  CheckInput,
  ConfigView,
  KernelView,
  MonitorView,
  PeerInput,
  PeerView,
  ReconcilerInput,
  ServerView,
  ServiceView,
  View,
  ViewInputs,
  VipView,
} from './types.ts';

export function makeView(inputs: ViewInputs): View {
  const { facts, decision, now } = inputs;
  const config = decision?.config ?? facts.config;
  const checks = groupChecks(inputs.checks);
  const quarantined = new Set((config?.quarantined ?? []).map(({ name }) => name));
  const services = (config?.services ?? []).map((service) =>
    serviceView(service, decision?.services.get(service.name), quarantined.has(service.name), checks, inputs),
  );
  const view: Omit<View, 'alarms'> = {
    version: inputs.version,
    at: inputs.wall,
    uptimeSeconds: seconds(inputs.startedAt, now),
    loopLateMs: inputs.loopLateMs,
    checkLateness: inputs.checkLateness,
    logLinesDropped: inputs.logLinesDropped,
    stateError: inputs.stateError,
    notServed: inputs.notServed,
    monitorBugs: inputs.monitorBugs.map(({ lastAt, ...bug }) => ({ ...bug, secondsAgo: seconds(lastAt, now) })),
    bgp: config?.global.bgp ?? false,
    config: config === null ? null : configView(config, inputs),
    services,
    vips: decision === null ? [] : vipViews(decision, inputs.peers, now),
    peers: inputs.peers.map((peer) => peerView(peer, now)),
    bfd: inputs.bfd.map(({ since, ...rest }) => ({ ...rest, forSeconds: seconds(since, now) })),
    kernel: kernelView(facts.kernel, inputs.reconciler, now),
  };
  const reconcileLimitSeconds = config?.global.reconcileLimitSeconds ?? 10;
  const graces = (config?.services ?? []).map(({ startGraceSeconds }) => startGraceSeconds);
  return { ...view, alarms: alarmsOf(view, { reconcileLimitSeconds, startSeconds: Math.max(10, ...graces) }) };
}

/** The same with the times of the calendar. */
export function historyView(history: CheckHistory<Mono>, now: Mono, wall: Wall): CheckHistory<number> {
  const dated = <T extends { readonly at: Mono }>(one: T) => ({ ...one, at: Math.round(wall - (now - one.at)) });
  return { ...history, results: history.results.map(dated), transitions: history.transitions.map(dated) };
}

/** PyBal's `enabled/partially up/not pooled`, which scripts and log watchers match. */
export function statusText(server: Pick<ServerVerdict, 'enabled' | 'stands' | 'partial' | 'pooled'>): string {
  const health = isUp(server) ? 'up' : server.partial ? 'partially up' : 'down';
  return `${server.enabled ? 'enabled' : 'disabled'}/${health}/${server.pooled ? 'pooled' : 'not pooled'}`;
}

/** Found in the kernel and not checked yet counts as up, as PyBal counts every server until its first result. */
function isUp({ stands }: Pick<ServerVerdict, 'stands'>): boolean {
  return stands === 'up' || stands === 'adopted';
}

function seconds(since: Mono, now: Mono): number {
  return Math.max(0, Math.round((now - since) / 1000));
}

type Checks = ReadonlyMap<string, readonly CheckInput[]>;

function groupChecks(checks: readonly CheckInput[]): Checks {
  const groups = new Map<string, CheckInput[]>();
  for (const check of checks) {
    if (check.candidate) continue;
    const key = `${check.service} ${check.host}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [check]);
    else group.push(check);
  }
  return groups;
}

function serviceView(
  config: ServiceConfig,
  verdict: ServiceVerdict | undefined,
  quarantined: boolean,
  checks: Checks,
  inputs: ViewInputs,
): ServiceView {
  const servers = (verdict?.servers ?? []).map((server) =>
    serverView(server, checks.get(`${config.name} ${server.host}`) ?? [], inputs.now),
  );
  const count = (is: (server: ServerView) => boolean) => servers.filter(is).length;
  return {
    name: config.name,
    protocol: config.protocol,
    vip: config.vip,
    port: config.port,
    scheduler: config.scheduler,
    forward: config.forward,
    depoolThreshold: config.depoolThreshold,
    servers,
    enabled: count(({ enabled }) => enabled),
    up: count(({ up }) => up),
    pooled: count(({ pooled }) => pooled),
    held: count(({ held }) => held),
    floor: verdict?.floor ?? 0,
    floorMet: verdict?.floorMet ?? true,
    canDepool: verdict?.canDepool ?? false,
    tooSmall: servers.length > 1 && servers.length < servers.length * config.depoolThreshold + 1,
    couldNotDepool: inputs.couldNotDepool.get(config.name) ?? 0,
    vote: verdict?.vote.is ?? 'no',
    voteCause: verdict?.vote.cause.code ?? 'undecided',
    voteWhy: verdict?.vote.cause.text ?? 'not decided yet',
    verified:
      verdict !== undefined && verdict.desired !== null && verdict.verifiedOnce && verdict.differsSince === null,
    quarantined,
    watched: config.monitors.length > 0,
    unwatched: config.unwatched,
    source: inputs.sources.get(config.name) ?? null,
  };
}

function serverView(verdict: ServerVerdict, checks: readonly CheckInput[], now: Mono): ServerView {
  const { host, address, weight, listedWeight, enabled, pooled, held, cause } = verdict;
  return {
    host,
    address,
    weight,
    listedWeight,
    enabled,
    up: isUp(verdict),
    pooled,
    held,
    status: statusText(verdict),
    cause: cause.code,
    why: cause.text,
    monitors: checks.map((check) => monitorView(check, now)),
  };
}

function monitorView(check: CheckInput, now: Mono): MonitorView {
  const { monitor, is, since, last, lastLatencyMs, givenUp, results, transitions, observations } = check;
  const forSeconds = seconds(since, now);
  return { monitor, is, forSeconds, last, latencyMs: lastLatencyMs, givenUp, results, transitions, observations };
}

function vipViews(decision: Decision, peers: readonly PeerInput[], now: Mono): readonly VipView[] {
  const hearing = new Map<string, number>();
  for (const peer of peers) for (const vip of peer.sent()) hearing.set(vip, (hearing.get(vip) ?? 0) + 1);
  return [...decision.vips.values()].map(({ vip, announced, everAnnounced, cause, services, since }) => ({
    vip,
    announced,
    everAnnounced,
    announcedTo: announced ? (hearing.get(vip) ?? 0) : 0,
    cause: cause.code,
    why: cause.text,
    services,
    forSeconds: seconds(since, now),
  }));
}

function peerView({ since, ...peer }: PeerInput, now: Mono): PeerView {
  const { name, address, localAddress, localAs, remoteAs, state, side, established, lastError } = peer;
  const { prefixesSent, prefixesKeptBack, holdTimeSeconds, withoutCapabilities } = peer;
  const { peerCapabilities, peerHostname, peerSoftware } = peer;
  return {
    name,
    address,
    localAddress,
    localAs,
    remoteAs,
    state,
    side,
    established,
    forSeconds: seconds(since, now),
    holdTimeSeconds,
    prefixesSent,
    prefixesKeptBack,
    withoutCapabilities,
    peerCapabilities,
    peerHostname,
    peerSoftware,
    lastError,
  };
}

function kernelView(kernel: KernelFacts, reconciler: ReconcilerInput | null, now: Mono): KernelView {
  return {
    backend: reconciler?.backend ?? 'none',
    verifiedSecondsAgo: kernel.verifiedAt === null ? null : seconds(kernel.verifiedAt, now),
    error: kernel.error ?? reconciler?.lastError ?? null,
    drift: reconciler?.drift ?? [],
    fighting: reconciler?.fighting ?? false,
    foreign: reconciler?.foreign ?? [],
    writes: reconciler?.writes ?? 0,
    repairs: reconciler?.repairs ?? 0,
  };
}

function configView({ file, complaints, quarantined }: Config, { configRefused, now }: ViewInputs): ConfigView {
  return {
    file,
    complaints: complaints.map(printComplaint),
    quarantined: quarantined.map((section) => ({
      name: section.name,
      place: `${section.place.file}:${section.place.line}`,
      frozen: section.running === null,
      complaints: section.complaints.map(printComplaint),
    })),
    refused: configRefused === null ? null : { why: configRefused.why, forSeconds: seconds(configRefused.since, now) },
  };
}
