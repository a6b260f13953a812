// The scanned text to the Config that the daemon runs on, with a complaint for everything that is wrong. A section that
// can not be used is quarantined by itself: it runs on its last good text, and without one a service is frozen, a peer is
// left out, and [global] refuses the file. Called by load.ts. Pure: monitors and last good texts are handed in.

import type { MonitorModule } from '../health/monitor.ts';
import { serviceKey } from '../ipvs/table.ts';
import { type Complaint, errorText } from '../lib/errors.ts';
import {
  type Conflict,
  hostConflict,
  peerConflict,
  roleConflict,
  serviceConflict,
  unheard,
  withoutNextHop,
} from './conflicts.ts';
import { globalConfig, readGlobal } from './global.ts';
import { GLOBAL_OPTIONS, type GlobalOptions, MONITOR_NAMES, SERVICE_OPTIONS } from './options.ts';
import { PEER_OPTIONS, PEER_PREFIX } from './options-bgp.ts';
import { readGlobalPeers, readPeer, readPeerOptions } from './peer.ts';
import { checkInterpolation, peek, Report, unknownKey } from './section.ts';
import { type Modules, monitorNames, prefixOf, qualified, readFrozen, readService } from './service.ts';
import { printSection, type ScannedText, type Section, scanText } from './text.ts';
import type { Config, PeerConfig, Quarantined, ServiceConfig } from './types.ts';

/** Texts of sections by name, each readable on its own. */
export type SectionTexts = ReadonlyMap<string, string>;

export interface Decoded {
  /** null: refused as a whole. */
  readonly config: Config | null;
  readonly complaints: readonly Complaint[];
  /** What to remember as last good once this configuration is in use: new texts of good sections, old ones of the others. */
  readonly lastGood: SectionTexts;
}

export interface DecodeOptions {
  readonly monitor: (name: string) => Promise<MonitorModule | null>;
  readonly lastGood: SectionTexts;
  /** Refuse the whole file for any error. */
  readonly strict: boolean;
}

/** Read a scanned configuration. Never throws for anything that stands in the file. */
export async function decodeConfig(scanned: ScannedText, options: DecodeOptions): Promise<Decoded> {
  if (scanned.refused) return { config: null, complaints: scanned.complaints, lastGood: options.lastGood };
  const names = new Set(['global', ...scanned.sections.map((section) => section.name)]);
  const lastGood = new Map([...names].flatMap((name) => lastGoodOf(name, options.lastGood, scanned.file)));
  const modules = await loadModules([scanned.defaults, ...scanned.sections, ...lastGood.values()], options.monitor);
  const { config, outcomes, complaints } = decodeSections({ scanned, lastGood, modules });
  const sorted = complaints.toSorted((a, b) => (a.place?.line ?? 0) - (b.place?.line ?? 0));
  const refused = config === null || (options.strict && sorted.some(({ severity }) => severity !== 'warning'));
  return {
    config: refused ? null : { ...config, complaints: sorted },
    complaints: sorted,
    lastGood: rememberedTexts(names, outcomes, lastGood),
  };
}

interface Input {
  readonly scanned: ScannedText;
  readonly lastGood: ReadonlyMap<string, Section>;
  readonly modules: Modules;
}

/** One section's way to a value: from its text, from its last good text, or not at all. */
interface Outcome<T> {
  readonly section: Section;
  readonly value: T | null;
  readonly from: 'text' | 'last good' | null;
  readonly complaints: readonly Complaint[];
}

interface ReadGlobal {
  readonly options: GlobalOptions;
  /** Those of bgp-peer-address. */
  readonly peers: readonly PeerConfig[];
}

