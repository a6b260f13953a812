// [global] to GlobalConfig. What it says of all peers is read by peer.ts. Called by decode.ts. Pure.

import { familyOf } from '../lib/address.ts';
import { GLOBAL_OPTIONS, type GlobalOptions } from './options.ts';
import { checkAs, checkSessionDefaults } from './peer.ts';
import { checkKeys, type Report, readOptions } from './section.ts';
import type { Section } from './text.ts';
import type { GlobalConfig } from './types.ts';

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
  return report.failed ? null : options;
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
  };
}
