// A service section to its ServiceConfig: the options themselves, what must fit together within one service, and the
// monitors with the options that each of them brings. Called by decode.ts. Pure.

import { addressBytes, type Family, familyOf, parseAddress } from '../lib/address.ts';
import type { MonitorModule } from '../health/monitor.ts';
import { errorText } from '../lib/errors.ts';
import { wrongPoolUrl } from '../lib/pool-url.ts';
import { FLAG, type Protocol } from '../ipvs/table.ts';
import { EVERY_MONITOR_OPTIONS, GLOBAL_OPTIONS, MONITOR_NAMES, SERVICE_OPTIONS } from './options.ts';
import type { OptionRow, OptionsOf } from './rows.ts';
import { peek, type Report, readOptions, textOf, unknownKey } from './section.ts';
import { didYouMean, nearest } from '../lib/suggest.ts';
import type { Section } from './text.ts';
import type {
  AnnouncePolicy,
  MonitorConfig,
  Pace,
  Quarantined,
  ServiceConfig,
  SourceAccess,
  Via,
  VipPresence,
} from './types.ts';

/** A monitor's module by the name in the file; null: there is none; text: why it can not be loaded. */
export type Modules = ReadonlyMap<string, MonitorModule | null | string>;

type Options = OptionsOf<typeof SERVICE_OPTIONS>;

/** The service, or null when it can not run as written: the report says why. */
export function readService(section: Section, modules: Modules, file: string, report: Report): ServiceConfig | null {
  const options = readOptions(SERVICE_OPTIONS, section, report);
  const monitors = readMonitors(section, modules, options, report);
  const unwatched = report.complaints.find(({ severity }) => severity === 'danger')?.message ?? null;
  checkKeys(section, modules, monitors, report);
  checkName(section, report);
  if (options === null) return null;
  const family = familyOf(options.ip);
  checkVip(options.ip, report);
  const flags = readFlags(options, report);
  const persistencePrefix = readNetmask(options['persistence-netmask'], family, report);
  const forward = readForward(options, section, report);
  const realPort = options['realserver-port'] ?? options.port;
  if (forward !== 'nat' && realPort !== options.port)
    report.error('realserver-port', `${realPort} differs from port ${options.port}, which only forward = nat can do`);
  if (options.protocol === 'tcp' && options.ops) report.error('ops', 'one-packet scheduling is for udp, not tcp');
  const low = options['announce-quorum-low'] ?? options['announce-quorum'];
  if (low > options['announce-quorum'])
    report.error('announce-quorum-low', `${low} is more than announce-quorum, ${options['announce-quorum']}`);
  const monitorsNeeded = readNeeded(options['monitors-combine'], monitors.length, report);
  checkSource(options, section, report);
  const sourceAccess = readAccess(options, report);
  const slowStartSeconds = readSlowStart(options, report);
  if (report.failed) return null;
  return {
    name: section.name,
    place: { file, line: section.line },
    protocol: options.protocol as Protocol,
    vip: options.ip,
    family,
    port: options.port,
    scheduler: options.scheduler,
    flags,
    persistenceSeconds: options['persistence-timeout'],
    persistencePrefix,
    forward,
    realPort,
    source: options.config,
    sourceAccess,
    depoolThreshold: options['depool-threshold'],
    monitors,
    monitorsNeeded,
    unwatched,
    rise: options.rise,
    fall: options.fall,
    bgp: options.bgp,
    bgpMed: options['bgp-med'],
    announce: options.announce as AnnouncePolicy,
    announceQuorum: options['announce-quorum'],
    announceQuorumLow: low,
    vipPolicy: options['vip-policy'] as 'any' | 'all',
    vipPresence: options['vip-presence'] as VipPresence,
    adminFloor: options['admin-floor'],
    depoolAction: options['depool-action'] as 'delete' | 'drain',
    drainSeconds: options['drain-time'],
    slowStartSeconds,
    startGraceSeconds: options['start-grace'],
    freezeLimitSeconds: options['freeze-limit'],
    poolShrinkLimit: options['pool-shrink-limit'],
    poolShrinkConfirmSeconds: options['pool-shrink-confirm'],
  };
}

/** What must not be touched of a service that can not be read: null when even that can not be told. */
export function readFrozen(section: Section): Quarantined['frozen'] {
  const read = (name: 'protocol' | 'ip' | 'port') => {
    const row = SERVICE_OPTIONS.find((option) => option.name === name);
    return row === undefined ? null : peek(section, row);
  };
  const protocol = read('protocol');
  const vip = read('ip');
  const port = read('port');
  if ((protocol !== 'tcp' && protocol !== 'udp') || typeof vip !== 'string' || typeof port !== 'number') return null;
  return { protocol, vip, port };
}

