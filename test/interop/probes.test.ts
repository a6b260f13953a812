// The monitors TCP, DNS, UDP and Ping against real servers at the other end of a wire: what they say of servers that are well,
// and of each way in which servers, and the ways to them, fail.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import dns from '../../monitors/dns.ts';
import dnsquery from '../../monitors/dnsquery.ts';
import ping from '../../monitors/ping.ts';
import tcp from '../../monitors/tcp.ts';
import udp from '../../monitors/udp.ts';
import type { MonitorModule } from '../../src/health/monitor.ts';
import { createFiles } from '../../src/world/real/files.ts';
import { CERTIFICATE, KEY } from '../support/certificate.ts';
import { runMonitor } from '../support/monitor-bench.ts';
import { eventually, Namespace, output, requireTools } from '../support/namespace.ts';

const NAME = 'anybal-probes';
const US = '10.213.0.1';
const THEM = '10.213.0.2';
const THEM6 = 'fd00:213::2';
/** Nobody has it. */
const NOBODY = '10.213.0.77';
/** Behind them: they are asked to forward, there to one whom they do not find, here they know no way. */
const BEHIND = '10.213.8.8';
const BEYOND = '10.213.9.9';
const PORTS = {
  dns: 53,
  nsd: 5353,
  http: 8001,
  reject: 8002,
  silent: 8003,
  drip: 8005,
  tls: 8006,
  echo: 7,
} as const;
/** A UDP echo on both families, and a TCP server that sends an x every 50 ms. */
const ECHO_AND_DRIP = `
import asyncio

class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        self.transport.sendto(data, address)

async def drip(reader, writer):
    try:
        while True:
            writer.write(b'x')
            await writer.drain()
            await asyncio.sleep(0.05)
    except OSError:
        pass

async def main():
    loop = asyncio.get_running_loop()
    for address in ('${THEM}', '${THEM6}'):
        await loop.create_datagram_endpoint(Echo, local_addr=(address, ${PORTS.echo}))
    await asyncio.start_server(drip, '${THEM}', ${PORTS.drip})
    await asyncio.Event().wait()

asyncio.run(main())
`;
const CHILD = fileURLToPath(new URL('../support/monitor-child.js', import.meta.url));

type Options = Readonly<Record<string, unknown>>;

