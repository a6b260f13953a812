import { expect } from 'chai';
import { printComplaint } from '../../../src/lib/errors.ts';
import { FLAG } from '../../../src/ipvs/table.ts';
import { configOf, decodeText } from '../../support/config.ts';

// As Wikimedia's template writes it: [DEFAULT] with monitor options, underscores, evaluated lists, keys of later versions.
const WIKIMEDIA = `
[DEFAULT]
# Global defaults
depool-threshold = .5
proxyfetch.interval = 10
scheduler = wrr
protocol = tcp
bgp = yes

[global]
bgp = yes
bgp-local-asn = 64600
bgp-peer-address = [ '192.0.2.1', "2001:DB8::1" ]
bgp-nexthop-ipv4 = 192.0.2.10
bgp-nexthop-ipv6 = 2001:db8::10
bgp-med = 100
bgp-as-path = 64600 64700
instrumentation = yes
instrumentation_ips = [ '127.0.0.1', '::1', '192.0.2.10' ]
dry-run = false

[text_80]
protocol = tcp
ip = 198.51.100.80
port = 80
scheduler = sh
config = http://config.example.org/pools/text
bgp-med = 0
monitors = [ 'IdleConnection',
             'ProxyFetch', ]
ProxyFetch.URL = [ 'http://en.example.org/wiki/Main?a=1;b#c' ]
IdleConnection.max-delay: 30   ; a comment

[dns_53_udp]
protocol = udp
ip = 2001:DB8:0::53
port = 53
config = file:///etc/pybal/dns
monitors = [ "RunCommand", 'DNSQuery' ]
runcommand.command = /usr/local/bin/check
runcommand.arguments = [ '-H', server.host, u'-p', server.port ]
dnsquery.hostnames = [ 'www.example.org' ]
ops = yes
`;

describe('config/decode', () => {
  it('reads an unchanged pybal.conf with only warnings', async () => {
    const { config, complaints } = await decodeText(WIKIMEDIA);
    expect(complaints.map(printComplaint)).to.deep.equal([
      'pybal.conf:20: warning: [global] dry-run: has no effect in the file, as in PyBal: use --dryrun',
      'pybal.conf:39: warning: [dns_53_udp] monitors: DNSQuery is not in this version, skipped',
    ]);
    expect(config?.global).to.deep.include({ bgp: true, instrumentation: true, instrumentationPort: 9090 });
    expect(config?.global.instrumentationAddresses).to.deep.equal(['127.0.0.1', '::1', '192.0.2.10']);
    expect(config?.peers.map((peer) => [peer.name, peer.port, peer.holdTimeSeconds, peer.med])).to.deep.equal([
      ['192.0.2.1', 179, 9, 100],
      ['2001:db8::1', 179, 9, 100],
    ]);
    expect(config?.peers[0]).to.deep.include({ localAs: 64600, peerAs: null, asPath: [64600, 64700] });
    const [text, dns] = config?.services ?? [];
    expect(text).to.deep.include({
      name: 'text_80',
      vip: '198.51.100.80',
      scheduler: 'sh',
      depoolThreshold: 0.5,
      bgpMed: 0,
      forward: 'dr',
      realPort: 80,
      announce: 'served',
    });
    expect(text?.monitors).to.deep.equal([
      { name: 'IdleConnection', options: { 'max-delay': 30, keepalive: true } },
      {
        name: 'ProxyFetch',
        options: {
          url: ['http://en.example.org/wiki/Main?a=1;b#c'],
          interval: 10,
          http_status: 200,
          check_all: false,
        },
      },
    ]);
    expect(dns).to.deep.include({ vip: '2001:db8::53', family: 6, flags: FLAG.onePacket, scheduler: 'wrr' });
    expect(dns?.monitors[0]?.options).to.deep.equal({
      command: '/usr/local/bin/check',
      arguments: ['-H', { server: 'host' }, '-p', { server: 'port' }],
    });
  });
});
