// [peer …] sections and the bgp-… options of [global] that are their defaults: what comes of them, and every complaint.

import { expect } from 'chai';
import { printComplaint } from '../../../src/lib/errors.ts';
import type { PeerConfig } from '../../../src/config/types.ts';
import { configOf, decodeText } from '../../support/config.ts';
import { peerConfig } from '../../support/peer-config.ts';

// [peer r1] is line 6, and what is said of it begins in line 8.
const conf = (peer: string, global = '', name = 'r1', address = 'peer-address = 192.0.2.1'): string => `[global]
bgp = yes
bgp-local-asn = 64600
bgp-nexthop-ipv4 = 192.0.2.10
${global === '' ? '# nothing more' : global}
[peer ${name}]
${address}
${peer}
[web]
protocol = tcp
ip = 198.51.100.80
port = 80
config = file:///pools/web
monitors = ['IdleConnection']
scheduler = wrr
`;

async function peerOf(peer: string, global = ''): Promise<PeerConfig | undefined> {
  // Announced, it would want a peer of its family.
  return (await configOf(`${conf(peer, global)}bgp = no\n`)).peers[0];
}

async function complaintsOf(text: string): Promise<readonly string[]> {
  return (await decodeText(text)).complaints.map(printComplaint);
}

describe('config/peer', () => {
  it('has a default for everything', async () => {
    const name = 'r1';
    const place = { file: 'pybal.conf', line: 6 };
    const given = { asPath: [64600], med: 0, nextHopIpv4: '192.0.2.10' };
    expect(await peerOf('')).to.deep.equal(peerConfig({ address: '192.0.2.1', name, place, ...given }));
  });

  const values: readonly (readonly [option: string, value: string, wanted: Partial<PeerConfig>])[] = [
    ['peer-as', '64601', { peerAs: 64601 }],
    ['peer-port', '1179', { port: 1179 }],
    ['passive', 'yes', { passive: true }],
    ['families', 'ipv6', { families: [6] }],
    ['families', 'ipv6 ipv4', { families: [4, 6] }],
    ['as-path', '1 2 3', { asPath: [1, 2, 3] }],
    ['prepend', '2', { prepends: 2 }],
    ['med', '77', { med: 77 }],
    ['local-pref', '50', { localPref: 50 }],
    ['communities', '64600:1 blackhole, no-peer', { communities: [0xfc580001, 0xffff029a, 0xffffff04] }],
    ['large-communities', '1:2:4294967295', { largeCommunities: [[1, 2, 4_294_967_295]] }],
    ['extended-communities', 'rt:64600:100', { extendedCommunities: [[0x0002fc58, 100]] }],
    ['extended-communities', 'so:192.0.2.1:5', { extendedCommunities: [[0x0103c000, 0x02010005]] }],
    ['extended-communities', 'rt:4200000000:7', { extendedCommunities: [[0x0202fa56, 0xea000007]] }],
    ['extended-communities', '0x40040001aabbccdd', { extendedCommunities: [[0x40040001, 0xaabbccdd]] }],
    ['link-bandwidth', '10000', { linkBandwidth: 1_250_000_000 }],
    ['nexthop-ipv6', '2001:DB8::1', { nextHopIpv6: '2001:db8::1' }],
    ['maximum-prefixes', '100', { maximumPrefixes: 100 }],
    ['hold-time', '0', { holdTimeSeconds: 0 }],
    ['hold-time', '300', { holdTimeSeconds: 300, sendHoldSeconds: 600 }],
    ['keepalive', '1', { keepaliveSeconds: 1 }],
    ['send-hold-time', '0', { sendHoldSeconds: 0 }],
    ['connect-retry', '2.5', { connectRetrySeconds: 2.5 }],
    ['connect-timeout', '10', { connectTimeoutSeconds: 10 }],
    ['graceful-restart', 'restart', { gracefulRestart: 'restart' }],
    ['graceful-restart-time', '60', { gracefulRestartSeconds: 60 }],
    ['graceful-shutdown-wait', '1.5', { gracefulShutdownSeconds: 1.5 }],
    ['password', '50 %s (of) "it"', { password: { from: 'text', text: '50 %s (of) "it"' } }],
    ['password-file', '/etc/key', { password: { from: 'file', path: '/etc/key' } }],
    ['tcp-ao-file', '/etc/ao', { tcpAoFile: '/etc/ao' }],
    ['ttl-security', '1', { ttlSecurityHops: 1 }],
    ['ttl', '2', { ttl: 2 }],
    ['dscp', '0', { dscp: 0 }],
  ];
  for (const [option, value, wanted] of values) {
    it(`${option} = ${value} is said of one peer, or as bgp-${option} of all`, async () => {
      expect(await peerOf(`${option} = ${value}`)).to.deep.include(wanted);
      if (option !== 'nexthop-ipv4') expect(await peerOf('', `bgp-${option} = ${value}`)).to.deep.include(wanted);
    });
  }

  it('a peer that says one kind of key has none of the others of [global]', async () => {
    const global = 'bgp-password-file = /etc/all';
    expect(await peerOf('password = own', global)).to.deep.include({ password: { from: 'text', text: 'own' } });
    expect(await peerOf('tcp-ao-file = /ao', global)).to.deep.include({ password: null, tcpAoFile: '/ao' });
    const ao = 'bgp-tcp-ao-file = /ao';
    expect(await peerOf('password = own', ao)).to.deep.include({ tcpAoFile: null });
  });

  it('a link-local peer has its interface in its address, and no source address of another scope', async () => {
    const global = 'bgp-local-address = 2001:db8::10';
    const { peers } = await configOf(conf('', global, 'fe80::1%eth0', '# none'));
    expect(peers[0]).to.deep.include({ name: 'fe80::1%eth0', address: 'fe80::1%eth0', localAddress: null });
  });

  const wrong: readonly (readonly [peer: string, complaint: string])[] = [
    ['tcp-ao-file = /ao\npassword = own', 'tcp-ao-file: is TCP-AO, and password TCP-MD5: a session has one of them'],
    [
      'tcp-ao-file = /ao\npassword-file = /key',
      'tcp-ao-file: is TCP-AO, and password-file TCP-MD5: a session has one of them',
    ],
    ['families = ipv5', 'families: “ipv5” is not known (did you mean ipv4?)'],
    ['prepend = 33', 'prepend: 33 is not between 0 and 32'],
    [
      'communities = 65536:1',
      'communities: “65536:1” is not a community: asn:value with both up to 65535, or a well-known name',
    ],
    [
      'large-communities = 1:2',
      'large-communities: “1:2” is not a large community: three numbers up to 4294967295, as 64600:1:100',
    ],
    [
      'extended-communities = rt:70000:65536',
      'extended-communities: “rt:70000:65536” is not an extended community: rt:asn:number, so:address:number, or 0x and 16 digits',
    ],
    ['hold-time = 2', 'hold-time: 2 is not allowed: 0, or 3 and more'],
    ['keepalive = 4', 'keepalive: 4 is more than a third of the hold time, 9'],
    ['send-hold-time = 9', 'send-hold-time: 9 is not longer than the hold time, 9'],
    ['connect-timeout = 0', 'connect-timeout: 0 is not between 1 and 120 seconds'],
    ['graceful-restart = on', 'graceful-restart: “on” is not known, one of off, helper, restart'],
    ['maximum-prefixes = 0', 'maximum-prefixes: 0 is not between 1 and 4294967295'],
    ['password-file = key', 'password-file: “key” is not an absolute path'],
    ['ttl-security = 255', 'ttl-security: 255 is not between 0 and 254'],
    ['dscp = 64', 'dscp: 64 is not between 0 and 63'],
    ['local-as = 23456', 'local-as: AS 23456 is reserved'],
    ['local-address = 2001:db8::1', 'local-address: 2001:db8::1 is of the other family than 192.0.2.1'],
  ];
  for (const [peer, complaint] of wrong) {
    it(`${peer} is refused with its line, and nothing else is`, async () => {
      const { config, complaints } = await decodeText(conf(peer));
      expect(complaints.map(printComplaint)).to.deep.equal(
        [
          `pybal.conf:8: [peer r1] ${complaint}`,
          'pybal.conf:6: warning: [peer r1] not usable: the peer is left out',
        ].toSorted((a, b) => Number(a.split(':')[1]) - Number(b.split(':')[1])),
      );
      expect(config?.peers).to.deep.equal([]);
      expect(config?.services).to.have.length(1);
    });
  }

  it('a misspelt option is named with what was meant', async () => {
    expect(await complaintsOf(conf('pasword = x'))).to.deep.equal([
      'pybal.conf:8: warning: [peer r1] pasword: no such option, ignored (did you mean password?)',
    ]);
    expect(await complaintsOf(conf('', 'bgp-ttl-securty = 1'))).to.deep.equal([
      'pybal.conf:5: warning: [global] bgp-ttl-securty: no such option, ignored (did you mean bgp-ttl-security?)',
    ]);
  });

  it('TTL and GTSM contradict each other, in one section or across two', async () => {
    const complaint = 'ttl: is always 255 with ttl-security';
    expect(await complaintsOf(conf('ttl = 2\nttl-security = 1'))).to.include(`pybal.conf:8: [peer r1] ${complaint}`);
    expect(await complaintsOf(conf('ttl-security = 1', 'bgp-ttl = 2'))).to.include(
      `pybal.conf:6: [peer r1] ${complaint}`,
    );
  });

  it('a link-local address needs an interface, and no other has one', async () => {
    const wanting = await complaintsOf(conf('', '', 'r1', 'peer-address = fe80::1'));
    const complaint = 'peer-address: fe80::1 is link-local and needs its interface: fe80::1%%eth0';
    expect(wanting).to.include(`pybal.conf:7: [peer r1] ${complaint}`);
    expect((await complaintsOf(conf('', '', 'fe80::1', '# none'))).join()).to.contain('its interface: fe80::1%eth0');
    const having = await complaintsOf(conf('', '', 'r1', 'peer-address = 2001:db8::1%%eth0'));
    expect(having.join()).to.match(/:7: .* peer-address: .*2001:db8::1%eth0 is not link-local/);
    const other = conf('local-address = fe80::2%%eth1', '', 'fe80::1%eth0', '# none');
    expect((await complaintsOf(other)).join()).to.contain('fe80::2%eth1 is not on the interface of fe80::1%eth0');
  });

  it('no complaint shows a password, whatever is wrong with it or near it', async () => {
    const secret = `hunter%(two)s${'x'.repeat(80)}`;
    for (const text of [
      conf(`password = ${secret}`),
      conf(`password = ${secret}\npassword-file = /key`),
      conf(`password = ${secret}\ntcp-ao-file = /ao`),
      conf('', `bgp-password = ${secret}`),
      conf(`bfd = yes\nbfd-auth = md5\nbfd-auth-key = ${secret}`),
    ]) {
      const complaints = (await complaintsOf(text)).join('\n');
      expect(complaints).to.match(/octets|not used|characters|one of them/);
      expect(complaints).not.to.contain('hunter').and.not.to.contain('two').and.not.to.contain('xxx');
    }
  });

  it('a virtual IP is neither router id, source address, next hop nor router', async () => {
    const vip = '198.51.100.80';
    for (const text of [
      conf('', `bgp-router-id = ${vip}`),
      conf('', `bgp-local-ips = ${vip}`),
      conf(`local-address = ${vip}`),
      conf(`nexthop-ipv4 = ${vip}`),
      conf('', '', 'r1', `peer-address = ${vip}`),
    ]) {
      const { config, complaints } = await decodeText(text);
      expect(complaints.map(printComplaint).join('\n'))
        .to.contain(`ip: ${vip} is`)
        .and.contain('can not be a virtual IP');
      expect(config?.services).to.deep.equal([]);
    }
  });
});