describe('monitors and real servers', function () {
  this.timeout(60_000);
  let namespace: Namespace;
  let folder: string;

  before(async () => {
    requireTools({
      '/usr/sbin/unbound': 'unbound',
      '/usr/sbin/nsd': 'nsd',
      '/usr/sbin/haproxy': 'haproxy',
      '/usr/bin/python3': 'python3',
      '/usr/bin/openssl': 'openssl',
      '/usr/sbin/nft': 'nftables',
      '/usr/bin/setpriv': 'util-linux',
    });
    folder = mkdtempSync(join(tmpdir(), 'anybal-probes-'));
    namespace = await Namespace.create(NAME, [`${US}/24`, 'fd00:213::1/64'], [`${THEM}/24`, `${THEM6}/64`]);
    await inside('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0');
    for (const net of ['10.213.8.0/24', '10.213.9.0/24']) await output('ip', 'route', 'add', net, 'via', THEM);
    await output('ip', '-n', NAME, 'route', 'add', '10.213.8.0/24', 'via', NOBODY);
    serveDns();
    serveTcp();
    namespace.spawn('python3', file('echo-and-drip.py', ECHO_AND_DRIP));
    const ready = [PORTS.dns, PORTS.nsd, PORTS.http, PORTS.tls, PORTS.drip];
    await eventually('all servers', async () => {
      const listening = await inside('ss', '-Hltn');
      const datagrams = await inside('ss', '-Hlun');
      return (ready.every((port) => listening.includes(`:${port} `)) && datagrams.includes(`:${PORTS.echo} `)) || null;
    });
  });

  after(async () => {
    await namespace?.destroy();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach(() => inside('nft', 'flush', 'ruleset'));

  const inside = (...command: readonly string[]) => output('ip', 'netns', 'exec', NAME, ...command);

  /** Rules of their packet filter for what comes in, until the end of the test. */
  async function filter(...rules: readonly string[]): Promise<void> {
    await inside('nft', 'add table inet t; add chain inet t in { type filter hook input priority 0; }');
    for (const rule of rules) await inside('nft', `add rule inet t in ${rule}`);
  }

  function file(name: string, text: string): string {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  }

  function serveDns(): void {
    const many = Array.from({ length: 40 }, (_, i) => `local-data: 'big.example. TXT "${i} ${'x'.repeat(60)}"'`);
    const path = file(
      'unbound.conf',
      `
server:
  username: ""
  chroot: ""
  directory: "${folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: ${THEM}
  interface: ${THEM6}
  access-control: 10.213.0.0/24 allow
  access-control: fd00:213::/64 allow
  max-udp-size: 1232
  module-config: "iterator"
  local-zone: "example." static
  local-data: "www.example. A 192.0.2.1"
  local-data: "www.example. A 192.0.2.2"
  local-data: "www.example. AAAA 2001:db8::1"
  local-data: "example. MX 10 mx.example."
  ${many.join('\n  ')}
  local-zone: "refused.test." always_refuse
  local-zone: "nothing.test." always_nxdomain
remote-control:
  control-enable: no
`,
    );
    namespace.spawn('unbound', '-d', '-p', '-c', path);
    const zone =
      '$ORIGIN example.\n@ 60 SOA ns root 1 60 60 60 60\n@ 60 NS ns\nns 60 A 192.0.2.53\nwww 60 A 192.0.2.1\n';
    const nsd = file(
      'nsd.conf',
      `
server:
  ip-address: ${THEM}@${PORTS.nsd}
  username: ""
  zonesdir: "${folder}"
  zonelistfile: "${join(folder, 'zone.list')}"
  database: ""
  xfrdfile: ""
  pidfile: ""
  server-count: 1
zone:
  name: example
  zonefile: ${file('example.zone', zone)}
zone:
  name: failing
  zonefile: absent.zone
remote-control:
  control-enable: no
`,
    );
    namespace.spawn('nsd', '-d', '-c', nsd);
  }

  function serveTcp(): void {
    const path = file(
      'haproxy.cfg',
      `
global
  nbthread 1
defaults
  timeout client 30s
  timeout connect 1s
  timeout server 30s
listen http
  mode http
  bind :::${PORTS.http} v4v6
  http-request return status 200 content-type text/plain string "hello"
listen reject
  mode tcp
  bind :::${PORTS.reject} v4v6
  tcp-request content reject
listen silent
  mode tcp
  bind :::${PORTS.silent} v4v6
  tcp-request inspect-delay 30s
  tcp-request content accept if WAIT_END
`,
    );
    namespace.spawn('haproxy', '-db', '-q', '-f', path);
    const [certificate, key] = [file('cert.pem', CERTIFICATE), file('key.pem', KEY)];
    namespace.spawn(
      'openssl',
      's_server',
      '-accept',
      String(PORTS.tls),
      '-cert',
      certificate,
      '-key',
      key,
      '-www',
      '-quiet',
    );
  }

  /** `up: …`, `down: …` or `unknown: …` of one check. */
  async function said(module: MonitorModule, port: number, options: Options, address: string = THEM): Promise<string> {
    const bench = runMonitor(module, options, { address, port }, { files: createFiles() });
    try {
      const health = await bench.result(1, 10_000);
      return health.is === 'up' ? `up: ${health.detail ?? ''}` : `${health.is}: ${health.reason}`;
    } finally {
      await bench.stop();
    }
  }

  type Case = readonly [what: string, port: number, options: Options, expected: string | RegExp, address?: string];

  function cases(module: MonitorModule, common: Options, each: readonly Case[]): void {
    for (const [what, port, options, expected, address] of each) {
      it(`${what}: ${String(expected)}`, async () => {
        const answer = await said(module, port, { ...common, ...options }, address);
        if (typeof expected === 'string') expect(answer).to.equal(expected);
        else expect(answer).to.match(expected);
      });
    }
  }

  const refused = 'down: Connection was refused by other side: 111: Connection refused.';
  const get = { send: ['GET / HTTP/1.0\r\n\r\n'], expect: ['hello'] };
  const secure = { tls: true, 'tls-servername': 'real.example' };

  describe('TCP', () => {
    cases(tcp, { timeout: 1 }, [
      ['a connection', PORTS.http, {}, 'up: '],
      ['a connection over IPv6', PORTS.http, {}, 'up: ', THEM6],
      ['words and an answer', PORTS.http, get, 'up: '],
      [
        'another answer',
        PORTS.http,
        { ...get, expect: ['goodbye'] },
        /^down: closed the connection before it said "goodbye", after "HTTP/,
      ],
      ['refused', 8009, {}, refused],
      ['refused over IPv6', 8009, {}, refused, THEM6],
      ['accepted and closed', PORTS.reject, get, 'down: closed the connection before it said "hello"'],
      ['accepted, then silence', PORTS.silent, get, 'down: in 1 seconds never said "hello"'],
      ['a slow drip', PORTS.drip, { expect: ['y'] }, /^down: in 1 seconds never said "y", after "x{5,}"$/],
      ['a drip that is enough', PORTS.drip, { expect: ['xxx'] }, 'up: '],
      [
        'a drip that is too long',
        PORTS.drip,
        { expect: ['y'], 'max-bytes': 5 },
        'down: 5 octets without "y", after "xxxxx"',
      ],
      ['too late', PORTS.drip, { expect: ['xxxxx'], 'max-latency': 0.1 }, /^down: took \d+ ms, longer than 100 ms$/],
      [
        'TLS without looking at the certificate',
        PORTS.tls,
        { ...secure, ...get, 'tls-verify': false, expect: ['HTTP/1.0 200 ok'] },
        'up: ',
      ],
      ['TLS with a certificate that nobody signed', PORTS.tls, secure, /^down: .*self-signed certificate/],
      ['TLS where none is spoken', PORTS.http, secure, /^down: .*(wrong version number|packet length)/i],
      ['TLS, and silence', PORTS.silent, secure, 'down: no connection with TLS in 1 seconds'],
      ['nobody', 80, { timeout: 5 }, 'down: No route to host: 113: No route to host.', NOBODY],
    ]);

    it('takes a certificate of an authority that it was told, and no other name', async () => {
      const trusting = { ...secure, 'tls-ca': join(folder, 'cert.pem'), timeout: 1 };
      expect(await said(tcp, PORTS.tls, trusting)).to.equal('up: ');
      const other = { ...trusting, 'tls-servername': 'other.example' };
      expect(await said(tcp, PORTS.tls, other)).to.match(/^down: .*other\.example.*real\.example/);
    });

    it('tells a reset from an end', async () => {
      await filter('tcp dport 8001 tcp flags & psh == psh reject with tcp reset');
      expect(await said(tcp, PORTS.http, { ...get, timeout: 1 })).to.equal(
        'down: reset the connection before it said "hello"',
      );
    });

    it('names a black hole, and what a firewall says', async () => {
      await filter('tcp dport 8001 drop', 'tcp dport 8002 reject with icmpx type admin-prohibited');
      expect(await said(tcp, PORTS.http, { timeout: 0.8 })).to.equal('down: no connection in 0.8 seconds');
      expect(await said(tcp, PORTS.reject, { timeout: 1 })).to.match(/^down: No route to host/);
    });
  });

  describe('DNS', () => {
    const ask = { name: 'www.example', timeout: 2 };
    cases(dns, ask, [
      ['an address', PORTS.dns, { answers: ['192.0.2.2'] }, /^up: NOERROR: 192\.0\.2\.[12], 192\.0\.2\.[12]$/],
      ['over IPv6', PORTS.dns, { type: 'AAAA', answers: ['2001:DB8::1'] }, 'up: NOERROR: 2001:db8::1', THEM6],
      [
        'over TCP',
        PORTS.dns,
        { transport: 'tcp', type: 'MX', name: 'example', authoritative: true },
        'up: NOERROR: 10 mx.example',
      ],
      ['too long for UDP', PORTS.dns, { name: 'big.example', type: 'TXT', 'min-answers': 40 }, /^up: NOERROR: \d+ x/],
      ['without EDNS', PORTS.dns, { 'edns-size': 0 }, /^up: /],
      [
        'another address',
        PORTS.dns,
        { answers: ['192.0.2.9'] },
        /^down: the answer to www.example A lacks 192\.0\.2\.9: 192/,
      ],
      ['no records', PORTS.dns, { type: 'MX' }, 'down: answered 0 records to www.example MX, not 1 or more'],
      ['NXDOMAIN', PORTS.dns, { name: 'a.nothing.test' }, 'down: answered NXDOMAIN to a.nothing.test A, not NOERROR'],
      ['REFUSED', PORTS.dns, { name: 'a.refused.test' }, 'down: answered REFUSED to a.refused.test A, not NOERROR'],
      ['SERVFAIL', PORTS.nsd, { name: 'a.failing' }, 'down: answered SERVFAIL to a.failing A, not NOERROR'],
      ['REFUSED by who has no such zone', PORTS.nsd, { name: 'a.test' }, /^down: answered REFUSED to a.test A/],
      ['with authority', PORTS.nsd, { recursion: false, authoritative: true }, 'up: NOERROR: 192.0.2.1'],
      ['nobody listens', 54, {}, `down: udp ${THEM}:54: ECONNREFUSED: ICMP port unreachable, says ${THEM}`],
      [
        'nobody listens over IPv6',
        54,
        {},
        `down: udp [${THEM6}]:54: ECONNREFUSED: ICMP port unreachable, says ${THEM6}`,
        THEM6,
      ],
      ['an echo', PORTS.echo, {}, 'down: sent the question back instead of an answer'],
      [
        'nobody',
        PORTS.dns,
        { timeout: 5 },
        `down: udp ${NOBODY}:53: EHOSTUNREACH: no neighbour answers for this address`,
        NOBODY,
      ],
    ]);

    it('names a black hole, over UDP and over TCP, and what a firewall says', async () => {
      await filter('udp dport 53 drop', 'tcp dport 53 drop', 'udp dport 54 reject with icmpx type admin-prohibited');
      const short = { ...ask, timeout: 0.6 };
      expect(await said(dns, 53, short)).to.equal('down: no answer to www.example A in 0.6 seconds, asked 3 times');
      expect(await said(dns, 53, { ...short, transport: 'tcp' })).to.equal('down: no TCP connection in 0.6 seconds');
      expect(await said(dns, 54, short)).to.equal(
        `down: udp ${THEM}:54: EHOSTUNREACH: ICMP communication prohibited, says ${THEM}`,
      );
    });

    it('says so when the answer is too long for UDP and TCP does not work', async () => {
      await filter('tcp dport 53 reject with tcp reset');
      expect(await said(dns, 53, { ...ask, name: 'big.example', type: 'TXT' })).to.equal(
        'down: cut short over UDP, and over TCP: Connection was refused by other side: 111: Connection refused.',
      );
    });

    it('is answered though half of the datagrams get lost', async () => {
      await filter('udp dport 53 numgen inc mod 2 == 0 drop');
      for (let i = 0; i < 3; i++) expect(await said(dns, 53, { ...ask, timeout: 1 })).to.match(/^up: /);
    });

    it('DNSQuery takes NXDOMAIN for an answer, SERVFAIL and silence not', async () => {
      const query = (hostname: string, options: Options = {}, port: number = PORTS.dns) =>
        said(dnsquery, port, { hostnames: [hostname], timeout: 8, ...options });
      expect(await query('www.example')).to.equal('up: ');
      expect(await query('a.nothing.test')).to.equal('up: ');
      expect(await query('a.nothing.test', { 'fail-on-nxdomain': true })).to.contain(
        'down: DNS query answered NXDOMAIN',
      );
      expect(await query('a.refused.test')).to.contain('down: DNS query refused, query: a.refused.test');
      expect(await query('a.failing', {}, PORTS.nsd)).to.contain('down: DNS server error, query: a.failing');
      await filter('udp dport 53 drop');
      expect(await query('www.example', { timeout: 0.8 })).to.contain('down: DNS query timeout, query: www.example');
    });
  });

  describe('UDP', () => {
    const echo = { send: ['ping\x00\xff'], expect: ['ping\x00\xff'], timeout: 1 };
    cases(udp, {}, [
      ['an echo', PORTS.echo, echo, 'up: 1 reply'],
      ['an echo over IPv6', PORTS.echo, echo, 'up: 1 reply', THEM6],
      [
        'another reply',
        PORTS.echo,
        { ...echo, expect: ['pong'], tries: 1 },
        'down: none of 1 replies contains "pong", the last is "ping\\x00\\xff"',
      ],
      ['nobody listens', 9, {}, `down: udp ${THEM}:9: ECONNREFUSED: ICMP port unreachable, says ${THEM}`],
      ['nobody listens, and a reply is expected', 9, echo, /^down: .*ICMP port unreachable/],
      ['nobody listens over IPv6', 9, {}, /^down: .*ICMP port unreachable, says fd00:213::2/, THEM6],
      ['nobody', 9, {}, `down: udp ${NOBODY}:9: EHOSTUNREACH: no neighbour answers for this address`, NOBODY],
      [
        'nobody beyond them',
        9,
        { timeout: 5 },
        /^down: .*EHOSTUNREACH: ICMP (network|host) unreachable, says 10\.213\.0\.2$/,
        BEYOND,
      ],
    ]);

    it('knows silence from an error only when a reply is expected', async () => {
      await filter('udp dport 7 drop', 'udp dport 8 reject with icmpx type admin-prohibited');
      expect(await said(udp, 7, { timeout: 0.8 })).to.equal('up: silent');
      expect(await said(udp, 7, { ...echo, timeout: 0.8 })).to.equal('down: no reply in 0.8 seconds, sent 3 times');
      expect(await said(udp, 8, { timeout: 0.8 })).to.match(
        /^down: .*ICMP communication prohibited, says 10\.213\.0\.2$/,
      );
    });

    it('gets its reply though half of the datagrams get lost', async () => {
      await filter('udp dport 7 numgen inc mod 2 == 0 drop');
      for (let i = 0; i < 3; i++) expect(await said(udp, 7, echo)).to.equal('up: 1 reply');
    });
  });

  describe('Ping', () => {
    const quick = { timeout: 1, pause: 0.05 };
    cases(ping, quick, [
      ['a host', 0, {}, /^up: 1 of 1 answered, the fastest in \d+\.\d ms$/],
      ['a host over IPv6', 0, { need: 3 }, /^up: 3 of 3 answered/, THEM6],
      ['large packets', 0, { bytes: 4000 }, /^up: /],
      [
        'nobody',
        0,
        { timeout: 5 },
        /^down: 0 of 3 pings answered, 1 needed: ping 10\.213\.0\.77: EHOSTUNREACH: /,
        NOBODY,
      ],
      [
        'too many hops',
        0,
        { ttl: 1 },
        /^down: .*: ping 10\.213\.8\.8: EHOSTUNREACH: ICMP TTL exceeded, says 10\.213\.0\.2$/,
        BEHIND,
      ],
    ]);

    it('names a black hole, and what a firewall says', async () => {
      await filter(
        'icmp type echo-request drop',
        'meta l4proto ipv6-icmp icmpv6 type echo-request reject with icmpv6 type admin-prohibited',
      );
      expect(await said(ping, 0, { ...quick, timeout: 0.8 })).to.equal('down: 0 of 3 pings answered, 1 needed');
      expect(await said(ping, 0, quick, THEM6)).to.match(/^down: .*ICMP communication prohibited, says fd00:213::2$/);
    });

    it('allows for as much loss as it was told', async () => {
      await filter('icmp type echo-request numgen inc mod 3 < 2 drop');
      expect(await said(ping, 0, quick)).to.match(/^up: 1 of 3 answered/);
      expect(await said(ping, 0, { ...quick, need: 2, timeout: 0.8 })).to.match(
        /^down: 1 of 3 pings answered, 2 needed/,
      );
    });

    it('takes a reply that comes too late for none', async () => {
      expect(await said(ping, 0, { ...quick, 'max-latency': 0.00001 })).to.match(
        /^down: .*3 later than 0\.01 ms, the fastest in/,
      );
      expect(await said(ping, 0, { ...quick, 'max-latency': 0.9 })).to.match(/^up: /);
    });

    it('is not confused by a hundred others at the same time', async () => {
      const all = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          said(ping, 0, { ...quick, need: 3, timeout: 3 }, i % 2 === 0 ? THEM : THEM6),
        ),
      );
      expect(all.filter((each) => !each.startsWith('up: 3 of 3'))).to.deep.equal([]);
    });

    describe('from a process without privileges', () => {
      /** One check from their end of the wire, of our own, by a process that has no CAP_NET_RAW. */
      async function unprivileged(address: string, groups: string, options: Options = {}): Promise<string> {
        await inside('sysctl', '-qw', `net.ipv4.ping_group_range=${groups}`);
        const order = JSON.stringify({ monitor: 'Ping', options: { ...quick, ...options }, target: { address } });
        const drop = ['--bounding-set=-net_raw', '--inh-caps=-net_raw'];
        const health: unknown = JSON.parse(await inside('setpriv', ...drop, process.execPath, CHILD, order));
        return JSON.stringify(health);
      }

      it('pings where ping_group_range allows it, with ICMP errors told', async () => {
        expect(await unprivileged(US, '0 1000')).to.match(/"is":"up"/);
        expect(await unprivileged('fd00:213::1', '0 1000', { need: 3 })).to.match(/"is":"up"/);
        expect(await unprivileged(NOBODY, '0 1000', { timeout: 5 })).to.match(/"is":"down".*EHOSTUNREACH/);
      });

      it('says that it knows nothing where ping_group_range does not', async () => {
        expect(await unprivileged(US, '1 0')).to.match(
          /"is":"unknown","reason":"ping 10\.213\.0\.1: EACCES: net\.ipv4\.ping_group_range leaves out this process's group/,
        );
      });
    });
  });
});
