// What a new decision changed, as log records: PyBal's lines where PyBal has them, ours with the cause otherwise. Pure.

import type { LogRecord } from '../log/record.ts';
import type { Decision, ServerVerdict, ServiceVerdict } from './decision.ts';

export function eventsOf(previous: Decision | null, decision: Decision): readonly LogRecord[] {
  const events: LogRecord[] = [];
  for (const verdict of decision.services.values()) {
    const before = previous?.services.get(verdict.name);
    if (before !== verdict) events.push(...serviceEvents(before ?? null, verdict));
  }
  for (const verdict of decision.vips.values()) {
    const before = previous?.vips.get(verdict.vip);
    if ((before?.announced ?? false) === verdict.announced) continue;
    const { vip, announced, cause } = verdict;
    events.push({
      level: announced ? 'info' : 'warn',
      system: 'bgp',
      text: `${announced ? 'Announcing' : 'Withdrawing'} ${vip}: ${cause.text}`,
      data: { event: announced ? 'announce' : 'withdraw', vip, cause: cause.code },
    });
  }
  for (const [vip, before] of previous?.vips ?? []) {
    if (!before.announced || decision.vips.has(vip)) continue;
    const data = { event: 'withdraw', vip, cause: 'not-configured' };
    events.push({ level: 'warn', system: 'bgp', text: `Withdrawing ${vip}: no longer in the configuration`, data });
  }
  return events;
}

/** Servers that came to be held in this decision: PyBal's "could not depool". */
export function newlyHeld(before: ServiceVerdict | null, verdict: ServiceVerdict): readonly string[] {
  const held = new Set(before?.servers.filter((server) => server.held).map(({ host }) => host));
  return verdict.servers.filter((server) => server.held && !held.has(server.host)).map(({ host }) => host);
}

function serviceEvents(before: ServiceVerdict | null, verdict: ServiceVerdict): readonly LogRecord[] {
  const { name } = verdict;
  const events: LogRecord[] = [];
  if (before?.desired == null && verdict.desired !== null) {
    events.push({ level: 'info', system: 'pybal', text: `Created LVS service '${name}'`, data: { service: name } });
  }
  const was = new Map(before?.servers.map((server) => [server.host, server]));
  for (const server of verdict.servers) events.push(...serverEvents(name, was.get(server.host), server));
  if (!verdict.floorMet && before?.floorMet !== false && verdict.firstRound) {
    const text = `[${name}] Could not ensure depool threshold; insufficient enabled & ready servers.`;
    events.push({ level: 'critical', system: 'coordinator', text, data: { event: 'floor-not-met', service: name } });
  }
  return events;
}

function serverEvents(service: string, before: ServerVerdict | undefined, server: ServerVerdict): readonly LogRecord[] {
  const { host, pooled, held, cause } = server;
  const wasPooled = before?.pooled ?? false;
  const wasHeld = before?.held ?? false;
  const data = { service, server: host, cause: cause.code };
  if (held && !wasHeld && server.drains) {
    return [{ level: 'warn', system: 'coordinator', text: `[${service}] Server ${host} ${cause.text}`, data }];
  }
  if (held && !wasHeld) {
    // PyBal's words for the two ways in: kept although down, or brought back to meet the threshold.
    return wasPooled
      ? [{ level: 'error', system: service, text: `Could not depool server ${host} because of too many down!`, data }]
      : [
          {
            level: 'warn',
            system: 'coordinator',
            text: `[${service}] Forcing ${host} to be pooled to meet depool threshold`,
            data,
          },
        ];
  }
  if (pooled && before !== undefined && wasPooled) {
    const rests = server.drains && !held;
    if (rests !== (before.drains && !wasHeld)) {
      const text = rests ? `Draining server ${host}: ${cause.text}` : `Server ${host} gets new connections again`;
      return [{ level: 'info', system: service, text: `${text}, weight ${server.weight}`, data }];
    }
    if (server.weight !== before.weight && server.listedWeight === before.listedWeight) {
      const text = `Server ${host} has weight ${server.weight} now, and had ${before.weight}: ${cause.text}`;
      return [{ level: 'debug', system: service, text, data }];
    }
  }
  if (pooled && !held && wasHeld) {
    return [{ level: 'info', system: service, text: `Leaving previously pooled server ${host} pooled`, data }];
  }
  if (pooled === wasPooled) return [];
  const text = pooled ? `Pooled server ${host}, weight ${server.weight}` : `Depooled server ${host}: ${cause.text}`;
  return [{ level: 'info', system: service, text, data: { ...data, event: pooled ? 'pool' : 'depool' } }];
}
