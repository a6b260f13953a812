// Options that contradict each other, or do nothing: with the monitors as they are built in.

import { expect } from 'chai';
import { decodeConfig } from '../../../src/config/decode.ts';
import { scanText } from '../../../src/config/text.ts';
import { loadMonitor } from '../../../src/health/loader.ts';
import { printComplaint } from '../../../src/lib/errors.ts';

/** What is said of a service with these options, from line 7 on. */
async function said(monitor: string, options: readonly string[], source = 'file:///pools/text', defaults = '') {
  const head = ['[web]', 'protocol = tcp', 'ip = 198.51.100.1', 'port = 80', 'scheduler = wrr'];
  const monitors = monitor === '' ? 'monitors = []' : `monitors = [ '${monitor}' ]`;
  const text = [...head, `config = ${source}`, ...options, monitors, defaults].join('\n');
  const { complaints } = await decodeConfig(scanText(`${text}\n`, 'pybal.conf'), {
    monitor: (name) => loadMonitor(name, []),
    lastGood: new Map(),
    strict: false,
  });
  return complaints
    .map(printComplaint)
    .filter((line) => !/no monitors: every|not usable: what it has/.test(line))
    .map((line) => line.replace('pybal.conf:', '').replace('[web] ', ''));
}

describe('The source of a pool', () => {
  for (const [source, why] of [
    ['etcd://', 'not etcd://host:port/folder'],
    ['etcd:///pools/text', 'not etcd://host:port/folder'],
    ['etcd://conf', 'the folder of the pool is missing, write etcd://host:port/folder'],
    ['etcd://a,:2379/pools/text', 'not etcd://host:port/folder'],
    ['etcd://a:0/pools/text', 'not etcd://host:port/folder'],
    ['etcd://a:99999/pools/text', '“etcd://a:99999/pools/text” is not a URL'],
    ['dns://', 'not dns://name'],
    ['dns:///name', 'not dns://name'],
    ['dns://a..b', 'not dns://name'],
    ['srv://www.example.org', 'not srv://_service._proto.name'],
    ['k8s://', 'not k8s://host:port'],
    ['k8s:///', 'not k8s://host:port'],
    ['k8s://token@/', '“k8s://***@/” is not a URL'],
  ] as const)
    it(`can not be ${source}`, async () => {
      expect((await said('', [], source))[0])
        .to.match(/^6: config: /)
        .and.to.contain(why.replace(/“.*” /, ''));
    });

  it('can be in etcd on IPv6, in DNS and in Kubernetes behind a path', async () => {
    for (const source of [
      'etcd://[2001:db8::1]:2379,[2001:db8::2]/conftool/v1/pools/text',
      'dns://text.example.org.',
      'srv://_http._tcp.example.org',
      'k8s://api.example.org/clusters/1',
    ])
      expect(await said('', [], source), source).to.deep.equal([]);
  });

  for (const [title, source, options, complaints] of [
    [
      'a file has no use for any of them',
      'file:///pools/text',
      ['config-ca = /a', 'config-etcd-api = v2'],
      [
        '7: warning: config-ca: has no effect: file:// does not use it',
        '8: warning: config-etcd-api: has no effect: file:// does not use it',
      ],
    ],
    ['https is TLS', 'https://a/x', ['config-tls = off'], ['7: config-tls: off contradicts https://, write http://']],
    [
      'http is not',
      'http://a/x',
      ['config-tls = insecure', 'config-token-file = /t'],
      [
        '7: warning: config-tls: has no effect: http:// does not use it',
        '8: warning: config-token-file: is sent where everybody on the way can read it: http:// without TLS',
      ],
    ],
    [
      'etcd without TLS shows a password and needs no authorities',
      'etcd://a/x',
      ['config-tls = off', 'config-ca = /a', 'config-user = me', 'config-password-file = /p'],
      [
        '8: warning: config-ca: has no effect with config-tls = off',
        '10: warning: config-password-file: is sent where everybody on the way can read it: etcd:// without TLS',
      ],
    ],
    [
      'etcd knows no tokens and no labels',
      'etcd://a/x',
      ['config-token-file = /t', 'config-label-selector = a=b'],
      [
        '7: warning: config-token-file: has no effect: etcd:// does not use it',
        '8: warning: config-label-selector: has no effect: etcd:// does not use it',
      ],
    ],
    [
      'who trusts anybody needs no authorities',
      'k8s://a',
      ['config-tls = insecure', 'config-ca = /a', 'config-node-address = internal-ip'],
      ['8: warning: config-ca: has no effect: config-tls = insecure trusts anybody'],
    ],
  ] as const)
    it(`warns of options that do nothing: ${title}`, async () => {
      expect(await said('', options, source)).to.deep.equal(complaints);
    });

  it('need not use everything that [DEFAULT] gives', async () => {
    expect(await said('', [], 'file:///pools/text', '[DEFAULT]\nconfig-ca = /a')).to.deep.equal([]);
  });
});

const PLAIN = "http.url = [ 'http://a/' ]";
const SECURE = "http.url = [ 'https://a/' ]";