/** The names of monitors that a section's text speaks of, used or not: what decode.ts must have loaded. */
export function monitorNames(section: Section): readonly string[] {
  const row = SERVICE_OPTIONS.find((option) => option.name === 'monitors');
  const listed = row === undefined ? null : peek(section, row);
  const prefixes = [...section.entries.keys()].filter((key) => key.includes('.')).map(prefixOf);
  return [...(Array.isArray(listed) ? (listed as readonly string[]) : []), ...prefixes];
}

function readMonitors(
  section: Section,
  modules: Modules,
  service: Options | null,
  report: Report,
): readonly MonitorConfig[] {
  const names = service?.monitors ?? null;
  const text = textOf(section, 'monitors');
  const near =
    text === null ? [...section.entries.keys()].find((key) => nearest(key, ['monitors']) !== null) : undefined;
  if (near !== undefined) report.danger(near, 'no such option (did you mean monitors?): every server counts as up');
  else if (names !== null && names.length === 0) {
    report.warning(text === null ? null : 'monitors', 'no monitors: every server counts as up');
  }
  if (names !== null && text !== null && !text.trimStart().startsWith('['))
    report.error('monitors', `not a list, write [ ${names.map((name) => `'${name}'`).join(', ')} ]`);
  const monitors: MonitorConfig[] = [];
  for (const name of names ?? []) {
    const module = modules.get(name);
    if (typeof module === 'string') report.error('monitors', `${name} can not be loaded: ${module}`);
    else if (module === undefined || module === null) report.danger('monitors', missingMonitor(name));
    else if (monitors.some((monitor) => monitor.name === module.name))
      report.warning('monitors', `${name} is listed twice: it runs once`);
    else {
      const prefix = `${module.name.toLowerCase()}.`;
      const options = readOptions(module.options, section, report, prefix);
      const own = readOptions(EVERY_MONITOR_OPTIONS, section, report, prefix);
      if (options !== null) reportOptions(module, options, section, prefix, report);
      if (options !== null && own !== null && service !== null)
        monitors.push({
          name: module.name,
          options,
          pace: paceOf(own, service),
          via: readVia(module, options, own.via, service.via, report),
        });
    }
  }
  if (names !== null && names.length > 0 && monitors.length === 0 && !report.failed)
    report.danger('monitors', 'none of them can run: every server counts as up');
  return monitors;
}

/**
 * What the monitor itself has to say against its options, and against those that it takes. What [DEFAULT] gives to everybody need
 * not be of use to each.
 */
function reportOptions(
  module: MonitorModule,
  options: OptionsOf<readonly OptionRow[]>,
  section: Section,
  prefix: string,
  report: Report,
): void {
  try {
    for (const { option, why } of module.refuse?.(options) ?? []) report.error(prefix + option, why);
    if (report.failed) return;
    for (const { option, why, blind = false } of module.doubt?.(options) ?? []) {
      const key = prefix + option;
      if (blind) report.danger(key, why);
      else if (section.entries.get(key)?.inherited === false) report.warning(key, why);
    }
  } catch (error) {
    report.error('monitors', failsOnOptions(module, error));
  }
}

function failsOnOptions({ name }: MonitorModule, error: unknown): string {
  return `${name} fails on its options: ${errorText(error)}`;
}

function paceOf(own: OptionsOf<typeof EVERY_MONITOR_OPTIONS>, service: Options): Pace {
  return {
    fastIntervalSeconds: own['fast-interval'] ?? service['fast-interval'],
    slowIntervalSeconds: own['slow-interval'] ?? service['slow-interval'],
    slowAfterSeconds: service['slow-after'],
  };
}

function takesPath(module: MonitorModule, options: OptionsOf<readonly OptionRow[]>, report: Report): boolean {
  try {
    return module.viaPath?.(options) ?? true;
  } catch (error) {
    report.error('monitors', failsOnOptions(module, error));
    return false;
  }
}

/** What the section says of all its monitors is no word about one that can not be sent through the path. */
function readVia(
  module: MonitorModule,
  options: OptionsOf<readonly OptionRow[]>,
  own: string | null,
  service: string | null,
  report: Report,
): Via {
  if (takesPath(module, options, report)) return (own ?? service ?? 'server') as Via;
  const option = `${module.name.toLowerCase()}.via`;
  if (own !== null && own !== 'server')
    report.error(option, `${module.name} opens no connections of its own that could go through the path`);
  return 'server';
}

