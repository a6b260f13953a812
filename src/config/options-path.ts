// Options of [global] for checks through the path and for virtual IPs that are on no interface. Part of GLOBAL_OPTIONS.

import type { OptionRow } from './rows.ts';

export const PATH_OPTIONS = [
  {
    name: 'vip-uplinks',
    kind: 'words',
    default: null,
    example: 'eth0 eth1',
    doc: 'For vip-presence = route: the interfaces that clients come in by. Packets for the virtual IP are taken from these and from nowhere else.',
  },
  {
    name: 'path-marks',
    kind: 'int',
    min: 1,
    max: 4_294_900_000,
    default: 0x0a000000,
    doc: 'First of the packet marks for checks with via = path, one for each real server. They are anybal’s own: no rule of nftables or ip rule may know them. The default is 0x0a000000.',
  },
  {
    name: 'path-ports',
    kind: 'ints',
    min: 1,
    max: 65_535,
    default: [10_240, 32_767],
    doc: 'First and last of the local ports for checks with via = path, eight for each real server. Outside of net.ipv4.ip_local_port_range.',
  },
  {
    name: 'path-hold',
    kind: 'seconds',
    min: 0,
    max: 86_400,
    default: 960,
    doc: 'How long the mark and the ports of a server that left are given to no other: longer than any timeout of `ipvsadm -L --timeout`.',
  },
  {
    name: 'path-source',
    kind: 'addresses',
    default: null,
    example: "[ '192.0.2.10', '2001:db8::10' ]",
    doc: 'Source addresses of checks with via = path, at most one of each family. Needed where the virtual IP is on lo; otherwise the kernel chooses.',
  },
] as const satisfies readonly OptionRow[];
