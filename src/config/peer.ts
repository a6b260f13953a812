// The peers of bgp-peer-address, and the [peer …] sections, to PeerConfigs. What a section does not say comes from the
// bgp-… options of [global]. Called by decode.ts and, for what [global] says of all peers, by global.ts. Pure.

import { addressBytes, canonicalAddress, familyOf } from '../lib/address.ts';
import { passwordComplaint } from '../lib/secrets.ts';
import { NO_BFD_OF_ITS_OWN, readBfd } from './bfd.ts';
import { readCommunity, readExtendedCommunity, readLargeCommunity } from './communities.ts';
import type { GlobalOptions } from './options.ts';
import { PEER_OPTIONS, PEER_PREFIX, SESSION_OPTIONS } from './options-bgp.ts';
import type { OptionsOf } from './rows.ts';
import { checkKeys, type Report, readOptions } from './section.ts';
import type { Section } from './text.ts';
import type { KeySource, PeerConfig } from './types.ts';
import { ValueError } from './values.ts';

/** What all peers have unless their section says otherwise. */
export type SessionOptions = OptionsOf<typeof SESSION_OPTIONS>;
type PeerOptions = OptionsOf<typeof PEER_OPTIONS>;

/** RFC 9687 §4: 8 minutes or twice the hold time, whichever is longer. */
const SEND_HOLD_SECONDS = 480;

/** The peers of bgp-peer-address. */
export function readGlobalPeers(
  global: GlobalOptions,
  section: Section,
  file: string,
  report: Report,
): readonly PeerConfig[] {
  const peers: PeerConfig[] = [];
  const line = section.entries.get('bgp-peer-address')?.lines[0] ?? section.line;
  for (const address of global['bgp-peer-address'] ?? []) {
    if (peers.some((peer) => peer.address === address)) {
      report.warning('bgp-peer-address', `${address} is listed twice`);
      continue;
    }
    checkAddress('bgp-peer-address', address, report);
    checkNextHops('bgp-peer-address', address, [global['bgp-nexthop-ipv4'], global['bgp-nexthop-ipv6']], report);
    const localAs = global['bgp-local-asn'];
    if (localAs === null) {
      report.error('bgp-local-asn', 'is required when bgp is on');
      continue;
    }
    const session = sessionOf(global, null);
    const peer = { name: address, place: { file, line }, address, localAddress: sourceFor(address, global), localAs };
    const bfd = readBfd(global, NO_BFD_OF_ITS_OWN, report);
    peers.push({ ...peer, bfd, ...sessionConfig(session, null, localAs, (name) => `bgp-${name}`, null) });
  }
  return peers;
}

/** What a [peer …] section says by itself. */
export function readPeerOptions(section: Section, report: Report): PeerOptions | null {
  const own = readOptions(PEER_OPTIONS, section, report);
  checkKeys(
    section,
    PEER_OPTIONS.map((row) => row.name),
    report,
  );
  return own;
}

/** The peer of a [peer …] section, or null when it can not be used. */
export function readPeer(section: Section, global: GlobalOptions, file: string, report: Report): PeerConfig | null {
  const own = readPeerOptions(section, report);
  if (own === null) return null;
  const name = section.name.slice(PEER_PREFIX.length).trim();
  if (name === '') report.error(null, 'the peer needs a name: [peer 192.0.2.1]');
  const address = own['peer-address'] ?? canonicalAddress(name);
  if (address === null) {
    report.error('peer-address', 'is required, because the name in the header is not an address');
    return null;
  }
  checkAddress(own['peer-address'] === null ? null : 'peer-address', address, report);
  checkAs('local-as', own['local-as'], report);
  const localAddress = own['local-address'] ?? sourceFor(address, global);
  if (localAddress !== null) checkLocalAddress(localAddress, address, report);
  const localAs = own['local-as'] ?? global['bgp-local-asn'];
  if (localAs === null) {
    report.error('local-as', 'is required here, or bgp-local-asn in [global]');
    return null;
  }
  const session = sessionConfig(sessionOf(global, own), own, localAs, (option) => option, report);
  checkNextHops('peer-address', address, [session.nextHopIpv4, session.nextHopIpv6], report);
  const place = { file, line: section.line };
  const peer = { name, place, address, localAddress, localAs, ...session, bfd: readBfd(global, own, report) };
  return report.failed ? null : peer;
}

