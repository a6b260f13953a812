import { expect } from 'chai';
import fc from 'fast-check';
import { decodeConfig } from '../../../src/config/decode.ts';
import { GLOBAL_OPTIONS, SERVICE_OPTIONS } from '../../../src/config/options.ts';
import { PEER_OPTIONS } from '../../../src/config/options-bgp.ts';
import { scanText } from '../../../src/config/text.ts';
import type { MonitorModule } from '../../../src/health/monitor.ts';
import { printComplaint } from '../../../src/lib/errors.ts';
import { FLAG } from '../../../src/ipvs/table.ts';
import { ANY_CHARACTER } from '../../support/any-character.ts';
import { configOf, decodeText } from '../../support/config.ts';
import { AS_ALWAYS } from '../../support/service-config.ts';
import { peerConfig } from '../../support/peer-config.ts';
import { fakeMonitor } from '../../support/fake-monitor.ts';

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
  it('reads an unchanged pybal.conf without an error', async () => {
    const { config, complaints } = await decodeText(WIKIMEDIA);
    expect(complaints.map(printComplaint)).to.deep.equal([
      'pybal.conf:20: warning: [global] dry-run: has no effect in the file, as in PyBal: use --dryrun',
      'pybal.conf:39: DANGER: [dns_53_udp] monitors: DNSQuery is not in this version, skipped',
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
      { name: 'IdleConnection', options: { 'max-delay': 30, keepalive: true }, pace: AS_ALWAYS, via: 'server' },
      {
        name: 'ProxyFetch',
        options: {
          url: ['http://en.example.org/wiki/Main?a=1;b#c'],
          interval: 10,
          http_status: 200,
          check_all: false,
        },
        pace: AS_ALWAYS,
        via: 'server',
      },
    ]);
    expect(dns).to.deep.include({ vip: '2001:db8::53', family: 6, flags: FLAG.onePacket, scheduler: 'wrr' });
    expect(dns?.monitors[0]?.options).to.deep.equal({
      command: '/usr/local/bin/check',
      arguments: ['-H', { server: 'host' }, '-p', { server: 'port' }],
    });
  });

  const web = (more = '', name = 'web', port = 80) => `
[${name}]
protocol = tcp
ip = 198.51.100.80
port = ${port}
scheduler = wrr
config = file:///etc/pybal/web
monitors = [ 'IdleConnection' ]
${more}`;

  it('fills in every default', async () => {
    const { global, services, peers, quarantined } = await configOf(web());
    expect(global).to.deep.equal({
      bgp: false,
      routerId: null,
      bgpLocalAddresses: ['::'],
      bgpLocalPort: 179,
      bfdWedgedSeconds: 2,
      instrumentation: false,
      instrumentationPort: 9090,
      instrumentationAddresses: ['127.0.0.1', '::1'],
      backend: 'auto',
      stateDirectory: '/var/lib/anybal',
      controlSocket: '/run/anybal/control.sock',
      logFile: null,
      logFormat: 'text',
      monitorDirectories: ['/usr/local/lib/anybal/monitors'],
      reconcilePeriodSeconds: 5,
      reconcileLimitSeconds: 10,
      withdrawWaitSeconds: 1,
      resolveIntervalSeconds: 60,
      uplinks: [],
      path: {
        firstMark: 0x0a000000,
        firstPort: 10_240,
        lastPort: 32_767,
        portsPerServer: 8,
        holdSeconds: 960,
        sources: [],
      },
    });
    expect(services).to.deep.equal([
      {
        name: 'web',
        place: { file: 'pybal.conf', line: 2 },
        protocol: 'tcp',
        vip: '198.51.100.80',
        family: 4,
        port: 80,
        scheduler: 'wrr',
        flags: 0,
        persistenceSeconds: 0,
        persistencePrefix: 32,
        forward: 'dr',
        realPort: 80,
        source: 'file:///etc/pybal/web',
        sourceAccess: {
          etcdApi: 'auto',
          tls: 'verify',
          caFile: null,
          certificateFile: null,
          keyFile: null,
          user: null,
          passwordFile: null,
          tokenFile: null,
          labelSelector: null,
          nodeAddress: 'name',
        },
        depoolThreshold: 0.5,
        monitors: [
          { name: 'IdleConnection', options: { 'max-delay': 300, keepalive: true }, pace: AS_ALWAYS, via: 'server' },
        ],
        monitorsNeeded: 1,
        unwatched: null,
        rise: 1,
        fall: 1,
        bgp: true,
        bgpMed: null,
        announce: 'served',
        announceQuorum: 0.5,
        announceQuorumLow: 0.5,
        vipPolicy: 'any',
        vipPresence: 'lo',
        adminFloor: false,
        depoolAction: 'delete',
        drainSeconds: 300,
        slowStartSeconds: 0,
        startGraceSeconds: 30,
        freezeLimitSeconds: 300,
        poolShrinkLimit: 0.5,
        poolShrinkConfirmSeconds: 300,
      },
    ]);
    expect([peers, quarantined]).to.deep.equal([[], []]);
  });

  it('turns scheduler flags, persistence and one-packet scheduling into what the kernel calls them', async () => {
    const first = async (more: string) => (await configOf(web(more).replace('scheduler = wrr', ''))).services[0];
    expect(await first('scheduler = sh\nscheduler-flags = sh-port sh-fallback')).to.deep.include({
      flags: FLAG.sched1 | FLAG.sched2,
    });
    expect((await first('scheduler = sh\nscheduler-flags = sh-port'))?.flags).to.equal(FLAG.sched2);
    expect((await first('scheduler = mh\nscheduler-flags = mh-fallback'))?.flags).to.equal(FLAG.sched1);
    expect(
      await first('scheduler = wlc\npersistence-timeout = 600\npersistence-netmask = 255.255.255.0'),
    ).to.deep.include({ flags: FLAG.persistent, persistenceSeconds: 600, persistencePrefix: 24 });
    expect(await first('scheduler = rr\npersistence-netmask = /20')).to.deep.include({
      flags: 0,
      persistencePrefix: 20,
    });
  });

  it('takes the pace of a monitor from its own options, else from the service', async () => {
    const text = `${web()}\nproxyfetch.url = 'http://h/'\nproxyfetch.slow-interval = 90\nfast-interval = 1\nslow-after = 60`;
    const two = text.replace("'IdleConnection'", "'ProxyFetch', 'RunCommand'");
    const { services } = await configOf(`${two}\nruncommand.command = /bin/true\nruncommand.fast-interval = 2`);
    expect(services[0]?.monitors.map(({ pace }) => pace)).to.deep.equal([
      { fastIntervalSeconds: 1, slowIntervalSeconds: 90, slowAfterSeconds: 60 },
      { fastIntervalSeconds: 2, slowIntervalSeconds: null, slowAfterSeconds: 60 },
    ]);
  });

  it('tells how many monitors must be up', async () => {
    const two = "monitors = [ 'IdleConnection', 'RunCommand' ]\nruncommand.command = /bin/true";
    const needed = async (more: string) =>
      (await configOf(web(`${two}\n${more}`).replace("monitors = [ 'IdleConnection' ]", ''))).services[0]
        ?.monitorsNeeded;
    expect(await needed('')).to.equal(2);
    expect(await needed('monitors-combine = ALL')).to.equal(2);
    expect(await needed('monitors-combine = any')).to.equal(1);
    expect(await needed('monitors-combine = 2')).to.equal(2);
  });

  it("forwards as told, in our words and in PyBal's", async () => {
    const first = async (more: string) => {
      const { forward, realPort } = (await configOf(web(more))).services[0] ?? {};
      return [forward, realPort];
    };
    expect(await first('')).to.deep.equal(['dr', 80]);
    expect(await first('forward = tunnel')).to.deep.equal(['tunnel', 80]);
    expect(await first('tunneling = yes')).to.deep.equal(['tunnel', 80]);
    expect(await first('tunneling = no')).to.deep.equal(['dr', 80]);
    expect(await first('forward = nat\ntunneling = no\nrealserver-port = 8080')).to.deep.equal(['nat', 8080]);
    expect(await first('realserver-port = 80')).to.deep.equal(['dr', 80]);
  });

  it('takes monitors and their options in any case', async () => {
    const text = web().replace("'IdleConnection'", "'proxyFETCH'");
    const { services } = await configOf(`${text}\nProxyFetch.URL = 'http://h/'\nproxyfetch.interval = 3`);
    expect(services[0]?.monitors).to.deep.equal([
      {
        name: 'ProxyFetch',
        options: { url: ['http://h/'], interval: 3, http_status: 200, check_all: false },
        pace: AS_ALWAYS,
        via: 'server',
      },
    ]);
  });

  it('shows what a monitor has against its options where they stand, and refuses only that section', async () => {
    const refusing = async (refuse: NonNullable<MonitorModule['refuse']>) => {
      const text = `${web("proxyfetch.url = 'http://h/'")}\n${web('', 'other', 81)}`.replace(
        "'IdleConnection'",
        "'ProxyFetch'",
      );
      const scanned = scanText(text, 'f');
      const monitor = async (name: string) => {
        const found = await fakeMonitor(name);
        return found?.name === 'ProxyFetch' ? { ...found, refuse } : found;
      };
      const decoded = await decodeConfig(scanned, { monitor, lastGood: new Map(), strict: false });
      expect(decoded.config?.services.map(({ name }) => name)).to.deep.equal(['other']);
      return decoded.complaints.filter(({ severity }) => severity === 'error').map(printComplaint);
    };
    expect(await refusing(({ url }) => [{ option: 'url', why: `${String(url)} is ugly` }])).to.deep.equal([
      'f:9: [web] proxyfetch.url: http://h/ is ugly',
    ]);
    expect(await refusing(() => [{ option: 'interval', why: 'too short' }])).to.deep.equal([
      'f:2: [web] proxyfetch.interval: too short',
    ]);
    const boom = () => {
      throw new Error('boom');
    };
    expect(await refusing(boom)).to.deep.equal(['f:8: [web] monitors: ProxyFetch fails on its options: boom']);
  });

  it('sends a monitor through the path only if it says that it can go there with its options', async () => {
    const asking = async (more: string, viaPath: NonNullable<MonitorModule['viaPath']>) => {
      const text = `[global]\npath-source = 192.0.2.1\n${web(`via = both\n${more}`)}`;
      const monitor = async (name: string) => {
        const found = await fakeMonitor(name);
        return found === null ? null : { ...found, viaPath };
      };
      const decoded = await decodeConfig(scanText(text, 'f'), { monitor, lastGood: new Map(), strict: false });
      const errors = decoded.complaints.filter(({ severity }) => severity === 'error').map(printComplaint);
      return [decoded.config?.services[0]?.monitors[0]?.via ?? null, ...errors];
    };
    const delays: unknown[] = [];
    const can = (options: Readonly<Record<string, unknown>>) => delays.push(options['max-delay']) > 0;
    expect(await asking('idleconnection.max-delay = 7', can)).to.deep.equal(['both']);
    expect(delays).to.deep.equal([7]);
    expect(await asking('', () => false)).to.deep.equal(['server']);
    expect(await asking('idleconnection.via = path', () => false)).to.deep.equal([
      null,
      'f:12: [web] idleconnection.via: IdleConnection opens no connections of its own that could go through the path',
    ]);
    const boom = () => {
      throw new Error('boom');
    };
    expect(await asking('', boom)).to.deep.equal([
      null,
      'f:10: [web] monitors: IdleConnection fails on its options: boom',
    ]);
  });

  it('an empty list of arguments is the default, one empty argument, as in PyBal', async () => {
    const text = web().replace("'IdleConnection'", "'RunCommand'");
    const { services } = await configOf(`${text}\nruncommand.command = /bin/true\nruncommand.arguments = []`);
    expect(services[0]?.monitors[0]?.options['arguments']).to.deep.equal(['']);
  });

  it('a monitor that fails to load refuses only the services that use it', async () => {
    const scanned = scanText(`${web()}\n${web('', 'other', 81)}`.replace("'IdleConnection'", "'Broken'"), 'f');
    const monitor = (name: string) =>
      name === 'Broken' ? Promise.reject(new Error('line 3: oops')) : fakeMonitor(name);
    const { config, complaints } = await decodeConfig(scanned, { monitor, lastGood: new Map(), strict: false });
    expect(complaints.map(printComplaint)).to.include('f:8: [web] monitors: Broken can not be loaded: line 3: oops');
    expect(config?.services.map((service) => service.name)).to.deep.equal(['other']);
  });

  it('peers take from [global] what they do not say themselves', async () => {
    const { peers } = await configOf(`
[global]
bgp = yes
bgp-local-asn = 64600
bgp-peer-address = 192.0.2.1
bgp-peer-as = 64601
bgp-peer-port = 1179
bgp-local-address = [ '192.0.2.10', '2001:db8::10' ]
bgp-nexthop-ipv4 = 192.0.2.10
bgp-communities = 64600:100 no-export
bgp-hold-time = 30
bgp-connect-retry = 2.5
bgp-passive = yes
bgp-med = 7
[peer 2001:DB8::1]
[peer inside]
peer-address = 192.0.2.2
peer-port = 179
peer-as = 64600
hold-time = 0
connect-retry = 1
passive = no
med = 1
communities = graceful-shutdown
local-pref = 50
local-address = 192.0.2.11
nexthop-ipv4 = 192.0.2.11
nexthop-ipv6 = 2001:db8::11
[peer third]
peer-address = 192.0.2.3
local-as = 64700
as-path = 64700 64700
${web()}`);
    const common = {
      port: 1179,
      passive: true,
      localAs: 64600,
      peerAs: 64601,
      holdTimeSeconds: 30,
      connectRetrySeconds: 2.5,
      asPath: [64600],
      med: 7,
      communities: [0xfc580064, 0xffffff01],
      localPref: null,
      nextHopIpv4: '192.0.2.10',
      nextHopIpv6: null,
      bfd: null,
    };
    const place = (line: number) => ({ file: 'pybal.conf', line });
    const wanted = [
      { ...common, name: '192.0.2.1', address: '192.0.2.1', place: place(5), localAddress: '192.0.2.10' },
      { ...common, name: '2001:DB8::1', address: '2001:db8::1', place: place(15), localAddress: '2001:db8::10' },
      {
        name: 'inside',
        place: place(16),
        address: '192.0.2.2',
        port: 179,
        localAddress: '192.0.2.11',
        passive: false,
        localAs: 64600,
        peerAs: 64600,
        holdTimeSeconds: 0,
        connectRetrySeconds: 1,
        asPath: [],
        med: 1,
        communities: [0xffff0000],
        localPref: 50,
        nextHopIpv4: '192.0.2.11',
        nextHopIpv6: '2001:db8::11',
        bfd: null,
      },
      {
        ...common,
        name: 'third',
        place: place(29),
        address: '192.0.2.3',
        localAddress: '192.0.2.10',
        localAs: 64700,
        asPath: [64700, 64700],
      },
    ];
    expect(peers).to.deep.equal(wanted.map(peerConfig));
  });

  it('without BGP there are no peers, whatever their sections say', async () => {
    const { peers } = await configOf(`[global]\nbgp-peer-address = 192.0.2.1\n[peer x]\nhold-time = 1${web()}`);
    expect(peers).to.deep.equal([]);
  });

  it('a service that is not announced has no say about the MED of its virtual IP', async () => {
    const { services } = await configOf(`${web('bgp-med = 1')}${web('bgp-med = 2\nbgp = no', 'other', 81)}`);
    expect(services.map((service) => service.bgpMed)).to.deep.equal([1, 2]);
  });

  it('strict refuses the file for one error, and not for warnings', async () => {
    expect((await decodeText(web('colour = red'), new Map(), true)).config).to.not.equal(null);
    expect((await decodeText(web('rise = 0'), new Map(), true)).config).to.equal(null);
    expect((await decodeText(web('rise = 0'), new Map(), false)).config).to.not.equal(null);
  });

  it('never throws, whatever the values', async () => {
    const names = [...GLOBAL_OPTIONS, ...PEER_OPTIONS, ...SERVICE_OPTIONS].map((row) => row.name);
    const value = fc.oneof(
      fc.constantFrom('yes', '1', '-1', '[]', "[ 'ProxyFetch' ]", '%(ip)s', '%', '198.51.100.1', '::1', 'sh', ''),
      fc.string({ unit: ANY_CHARACTER, maxLength: 8 }),
    );
    const line = fc.tuple(fc.constantFrom<string>(...names, 'proxyfetch.url', 'x.y', '__proto__'), value);
    const section = fc.tuple(
      fc.constantFrom('global', 'DEFAULT', 'web', 'peer a', 'peer ', '__proto__', 'Global'),
      fc.array(line, { maxLength: 12 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(section, { minLength: 1, maxLength: 4 }), async (sections) => {
        const text = sections.map(([name, lines]) => `[${name}]\n${lines.map(([k, v]) => `${k} = ${v}`).join('\n')}`);
        const { config, complaints } = await decodeText(text.join('\n'));
        for (const complaint of complaints) expect(complaint.place?.line).to.be.greaterThan(0);
        if (config === null) expect(complaints.some((complaint) => complaint.severity === 'error')).to.equal(true);
      }),
      { numRuns: 300, seed: 5 },
    );
  });
});
