// [global] and the [peer …] sections to GlobalConfig and PeerConfigs. PyBal's peers are the addresses of bgp-peer-address;
// a [peer …] section makes one more, and what it does not say comes from the bgp-* options. Called by decode.ts. Pure.

import { canonicalAddress, familyOf } from '../lib/address.ts';
import { NO_BFD_OF_ITS_OWN, readBfd } from './bfd.ts';
import { GLOBAL_OPTIONS, SERVICE_OPTIONS } from './options.ts';
import { PEER_OPTIONS, PEER_PREFIX } from './options-bgp.ts';
import type { OptionsOf } from './rows.ts';
import { type Report, readOptions, unknownKey } from './section.ts';
import type { Section } from './text.ts';
import type { GlobalConfig, PeerConfig } from './types.ts';

export type GlobalOptions = OptionsOf<typeof GLOBAL_OPTIONS>;

/** What [global] says, and the options that its peers take from it. Null: it can not be used. */
export function readGlobal(section: Section, report: Report): GlobalOptions | null {
  const options = readOptions(GLOBAL_OPTIONS, section, report);
  checkKeys(
    section,
    GLOBAL_OPTIONS.map((row) => row.name),
    report,
  );
  if (options === null) return null;
  checkHoldTime('bgp-hold-time', options['bgp-hold-time'], report);
  checkAs('bgp-local-asn', options['bgp-local-asn'], report);
  readCommunities('bgp-communities', options['bgp-communities'], report);
  if (options['reconcile-limit'] <= options['reconcile-period'])
    report.error('reconcile-limit', `${options['reconcile-limit']} is not longer than reconcile-period`);
  const families = (options['bgp-local-address'] ?? []).map(familyOf);
  if (new Set(families).size < families.length)
    report.error('bgp-local-address', 'two addresses of one family: give each peer its own local-address');
  return report.failed ? null : options;
}

export function globalConfig(options: GlobalOptions): GlobalConfig {
  return {
    bgp: options.bgp,
    routerId: options['bgp-router-id'],
    bgpLocalAddresses: options['bgp-local-ips'] ?? ['::'],
    bgpLocalPort: options['bgp-local-port'],
    bfdWedgedSeconds: options['bfd-wedged-after'],
    instrumentation: options.instrumentation,
    instrumentationPort: options.instrumentation_port,
    instrumentationAddresses: options.instrumentation_ips,
    backend: options.backend as GlobalConfig['backend'],
    stateDirectory: options['state-directory'],
    controlSocket: options['control-socket'],
    logFile: options['log-file'],
    logFormat: options['log-format'] as GlobalConfig['logFormat'],
    monitorDirectories: options['monitor-directories'],
    reconcilePeriodSeconds: options['reconcile-period'],
    reconcileLimitSeconds: options['reconcile-limit'],
    withdrawWaitSeconds: options['withdraw-wait'],
    resolveIntervalSeconds: options['resolve-interval'],
  };
}

/** The peers of bgp-peer-address. */
export function readGlobalPeers(
  global: GlobalOptions,
  section: Section,
  file: string,
  report: Report,
): readonly PeerConfig[] {
  const peers: PeerConfig[] = [];
  for (const address of global['bgp-peer-address'] ?? []) {
    if (peers.some((peer) => peer.address === address)) {
      report.warning('bgp-peer-address', `${address} is listed twice`);
      continue;
    }
    const line = section.entries.get('bgp-peer-address')?.lines[0] ?? section.line;
    const peer = makePeer(address, address, { file, line }, global, NOTHING_OF_ITS_OWN, 'bgp-local-asn', report);
    if (peer !== null) peers.push(peer);
  }
  return peers;
}

/** The peer of a [peer …] section, or null when it can not be used. */
export function readPeer(section: Section, global: GlobalOptions, file: string, report: Report): PeerConfig | null {
  const options = readOptions(PEER_OPTIONS, section, report);
  checkKeys(
    section,
    PEER_OPTIONS.map((row) => row.name),
    report,
  );
  if (options === null) return null;
  const name = section.name.slice(PEER_PREFIX.length).trim();
  if (name === '') report.error(null, 'the peer needs a name: [peer 192.0.2.1]');
  const address = options['peer-address'] ?? canonicalAddress(name);
  if (address === null) {
    report.error('peer-address', 'is required, because the name in the header is not an address');
    return null;
  }
  if (options['hold-time'] !== null) checkHoldTime('hold-time', options['hold-time'], report);
  checkAs('local-as', options['local-as'], report);
  const local = options['local-address'];
  if (local !== null && familyOf(local) !== familyOf(address))
    report.error('local-address', `${local} is of the other family than ${address}`);
  const peer = makePeer(name, address, { file, line: section.line }, global, options, 'local-as', report);
  return report.failed ? null : peer;
}

