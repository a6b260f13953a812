// The BGP options. What can be said of a session is said once for all peers, in [global] with `bgp-` before its name, and
// otherwise for one peer in its [peer …] section: SESSION_OPTIONS has one row for both. Part of the option table, options.ts.

import { BFD_OPTIONS, PEER_BFD_OPTIONS } from './options-bfd.ts';
import type { OptionRow } from './rows.ts';
import { printValue } from './values.ts';

const AS_NUMBER = { kind: 'int', min: 1, max: 4_294_967_294 } as const;
const UINT32 = { kind: 'int', min: 0, max: 4_294_967_295 } as const;

/** In a [peer …] section; in [global] as `bgp-…`, the default of all peers. */
export const SESSION_OPTIONS = [
  {
    name: 'peer-as',
    ...AS_NUMBER,
    default: null,
    example: '64601',
    doc: 'AS number that a peer must have. Without it any is accepted, as in PyBal.',
  },
  { name: 'peer-port', kind: 'port', default: 179, doc: 'TCP port of the peers.' },
  {
    name: 'passive',
    kind: 'bool',
    default: false,
    doc: 'Wait for the peers to connect instead of connecting to them.',
  },
  {
    name: 'families',
    kind: 'words',
    choices: ['ipv4', 'ipv6'],
    default: ['ipv4', 'ipv6'],
    doc: 'Address families that are offered. A peer gets the routes of those that it offers too.',
  },
  {
    name: 'as-path',
    kind: 'ints',
    min: 1,
    max: 4_294_967_294,
    default: null,
    pybal: '0.1',
    example: '64600 64600',
    doc: 'AS path that is sent, word for word. Without it: our AS number, or empty towards a peer of our own AS.',
  },
  {
    name: 'prepend',
    kind: 'int',
    min: 0,
    max: 32,
    default: 0,
    doc: 'How often our AS number is put before the path once more, to be the second choice. Not towards our own AS.',
  },
  {
    name: 'med',
    ...UINT32,
    default: 0,
    pybal: '1.14.0',
    doc: "MULTI_EXIT_DISC of all routes; the lowest wins. A service's own bgp-med counts more.",
  },
  {
    name: 'local-pref',
    ...UINT32,
    default: null,
    example: '100',
    doc: 'LOCAL_PREF, sent to peers of our own AS only.',
  },
  {
    name: 'communities',
    kind: 'words',
    default: null,
    example: '64600:100 no-export',
    doc: 'Communities (RFC 1997) of all routes: asn:value, or no-export, no-advertise, graceful-shutdown, blackhole.',
  },
  {
    name: 'large-communities',
    kind: 'words',
    default: null,
    example: '64600:1:100',
    doc: 'Large communities (RFC 8092) of all routes: three numbers each.',
  },
  {
    name: 'extended-communities',
    kind: 'words',
    default: null,
    example: 'rt:64600:100 so:192.0.2.10:1',
    doc: 'Extended communities (RFC 4360) of all routes: rt: or so: and asn:number or address:number, or 0x and 16 digits.',
  },
  {
    name: 'link-bandwidth',
    kind: 'float',
    min: 0,
    max: 10_000_000,
    default: null,
    example: '10000',
    doc: 'Mbit/s of this director, for routers that share the traffic by it (the link bandwidth community).',
  },
  {
    name: 'nexthop-ipv4',
    kind: 'address',
    family: 4,
    default: null,
    pybal: '1.02',
    example: '192.0.2.10',
    doc: 'Next hop of IPv4 routes: an address of this director. Needed when an IPv4 service is announced.',
  },
  {
    name: 'nexthop-ipv6',
    kind: 'address',
    family: 6,
    default: null,
    pybal: '1.02',
    example: '2001:db8::10',
    doc: 'Next hop of IPv6 routes. Needed when an IPv6 service is announced.',
  },
  {
    name: 'maximum-prefixes',
    kind: 'int',
    min: 1,
    max: 4_294_967_295,
    default: null,
    example: '100',
    doc: 'Routes of one family that the router accepts from us. More are never sent: the rest is refused and alarmed.',
  },
  {
    name: 'hold-time',
    kind: 'int',
    min: 0,
    max: 65_535,
    default: 9,
    doc: 'Proposed hold time in seconds: 0 (never), or 3 and more. PyBal proposes 180; with 9 a dead director is left after 9 s.',
  },
  {
    name: 'keepalive',
    kind: 'int',
    min: 1,
    max: 21_845,
    default: null,
    example: '3',
    doc: 'Seconds between keepalives, at most a third of the hold time. Without it: a third of the hold time that was agreed.',
  },
  {
    name: 'send-hold-time',
    kind: 'int',
    min: 0,
    max: 65_535,
    default: null,
    example: '480',
    doc: 'A peer that leaves us no room to send for so many seconds is left (RFC 9687); 0: never. What fits into the buffers on the way is not noticed. Without it: twice the hold time, at least 480.',
  },
  {
    name: 'connect-retry',
    kind: 'seconds',
    min: 1,
    max: 3600,
    default: 5,
    doc: 'Longest pause before a session that failed is tried again; the first ones are shorter. PyBal waits 30 s.',
  },
  {
    name: 'connect-timeout',
    kind: 'seconds',
    min: 1,
    max: 120,
    default: 5,
    doc: 'How long one attempt to connect may take. With a password nobody says no: a wrong one is only silence.',
  },
  {
    name: 'graceful-restart',
    kind: 'choice',
    choices: ['off', 'helper', 'restart'],
    default: 'helper',
    doc: 'RFC 4724. helper: keep nothing of ours when we are gone. restart: the router keeps our routes while anybal restarts.',
  },
  {
    name: 'graceful-restart-time',
    kind: 'int',
    min: 1,
    max: 4095,
    default: 30,
    doc: 'For graceful-restart = restart: seconds for which the router keeps the routes of a director that is gone.',
  },
  {
    name: 'graceful-shutdown-wait',
    kind: 'seconds',
    min: 0,
    max: 300,
    default: 0,
    doc: 'Before routes are withdrawn at a stop they carry the community graceful-shutdown (RFC 8326) for so long.',
  },
  {
    name: 'password',
    kind: 'secret',
    default: null,
    example: 'correct horse',
    doc: 'TCP-MD5 (RFC 2385), at most 80 octets, taken as it stands: a % is a %. The router must have the same.',
  },
  {
    name: 'password-file',
    kind: 'path',
    default: null,
    example: '/etc/pybal/bgp-password',
    doc: 'A file whose first line is the password. It is read again at SIGHUP, and no session ends for it.',
  },
  {
    name: 'tcp-ao-file',
    kind: 'path',
    default: null,
    example: '/etc/pybal/bgp-ao-keys',
    doc: 'TCP-AO (RFC 5925), where the kernel has it: a key a line, the wanted one first: send id, receive id, algorithm, key. See docs/tcp-ao.md.',
  },
  {
    name: 'ttl-security',
    kind: 'int',
    min: 0,
    max: 254,
    default: 0,
    doc: 'GTSM (RFC 5082): take packets only from a router that is at most so many hops away, 1 on the same link. 0: off.',
  },
  {
    name: 'ttl',
    kind: 'int',
    min: 1,
    max: 255,
    default: null,
    example: '2',
    doc: "TTL of what we send. Without it: the kernel's, or 255 with ttl-security.",
  },
  {
    name: 'dscp',
    kind: 'int',
    min: 0,
    max: 63,
    default: 48,
    doc: 'DSCP of what we send; 48 is CS6, network control.',
  },
] as const satisfies readonly OptionRow[];