/** A number that the monitors of the section can never reach would keep every server down. */
function readNeeded(text: string, monitors: number, report: Report): number {
  const word = text.trim().toLowerCase();
  if (word === 'all') return monitors;
  if (word === 'any') return Math.min(1, monitors);
  const needed = /^\d{1,3}$/.test(word) ? Number(word) : 0;
  if (needed < 1) report.error('monitors-combine', `“${text}” is neither all nor any nor a number from 1 up`);
  else if (needed > monitors && !report.failed)
    report.error('monitors-combine', `${needed} of ${monitors} monitors can never be up`);
  return needed;
}

function missingMonitor(name: string): string {
  const known = MONITOR_NAMES.find((other) => other.toLowerCase() === name.toLowerCase());
  return known === undefined
    ? `there is no monitor ${name}, skipped${didYouMean(name, MONITOR_NAMES)}`
    : `${known} is not in this version, skipped`;
}

function checkKeys(section: Section, modules: Modules, monitors: readonly MonitorConfig[], report: Report): void {
  const names = SERVICE_OPTIONS.map((row) => row.name);
  for (const [key, entry] of section.entries) {
    // What [DEFAULT] gives to everybody is judged once, by decode.ts.
    if (entry.inherited || names.some((name) => name === key) || report.has(key)) continue;
    const module = key.includes('.') ? modules.get(prefixOf(key)) : undefined;
    if (module !== undefined && module !== null && typeof module !== 'string') {
      const option = key.slice(key.indexOf('.') + 1);
      const common = EVERY_MONITOR_OPTIONS.map((row) => row.name);
      const known = [...module.options.map((row) => row.name), ...common];
      if (module.kind === 'watch' && common.some((name) => name === option && name !== 'via'))
        report.warning(key, `has no effect: ${module.name} is not asked in intervals`);
      else if (!known.includes(option)) report.warning(key, unknownKey(option, known));
      else if (!monitors.some((monitor) => monitor.name === module.name) && !report.failed)
        report.warning(key, `has no effect: ${module.name} is not among the monitors`);
    } else if (MONITOR_NAMES.some((name) => key.startsWith(`${name.toLowerCase()}.`))) {
      // An option of a monitor that is not in this version; the list of monitors says so.
    } else if (GLOBAL_OPTIONS.some((row) => row.name === key)) {
      report.warning(key, 'belongs into [global], ignored here');
    } else {
      const options = [...modules.values()].flatMap((m) => (m === null || typeof m === 'string' ? [] : qualified(m)));
      report.warning(key, unknownKey(key, [...names, ...options]));
    }
  }
}

/** `proxyfetch.url` … */
export function qualified(module: MonitorModule): readonly string[] {
  return module.options.map((row) => `${module.name.toLowerCase()}.${row.name}`);
}

export function prefixOf(key: string): string {
  return key.slice(0, key.indexOf('.'));
}

function checkName({ name }: Section, report: Report): void {
  if (/\p{Cc}/u.test(name)) report.error(null, 'a section name has a control character in it');
}

function checkVip(vip: string, report: Report): void {
  const bytes = addressBytes(vip);
  const first = bytes[0] ?? 0;
  if (bytes.every((byte) => byte === 0)) report.error('ip', `${vip} stands for no address`);
  else if (bytes.length === 4 ? first >= 224 : first === 0xff) report.error('ip', `${vip} is not a unicast address`);
  else if (vip.includes('%') || (bytes.length === 16 && first === 0xfe && ((bytes[1] ?? 0) & 0xc0) === 0x80))
    report.error('ip', `${vip} is link-local and can not be announced`);
}

function readAccess(options: Options, report: Report): SourceAccess {
  const pair = (a: keyof Options, b: keyof Options): void => {
    if (options[a] !== null && options[b] === null) report.error(a, `nothing without ${b}`);
    if (options[a] === null && options[b] !== null) report.error(b, `nothing without ${a}`);
  };
  pair('config-certificate', 'config-key');
  pair('config-user', 'config-password-file');
  return {
    etcdApi: options['config-etcd-api'] as SourceAccess['etcdApi'],
    tls: options['config-tls'] as SourceAccess['tls'],
    caFile: options['config-ca'],
    certificateFile: options['config-certificate'],
    keyFile: options['config-key'],
    user: options['config-user'],
    passwordFile: options['config-password-file'],
    tokenFile: options['config-token-file'],
    labelSelector: options['config-label-selector'],
    nodeAddress: options['config-node-address'] as SourceAccess['nodeAddress'],
  };
}

type SourceOption = Extract<keyof Options, `config-${string}`>;

const CLIENT_CERTIFICATE = ['config-certificate', 'config-key'] as const;
const LOGIN = ['config-user', 'config-password-file'] as const;
const TOKEN = ['config-token-file'] as const;