describe('Options of a monitor', () => {
  for (const [monitor, options, complaints] of [
    ['HTTP', [PLAIN, 'http.max-failures = 2'], ['8: warning: http.max-failures: has no effect: only one URL is asked']],
    ['HTTP', [PLAIN, 'http.tls-ca = /a'], ['8: warning: http.tls-ca: has no effect: no URL is https://']],
    ['HTTP', [PLAIN, 'http.alpn = http/1.1'], ['8: warning: http.alpn: has no effect: no URL is https://']],
    ['HTTP', [PLAIN, 'http.alpn = h2'], []],
    ['HTTP', [PLAIN, 'http.max-body = 1048577'], ['8: http.max-body: 1048577 is not between 1 and 1048576']],
    ['HTTP', [PLAIN, 'http.max-body = 1048576', 'http.expect-regex = "up": ?(true|1)'], []],
    [
      'HTTP',
      [PLAIN, 'http.expect-regex = a.{0,50}b'],
      ['8: http.expect-regex: too much work for a body of 65536 bytes: max-body can be 3883 with it'],
    ],
    ['HTTP', [PLAIN, 'http.max-latency = 5'], ['8: warning: http.max-latency: has no effect: the timeout, 5, comes']],
    ['HTTP', [PLAIN, 'http.max-latency = 4.9'], []],
    ['HTTP', [SECURE, 'http.sni = 192.0.2.1'], ['8: http.sni: 192.0.2.1 is an address, which is no server name']],
    ['HTTP', [SECURE, 'http.sni = 2001:db8::1'], ['8: http.sni: 2001:db8::1 is an address, which is no server name']],
    ['HTTP', [SECURE, 'http.sni = www.example.org', 'http.tls-verify-name = 192.0.2.1'], []],
    [
      'HTTP',
      [SECURE, 'http.tls-verify = no', 'http.tls-ca = /a'],
      ['9: warning: http.tls-ca: has no effect: nothing is verified'],
    ],
    ['TCP', ['tcp.tls-verify = no'], ['7: warning: tcp.tls-verify: has no effect: no TLS is spoken']],
    ['TCP', ['tcp.tls = yes', 'tcp.tls-servername = 10.0.0.1'], ['8: tcp.tls-servername: 10.0.0.1 is an address']],
    ['TCP', ['tcp.max-latency = 9'], ['7: warning: tcp.max-latency: has no effect: the timeout, 5, comes first']],
    ['TCP', ["tcp.expect = [ 'abcd' ]", 'tcp.max-bytes = 3'], ['7: tcp.expect: more than the 3 octets of max-bytes']],
    ['TCP', ["tcp.expect = [ 'ab', 'cd' ]", 'tcp.max-bytes = 4'], []],
    ['TCP', ['tcp.match = starts'], ['7: warning: tcp.match: has no effect: nothing is expected']],
    ['SMTP', ['smtp.tls-ca = /a'], ['7: warning: smtp.tls-ca: has no effect: no TLS is spoken']],
    ['GRPC', ['grpc.tls-servername = a'], ['7: warning: grpc.tls-servername: has no effect: no TLS is spoken']],
    ['UDP', ['udp.tries = 5'], ['7: warning: udp.tries: has no effect: nothing is expected']],
    ['UDP', ["udp.expect = [ 'a' ]", 'udp.icmp-timeout = 5'], ['8: warning: udp.icmp-timeout: has no effect: a reply']],
    ['Ping', ['ping.max-latency = 10'], ['7: warning: ping.max-latency: has no effect: the timeout, 3, comes first']],
    [
      'DNS',
      ['dns.name = a', "dns.answers = [ '192.0.2.300' ]"],
      ['8: dns.answers: “192.0.2.300” is no data of A, write'],
    ],
    [
      'DNS',
      ['dns.name = a', 'dns.type = AAAA', "dns.answers = [ '192.0.2.1' ]"],
      ['9: dns.answers: “192.0.2.1” is no'],
    ],
    ['DNS', ['dns.name = a', 'dns.type = AAAA', "dns.answers = [ '2001:DB8:0::1' ]"], []],
    ['DNS', ['dns.name = a', 'dns.type = MX', "dns.answers = [ 'mx1' ]"], ['9: dns.answers: “mx1” is no data of MX']],
    ['DNS', ['dns.name = a', 'dns.type = MX', "dns.answers = [ '10  mx1.example.org.' ]"], []],
    ['DNS', ['dns.name = a', 'dns.type = SRV', "dns.answers = [ '0 5 443 a.example' ]"], []],
    ['DNS', ['dns.name = a', 'dns.type = CAA', `dns.answers = [ '0 issue "ca.example.org"' ]`], []],
    ['DNS', ['dns.name = a', 'dns.type = TXT', "dns.answers = [ 'v=spf1 -all' ]"], []],
    [
      'DNS',
      ['dns.name = a', 'dns.rcode = NXDOMAIN', "dns.answers = [ '192.0.2.1' ]"],
      ['9: warning: dns.answers: has no effect: they are looked at with NOERROR only'],
    ],
    [
      'ProxyFetch',
      ["proxyfetch.url = [ 'http://a/', 'http://b/' ]", 'proxyfetch.max_failures = 1'],
      ['8: warning: proxyfetch.max_failures: has no effect: only one URL is asked for in each check'],
    ],
    [
      'ProxyFetch',
      ["proxyfetch.url = [ 'http://a/' ]", 'proxyfetch.check_all = yes', 'proxyfetch.max_failures = 1'],
      ['9: DANGER: proxyfetch.max_failures: of 1 URL 1 may fail: no server is ever down'],
    ],
    [
      'ProxyFetch',
      ["proxyfetch.url = [ 'http://a/' ]", 'proxyfetch.http_status = 404'],
      ['8: warning: proxyfetch.http_status: 404 means 200, 201 or 202, as in PyBal'],
    ],
  ] as const)
    it(`are looked at together: ${monitor}, ${options.join(', ')}`, async () => {
      const found = await said(monitor, options);
      expect(found.map((line, i) => line.slice(0, complaints[i]?.length))).to.deep.equal(complaints);
    });

  it('that [DEFAULT] gives to everybody need not be of use to each', async () => {
    expect(await said('HTTP', [PLAIN], 'file:///a', '[DEFAULT]\nhttp.tls-ca = /a')).to.deep.equal([]);
  });
});