function decodeSections(input: Input): {
  readonly config: Config | null;
  readonly outcomes: readonly Outcome<unknown>[];
  readonly complaints: readonly Complaint[];
} {
  const { scanned, modules } = input;
  const { sections, misspelt } = wellNamed(scanned);
  const before = [...scanned.complaints, ...defaultsComplaints(scanned, modules), ...misspelt];
  const peerSections = sections.filter((section) => section.name.startsWith(PEER_PREFIX));
  const globals = settleGlobal(input, sections, peerSections.length > 0);
  const global = globals[0]?.value ?? null;
  if (global === null) {
    const said = globals.flatMap((one) => one.complaints);
    return { config: null, outcomes: globals, complaints: [...before, ...said, ...others(input, sections, said)] };
  }

  // Without BGP nobody asks what a peer's section means.
  const ownPeers = global.options.bgp ? settlePeers(input, peerSections, global) : [];
  const peers = [...global.peers, ...ownPeers.flatMap(({ value }) => value ?? [])];
  const rest = sections.filter((section) => section.name !== 'global' && !peerSections.includes(section));
  const settled = settleServices(input, rest, global, peers);
  const services = settled.flatMap(({ value }) => value ?? []);
  const outcomes: readonly Outcome<unknown>[] = [...globals, ...ownPeers, ...settled];
  return {
    config: {
      file: scanned.file,
      global: globalConfig(global.options),
      services,
      peers,
      quarantined: settled.flatMap((outcome) => quarantinedOf(outcome, services, scanned)),
      complaints: [],
    },
    outcomes,
    complaints: [
      ...before,
      ...outcomes.flatMap((outcome) => outcome.complaints),
      ...nextHopComplaints(scanned.file, globals, ownPeers, services),
      ...unheardComplaints(scanned.file, peers, settled),
      ...globals.flatMap(({ section }) =>
        rest.length > 0 ? [] : said(scanned.file, section, 'warning', null, 'there are no services in this file'),
      ),
    ],
  };
}

/**
 * What the other sections of a refused file have to complain of, so that all of it can be mended at once. Nothing that may come of
 * what is wrong with [global]: its own options, which peers take, and where monitors are. So it is with one that has lost lines.
 */
function others(
  { scanned: { file }, modules }: Input,
  sections: readonly Section[],
  ofGlobal: readonly Complaint[],
): readonly Complaint[] {
  const global = sections.find(({ name }) => name === 'global');
  const isComplete = global?.broken !== true && !ofGlobal.some(({ option }) => option === 'monitor-directories');
  const bgp = GLOBAL_OPTIONS.find(({ name }) => name === 'bgp');
  const hasPeers = global !== undefined && bgp !== undefined && peek(global, bgp) === true;
  const accepted: ServiceConfig[] = [];
  return sections.flatMap((section) => {
    const isPeer = section.name.startsWith(PEER_PREFIX);
    if (section.name === 'global' || section.broken || (isPeer && !hasPeers)) return [];
    const report = new Report(file, section);
    checkInterpolation(section, report);
    if (isPeer) {
      readPeerOptions(section, report);
      return report.complaints;
    }
    const service = readService(section, modules, file, report);
    const clash = service === null ? null : serviceConflict(service, accepted);
    if (clash !== null) report.error(clash.option, clash.message);
    else if (service !== null) accepted.push(service);
    return report.complaints.filter(({ severity }) => isComplete || severity === 'error');
  });
}

function settleGlobal(
  input: Input,
  sections: readonly Section[],
  peerSections: boolean,
): readonly Outcome<ReadGlobal>[] {
  const { file } = input.scanned;
  return settle(input, {
    sections: sections.filter((section) => section.name === 'global'),
    read(section, report) {
      const options = readGlobal(section, report);
      if (options === null) return null;
      if (options.bgp && options['bgp-peer-address'] === null && !peerSections)
        report.error('bgp-peer-address', 'is required when bgp is on, or a [peer …] section');
      return { options, peers: options.bgp ? readGlobalPeers(options, section, file, report) : [] };
    },
    conflict: () => null,
    otherwise: 'the file is refused',
  });
}

function settlePeers(input: Input, sections: readonly Section[], global: ReadGlobal): readonly Outcome<PeerConfig>[] {
  return settle(input, {
    sections,
    read: (section, report) => readPeer(section, global.options, input.scanned.file, report),
    conflict: (peer, accepted) => peerConflict(peer, [...global.peers, ...accepted]),
    otherwise: 'the peer is left out',
  });
}

function settleServices(
  input: Input,
  sections: readonly Section[],
  global: ReadGlobal,
  peers: readonly PeerConfig[],
): readonly Outcome<ServiceConfig>[] {
  const host = globalConfig(global.options);
  return settle(input, {
    sections,
    read: (section, report) => readService(section, input.modules, input.scanned.file, report),
    conflict: (service, accepted) =>
      roleConflict(service, host.routerId, host.bgpLocalAddresses, peers) ??
      hostConflict(service, host) ??
      serviceConflict(service, accepted),
    otherwise: 'what it has in the kernel stays as it is',
  });
}

