// [global] to GlobalConfig. What it says of all peers is read by peer.ts. Called by decode.ts. Pure.

import { familyOf } from '../lib/address.ts';
import { GLOBAL_OPTIONS, type GlobalOptions } from './options.ts';
import { checkAs, checkSessionDefaults } from './peer.ts';
import { checkKeys, type Report, readOptions } from './section.ts';
import type { Section } from './text.ts';
import type { GlobalConfig } from './types.ts';

/** Several monitors may have a connection to one VIP, and a port may be busy for a moment after its last one. */
const PORTS_PER_SERVER = 8;

/** unix(7): sun_path, less the octet at its end. */
const MAX_SOCKET_PATH = 107;

/** What [global] says, and the options that its peers take from it. Null: it can not be used. */
export function readGlobal(section: Section, report: Report): GlobalOptions | null {
  const options = readOptions(GLOBAL_OPTIONS, section, report);
  checkKeys(
    section,
    GLOBAL_OPTIONS.map((row) => row.name),
    report,
  );
  if (options === null) return null;
  checkAs('bgp-local-asn', options['bgp-local-asn'], report);
  checkSessionDefaults(options, report);
  if (options['reconcile-limit'] <= options['reconcile-period'])
    report.error('reconcile-limit', `${options['reconcile-limit']} is not longer than reconcile-period`);
  const families = (options['bgp-local-address'] ?? []).map(familyOf);
  if (new Set(families).size < families.length)
    report.error('bgp-local-address', 'two addresses of one family: give each peer its own local-address');
  // RFC 6286 §2.1
  if (options['bgp-router-id'] === '0.0.0.0') report.error('bgp-router-id', '0.0.0.0 is no router id');
  if (options.bgp && options.instrumentation && options.instrumentation_port === options['bgp-local-port'])
    report.error('instrumentation_port', `${options.instrumentation_port} is bgp-local-port too`);
  if (new TextEncoder().encode(options['control-socket']).length > MAX_SOCKET_PATH)
    report.error('control-socket', `is longer than ${MAX_SOCKET_PATH} octets, as the path of a socket can not be`);
  checkPath(options, report);
  return report.failed ? null : options;
}

function checkPath(options: GlobalOptions, report: Report): void {
  const [first = 0, last = 0, ...more] = options['path-ports'];
  if (last < first + PORTS_PER_SERVER - 1 || more.length > 0)
    report.error('path-ports', `not the first and the last of at least ${PORTS_PER_SERVER} ports`);
  const sources = (options['path-source'] ?? []).map(familyOf);
  if (new Set(sources).size < sources.length) report.error('path-source', 'two addresses of one family');
}

export function globalConfig(options: GlobalOptions): GlobalConfig {
  return {
    bgp: options.bgp,
    routerId: options['bgp-router-id'],
    bgpLocalAddresses: options['bgp-local-ips'] ?? ['::'],
    bgpLocalPort: options['bgp-local-port'],
    bfdWedgedSeconds: options['bfd-wedged-after'],
    instrumentation: options.instrumentation,
    instrumentationPort: options.instrumentation_port,
    instrumentationAddresses: options.instrumentation_ips,
    backend: options.backend as GlobalConfig['backend'],
    stateDirectory: options['state-directory'],
    controlSocket: options['control-socket'],
    logFile: options['log-file'],
    logFormat: options['log-format'] as GlobalConfig['logFormat'],
    monitorDirectories: options['monitor-directories'],
    reconcilePeriodSeconds: options['reconcile-period'],
    reconcileLimitSeconds: options['reconcile-limit'],
    withdrawWaitSeconds: options['withdraw-wait'],
    resolveIntervalSeconds: options['resolve-interval'],
    uplinks: options['vip-uplinks'] ?? [],
    path: {
      firstMark: options['path-marks'],
      firstPort: options['path-ports'][0] ?? 0,
      lastPort: options['path-ports'][1] ?? 0,
      portsPerServer: PORTS_PER_SERVER,
      holdSeconds: options['path-hold'],
      sources: options['path-source'] ?? [],
    },
  };
}
