// Monitors that only have options: what configuration is tested with. They check nothing.

import type { MonitorModule, OptionRow } from '../../src/health/monitor.ts';

function fake(name: string, options: readonly OptionRow[]): MonitorModule {
  return {
    apiVersion: 1,
    kind: 'poll',
    name,
    options,
    timing: () => ({ intervalSeconds: 10, timeoutSeconds: 5 }),
    create: () => ({ check: () => Promise.resolve({ is: 'up' }) }),
  };
}

/** ProxyFetch, IdleConnection and RunCommand with a few of their options, each of another kind. */
export const FAKE_MONITORS: readonly MonitorModule[] = [
  fake('ProxyFetch', [
    { name: 'url', kind: 'strings', example: "[ 'http://www.example.org/' ]", doc: 'What to fetch.' },
    { name: 'interval', kind: 'seconds', min: 0.1, default: 10, doc: 'Between checks.' },
    { name: 'http_status', kind: 'int', min: 100, max: 599, default: 200, doc: 'Expected status.' },
    { name: 'check_all', kind: 'bool', default: false, doc: 'All URLs.' },
  ]),
  {
    apiVersion: 1,
    kind: 'watch',
    name: 'IdleConnection',
    options: [
      { name: 'max-delay', kind: 'seconds', default: 300, doc: 'Longest pause.' },
      { name: 'keepalive', kind: 'bool', default: true, doc: 'Use keepalives.' },
    ],
    timing: () => ({ connectTimeoutSeconds: 30, reconnectTimeoutSeconds: 3, maxDelaySeconds: 300 }),
    create: () => ({ watch: () => Promise.resolve({ means: 'unchanged' }) }),
  },
  fake('RunCommand', [
    { name: 'command', kind: 'path', example: '/bin/true', doc: 'What to run.' },
    { name: 'arguments', kind: 'template', default: [''], doc: 'Its arguments.' },
  ]),
];

/** As World.monitor: by name, in any case. */
export function fakeMonitor(name: string): Promise<MonitorModule | null> {
  const wanted = name.toLowerCase();
  const found = FAKE_MONITORS.find((one) => one.name.toLowerCase() === wanted);
  return Promise.resolve(found ?? null);
}
