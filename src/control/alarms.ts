// What somebody should look at, beyond what PyBal's /alerts knows. Pure; derived from a View.

import type { Alarm, ServiceView, SourceInput, View } from './types.ts';

/** VIPs that are not announced because nobody wants them to be. */
const NOT_WANTED: ReadonlySet<string> = new Set(['bgp-off', 'no-voters']);

/** What every start goes through, and only time can tell from trouble. */
const STARTING: ReadonlySet<string> = new Set(['kernel-unread', 'floor', 'bgp-none', 'source-missing']);

/** Causes of a server whose checks have failed on our side: its verdict is frozen, or there was never one. */
const BLIND: ReadonlySet<string> = new Set(['frozen', 'unknown']);

/** A monitor's bug that was not seen for so long is only counted. */
const BUG_SECONDS = 3600;

export interface AlarmLimits {
  /** An older read-back proves nothing. */
  readonly reconcileLimitSeconds: number;
  /** So long after the start, what is not there yet is awaited: a warning. */
  readonly startSeconds: number;
}

/** In order: critical before warning, otherwise as found. */
export function alarmsOf(view: Omit<View, 'alarms'>, limits: AlarmLimits): readonly Alarm[] {
  const starting = view.uptimeSeconds < limits.startSeconds;
  const found = [
    ...kernelAlarms(view, limits.reconcileLimitSeconds),
    ...refusedAlarms(view),
    ...view.services.flatMap(serviceAlarms),
    ...vipAlarms(view, starting),
    ...peerAlarms(view),
    ...limitAlarms(view),
    ...bfdAlarms(view),
    ...quarantineAlarms(view),
    ...stateAlarms(view),
    ...servingAlarms(view),
    ...monitorAlarms(view),
    ...view.services.flatMap(givenUpAlarms),
  ];
  const alarms = found.map((alarm) =>
    starting && STARTING.has(alarm.code) ? warning(alarm.code, `starting: ${alarm.text}`) : alarm,
  );
  return [...alarms.filter(({ level }) => level === 'critical'), ...alarms.filter(({ level }) => level === 'warning')];
}

const critical = (code: string, text: string): Alarm => ({ level: 'critical', code, text });
const warning = (code: string, text: string): Alarm => ({ level: 'warning', code, text });

function kernelAlarms({ kernel, config }: Omit<View, 'alarms'>, limit: number): readonly Alarm[] {
  if (config === null) return [];
  const alarms: Alarm[] = [];
  const { verifiedSecondsAgo: age, error } = kernel;
  const because = error === null ? '' : `: ${error}`;
  if (age === null) alarms.push(critical('kernel-unread', `Kernel not read yet${because}`));
  else if (age > limit) alarms.push(critical('kernel-stale', `Kernel not verified for ${age} s${because}`));
  else if (error !== null) alarms.push(warning('kernel-error', `Kernel${because}`));
  if (kernel.fighting) alarms.push(warning('drift-fight', 'Somebody else keeps changing what anybal writes to IPVS'));
  return alarms;
}

/** What runs is well; the next start is not. */
function refusedAlarms({ config }: Omit<View, 'alarms'>): readonly Alarm[] {
  if (config === null || config.refused === null) return [];
  const { why, forSeconds } = config.refused;
  const text = `The configuration on disk is refused for ${forSeconds} s, a restart may fail: ${why}`;
  return [warning('config-refused', text)];
}

function serviceAlarms(service: ServiceView): readonly Alarm[] {
  const alarms: Alarm[] = [];
  const { name, pooled, floor, source, unwatched, watched } = service;
  if (unwatched !== null) {
    alarms.push(
      watched
        ? warning('monitor-missing', `${name}: ${unwatched}`)
        : critical('unwatched', `${name}: nothing watches its servers, all of them count as up: ${unwatched}`),
    );
  }
  if (!service.floorMet) {
    alarms.push(critical('floor', `${name}: ${pooled} of at least ${floor} servers pooled, depool threshold not met`));
  }
  const [blind, ...others] = service.servers.filter(({ cause }) => BLIND.has(cause));
  if (blind !== undefined) {
    const who = others.length === 0 ? `${blind.host} is` : `${blind.host} and ${others.length} more are`;
    alarms.push(warning('health-unknown', `${name}: no check can tell how ${who}: ${blind.why}`));
  }
  if (source !== null) alarms.push(...sourceAlarms(name, source));
  return alarms;
}

function sourceAlarms(service: string, source: SourceInput): readonly Alarm[] {
  const { state, note, lastError, servers, ageSeconds } = source;
  const why = note ?? lastError;
  const because = why === null ? '' : `: ${why}`;
  switch (state) {
    case 'current':
      return currentAlarms(service, source);
    case 'waiting':
      return [warning('source-waiting', `${service}: no server list yet${because}`)];
    case 'stale': {
      if (servers === null) return [noList(service, because)];
      const age = ageSeconds === null ? 'of unknown age' : `${Math.round(ageSeconds)} s old`;
      return [warning('source-stale', `${service}: server list is ${age}${because}`)];
    }
    case 'suspect':
    case 'refused':
    case 'unparsable':
      if (servers === null) return [noList(service, `: the first one is ${state}${because}`)];
      return [warning(`source-${state}`, `${service}: new server list is ${state}${because}; the last good one stays`)];
    default:
      return state satisfies never;
  }
}