/** What [global] says of all peers must make sense by itself. */
export function checkSessionDefaults(global: GlobalOptions, report: Report): void {
  sessionConfig(sessionOf(global, null), null, global['bgp-local-asn'] ?? 1, (name) => `bgp-${name}`, report);
}

/** How one authenticates: a section that says one of these says nothing about the others by its silence. */
const TCP_KEYS = ['password', 'password-file', 'tcp-ao-file'] as const;

function sessionOf(global: GlobalOptions, own: PeerOptions | null): SessionOptions {
  const keyed = TCP_KEYS.some((name) => own !== null && own[name] !== null);
  const values = SESSION_OPTIONS.map(({ name }) => [
    name,
    own?.[name] ?? (keyed && (TCP_KEYS as readonly string[]).includes(name) ? null : global[`bgp-${name}`]),
  ]);
  return Object.fromEntries(values) as SessionOptions;
}

type Session = Omit<PeerConfig, 'name' | 'place' | 'address' | 'localAddress' | 'localAs' | 'bfd'>;

/** `report` null: [global] has already been told about its own. `named` is how the option is called where it stands. */
function sessionConfig(
  options: SessionOptions,
  own: PeerOptions | null,
  localAs: number,
  named: (option: keyof SessionOptions) => string,
  report: Report | null,
): Session {
  const tell: Tell = {
    error: (option, message) => report?.error(named(option), message),
    warning(option, message) {
      if (own === null || own[option] !== null) report?.warning(named(option), message);
    },
  };
  const all = <T>(option: keyof SessionOptions, words: readonly string[] | null, read: (word: string) => T): T[] =>
    (words ?? []).flatMap((word) =>
      attempt(
        () => read(word),
        (message) => tell.error(option, message),
      ),
    );
  checkTimers(options, tell);
  if (options.ttl !== null && options.ttl !== 255 && options['ttl-security'] > 0)
    tell.error('ttl', `is always 255 with ${named('ttl-security')}`);
  for (const option of ['nexthop-ipv4', 'nexthop-ipv6'] as const) {
    const address = options[option];
    if (address !== null && !isHost(address)) tell.error(option, `${address} is the address of no host`);
  }
  const peerAs = options['peer-as'];
  // RFC 4271 §5.1.5: LOCAL_PREF is for peers of our own AS. Prepending is for all others.
  if (peerAs !== null && peerAs !== localAs)
    idle('local-pref', options['local-pref'], `AS ${peerAs} is not ours`, tell);
  if (peerAs === localAs) idle('prepend', options.prepend, 'the peer is in our own AS', tell);
  const holdTimeSeconds = options['hold-time'];
  const bandwidth = options['link-bandwidth'];
  return {
    port: options['peer-port'],
    passive: options.passive,
    peerAs,
    families: ([4, 6] as const).filter((family) => options.families.includes(`ipv${family}`)),
    holdTimeSeconds,
    keepaliveSeconds: options.keepalive,
    sendHoldSeconds: options['send-hold-time'] ?? Math.max(SEND_HOLD_SECONDS, 2 * holdTimeSeconds),
    connectRetrySeconds: options['connect-retry'],
    connectTimeoutSeconds: options['connect-timeout'],
    // RFC 4271 §5.1.2: towards a peer of our own AS the path of our own routes is empty.
    asPath: options['as-path'] ?? (peerAs === localAs ? [] : [localAs]),
    prepends: options.prepend,
    med: options.med,
    localPref: options['local-pref'],
    communities: all('communities', options.communities, readCommunity),
    largeCommunities: all('large-communities', options['large-communities'], readLargeCommunity),
    extendedCommunities: all('extended-communities', options['extended-communities'], readExtendedCommunity),
    linkBandwidth: bandwidth === null ? null : bandwidth * 125_000,
    nextHopIpv4: options['nexthop-ipv4'],
    nextHopIpv6: options['nexthop-ipv6'],
    maximumPrefixes: options['maximum-prefixes'],
    gracefulRestart: options['graceful-restart'] as PeerConfig['gracefulRestart'],
    gracefulRestartSeconds: options['graceful-restart-time'],
    gracefulShutdownSeconds: options['graceful-shutdown-wait'],
    password: passwordOf(options, tell),
    tcpAoFile: options['tcp-ao-file'],
    ttlSecurityHops: options['ttl-security'] === 0 ? null : options['ttl-security'],
    ttl: options.ttl,
    dscp: options.dscp,
  };
}

function idle(option: 'local-pref' | 'prepend', value: number | null, why: string, tell: Tell): void {
  if (value !== null && value > 0) tell.warning(option, `has no effect: ${why}`);
}

