// What the log says when a list is put in force: PyBal's lines, which operators grep for. Pure.

import type { PoolHost } from '../decision/facts.ts';
import type { LogRecord } from '../log/record.ts';

/** `before` null: the first list of this process. Hosts that stay as they are are not mentioned. */
export function changeLines(
  service: string,
  before: readonly PoolHost[] | null,
  after: readonly PoolHost[],
): readonly LogRecord[] {
  const records: LogRecord[] = [];
  const line = (level: LogRecord['level'], text: string, event: string, host?: string) =>
    records.push({
      level,
      system: service,
      text,
      data: { event, service, ...(host === undefined ? {} : { server: host }) },
    });

  const known = new Map((before ?? []).map((host) => [host.host, host]));
  const added = after.filter((host) => !known.has(host.host));
  for (const host of added)
    line(before === null ? 'debug' : 'info', `New ${describe(host)}`, 'server-added', host.host);
  if (added.length > 0) {
    const on = added.filter((host) => host.enabled).length;
    const text = `Added ${added.length} server(s): ${on} enabled server(s) and ${added.length - on} disabled server(s)`;
    line('info', text, 'servers-added');
  }
  for (const host of added.filter((each) => each.weight === 0)) {
    line(
      'warn',
      `Server ${host.host} has weight 0: it gets no traffic (PyBal made this weight 1)`,
      'weight-zero',
      host.host,
    );
  }
  for (const host of after) {
    const old = known.get(host.host);
    if (old === undefined || (old.weight === host.weight && old.enabled === host.enabled)) continue;
    line('info', `Merged ${describe(host)}`, 'server-changed', host.host);
  }
  const left = new Set(after.map((host) => host.host));
  for (const host of known.values()) {
    if (left.has(host.host)) continue;
    const text = `[${service}] Removing server ${host.host} (no longer found in new configuration)`;
    line('info', text, 'server-removed', host.host);
  }
  return records;
}

function describe(host: PoolHost): string {
  return `${host.enabled ? 'enabled' : 'disabled'} server ${host.host}, weight ${host.weight}`;
}
