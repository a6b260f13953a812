// The scanned text to the Config that the daemon runs on, with a complaint for everything that is wrong. A section that
// can not be used is quarantined by itself: it runs on its last good text, and without one a service is frozen, a peer is
// left out, and [global] refuses the file. Called by load.ts. Pure: monitors and last good texts are handed in.

import type { MonitorModule } from '../health/monitor.ts';
import { type Complaint, errorText } from '../lib/errors.ts';
import { type Conflict, peerConflict, roleConflict, serviceConflict, withoutNextHop } from './conflicts.ts';
import { type GlobalOptions, globalConfig, readGlobal, readGlobalPeers, readPeer } from './global.ts';
import { GLOBAL_OPTIONS, MONITOR_NAMES, PEER_OPTIONS, PEER_PREFIX, SERVICE_OPTIONS } from './options.ts';
import { checkInterpolation, Report, unknownKey } from './section.ts';
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
  const decoder = new Decoder(scanned, lastGood, modules);
  const config = decoder.read();
  const complaints = decoder.complaints.toSorted((a, b) => (a.place?.line ?? 0) - (b.place?.line ?? 0));
  const refused = config === null || (options.strict && complaints.some((complaint) => complaint.severity === 'error'));
  return { config: refused ? null : { ...config, complaints }, complaints, lastGood: decoder.keep() };
}

/** One section's way to a value: from its text, from its last good text, or not at all. */
interface Outcome<T> {
  readonly section: Section;
  readonly value: T | null;
  readonly from: 'text' | 'last good' | null;
  readonly complaints: readonly Complaint[];
}

type Read<T> = (section: Section, report: Report) => T | null;

class Decoder {
  readonly complaints: Complaint[];
  readonly #scanned: ScannedText;
  readonly #lastGood: ReadonlyMap<string, Section>;
  readonly #modules: Modules;
  readonly #keep = new Map<string, string>();

  constructor(scanned: ScannedText, lastGood: ReadonlyMap<string, Section>, modules: Modules) {
    this.#scanned = scanned;
    this.#lastGood = lastGood;
    this.#modules = modules;
    this.complaints = [...scanned.complaints, ...defaultsComplaints(scanned, modules)];
  }

  keep(): SectionTexts {
    return this.#keep;
  }