interface Kind<T> {
  readonly sections: readonly Section[];
  readonly read: (section: Section, report: Report) => T | null;
  readonly conflict: (value: T, accepted: readonly T[]) => Conflict | null;
  /** What becomes of a section that has no last good text either. */
  readonly otherwise: string;
}

/**
 * Read all sections of a kind. Those that are good as written come first and in file order, so that a last good text
 * can never push out what the file says now.
 */
function settle<T>({ scanned: { file }, lastGood }: Input, kind: Kind<T>): readonly Outcome<T>[] {
  const accepted: T[] = [];
  /** `carefully`: what is dangerous is not good. */
  const attempt = (section: Section, carefully: boolean) => {
    const report = new Report(file, section);
    checkInterpolation(section, report);
    const value = kind.read(section, report);
    const clash = value === null ? null : kind.conflict(value, accepted);
    if (clash !== null) report.error(clash.option, clash.message);
    const good = value !== null && !section.broken && !report.failed && !(carefully && report.dangerous);
    if (good) accepted.push(value);
    return { value: good ? value : null, complaints: report.complaints };
  };
  // PyBal starts with what is dangerous. But what was good before is better.
  const written = kind.sections.map((section) => ({ section, ...attempt(section, lastGood.has(section.name)) }));
  return written.map(({ section, value, complaints }) => {
    if (value !== null) return { section, value, from: 'text', complaints };
    const old = lastGood.get(section.name);
    const again = old === undefined ? null : attempt({ ...old, line: section.line }, true).value;
    const unsafe = again === null ? attempt(section, false) : { value: null, complaints };
    if (unsafe.value !== null) return { section, value: unsafe.value, from: 'text', complaints: unsafe.complaints };
    const instead = again === null ? kind.otherwise : 'runs on its last good text';
    return {
      section,
      value: again,
      from: again === null ? null : 'last good',
      complaints: [...unsafe.complaints, ...said(file, section, 'warning', null, `not usable: ${instead}`)],
    };
  });
}

/** The sections whose names are what they were meant to be, [global] always among them; and complaints about the others. */
function wellNamed(scanned: ScannedText): {
  readonly sections: readonly Section[];
  readonly misspelt: readonly Complaint[];
} {
  const meant = new Map(scanned.sections.map((section) => [section, meantName(section)]));
  const sections = scanned.sections.filter((section) => meant.get(section) === null);
  const names = [...meant.values()];
  if (!sections.some((section) => section.name === 'global'))
    sections.unshift({ ...scanned.defaults, name: 'global', line: 1 });
  return {
    // What a misspelt [DEFAULT] or [global] says is missing, which must not pass for "not wanted".
    sections: sections.map((section) => {
      const missing = names.includes('[DEFAULT]') || (section.name === 'global' && names.includes('[global]'));
      return missing ? { ...section, broken: true } : section;
    }),
    misspelt: [...meant].flatMap(([section, name]) =>
      name === null ? [] : said(scanned.file, section, 'error', null, `not a service: did you mean ${name}?`),
    ),
  };
}

/** What a section's name was meant to be when it is not exactly that: names are case-sensitive. */
function meantName({ name, entries }: Section): string | null {
  // With an address it is a service, whatever its name.
  if (name === 'global' || name.startsWith(PEER_PREFIX) || entries.has('ip')) return null;
  const lower = name.trim().toLowerCase();
  if (lower === 'global') return '[global]';
  if (lower === 'default') return '[DEFAULT]';
  return /^peer\s/.test(lower) ? '[peer <name>]' : null;
}

function lastGoodOf(name: string, texts: SectionTexts, file: string): readonly (readonly [string, Section])[] {
  const text = texts.get(name);
  const section = text === undefined ? undefined : scanText(text, file).sections.find((one) => one.name === name);
  return section === undefined ? [] : [[name, section]];
}

/** Good sections as they are now, all others as they last were. */
function rememberedTexts(
  names: Iterable<string>,
  outcomes: readonly Outcome<unknown>[],
  lastGood: ReadonlyMap<string, Section>,
): SectionTexts {
  const good = new Map(outcomes.filter(({ from }) => from === 'text').map(({ section }) => [section.name, section]));
  const texts = new Map<string, string>();
  for (const name of names) {
    const section = good.get(name) ?? lastGood.get(name);
    if (section !== undefined) texts.set(name, printSection(section));
  }
  return texts;
}