function currentAlarms(service: string, { servers, unreadable }: SourceInput): readonly Alarm[] {
  const [first] = unreadable;
  if (first !== undefined)
    return [
      warning('source-entries', `${service}: the server list has entries that can not be used as they are: ${first}`),
    ];
  // Somebody said that it is right. It is worth a word all the same, also where nothing is announced.
  return servers === 0 ? [warning('source-empty', `${service}: its server list is empty, nobody serves it`)] : [];
}

/** Nothing to go on with: the service has no servers at all. */
function noList(service: string, because: string): Alarm {
  return critical('source-missing', `${service}: no server list yet${because}`);
}

/** One that was announced is not awaited but lost, however young the process is. */
function vipAlarms({ vips }: Omit<View, 'alarms'>, starting: boolean): readonly Alarm[] {
  return vips
    .filter(({ announced, cause }) => !announced && !NOT_WANTED.has(cause))
    .map(({ vip, why, cause, everAnnounced }) => {
      const text = `${vip} is not announced (${why})`;
      if (cause === 'exiting') return warning('not-announced', text);
      return starting && !everAnnounced
        ? warning('not-announced', `starting: ${text}`)
        : critical('not-announced', text);
    });
}

function peerAlarms({ bgp, peers }: Omit<View, 'alarms'>): readonly Alarm[] {
  if (!bgp) return [];
  const none = !peers.some(({ established }) => established);
  return peers
    .filter(({ established }) => !established)
    .map(({ name, state, lastError }) => {
      const text = `BGP peer ${name} is ${state}${lastError === null ? '' : ` (${lastError})`}`;
      return none ? critical('bgp-none', text) : warning('bgp-peer', text);
    });
}

/** RFC 5882 §3.2: AdminDown is somebody's wish. */
function limitAlarms({ peers }: Omit<View, 'alarms'>): readonly Alarm[] {
  return peers
    .filter(({ prefixesKeptBack }) => prefixesKeptBack > 0)
    .map(({ name, prefixesKeptBack: count }) =>
      critical('bgp-limit', `BGP peer ${name} takes no more: ${count} route(s) are not announced to it`),
    );
}

function bfdAlarms({ bfd }: Omit<View, 'alarms'>): readonly Alarm[] {
  return bfd
    .filter(({ state, remote }) => state !== 'Up' && remote?.state !== 'AdminDown')
    .map(({ name, state, diagnostic, lastError }) => {
      const why = lastError === null ? diagnostic : `${diagnostic}; ${lastError}`;
      return warning('bfd-down', `BFD session with peer ${name} is ${state} (${why})`);
    });
}

function stateAlarms({ stateError }: Omit<View, 'alarms'>): readonly Alarm[] {
  if (stateError === null) return [];
  return [warning('state', `State is not kept, a restart will lack it: ${stateError}`)];
}

function servingAlarms({ notServed }: Omit<View, 'alarms'>): readonly Alarm[] {
  return notServed.map((why) => warning('not-served', `Nobody can ask anybal there: ${why}`));
}

function monitorAlarms({ monitorBugs }: Omit<View, 'alarms'>): readonly Alarm[] {
  const lately = monitorBugs.filter(({ secondsAgo }) => secondsAgo < BUG_SECONDS);
  return lately.map(({ monitor, count, last, secondsAgo }) => {
    const times = count === 1 ? '' : ` (seen ${count} times)`;
    return warning('monitor-bug', `A bug in ${monitor}${times}, ${secondsAgo} s ago: ${last}`);
  });
}

/** Nobody asks these servers any more, and what the monitor said last stands. One line for each monitor. */
function givenUpAlarms({ name, servers }: ServiceView): readonly Alarm[] {
  const left = new Map<string, string[]>();
  for (const { host, monitors } of servers)
    for (const { monitor, givenUp } of monitors) if (givenUp) left.set(monitor, [...(left.get(monitor) ?? []), host]);
  return [...left].map(([monitor, [first = '', ...others]]) => {
    const who = others.length === 0 ? first : `${first} and ${others.length} more`;
    const text = `${name}: ${monitor} no longer checks ${who}: too many of its checks never end, a bug in it`;
    return warning('monitor-given-up', text);
  });
}

function quarantineAlarms({ config }: Omit<View, 'alarms'>): readonly Alarm[] {
  return (config?.quarantined ?? []).map(({ name, place, frozen, complaints }) => {
    const what = frozen ? 'is frozen' : 'runs on its last good text';
    const text = `[${name}] ${what}: ${complaints[0] ?? place}`;
    return frozen ? critical('quarantine-frozen', text) : warning('quarantine', text);
  });
}