type SessionRow = (typeof SESSION_OPTIONS)[number];
type ForAll<Row> = Row extends SessionRow ? Omit<Row, 'name'> & { readonly name: `bgp-${Row['name']}` } : never;
type ForOne<Row> = Row extends SessionRow ? Omit<Row, 'default'> & { readonly default: null } : never;

const forAll = SESSION_OPTIONS.map((row) => ({ ...row, name: `bgp-${row.name}` })) as readonly ForAll<SessionRow>[];

/** Without a default, because [global] has it; and without PyBal's name, which has no such sections. */
const forOne = SESSION_OPTIONS.map((row: OptionRow) => {
  const { pybal: _, ...rest } = row;
  const example = row.example ?? printValue(row, row.default);
  return { ...rest, default: null, example, doc: `As bgp-${row.name}.` };
}) as readonly unknown[] as readonly ForOne<SessionRow>[];

/** In [global]. */
export const BGP_OPTIONS = [
  { name: 'bgp', kind: 'bool', default: false, pybal: '0.1', doc: 'Announce the virtual IPs over BGP.' },
  {
    name: 'bgp-local-asn',
    ...AS_NUMBER,
    default: null,
    pybal: '0.1',
    example: '64600',
    doc: 'Our AS number. Needed when bgp is on.',
  },
  {
    name: 'bgp-peer-address',
    kind: 'addresses',
    default: null,
    pybal: '0.1',
    example: "[ '192.0.2.1', '2001:db8::1' ]",
    doc: 'The routers to peer with. A router that needs settings of its own has a [peer …] section instead.',
  },
  {
    name: 'bgp-router-id',
    kind: 'address',
    family: 4,
    default: null,
    example: '192.0.2.10',
    doc: 'BGP identifier. Without it: the IPv4 next hop or source address if it is on this host, or else its highest IPv4 address. Never a virtual IP.',
  },
  {
    name: 'bgp-local-address',
    kind: 'addresses',
    default: null,
    example: "[ '192.0.2.10', '2001:db8::10' ]",
    doc: 'Source addresses of our sessions, at most one per family. Without it the kernel chooses.',
  },
  {
    name: 'bgp-local-ips',
    kind: 'addresses',
    default: null,
    pybal: '1.14.0',
    example: "[ '192.0.2.10' ]",
    doc: 'Addresses to listen on for BGP. Without it: all.',
  },
  { name: 'bgp-local-port', kind: 'port', default: 179, pybal: '1.14.0', doc: 'Port to listen on for BGP.' },
  ...forAll,
  ...BFD_OPTIONS,
] as const satisfies readonly OptionRow[];

/** In a [peer …] section. */
export const PEER_OPTIONS = [
  {
    name: 'peer-address',
    kind: 'address',
    default: null,
    example: '192.0.2.1',
    doc: "The router's address; a link-local one with its interface: fe80::1%%eth0. Without it: the name in the header.",
  },
  { name: 'local-as', ...AS_NUMBER, default: null, example: '64600', doc: 'As bgp-local-asn.' },
  {
    name: 'local-address',
    kind: 'address',
    default: null,
    example: '192.0.2.10',
    doc: 'Source address of this session.',
  },
  ...forOne,
  ...PEER_BFD_OPTIONS,
] as const satisfies readonly OptionRow[];

/** How a section name begins that stands for a BGP peer. */
export const PEER_PREFIX = 'peer ';
