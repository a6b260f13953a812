// Metrics in Prometheus' text format (version 0.0.4), made from a View when somebody scrapes: nothing is counted here, and
// the series of what is gone are gone. Names and label order under `pybal_` are PyBal's; ours begin with `anybal_`. Pure.

import type { BfdView, Histogram, View } from './types.ts';

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string>>;

interface Metric {
  readonly name: string;
  readonly kind: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  /** By what stands behind the name, printed labels mostly, so that a series appears once. */
  readonly series: Map<string, number>;
}

class Registry {
  readonly #metrics = new Map<string, Metric>();

  /** One sample. The first one of a name decides its kind and help text. */
  add(kind: Metric['kind'], name: string, help: string, labels: Labels, value: number): void {
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      metric = { name, kind, help, series: new Map() };
      this.#metrics.set(name, metric);
    }
    metric.series.set(printLabels(labels), value);
  }

  histogram(name: string, help: string, { buckets, count, sumMs }: Histogram): void {
    const metric: Metric = { name, kind: 'histogram', help, series: new Map() };
    for (const { upToMs, count } of buckets) metric.series.set(`_bucket{le="${upToMs / 1000}"}`, count);
    metric.series.set('_bucket{le="+Inf"}', count);
    metric.series.set('_sum', sumMs / 1000);
    metric.series.set('_count', count);
    this.#metrics.set(name, metric);
  }

  print(): string {
    return [...this.#metrics.values()].map(printMetric).join('');
  }
}

function printMetric({ name, kind, help, series }: Metric): string {
  const head = `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}\n# TYPE ${name} ${kind}\n`;
  return head + [...series].map(([labels, value]) => `${name}${labels} ${printValue(value)}\n`).join('');
}

function printLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
    return `${name}="${escaped}"`;
  });
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** As Python prints a float, which those who match PyBal's metrics by text expect: `1.0`. */
function printValue(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : String(value);
}

export function printMetrics(view: View): string {
  const registry = new Registry();
  addServices(registry, view);
  addMonitors(registry, view);
  addBgp(registry, view);
  addOurs(registry, view);
  return registry.print();
}

function addServices(registry: Registry, { services }: View): void {
  for (const service of services) {
    const labels = { service: service.name };
    const gauge = (name: string, help: string, value: number) =>
      registry.add('gauge', `pybal_service_${name}`, help, labels, value);
    gauge('servers', 'Amount of servers', service.servers.length);
    gauge('servers_enabled', 'Amount of enabled servers', service.enabled);
    gauge('servers_up', 'Amount of up servers', service.up);
    gauge('servers_pooled', 'Amount of pooled servers', service.pooled);
    gauge('can_depool', 'Can depool more servers', service.canDepool ? 1 : 0);
    gauge('pooled_down_servers', 'Amount of down servers that are pooled', service.held);
    gauge('depool_threshold', 'Threshold of depooled servers', service.depoolThreshold);
    registry.add(
      'counter',
      'pybal_service_could_not_depool_total',
      'Times that a server could not be depooled',
      labels,
      service.couldNotDepool,
    );
  }
}

function addMonitors(registry: Registry, { services }: View): void {
  for (const service of services) {
    for (const server of service.servers) {
      for (const monitor of server.monitors) {
        const labels = { service: service.name, host: server.host, monitor: monitor.monitor };
        const { results, transitions } = monitor;
        const counter = (name: string, help: string, value: number) =>
          registry.add('counter', `pybal_monitor_${name}`, help, labels, value);
        registry.add('gauge', 'pybal_monitor_status', 'Monitor up status', labels, monitor.is === 'up' ? 1 : 0);
        counter('up_transitions_total', 'Monitor up transition count', transitions.up);
        counter('down_transitions_total', 'Monitor down transition count', transitions.down);
        counter('up_results_total', 'Monitor up result count', results.up);
        counter('down_results_total', 'Monitor down result count', results.down);
        for (const { metric, kind, labels: own, value } of monitor.observations) {
          if (isName(metric) && Object.keys(own).every(isLabelName)) {
            registry.add(kind, metric, `Measured by ${monitor.monitor}`, own, value);
          }
        }
      }
    }
  }
}

/** Monitors may come from elsewhere: one bad name would spoil the whole page. */
function isName(name: string): boolean {
  return /^pybal_monitor_[a-zA-Z0-9_]+$/.test(name);
}

function isLabelName(name: string): boolean {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
}

function addBgp(registry: Registry, { bgp, peers }: View): void {
  registry.add('gauge', 'pybal_bgp_enabled', 'BGP enabled', {}, bgp ? 1 : 0);
  for (const peer of peers) {
    registry.add(
      'gauge',
      'pybal_bgp_session_established',
      'BGP session established',
      // Label order is matched by text.
      { local_asn: String(peer.localAs), peer: peer.address },
      peer.established ? 1 : 0,
    );
    registry.add(
      'gauge',
      'pybal_bgp_session_state_count',
      'Number of BGP sessions in a given state',
      {
        local_asn: String(peer.localAs),
        state: peer.state.toUpperCase(),
        local_ip: peer.localAddress ?? '',
        remote_ip: peer.address,
        side: peer.side,
      },
      1,
    );
  }
}

