// The BGP options: those of [global], which hold for every peer, and those of a [peer …] section, which say otherwise for
// one. Part of the option table, options.ts.

import { BFD_OPTIONS, PEER_BFD_OPTIONS } from './options-bfd.ts';
import type { OptionRow } from './rows.ts';

const AS_NUMBER = { kind: 'int', min: 1, max: 4_294_967_294 } as const;
const MED = { kind: 'int', min: 0, max: 4_294_967_295 } as const;

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
    doc: 'The routers to peer with. A router that needs attributes of its own has a [peer …] section instead.',
  },
  {
    name: 'bgp-peer-as',
    ...AS_NUMBER,
    default: null,
    example: '64601',
    doc: 'AS number that a peer must have. Without it any is accepted, as in PyBal.',
  },
  { name: 'bgp-peer-port', kind: 'port', default: 179, doc: 'TCP port of the peers.' },
  {
    name: 'bgp-as-path',
    kind: 'ints',
    min: 1,
    max: 4_294_967_294,
    default: null,
    pybal: '0.1',
    example: '64600 64600',
    doc: 'AS path that is sent, word for word. Without it: our AS number, or empty towards a peer of our own AS.',
  },
  {
    name: 'bgp-nexthop-ipv4',
    kind: 'address',
    family: 4,
    default: null,
    pybal: '1.02',
    example: '192.0.2.10',
    doc: 'Next hop of IPv4 routes: an address of this director. Needed when an IPv4 service is announced.',
  },
  {
    name: 'bgp-nexthop-ipv6',
    kind: 'address',
    family: 6,
    default: null,
    pybal: '1.02',
    example: '2001:db8::10',
    doc: 'Next hop of IPv6 routes. Needed when an IPv6 service is announced.',
  },
  {
    name: 'bgp-med',
    ...MED,
    default: 0,
    pybal: '1.14.0',
    doc: 'MULTI_EXIT_DISC of all routes that have none of their own; the lowest wins.',
  },
  {
    name: 'bgp-communities',
    kind: 'words',
    default: null,
    example: '64600:100 no-export',
    doc: 'Communities (RFC 1997) of all routes: asn:value, or no-export, no-advertise, graceful-shutdown, blackhole.',
  },
  {
    name: 'bgp-local-pref',
    kind: 'int',
    min: 0,
    max: 4_294_967_295,
    default: null,
    example: '100',
    doc: 'LOCAL_PREF, sent to peers of our own AS only.',
  },
  {
    name: 'bgp-router-id',
    kind: 'address',
    family: 4,
    default: null,
    example: '192.0.2.10',
    doc: 'BGP identifier. Without it: the IPv4 address that the first session uses, as in PyBal.',
  },
  {
    name: 'bgp-hold-time',
    kind: 'int',
    min: 0,
    max: 65_535,
    default: 9,
    doc: 'Proposed hold time in seconds: 0 (never), or 3 and more. PyBal proposes 180; with 9 a dead director is left after 9 s.',
  },
  {
    name: 'bgp-connect-retry',
    kind: 'seconds',
    min: 1,
    max: 3600,
    default: 5,
    doc: 'Pause before a session that failed is tried again. PyBal waits 30 s.',
  },
  {
    name: 'bgp-passive',
    kind: 'bool',
    default: false,
    doc: 'Wait for the peers to connect instead of connecting to them.',
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
  ...BFD_OPTIONS,
] as const satisfies readonly OptionRow[];

/** In a [peer …] section. */
export const PEER_OPTIONS = [
  {
    name: 'peer-address',
    kind: 'address',
    default: null,
    example: '192.0.2.1',
    doc: "The router's address. Without it the name in the header must be one: [peer 192.0.2.1].",
  },
  { name: 'peer-port', kind: 'port', default: null, example: '179', doc: 'As bgp-peer-port.' },
  { name: 'peer-as', ...AS_NUMBER, default: null, example: '64601', doc: 'As bgp-peer-as.' },
  { name: 'local-as', ...AS_NUMBER, default: null, example: '64600', doc: 'As bgp-local-asn.' },
  {
    name: 'local-address',
    kind: 'address',
    default: null,
    example: '192.0.2.10',
    doc: 'Source address of this session.',
  },
  { name: 'passive', kind: 'bool', default: null, example: 'no', doc: 'As bgp-passive.' },
  { name: 'hold-time', kind: 'int', min: 0, max: 65_535, default: null, example: '9', doc: 'As bgp-hold-time.' },
  {
    name: 'connect-retry',
    kind: 'seconds',
    min: 1,
    max: 3600,
    default: null,
    example: '5',
    doc: 'As bgp-connect-retry.',
  },
  {
    name: 'as-path',
    kind: 'ints',
    min: 1,
    max: 4_294_967_294,
    default: null,
    example: '64600 64600',
    doc: 'As bgp-as-path.',
  },
  { name: 'med', ...MED, default: null, example: '100', doc: "As bgp-med; a service's own bgp-med counts more." },
  { name: 'communities', kind: 'words', default: null, example: '64600:100', doc: 'As bgp-communities.' },
  {
    name: 'local-pref',
    kind: 'int',
    min: 0,
    max: 4_294_967_295,
    default: null,
    example: '100',
    doc: 'As bgp-local-pref.',
  },
  {
    name: 'nexthop-ipv4',
    kind: 'address',
    family: 4,
    default: null,
    example: '192.0.2.10',
    doc: 'As bgp-nexthop-ipv4.',
  },
  {
    name: 'nexthop-ipv6',
    kind: 'address',
    family: 6,
    default: null,
    example: '2001:db8::10',
    doc: 'As bgp-nexthop-ipv6.',
  },
  ...PEER_BFD_OPTIONS,
] as const satisfies readonly OptionRow[];

/** How a section name begins that stands for a BGP peer. */
export const PEER_PREFIX = 'peer ';