/** By scheme: what a source asks for besides its URL. */
const SOURCE_OPTIONS: Readonly<Record<string, readonly SourceOption[]>> = {
  http: [...LOGIN, ...TOKEN],
  https: [...LOGIN, ...TOKEN, 'config-tls', 'config-ca', ...CLIENT_CERTIFICATE],
  etcd: [...LOGIN, 'config-tls', 'config-ca', ...CLIENT_CERTIFICATE, 'config-etcd-api'],
  k8s: [...TOKEN, 'config-tls', 'config-ca', ...CLIENT_CERTIFICATE, 'config-label-selector', 'config-node-address'],
};

function checkSource(options: Options, section: Section, report: Report): void {
  const url = options.config;
  const wrong = wrongPoolUrl(url);
  if (wrong !== null) report.error('config', wrong);
  const scheme = /^\w+/.exec(url)?.[0].toLowerCase() ?? '';
  const tls = options['config-tls'];
  if (scheme === 'https' && tls === 'off') report.error('config-tls', 'off contradicts https://, write http://');
  const clear = scheme === 'http' || (tls === 'off' && scheme !== 'https');
  const used = SOURCE_OPTIONS[scheme] ?? [];
  for (const [name, { inherited }] of section.entries) {
    if (inherited || !name.startsWith('config-') || !SERVICE_OPTIONS.some((row) => row.name === name)) continue;
    const option = name as SourceOption;
    const ofTls = option === 'config-ca' || CLIENT_CERTIFICATE.some((one) => one === option);
    const secret = option === 'config-password-file' || option === 'config-token-file';
    if (!used.includes(option)) report.warning(name, `has no effect: ${scheme}:// does not use it`);
    else if (ofTls && tls === 'off') report.warning(name, 'has no effect with config-tls = off');
    else if (option === 'config-ca' && tls === 'insecure')
      report.warning(name, 'has no effect: config-tls = insecure trusts anybody');
    else if (secret && clear)
      report.warning(name, `is sent where everybody on the way can read it: ${scheme}:// without TLS`);
  }
}

/** Others do not look at weights, or hash by them: each step would move clients, and differently on each director. */
const SHARES_BY_WEIGHT: readonly string[] = ['wrr', 'wlc', 'lblc', 'lblcr', 'sed', 'nq'];

function readSlowStart(options: Options, report: Report): number {
  if (options['slow-start'] === 0 || SHARES_BY_WEIGHT.includes(options.scheduler)) return options['slow-start'];
  report.warning('slow-start', `has no effect: scheduler ${options.scheduler} does not share by weight`);
  return 0;
}

function readFlags(options: Options, report: Report): number {
  let flags = options.ops ? FLAG.onePacket : 0;
  if (options['persistence-timeout'] > 0) flags |= FLAG.persistent;
  for (const word of options['scheduler-flags'] ?? []) {
    const [scheduler = '', flag] = word.split('-');
    if (scheduler !== options.scheduler)
      report.error('scheduler-flags', `${word} is for scheduler ${scheduler}, not ${options.scheduler}`);
    // IP_VS_SVC_F_SCHED_SH_FALLBACK and _MH_FALLBACK are SCHED1, the ports SCHED2.
    flags |= flag === 'fallback' ? FLAG.sched1 : FLAG.sched2;
  }
  return flags;
}

function readForward(options: Options, section: Section, report: Report): ServiceConfig['forward'] {
  const forward = options.forward as ServiceConfig['forward'];
  const { tunneling } = options;
  if (tunneling === null || tunneling === (forward === 'tunnel')) return forward;
  if (!section.entries.has('forward')) return tunneling ? 'tunnel' : 'dr';
  if (tunneling) report.error('tunneling', `contradicts forward = ${forward}`);
  else if (forward === 'tunnel') report.error('tunneling', 'contradicts forward = tunnel');
  return forward;
}

/** Prefix length of a netmask in either spelling; the whole address when there is none. */
function readNetmask(text: string | null, family: Family, report: Report): number {
  const whole = family === 4 ? 32 : 128;
  if (text === null) return whole;
  const length = /^\/?(\d{1,3})$/.exec(text.trim())?.[1];
  const bytes = length === undefined && family === 4 ? parseAddress(text.trim()) : null;
  const prefix = length !== undefined ? Number(length) : bytes === null ? Number.NaN : maskLength(bytes);
  if (prefix >= 1 && prefix <= whole) return prefix;
  const netmask = family === 4 ? 'netmask or ' : '';
  report.error('persistence-netmask', `“${text}” is not a ${netmask}prefix length from 1 to ${whole}`);
  return whole;
}

/** Leading one bits, or NaN when others follow. */
function maskLength(bytes: Uint8Array): number {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) && bytes.length === 4 ? bits.lastIndexOf('1') + 1 : Number.NaN;
}
