// The real servers of Debian that the monitors are put before, all in one network namespace, each at every one of its addresses.
// The ways to these addresses differ: some lead nowhere.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authority } from '../../support/authority.ts';
import { eventually, Namespace, output } from '../../support/namespace.ts';

const NAME = 'anybal-fail';
export const US = '10.86.0.1';
const US_IN_SIX = 'fd86::1';

/** Addresses of the same servers, by what becomes of packets. */
export const AT = {
  well: '10.86.0.2',
  /** What is sent there vanishes. */
  blackHole: '10.86.0.3',
  /** Connections come about; then what the server says vanishes. */
  mute: '10.86.0.4',
  /** A firewall says no. */
  prohibited: '10.86.0.5',
  prohibitedInSix: 'fd86::5',
  /** Vanishes once `swallow` says so. */
  later: '10.86.0.6',
  /** This host loses its way to it once `cutOff` says so. */
  cutOff: '10.86.0.9',
  /** Only small packets come through. */
  narrow: '10.86.0.7',
  /** A router says that it knows no way. */
  noRoute: '10.86.0.8',
  noRouteInSix: 'fd86::8',
  /** Nobody has it. */
  nobody: '10.86.0.77',
} as const;

/** With a good certificate, and three that are none. */
export interface TlsPorts {
  readonly good: number;
  readonly expired: number;
  readonly other: number;
  readonly stranger: number;
}

const tlsPorts = (first: number): TlsPorts => ({
  good: first,
  expired: first + 1,
  other: first + 2,
  stranger: first + 3,
});
export const CERTIFICATES = ['good', 'expired', 'other', 'stranger'] as const;

export const PORTS = {
  nginx: 80,
  nginxTls: tlsPorts(443),
  haproxy: 8001,
  unbound: 53,
  sshd: 22,
  exim: 25,
  eximTls: tlsPorts(2525),
  grpc: 50051,
  grpcTls: tlsPorts(50443),
  agent: 9999,
  /** Nobody listens. */
  nobody: 9,
} as const;

export const TOOLS = {
  '/usr/sbin/nginx': 'nginx-light',
  '/usr/sbin/haproxy': 'haproxy',
  '/usr/sbin/unbound': 'unbound',
  '/usr/sbin/sshd': 'openssh-server',
  '/usr/bin/ssh': 'openssh-client',
  '/usr/sbin/exim4': 'exim4-daemon-light',
  '/usr/bin/python3': 'python3',
  '/usr/bin/socat': 'socat',
  '/usr/bin/curl': 'curl',
  '/usr/bin/openssl': 'openssl',
  '/usr/sbin/nft': 'nftables',
};

const RULES = `
table inet ways {
  set swallowed { type ipv4_addr; }
  chain in {
    type filter hook input priority 0;
    ip daddr ${AT.blackHole} drop
    ip daddr @swallowed drop
    ip daddr ${AT.prohibited} reject with icmpx type admin-prohibited
    ip6 daddr ${AT.prohibitedInSix} reject with icmpx type admin-prohibited
    ip daddr ${AT.noRoute} reject with icmpx type no-route
    ip6 daddr ${AT.noRouteInSix} reject with icmpx type no-route
    ip daddr ${AT.narrow} meta length > 600 drop
  }
  chain out {
    type filter hook output priority 0;
    ip saddr ${AT.mute} tcp flags & psh == psh drop
  }
}
`;

/** The health service says SERVING. Its messages are octets: no generated code is needed for one field. */
const GRPC_SERVER = `
import sys
from concurrent import futures
import grpc
folder = sys.argv[1]
check = grpc.unary_unary_rpc_method_handler(lambda request, context: b'\\x08\\x01')
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('grpc.health.v1.Health', {'Check': check}),))
server.add_insecure_port('0.0.0.0:${PORTS.grpc}')
for name, port in (${CERTIFICATES.map((name) => `('${name}', ${PORTS.grpcTls[name]})`).join(', ')}):
    read = lambda ending: open('%s/%s.%s' % (folder, name, ending), 'rb').read()
    server.add_secure_port('0.0.0.0:%d' % port, grpc.ssl_server_credentials(((read('key'), read('crt')),)))
server.start()
server.wait_for_termination()
`;

export class Servers {
  readonly #namespace: Namespace;
  readonly #folder: string;
  readonly #authority: Authority;
  readonly #stranger: Authority;

