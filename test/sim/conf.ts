// Writes a topology down as an operator would: pybal.conf for one director, and pool files.

import {
  BFD_INTERVAL_MS,
  type DirectorPlan,
  FEED_SERVER,
  KEEPALIVE,
  LOCAL_AS,
  POOL_SERVER,
  SLOW_AFTER_SECONDS,
  type PoolEntry,
  type ServicePlan,
  type Topology,
  isV6,
} from './topology.ts';

export const CONFIG_PATH = '/etc/pybal/pybal.conf';
export const STATE_DIRECTORY = '/var/lib/anybal';
export const CHECK_PROGRAM = '/usr/lib/check';
export const SSH_PROGRAM = '/usr/bin/ssh';
export const SSH_FILES = ['/etc/pybal/ssh/id_ed25519', '/etc/ssh/ssh_known_hosts'] as const;
/** Older than this, a document is stale. */
export const FEED_MAX_AGE_SECONDS = 30;

const FIRST_PATH_PORT = 10_240;

/** Room for few servers, so that what one gives back soon belongs to another. */
function lastPathPort({ servers, services }: Topology): number {
  return FIRST_PATH_PORT + 8 * (2 * servers.length * services.length + 8) - 1;
}

export function feedPath(service: ServicePlan): string {
  return `/run/cluster/${service.name}`;
}

export function poolPath(service: ServicePlan): string {
  return `/etc/pybal/pools/${service.name}${service.json ? '.json' : ''}`;
}

/** Where the store of such a service listens. */
export function watchedPort(service: ServicePlan): number {
  return service.port + 20_000;
}

export function etcdFolder(service: ServicePlan): string {
  return `/conftool/v1/pools/sim/${service.name}/`;
}

/** The name of such a service's SRV or address records. */
export function dnsName({ name, source }: ServicePlan): string {
  return source === 'srv' ? `_${name}._tcp.pool` : `${name}.pool`;
}

export const K8S_TOKEN = 'a-token';

export function poolUrl(service: ServicePlan): string {
  const watched = `${POOL_SERVER.address}:${watchedPort(service)}`;
  switch (service.source) {
    case 'file':
      return `file://${poolPath(service)}`;
    case 'http':
      return `http://${POOL_SERVER.address}:${POOL_SERVER.port}/${service.name}${service.json ? '.json' : ''}`;
    case 'etcd':
    case 'etcd v2':
      return `etcd://${watched}${etcdFolder(service)}`;
    case 'k8s':
      return `k8s://${K8S_TOKEN}@${watched}`;
    case 'srv':
    case 'dns':
      return `${service.source}://${dnsName(service)}`;
    default:
      return service.source satisfies never;
  }
}

export function configText(topology: Topology, director: DirectorPlan, services: readonly ServicePlan[]): string {
  const peers = topology.routers.map(({ address }) => `'${address}'`).join(', ');
  const lines = [
    '[global]',
    'bgp = yes',
    `bgp-local-asn = ${LOCAL_AS}`,
    `bgp-peer-address = [ ${peers} ]`,
    `bgp-nexthop-ipv4 = ${director.address}`,
    `bgp-nexthop-ipv6 = ${director.address6}`,
    `bgp-med = ${director.med}`,
    `bgp-hold-time = ${topology.holdTimeSeconds}`,
    `bgp-local-address = ${director.address}`,
    `reconcile-period = ${topology.reconcilePeriodSeconds}`,
    `reconcile-limit = ${topology.reconcileLimitSeconds}`,
    `withdraw-wait = ${topology.withdrawWaitSeconds}`,
    `resolve-interval = ${topology.resolveIntervalSeconds}`,
    ...(topology.bfd ? ['bfd = yes', `bfd-interval = ${BFD_INTERVAL_MS}`] : []),
    'backend = netlink',
    'vip-uplinks = eth0',
    `path-ports = ${FIRST_PATH_PORT} ${lastPathPort(topology)}`,
    `path-hold = ${topology.timeouts.tcp + 60}`,
    `state-directory = ${STATE_DIRECTORY}`,
    '',
  ];
  for (const service of services) lines.push(...section(service), '');
  return lines.join('\n');
}

function section(service: ServicePlan): string[] {
  const lines = [
    `[${service.name}]`,
    `protocol = ${service.protocol}`,
    `ip = ${service.vip}`,
    `port = ${service.port}`,
    `scheduler = ${service.scheduler}`,
    `config = ${poolUrl(service)}`,
    'config-tls = off',
    ...etcdApi(service),
    `depool-threshold = ${service.threshold}`,
    `announce = ${service.announce}`,
    `pool-shrink-limit = ${service.shrinkLimit}`,
    `pool-shrink-confirm = ${service.shrinkConfirmSeconds}`,
    `start-grace = ${service.startGraceSeconds}`,
    `bgp = ${service.bgp ? 'yes' : 'no'}`,
    `announce-quorum = ${service.quorum}`,
    `vip-policy = ${service.vipPolicy}`,
    `forward = ${service.forward}`,
    `realserver-port = ${service.realPort}`,
    `vip-presence = ${service.presence}`,
    `via = ${service.via}`,
    `rise = ${service.rise}`,
    `fall = ${service.fall}`,
    `depool-action = ${service.drainSeconds > 0 ? 'drain' : 'delete'}`,
    `drain-time = ${service.drainSeconds}`,
  ];
  if (service.monitors.length > 0)
    lines.push(`monitors = [ ${service.monitors.map((name) => `'${name}'`).join(', ')} ]`);
  if (service.needed !== service.monitors.length)
    lines.push(`monitors-combine = ${service.needed === 1 ? 'any' : service.needed}`);
  if (service.fastSeconds !== null) lines.push(`fast-interval = ${service.fastSeconds}`);
  if (service.slowSeconds !== null)
    lines.push(`slow-interval = ${service.slowSeconds}`, `slow-after = ${SLOW_AFTER_SECONDS}`);
  if (service.slowStartSeconds > 0) lines.push(`slow-start = ${service.slowStartSeconds}`);
  for (const monitor of service.monitors) lines.push(...monitorLines(service, monitor));
  return lines;
}