  read(): Config | null {
    const { file } = this.#scanned;
    const sections = this.#wellNamed();
    const global = this.#readGlobal(sections);
    if (global === null) return null;
    const ownPeers = this.#readPeers(
      sections.filter((section) => section.name.startsWith(PEER_PREFIX)),
      global,
    );
    const peers = [...global.peers, ...ownPeers.flatMap(({ value }) => value ?? [])];
    const outcomes = this.#readServices(
      sections.filter((section) => section.name !== 'global' && !section.name.startsWith(PEER_PREFIX)),
      global,
      peers,
    );
    const services = outcomes.flatMap(({ value }) => value ?? []);
    if (outcomes.length === 0) this.#complain(global.section, 'warning', null, 'there are no services in this file');
    this.#checkNextHops(global, ownPeers, services);
    return {
      file,
      global: globalConfig(global.options),
      services,
      peers,
      quarantined: outcomes.flatMap((outcome) => quarantinedOf(outcome, file)),
      complaints: [],
    };
  }

  /** The sections whose names are what they were meant to be. */
  #wellNamed(): readonly Section[] {
    const misspelt = new Map<Section, string>();
    for (const section of this.#scanned.sections) {
      const meant = meantSection(section);
      if (meant === null) continue;
      misspelt.set(section, meant);
      this.#complain(section, 'error', null, `not a service: did you mean ${meant}?`);
    }
    // What a misspelt [DEFAULT] or [global] says is missing, which must not pass for "not wanted".
    const meant = [...misspelt.values()];
    const incomplete = this.#scanned.defaults.broken || meant.includes('[DEFAULT]');
    const sections = this.#scanned.sections.filter((section) => !misspelt.has(section));
    if (!sections.some((section) => section.name === 'global')) {
      const { entries } = this.#scanned.defaults;
      sections.unshift({ name: 'global', line: 1, entries, broken: meant.includes('[global]') });
    }
    return sections.map((section) => ({ ...section, broken: section.broken || incomplete }));
  }

  #readGlobal(sections: readonly Section[]): ReadGlobal | null {
    const { file } = this.#scanned;
    const global = sections.filter((section) => section.name === 'global');
    const peerSections = sections.some((section) => section.name.startsWith(PEER_PREFIX));
    const read: Read<ReadGlobal> = (from, report) => {
      const options = readGlobal(from, report);
      if (options === null) return null;
      const peers = options.bgp ? readGlobalPeers(options, from, file, report) : [];
      if (options.bgp && options['bgp-peer-address'] === null && !peerSections)
        report.error('bgp-peer-address', 'is required when bgp is on, or a [peer …] section');
      return { section: from, options, peers };
    };
    const [outcome] = this.#settle(global, read, () => null, 'the file is refused');
    return outcome?.value ?? null;
  }

  #readPeers(sections: readonly Section[], global: ReadGlobal): readonly Outcome<PeerConfig>[] {
    // Without BGP nobody asks what a peer's section means; its last good text stays what it was.
    if (!global.options.bgp) {
      for (const { name } of sections) this.#keepOld(name);
      return [];
    }
    return this.#settle(
      sections,
      (section, report) => readPeer(section, global.options, this.#scanned.file, report),
      (peer, accepted) => peerConflict(peer, [...global.peers, ...accepted]),
      'the peer is left out',
    );
  }

  #readServices(
    sections: readonly Section[],
    global: ReadGlobal,
    peers: readonly PeerConfig[],
  ): readonly Outcome<ServiceConfig>[] {
    const { routerId, bgpLocalAddresses } = globalConfig(global.options);
    return this.#settle(
      sections,
      (section, report) => {
        return readService(section, this.#modules, this.#scanned.file, report);
      },
      (service, accepted) =>
        roleConflict(service, routerId, bgpLocalAddresses, peers) ?? serviceConflict(service, accepted),
      'what it has in the kernel stays as it is',
    );
  }

  /**
   * Read all sections of a kind. Those that are good as written come first and in file order, so that a last good text
   * can never push out what the file says now.
   */
  #settle<T>(
    sections: readonly Section[],
    read: Read<T>,
    conflict: (value: T, accepted: readonly T[]) => Conflict | null,
    otherwise: string,
  ): readonly Outcome<T>[] {
    const accepted: T[] = [];
    const attempt = (section: Section, broken: boolean) => {
      const report = new Report(this.#scanned.file, section);
      checkInterpolation(section, report);
      const value = read(section, report);
      const clash = value === null ? null : conflict(value, accepted);
      if (clash !== null) report.error(clash.option, clash.message);
      const good = value !== null && !broken && !report.failed;
      if (good) accepted.push(value);
      return { value: good ? value : null, complaints: report.complaints };
    };
    const written = sections.map((section) => ({ section, ...attempt(section, section.broken) }));
    return written.map(({ section, value, complaints }): Outcome<T> => {
      this.complaints.push(...complaints);
      if (value !== null) {
        this.#keep.set(section.name, printSection(section));
        return { section, value, from: 'text', complaints };
      }
      this.#keepOld(section.name);
      const old = this.#lastGood.get(section.name);
      const before = old === undefined ? null : attempt({ ...old, line: section.line }, false).value;
      this.#complain(
        section,
        'warning',
        null,
        `not usable: ${before === null ? otherwise : 'runs on its last good text'}`,
      );
      return { section, value: before, from: before === null ? null : 'last good', complaints: this.#about(section) };
    });
  }

  #keepOld(name: string): void {
    const old = this.#lastGood.get(name);
    if (old !== undefined) this.#keep.set(name, printSection(old));
  }

  /** What was said about a section; for one that [DEFAULT] broke, about that. */
  #about(section: Section): readonly Complaint[] {
    return this.complaints.filter(
      (complaint) =>
        complaint.section === section.name || (section.broken && complaint.section === this.#scanned.defaults.name),
    );
  }

  #complain(section: Section, severity: Complaint['severity'], option: string | null, message: string): void {
    const report = new Report(this.#scanned.file, section);
    if (severity === 'error') report.error(option, message);
    else report.warning(option, message);
    this.complaints.push(...report.complaints);
  }

  /** A family that is announced needs a next hop at each peer. PyBal refuses to start; here that peer is not told of it. */
  #checkNextHops(global: ReadGlobal, own: readonly Outcome<PeerConfig>[], services: readonly ServiceConfig[]): void {
    const all = [
      ...own.flatMap(({ section, value }) => (value === null ? [] : [{ section, peer: value, prefix: '' }])),
      ...global.peers.slice(0, 1).map((peer) => ({ section: global.section, peer, prefix: 'bgp-' })),
    ];
    for (const { section, peer, prefix } of all)
      for (const { name, vip, family } of withoutNextHop(peer, services))
        this.#complain(
          section,
          'error',
          `${prefix}nexthop-ipv${family}`,
          `is required to announce ${vip} of [${name}]: without it IPv${family} routes are not sent`,
        );
  }
}

interface ReadGlobal {
  readonly section: Section;
  readonly options: GlobalOptions;
  /** Those of bgp-peer-address. */
  readonly peers: readonly PeerConfig[];
}

function lastGoodOf(name: string, texts: SectionTexts, file: string): readonly (readonly [string, Section])[] {
  const text = texts.get(name);
  const section = text === undefined ? undefined : scanText(text, file).sections.find((one) => one.name === name);
  return section === undefined ? [] : [[name, section]];
}

function quarantinedOf(outcome: Outcome<ServiceConfig>, file: string): readonly Quarantined[] {
  const { section, value, from, complaints } = outcome;
  if (from === 'text') return [];
  const frozen = value === null ? readFrozen(section) : null;
  return [{ name: section.name, place: { file, line: section.line }, complaints, running: value, frozen }];
}

async function loadModules(sections: readonly Section[], load: DecodeOptions['monitor']): Promise<Modules> {
  const modules = new Map<string, MonitorModule | null | string>();
  for (const name of new Set(sections.flatMap(monitorNames))) {
    try {
      modules.set(name, await load(name));
    } catch (error) {
      modules.set(name, errorText(error));
    }
  }
  return modules;
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

/** What a section's name was meant to be when it is not exactly that: names are case-sensitive. */
function meantSection({ name, entries }: Section): string | null {
  // With an address it is a service, whatever its name.
  if (name === 'global' || name.startsWith(PEER_PREFIX) || entries.has('ip')) return null;
  const lower = name.trim().toLowerCase();
  if (lower === 'global') return '[global]';
  if (lower === 'default') return '[DEFAULT]';
  return /^peer\s/.test(lower) ? '[peer <name>]' : null;
}