type PeerOptions = OptionsOf<typeof PEER_OPTIONS>;

const NOTHING_OF_ITS_OWN: PeerOptions = {
  'peer-address': null,
  'peer-port': null,
  'peer-as': null,
  'local-as': null,
  'local-address': null,
  passive: null,
  'hold-time': null,
  'connect-retry': null,
  'as-path': null,
  med: null,
  communities: null,
  'local-pref': null,
  'nexthop-ipv4': null,
  'nexthop-ipv6': null,
  ...NO_BFD_OF_ITS_OWN,
};

function makePeer(
  name: string,
  address: string,
  place: PeerConfig['place'],
  global: GlobalOptions,
  own: PeerOptions,
  asOption: 'bgp-local-asn' | 'local-as',
  report: Report,
): PeerConfig | null {
  const localAs = own['local-as'] ?? global['bgp-local-asn'];
  if (localAs === null) {
    const where = asOption === 'local-as' ? ' here, or bgp-local-asn in [global]' : ' when bgp is on';
    report.error(asOption, `is required${where}`);
    return null;
  }
  const peerAs = own['peer-as'] ?? global['bgp-peer-as'];
  const sources = global['bgp-local-address'] ?? [];
  return {
    name,
    place,
    address,
    port: own['peer-port'] ?? global['bgp-peer-port'],
    localAddress: own['local-address'] ?? sources.find((source) => familyOf(source) === familyOf(address)) ?? null,
    passive: own.passive ?? global['bgp-passive'],
    localAs,
    peerAs,
    holdTimeSeconds: own['hold-time'] ?? global['bgp-hold-time'],
    connectRetrySeconds: own['connect-retry'] ?? global['bgp-connect-retry'],
    // RFC 4271 §5.1.2: towards a peer of our own AS the path of our own routes is empty.
    asPath: own['as-path'] ?? global['bgp-as-path'] ?? (peerAs === localAs ? [] : [localAs]),
    med: own.med ?? global['bgp-med'],
    communities: readCommunities(
      own.communities === null ? 'bgp-communities' : 'communities',
      own.communities ?? global['bgp-communities'],
      // [global] has already been told about its own.
      own.communities === null ? null : report,
    ),
    localPref: own['local-pref'] ?? global['bgp-local-pref'],
    nextHopIpv4: own['nexthop-ipv4'] ?? global['bgp-nexthop-ipv4'],
    nextHopIpv6: own['nexthop-ipv6'] ?? global['bgp-nexthop-ipv6'],
    bfd: readBfd(global, own, report),
  };
}

// RFC 1997, RFC 7999, RFC 8326
const WELL_KNOWN_COMMUNITIES: Readonly<Record<string, number>> = {
  'graceful-shutdown': 0xffff0000,
  blackhole: 0xffff029a,
  'no-export': 0xffffff01,
  'no-advertise': 0xffffff02,
  'no-export-subconfed': 0xffffff03,
};

function readCommunities(option: string, words: readonly string[] | null, report: Report | null): readonly number[] {
  const communities: number[] = [];
  for (const word of words ?? []) {
    const [, asn, value] = /^(\d{1,5}):(\d{1,5})$/.exec(word) ?? [];
    if (Object.hasOwn(WELL_KNOWN_COMMUNITIES, word)) communities.push(WELL_KNOWN_COMMUNITIES[word] ?? 0);
    else if (asn !== undefined && Number(asn) <= 0xffff && Number(value) <= 0xffff)
      communities.push(Number(asn) * 0x10000 + Number(value));
    else report?.error(option, `“${word}” is not a community: asn:value with both up to 65535, or a well-known name`);
  }
  return communities;
}

function checkHoldTime(option: string, seconds: number, report: Report): void {
  // RFC 4271 §4.2
  if (seconds === 1 || seconds === 2) report.error(option, `${seconds} is not allowed: 0, or 3 and more`);
}

function checkAs(option: string, as: number | null, report: Report): void {
  // RFC 6793 §9 (AS_TRANS), RFC 7300
  if (as === 23_456 || as === 65_535) report.error(option, `AS ${as} is reserved`);
}

function checkKeys(section: Section, names: readonly string[], report: Report): void {
  for (const [key, entry] of section.entries) {
    if (entry.inherited || names.includes(key)) continue;
    if (section.name === 'global' && SERVICE_OPTIONS.some((row) => row.name === key))
      report.warning(key, 'belongs into a service section or [DEFAULT], ignored here');
    else report.warning(key, unknownKey(key, names));
  }
}