function quarantinedOf(
  { section, value, from, complaints }: Outcome<ServiceConfig>,
  services: readonly ServiceConfig[],
  { file, defaults, complaints: scanned }: ScannedText,
): readonly Quarantined[] {
  if (from === 'text') return [];
  const named = scanned.filter(
    (one) => one.section === section.name || (defaults.broken && one.section === defaults.name),
  );
  return [
    {
      name: section.name,
      place: { file, line: section.line },
      complaints: [...named, ...complaints],
      running: value,
      frozen: value === null ? frozenOf(section, services) : null,
    },
  ];
}

/** What must not be touched. An address that another service runs on is not this one's: what it had is not known. */
function frozenOf(section: Section, services: readonly ServiceConfig[]): Quarantined['frozen'] {
  const frozen = readFrozen(section);
  const key = frozen === null ? null : serviceKey(frozen.protocol, frozen.vip, frozen.port);
  return services.some(({ protocol, vip, port }) => serviceKey(protocol, vip, port) === key) ? null : frozen;
}

/** A family that is announced needs a next hop at each peer. PyBal refuses to start; here that peer is not told of it. */
function nextHopComplaints(
  file: string,
  globals: readonly Outcome<ReadGlobal>[],
  own: readonly Outcome<PeerConfig>[],
  services: readonly ServiceConfig[],
): readonly Complaint[] {
  const all = [
    // The peers of [global] share its next hops: one complaint speaks for all of them.
    ...globals.map(({ section, value }) => ({ section, peer: value?.peers[0] ?? null, prefix: 'bgp-' })),
    ...own.map(({ section, value }) => ({ section, peer: value, prefix: '' })),
  ];
  return all.flatMap(({ section, peer, prefix }) =>
    (peer === null ? [] : withoutNextHop(peer, services)).flatMap(({ name, vip, family }) => {
      const message = `is required to announce ${vip} of [${name}]: without it IPv${family} routes are not sent`;
      return said(file, section, 'error', `${prefix}nexthop-ipv${family}`, message);
    }),
  );
}

function unheardComplaints(
  file: string,
  peers: readonly PeerConfig[],
  settled: readonly Outcome<ServiceConfig>[],
): readonly Complaint[] {
  if (peers.length === 0) return [];
  const services = unheard(
    peers,
    settled.flatMap(({ value }) => value ?? []),
  );
  return settled.flatMap(({ section, value }) => {
    if (value === null || !services.includes(value)) return [];
    const message = `no peer takes IPv${value.family} routes: ${value.vip} is announced to nobody`;
    return said(file, section, 'warning', 'ip', message);
  });
}

/** All at once: several that hang take no longer than one. */
async function loadModules(sections: readonly Section[], load: DecodeOptions['monitor']): Promise<Modules> {
  const names = [...new Set(sections.flatMap(monitorNames))];
  return new Map(
    await Promise.all(
      names.map(async (name) => [name, await load(name).catch((error: unknown) => errorText(error))] as const),
    ),
  );
}

/** Keys of [DEFAULT] that mean nothing in any section. */
function defaultsComplaints({ defaults, file }: ScannedText, modules: Modules): readonly Complaint[] {
  const known = [...GLOBAL_OPTIONS, ...PEER_OPTIONS, ...SERVICE_OPTIONS].map((row): string => row.name);
  for (const module of modules.values())
    if (module !== null && typeof module !== 'string') known.push(...qualified(module));
  const report = new Report(file, defaults);
  for (const key of defaults.entries.keys()) {
    const missing = MONITOR_NAMES.some((name) => name.toLowerCase() === prefixOf(key)) && !modules.get(prefixOf(key));
    if (!known.includes(key) && !missing) report.warning(key, unknownKey(key, known));
  }
  return report.complaints;
}

/** One complaint, as a list. */
function said(
  file: string,
  section: Section,
  severity: Complaint['severity'],
  option: string | null,
  message: string,
): readonly Complaint[] {
  const report = new Report(file, section);
  if (severity === 'error') report.error(option, message);
  else report.warning(option, message);
  return report.complaints;
}