function etcdApi({ source, apiNamed }: ServicePlan): readonly string[] {
  if (!apiNamed || (source !== 'etcd' && source !== 'etcd v2')) return [];
  return [`config-etcd-api = ${source === 'etcd' ? 'v3' : 'v2'}`];
}

function monitorLines(service: ServicePlan, monitor: ServicePlan['monitors'][number]): string[] {
  const timing = (prefix: string): string[] => [
    `${prefix}.interval = ${service.intervalSeconds}`,
    `${prefix}.timeout = ${service.timeoutSeconds}`,
  ];
  switch (monitor) {
    case 'ProxyFetch':
      return [`proxyfetch.url = [ 'http://${service.name}.example/' ]`, ...timing('proxyfetch')];
    case 'HTTP':
      return [
        `http.url = [ 'http://${service.name}.example/' ]`,
        'http.expect-text = ok',
        `http.keep-alive = ${service.keepAlive ? 'yes' : 'no'}`,
        ...timing('http'),
      ];
    case 'IdleConnection':
      return [
        `idleconnection.max-delay = ${service.maxDelaySeconds}`,
        `idleconnection.connect-timeout = ${service.timeoutSeconds}`,
        `idleconnection.timeout-clean-reconnect = ${service.timeoutSeconds}`,
        `idleconnection.keepalive-idle = ${KEEPALIVE.idleSeconds}`,
        `idleconnection.keepalive-interval = ${KEEPALIVE.intervalSeconds}`,
        `idleconnection.keepalive-retries = ${KEEPALIVE.retries}`,
      ];
    case 'RunCommand':
      return [
        `runcommand.command = ${CHECK_PROGRAM}`,
        'runcommand.arguments = [ server.ip, server.port ]',
        ...timing('runcommand'),
      ];
    case 'TCP':
      return ["tcp.send = 'GET / HTTP/1.0\\r\\n\\r\\n'", "tcp.expect = 'HTTP/1.1 200'", ...timing('tcp')];
    case 'DNS':
      return [`dns.name = ${service.name}.example`, "dns.answers = '192.0.2.80'", ...timing('dns')];
    case 'DNSQuery':
      return [`dnsquery.hostnames = [ '${service.name}.example' ]`, ...timing('dnsquery')];
    case 'UDP':
      return ["udp.send = 'ping'", "udp.expect = 'pong'", ...timing('udp')];
    case 'SMTP':
      return [`smtp.tls = ${service.smtpTls}`, ...timing('smtp')];
    case 'SSH':
      if (service.sshMode === 'banner') return timing('ssh');
      return ['ssh.mode = login', 'ssh.user = monitor', `ssh.identity = ${SSH_FILES[0]}`, ...timing('ssh')];
    case 'GRPC':
      return timing('grpc');
    case 'File':
      return [
        service.feed === 'path'
          ? `file.path = ${feedPath(service)}`
          : `file.url = http://${FEED_SERVER.address}:${FEED_SERVER.port}/${service.name}`,
        `file.max-age = ${FEED_MAX_AGE_SECONDS}`,
        ...timing('file'),
      ];
    case 'Ping':
      return timing('ping');
    case 'Agent':
      return ["agent.send = [ 'agent ', server.host, '\\r\\n\\r\\n' ]", ...timing('agent')];
    default:
      return monitor satisfies never;
  }
}

export function poolText(entries: readonly PoolEntry[], json: boolean): string {
  if (json) {
    return `${JSON.stringify(Object.fromEntries(entries.map(({ host, weight, enabled }) => [host, { weight, enabled }])))}\n`;
  }
  const line = ({ host, weight, enabled }: PoolEntry): string =>
    `{ 'host': '${host}', 'weight': ${weight}, 'enabled': ${enabled ? 'True' : 'False'} }`;
  return `# pool\n${entries.map(line).join('\n')}\n`;
}

/** A section as somebody in a hurry leaves it. */
export function breakSection(text: string, service: ServicePlan): string {
  return text.replace(`[${service.name}]\nprotocol = `, `[${service.name}]\nprotocol = x`);
}

export function isLiteral(text: string): boolean {
  return isV6(text) || /^[\d.]+$/.test(text);
}
