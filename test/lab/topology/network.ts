// The lab's network: namespaces, links, addresses and routes.
//
//   client ── rt (BIRD) ──┬── d1, d2        directors, each namespace with an IPVS table of its own
//                         ├── r1 … r4       real servers
//                         └── the guest's own namespace: the tests, and the pool file's HTTP server
//
// client–rt is 10.1.0.0/24 and fd00:1::/64, the LAN 10.2.0.0/24 and fd00:2::/64.

import { writeFileSync } from 'node:fs';
import { run, runIn } from './process.ts';

export interface Host {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

const lan = (name: string, last: number): Host => ({ name, ipv4: `10.2.0.${last}`, ipv6: `fd00:2::${last}` });

export const directors = { d1: lan('d1', 11), d2: lan('d2', 12) } as const;
export const servers = { r1: lan('r1', 21), r2: lan('r2', 22), r3: lan('r3', 23), r4: lan('r4', 24) } as const;
export const router = lan('rt', 1);
export const tests = lan('tests', 100);
export const client: Host = { name: 'client', ipv4: '10.1.0.2', ipv6: 'fd00:1::2' };

export type DirectorName = keyof typeof directors;
export type ServerName = keyof typeof servers;
export const directorNames = Object.keys(directors) as DirectorName[];
export const serverNames = Object.keys(servers) as ServerName[];

/** VIPs by how the real servers behind them are reached. On the real servers' lo, except where they get NATed packets. */
export const vips = {
  dr: '10.9.0.1',
  tunnel: '10.9.0.2',
  nat: '10.9.0.3',
  /** More of the kind of `dr`, for cases that need several. */
  second: '10.9.0.11',
  third: '10.9.0.12',
  foreign: '10.9.0.99',
  dr6: 'fd00:9::1',
  tunnel6: 'fd00:9::2',
  nat6: 'fd00:9::3',
} as const;

/** Where NAT sends connections for port 80. */
export const natRealPort = 8080;

/** What real servers have on lo. */
export const onServers = [vips.dr, vips.tunnel, vips.second, vips.third, vips.foreign, vips.dr6, vips.tunnel6];

/** Builds it all. Called once per guest: namespaces live and die with the machine. */
export async function buildNetwork(): Promise<void> {
  const members = [router, ...Object.values(directors), ...Object.values(servers)];
  writeFileSync('/etc/hosts', hostsFile());
  // No name server in the lab: a lookup that leaves the hosts file fails at once instead of after five seconds.
  writeFileSync('/etc/resolv.conf', 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
  await run('sysctl', ['-qw', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0']);
  await batch(null, [
    ...[client, ...members].map(({ name }) => `netns add ${name}`),
    'link add br-lan type bridge mcast_snooping 0',
    'link set br-lan up',
    `address add ${tests.ipv4}/24 dev br-lan`,
    `address add ${tests.ipv6}/64 dev br-lan nodad`,
    'link add up0 netns rt type veth peer name eth0 netns client',
    ...members.flatMap(({ name }) => [
      `link add port-${name} type veth peer name eth0 netns ${name}`,
      `link set port-${name} master br-lan`,
      `link set port-${name} up`,
    ]),
  ]);
  await Promise.all([
    buildClient(),
    buildRouter(),
    ...Object.values(directors).map(buildDirector),
    ...Object.values(servers).map(buildServer),
  ]);
}

async function buildClient(): Promise<void> {
  await sysctl(client.name, noDad);
  await batch(client.name, [
    'link set lo up',
    `address add ${client.ipv4}/24 dev eth0`,
    `address add ${client.ipv6}/64 dev eth0 nodad`,
    'link set eth0 up',
    'route add default via 10.1.0.1',
    'route add default via fd00:1::1',
  ]);
}

async function buildRouter(): Promise<void> {
  await sysctl(router.name, [...noDad, ...forwarding]);
  await batch(router.name, [
    'link set lo up',
    'address add 10.1.0.1/24 dev up0',
    'address add fd00:1::1/64 dev up0 nodad',
    'link set up0 up',
    ...lanAddresses(router),
  ]);
}

async function buildDirector(host: Host): Promise<void> {
  await sysctl(host.name, [
    ...noDad,
    ...forwarding,
    // With mh or sh, a director that gets the route takes over connections that began on the other one.
    'net.ipv4.vs.sloppy_tcp=1',
    // A NATed real server is on the same wire as the client's router: it must not be told of the shorter way.
    'net.ipv4.conf.all.send_redirects=0',
    'net.ipv4.conf.default.send_redirects=0',
    'net.ipv4.conf.eth0.send_redirects=0',
  ]);
  await batch(host.name, [
    'link set lo up',
    ...lanAddresses(host),
    `route add default via ${router.ipv4}`,
    `route add default via ${router.ipv6}`,
    'link add nlmon0 type nlmon',
    'link set nlmon0 up',
  ]);
}

async function buildServer(host: Host): Promise<void> {
  await sysctl(host.name, [
    ...noDad,
    // The VIP on lo is nobody's business on the wire.
    'net.ipv4.conf.all.arp_ignore=1',
    'net.ipv4.conf.all.arp_announce=2',
    'net.ipv4.conf.all.rp_filter=0',
    'net.ipv4.conf.default.rp_filter=0',
    'net.ipv4.conf.tunl0.rp_filter=0',
  ]);
  // What was NATed leaves with the server's own address and must go back through the director that knows the
  // connection; everything else goes straight to the router.
  const nat = (family: '' | '-6 ', own: string, subnet: string, director: string): readonly string[] =>
    [
      `rule add from ${own} lookup 100`,
      `route add ${subnet} dev eth0 table 100`,
      `route add default via ${director} table 100`,
    ].map((line) => family + line);
  await batch(host.name, [
    'link set lo up',
    ...lanAddresses(host),
    `route add default via ${router.ipv4}`,
    `route add default via ${router.ipv6}`,
    ...onServers.map((vip) =>
      vip.includes(':') ? `address add ${vip}/128 dev lo nodad` : `address add ${vip}/32 dev lo`,
    ),
    'link set tunl0 up',
    'link set ip6tnl0 up',
    ...nat('', host.ipv4, '10.2.0.0/24', directors.d1.ipv4),
  ]);
  await batch6(host.name, nat('', host.ipv6, 'fd00:2::/64', directors.d1.ipv6));
}

const noDad = [
  'net.ipv6.conf.all.accept_dad=0',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.eth0.accept_dad=0',
];
const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];

function lanAddresses(host: Host): readonly string[] {
  return [`address add ${host.ipv4}/24 dev eth0`, `address add ${host.ipv6}/64 dev eth0 nodad`, 'link set eth0 up'];
}

/** Each of several commands in one process: starting one takes 30 ms in the emulator. */
async function batch(namespace: string | null, commands: readonly string[]): Promise<void> {
  const where = namespace === null ? [] : ['-n', namespace];
  await run('ip', [...where, '-batch', '-'], { input: `${commands.join('\n')}\n` });
}

async function batch6(namespace: string, commands: readonly string[]): Promise<void> {
  await run('ip', ['-6', '-n', namespace, '-batch', '-'], { input: `${commands.join('\n')}\n` });
}

async function sysctl(namespace: string, settings: readonly string[]): Promise<void> {
  await runIn(namespace, 'sysctl', ['-qw', ...settings]);
}

/** Real servers go by name in pool files: r1.lab … r4.lab have addresses of both families. */
function hostsFile(): string {
  const names = [router, tests, ...Object.values(directors), ...Object.values(servers)];
  const lines = names.flatMap(({ name, ipv4, ipv6 }) => [`${ipv4} ${name}.lab`, `${ipv6} ${name}.lab`]);
  return `127.0.0.1 localhost\n::1 localhost\n${lines.join('\n')}\n`;
}