  private constructor(namespace: Namespace) {
    this.#namespace = namespace;
    this.#folder = mkdtempSync(join(tmpdir(), 'anybal-fail-'));
    // Exim and sshd give up being root.
    chmodSync(this.#folder, 0o755);
    this.#authority = new Authority();
    this.#stranger = new Authority();
  }

  static async start(): Promise<Servers> {
    if (!existsSync('/usr/lib/python3/dist-packages/grpc')) throw new Error('apt-get install python3-grpcio');
    const inside = Object.values(AT).filter((address) => address !== AT.nobody);
    const namespace = await Namespace.create(
      NAME,
      [`${US}/24`, `${US_IN_SIX}/64`],
      inside.map((address) => `${address}/${address.includes(':') ? 64 : 24}`),
    );
    const servers = new Servers(namespace);
    await servers.#start().catch(async (error: unknown) => {
      await servers.destroy();
      throw error;
    });
    return servers;
  }

  path(name: string): string {
    return name === '' ? this.#folder : join(this.#folder, name);
  }

  /** The certificate of the authority that `good`, `expired` and `other` are of. */
  get authority(): string {
    return this.#authority.path;
  }

  /** From now on, what is sent to AT.later vanishes. */
  swallow(): Promise<string> {
    return this.#inside('nft', 'add', 'element', 'inet', 'ways', 'swallowed', `{ ${AT.later} }`);
  }

  /** From now on, this host has no way to AT.cutOff. */
  cutOff(): Promise<string> {
    return output('ip', 'route', 'add', 'unreachable', AT.cutOff);
  }

  /** All of them stand still: the kernel goes on taking connections for them. */
  freeze(): Promise<void> {
    return this.#namespace.signal('SIGSTOP');
  }

  thaw(): Promise<void> {
    return this.#namespace.signal('SIGCONT');
  }

  async destroy(): Promise<void> {
    await this.#namespace.signal('SIGCONT');
    await this.#namespace.destroy();
    await output('ip', 'route', 'del', 'unreachable', AT.cutOff).catch(() => {});
    this.#authority.remove();
    this.#stranger.remove();
    rmSync(this.#folder, { recursive: true });
  }

  #inside(...command: readonly string[]): Promise<string> {
    return output('ip', 'netns', 'exec', NAME, ...command);
  }

  #write(name: string, lines: readonly string[] | string): string {
    writeFileSync(this.path(name), typeof lines === 'string' ? lines : `${lines.join('\n')}\n`);
    return this.path(name);
  }

  async #start(): Promise<void> {
    await this.#inside('nft', '-f', this.#write('ways.nft', RULES));
    // As many errors as there are questions.
    const rates = ['net.ipv4.icmp_ratelimit=0', 'net.ipv4.icmp_msgs_per_sec=100000', 'net.ipv6.icmp.ratelimit=0'];
    await this.#inside('sysctl', '-qw', ...rates);
    this.#certify();
    this.#nginx();
    this.#haproxy();
    this.#unbound();
    this.#sshd();
    this.#exim();
    this.#namespace.spawn('/usr/bin/python3', this.#write('health.py', GRPC_SERVER), this.#folder);
    const agent = `EXEC:/bin/sh ${this.#write('agent.sh', 'echo up 75%\n')}`;
    this.#namespace.spawn('/usr/bin/socat', `TCP-LISTEN:${PORTS.agent},reuseaddr,fork`, agent);
    const ports = Object.values(PORTS).flatMap((port) => (typeof port === 'number' ? [port] : Object.values(port)));
    await eventually('all servers', async () => {
      const listening = await this.#inside('ss', '-Hltn');
      return ports.every((port) => port === PORTS.nobody || listening.includes(`:${port} `));
    });
  }

  /** As NAME.crt, NAME.key and both in NAME.pem. */
  #certify(): void {
    this.#authority.issue('good', 'real.example', 20);
    this.#authority.issue('expired', 'real.example', -1);
    this.#authority.issue('other', 'other.example', 20);
    this.#stranger.issue('stranger', 'real.example', 20);
    for (const name of CERTIFICATES) {
      const { folder } = name === 'stranger' ? this.#stranger : this.#authority;
      for (const ending of ['crt', 'key', 'pem']) {
        this.#write(`${name}.${ending}`, readFileSync(join(folder, `${name}.${ending}`), 'utf8'));
      }
    }
  }

  #nginx(): void {
    const locations = [
      'default_type text/plain;',
      'location = / { return 200 "hello\\n"; }',
      'location = /members { return 200 "cp1 up 50%\\n"; }',
      'location = /agent { return 200 "up 75%\\n"; }',
    ].join(' ');
    const secure = CERTIFICATES.map(
      (name) =>
        `server { listen ${PORTS.nginxTls[name]} ssl; ssl_certificate ${this.path(`${name}.crt`)}; ` +
        `ssl_certificate_key ${this.path(`${name}.key`)}; ${locations} }`,
    );
    const bodies = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const config = [
      `daemon off; master_process off; pid ${this.path('nginx.pid')}; error_log ${this.path('nginx.log')};`,
      'events {}',
      `http { access_log off; ${bodies.map((each) => `${each}_temp_path ${this.path(each)};`).join(' ')}`,
      `server { listen ${PORTS.nginx}; ${locations} }`,
      ...secure,
      '}',
    ];
    this.#namespace.spawn('/usr/sbin/nginx', '-c', this.#write('nginx.conf', config), '-p', this.#folder);
  }

  #haproxy(): void {
    const config = [
      'global',
      '  nbthread 1',
      'defaults',
      '  mode tcp',
      '  timeout client 60s',
      '  timeout server 60s',
      '  timeout connect 60s',
      'listen idle',
      `  bind 0.0.0.0:${PORTS.haproxy}`,
      '  tcp-request inspect-delay 60s',
      '  tcp-request content accept if WAIT_END',
    ];
    this.#namespace.spawn('/usr/sbin/haproxy', '-db', '-q', '-f', this.#write('haproxy.cfg', config));
  }

  #unbound(): void {
    const config = `
server:
  username: ""
  chroot: ""
  directory: "${this.#folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 0.0.0.0
  interface-automatic: yes
  access-control: 10.86.0.0/24 allow
  module-config: "iterator"
  local-zone: "example." static
  local-data: "www.example. A 192.0.2.1"
  local-data: "real.example. A ${AT.well}"
  local-zone: "refused.test." always_refuse
  local-zone: "nothing.test." always_nxdomain
  local-zone: "silent.test." always_deny
  local-zone: "test." nodefault
stub-zone:
  name: "failing.test."
  stub-addr: 127.0.0.1@${PORTS.nobody}
remote-control:
  control-enable: no
`;
    this.#namespace.spawn('/usr/sbin/unbound', '-d', '-p', '-c', this.#write('unbound.conf', config));
  }

  #sshd(): void {
    for (const key of ['host', 'other-host', 'client', 'stranger-key']) {
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', this.path(key)]);
    }
    mkdirSync('/run/sshd', { recursive: true });
    this.#write('authorized_keys', readFileSync(this.path('client.pub'), 'utf8'));
    this.#write('known_hosts', `cp1 ${readFileSync(this.path('host.pub'), 'utf8')}`);
    this.#write('changed_hosts', `cp1 ${readFileSync(this.path('other-host.pub'), 'utf8')}`);
    this.#write('no_hosts', '');
    const config = [
      `ListenAddress 0.0.0.0:${PORTS.sshd}`,
      `HostKey ${this.path('host')}`,
      `AuthorizedKeysFile ${this.path('authorized_keys')}`,
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'StrictModes no',
      'UsePAM no',
      'UseDNS no',
      'PidFile none',
      'MaxStartups 100',
    ];
    this.#namespace.spawn('/usr/sbin/sshd', '-D', '-e', '-f', this.#write('sshd_config', config));
  }

  #exim(): void {
    const folder = this.path('exim');
    mkdirSync(folder);
    const ports = [PORTS.exim, ...Object.values(PORTS.eximTls)];
    for (const port of ports) {
      const name = CERTIFICATES.find((each) => PORTS.eximTls[each] === port) ?? 'good';
      writeFileSync(join(folder, `${port}.pem`), readFileSync(this.path(`${name}.pem`)));
    }
    const config = [
      'primary_hostname = real.example',
      `daemon_smtp_ports = ${ports.join(':')}`,
      'local_interfaces = 0.0.0.0',
      'tls_advertise_hosts = *',
      `tls_certificate = ${folder}/$received_port.pem`,
      `tls_privatekey = ${folder}/$received_port.pem`,
      `spool_directory = ${join(folder, 'spool')}`,
      `log_file_path = ${join(folder, '%slog')}`,
      'keep_environment =',
      'host_lookup =',
      'rfc1413_query_timeout = 0s',
      'smtp_accept_max = 0',
    ];
    const file = this.#write('exim.conf', config);
    // It gives up being root once it listens, and wants nobody else to have written this.
    execFileSync('chown', ['-R', 'Debian-exim:', folder]);
    this.#namespace.spawn('/usr/sbin/exim4', '-C', file, '-bdf', '-oP', join(folder, 'pid'));
  }
}