function addOurs(registry: Registry, view: View): void {
  const gauge = (name: string, help: string, labels: Labels, value: number) =>
    registry.add('gauge', `anybal_${name}`, help, labels, value);
  const counter = (name: string, help: string, labels: Labels, value: number) =>
    registry.add('counter', `anybal_${name}`, help, labels, value);
  gauge('info', 'Version of anybal', { version: view.version }, 1);
  gauge('uptime_seconds', 'Time since the daemon started', {}, view.uptimeSeconds);
  gauge('event_loop_late_seconds', 'How late the event loop has been lately', {}, view.loopLateMs / 1000);
  registry.histogram(
    'anybal_check_start_late_seconds',
    'How late checks have started; up to 0.1 is meant where few start',
    view.checkLateness,
  );
  counter('log_lines_dropped_total', 'Lines of the log that could not be written', {}, view.logLinesDropped);
  for (const service of view.services) {
    const labels = { service: service.name };
    gauge('service_floor', 'Servers that must stay pooled', labels, service.floor);
    gauge('service_floor_met', 'As many servers are pooled as must be', labels, service.floorMet ? 1 : 0);
    gauge('service_verified', 'The kernel is what was decided', labels, service.verified ? 1 : 0);
    gauge('service_quarantined', 'Runs on its last good configuration', labels, service.quarantined ? 1 : 0);
    gauge('service_votes', 'Wants its VIP announced', labels, service.vote === 'yes' ? 1 : 0);
    const age = service.source?.ageSeconds ?? null;
    if (age !== null) gauge('source_age_seconds', 'Time since the source served the list in force', labels, age);
    if (service.source !== null) {
      gauge(
        'source_current',
        'The list in force is what the source serves',
        labels,
        Number(service.source.state === 'current'),
      );
    }
  }
  for (const { vip, announcedTo } of view.vips) {
    gauge('vip_announced', 'Announced to a BGP peer', { vip }, announcedTo > 0 ? 1 : 0);
    gauge('vip_announced_peers', 'BGP peers that have it from us', { vip }, announcedTo);
  }
  gauge('state_kept', 'The state directory has all that a restart needs', {}, view.stateError === null ? 1 : 0);
  for (const { monitor, count } of view.monitorBugs) {
    counter(
      'monitor_bugs_total',
      'Errors of a monitor that nobody handles, and connections that it does not close',
      { monitor },
      count,
    );
  }
  for (const { name, prefixesSent } of view.peers) {
    gauge('bgp_prefixes_sent', 'Prefixes announced to a peer', { peer: name }, prefixesSent);
  }
  for (const session of view.bfd) addBfd(registry, session);
  const { kernel } = view;
  if (kernel.verifiedSecondsAgo !== null) {
    gauge('kernel_verified_age_seconds', 'Time since the last complete read-back', {}, kernel.verifiedSecondsAgo);
  }
  gauge('kernel_drift', 'Differences to the decision that are not repaired yet', {}, kernel.drift.length);
  gauge('kernel_foreign_services', 'IPVS services of somebody else', {}, kernel.foreign.length);
  counter('kernel_writes_total', 'Changes written to the kernel', {}, kernel.writes);
  counter('kernel_repairs_total', 'Times that drift was repaired', {}, kernel.repairs);
  gauge('config_complaints', 'Complaints about the configuration', {}, view.config?.complaints.length ?? 0);
  gauge(
    'config_refused',
    'The last reload was refused: the file is not what runs',
    {},
    (view.config?.refused ?? null) === null ? 0 : 1,
  );
  gauge('config_quarantined', 'Sections in quarantine', {}, view.config?.quarantined.length ?? 0);
  for (const level of ['warning', 'critical'] as const) {
    gauge('alarms', 'Alarms', { level }, view.alarms.filter((alarm) => alarm.level === level).length);
  }
}

function addBfd(registry: Registry, { name, state, detectionMs, transmitMs, counters }: BfdView): void {
  const labels = { peer: name };
  const gauge = (what: string, help: string, value: number): void =>
    registry.add('gauge', `anybal_bfd_${what}`, help, labels, value);
  const counter = (what: string, help: string, value: number): void =>
    registry.add('counter', `anybal_bfd_${what}_total`, help, labels, value);
  gauge('up', 'The BFD session with a peer is up', state === 'Up' ? 1 : 0);
  if (detectionMs !== null) gauge('detection_seconds', 'Silence after which the session goes down', detectionMs / 1000);
  if (transmitMs !== null) gauge('transmit_seconds', 'Time between two packets, before jitter', transmitMs / 1000);
  counter('packets_in', 'BFD packets taken', counters.packetsIn);
  counter('packets_out', 'BFD packets sent', counters.packetsOut);
  counter('packets_discarded', 'BFD packets of a peer that were thrown away', counters.discarded);
  counter('send_errors', 'BFD packets that the kernel refused', counters.sendErrors);
  counter('downs', 'Times that the session went down', counters.downs);
}