interface Tell {
  error(option: keyof SessionOptions, message: string): void;
  warning(option: keyof SessionOptions, message: string): void;
}

function checkTimers(options: SessionOptions, tell: Tell): void {
  const { 'hold-time': hold, keepalive, 'send-hold-time': sendHold } = options;
  // RFC 4271 §4.2
  if (hold === 1 || hold === 2) tell.error('hold-time', `${hold} is not allowed: 0, or 3 and more`);
  // RFC 4271 §4.4: a third of the hold time is the reasonable maximum.
  if (keepalive !== null && hold > 0 && keepalive > hold / 3)
    tell.error('keepalive', `${keepalive} is more than a third of the hold time, ${hold}`);
  // RFC 9687 §4: greater than the hold time.
  if (sendHold !== null && sendHold > 0 && sendHold <= hold)
    tell.error('send-hold-time', `${sendHold} is not longer than the hold time, ${hold}`);
}

/** A file counts more than a password in the configuration. No message here shows any part of a key. */
function passwordOf(options: SessionOptions, tell: Tell): KeySource | null {
  const { password: text, 'password-file': path, 'tcp-ao-file': ao } = options;
  // The router has one or the other too: whoever says both means one of them, and nobody can know which.
  if (ao !== null && (text ?? path) !== null)
    tell.error(
      'tcp-ao-file',
      `is TCP-AO, and ${text === null ? 'password-file' : 'password'} TCP-MD5: a session has one of them`,
    );
  else if (text !== null && path !== null) tell.warning('password', 'is not used: password-file is given too');
  if (ao !== null) return null;
  if (path !== null) return { from: 'file', path };
  if (text === null) return null;
  const complaint = passwordComplaint(text);
  if (complaint !== null) tell.error('password', complaint);
  return { from: 'text', text };
}

/** Reserved numbers are no AS of anybody's. */
export function checkAs(option: string, as: number | null, report: Report): void {
  // RFC 6793 §9 (AS_TRANS), RFC 7300
  if (as === 23_456 || as === 65_535) report.error(option, `AS ${as} is reserved`);
}

/** A link-local source is the kernel's choice: an address of another scope would not reach such a router. */
function sourceFor(address: string, global: GlobalOptions): string | null {
  const sources = global['bgp-local-address'] ?? [];
  if (isLinkLocal(address)) return null;
  return sources.find((source) => familyOf(source) === familyOf(address)) ?? null;
}

/** In a value a % is written twice, in a header once. */
function checkAddress(option: string | null, address: string, report: Report): void {
  if (isLinkLocal(address) && !address.includes('%'))
    report.error(
      option,
      `${address} is link-local and needs its interface: ${address}${option === null ? '%' : '%%'}eth0`,
    );
  else if (!isLinkLocal(address) && address.includes('%'))
    report.error(option, `${address} is not link-local and has no interface`);
  else if (!isHost(address)) report.error(option, `${address} is the address of no host`);
}

/** RFC 4271 §5.1.3: no route leads to whom it is told. */
function checkNextHops(option: string, address: string, nextHops: readonly (string | null)[], report: Report): void {
  if (nextHops.includes(address))
    report.error(option, `${address} is the next hop too, which must be this director and not the router`);
}

/** Not unspecified, multicast or broadcast. */
function isHost(address: string): boolean {
  const [first = 0, ...rest] = addressBytes(address);
  if (rest.length === 3) return first > 0 && first < 224;
  return first !== 0xff && (first !== 0 || rest.some((byte) => byte !== 0));
}

function checkLocalAddress(local: string, address: string, report: Report): void {
  if (familyOf(local) !== familyOf(address))
    report.error('local-address', `${local} is of the other family than ${address}`);
  else if (!isHost(local)) report.error('local-address', `${local} is the address of no host`);
  else if (isLinkLocal(local) !== isLinkLocal(address))
    report.error('local-address', `${local} and ${address}: both are link-local, or none`);
  else if (isLinkLocal(local) && local.split('%')[1] !== address.split('%')[1])
    report.error('local-address', `${local} is not on the interface of ${address}`);
}

/** fe80::/10 */
function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(address);
}

/** A list of what `read` gives, or of nothing once the complaint is made. */
function attempt<T>(read: () => T, complain: (message: string) => void): readonly T[] {
  try {
    return [read()];
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    complain(error.message);
    return [];
  }
}
